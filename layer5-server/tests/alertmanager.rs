//! `layer5 alert test`, `layer5 maintenance` and the routes that are installed, on a real Alertmanager with a webhook
//! receiver behind every name. Without `prometheus-alertmanager` the test says so and passes; LAYER5_REQUIRE_TOOLS=1 makes
//! that a failure.

mod service;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::Value;
use service::{complaint, run, text, until};
use tempfile::TempDir;

/// What receivers were told: the receiver's name and the message.
type Told = Arc<Mutex<Vec<(String, Value)>>>;

/// Takes every webhook call on a port of its own.
fn receiver() -> (u16, Told) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let told = Told::default();
    let kept = Arc::clone(&told);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || while take(&stream, &kept).is_some() {});
        }
    });
    (port, told)
}

/// One request of a connection that is kept open; `None` at its end.
fn take(mut stream: &TcpStream, told: &Told) -> Option<()> {
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
    told.lock()
        .expect("no holder panics")
        .push((name, serde_json::from_slice(&body).ok()?));
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .ok()
}

/// A real Alertmanager with the routes and inhibitions of `deploy/`, each receiver a webhook.
struct Alertmanager {
    process: Child,
    url: String,
    _folder: TempDir,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        // It may be gone already.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

/// `change` is made to the installed routes before they are run.
fn alertmanager(webhook: u16, change: impl Fn(&str) -> String) -> Option<Alertmanager> {
    let installed = include_str!("../../deploy/alertmanager/alertmanager.yml");
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

#[test]
fn an_alert_reaches_its_people_a_graver_one_and_a_maintenance_mute_it() {
    let (webhook, told) = receiver();
    let Some(alertmanager) = alertmanager(webhook, str::to_owned) else {
        return;
    };
    let on =
        |arguments: &[&str]| run(&[arguments, &["--alertmanager", &alertmanager.url]].concat());
    until("Alertmanager answers", || {
        on(&["maintenance", "status"])
            .status
            .success()
            .then_some(())
    });

    let page = on(&["alert", "test", "Layer5Down"]);
    assert!(page.status.success(), "{}", complaint(&page));
    assert!(
        text(&page).contains("Layer5Down (P0) to: page"),
        "{}",
        text(&page)
    );
    let (_, message) = until("the pager is told", || {
        let told = told.lock().expect("no holder panics");
        told.iter().find(|(name, _)| name == "page").cloned()
    });
    assert_eq!(message["commonLabels"]["problem"], "Layer5Down");
    assert_eq!(message["commonLabels"]["test"], "true");

    let muted = on(&["alert", "test", "Layer5OutboxStalled"]);
    assert!(
        text(&muted).contains("a graver alert is active"),
        "{}",
        text(&muted)
    );

    let started = on(&[
        "maintenance",
        "start",
        "--for",
        "10m",
        "--reason",
        "new disk",
    ]);
    assert!(started.status.success(), "{}", complaint(&started));
    let status = on(&["maintenance", "status"]);
    assert!(
        text(&status).contains("new disk") && text(&status).contains("10 min left"),
        "{}",
        text(&status)
    );
    let silenced = on(&["alert", "test", "Layer5Down"]);
    assert!(
        text(&silenced).contains("nobody is told: silenced"),
        "{}",
        text(&silenced)
    );
    assert!(text(&on(&["maintenance", "end"])).contains("over"));
    assert!(text(&on(&["maintenance", "status"])).contains("no maintenance"));
    assert!(text(&on(&["maintenance", "end"])).contains("no maintenance"));
}

/// The installed intervals, with nights and weekends that are always or never.
fn nights_and_weekends(routes: &str, when: &str) -> String {
    let (before, rest) = routes
        .split_once("time_intervals:\n  - name: nights")
        .expect("intervals");
    let (_, after) = rest
        .split_once("\ninhibit_rules:")
        .expect("inhibitions follow");
    let interval = |name: &str| format!("  - name: {name}\n    time_intervals:\n      - {when}\n");
    let intervals = interval("nights") + &interval("weekends");
    let routes = format!("{before}time_intervals:\n{intervals}\ninhibit_rules:{after}");
    routes.replace("group_wait: 15s", "group_wait: 1s")
}

#[test]
fn what_may_wait_a_day_wakes_nobody_at_night_and_is_told_by_day() {
    for (when, is_night) in [
        ("weekdays: [\"sunday:saturday\"]", true),
        ("years: [\"1990\"]", false),
    ] {
        let (webhook, told) = receiver();
        let changed = |routes: &str| nights_and_weekends(routes, when);
        let Some(alertmanager) = alertmanager(webhook, changed) else {
            return;
        };
        let send = |name: &str| run(&["alert", "test", name, "--alertmanager", &alertmanager.url]);
        until("Alertmanager takes an alert", || {
            send("Layer5OptimizationCoverageLow")
                .status
                .success()
                .then_some(())
        });
        let is_told = |of: &str| {
            let told = told.lock().expect("no holder panics");
            told.iter().any(|(name, _)| name == of)
        };
        if !is_night {
            until("P3 is told by day", || is_told("mail").then_some(()));
            continue;
        }
        // What is sent later and is not muted arrives, so the muted one had its time.
        assert!(send("Layer5HighLatency").status.success());
        until("P1 is told at night", || is_told("team").then_some(()));
        std::thread::sleep(std::time::Duration::from_secs(2));
        assert!(!is_told("mail"), "P3 was told at night");
    }
}

#[test]
fn what_cannot_be_is_said() {
    let unknown = run(&["alert", "test", "Layer5Nothing"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        complaint(&unknown).contains("Layer5HighLatency"),
        "{}",
        complaint(&unknown)
    );
    let nobody = run(&[
        "maintenance",
        "status",
        "--alertmanager",
        "http://127.0.0.1:9",
    ]);
    assert_eq!(nobody.status.code(), Some(69));
    assert!(complaint(&nobody).contains("--alertmanager"));
    for lasts in ["25h", "0m", "soon"] {
        let long = run(&["maintenance", "start", "--for", lasts, "--reason", "x"]);
        assert_eq!(long.status.code(), Some(2), "{lasts}");
        assert!(complaint(&long).contains("24h"), "{}", complaint(&long));
    }
    let nameless = run(&["maintenance", "start", "--for", "1m", "--reason", " "]);
    assert_eq!(nameless.status.code(), Some(2));
    let list = run(&["alert", "list"]);
    assert!(text(&list).contains("P0 Layer5Down"), "{}", text(&list));
}
