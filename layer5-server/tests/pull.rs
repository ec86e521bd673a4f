//! Layer4's pages as a source, from a stand-in on a real socket that misbehaves: slow, cut in the middle, wrong JSON,
//! errors, pages without end. What it gives counts once, the position survives a restart, and nobody else is delayed.

mod service;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use service::{Service, finished_task, named_metrics, recent_second, until};

/// How the stand-in answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Well,
    /// Not at all.
    Silent,
    /// Half of what it announced.
    Cut,
    WrongJson,
    Refusing,
    /// One page more whenever one is asked for.
    Endless,
}

#[derive(Clone)]
struct Pages {
    at: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    mood: Mood,
    pages: Vec<Vec<Value>>,
    asked: Vec<u64>,
}

impl Pages {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let at = listener.local_addr().expect("bound");
        let state = Arc::new(Mutex::new(State {
            mood: Mood::Well,
            pages: vec![Vec::new()],
            asked: Vec::new(),
        }));
        let pages = Self { at, state };
        let answering = pages.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let pages = answering.clone();
                std::thread::spawn(move || pages.answer(stream));
            }
        });
        pages
    }

    /// Answers one request; the connection is closed with it.
    fn answer(&self, mut stream: TcpStream) {
        let mut request = [0; 4096];
        let n = stream.read(&mut request).unwrap_or(0);
        let line = String::from_utf8_lossy(&request[..n]).into_owned();
        let page = line
            .split("page=")
            .nth(1)
            .and_then(|rest| rest.split(' ').next()?.parse().ok());
        let Some(page) = page else { return };
        let mut state = self.state.lock().expect("no holder panics");
        state.asked.push(page);
        let mood = state.mood;
        let n_pages = match mood {
            Mood::Endless => page + 1,
            _ => state.pages.len() as u64,
        };
        let empty = Vec::new();
        let reports = state.pages.get(page as usize - 1).unwrap_or(&empty);
        let body = json!({
            "timestamp": recent_second(),
            "kpi_reports": reports,
            "pagination": { "page": page, "per_page": 100, "total_pages": n_pages, "total_count": 1 },
        })
        .to_string();
        drop(state);
        let (status, body) = match mood {
            Mood::Refusing => ("503 Service Unavailable", "{}".to_owned()),
            Mood::WrongJson => ("200 OK", body.replace("kpi_reports", "kpi_report")),
            _ => ("200 OK", body),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let sent = match mood {
            Mood::Silent => {
                // Until whoever asked has lost patience.
                let _gone = stream.read(&mut request);
                return;
            }
            Mood::Cut => body.len() / 2,
            _ => body.len(),
        };
        // Whoever asked may have gone.
        let _gone = stream.write_all(&[head.as_bytes(), &body.as_bytes()[..sent]].concat());
    }

    fn set(&self, mood: Mood) {
        self.state.lock().expect("no holder panics").mood = mood;
    }

    fn add(&self, page: usize, tasks: std::ops::Range<usize>) {
        let at = json!(recent_second());
        let mut state = self.state.lock().expect("no holder panics");
        let n = state.pages.len().max(page);
        state.pages.resize(n, Vec::new());
        let new = tasks.map(|i| named_metrics("agent", &format!("t-{i}"), &at, &json!({ "q": i })));
        state.pages[page - 1].extend(new);
    }

    fn asked(&self) -> Vec<u64> {
        std::mem::take(&mut self.state.lock().expect("no holder panics").asked)
    }
}

fn house(folder: &std::path::Path, pages: &Pages) -> Service {
    let url = format!("http://{}/kpi/export", pages.at);
    let settings = [
        ("SOURCES__PULL__URL", url.as_str()),
        ("SOURCES__PULL__POLL_SECONDS", "0.05"),
        ("SOURCES__PULL__TIMEOUT_SECONDS", "0.5"),
        ("SOURCES__PULL__PAGES_PER_POLL_MAX", "20"),
    ];
    Service::start_with(&folder.join("data"), &settings, None)
}

fn stored(service: &Service) -> u64 {
    service.status()["reports"]["stored"]
        .as_u64()
        .expect("a count")
}

#[track_caller]
fn all_arrive(service: &Service, n: u64) {
    until("every report is stored", || {
        (stored(service) >= n).then_some(())
    });
    assert_eq!(stored(service), n);
}

fn up(service: &Service) -> Option<bool> {
    let health = service.get("/health/integrations").json(200);
    let neighbours = health["neighbours"].as_array().expect("a list").clone();
    let layer4 = neighbours.iter().find(|n| n["name"] == "layer4")?;
    layer4["up"].as_bool()
}

#[test]
fn pages_are_read_once_and_the_position_survives_a_kill() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pages = Pages::open();
    for page in 1..=3 {
        pages.add(page, page * 100..page * 100 + 100);
    }
    let service = house(folder.path(), &pages);
    all_arrive(&service, 300);
    pages.add(3, 1000..1010);
    pages.add(4, 2000..2005);
    all_arrive(&service, 315);
    until("the last page is polled again", || {
        (pages.asked().last() == Some(&4)).then_some(())
    });
    service.kill();
    pages.asked();
    pages.add(4, 2005..2010);
    let service = house(folder.path(), &pages);
    all_arrive(&service, 320);
    assert!(!pages.asked().contains(&1), "it goes on where it was");
    // The pages became others, fewer ones: they are read from the first.
    pages.state.lock().expect("no holder panics").pages = vec![Vec::new()];
    pages.add(1, 5000..5001);
    all_arrive(&service, 321);
}

#[test]
fn whatever_layer4_does_it_is_down_and_comes_back_and_http_does_not_notice() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pages = Pages::open();
    let service = house(folder.path(), &pages);
    let mut n = 0;
    for mood in [Mood::Silent, Mood::Cut, Mood::WrongJson, Mood::Refusing] {
        pages.set(mood);
        until("it is seen to be down", || {
            (up(&service) == Some(false)).then_some(())
        });
        let report = finished_task("pushed", &format!("{mood:?}"), &json!(recent_second()));
        assert_eq!(service.post("/kpi", &report).json(200)["accepted"], 1);
        pages.set(Mood::Well);
        let first = 10 * n as usize;
        pages.add(1, first..first + 10);
        n += 1;
        all_arrive(&service, 11 * n);
        until("it is up again", || {
            (up(&service) == Some(true)).then_some(())
        });
    }
}

#[test]
fn pages_without_end_are_read_a_bounded_number_at_a_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pages = Pages::open();
    pages.set(Mood::Endless);
    pages.add(1, 0..10);
    let service = house(folder.path(), &pages);
    all_arrive(&service, 10);
    until("several polls", || {
        let asked = pages.state.lock().expect("no holder panics").asked.len();
        (asked > 50).then_some(())
    });
    let began = std::time::Instant::now();
    let report = finished_task("pushed", "t", &json!(recent_second()));
    assert_eq!(service.post("/kpi", &report).json(200)["accepted"], 1);
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "nobody waits for it"
    );
}
