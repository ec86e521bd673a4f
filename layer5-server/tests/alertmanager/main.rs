//! `layer5 alert test`, `layer5 maintenance` and the routes that are installed, on a real Alertmanager with a webhook
//! receiver behind every name. Without `prometheus-alertmanager` the tests say so and pass; LAYER5_REQUIRE_TOOLS=1 makes
//! that a failure.

mod real;
#[path = "../service/mod.rs"]
mod service;
mod trouble;

use real::{alertmanager, is_told, receiver};
use service::{complaint, run, text, until};

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
        if !is_night {
            until("P3 is told by day", || is_told(&told, "mail").then_some(()));
            continue;
        }
        // What is sent later and is not muted arrives, so the muted one had its time.
        assert!(send("Layer5HighLatency").status.success());
        until("P1 is told at night", || {
            is_told(&told, "team").then_some(())
        });
        std::thread::sleep(std::time::Duration::from_secs(2));
        assert!(!is_told(&told, "mail"), "P3 was told at night");
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
