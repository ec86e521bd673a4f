//! The contracts, sections 2 to 4 and 6, as a sender sees them: a real process, real sockets, every endpoint, and what
//! each answers to a caller who got it wrong.

mod service;

use std::{
    io::Write,
    process::{Command, Stdio},
};

use layer5_core::Timestamp;
use layer5_server::clock;
use serde_json::{Value, json};
use service::{Answer, Service, call, finished_task, named_metrics, recent_second, until};
use tempfile::TempDir;

/// A service with a data folder of its own.
struct House {
    service: Service,
    _folder: TempDir,
}

impl House {
    fn new() -> Self {
        Self::with(&[], None)
    }

    fn with(settings: &[(&str, &str)], config: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let service = Service::start_with(&folder.path().join("data"), settings, config);
        Self {
            service,
            _folder: folder,
        }
    }
}

impl std::ops::Deref for House {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

#[track_caller]
fn taken(answer: &Answer, accepted: u64, duplicates: u64) {
    let expected = json!({ "accepted": accepted, "duplicates": duplicates, "rejected": [] });
    assert_eq!(answer.json(200), expected);
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect()
}

fn now() -> Value {
    json!(clock::now())
}

#[test]
fn both_shapes_and_every_form_of_a_time_are_taken_and_mean_the_same() {
    let house = House::new();
    let at = recent_second();
    let seconds = at.millis() / 1000;
    let forms = [
        json!(at),
        json!(seconds),
        json!(seconds as f64),
        json!({ "secs_since_epoch": seconds, "nanos_since_epoch": 0 }),
    ];
    for (path, shape) in [("/kpi", "A"), ("/api/v1/kpi", "B")] {
        for (i, time) in forms.iter().enumerate() {
            let report = match shape {
                "A" => finished_task("agent-a", "t-1", time),
                _ => named_metrics("agent-b", "t-1", time, &json!({ "queue_depth": 3 })),
            };
            // The same report at the same time, told in another form, is a duplicate.
            taken(
                &house.post(path, &report),
                u64::from(i == 0),
                u64::from(i != 0),
            );
        }
    }
    let half = json!(seconds as f64 - 0.5);
    taken(
        &house.post("/kpi", &finished_task("agent-a", "t-1", &half)),
        1,
        0,
    );
    let half = json!({ "secs_since_epoch": seconds - 1, "nanos_since_epoch": 500_000_000 });
    taken(
        &house.post("/kpi", &finished_task("agent-a", "t-1", &half)),
        0,
        1,
    );
    let status = house.status();
    assert_eq!(status["reports"]["stored"], 3);
    assert_eq!(status["reports"]["received"], 10);
    assert_eq!(status["reports"]["duplicates"], 7);
    assert_eq!(status["samples"]["stored"], 4 + 4 + 1);
}

#[test]
fn every_field_of_the_contract_is_understood() {
    let house = House::new();
    let mut report = finished_task("3f0c7f0e-9a53-4a2e-8f5e-2f8f8f8f8f8f", "t-1", &now());
    report["network_bytes"] = json!(1200);
    report["custom_metrics"] = json!({ "queue_depth": 3, "retries": 0.5 });
    report["execution_context"] = json!({
        "hostname": "host-7", "available_cores": 8, "available_memory_mb": 16384,
        "gpu_info": null, "network_interfaces": ["eth0"],
    });
    report["a_field_of_next_year"] = json!({ "deep": [1, { "er": true }] });
    taken(&house.post("/kpi", &report), 1, 0);
    let mut batch = named_metrics(
        "agent_17",
        "t-2",
        &now(),
        &json!({ "offset": -4.0, "x": 1e300 }),
    );
    batch["metadata"] = json!({ "region": "north" });
    taken(&house.post("/kpi", &batch), 1, 0);

    let agents = house.get("/api/v1/agents").json(200);
    assert_eq!(agents["total"], 2);
    assert_eq!(agents["agents"][0]["host"], "host-7");
    assert_eq!(agents["agents"][0]["series"], 7);
    let agent = until("the samples reach their watches", || {
        let agent = house.get("/api/v1/agents/agent_17").json(200);
        (agent["series"].as_array().is_some_and(|s| s.len() == 2)).then_some(agent)
    });
    let series = agent["series"].as_array().expect("a list");
    let offset = series
        .iter()
        .find(|s| s["metric"] == "offset")
        .expect("what was sent");
    assert_eq!(offset["last_value"], -4.0);
    let all = house.get("/api/v1/series?limit=4").json(200);
    assert_eq!((&all["total"], &all["next_after"]), (&json!(9), &json!(3)));
    let rest = house.get("/api/v1/series?limit=1000&after=3").json(200);
    assert_eq!(rest["series"].as_array().map(Vec::len), Some(5));
    assert_eq!(rest["next_after"], Value::Null);
}

#[test]
fn an_object_an_array_lines_and_compressed_bodies_are_the_same_to_it() {
    let house = House::new();
    let report = |task: &str| finished_task("a", task, &now());
    taken(
        &house.post("/kpi", &json!([report("1"), report("2")])),
        2,
        0,
    );
    taken(&house.post("/kpi", &json!([])), 0, 0);
    let mixed = named_metrics("b", "4", &now(), &json!({ "x": 1 }));
    taken(
        &house.post_lines(&format!("{}\r\n\n{mixed}\n", report("3"))),
        2,
        0,
    );

    let json = [("Content-Type", "application/json")];
    let encoded = |encoding| [json[0], ("Content-Encoding", encoding)];
    let text = json!([report("5"), report("6")]).to_string();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).expect("memory");
    let gzip = gzip.finish().expect("memory");
    taken(&house.call("POST", "/kpi", &encoded("gzip"), &gzip), 2, 0);
    let text = report("7").to_string();
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let zstd = ruzstd::encoding::compress_to_vec(text.as_bytes(), level);
    taken(&house.call("POST", "/kpi", &encoded("zstd"), &zstd), 1, 0);
    house
        .call("POST", "/kpi", &encoded("gzip"), b"not gzip")
        .problem(400);
    house
        .call("POST", "/kpi", &encoded("gzip"), &gzip[..gzip.len() / 2])
        .problem(400);
    assert_eq!(house.status()["reports"]["stored"], 7);
}

