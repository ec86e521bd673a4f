//! Bad input gets a clear answer, is counted, and harms nothing else: after each attack the same process takes a good
//! report and nothing of the bad one is stored. A full disk is proven where the disk is, in `store.rs`.

mod service;

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use layer5_server::clock;
use serde_json::{Value, json};
use service::{DEADLINE, Service, call, finished_task, named_metrics, until};
use tempfile::TempDir;

fn house(settings: &[(&str, &str)]) -> (Service, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    (
        Service::start_with(&folder.path().join("data"), settings, None),
        folder,
    )
}

fn now() -> Value {
    json!(clock::now())
}

/// The service is alive, ready, and takes a report; nothing but good reports is stored.
#[track_caller]
fn is_unharmed(service: &Service, n_good: &mut u64) {
    *n_good += 1;
    let report = finished_task("good", &format!("good-{n_good}"), &now());
    let answer = service.post("/kpi", &report).json(200);
    assert_eq!(
        answer,
        json!({ "accepted": 1, "duplicates": 0, "rejected": [] })
    );
    assert_eq!(service.get("/health").status, 200);
    assert_eq!(service.get("/ready").status, 200);
    assert_eq!(service.status()["reports"]["stored"], *n_good);
}

/// The one rejection of a body of one report.
#[track_caller]
fn rejection(service: &Service, report: &str) -> (String, String) {
    let answer = service.post_lines(report).json(200);
    assert_eq!(
        (&answer["accepted"], &answer["rejected"][0]["index"]),
        (&json!(0), &json!(0)),
        "{answer}"
    );
    let word = |field: &str| {
        answer["rejected"][0][field]
            .as_str()
            .expect("text")
            .to_owned()
    };
    (word("reason"), word("field"))
}

