//! What people get when the way to them is in trouble: an Alertmanager that says nothing, or never comes to an end; a
//! webhook receiver that is down, or takes its time; a maintenance that nobody ended.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{
    real::{Alertmanager, alertmanager, is_told, listen, receiver},
    service::{complaint, run, text, until},
};

/// Patience of a command with one call, and what a loaded machine adds.
const BOUND: Duration = Duration::from_secs(30);

/// An address that takes calls and treats each in this way.
fn address_that(treats: fn(TcpStream)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || treats(stream));
        }
    });
    format!("http://{address}")
}

/// Reads for ever, says nothing.
fn says_nothing(mut stream: TcpStream) {
    let mut heard = [0; 1024];
    while stream.read(&mut heard).is_ok_and(|n| n > 0) {}
}

/// Promises a long answer and gives a byte of it now and then.
fn never_ends(mut stream: TcpStream) {
    let _request = stream.read(&mut [0; 4096]);
    let _closed = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    while stream.write_all(b" ").is_ok() {
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn an_alertmanager_that_says_nothing_is_given_up_and_named() {
    let commands: [&[&str]; 4] = [
        &["alert", "test"],
        &["maintenance", "status"],
        &["maintenance", "end"],
        &["maintenance", "start", "--for", "1m", "--reason", "x"],
    ];
    thread::scope(|scope| {
        for url in [address_that(says_nothing), address_that(never_ends)] {
            for command in commands {
                let url = url.clone();
                scope.spawn(move || {
                    let began = Instant::now();
                    let output = run(&[command, &["--alertmanager", &url]].concat());
                    let said = complaint(&output);
                    assert_eq!(output.status.code(), Some(69), "{command:?}: {said}");
                    assert!(
                        began.elapsed() < BOUND,
                        "{command:?}: {:?}",
                        began.elapsed()
                    );
                    for word in [&url[..], "no answer within", "--alertmanager"] {
                        assert!(said.contains(word), "{command:?}: {said}");
                    }
                });
            }
        }
    });
}

/// The service answers; Alertmanager and the page of metrics don't.
#[test]
fn a_check_of_what_says_nothing_ends_and_is_red() {
    let silent = address_that(says_nothing);
    let well = address_that(|mut stream| {
        let mut heard = [0; 4096];
        let _n = stream.read(&mut heard);
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
        let _closed = stream.write_all(answer.as_bytes());
    });
    thread::scope(|scope| {
        for (url, red) in [(&silent, "liveness"), (&well, "alerts")] {
            let silent = &silent;
            scope.spawn(move || {
                let began = Instant::now();
                let places = ["check", "--url", url, "--metrics-url", silent];
                let rest = ["--alertmanager", silent, "--watch", "0"];
                let output = run(&[&places[..], &rest].concat());
                let table = text(&output);
                assert_eq!(output.status.code(), Some(2), "{red}: {table}");
                assert!(began.elapsed() < BOUND, "{red}: {:?}", began.elapsed());
                let mut lines = table.lines();
                let line = lines.find(|line| line.trim_start().starts_with(red));
                let line = line.unwrap_or_else(|| panic!("no line {red}: {table}"));
                assert!(
                    line.contains("red") && line.contains("does not answer"),
                    "{red}: {table}"
                );
            });
        }
    });
}

/// Sends a test alert as soon as Alertmanager takes it.
fn send(alertmanager: &Alertmanager, name: &str) {
    until("Alertmanager takes an alert", || {
        let sent = run(&["alert", "test", name, "--alertmanager", &alertmanager.url]);
        sent.status.success().then_some(())
    });
}

/// Nobody waits for more alerts of a group.
fn at_once(routes: &str) -> String {
    let routes = routes.replace("group_wait: 15s", "group_wait: 0s");
    routes.replace("group_wait: 5s", "group_wait: 0s")
}

#[test]
fn a_receiver_that_was_down_is_told_when_it_is_back() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let port = free.expect("a free port").port();
    let Some(alertmanager) = alertmanager(port, at_once) else {
        return;
    };
    send(&alertmanager, "Layer5Down");
    until("Alertmanager has called in vain", || {
        let failed = r#"alertmanager_notification_requests_failed_total{integration="webhook"} "#;
        let page = alertmanager.metrics();
        let count = page.lines().find_map(|line| line.strip_prefix(failed))?;
        (count != "0").then_some(())
    });
    let (_, told) = listen(port, "");
    until("the pager is told", || is_told(&told, "page").then_some(()));
}

#[test]
fn a_receiver_that_never_answers_holds_up_nobody_else() {
    let (webhook, told) = listen(0, "page");
    let Some(alertmanager) = alertmanager(webhook, at_once) else {
        return;
    };
    send(&alertmanager, "Layer5AvailabilityBurnFast");
    until("the pager is called", || {
        is_told(&told, "page").then_some(())
    });
    send(&alertmanager, "Layer5HighLatency");
    until("the team is told", || is_told(&told, "team").then_some(()));
}

#[test]
fn a_maintenance_that_nobody_ends_ends_by_itself_and_is_told() {
    let (webhook, _told) = receiver();
    let Some(alertmanager) = alertmanager(webhook, str::to_owned) else {
        return;
    };
    let on =
        |arguments: &[&str]| run(&[arguments, &["--alertmanager", &alertmanager.url]].concat());
    let start = ["maintenance", "start", "--for", "2s", "--reason", "forgot"];
    until("the maintenance begins", || {
        on(&start).status.success().then_some(())
    });
    let status = until("it ends by itself", || {
        let said = text(&on(&["maintenance", "status"]));
        said.contains("no maintenance").then_some(said)
    });
    assert!(
        status.contains("the last one ended by itself at"),
        "{status}"
    );
    assert!(status.contains("forgot"), "{status}");
    let sent = on(&["alert", "test", "Layer5Down"]);
    assert!(
        text(&sent).contains("to: page") && !text(&sent).contains("nobody"),
        "{}",
        text(&sent)
    );
}