#[test]
fn a_buffered_answer_comes_before_the_disk_and_the_report_still_gets_there() {
    let house = House::new();
    let answer = house.post("/kpi?ack=buffered", &finished_task("a", "1", &now()));
    taken(&answer, 1, 0);
    until("the report is stored", || {
        (house.status()["reports"]["stored"] == 1).then_some(())
    });
    taken(
        &house.post("/kpi?ack=durable", &finished_task("a", "2", &now())),
        1,
        0,
    );
    let detail = house
        .post("/kpi?ack=soon", &finished_task("a", "3", &now()))
        .problem(400);
    assert!(
        detail.contains("soon") && detail.contains("buffered"),
        "{detail}"
    );
}

#[test]
fn each_bad_report_of_a_body_is_named_and_the_good_ones_are_kept() {
    let house = House::new();
    let good = |task: &str| finished_task("a", task, &now());
    let with = |field: &str, value: Value| {
        let mut report = good("bad");
        report[field] = value;
        report
    };
    let mut without_accuracy = good("bad");
    without_accuracy
        .as_object_mut()
        .expect("an object")
        .remove("accuracy");
    let ahead = clock::now().plus_seconds(365.0 * 86_400.0);
    let old = clock::now().plus_seconds(-2.0 * 3600.0);
    let bad = [
        (
            with("accuracy", json!(1.7)),
            "out_of_range",
            "accuracy",
            "1.7",
        ),
        (
            with("latency_ms", json!(0)),
            "out_of_range",
            "latency_ms",
            "0",
        ),
        (
            with("memory_mb", json!(1_000_000)),
            "out_of_range",
            "memory_mb",
            "1000000",
        ),
        (
            with("cpu_usage", json!(-0.1)),
            "out_of_range",
            "cpu_usage",
            "-0.1",
        ),
        (
            with("network_bytes", json!(1_000_000_000_000_u64)),
            "out_of_range",
            "network_bytes",
            "1000000000000",
        ),
        (
            with("latency_ms", json!("fast")),
            "wrong_type",
            "latency_ms",
            "",
        ),
        (with("agent_id", json!(7)), "wrong_type", "agent_id", ""),
        (without_accuracy, "missing_field", "accuracy", ""),
        (with("agent_id", json!("")), "invalid_id", "agent_id", ""),
        (
            with("task_id", json!("x".repeat(129))),
            "invalid_id",
            "task_id",
            "129",
        ),
        (
            with("recorded_at", json!("noon")),
            "invalid_time",
            "recorded_at",
            "noon",
        ),
        (
            with("recorded_at", json!(ahead)),
            "too_far_ahead",
            "recorded_at",
            "60",
        ),
        (
            with("recorded_at", json!(old)),
            "too_old",
            "recorded_at",
            "3600",
        ),
        (
            named_metrics("b", "t", &now(), &json!({})),
            "no_metrics",
            "metrics",
            "",
        ),
        (
            with("custom_metrics", json!({ "k".repeat(101): 1 })),
            "too_large",
            "",
            "100",
        ),
    ];
    let mut body = vec![good("first")];
    body.extend(bad.iter().map(|(report, ..)| report.clone()));
    body.push(good("last"));
    let answer = house.post("/kpi", &Value::Array(body)).json(200);
    assert_eq!(
        (&answer["accepted"], &answer["duplicates"]),
        (&json!(2), &json!(0))
    );
    let rejected = answer["rejected"].as_array().expect("a list");
    assert_eq!(rejected.len(), bad.len(), "{rejected:#?}");
    for (i, ((_, reason, field, detail), refused)) in bad.iter().zip(rejected).enumerate() {
        assert_eq!(keys(refused), ["detail", "field", "index", "reason"]);
        assert_eq!(refused["index"], i + 1);
        assert_eq!(refused["reason"], *reason, "{refused}");
        assert!(field.is_empty() || refused["field"] == *field, "{refused}");
        assert!(
            refused["detail"]
                .as_str()
                .is_some_and(|d| d.contains(detail)),
            "{refused}"
        );
    }
    let status = house.status();
    assert_eq!(status["reports"]["stored"], 2);
    assert_eq!(status["reports"]["received"], 17);
    assert_eq!(status["reports"]["rejected"]["out_of_range"], 5);
    let page = until("the page counts them", || {
        let page = house.metrics_page();
        page.contains("layer5_kpi_rejected_total{reason=\"out_of_range\"} 5")
            .then_some(page)
    });
    assert!(
        page.contains("layer5_kpi_received_total{source=\"http\"} 17"),
        "{page}"
    );
}

