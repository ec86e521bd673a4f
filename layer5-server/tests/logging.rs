//! The log of a running service: request ids, the level changed while it runs, a file that is rotated, a disk that is full,
//! and what must never be in it: secrets, payloads, control characters.

mod service;

use std::{fs, path::Path};

use serde_json::{Value, json};
use service::{Service, finished_task, layer5, recent_second, run, text, until};

/// What no line may show.
const PLANTED: [&str; 6] = [
    "planted-operator-token",
    "planted-redis-password",
    "planted-layer7-password",
    "planted-header-secret",
    "planted-payload-value",
    "planted-query-secret",
];

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}")))
        .collect()
}

#[test]
fn a_level_is_changed_while_it_runs_and_lines_carry_the_id_of_their_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("layer5.log");
    let settings = [("LOG__FILE", file.to_str().expect("UTF-8"))];
    let service = Service::start_with(&folder.path().join("data"), &settings, None);
    let ask = |id: &str| service.call("GET", "/ready", &[("X-Request-Id", id)], b"");
    let said = |id: &str| {
        let all = lines(&file);
        all.into_iter()
            .find(|line| line["span"]["request_id"] == id)
    };
    assert_eq!(ask("before-1").header("x-request-id"), Some("before-1"));
    assert_eq!(
        service.get("/api/v1/log-level").json(200),
        json!({"level": "info"})
    );

    let put = |level: &str| {
        let body = json!({ "level": level }).to_string();
        service.call("PUT", "/api/v1/log-level", &[], body.as_bytes())
    };
    let problem = put("inffo").problem(400);
    assert!(
        problem.contains("inffo") && problem.contains("debug"),
        "{problem}"
    );
    assert_eq!(put("layer5_server=debug,info").status, 200);
    ask("during-1");
    let line = until("the line of the request", || said("during-1"));
    assert_eq!(line["route"], "/ready");
    assert_eq!(line["level"], "DEBUG");
    assert!(
        line["took_ms"].as_f64().is_some_and(|ms| ms >= 0.0),
        "{line}"
    );
    assert!(said("before-1").is_none(), "nothing was logged at info");
    let changed = until("the change is logged", || {
        let all = lines(&file);
        all.into_iter()
            .find(|line| line["message"] == "the log level was changed")
    });
    assert_eq!(changed["now"], "layer5_server=debug,info");

    assert_eq!(put("info").status, 200);
    ask("after-1");
    assert_eq!(service.get("/nowhere").status, 404);
    assert!(said("after-1").is_none());
    let odd = service.call("GET", "/ready", &[("X-Request-Id", "a\"b c")], b"");
    assert!(
        odd.header("x-request-id")
            .is_some_and(|id| !id.contains('"'))
    );
}

#[test]
fn neither_a_secret_nor_a_payload_nor_a_control_character_reaches_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = folder.path().join("tokens");
    fs::write(&tokens, "operator planted-operator-token\n").expect("written");
    let file = folder.path().join("layer5.log");
    let settings = [
        ("AUTH__TOKENS_FILE", tokens.to_str().expect("UTF-8")),
        ("LOG__FILE", file.to_str().expect("UTF-8")),
        // Everything that anybody in the process has to say.
        ("LOG__LEVEL", "trace"),
        (
            "SOURCES__REDIS__URL",
            "redis://:planted-redis-password@127.0.0.1:9",
        ),
        (
            "LAYER7__URL",
            "http://me:planted-layer7-password@127.0.0.1:9",
        ),
    ];
    let mut service = Service::start_with(&folder.path().join("data"), &settings, None);
    let bearer = ("Authorization", "Bearer planted-operator-token");
    let now = json!(recent_second().to_string());
    let mut good = finished_task("agent_1", "t1", &now);
    good["custom_metrics"] = json!({ "planted-payload-value": 1.0 });
    let bad =
        json!({ "agent_id": "a\u{1b}[31m\u{7}", "metrics": { "planted-payload-value": "x" } });
    let secret = ("Cookie", "session=planted-header-secret");
    for body in [
        good.to_string(),
        bad.to_string(),
        "{planted-payload-value".into(),
    ] {
        service.call("POST", "/kpi", &[bearer, secret], body.as_bytes());
    }
    service.call(
        "GET",
        "/api/v1/agents?token=planted-query-secret",
        &[secret],
        b"",
    );
    service.call("GET", "/planted-query-secret", &[bearer], b"");
    service.call(
        "POST",
        "/optimize",
        &[bearer],
        json!({"agent_id": "agent_1", "parameters": {"planted-payload-value": 1.0}})
            .to_string()
            .as_bytes(),
    );
    // Both neighbours are called at least once meanwhile.
    until("the source was tried", || {
        service.said("the source is down, it is tried again")
    });
    assert!(service.terminate().success());

    let log = fs::read_to_string(&file).expect("the file is there");
    // The lines of the requests are there, at the level that says most.
    assert!(log.contains("request served"), "{log}");
    for word in PLANTED {
        let found: Vec<&str> = log
            .lines()
            .filter(|line| line.contains(word))
            .take(3)
            .collect();
        assert!(found.is_empty(), "{word}: {found:#?}");
    }
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!log.contains(control), "a control character");
    assert!(lines(&file).len() >= 5, "every line is JSON");
}