#[test]
fn every_kind_of_bad_report_is_answered_and_harms_nothing() {
    let (service, _folder) = house(&[]);
    let mut n_good = 0;
    is_unharmed(&service, &mut n_good);
    let good = finished_task("good", "x", &now()).to_string();
    let post = |body: &str| service.call("POST", "/kpi", &[], body.as_bytes());

    // Malformed JSON: as a body it can't be read, as a line of many it is one rejection.
    for broken in [
        &good[..good.len() - 1],
        "{]",
        "null",
        "\"text\"",
        "7",
        "{\"a\":1}}",
        "\u{0}",
    ] {
        let answer = post(broken);
        assert!(
            answer.status == 400 || answer.json(200)["rejected"][0]["reason"].is_string(),
            "{broken}"
        );
    }
    let lines = service
        .post_lines(&format!("{}\n{{]\n", finished_task("good", "line", &now())))
        .json(200);
    assert_eq!(
        (&lines["accepted"], &lines["rejected"][0]["index"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(lines["rejected"][0]["reason"], "malformed");
    n_good += 1;
    is_unharmed(&service, &mut n_good);

    let with = |field: &str, value: &str| {
        let mut report = finished_task("good", "bad", &now());
        report[field] = json!("PLACE");
        report.to_string().replace("\"PLACE\"", value)
    };
    assert_eq!(
        rejection(&service, &with("latency_ms", "\"12\"")),
        ("wrong_type".into(), "latency_ms".into())
    );
    assert_eq!(
        rejection(&service, &with("latency_ms", "NaN")).0,
        "malformed"
    );
    assert_eq!(
        rejection(&service, &with("latency_ms", "-Infinity")).0,
        "malformed"
    );
    let (reason, field) = rejection(&service, &with("latency_ms", "1e999"));
    assert!(
        ["not_finite", "out_of_range"].contains(&reason.as_str()) && field == "latency_ms",
        "{reason}"
    );
    let huge = named_metrics("good", "bad", &now(), &json!({ "x": "PLACE" })).to_string();
    assert_eq!(
        rejection(&service, &huge.replace("\"PLACE\"", "1e999")).0,
        "not_finite"
    );
    assert_eq!(
        rejection(&service, &huge.replace("\"PLACE\"", "\"NaN\"")).0,
        "wrong_type"
    );
    let next_year = json!(clock::now().plus_seconds(365.0 * 86_400.0)).to_string();
    assert_eq!(
        rejection(&service, &with("recorded_at", &next_year)),
        ("too_far_ahead".into(), "recorded_at".into())
    );
    assert_eq!(
        rejection(&service, &with("recorded_at", "NaN")).0,
        "malformed"
    );
    let control = rejection(&service, &with("agent_id", "\"a\\u0000b\""));
    assert_eq!(control, ("invalid_id".into(), "agent_id".into()));
    is_unharmed(&service, &mut n_good);

    // An empty batch is no mistake, an empty body is one.
    assert_eq!(
        post("[]").json(200),
        json!({ "accepted": 0, "duplicates": 0, "rejected": [] })
    );
    post("").problem(400);
    post(" \r\n ").problem(400);
    service.post_lines("\n\n").problem(400);

    // A field that nobody knows is passed over.
    let mut report = finished_task("good", "unknown field", &now());
    report["flux"] = json!({ "capacitor": [1.21, "gigawatts"] });
    assert_eq!(service.post("/kpi", &report).json(200)["accepted"], 1);
    n_good += 1;
    // A duplicate changes nothing, alone or beside a new one.
    let twice = service.post("/kpi", &json!([report, report])).json(200);
    assert_eq!(
        twice,
        json!({ "accepted": 0, "duplicates": 2, "rejected": [] })
    );
    is_unharmed(&service, &mut n_good);

    // Deep nesting is refused before it can cost a stack.
    let brackets = "[".repeat(1_000_000);
    for path in ["/kpi", "/optimize", "/analyze", "/feedback"] {
        service
            .call("POST", path, &[], brackets.as_bytes())
            .problem(400);
    }
    let inside = with("flux", &("[".repeat(500_000) + &"]".repeat(500_000)));
    let answer = service.post_lines(&inside).json(200);
    assert_eq!(
        answer["rejected"].as_array().map(Vec::len),
        Some(1),
        "{answer}"
    );
    is_unharmed(&service, &mut n_good);

    // A body that breaks off leaves nothing behind, not even the names of the reports before the break.
    let ghost = named_metrics("ghost", "t", &now(), &json!({ "ectoplasm": 1 }));
    post(&format!("[{ghost},{{]")).problem(400);
    is_unharmed(&service, &mut n_good);

    let status = service.status();
    for reason in [
        "malformed",
        "wrong_type",
        "not_finite",
        "too_far_ahead",
        "invalid_id",
    ] {
        assert!(
            status["reports"]["rejected"][reason]
                .as_u64()
                .is_some_and(|n| n > 0),
            "{reason}: {status}"
        );
    }
    assert_eq!(status["reports"]["duplicates"], 2);
    assert_eq!(
        status["agents"], 1,
        "no bad report made an agent known: {status}"
    );
}

#[test]
fn too_many_bytes_are_refused_before_and_after_unpacking() {
    let (service, _folder) = house(&[
        ("HTTP__BODY_BYTES_MAX", "65536"),
        ("HTTP__DECODED_BYTES_MAX", "1048576"),
    ]);
    let mut n_good = 0;
    is_unharmed(&service, &mut n_good);
    let before = peak_memory_kib(&service);
    assert!(
        service
            .call("POST", "/kpi", &[], &vec![b' '; 65_537])
            .problem(413)
            .contains("65536")
    );
    // Fifty megabytes of blanks in fifty kilobytes.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b' '; 50 << 20]).expect("memory");
    let bomb = bomb.finish().expect("memory");
    assert!(bomb.len() <= 65_536, "{}", bomb.len());
    let answer = service.call("POST", "/kpi", &[("Content-Encoding", "gzip")], &bomb);
    assert!(answer.problem(413).contains("1048576"));
    if let (Some(before), Some(after)) = (before, peak_memory_kib(&service)) {
        // One decoded body at its limit, doubled while it grew, and room for threads that first ran now.
        assert!(after - before < 16 << 10, "{before} KiB, then {after} KiB");
    }
    is_unharmed(&service, &mut n_good);
}

/// Most memory that the process ever had, where the kernel tells.
fn peak_memory_kib(service: &Service) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.pid())).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[test]
fn ten_thousand_unknown_agents_at_once_are_taken_up_to_the_limit_of_agents() {
    let (service, _folder) = house(&[("LIMITS__AGENTS_MAX", "6000")]);
    let known = named_metrics("agent_0", "first", &now(), &json!({ "x": 1 }));
    assert_eq!(service.post("/kpi", &known).json(200)["accepted"], 1);
    let reports = (0..10_000).map(|i| {
        named_metrics(&format!("agent_{i}"), "flood", &now(), &json!({ "x": i })).to_string() + "\n"
    });
    let answer = service.post_lines(&reports.collect::<String>()).json(200);
    assert_eq!(answer["accepted"], 6000);
    let rejected = answer["rejected"].as_array().expect("a list");
    assert_eq!(rejected.len(), 4000);
    assert!(
        rejected
            .iter()
            .all(|r| r["reason"] == "cardinality" && r["field"] == "agent_id")
    );
    assert!(
        rejected[0]["detail"]
            .as_str()
            .is_some_and(|d| d.contains("6000")),
        "{}",
        rejected[0]
    );
    let status = service.status();
    assert_eq!(
        (&status["agents"], &status["reports"]["stored"]),
        (&json!(6000), &json!(6001))
    );
    assert_eq!(status["reports"]["rejected"]["cardinality"], 4000);
    // Who is known flows on.
    let known = named_metrics("agent_0", "after", &now(), &json!({ "x": 1 }));
    assert_eq!(service.post("/kpi", &known).json(200)["accepted"], 1);
}

#[test]
fn a_full_ring_is_told_and_nothing_is_half_taken() {
    let (service, _folder) = house(&[
        ("PIPELINE__INTAKE_CAPACITY", "1024"),
        ("HTTP__FULL_WAIT_SECONDS", "0"),
    ]);
    let body = |sender: &str, n: usize| {
        let reports = (0..n)
            .map(|i| finished_task("agent", &format!("{sender}-{i}"), &now()).to_string() + "\n");
        reports.collect::<String>()
    };
    // 257 reports of four samples can never fit.
    let detail = service.post_lines(&body("too large", 257)).problem(413);
    assert!(
        detail.contains("1028") && detail.contains("1024"),
        "{detail}"
    );
    assert_eq!(service.status()["reports"]["stored"], 0);
    let whole = service.post_lines(&body("just fits", 256)).json(200);
    assert_eq!(whole["accepted"], 256);

    // While one commit is under way one more body fits into the ring and no third: some sender is told to come again.
    let (n_full, n_taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let problems = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for sender in 0..6 {
            let (service, body, n_full, n_taken, problems) =
                (&service, &body, &n_full, &n_taken, &problems);
            scope.spawn(move || {
                for round in 0.. {
                    if round >= 3 && n_full.load(Ordering::Relaxed) > 0 {
                        return;
                    }
                    let lines = body(&format!("{sender}-{round}"), 250);
                    until("the body is taken", || {
                        let headers = [("Content-Type", "application/x-ndjson")];
                        let answer = call(service.api, "POST", "/kpi", &headers, lines.as_bytes())
                            .expect("the service answers");
                        if answer.status == 200 {
                            // Had part of it been taken at an earlier try, that part would be known by now.
                            let expected =
                                json!({ "accepted": 250, "duplicates": 0, "rejected": [] });
                            assert_eq!(answer.json(200), expected);
                            n_taken.fetch_add(1, Ordering::Relaxed);
                            return Some(());
                        }
                        let seconds = answer.header("retry-after").map(str::parse::<u32>);
                        assert!(
                            matches!(seconds, Some(Ok(1..))),
                            "429 says when to come again"
                        );
                        problems
                            .lock()
                            .expect("no holder panics")
                            .insert(answer.problem(429));
                        n_full.fetch_add(1, Ordering::Relaxed);
                        None
                    });
                }
            });
        }
    });
    let problems = problems.into_inner().expect("no holder panics");
    assert!(
        problems
            .iter()
            .all(|detail| detail.contains("nothing of this request was taken"))
    );
    let n_taken = n_taken.into_inner();
    assert_eq!(service.status()["reports"]["stored"], 256 + 250 * n_taken);
    let n_full = n_full.into_inner();
    until("the page counts them", || {
        let line = format!("layer5_buffer_rejected_total{{policy=\"reject\"}} {n_full}");
        service.metrics_page().contains(&line).then_some(())
    });
}