#[test]
fn every_mistake_of_a_caller_is_a_problem() {
    let house = House::with(
        &[
            ("HTTP__BODY_BYTES_MAX", "4096"),
            ("HTTP__DECODED_BYTES_MAX", "8192"),
        ],
        None,
    );
    let broken = house
        .call("POST", "/kpi", &[], b"{\"agent_id\": \"a\",")
        .problem(400);
    assert!(broken.contains("line 1"), "{broken}");
    assert!(
        house
            .call("POST", "/kpi", &[], b"")
            .problem(400)
            .contains("empty")
    );
    for path in [
        "/optimize",
        "/analyze",
        "/feedback",
        "/evolution-feedback",
        "/api/v1/resources",
    ] {
        let detail = house
            .call("POST", path, &[], b"{\"agent_id\":")
            .problem(400);
        assert!(detail.contains("line 1"), "{path}: {detail}");
        house.post(path, &json!({})).problem(400);
    }
    for path in [
        "/api/v1/patterns?kind=odd",
        "/api/v1/patterns?from=noon",
        "/api/v1/patterns?limit=many",
        "/api/v1/series?after=x",
    ] {
        house.get(path).problem(400);
    }
    let known = house.get("/api/v1/patterns?kind=odd").problem(400);
    assert!(
        known.contains("odd") && known.contains("change_point"),
        "{known}"
    );
    house.get("/api/v1/agents/%ff").problem(400);
    assert!(house.get("/nowhere").problem(404).contains("/nowhere"));
    assert!(
        house
            .get("/api/v1/agents/stranger")
            .problem(404)
            .contains("stranger")
    );
    assert!(
        house
            .call("DELETE", "/kpi", &[], b"")
            .problem(405)
            .contains("DELETE")
    );
    let post_only = house.get("/optimize");
    post_only.problem(405);
    assert_eq!(post_only.header("allow"), Some("POST"));
    let sent = [b' '; 4097];
    assert!(
        house
            .call("POST", "/kpi", &[], &sent)
            .problem(413)
            .contains("4096")
    );
    assert!(
        house
            .call("POST", "/optimize", &[], &sent)
            .problem(413)
            .contains("4096")
    );
    let chunked = [("Transfer-Encoding", "chunked")];
    assert!(
        chunked_post(&house, "/kpi", &chunked, &sent)
            .problem(413)
            .contains("4096")
    );
    let detail = house
        .call("POST", "/kpi", &[("Content-Encoding", "br")], b"{}")
        .problem(415);
    assert!(detail.contains("br") && detail.contains("zstd"), "{detail}");
    assert_eq!(
        call(house.metrics, "GET", "/", &[], b"")
            .expect("an answer")
            .status,
        404
    );
    taken(&house.post("/kpi", &finished_task("a", "1", &now())), 1, 0);
}

