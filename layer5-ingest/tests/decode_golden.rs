//! Proves what each kind of body is read as: every form that CONTRACTS section 2 lists, and every way to be wrong, with
//! the exact text that the sender gets. One line per report; `check` holds the only call.

use layer5_core::{Report, Shape, Timestamp};
use layer5_ingest::{BodyFormat, DecodeLimits, WireReport, decode_reports};

fn line(index: usize, report: &Report<'_>) -> String {
    let shape = match report.shape {
        Shape::Task => "A",
        Shape::Batch => "B",
    };
    let values: Vec<String> = report
        .values
        .iter()
        .map(|value| format!("{}={}", value.metric.as_str(), value.value))
        .collect();
    let host = report.hostname.as_deref().unwrap_or("-");
    format!(
        "{index} {shape} {} {} {} {host} {}",
        report.agent_id,
        report.task_id,
        report.recorded_at,
        values.join(" ")
    )
}

fn read(body: &[u8], format: BodyFormat, limits: &DecodeLimits) -> Vec<String> {
    let mut lines = Vec::new();
    let seen = decode_reports(body, format, limits, &mut |index, report, _| {
        lines.push(match report {
            Ok(report) => line(index, report),
            Err(rejection) => format!("{index} {rejection}"),
        });
    });
    match seen {
        Ok(n) => assert_eq!(n, lines.len()),
        Err(e) => lines.push(e.to_string()),
    }
    lines
}

#[track_caller]
fn check(body: &str, expected: &[&str]) {
    let lines = read(body.as_bytes(), BodyFormat::Json, &DecodeLimits::default());
    assert_eq!(lines, expected, "{body}");
}

#[track_caller]
fn check_lines(body: &[u8], expected: &[&str]) {
    assert_eq!(
        read(body, BodyFormat::Ndjson, &DecodeLimits::default()),
        expected
    );
}

/// A report of shape A with `fields` put behind the required ones.
fn task(fields: &str) -> String {
    format!(
        r#"{{"task_id":"t","agent_id":"a","latency_ms":45.2,"accuracy":0.9,"cpu_usage":0.5,"memory_mb":512,
        "recorded_at":"2026-11-23T12:18:18Z"{}{fields}}}"#,
        if fields.is_empty() { "" } else { "," }
    )
}

/// A report of shape B with these metrics, and `fields` behind them.
fn batch(metrics: &str, fields: &str) -> String {
    format!(
        r#"{{"timestamp":1795436298,"agent_id":"a","task_id":"t","metrics":{metrics}{}{fields}}}"#,
        if fields.is_empty() { "" } else { "," }
    )
}

const TASK: &str =
    "0 A a t 2026-11-23T12:18:18Z - latency_ms=45.2 accuracy=0.9 cpu_usage=0.5 memory_mb=512";

#[test]
fn shape_a_in_full_and_in_any_order() {
    check(&task(""), &[TASK]);
    check(
        r#" {"execution_context":{"network_interfaces":["eth0",{"a":[1]}],"gpu_info":null,"available_cores":8,
        "hostname":"node-7"},"custom_metrics":{"queue_depth":3,"tokens":1.5e3},"network_bytes":1024,"recorded_at":
        {"nanos_since_epoch":250000000,"secs_since_epoch":1795436298},"memory_mb":512.5,"cpu_usage":0.25,"accuracy":1,
        "latency_ms":10,"agent_id":"a","task_id":"t"} "#,
        &[
            "0 A a t 2026-11-23T12:18:18.25Z node-7 latency_ms=10 accuracy=1 cpu_usage=0.25 memory_mb=512.5 \
           network_bytes=1024 queue_depth=3 tokens=1500",
        ],
    );
}