/// Sends `request` as it is, and nothing after it; what came back.
fn raw(service: &Service, request: &[u8], then: Option<Shutdown>) -> String {
    let mut stream = TcpStream::connect(service.api).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    // It may refuse before it has all of it.
    let _refused = stream.write_all(request);
    if let Some(how) = then {
        let _gone = stream.shutdown(how);
    }
    let mut answer = Vec::new();
    let _gone = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn lengths_that_lie_and_bodies_without_end_cost_their_sender_alone() {
    let (service, _folder) = house(&[]);
    let mut n_good = 0;
    is_unharmed(&service, &mut n_good);
    let before = peak_memory_kib(&service);
    let head = |more: &str| {
        format!("POST /kpi HTTP/1.1\r\nHost: layer5\r\nConnection: close\r\n{more}\r\n")
    };
    // A gigabyte, announced.
    let announced = head("Content-Length: 1073741824\r\nExpect: 100-continue\r\n");
    let answer = raw(&service, announced.as_bytes(), None);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // A gigabyte, not announced: it is cut off on the way.
    let mut stream = TcpStream::connect(service.api).expect("it listens");
    let begun = stream.write_all(head("Transfer-Encoding: chunked\r\n").as_bytes());
    begun.expect("a head is taken");
    let chunk = [
        b"100000\r\n".to_vec(),
        vec![b' '; 1 << 20],
        b"\r\n".to_vec(),
    ]
    .concat();
    stream.set_write_timeout(Some(DEADLINE)).expect("a socket");
    let n_sent = (0..1024).take_while(|_| stream.write_all(&chunk).is_ok());
    let n_sent = n_sent.count();
    assert!(n_sent >= 16, "{n_sent} MiB: up to the limit it is read");
    drop(stream);
    // Less than announced, and more.
    let report = finished_task("good", "cut", &now()).to_string();
    let longer = head(&format!("Content-Length: {}\r\n", report.len() + 1)) + &report;
    let answer = raw(&service, longer.as_bytes(), Some(Shutdown::Write));
    assert!(!answer.contains("\"accepted\""), "{answer}");
    let shorter = head(&format!("Content-Length: {}\r\n", report.len() - 1)) + &report;
    let answer = raw(&service, shorter.as_bytes(), None);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    for length in ["-1", "1e3", "18446744073709551616", "12, 13", "x"] {
        let request = head(&format!("Content-Length: {length}\r\n"));
        let answer = raw(&service, request.as_bytes(), None);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{length}: {answer}");
    }
    // A snappy header that claims 4 GiB.
    let snappy = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x61];
    let kind = [
        ("Content-Encoding", "snappy"),
        ("Content-Type", "application/x-protobuf"),
    ];
    service
        .call("POST", "/api/v1/write", &kind, &snappy)
        .problem(413);
    if let (Some(before), Some(after)) = (before, peak_memory_kib(&service)) {
        // What is held of one body, and its pieces while they were read.
        assert!(after - before < 64 << 10, "{before} KiB, then {after} KiB");
    }
    is_unharmed(&service, &mut n_good);
}