/// A body whose length is not announced.
fn chunked_post(service: &Service, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    use std::{io::Read, net::TcpStream};
    let mut stream = TcpStream::connect(service.api).expect("the service listens");
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("\r\n{:x}\r\n", body.len());
    let mut bytes = request.into_bytes();
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(b"\r\n0\r\n\r\n");
    stream.write_all(&bytes).expect("a small body fits");
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("the service answers");
    service::parse(&answer, "POST").expect("a whole answer")
}

const COHORT: &str = r#"
[[cohort]]
name = "fleet"
agents = "agent_*"
window_len = 3
settle_len = 0
seed = 1
[[cohort.parameter]]
name = "concurrency"
type = "int"
low = 1.0
high = 32.0
log = true
initial = 4.0
[[cohort.parameter]]
name = "timeout_s"
type = "float"
low = 0.5
high = 8.0
initial = 2.0
"#;

fn optimize(service: &Service, agent: &str, algorithm: &str, parameters: &Value) -> Value {
    let question = json!({ "agent_id": agent, "algorithm": algorithm, "parameters": parameters });
    let answer = service.post("/optimize", &question).json(200);
    assert_eq!(
        keys(&answer),
        [
            "agent_id",
            "algorithm",
            "confidence",
            "expected_improvement",
            "expected_interval",
            "optimization_id",
            "parameters",
            "spaces",
            "timestamp"
        ]
    );
    assert_eq!(
        (&answer["agent_id"], &answer["algorithm"]),
        (&json!(agent), &json!(algorithm))
    );
    let number = |value: &Value| value.as_f64().expect("a number");
    assert!(
        (0.0..=1.0).contains(&number(&answer["confidence"])),
        "{answer}"
    );
    let improvement = number(&answer["expected_improvement"]);
    let interval = &answer["expected_interval"];
    assert!(
        (number(&interval[0])..=number(&interval[1])).contains(&improvement),
        "{answer}"
    );
    for (name, value) in answer["parameters"].as_object().expect("an object") {
        let space = &answer["spaces"][name];
        assert!(
            (number(&space["low"])..=number(&space["high"])).contains(&number(value)),
            "{answer}"
        );
    }
    let at: Timestamp = serde_json::from_value(answer["timestamp"].clone()).expect("a time");
    assert!(clock::now().seconds_since(at) < 300.0);
    answer
}