#[test]
fn the_file_is_rotated_while_the_service_runs_and_its_pieces_are_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("layer5.log");
    let settings = [
        ("LOG__FILE", file.to_str().expect("UTF-8")),
        ("LOG__FILE_BYTES_MAX", "2048"),
        ("LOG__FILES_MAX", "3"),
        ("LOG__LEVEL", "layer5_server=debug"),
    ];
    let mut service = Service::start_with(&folder.path().join("data"), &settings, None);
    let pieces = || {
        let names = fs::read_dir(folder.path()).expect("a folder");
        let names = names.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = names.map(|n| n.to_string_lossy().into_owned()).collect();
        names.retain(|name| name.starts_with("layer5.log.") && name.ends_with(".gz"));
        names
    };
    until("three pieces", || {
        service.get("/ready");
        (pieces().len() >= 3).then_some(())
    });
    for _ in 0..100 {
        service.get("/ready");
    }
    assert!(service.terminate().success());
    assert_eq!(pieces().len(), 3, "{:?}", pieces());
    assert!(fs::metadata(&file).expect("there").len() <= 2048);
    let mut files: Vec<String> = pieces();
    files.push("layer5.log".into());
    let found = layer5()
        .args(["logs", "analyze", "--output", "json"])
        .args(&files)
        .current_dir(folder.path())
        .output()
        .expect("layer5 can be run");
    let found: Value = serde_json::from_slice(&found.stdout).expect("JSON");
    assert!(found["lines"].as_u64().is_some_and(|n| n > 20), "{found}");
    assert_eq!(found["not_understood"], 0, "{found}");
}

#[test]
fn a_full_log_disk_stops_nothing_and_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("layer5.log");
    // Every write to it finds the disk full.
    std::os::unix::fs::symlink("/dev/full", &file).expect("a link");
    let settings = [("LOG__FILE", file.to_str().expect("UTF-8"))];
    let service = Service::start_with(&folder.path().join("data"), &settings, None);
    let now = json!(recent_second().to_string());
    let answer = service.post("/kpi", &finished_task("a", "t", &now));
    assert_eq!(answer.json(200)["accepted"], 1);
    until("the metric tells", || {
        let page = service.metrics_page();
        let line = page
            .lines()
            .find(|l| l.starts_with("layer5_log_lines_dropped_total "))?;
        let dropped: f64 = line.rsplit(' ').next()?.parse().ok()?;
        (dropped > 0.0).then_some(())
    });
    assert_eq!(service.get("/ready").status, 200);
}

#[test]
fn a_log_file_that_cannot_be_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = service::command(
        &folder.path().join("data"),
        &[("LOG__FILE", "/nowhere/at/all/layer5.log")],
        None,
    )
    .output()
    .expect("layer5 can be run");
    assert_eq!(output.status.code(), Some(78));
    let told = service::complaint(&output);
    assert!(
        told.contains("log.file") && told.contains("/nowhere/at/all"),
        "{told}"
    );
}

