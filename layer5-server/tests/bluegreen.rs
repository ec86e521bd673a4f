//! Blue-green on this machine: real processes behind a real HAProxy, under load, good versions and bad ones.
//! Without haproxy these tests say so and pass; with LAYER5_REQUIRE_TOOLS=1 they fail.

mod service;

use std::process::Stdio;

use serde_json::{Value, json};
use service::{Service, layer5, named_metrics, recent_second, until};

/// `layer5 bluegreen local` with these arguments; its result, or `None` where haproxy is missing and not required.
fn exercise(arguments: &[&str]) -> Option<Value> {
    let found = std::process::Command::new("haproxy")
        .arg("-v")
        .stdout(Stdio::null())
        .status();
    if let Err(error) = found {
        assert!(
            std::env::var_os("LAYER5_REQUIRE_TOOLS").is_none_or(|v| v != "1"),
            "haproxy is required and does not start: {error}"
        );
        eprintln!("skipped: haproxy is not installed");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let ran = layer5()
        .args(["bluegreen", "local", "--output", "json", "--keep"])
        .arg(folder.path())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("layer5 can be run");
    let told = String::from_utf8_lossy(&ran.stderr);
    let result: Value = serde_json::from_slice(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {told}\n{}", logs(folder.path())));
    println!("{told}{result:#}");
    assert_eq!(ran.status.success(), result["good"] == true);
    Some(result)
}

/// The ends of the instances' logs, for a failed test.
fn logs(folder: &std::path::Path) -> String {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let logs = files.filter(|file| file.path().extension().is_some_and(|e| e == "log"));
    logs.map(|file| {
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        let end: Vec<&str> = text.lines().rev().take(5).collect();
        format!("{}:\n{}\n", file.path().display(), end.join("\n"))
    })
    .collect()
}

fn nothing_was_lost(result: &Value) {
    assert_eq!(result["failed"], 0, "{result:#}");
    assert_eq!(result["reports"]["lost"], 0, "{result:#}");
    assert_eq!(result["reports"]["doubled"], 0, "{result:#}");
    assert_eq!(result["deliveries"]["doubled"], 0, "{result:#}");
    let taken = |pointer: &str| result.pointer(pointer).and_then(Value::as_u64);
    assert!(taken("/reports/acknowledged") > Some(500), "{result:#}");
    assert!(taken("/deliveries/taken") > Some(0), "{result:#}");
}

#[test]
fn twenty_switches_lose_and_double_nothing() {
    let Some(result) = exercise(&["--switches", "20", "--watch-seconds", "1"]) else {
        return;
    };
    nothing_was_lost(&result);
    assert_eq!(result["deliveries"]["repeated"], 0, "{result:#}");
    let deployments = result["deployments"].as_array().expect("a list");
    assert_eq!(deployments.len(), 20);
    for deployment in deployments {
        assert_eq!(deployment["ended"], "switched", "{deployment:#}");
        assert_eq!(deployment["serving"], deployment["to"], "{deployment:#}");
    }
    // The pause is a figure (docs/benchmarks.md); on a machine that does other things besides it may be longer.
    let pause = result["longest_gap_ms"].as_u64().expect("a number");
    assert!(pause < 20_000, "{pause} ms");
    assert_eq!(result["good"], true, "{result:#}");
}

#[test]
fn ten_bad_versions_leave_the_old_one_serving() {
    let Some(result) = exercise(&[
        "--switches",
        "0",
        "--rollbacks",
        "10",
        "--ready-seconds",
        "10",
    ]) else {
        return;
    };
    nothing_was_lost(&result);
    let deployments = result["deployments"].as_array().expect("a list");
    assert_eq!(deployments.len(), 10);
    for deployment in deployments {
        assert_eq!(deployment["serving"], "green", "{deployment:#}");
        assert_ne!(deployment["ended"], "switched", "{deployment:#}");
        let (fault, why) = (&deployment["fault"], deployment["why"].as_str());
        let expected = match fault.as_str().expect("a fault") {
            "crash" => "ended with",
            "not-ready" => "did not get ready",
            "errors" | "errors-late" => "report",
            "numbers" => "findings",
            "accuracy" => "accuracy",
            "crash-late" => "does not answer",
            "crash-takeover" => "ended with signal",
            other => panic!("{other} is no fault"),
        };
        let why = why.expect("a reason");
        assert!(why.contains(expected), "{fault}: {why}");
    }
    assert_eq!(result["good"], true, "{result:#}");
}

#[test]
fn a_shadow_follows_and_hands_nothing_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let live = Service::start(&folder.path().join("live"));
    let at = json!(recent_second());
    let send = |n: usize| {
        let report = named_metrics(
            "agent_1",
            &format!("t-{n}"),
            &at,
            &json!({"x": n, "y": 1.5}),
        );
        assert_eq!(live.post("/kpi", &report).json(200)["accepted"], 1);
    };
    (0..3).for_each(send);
    let url = format!("http://{}", live.api);
    let settings = [("ROLE", "shadow"), ("SOURCES__FOLLOW__URL", url.as_str())];
    let shadow_folder = folder.path().join("shadow");
    let shadow = Service::start_with(&shadow_folder, &settings, None);
    let stored = |service: &Service| service.status()["reports"]["stored"].as_u64();
    until("the shadow has the log so far", || {
        (stored(&shadow) == Some(3)).then_some(())
    });
    (3..5).for_each(send);
    until("the shadow follows", || {
        (stored(&shadow) == Some(5)).then_some(())
    });
    let samples = |service: &Service, metric: &str| {
        let page = service
            .get(&format!("/api/v1/series/agent_1/{metric}"))
            .json(200);
        page["samples"].as_array().cloned().expect("a list")
    };
    for metric in ["x", "y"] {
        assert_eq!(samples(&shadow, metric), samples(&live, metric));
    }
    let detail = shadow.get("/feedback").problem(409);
    assert!(detail.contains("shadow"), "{detail}");
    assert_eq!(shadow.status()["role"], "shadow");
    // It goes on where it was.
    shadow.kill();
    send(5);
    let shadow = Service::start_with(&shadow_folder, &settings, None);
    until("the shadow goes on", || {
        (stored(&shadow) == Some(6)).then_some(())
    });
    assert_eq!(samples(&shadow, "x"), samples(&live, "x"));
}

#[test]
fn who_waits_for_the_folder_gets_it_and_answers_what_came_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut first = Service::start(&data);
    assert_eq!(first.status()["epoch"], 1);
    let waiting = std::thread::spawn({
        let data = data.clone();
        move || Service::start_with(&data, &[("STORE__LOCK_WAIT_SECONDS", "60")], None)
    });
    let report = named_metrics("a", "t", &json!(recent_second()), &json!({"x": 1}));
    assert_eq!(first.post("/kpi", &report).json(200)["accepted"], 1);
    assert!(first.terminate().success());
    let second = waiting.join().expect("the second one became ready");
    let status = second.status();
    assert_eq!(
        (&status["epoch"], &status["reports"]["stored"]),
        (&json!(2), &json!(1))
    );
    // The same report again is known: what the first one acknowledged is the second one's.
    assert_eq!(second.post("/kpi", &report).json(200)["duplicates"], 1);
}

#[test]
fn an_instance_whose_folder_was_taken_writes_and_hands_out_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = Service::start(folder.path());
    // What another process does whose file system gave it the lock.
    std::fs::write(folder.path().join("epoch"), format!("{:020}\n", 9)).expect("written");
    let report = named_metrics("a", "t", &json!(recent_second()), &json!({"x": 1}));
    assert_eq!(service.get("/feedback").status, 503);
    let refused = service.post("/kpi", &report);
    assert_eq!(
        refused.status,
        503,
        "{}",
        String::from_utf8_lossy(&refused.body)
    );
    let status = until("the process goes down", || service.ended());
    assert_eq!(status.code(), Some(74));
}