#[test]
fn a_setting_is_answered_for_agents_known_and_unknown() {
    let house = House::with(&[], Some(COHORT));
    taken(
        &house.post("/kpi", &finished_task("agent_1", "1", &now())),
        1,
        0,
    );
    let algorithms = [
        "auto", "bandit", "bayesian", "gradient", "cmaes", "tpe", "random",
    ];
    for algorithm in algorithms {
        let answer = optimize(
            &house,
            "agent_1",
            algorithm,
            &json!({ "concurrency": 8, "timeout_s": 1.5 }),
        );
        let concurrency = answer["parameters"]["concurrency"]
            .as_f64()
            .expect("a number");
        assert_eq!(concurrency.fract(), 0.0, "a whole number: {answer}");
        assert_eq!(
            answer["spaces"]["timeout_s"],
            json!({ "low": 0.5, "high": 8.0, "declared": true })
        );
        optimize(&house, "stranger", algorithm, &json!({ "batch_size": 64 }));
    }
    let unknown = optimize(&house, "agent_99", "auto", &json!({}));
    assert_eq!(keys(&unknown["parameters"]), ["concurrency", "timeout_s"]);
    assert!(
        unknown["confidence"].as_f64().is_some_and(|c| c <= 0.5),
        "a cold start: {unknown}"
    );

    let undeclared = optimize(
        &house,
        "agent_1",
        "auto",
        &json!({ "batch_size": 64, "offset": 0, "loss": -2 }),
    );
    assert_eq!(
        undeclared["spaces"]["batch_size"],
        json!({ "low": 32.0, "high": 128.0, "declared": false })
    );
    assert_eq!(
        undeclared["spaces"]["offset"],
        json!({ "low": -1.0, "high": 1.0, "declared": false })
    );
    assert_eq!(
        undeclared["spaces"]["loss"],
        json!({ "low": -4.0, "high": -1.0, "declared": false })
    );

    let question = json!({ "agent_id": "agent_1", "algorithm": "magic", "parameters": {} });
    let detail = house.post("/optimize", &question).problem(400);
    assert!(
        detail.contains("magic") && algorithms.iter().all(|a| detail.contains(a)),
        "{detail}"
    );
    house
        .post(
            "/optimize",
            &json!({ "agent_id": "stranger", "parameters": {} }),
        )
        .problem(400);
    house
        .post(
            "/optimize",
            &json!({ "agent_id": "", "parameters": { "x": 1 } }),
        )
        .problem(400);
    house
        .post(
            "/optimize",
            &json!({ "agent_id": "a", "parameters": { "x": "one" } }),
        )
        .problem(400);
    let default = house
        .post(
            "/optimize",
            &json!({ "agent_id": "a", "parameters": { "x": 1 } }),
        )
        .json(200);
    assert_eq!(default["algorithm"], "auto");
}

#[test]
fn an_outcome_is_counted_once_and_a_strangers_not_at_all() {
    let house = House::with(&[], Some(COHORT));
    let evaluated = |n: u64| {
        until("the outcome is counted", || {
            (house.status()["recommendations"]["evaluated"] == n).then_some(())
        });
    };
    let outcome = |id: &Value, success: bool| {
        let body = json!({
            "agent_id": "agent_1", "optimization_id": id, "success": success,
            "performance_delta": 0.12, "timestamp": now(),
        });
        house.post("/feedback", &body).json(200);
    };
    for (n, algorithm) in (1..).zip(["auto", "bandit", "tpe"]) {
        let id = optimize(&house, "agent_1", algorithm, &json!({}))["optimization_id"].clone();
        outcome(&id, true);
        evaluated(n);
        outcome(&id, true);
    }
    let refused = optimize(&house, "agent_1", "auto", &json!({}));
    outcome(&refused["optimization_id"], false);
    outcome(&json!("00000000-0000-4000-8000-000000000000"), true);
    // One more that counts: what was told before it has been seen by then.
    let last = optimize(&house, "agent_1", "auto", &json!({}));
    outcome(&last["optimization_id"], true);
    evaluated(4);
    let studies = house.get("/api/v1/studies").json(200);
    assert_eq!(studies["studies"][0]["observations"], 4, "{studies}");

    let genome = |concurrency: f64| {
        json!({
            "experiment_id": "e-1", "best_fitness": 0.8, "improvement_achieved": 0.3,
            "best_genome": { "id": 4, "hyperparameters": { "concurrency": concurrency, "timeout_s": 1.0 } },
            "generations_completed": 12, "total_evaluations": 240, "timestamp": now(),
        })
    };
    house.post("/evolution-feedback", &genome(8.0)).json(200);
    until("one more observation", || {
        let studies = house.get("/api/v1/studies").json(200);
        (studies["studies"][0]["observations"] == 5).then_some(())
    });
}

