//! Looking back over HTTP and from the shell: the history of a series, page by page and in steps, and the reports that were
//! refused, with another try.

mod service;

use layer5_server::clock;
use serde_json::{Value, json};
use service::{Service, finished_task, named_metrics, recent_second};

/// Seconds and values of a page.
fn rows(page: &Value) -> Vec<(String, f64)> {
    let samples = page["samples"].as_array().expect("a list of samples");
    let text = |row: &Value| row["at"].as_str().expect("a time").to_owned();
    samples
        .iter()
        .map(|row| (text(row), row["value"].as_f64().expect("a number")))
        .collect()
}

#[test]
fn history_comes_in_the_order_of_time_page_by_page_and_in_steps() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = folder.path().join("data");
    let mut service = Service::start(&data_dir);
    // A whole minute some minutes ago, so that steps of a minute begin there.
    let now = recent_second().millis() / 60_000 * 60_000;
    let start = layer5_core::Timestamp::from_millis(now - 10 * 60_000);
    let second = |s: i64| layer5_core::Timestamp::from_millis(start.millis() + 1000 * s);
    // Late ones last: seconds 0 to 59 come after 60 to 119, and two reports share second 60.
    let mut lines = String::new();
    for s in (60..120).chain([60]).chain(0..60) {
        let metrics = json!({ "queue/depth": s as f64 / 2.0, "latency_ms": 45.2 });
        let task = format!("t-{s}-{}", lines.len());
        lines += &(named_metrics("agent 1", &task, &json!(second(s)), &metrics).to_string() + "\n");
    }
    assert_eq!(service.post_lines(&lines).json(200)["accepted"], 121);

    let path = "/api/v1/series/agent%201/queue%2Fdepth";
    let span = format!("from={}&to={}", start.seconds(), second(120).seconds());
    let all = service.get(&format!("{path}?{span}&limit=1000")).json(200);
    assert_eq!(all["agent_id"], "agent 1");
    assert_eq!(all["metric"], "queue/depth");
    assert_eq!(all["next_after"], Value::Null);
    let found = rows(&all);
    let mut expected: Vec<i64> = (0..120).collect();
    expected.insert(60, 60);
    let expected: Vec<(String, f64)> = expected
        .iter()
        .map(|&s| (second(s).to_string(), s as f64 / 2.0))
        .collect();
    assert_eq!(found, expected);

    for limit in [1, 7, 60, 61, 121] {
        let (mut paged, mut after) = (Vec::new(), String::new());
        loop {
            let page = service
                .get(&format!("{path}?{span}&limit={limit}{after}"))
                .json(200);
            let n = rows(&page).len();
            assert!(n <= limit);
            paged.extend(rows(&page));
            match page["next_after"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(paged, expected, "in pages of {limit}");
    }

    let steps = service.get(&format!("{path}?{span}&step=60")).json(200);
    let bucket = |at: i64, min: f64, max: f64, mean: f64, count: u64| json!({ "at": second(at), "min": min, "max": max, "mean": mean, "count": count });
    let second_mean = ((60..120).sum::<i64>() + 60) as f64 / 2.0 / 61.0;
    assert_eq!(
        steps["buckets"],
        json!([
            bucket(0, 0.0, 29.5, 14.75, 60),
            bucket(60, 30.0, 59.5, second_mean, 61)
        ])
    );
    service::until("the metrics page has caught up", || {
        let page = service.metrics_page();
        page.contains("layer5_history_samples{place=\"memory\"} 242")
            .then_some(())
    });

    let refused = |query: &str, word: &str| {
        let detail = service.get(&format!("{path}?{query}")).problem(400);
        assert!(detail.contains(word), "{detail}");
    };
    refused("from=yesterday", "RFC 3339");
    refused("from=20&to=10", "after");
    refused("step=0", "step");
    refused("step=nan", "step");
    refused("from=0&step=1", "11000");
    refused("after=x", "next_after");
    let unknown = service.get("/api/v1/series/agent%201/nothing");
    assert!(unknown.problem(404).contains("nothing"));
    service.get("/api/v1/series/nobody/latency_ms").problem(404);

    // And the same after a restart, out of the log.
    assert_eq!(service.terminate().code(), Some(0));
    let service = Service::start(&data_dir);
    let again = service.get(&format!("{path}?{span}&limit=1000")).json(200);
    assert_eq!(again, all);
}

/// `layer5 deadletter` with these arguments; its exit code and what it said.
fn deadletter(arguments: &[&str]) -> (Option<i32>, String) {
    let output = service::run(&[&["deadletter"], arguments].concat());
    let said = service::text(&output) + &service::complaint(&output);
    (output.status.code(), said)
}

#[test]
fn what_was_refused_can_be_looked_at_and_tried_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = folder.path().join("data");
    let tight = [("LIMITS__AGENTS_MAX", "1")];
    let mut service = Service::start_with(&data_dir, &tight, None);
    let at = json!(clock::now());
    assert_eq!(
        service
            .post("/kpi", &finished_task("a", "1", &at))
            .json(200)["accepted"],
        1
    );
    let stranger = finished_task("b", "2", &at);
    service.post("/kpi", &stranger).json(200);
    let mut wrong = finished_task("a", "3", &at);
    wrong["accuracy"] = json!(1.7);
    service.post("/kpi", &wrong).json(200);
    let url = format!("http://{}", service.api);
    let listed = service::until("both are kept", || {
        let (code, said) = deadletter(&["list", "--url", &url, "--output", "json"]);
        assert_eq!(code, Some(0), "{said}");
        (said.lines().count() == 2).then_some(said)
    });
    let letters: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON lines"))
        .collect();
    assert_eq!(letters[0]["reason"], "cardinality");
    assert_eq!(letters[1]["reason"], "out_of_range");
    let raw = letters[0]["raw"].as_str().expect("what came");
    let raw: Value = serde_json::from_str(raw).expect("the report as it came");
    assert_eq!(raw, stranger);

    let (code, said) = deadletter(&["show", "2", "--url", &url]);
    assert_eq!(code, Some(0));
    assert!(said.contains("accuracy") && said.contains("1.7"), "{said}");
    assert_eq!(deadletter(&["show", "99", "--url", &url]).0, Some(66));
    let (code, said) = deadletter(&["replay", "--all", "--url", &url]);
    assert_eq!(
        code,
        Some(65),
        "nothing has changed, so both are refused again: {said}"
    );
    assert!(
        said.contains("0 accepted, 0 known already, 2 refused"),
        "{said}"
    );
    assert_eq!(service.terminate().code(), Some(0));

    let stopped = ["--data-dir", data_dir.to_str().expect("UTF-8")];
    let (code, said) = deadletter(&[&["list"], &stopped[..]].concat());
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("cardinality") && said.contains("out_of_range"),
        "{said}"
    );

    // With more room the stranger is let in; the other stays what it is.
    let service = Service::start(&data_dir);
    let url = format!("http://{}", service.api);
    let (code, said) = deadletter(&["replay", "--all", "--reason", "cardinality", "--url", &url]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("1 accepted, 0 known already, 0 refused"),
        "{said}"
    );
    assert_eq!(service.status()["reports"]["stored"], 2);
    let left = service.get("/api/v1/dead-letters").json(200);
    let left = left["dead_letters"].as_array().expect("a list");
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["reason"], "out_of_range");
    let again = json!({ "numbers": [12345] });
    let answer = service
        .post("/api/v1/dead-letters/replay", &again)
        .json(200);
    assert_eq!(answer["refused"][0]["number"], 12345);
}
