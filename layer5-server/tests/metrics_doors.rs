//! The doors for Prometheus and OpenTelemetry: a real Prometheus writes to us through a restart and loses nothing, a
//! message of a real SDK is answered as the specification says, and what lies is refused without harm.
//! Without `prometheus` its test says so and passes, unless `LAYER5_REQUIRE_TOOLS=1`.

mod service;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use layer5_server::clock;
use serde_json::json;
use service::{Answer, Service, call, finished_task, until};

const SDK: &[u8] = include_bytes!("../../layer5-ingest/tests/fixtures/otlp_python_sdk.bin");
const SDK_JSON: &[u8] = include_bytes!("../../layer5-ingest/tests/fixtures/otlp_python_sdk.json");

fn house(settings: &[(&str, &str)]) -> (Service, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let service = Service::start_with(&folder.path().join("data"), settings, None);
    (service, folder)
}

fn metric(service: &Service, name: &str) -> Option<f64> {
    let page = service.metrics_page();
    let line = page.lines().find(|line| line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// Something to scrape: answers every request with one page until it is told to break.
fn exporter(breaks: &Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let at = listener.local_addr().expect("bound");
    let breaks = Arc::clone(breaks);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 4096];
            let page = "latency_ms 45.25\nqueue_depth{queue=\"a\"} 3\nempty NaN\n";
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close";
            let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{page}", page.len());
            if !breaks.load(Ordering::Relaxed) && stream.read(&mut request).is_ok() {
                // Whoever asked may have gone.
                let _gone = stream.write_all(answer.as_bytes());
            }
        }
    });
    at
}

struct Prometheus {
    process: Child,
    at: SocketAddr,
}

impl Prometheus {
    fn metric(&self, name: &str) -> Option<f64> {
        let page = call(self.at, "GET", "/metrics", &[], b"").ok()?;
        let page = String::from_utf8(page.body).ok()?;
        let line = page.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

/// A Prometheus that scrapes `exporter` and writes to `api`; `None` when there is none here.
fn prometheus(
    folder: &std::path::Path,
    exporter: SocketAddr,
    api: SocketAddr,
) -> Option<Prometheus> {
    let config = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}\n\
         scrape_configs:\n- job_name: fleet\n  static_configs:\n  - targets: ['{exporter}']\n    labels: {{agent_id: agent_17}}\n\
         remote_write:\n- url: http://{api}/api/v1/write\n  queue_config: {{batch_send_deadline: 200ms, min_backoff: 50ms, max_backoff: 500ms}}\n"
    );
    let path = folder.join("prometheus.yml");
    std::fs::write(&path, config).expect("the folder can be written");
    let at: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let started = Command::new("prometheus")
        .arg(format!("--config.file={}", path.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("tsdb").display()
        ))
        .arg(format!("--web.listen-address={at}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match started {
        Ok(process) => Some(Prometheus { process, at }),
        Err(error) => {
            let required = std::env::var("LAYER5_REQUIRE_TOOLS").is_ok();
            assert!(!required, "prometheus is required: {error}");
            eprintln!("skipped: prometheus is not installed");
            None
        }
    }
}

#[test]
fn a_real_prometheus_writes_through_a_restart_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let api = format!("127.0.0.1:{}", free_port());
    let settings = [("HTTP__LISTEN", api.as_str())];
    let start = || Service::start_with(&folder.path().join("data"), &settings, None);
    let service = start();
    let breaks = Arc::new(AtomicBool::new(false));
    let scraped = exporter(&breaks);
    let Some(prometheus) = prometheus(folder.path(), scraped, service.api) else {
        return;
    };
    let series = |service: &Service, metric: &str| {
        let series = service.get("/api/v1/series?limit=1000").json(200);
        let all = series["series"].as_array().expect("a list").clone();
        all.iter()
            .any(|s| s["agent_id"] == "agent_17" && s["metric"] == metric)
    };
    until("the first samples arrive", || {
        let name = format!("latency_ms{{instance=\"{scraped}\",job=\"fleet\"}}");
        series(&service, &name).then_some(())
    });
    let labelled = format!("queue_depth{{instance=\"{scraped}\",job=\"fleet\",queue=\"a\"}}");
    until("the labelled one too", || {
        series(&service, &labelled).then_some(())
    });
    until("they are counted as its own", || {
        let received = "layer5_kpi_received_total{source=\"remote_write\"}";
        (metric(&service, received) > Some(0.0)).then_some(())
    });
    // Killed, away for some scrapes, and back: Prometheus sends what it could not.
    service.kill();
    let sent = || prometheus.metric("prometheus_remote_storage_samples_total");
    let retried = || prometheus.metric("prometheus_remote_storage_samples_retried_total");
    until("prometheus tries again", || {
        (retried() > Some(0.0)).then_some(())
    });
    let service = start();
    let at_restart = sent();
    until("more is sent", || {
        (sent() > at_restart.map(|n| n + 10.0)).then_some(())
    });
    // A target that is gone ends its series with stale markers, which are no values.
    breaks.store(true, Ordering::Relaxed);
    let pending = || prometheus.metric("prometheus_remote_storage_samples_pending");
    until("up is told to be 0 and everything is sent", || {
        let page = service.get("/api/v1/agents/agent_17").json(200).to_string();
        (page.contains("up{") && pending() == Some(0.0)).then_some(())
    });
    let dropped = prometheus.metric("prometheus_remote_storage_samples_dropped_total");
    assert_eq!(dropped.unwrap_or(0.0), 0.0);
    // The only thing that it ever refused is the page's NaN, which is no number.
    for reason in [
        "too_old",
        "cardinality",
        "malformed",
        "missing_field",
        "too_large",
    ] {
        let name = format!("layer5_kpi_rejected_total{{reason=\"{reason}\"}}");
        assert_eq!(metric(&service, &name).unwrap_or(0.0), 0.0, "{reason}");
    }
}