#[test]
fn a_poll_takes_each_recommendation_once() {
    let house = House::with(&[("PIPELINE__TICK_MILLIS", "1")], Some(COHORT));
    assert_eq!(house.get("/optimization-feedback").status, 204);
    assert_eq!(house.get("/feedback").status, 204);
    let mut round = 0;
    let taken_by_poll = until("a recommendation for the fleet", || {
        round += 1;
        let task = format!("t-{round}");
        let fleet = (0..12).map(|i| finished_task(&format!("agent_{i}"), &task, &now()));
        house.post("/kpi", &Value::Array(fleet.collect())).json(200);
        let answer = house.get("/optimization-feedback");
        (answer.status != 204).then(|| answer.json(200))
    });
    assert_eq!(
        keys(&taken_by_poll),
        [
            "agent_id",
            "confidence",
            "optimization_id",
            "parameters",
            "performance_improvement",
            "timestamp",
            "validation_results"
        ]
    );
    assert_eq!(
        keys(&taken_by_poll["validation_results"]),
        ["accuracy", "f1_score", "latency_ms", "precision", "recall"]
    );
    let again = house.get("/feedback");
    assert!(
        again.status == 204
            || again.json(200)["optimization_id"] != taken_by_poll["optimization_id"]
    );
    let list = house.get("/api/v1/recommendations").json(200);
    let rows = list["recommendations"].as_array().expect("a list");
    let row = rows
        .iter()
        .find(|row| row["optimization_id"] == taken_by_poll["optimization_id"])
        .expect("it is listed");
    assert_eq!(row["state"], "delivered", "{row}");
    let outcome = json!({
        "agent_id": taken_by_poll["agent_id"], "optimization_id": taken_by_poll["optimization_id"],
        "success": true, "performance_delta": 0.05, "timestamp": now(),
    });
    house.post("/feedback", &outcome).json(200);
    until("its outcome is known", || {
        let list = house.get("/api/v1/recommendations").json(200);
        let rows = list["recommendations"].as_array().expect("a list").clone();
        rows.into_iter().find(|row| {
            row["optimization_id"] == outcome["optimization_id"]
                && row["observed_improvement"].is_number()
        })
    });
}

#[test]
fn a_series_is_analyzed() {
    let house = House::new();
    let begin = 1_795_000_000_i64;
    let points: Vec<Value> = (0..400)
        .map(|i| {
            let season = (f64::from(i) * std::f64::consts::TAU / 24.0).sin();
            let level = if i < 250 { 100.0 } else { 112.0 };
            let wobble = f64::from((i * 7919) % 13) * 0.1;
            json!({ "timestamp": begin + i64::from(i) * 60, "value": level + 5.0 * season + wobble, "metadata": {} })
        })
        .collect();
    let answer = house
        .post("/analyze", &json!({ "time_series": points }))
        .json(200);
    let summary = &answer["summary"];
    assert_eq!(
        keys(summary),
        [
            "anomalies",
            "change_points",
            "forecast",
            "n",
            "period",
            "trend"
        ]
    );
    assert_eq!(
        (&summary["n"], &summary["period"]),
        (&json!(400), &json!(24))
    );
    let changes: Vec<u64> =
        serde_json::from_value(summary["change_points"].clone()).expect("indices");
    assert!(changes.iter().any(|&i| i.abs_diff(250) <= 3), "{changes:?}");
    assert!(
        summary["forecast"]
            .as_array()
            .is_some_and(|f| !f.is_empty())
    );
    let patterns = answer["patterns"].as_array().expect("a list");
    let step = patterns
        .iter()
        .find(|p| p["kind"] == "change_point")
        .expect("the step is a pattern");
    for field in [
        "start",
        "end",
        "score",
        "confidence",
        "direction",
        "magnitude",
        "baseline",
        "explanation",
    ] {
        assert!(!step[field].is_null(), "{field}: {step}");
    }
    let gap = json!({ "time_series": [
        { "timestamp": "2026-11-23T12:00:00Z", "value": 1 },
        { "timestamp": { "secs_since_epoch": begin, "nanos_since_epoch": 0 }, "value": null },
        { "timestamp": begin },
    ] });
    assert_eq!(house.post("/analyze", &gap).json(200)["summary"]["n"], 3);
    assert_eq!(
        house
            .post("/analyze", &json!({ "time_series": [] }))
            .json(200)["summary"]["n"],
        0
    );
}

