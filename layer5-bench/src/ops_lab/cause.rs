//! What a sender or a caller of Layer5 does to cause trouble: reports that are refused, outcomes that miss their
//! prediction, more requests than a slow disk can answer.
//! In: a lab's address. Out: requests as any client would send them. Called from: [`super::drill`].

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use layer5_core::Timestamp;
use serde_json::{Value, json};

use crate::{Failure, service::http::Connection};

/// Patience with one request.
const PATIENCE: Duration = Duration::from_secs(15);
/// Reports in one body.
const LINES: usize = 1000;
/// Metrics of a wide report.
const METRICS: usize = 100;
/// Between two reports of one sender of a flood.
const FLOOD_PAUSE: Duration = Duration::from_millis(100);

/// Sends this many reports without the fields that a report needs.
///
/// # Errors
/// When the service does not answer.
pub fn bad_reports(api: SocketAddr, count: usize) -> Result<(), Failure> {
    send(api, count, &|_| "{}".to_owned())
}

/// Sends this many good reports of one agent, again and again the same: what is known already is valid.
///
/// # Errors
/// When the service does not answer.
pub fn good_reports(api: SocketAddr, count: usize, now: Timestamp) -> Result<(), Failure> {
    send(api, count, &|i| report("steady", i, now).to_string())
}

fn report(agent: &str, task: usize, now: Timestamp) -> Value {
    json!({ "agent_id": agent, "task_id": format!("t{task}"), "timestamp": now.to_string(), "metrics": { "latency_ms": 40.0 } })
}

/// A report that fills a ring as a hundred others do.
fn wide(agent: &str, task: usize, now: Timestamp) -> Value {
    let metrics: BTreeMap<String, f64> = (0..METRICS)
        .map(|i| (format!("metric_{i}"), 40.0))
        .collect();
    json!({ "agent_id": agent, "task_id": format!("t{task}"), "timestamp": now.to_string(), "metrics": metrics })
}

fn send(api: SocketAddr, count: usize, line: &dyn Fn(usize) -> String) -> Result<(), Failure> {
    let mut connection = Connection::new(api, PATIENCE);
    let body: String = (0..LINES).map(|i| line(i) + "\n").collect();
    let mut sent = 0;
    let mut tries = 0;
    while sent < count {
        let answer = connection.post("/kpi", "application/x-ndjson", body.as_bytes());
        match answer.map_err(Failure::new)?.status {
            200 => sent += LINES,
            status if tries > 600 => {
                return Err(Failure::new(format!("reports are answered {status}")));
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
        tries += 1;
    }
    Ok(())
}

/// Asks `/optimize` so often, and tells outcomes that miss the prediction by `miss`.
///
/// # Errors
/// When the service does not answer.
pub fn outcomes(api: SocketAddr, count: usize, miss: f64, now: Timestamp) -> Result<(), Failure> {
    const CALLERS: usize = 8;
    let results: Vec<Result<(), Failure>> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                scope.spawn(move || {
                    let mut connection = Connection::new(api, PATIENCE);
                    let mine = (caller..count).step_by(CALLERS);
                    mine.into_iter()
                        .try_for_each(|_| outcome(&mut connection, caller, miss, now))
                })
            })
            .collect();
        let joined = callers.into_iter().map(|caller| caller.join());
        joined
            .map(|result| result.unwrap_or_else(|_| Err(Failure::new("a caller panicked"))))
            .collect()
    });
    results.into_iter().collect()
}

fn outcome(
    connection: &mut Connection,
    caller: usize,
    miss: f64,
    now: Timestamp,
) -> Result<(), Failure> {
    let agent = format!("caller_{caller}");
    let question =
        json!({ "agent_id": agent, "algorithm": "random", "parameters": { "lab_knob": 1.0 } });
    let answer = post(connection, "/optimize", &question)?;
    let expected = answer["expected_improvement"].as_f64().unwrap_or(0.0);
    let told = json!({
        "agent_id": agent,
        "optimization_id": answer["optimization_id"],
        "success": true,
        "performance_delta": expected - miss,
        "timestamp": now.to_string(),
    });
    post(connection, "/feedback", &told)?;
    Ok(())
}

fn post(connection: &mut Connection, path: &str, body: &Value) -> Result<Value, Failure> {
    let mut last = String::new();
    for _ in 0..100 {
        let answer = connection.post(path, "application/json", body.to_string().as_bytes());
        match answer {
            Ok(answer) if answer.status < 300 => return Ok(answer.json()),
            Ok(answer) => last = format!("{} {}", answer.status, answer.json()),
            Err(error) => last = error.to_string(),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(Failure::new(format!("POST {path}: {last}")))
}

/// Many senders of single, wide reports, until it is dropped.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<()>>,
}

impl Flood {
    /// Starts `senders` of them.
    #[must_use]
    pub fn start(api: SocketAddr, senders: usize, now: Timestamp) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let next = Arc::new(AtomicU64::new(0));
        let senders = (0..senders).map(|sender| {
            let (stop, next) = (Arc::clone(&stop), Arc::clone(&next));
            std::thread::spawn(move || {
                let mut connection = Connection::new(api, PATIENCE);
                while !stop.load(Relaxed) {
                    let task = next.fetch_add(1, Relaxed) as usize;
                    let body = wide(&format!("flood_{sender}"), task, now).to_string();
                    // Refused or broken off: that is what a flood is for.
                    let _answer = connection.post("/kpi", "application/json", body.as_bytes());
                    std::thread::sleep(FLOOD_PAUSE);
                }
            })
        });
        let senders = senders.collect();
        Self { stop, senders }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for sender in self.senders.drain(..) {
            let _panicked = sender.join();
        }
    }
}
