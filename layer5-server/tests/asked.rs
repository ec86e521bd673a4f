//! What people ask of the watch: limits told ahead once for each approach, shapes told when they come again, and
//! sensitivity per metric. Through a real service, across a reload and a kill: what is asked takes effect at a position of the
//! log, so a replay finds the same, once.

mod service;

use std::{collections::BTreeSet, path::Path};

use layer5_core::Timestamp;
use layer5_server::clock;
use serde_json::{Value, json};
use service::{Service, named_metrics, until};

/// Reports are five minutes apart and end now.
const STEP_SECONDS: f64 = 300.0;
const N: usize = 900;

const BASE: &str = "[limits]\nmax_age_seconds = 864000.0\ndedup_window_seconds = 864000.0\n\
                    [pipeline]\nshards = 2\n";
const ASKED: &str = "[patterns.metric.disk_used]\nupper = 90.0\nahead_seconds = 172800.0\n\
                     [[template]]\nname = \"tooth\"\nmetric = \"load\"\nagents = \"a*\"\nfit_min = 0.97\n\
                     values = [0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 0.0]\n";

fn at(from: Timestamp, i: usize) -> Timestamp {
    from.plus_seconds(STEP_SECONDS * i as f64)
}

/// A small number that looks like noise and is the same everywhere.
fn wiggle(i: usize) -> f64 {
    ((i * 7919) % 101) as f64 / 50.0
}

/// Fills slowly: 90 comes some 30 hours after the last sample.
fn disk_used(i: usize) -> f64 {
    40.0 + 0.05 * i as f64 + wiggle(i)
}

/// Flat but for a tooth at every 200.
fn load(i: usize) -> f64 {
    let tooth = [0.0, 10.0, 20.0, 30.0, 40.0, 0.0, 0.0];
    let place = i % 200;
    50.0 + 0.1 * wiggle(i)
        + tooth
            .get(place)
            .filter(|_| i >= 200)
            .copied()
            .unwrap_or(0.0)
}

fn send(service: &Service, from: Timestamp, samples: std::ops::Range<usize>) {
    let lines: String = samples
        .flat_map(|i| ["a1", "b1"].map(|agent| (agent, i)))
        .map(|(agent, i)| {
            let metrics = json!({ "disk_used": disk_used(i), "load": load(i) });
            let time = json!(at(from, i).to_string());
            format!(
                "{}\n",
                named_metrics(agent, &format!("{agent}-{i}"), &time, &metrics)
            )
        })
        .collect();
    let answer = service.post_lines(&lines).json(200);
    assert_eq!(answer["rejected"], json!([]));
}

fn patterns(service: &Service, kind: &str) -> Vec<Value> {
    let page = service
        .get(&format!("/api/v1/patterns?kind={kind}&limit=1000"))
        .json(200);
    page["patterns"].as_array().cloned().unwrap_or_default()
}

/// Where each event begins, whose it is.
fn places(events: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut places: Vec<_> = events
        .iter()
        .map(|e| (text(&e["agent_id"]), text(&e["start"])))
        .collect();
    places.sort();
    places
}

fn settled(service: &Service, n_reports: usize) {
    until("all reports are through their watches", || {
        (service.status()["reports"]["processed"] == n_reports).then_some(())
    });
}

fn started(data: &Path, config: &str) -> Service {
    Service::start_with(data, &[], Some(config))
}