fn write(service: &Service, body: &[u8]) -> Answer {
    let headers = [
        ("Content-Type", "application/x-protobuf"),
        ("Content-Encoding", "snappy"),
        ("X-Prometheus-Remote-Write-Version", "0.1.0"),
    ];
    service.call("POST", "/api/v1/write", &headers, body)
}

/// A field that holds bytes.
fn bytes(number: u8, inner: &[u8]) -> Vec<u8> {
    let length = u8::try_from(inner.len()).expect("short");
    assert!(length < 0x80, "one byte of length");
    [&[number << 3 | 2, length], inner].concat()
}

/// A write request of one sample, now.
fn request(labels: &[(&str, &str)], value: f64) -> Vec<u8> {
    let mut series = Vec::new();
    for (name, value) in labels {
        let label = [bytes(1, name.as_bytes()), bytes(2, value.as_bytes())].concat();
        series.extend(bytes(1, &label));
    }
    let mut sample = [&[1 << 3 | 1][..], &value.to_le_bytes(), &[2 << 3]].concat();
    let mut millis = clock::now().millis();
    while millis >= 0x80 {
        sample.push(millis as u8 | 0x80);
        millis >>= 7;
    }
    sample.push(millis as u8);
    series.extend(bytes(2, &sample));
    bytes(1, &series)
}

fn snappy(body: &[u8]) -> Vec<u8> {
    let mut encoder = snap::raw::Encoder::new();
    encoder.compress_vec(body).expect("short")
}