#[test]
fn odd_text_is_read_as_it_is_meant_or_refused_alone() {
    let (service, _folder) = house(&[]);
    let mut n_good = 0;
    is_unharmed(&service, &mut n_good);
    let good = |task: &str| finished_task("good", task, &now()).to_string();
    // Bytes that are no UTF-8, between reports that are.
    let lines = [
        good("first").as_bytes(),
        b"\n{\"agent_id\":\"\xff\xfe\"}\n\xc3\n",
        good("last").as_bytes(),
    ]
    .concat();
    let kind = [("Content-Type", "application/x-ndjson")];
    let answer = service.call("POST", "/kpi", &kind, &lines).json(200);
    assert_eq!(answer["accepted"], 2, "{answer}");
    let reasons = answer["rejected"].as_array().expect("a list").iter();
    let reasons: Vec<_> = reasons.map(|r| (&r["index"], &r["reason"])).collect();
    let malformed = json!("malformed");
    assert_eq!(reasons, [(&json!(1), &malformed), (&json!(2), &malformed)]);
    // A character whose bytes come in two chunks.
    let report = finished_task("good", "caf\u{e9}", &now()).to_string();
    let cut = report.find('\u{e9}').expect("it is there") + 1;
    let (first, rest) = report.as_bytes().split_at(cut);
    let mut request = b"POST /kpi HTTP/1.1\r\nHost: layer5\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in [first, rest] {
        request.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        request.extend_from_slice(piece);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    let answer = raw(&service, &request, None);
    assert!(answer.contains("\"accepted\":1"), "{answer}");
    // Negative zero is a number, and of a key that comes twice the last one counts.
    let zero = named_metrics("good", "zero", &now(), &json!({ "x": "PLACE" })).to_string();
    let zero = zero.replace("\"PLACE\"", "-0");
    let twice = zero.replacen("\"x\":-0", "\"x\":\"text\",\"x\":-0.0", 1);
    let twice = twice.replace("\"zero\"", "\"twice\"");
    for report in [zero, twice] {
        let answer = service.call("POST", "/kpi", &[], report.as_bytes());
        assert_eq!(answer.json(200)["accepted"], 1, "{report}");
    }
    // Ten kilobytes of an id.
    let long = "a".repeat(10_240);
    for (agent, task) in [(long.as_str(), "t"), ("good", long.as_str())] {
        let (reason, _) = rejection(&service, &finished_task(agent, task, &now()).to_string());
        assert_eq!(reason, "invalid_id");
    }
    n_good += 5;
    is_unharmed(&service, &mut n_good);
}