#[test]
fn every_look_inside_answers() {
    let house = House::with(&[], Some(COHORT));
    assert_eq!(house.get("/health").json(200), json!({ "status": "ok" }));
    assert_eq!(house.get("/ready").json(200)["ready"], true);
    for path in ["/health/kpi", "/health/models", "/health/integrations"] {
        let state = house.get(path).json(200);
        assert!(
            ["ok", "degraded"].contains(&state["status"].as_str().expect("a word")),
            "{path}: {state}"
        );
        let reasons = state["reasons"].as_array().expect("a list");
        assert_eq!(
            state["status"] == "ok",
            reasons.is_empty(),
            "{path}: {state}"
        );
    }
    taken(
        &house.post("/kpi", &finished_task("agent_1", "1", &now())),
        1,
        0,
    );
    assert_eq!(house.get("/health/kpi").json(200)["status"], "ok");
    for list in [
        "patterns",
        "agents",
        "series",
        "studies",
        "experiments",
        "recommendations",
    ] {
        let answer = house.get(&format!("/api/v1/{list}")).json(200);
        assert!(answer[list].is_array(), "{list}: {answer}");
    }
    let range = "/api/v1/patterns?kind=anomaly&agent_id=agent_1&from=2026-01-01T00:00:00Z&to=1999999999&limit=5";
    assert_eq!(house.get(range).json(200)["patterns"], json!([]));
    let config = house.get("/api/v1/config").json(200);
    assert_eq!(config["cohort"][0]["parameter"][1]["name"], "timeout_s");
    let head = house.call("HEAD", "/health", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    let resources = json!({
        "available_resources": { "cpu": 12, "memory_mb": 4096.5, "gpu": null },
        "timestamp": now(), "source_layer": "layer8",
    });
    house.post("/api/v1/resources", &resources).json(200);
    let page = house.get("/docs");
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
}

#[test]
fn the_api_describes_itself_and_keeps_its_word() {
    let house = House::new();
    let document = house.get("/openapi.json").json(200);
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let text = document.to_string();
    for (at, _) in text.match_indices("\"$ref\":\"#") {
        let pointer = text[at + 9..].split('"').next().expect("a string ends");
        assert!(
            document.pointer(pointer).is_some(),
            "{pointer} leads nowhere"
        );
    }
    let mut ids = std::collections::BTreeSet::new();
    let mut n_calls = 0;
    for (path, item) in document["paths"].as_object().expect("an object") {
        for (method, operation) in item.as_object().expect("an object") {
            assert!(
                ids.insert(operation["operationId"].to_string()),
                "{path} {method} twice"
            );
            assert!(operation["responses"]["200"].is_object(), "{path} {method}");
            let path = ["{id}", "{agent}", "{metric}"]
                .iter()
                .fold(path.clone(), |path, part| path.replace(part, "nobody"));
            let answer = house.call(&method.to_uppercase(), &path, &[], b"");
            assert!(
                answer.status != 405 && answer.status < 500,
                "{method} {path}: {}",
                answer.status
            );
            assert!(
                answer.status != 404 || path.contains("nobody"),
                "{method} {path}"
            );
            n_calls += 1;
        }
    }
    assert!(n_calls >= 25, "{n_calls}");
}

const TOKENS: &str =
    "reader r-0123456789abcdef\nsender s-0123456789abcdef\noperator o-0123456789abcdef\n";

#[test]
fn a_token_opens_the_doors_of_its_role() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, TOKENS).expect("the folder can be written");
    let path = tokens.to_str().expect("UTF-8");
    // With tokens it may listen to strangers.
    let settings = [("AUTH__TOKENS_FILE", path), ("HTTP__LISTEN", "0.0.0.0:0")];
    let mut service = Service::start_with(&folder.path().join("data"), &settings, None);
    service.api.set_ip([127, 0, 0, 1].into());
    let report = finished_task("a", "1", &now()).to_string();
    let status = |method: &str, path: &str, token: Option<&str>| {
        let bearer = token.map(|t| format!("Bearer {t}-0123456789abcdef"));
        let headers: Vec<_> = bearer
            .iter()
            .map(|b| ("Authorization", b.as_str()))
            .collect();
        let answer = service.call(
            method,
            path,
            &headers,
            if method == "POST" {
                report.as_bytes()
            } else {
                b""
            },
        );
        if answer.status >= 400 {
            answer.problem(answer.status);
            let way_back = answer.header("www-authenticate");
            assert_eq!(way_back, (answer.status == 401).then_some("Bearer"));
        }
        answer.status
    };
    let doors = [
        ("GET", "/health", 0),
        ("GET", "/ready", 0),
        ("GET", "/openapi.json", 0),
        ("GET", "/api/v1/status", 1),
        ("GET", "/api/v1/agents/a", 1),
        ("GET", "/health/kpi", 1),
        ("POST", "/kpi", 2),
        ("GET", "/feedback", 2),
        ("GET", "/api/v1/config", 3),
    ];
    // The first sender makes the agent known, so that its page is there to look at.
    assert_eq!(status("POST", "/kpi", Some("s")), 200);
    for (method, path, needed) in doors {
        for (role, token) in [None, Some("r"), Some("s"), Some("o")]
            .into_iter()
            .enumerate()
        {
            let answer = status(method, path, token);
            match role {
                _ if role >= needed => assert!(answer < 300, "{method} {path} {token:?}: {answer}"),
                0 => assert_eq!(answer, 401, "{method} {path}"),
                _ => assert_eq!(answer, 403, "{method} {path} {token:?}"),
            }
        }
    }
    assert_eq!(status("GET", "/api/v1/status", Some("x")), 401);
}