const LOG: &str = r#"{"timestamp":"2026-11-28T14:01:00.000000Z","level":"INFO","message":"layer5 is ready","target":"layer5_server::cli::serve"}
{"timestamp":"2026-11-28T14:03:00.000000Z","level":"WARN","message":"request was slow","method":"POST","route":"/kpi","status":200,"took_ms":812.5,"target":"layer5_server::http::trail","span":{"request_id":"r-1","name":"request"}}
not a line of ours
{"timestamp":"2026-11-28T14:04:30.000000Z","level":"ERROR","message":"nothing is taken until there is room","error":"disk 17 % free","target":"layer5_server::pipeline"}
{"timestamp":"2026-11-28T14:05:10.000000Z","level":"ERROR","message":"nothing is taken until there is room","error":"disk 3 % free","target":"layer5_server::pipeline"}
{"timestamp":"2026-11-28T14:06:00.000000Z","level":"INFO","message":"there is room on the disk again","target":"layer5_server::pipeline"}
{"timestamp":"2026-11-28T16:00:00.000000Z","level":"WARN","message":"the source is down, it is tried again","error":"connection refused","target":"layer5_server::sources"}
"#;

fn analyze(arguments: &[&str], log: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("some.log");
    fs::write(&path, log).expect("written");
    let path = path.to_str().expect("UTF-8").to_owned();
    let fixed = ["logs", "analyze", path.as_str()];
    let output = run(&[&fixed[..], arguments].concat());
    (
        output.status.code(),
        text(&output) + &service::complaint(&output),
    )
}

#[test]
fn a_log_is_grouped_slow_requests_are_listed_and_a_moment_is_told() {
    let (code, found) = analyze(&["--output", "json"], LOG);
    assert_eq!(code, Some(0), "{found}");
    let found: Value = serde_json::from_str(&found).expect("JSON");
    assert_eq!(
        (&found["lines"], &found["not_understood"]),
        (&json!(6), &json!(1))
    );
    let groups = found["groups"].as_array().expect("groups");
    assert_eq!(groups[0]["message"], "nothing is taken until there is room");
    assert_eq!(groups[0]["count"], 2);
    assert_eq!(groups[0]["first"], "2026-11-28T14:04:30Z");
    assert_eq!(groups[0]["last"], "2026-11-28T14:05:10Z");
    assert_eq!(found["slow"][0]["took_ms"], 812.5);
    assert_eq!(found["slow"][0]["request_id"], "r-1");

    let (code, told) = analyze(&["--around", "14:05"], LOG);
    assert_eq!(code, Some(0), "{told}");
    for there in [
        "14:04:30",
        "14:06:00",
        "r-1",
        "there is room on the disk again",
        "disk 3 % free",
    ] {
        assert!(told.contains(there), "{there}: {told}");
    }
    assert!(!told.contains("the source is down"), "{told}");
    let (_, narrow) = analyze(
        &["--around", "2026-11-28T14:05:00Z", "--within", "30s"],
        LOG,
    );
    assert!(
        narrow.contains("14:05:10") && !narrow.contains("14:06:00"),
        "{narrow}"
    );
}

#[test]
fn what_a_log_cannot_tell_is_said() {
    for (arguments, code, says) in [
        (&["--around", "25:00"][..], 2, "14:05"),
        (&["--around", "03:00"], 0, "nothing was logged"),
        (&["--within", "soon"], 2, "30m"),
    ] {
        let (found, told) = analyze(arguments, LOG);
        assert_eq!(found, Some(code), "{arguments:?}: {told}");
        assert!(told.contains(says), "{told}");
    }
    let (code, told) = analyze(&[], "hello\n\u{1b}[31mworld\n");
    assert_eq!(code, Some(65), "{told}");
    assert!(!told.contains('\u{1b}'), "{told:?}");
    let missing = run(&["logs", "analyze", "/no/such.log"]);
    assert_eq!(missing.status.code(), Some(66));
}