#[test]
fn shape_b_takes_metrics_as_they_are_named() {
    check(
        &batch(
            r#"{"latency_ms":45.2,"my metric":-1,"z":0}"#,
            r#""metadata":{"region":"eu","hostname":"h1","odd":[7]}"#,
        ),
        &["0 B a t 2026-11-23T12:18:18Z h1 latency_ms=45.2 my metric=-1 z=0"],
    );
    check(&batch("{}", ""), &["0 B a t 2026-11-23T12:18:18Z - "]);
    // The other shape's fields are unknown fields, even where they hold nonsense.
    check(
        &batch(r#"{"x":1}"#, r#""latency_ms":"fast","recorded_at":[]"#),
        &["0 B a t 2026-11-23T12:18:18Z - x=1"],
    );
}

#[test]
fn the_three_forms_of_a_time() {
    for time in [
        r#""2026-11-23T12:18:18.25Z""#,
        r#""2026-11-23T14:18:18.25+02:00""#,
        r#""2026-11-23T12:18:18.25\u005a""#,
        "1795436298.25",
        "1.79543629825e9",
        r#"{"secs_since_epoch":1795436298,"nanos_since_epoch":250000000}"#,
        r#"{"x":[{}],"nanos_since_epoch":250000000,"secs_since_epoch":1795436298}"#,
    ] {
        check(
            &task(&format!(r#""recorded_at":{time}"#)),
            &[&TASK.replace(":18Z", ":18.25Z")],
        );
    }
}

#[test]
fn a_time_in_no_form_names_its_text() {
    const FORMS: &str = "is neither RFC 3339, seconds since 1970, nor {secs_since_epoch, \
                         nanos_since_epoch} of the years 1677 to 2262";
    for (time, echo) in [
        (r#""yesterday""#, "yesterday"),
        ("1e300", "1e300"),
        ("1e999", "1e999"),
        ("99999999999999999999", "99999999999999999999"),
        (r#"{"secs_since_epoch":-1}"#, r#"{"secs_since_epoch":-1}"#),
        (r#"{"nanos_since_epoch":1}"#, r#"{"nanos_since_epoch":1}"#),
        (
            r#"{"secs_since_epoch":1,"nanos_since_epoch":1000000000}"#,
            r#"{"secs_since_epoch":1,"nanos_since_epoch"#,
        ),
    ] {
        check(
            &task(&format!(r#""recorded_at":{time}"#)),
            &[&format!("0 invalid_time: recorded_at: {echo} {FORMS}")],
        );
    }
    check(
        &task(r#""recorded_at":true"#),
        &["0 wrong_type: recorded_at: expected a time, found a boolean"],
    );
}

#[test]
fn the_last_of_duplicate_keys_wins() {
    check(
        &task(r#""latency_ms":"x","latency_ms":45.2,"agent_id":1,"agent_id":"a""#),
        &[TASK],
    );
    check(
        &task(r#""latency_ms":"x""#),
        &["0 wrong_type: latency_ms: expected a number, found a string"],
    );
    check(
        &batch(r#"{"a":"x","b":2,"a":1}"#, ""),
        &["0 B a t 2026-11-23T12:18:18Z - a=1 b=2"],
    );
    check(
        &batch(r#"{"old":1}"#, r#""metrics":{"new":2}"#),
        &["0 B a t 2026-11-23T12:18:18Z - new=2"],
    );
    // Many entries are told apart by a hash table instead of one by one.
    let names: Vec<String> = (0..40).map(|i| format!("m{:02}", i % 20)).collect();
    let entries: Vec<String> = (0..40).map(|i| format!(r#""{}":{i}"#, names[i])).collect();
    let expected: Vec<String> = (0..20).map(|i| format!("m{i:02}={}", i + 20)).collect();
    check(
        &batch(&format!("{{{}}}", entries.join(",")), ""),
        &[&format!(
            "0 B a t 2026-11-23T12:18:18Z - {}",
            expected.join(" ")
        )],
    );
}

#[test]
fn a_custom_metric_does_not_replace_a_field_of_the_report() {
    check(
        &task(r#""custom_metrics":{"accuracy":97,"network_bytes":5,"x":1}"#),
        &[&format!("{TASK} network_bytes=5 x=1")],
    );
}

#[test]
fn null_is_absent() {
    check(
        &task(
            r#""network_bytes":null,"custom_metrics":null,"execution_context":null,"metrics":null"#,
        ),
        &[TASK],
    );
    check(&task(r#""execution_context":{"hostname":null}"#), &[TASK]);
    check(
        &task(r#""accuracy":null"#),
        &["0 missing_field: accuracy: is required"],
    );
    check(
        &batch(r#"{"a":null}"#, ""),
        &["0 wrong_type: metrics.a: expected a number, found null"],
    );
}

#[test]
fn what_is_missing_is_named() {
    check("{}", &["0 missing_field: agent_id: is required"]);
    check(
        r#"{"agent_id":"a"}"#,
        &["0 missing_field: task_id: is required"],
    );
    check(
        r#"{"agent_id":"a","task_id":"t"}"#,
        &["0 missing_field: recorded_at: is required"],
    );
    check(
        r#"{"agent_id":"a","task_id":"t","timestamp":1}"#,
        &["0 missing_field: metrics: is required"],
    );
    check(
        r#"{"agent_id":"a","task_id":"t","metrics":{}}"#,
        &["0 missing_field: timestamp: is required"],
    );
    check(
        r#"{"agent_id":"a","task_id":"t","timestamp":1,"latency_ms":1}"#,
        &["0 missing_field: recorded_at: is required"],
    );
}

#[test]
fn a_wrong_type_says_what_was_found() {
    for (fields, expected) in [
        (
            r#""agent_id":17"#,
            "agent_id: expected a string, found a number",
        ),
        (
            r#""task_id":{"id":1}"#,
            "task_id: expected a string, found an object",
        ),
        (
            r#""cpu_usage":"0.5""#,
            "cpu_usage: expected a number, found a string",
        ),
        (
            r#""network_bytes":[1]"#,
            "network_bytes: expected a number, found an array",
        ),
        (
            r#""custom_metrics":[]"#,
            "custom_metrics: expected an object, found an array",
        ),
        (
            r#""custom_metrics":{"x":true}"#,
            "custom_metrics.x: expected a number, found a boolean",
        ),
        (
            r#""execution_context":"node""#,
            "execution_context: expected an object, found a string",
        ),
        (
            r#""execution_context":{"hostname":1}"#,
            "execution_context.hostname: expected a string, found a number",
        ),
        (
            r#""metrics":7"#,
            // `metrics` makes it shape B, whose time is missing.
            "",
        ),
    ] {
        if expected.is_empty() {
            check(&task(fields), &["0 missing_field: timestamp: is required"]);
        } else {
            check(&task(fields), &[&format!("0 wrong_type: {expected}")]);
        }
    }
    check(
        &batch("7", ""),
        &["0 wrong_type: metrics: expected an object, found a number"],
    );
    check(
        "[1,null,[{}]]",
        &[
            "0 wrong_type: : expected an object, found a number",
            "1 wrong_type: : expected an object, found null",
            "2 wrong_type: : expected an object, found an array",
        ],
    );
}

#[test]
fn numbers_beyond_a_double_are_not_finite() {
    check(
        &task(r#""latency_ms":1e999"#),
        &["0 not_finite: latency_ms: the number is too large for a double"],
    );
    check(
        &batch(r#"{"a":-1e999}"#, ""),
        &["0 not_finite: metrics.a: the number is too large for a double"],
    );
    check(&task(r#""unknown":1e999"#), &[TASK]);
    check(
        &batch(r#"{"a":-0,"b":1e-999}"#, ""),
        &["0 B a t 2026-11-23T12:18:18Z - a=-0 b=0"],
    );
}

#[test]
fn tokens_that_json_does_not_have_are_refused() {
    for token in [
        "NaN",
        "Infinity",
        "-Infinity",
        "+1",
        "01",
        ".5",
        "1.",
        "0x1",
        "nul",
        "'a'",
        "tru",
    ] {
        let body = batch(&format!(r#"{{"a":{token}}}"#), "");
        let lines = read(body.as_bytes(), BodyFormat::Json, &DecodeLimits::default());
        assert_eq!(lines.len(), 1, "{token}");
        assert!(lines[0].starts_with("expected "), "{token}: {}", lines[0]);
        let lines = read(
            body.as_bytes(),
            BodyFormat::Ndjson,
            &DecodeLimits::default(),
        );
        assert!(
            lines[0].starts_with("0 malformed: : line 1, byte "),
            "{token}: {}",
            lines[0]
        );
    }
}

#[test]
fn escapes_are_resolved_in_names_and_texts() {
    check(
        r#"{"timestamp":1795436298,"agent\u005fid":"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00","task_id":"é😀","metrics":{"\u0061":1}}"#,
        &["0 B a\"\\/\u{8}\u{c}\n\r\té😀 é😀 2026-11-23T12:18:18Z - a=1"],
    );
    for broken in [
        r"\ud800",
        r"\ud800\u0041",
        r"\udc00",
        r"\x",
        r"\u12g4",
        "\t",
        r"\u00",
    ] {
        let body = task(&format!(r#""agent_id":"{broken}""#));
        let lines = read(body.as_bytes(), BodyFormat::Json, &DecodeLimits::default());
        assert!(lines[0].starts_with("expected "), "{broken}: {}", lines[0]);
    }
}

#[test]
fn a_broken_array_is_refused_as_a_whole() {
    for (body, expected) in [
        ("", "empty body"),
        (" \n\t", "empty body"),
        (
            "5",
            "expected an object or an array of objects (NDJSON is application/x-ndjson) at byte 0, line 1",
        ),
        ("[", "expected a value at byte 1, line 1"),
        ("[1", "expected ',' or ']' at byte 2, line 1"),
        ("[1,]", "expected a value at byte 3, line 1"),
        ("[\n1\n2]", "expected ',' or ']' at byte 4, line 3"),
        ("[{\"a\":1]", "expected ',' or '}' at byte 7, line 1"),
        (
            "[]]",
            "expected the end of the body (NDJSON is application/x-ndjson) at byte 2, line 1",
        ),
        (
            "{}\n{}",
            "expected the end of the body (NDJSON is application/x-ndjson) at byte 3, line 2",
        ),
    ] {
        let lines = read(body.as_bytes(), BodyFormat::Json, &DecodeLimits::default());
        assert_eq!(lines.last().map(String::as_str), Some(expected), "{body}");
    }
    check("[]", &[]);
    check_lines(b"\n \r\n", &["empty body"]);
}

#[test]
fn a_broken_line_harms_no_other() {
    let good = batch(r#"{"x":1}"#, "");
    let mut body = format!("{good}\n\n{{\"agent_id\":\r\n{good} 5\n").into_bytes();
    body.extend_from_slice(b"{\"agent_id\":\"\xff\"}\n");
    body.extend_from_slice(good.as_bytes());
    check_lines(
        &body,
        &[
            "0 B a t 2026-11-23T12:18:18Z - x=1",
            "1 malformed: : line 3, byte 13: expected a value",
            "2 malformed: : line 4, byte 72: expected the end of the line",
            "3 malformed: : line 5, byte 13: not UTF-8",
            "4 B a t 2026-11-23T12:18:18Z - x=1",
        ],
    );
    assert_eq!(
        read(&body, BodyFormat::Json, &DecodeLimits::default())
            .last()
            .map(String::as_str),
        Some("not UTF-8 at byte 174, line 5")
    );
}

#[test]
fn both_sides_of_every_limit() {
    let limits = DecodeLimits {
        depth_max: 3,
        reports_max: 2,
        values_max: 2,
    };
    let json = |body: &str| {
        read(body.as_bytes(), BodyFormat::Json, &limits)
            .pop()
            .unwrap_or_default()
    };
    let ndjson = |body: &str| {
        read(body.as_bytes(), BodyFormat::Ndjson, &limits)
            .pop()
            .unwrap_or_default()
    };
    assert!(json(r#"{"u":[[]]}"#).starts_with("0 missing"));
    assert_eq!(
        json(r#"{"u":[[[]]]}"#),
        "nested deeper than 3 at byte 7, line 1"
    );
    assert_eq!(
        ndjson(r#"{"u":[[[]]]}"#),
        "0 malformed: : line 1, byte 7: nested deeper than 3"
    );
    assert!(json("[{},{}]").starts_with("1 missing"));
    assert_eq!(json("[{},{},{}]"), "more than 2 reports in one body");
    assert!(ndjson("{}\n{}\n").starts_with("1 missing"));
    assert_eq!(ndjson("{}\n{}\n{}"), "more than 2 reports in one body");
    assert!(json(&batch(r#"{"a":1,"b":2,"a":3}"#, "")).ends_with("a=3 b=2"));
    assert_eq!(
        json(&batch(r#"{"a":1,"b":2,"c":3}"#, "")),
        "0 too_large: metrics: more than 2 metrics"
    );
}

#[test]
fn hostile_bodies_are_answered() {
    let check = |body: &str, expected: &str| {
        let lines = read(body.as_bytes(), BodyFormat::Json, &DecodeLimits::default());
        assert_eq!(lines.last().map(String::as_str), Some(expected));
        // A line is never an error of the whole body.
        read(
            body.as_bytes(),
            BodyFormat::Ndjson,
            &DecodeLimits::default(),
        );
    };
    check(
        &"[".repeat(1_000_000),
        "nested deeper than 32 at byte 33, line 1",
    );
    check(
        &format!(r#"{{"metrics":{}"#, r#"{"a":"#.repeat(500_000)),
        "nested deeper than 32 at byte 166, line 1",
    );
    let id = "x".repeat(10_240);
    let lines = read(
        batch("{}", &format!(r#""agent_id":"{id}""#)).as_bytes(),
        BodyFormat::Json,
        &DecodeLimits::default(),
    );
    assert_eq!(lines[0], format!("0 B {id} t 2026-11-23T12:18:18Z - "));
    let many: Vec<String> = (0..100_000).map(|i| format!(r#""m{i}":{i}"#)).collect();
    check(
        &batch(&format!("{{{}}}", many.join(",")), ""),
        "0 too_large: metrics: more than 256 metrics",
    );
    let long_number = "9".repeat(1_000_000);
    check(
        &batch(&format!(r#"{{"a":{long_number}}}"#), ""),
        "0 not_finite: metrics.a: the number is too large for a double",
    );
    // Half a character at the end, as of a body that was cut.
    let cut = &"{\"agent_id\":\"é\"}".as_bytes()[..14];
    assert_eq!(
        read(cut, BodyFormat::Json, &DecodeLimits::default()),
        ["not UTF-8 at byte 13, line 1"]
    );
    assert_eq!(
        read(cut, BodyFormat::Ndjson, &DecodeLimits::default()),
        ["0 malformed: : line 1, byte 13: not UTF-8"]
    );
}

#[test]
fn raw_bytes_are_those_of_the_report() {
    let mut raws = Vec::new();
    let mut keep = |body: &'static [u8], format| {
        raws.clear();
        decode_reports(body, format, &DecodeLimits::default(), &mut |_, _, raw| {
            raws.push(raw)
        })
        .expect("readable");
        raws.clone()
    };
    assert_eq!(
        keep(b" [ {\"a\":1} , 5,[1 ]]", BodyFormat::Json),
        [&b"{\"a\":1}"[..], b"5", b"[1 ]"]
    );
    assert_eq!(keep(b" {\"a\": 1} \n", BodyFormat::Json), [b"{\"a\": 1}"]);
    assert_eq!(
        keep(b"\n {\"a\":1} \r\n{\n", BodyFormat::Ndjson),
        [&b"{\"a\":1}"[..], b"{"]
    );
}

#[test]
fn framed_bincode_says_the_same() {
    let wire = |agent: &str| WireReport {
        agent_id: agent.into(),
        task_id: "t".into(),
        recorded_at: Timestamp::from_nanos(1_795_436_298_000_000_000),
        batch: true,
        hostname: Some("h".into()),
        values: vec![("latency_ms".into(), 45.2), ("x".into(), 1.0)],
    };
    let mut body = Vec::new();
    wire("a").append_to(&mut body);
    let second = body.len();
    wire("b").append_to(&mut body);
    wire("c").append_to(&mut body);
    let read = |body: &[u8]| read(body, BodyFormat::Bincode, &DecodeLimits::default());
    let line = |i: usize, agent: &str| {
        format!("{i} B {agent} t 2026-11-23T12:18:18Z h latency_ms=45.2 x=1")
    };
    assert_eq!(read(&body), [line(0, "a"), line(1, "b"), line(2, "c")]);

    let mut damaged = body.clone();
    damaged[second + 20] ^= 1;
    let lines = read(&damaged);
    assert!(
        lines[1].starts_with("1 malformed: : checksum "),
        "{}",
        lines[1]
    );
    assert_eq!((&lines[0], &lines[2]), (&line(0, "a"), &line(2, "c")));

    assert_eq!(read(&[]), ["empty body"]);
    assert_eq!(
        read(&body[..second + 2]),
        [
            line(0, "a"),
            format!("frame of 4 bytes at byte {second}, 2 bytes are left")
        ]
    );
    let mut lying = body[..second].to_vec();
    lying[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(
        read(&lying),
        [format!(
            "frame of 4294967295 bytes at byte 0, {} bytes are left",
            second - 4
        )]
    );
}