#[test]
fn remote_write_says_what_may_be_sent_again_and_what_not() {
    let (service, _folder) = house(&[("HTTP__DECODED_BYTES_MAX", "1048576")]);
    let good = request(&[("__name__", "up"), ("agent_id", "a")], 1.0);
    assert_eq!(write(&service, &snappy(&good)).status, 204);
    // Again: it changes nothing, and is no mistake.
    assert_eq!(write(&service, &snappy(&good)).status, 204);
    let nan = request(&[("__name__", "nan"), ("agent_id", "a")], f64::NAN);
    let long = "x".repeat(60);
    let nameless = request(&[("__name__", &long), ("job", "j")], 1.0);
    let fresh = request(&[("__name__", "fresh"), ("agent_id", "a")], 2.0);
    let mixed = [nan, nameless, fresh].concat();
    let detail = write(&service, &snappy(&mixed)).problem(400);
    assert!(
        detail.starts_with("2 samples were refused, the others are stored: not_finite"),
        "{detail}"
    );
    let status = service.status();
    assert_eq!(
        (&status["reports"]["stored"], &status["reports"]["received"]),
        (&json!(2), &json!(5))
    );
    // A length of 4 GiB, one that can't be, no snappy, no protobuf.
    let lying = [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &snappy(&good)].concat();
    write(&service, &lying).problem(413);
    let lying = [&[0x80, 0x80, 0x20][..], &snappy(&good)[1..]].concat();
    write(&service, &lying).problem(400);
    write(&service, b"{}").problem(400);
    write(&service, &snappy(b"{}")).problem(400);
    let second = [(
        "Content-Type",
        "application/x-protobuf;proto=io.prometheus.write.v2.Request",
    )];
    let answer = service.call("POST", "/api/v1/write", &second, &snappy(&good));
    answer.problem(415);
    let report = finished_task("good", "t", &json!(clock::now()));
    assert_eq!(service.post("/kpi", &report).json(200)["accepted"], 1);
}

#[test]
fn a_door_that_is_shut_is_not_there() {
    let off = [
        ("SOURCES__REMOTE_WRITE__ENABLED", "false"),
        ("SOURCES__OTLP__ENABLED", "false"),
    ];
    let (service, _folder) = house(&off);
    assert!(
        write(&service, b"")
            .problem(404)
            .contains("sources.remote_write")
    );
    let answer = service.call("POST", "/v1/metrics", &[], b"");
    assert!(answer.problem(404).contains("sources.otlp"));
}

#[test]
fn otlp_is_answered_in_its_own_words() {
    // The fixture is as old as it is.
    let (service, _folder) = house(&[("LIMITS__MAX_AGE_SECONDS", "1e9")]);
    let post = |content_type: &str, body: &[u8]| {
        service.call(
            "POST",
            "/v1/metrics",
            &[("Content-Type", content_type)],
            body,
        )
    };
    let json = post("application/json", SDK_JSON).json(200);
    assert_eq!(json["partialSuccess"]["rejectedDataPoints"], "1", "{json}");
    let words = json["partialSuccess"]["errorMessage"].as_str();
    assert!(words.is_some_and(|words| words.contains("size")), "{json}");
    assert_eq!(service.status()["reports"]["stored"], 5);
    // The same points in the other form are known already; its histogram is refused again.
    let answer = post("application/x-protobuf", SDK);
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/x-protobuf"))
    );
    assert_eq!(
        (answer.body[0], &answer.body[2..4]),
        (0x0a, &[0x08, 1][..]),
        "one is refused"
    );
    let status = service.status();
    assert_eq!(
        (
            &status["reports"]["stored"],
            &status["reports"]["duplicates"]
        ),
        (&json!(5), &json!(5))
    );
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(SDK).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let headers = [
        ("Content-Type", "application/x-protobuf"),
        ("Content-Encoding", "gzip"),
    ];
    assert_eq!(
        service.call("POST", "/v1/metrics", &headers, &gzip).status,
        200
    );
    let whole = post("application/json", b"{\"resourceMetrics\":[]}");
    assert_eq!(whole.json(200), json!({}));
    post("application/json", b"{").problem(400);
    post("application/x-protobuf", &SDK[..700]).problem(400);
    post("text/plain", SDK).problem(415);
    let lag = "layer5_kpi_ingest_lag_seconds{source=\"otlp\"}";
    until("the lag is shown", || metric(&service, lag));
}
