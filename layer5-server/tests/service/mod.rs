//! A real `layer5 serve` process and a small HTTP/1.1 client over plain sockets, for the tests that prove what a sender
//! sees. In: a data folder and settings. Out: the addresses from its log, answers as they came over the wire.
//! Invariants: every wait has a deadline; a service that a test leaves behind is killed.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use layer5_core::Timestamp;
use layer5_server::clock;
use serde_json::{Value, json};

/// Longest wait for anything: the machine may be busy, so it is long, and only failures take it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The `layer5` binary of this build, in an environment without settings of its own.
pub(crate) fn layer5() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_layer5"));
    let ours = |name: &str| {
        let others = ["RUST_LOG", "DEPLOYMENT_COLOR", "NO_COLOR", "CLICOLOR_FORCE"];
        name.starts_with("LAYER") || others.contains(&name)
    };
    for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command
}

/// Runs `layer5` to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    layer5()
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("layer5 can be run")
}

/// What a command wrote to standard error.
pub(crate) fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command wrote to standard output.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A running `layer5 serve`.
#[derive(Debug)]
pub(crate) struct Service {
    process: Child,
    /// Where the API listens.
    pub(crate) api: SocketAddr,
    /// Where the metrics page listens.
    pub(crate) metrics: SocketAddr,
    log: Arc<Mutex<Vec<Value>>>,
}

impl Service {
    /// `layer5 serve` that keeps its data in `data_dir`.
    pub(crate) fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, &[], None)
    }

    /// The same with settings, as `("PIPELINE__SHARDS", "2")`, and perhaps a configuration.
    pub(crate) fn start_with(
        data_dir: &Path,
        settings: &[(&str, &str)],
        config: Option<&str>,
    ) -> Self {
        let mut process = command(data_dir, settings, config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("layer5 can be run");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (ready, is_ready) = mpsc::channel();
        let lines = BufReader::new(process.stderr.take().expect("standard error is piped")).lines();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if line["message"] == "layer5 is ready" {
                    // Nobody waits for a service that was given up.
                    let _given_up = ready.send(line.clone());
                }
                kept.lock().expect("no holder panics").push(line);
            }
        });
        let Ok(line) = is_ready.recv_timeout(DEADLINE) else {
            // The process may be gone already.
            let _gone = process.kill();
            panic!(
                "layer5 did not become ready: {:?}",
                log.lock().expect("no holder panics")
            );
        };
        let address = |name: &str| {
            let text = line[name].as_str().expect("the line names its addresses");
            text.parse().expect("an address")
        };
        Self {
            process,
            api: address("api"),
            metrics: address("metrics"),
            log,
        }
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// How it ended, once it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("a child can be asked")
    }

    /// Whether its log has said this so far; the line.
    pub(crate) fn said(&self, message: &str) -> Option<Value> {
        let log = self.log.lock().expect("no holder panics");
        log.iter().find(|line| line["message"] == message).cloned()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("a child can be killed");
        self.process.wait().expect("a child ends");
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -TERM {}", self.process.id())])
            .status()
            .expect("a shell");
        assert!(sent.success());
        until("layer5 stops", || {
            self.process.try_wait().expect("a child can be asked")
        })
    }

    /// Calls the API.
    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        call(self.api, method, path, headers, body).expect("the service answers")
    }

    /// `GET`.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], b"")
    }

    /// `POST` of a JSON value.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(
            "POST",
            path,
            &[("Content-Type", "application/json")],
            body.to_string().as_bytes(),
        )
    }

    /// `POST` of reports, one a line.
    pub(crate) fn post_lines(&self, body: &str) -> Answer {
        self.call(
            "POST",
            "/kpi",
            &[("Content-Type", "application/x-ndjson")],
            body.as_bytes(),
        )
    }

    /// `GET /api/v1/status`.
    pub(crate) fn status(&self) -> Value {
        self.get("/api/v1/status").json(200)
    }

    /// The metrics page.
    pub(crate) fn metrics_page(&self) -> String {
        let page = call(self.metrics, "GET", "/metrics", &[], b"").expect("the service answers");
        assert_eq!(page.status, 200);
        String::from_utf8(page.body).expect("the page is UTF-8")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have stopped already.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

/// `layer5 serve` on free ports of loopback.
pub(crate) fn command(data_dir: &Path, settings: &[(&str, &str)], config: Option<&str>) -> Command {
    let mut command = layer5();
    command.arg("serve");
    if let Some(config) = config {
        let path = data_dir.with_extension("toml");
        std::fs::write(&path, config).expect("the folder can be written");
        command.arg("--config").arg(path);
    }
    command
        .env("LAYER5_HTTP__LISTEN", "127.0.0.1:0")
        .env("LAYER5_METRICS__LISTEN", "127.0.0.1:0")
        .env("LAYER5_STORE__DATA_DIR", data_dir);
    for (key, value) in settings {
        command.env(format!("LAYER5_{key}"), value);
    }
    command
}

/// One answer, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// 200 and so on.
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    /// What came.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The JSON of an answer that must have this status.
    #[track_caller]
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// The detail of a problem (RFC 9457) that must have this status.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{body}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{body}"
        );
        let problem: Value = serde_json::from_slice(&self.body).expect("a problem is JSON");
        assert_eq!(problem["status"], status);
        assert!(
            problem["type"].is_string() && problem["title"].is_string(),
            "{problem}"
        );
        let detail = problem["detail"].as_str().expect("a problem has a detail");
        assert!(!detail.is_empty());
        detail.to_owned()
    }
}

/// One request on a connection of its own. An answer that was cut short is an error.
pub(crate) fn call(
    at: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    let length = body.len();
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Length: {length}\r\n"
    );
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    // A service that refuses a body early closes before it has read all of it; its answer still counts.
    let _refused_early = stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.write_all(body));
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    let answer = parse(&bytes, method);
    answer.ok_or_else(|| {
        ended
            .err()
            .unwrap_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    })
}

/// The answer in `bytes`, unless it was cut short.
pub(crate) fn parse(bytes: &[u8], method: &str) -> Option<Answer> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let body = bytes[end + 4..].to_vec();
    let answer = Answer {
        status,
        headers,
        body,
    };
    let announced = answer
        .header("content-length")
        .and_then(|n| n.parse::<usize>().ok());
    let whole = method == "HEAD" || announced.is_none_or(|n| n == answer.body.len());
    whole.then_some(answer)
}

/// Looks again and again until there is something to see.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A whole second of the recent past, so that every form of a time can name it.
pub(crate) fn recent_second() -> Timestamp {
    Timestamp::from_millis(clock::now().millis() / 1000 * 1000)
}

/// A report of shape A that nothing is wrong with.
pub(crate) fn finished_task(agent: &str, task: &str, recorded_at: &Value) -> Value {
    json!({
        "task_id": task, "agent_id": agent, "recorded_at": recorded_at,
        "latency_ms": 45.2, "accuracy": 0.93, "cpu_usage": 0.41, "memory_mb": 512.0,
    })
}

/// A report of shape B.
pub(crate) fn named_metrics(agent: &str, task: &str, timestamp: &Value, metrics: &Value) -> Value {
    json!({ "timestamp": timestamp, "agent_id": agent, "task_id": task, "metrics": metrics })
}