#[test]
fn limits_and_templates_are_told_once_and_a_replay_finds_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let from = Timestamp::from_millis(clock::now().millis() / 1000 * 1000)
        .plus_seconds(-STEP_SECONDS * N as f64);
    let service = started(&data, BASE);
    send(&service, from, 0..300);
    // Asked while it runs: from here on, and not of what was.
    std::fs::write(data.with_extension("toml"), format!("{BASE}{ASKED}")).expect("writable");
    until("it is loaded", || {
        service.said("the configuration was loaded")
    });
    send(&service, from, 300..N);
    settled(&service, 2 * N);
    let expected: Vec<(String, String)> = [400, 600, 800]
        .map(|i| ("a1".to_owned(), at(from, i).to_string()))
        .into();
    until("templates are told", || {
        (places(&patterns(&service, "template")) == expected).then_some(())
    });
    let breaches = until("both disks are told", || {
        let told = patterns(&service, "forecast_breach");
        (told.len() == 2).then_some(told)
    });
    let agents: BTreeSet<&str> = breaches
        .iter()
        .filter_map(|b| b["agent_id"].as_str())
        .collect();
    assert_eq!(agents, ["a1", "b1"].into());
    for event in breaches.iter().chain(&patterns(&service, "template")) {
        for key in [
            "agent_id",
            "metric",
            "kind",
            "start",
            "end",
            "score",
            "confidence",
            "direction",
            "magnitude",
            "baseline",
            "explanation",
        ] {
            assert!(!event[key].is_null(), "no {key} in {event}");
        }
    }
    let breach = &breaches[0];
    assert_eq!(breach["metric"], "disk_used");
    assert_eq!(breach["detail"]["breach"]["limit"], 90.0);
    let hours = breach["detail"]["breach"]["seconds"]
        .as_f64()
        .expect("a time to breach")
        / 3600.0;
    assert!((20.0..=48.0).contains(&hours), "{hours}");
    let words = patterns(&service, "template")[0]["explanation"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        words.starts_with("template `tooth`: load takes this shape again"),
        "{words}"
    );
    let counted = "layer5_patterns_detected_total{kind=\"forecast_breach\"} 2\n";
    until("they are counted", || {
        service.metrics_page().contains(counted).then_some(())
    });

    // A kill, and the whole log again: nothing twice, and what is asked is still known without the file.
    let (templates, breaches) = (places(&patterns(&service, "template")), places(&breaches));
    service.kill();
    let service = started(&data, &format!("{BASE}{ASKED}"));
    until("the replay is through", || {
        (service.status()["ready"] == true).then_some(())
    });
    assert_eq!(places(&patterns(&service, "template")), templates);
    assert_eq!(places(&patterns(&service, "forecast_breach")), breaches);
}

#[test]
fn what_can_not_be_asked_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("l5.toml");
    let templates = folder.path().join("templates.toml");
    let refused = |config: &str, of_templates: &str, says: &str| {
        let named = format!(
            "[patterns]\ntemplates_file = {:?}\n{config}",
            templates.display().to_string()
        );
        std::fs::write(&path, named).expect("writable");
        std::fs::write(&templates, of_templates).expect("writable");
        let path = path.to_str().expect("UTF-8");
        let output = service::run(&["config", "check", "--config", path]);
        let said = service::complaint(&output);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(says), "no `{says}` in {said}");
    };
    let template =
        |values: &str| format!("[[template]]\nname = \"t\"\nmetric = \"m\"\nvalues = {values}\n");
    refused(
        "",
        "[http]\n",
        "templates.toml:1: `http` has no place in a file of templates",
    );
    refused(
        "",
        &template("[1.0, 2.0]"),
        "templates.toml:4: template[0].values",
    );
    refused(
        "",
        &template("[1.0, nan, 2.0, 3.0]"),
        "templates.toml:4: template[0].values",
    );
    refused("", &template("[1, 2, 3, \"4\"]"), "templates.toml:4");
    let long: Vec<String> = (0..1025).map(|i| format!("{}.0", i % 7)).collect();
    refused(
        "",
        &template(&format!("[{}]", long.join(","))),
        "4 to 1024 values",
    );
    refused(
        "template_bytes_max = 1000\n",
        &template("[1.0, 2.0, 3.0, 4.0]"),
        "patterns.template_bytes_max",
    );
    refused(
        "[patterns.metric.latency_ms]\nupper = -1.0\n",
        "",
        "l5.toml:4: patterns.metric.latency_ms.upper = -1",
    );
}