#[test]
fn strangers_are_not_listened_to_without_tokens() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for key in ["HTTP__LISTEN", "METRICS__LISTEN"] {
        let settings = [(key, "0.0.0.0:0")];
        let output = service::command(&folder.path().join("data"), &settings, None)
            .output()
            .expect("it runs");
        let complaint = service::complaint(&output);
        assert_eq!(output.status.code(), Some(78), "{complaint}");
        assert!(
            complaint.contains("0.0.0.0:0") && complaint.contains("auth.tokens_file"),
            "{complaint}"
        );
    }
    let missing = [("AUTH__TOKENS_FILE", "/nowhere/tokens")];
    let output = service::command(&folder.path().join("data"), &missing, None)
        .output()
        .expect("it runs");
    assert_eq!(
        output.status.code(),
        Some(78),
        "{}",
        service::complaint(&output)
    );
}

#[test]
fn the_metrics_page_is_what_prometheus_reads() {
    let house = House::with(&[], Some(COHORT));
    let answer = house
        .post("/kpi", &json!([finished_task("agent_1", "1", &now()), {}]))
        .json(200);
    assert_eq!(
        (&answer["accepted"], &answer["rejected"][0]["index"]),
        (&json!(1), &json!(1))
    );
    optimize(&house, "agent_1", "tpe", &json!({}));
    let page = until("the page shows what happened", || {
        let page = house.metrics_page();
        (page.contains("layer5_kpi_processed_total 1")
            && page.contains("layer5_optimization_decisions_total"))
        .then_some(page)
    });
    let has = |start: &str| page.lines().any(|line| line.starts_with(start));
    for start in [
        "layer5_buffer_size{shard=\"intake\"}",
        "layer5_buffer_capacity{shard=\"0\"}",
        "layer5_buffer_high_watermark{shard=",
        "layer5_buffer_rejected_total{policy=",
        "layer5_optimization_decisions_total{algorithm=",
        "layer5_optimization_duration_seconds_bucket{algorithm=\"tpe\",le=",
        "layer5_optimization_coverage",
        "layer5_kpi_processing_duration_seconds_bucket{le=\"0.1\"}",
        "layer5_kpi_ingest_lag_seconds{source=\"http\"}",
        "layer5_kpi_rejected_total{reason=\"missing_field\"} 1",
        "layer5_data_quality_ratio",
        "layer5_outbox_depth 0",
        "layer5_active_agents 1",
        "layer5_active_series 4",
        "layer5_build_info{version=",
        "process_resident_memory_bytes",
        "# HELP layer5_kpi_received_total",
        "# TYPE layer5_kpi_received_total counter",
        "# TYPE layer5_kpi_processing_duration_seconds histogram",
    ] {
        assert!(has(start), "no line starts with `{start}`:\n{page}");
    }
    // Twenty outcomes are needed before there is an accuracy to show.
    assert!(!page.contains("\nlayer5_optimization_accuracy "), "{page}");
    promtool_is_satisfied(&page);
}

fn promtool_is_satisfied(page: &str) {
    let check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut check) = check else {
        assert!(
            std::env::var_os("LAYER5_REQUIRE_TOOLS").is_none_or(|v| v != "1"),
            "promtool is not installed (Debian: prometheus) and LAYER5_REQUIRE_TOOLS=1"
        );
        eprintln!("skipped: promtool is not installed (Debian: prometheus)");
        return;
    };
    check
        .stdin
        .take()
        .expect("piped")
        .write_all(page.as_bytes())
        .expect("promtool reads all");
    let output = check.wait_with_output().expect("promtool ends");
    let said = service::text(&output) + &service::complaint(&output);
    assert!(
        output.status.success() && said.trim().is_empty(),
        "{said}\n{page}"
    );
}
