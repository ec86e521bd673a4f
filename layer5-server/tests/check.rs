//! The daily check and the container probe against a real service: healthy, before its first report, with reports that
//! are refused, gone.

mod service;

use serde_json::{Value, json};
use service::{Service, complaint, finished_task, run, text};

/// Runs `layer5 check --output json` on a service; its exit code and the checks by name.
fn check(service: &Service, more: &[&str]) -> (Option<i32>, Value) {
    let api = format!("http://{}", service.api);
    let metrics = format!("http://{}", service.metrics);
    let fixed = ["check", "--url", &api, "--metrics-url", &metrics];
    let fast = ["--watch", "0", "--output", "json"];
    let output = run(&[&fixed[..], &fast, more].concat());
    let found = serde_json::from_slice(&output.stdout);
    (
        output.status.code(),
        found.unwrap_or_else(|_| panic!("{}", complaint(&output))),
    )
}

fn state<'a>(result: &'a Value, name: &str) -> &'a str {
    let checks = result["checks"].as_array().expect("a list of checks");
    let found = checks.iter().find(|check| check["check"] == name);
    found
        .and_then(|check| check["state"].as_str())
        .unwrap_or("absent")
}

#[test]
fn a_service_is_red_without_reports_green_with_them_and_yellow_with_bad_ones() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let service = Service::start(folder.path());
    let (code, result) = check(&service, &[]);
    assert_eq!(code, Some(2), "{result}");
    assert_eq!(state(&result, "liveness"), "green");
    assert_eq!(state(&result, "KPI flow"), "red");

    let now = json!(layer5_server::clock::now().to_string());
    let good: String = (0..99)
        .map(|i| format!("{}\n", finished_task("a", &format!("t{i}"), &now)))
        .collect();
    assert_eq!(service.post_lines(&good).status, 200);
    let settled = |name: &str, wanted: &str| {
        service::until(&format!("{name} is {wanted}"), || {
            let (code, result) = check(&service, &[]);
            (state(&result, name) == wanted).then_some((code, result))
        })
    };
    let (_, result) = settled("KPI flow", "green");
    for name in [
        "readiness",
        "metrics",
        "buffer",
        "error rate",
        "clock",
        "version",
    ] {
        assert_eq!(state(&result, name), "green", "{name}: {result}");
    }
    assert_eq!(
        state(&result, "backup"),
        "unknown",
        "what is not known is never green"
    );

    // Three bad ones of 102: below 99 %, above 95 %.
    assert_eq!(service.post_lines("{}\n{}\n{}\n").status, 200);
    let (code, result) = settled("data quality", "yellow");
    assert!(code >= Some(1), "{result}");

    let page = folder.path().join("today.md");
    let (_, _) = check(&service, &["--report", page.to_str().expect("UTF-8")]);
    let page = std::fs::read_to_string(page).expect("the report was written");
    assert!(page.contains("| data quality | yellow |"), "{page}");
}

#[test]
fn a_service_that_is_gone_is_red_and_the_probe_says_no() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let service = Service::start(folder.path());
    let api = format!("http://{}", service.api);
    for question in ["live", "ready"] {
        let output = run(&["probe", question, "--url", &api]);
        assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    }
    service.kill();
    let output = run(&["probe", "--url", &api]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        complaint(&output).contains("does not answer"),
        "{}",
        complaint(&output)
    );
    let output = run(&["check", "--url", &api, "--watch", "0"]);
    assert_eq!(output.status.code(), Some(2));
    let table = text(&output);
    assert!(
        table.contains("Layer5Down") && table.contains("red"),
        "{table}"
    );
}
