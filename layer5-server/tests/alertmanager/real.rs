//! A real Alertmanager with the installed routes, and a webhook receiver behind every name of theirs.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tempfile::TempDir;

/// What receivers were told: the receiver's name and the message.
pub(crate) type Told = Arc<Mutex<Vec<(String, Value)>>>;

/// Takes every webhook call on a port of its own.
pub(crate) fn receiver() -> (u16, Told) {
    listen(0, "")
}

/// Takes every webhook call on this port, 0 for a free one; calls of the receiver `hangs` are never answered.
pub(crate) fn listen(port: u16, hangs: &'static str) -> (u16, Told) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let told = Told::default();
    let kept = Arc::clone(&told);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || while take(&stream, &kept, hangs).is_some() {});
        }
    });
    (port, told)
}

/// One request of a connection that is kept open; `None` at its end.
fn take(mut stream: &TcpStream, told: &Told, hangs: &str) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|&n| n > 0)?;
    let name = first.split(' ').nth(1)?.trim_start_matches('/').to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let is_hanging = name == hangs;
    told.lock()
        .expect("no holder panics")
        .push((name, serde_json::from_slice(&body).ok()?));
    if is_hanging {
        // Until the caller gives up.
        reader.read_exact(&mut [0]).ok()?;
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .ok()
}

/// Whether a receiver was told anything yet.
pub(crate) fn is_told(told: &Told, receiver: &str) -> bool {
    let told = told.lock().expect("no holder panics");
    told.iter().any(|(name, _)| name == receiver)
}

/// A real Alertmanager with the routes and inhibitions of `deploy/`, each receiver a webhook.
pub(crate) struct Alertmanager {
    process: Child,
    pub(crate) url: String,
    _folder: TempDir,
}

impl Alertmanager {
    /// Its own page of metrics; empty while it does not answer.
    pub(crate) fn metrics(&self) -> String {
        let address = self.url.trim_start_matches("http://");
        let mut page = String::new();
        let asked = TcpStream::connect(address).and_then(|mut stream| {
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
            stream.read_to_string(&mut page)
        });
        asked.map_or(String::new(), |_| page)
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        // It may be gone already.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

/// `change` is made to the installed routes before they are run.
pub(crate) fn alertmanager(webhook: u16, change: impl Fn(&str) -> String) -> Option<Alertmanager> {
    let installed = include_str!("../../../deploy/alertmanager/alertmanager.yml");
    let (_, routes) = installed
        .split_once("\nroute:")
        .expect("the file has routes");
    let (routes, receivers) = routes.split_once("\nreceivers:").expect("and receivers");
    let names = receivers
        .lines()
        .filter_map(|line| line.strip_prefix("  - name: "));
    let receivers: String = names
        .map(|name| {
            format!("  - name: {name}\n    webhook_configs:\n      - url: http://127.0.0.1:{webhook}/{name}\n")
        })
        .collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("alertmanager.yml");
    let routes = change(routes);
    std::fs::write(&config, format!("route:{routes}\nreceivers:\n{receivers}"))
        .expect("the folder can be written");
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port();
    let spawned = Command::new("prometheus-alertmanager")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", folder.path().display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--cluster.listen-address=")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match spawned {
        Ok(process) => Some(Alertmanager {
            process,
            url: format!("http://127.0.0.1:{port}"),
            _folder: folder,
        }),
        Err(error) => {
            assert!(
                std::env::var_os("LAYER5_REQUIRE_TOOLS").is_none_or(|v| v != "1"),
                "prometheus-alertmanager is required and does not start: {error}"
            );
            eprintln!("skipped: prometheus-alertmanager is not installed");
            None
        }
    }
}