#[test]
fn a_hundred_thousand_metric_names_are_taken_up_to_the_limit_and_known_ones_flow_on() {
    let (service, _folder) = house(&[
        ("LIMITS__METRICS_MAX", "2000"),
        ("LIMITS__METRICS_PER_AGENT_MAX", "100000"),
    ]);
    let (mut n_good, at) = (0, now());
    is_unharmed(&service, &mut n_good);
    let before = service.status()["series"].as_u64().expect("a count");
    let reports = (0..100_000).map(|i| {
        let name = format!("metric_{i}");
        named_metrics("flood", &i.to_string(), &at, &json!({ name: 1 })).to_string() + "\n"
    });
    let answer = service.post_lines(&reports.collect::<String>()).json(200);
    let accepted = answer["accepted"].as_u64().expect("a count");
    assert!((1900..=2000).contains(&accepted), "{accepted}");
    let rejected = answer["rejected"].as_array().expect("a list");
    assert_eq!(rejected.len() as u64, 100_000 - accepted);
    assert!(rejected.iter().all(|r| r["reason"] == "cardinality"));
    let status = service.status();
    assert_eq!(status["series"].as_u64(), Some(before + accepted));
    // In one report.
    let names = (0..100_000).map(|i| (format!("other_{i}"), json!(1)));
    let names: serde_json::Map<String, Value> = names.collect();
    let report = named_metrics("flood", "all", &at, &json!(names)).to_string();
    let (reason, _) = rejection(&service, &report);
    assert!(
        ["cardinality", "too_large"].contains(&reason.as_str()),
        "{reason}"
    );
    let known = named_metrics("flood", "known", &at, &json!({ "metric_0": 2 }));
    assert_eq!(service.post("/kpi", &known).json(200)["accepted"], 1);
}
