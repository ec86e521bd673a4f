//! Proves that decoding agrees with an independent reading of the same bytes, made of serde_json's generic parts and of
//! core's own `Deserialize` for times: the same bodies are refused, the same reports rejected for the same field and
//! reason, and what is read is the same bit for bit. Inputs are reports built of every mixture of right and wrong
//! fields, and such reports with damaged bytes.
//!
//! `LAYER5_DECODE_CASES=200000` runs it longer than the default.

mod reference;

use layer5_core::Timestamp;
use layer5_ingest::{BodyError, BodyFormat};
use proptest::prelude::*;
use reference::{decoded, reference_json, reference_ndjson};

fn check(body: &[u8]) -> Result<(), TestCaseError> {
    let shown = String::from_utf8_lossy(body);
    let answers = decoded(body, BodyFormat::Json);
    let expected = reference_json(body);
    prop_assert_eq!(
        answers.as_ref().ok(),
        expected.as_ref(),
        "{}: {:?}",
        shown,
        answers
    );
    let answers = decoded(body, BodyFormat::Ndjson);
    let expected = reference_ndjson(body);
    if expected.is_empty() {
        prop_assert_eq!(answers, Err(BodyError::Empty), "{}", shown);
    } else {
        prop_assert_eq!(answers, Ok(expected), "{}", shown);
    }
    Ok(())
}

/// White space between tokens, mostly none.
fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(""), 2 => Just(" "), 1 => Just("\n"), 1 => Just("\t\r ")]
}

fn any_number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0_u32..2_000_000).prop_map(|n| format!("{}", f64::from(n) / 1000.0)),
        2 => any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(|x| format!("{x:e}")),
        2 => "-?(0|[1-9][0-9]{0,21})(\\.[0-9]{1,21})?([eE][+-]?[0-9]{1,3})?",
        1 => Just("1e999".to_owned()),
        1 => Just("-0".to_owned()),
    ]
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9-]{0,40}".prop_map(|s| format!("\"{s}\"")),
        2 => any::<String>().prop_map(|s| serde_json::to_string(&s).expect("text")),
        1 => "([a-z é😀]|\\\\[\"\\\\/bfnrtu]|\\\\u[0-9a-fA-F]{4}|\\\\ud83d\\\\ude00){0,9}".prop_map(|s| format!("\"{s}\"")),
    ]
}

fn any_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any_number(),
        any_text(),
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), space())
                .prop_map(|(all, s)| format!("[{s}{}{s}]", all.join(&format!("{s},{s}")))),
            (prop::collection::vec((any_text(), inner), 0..4), space()).prop_map(|(all, s)| {
                let all: Vec<_> = all.iter().map(|(k, v)| format!("{k}{s}:{s}{v}")).collect();
                format!("{{{s}{}{s}}}", all.join(&format!("{s},{s}")))
            }),
        ]
    })
}

fn any_time() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\"2026-11-23T12:18:18.123456789Z\"".to_owned()),
        Just("\"2026-11-23 12:18:18+02:00\"".to_owned()),
        any::<i64>().prop_map(|n| format!("\"{}\"", Timestamp::from_nanos(n))),
        any::<i64>().prop_map(|n| n.to_string()),
        (0_u64..3_000_000_000).prop_map(|n| n.to_string()),
        (0_u64..3_000_000_000, 0_u32..1000).prop_map(|(s, ms)| format!("{s}.{ms:03}")),
        (0_u64..10_000_000_000, any::<u32>())
            .prop_map(|(s, n)| format!("{{\"secs_since_epoch\":{s},\"nanos_since_epoch\":{n}}}")),
        (any_value(), any_value(), any_value()).prop_map(|(a, b, c)| format!(
            "{{\"nanos_since_epoch\":{a},\"x\":{b},\"secs_since_epoch\":{c},\"secs_since_epoch\":5}}"
        )),
    ]
}

fn metric_map() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        3 => "[a-c]{1,2}".prop_map(|s| format!("\"{s}\"")),
        1 => Just("\"accuracy\"".to_owned()),
        1 => Just("\"network_bytes\"".to_owned()),
        1 => any_text(),
    ];
    let value = prop_oneof![12 => any_number(), 1 => any_value()];
    (prop::collection::vec((name, value), 0..24), space()).prop_map(|(all, s)| {
        let all: Vec<_> = all.iter().map(|(k, v)| format!("{k}:{s}{v}")).collect();
        format!("{{{s}{}{s}}}", all.join(","))
    })
}

fn host_object() -> impl Strategy<Value = String> {
    (
        any_text(),
        any_value(),
        prop_oneof![4 => any_text(), 1 => any_value()],
    )
        .prop_map(|(key, value, host)| format!("{{{key}:{value},\"hostname\":{host}}}"))
}

/// A key and a value that mostly fits it.
fn member() -> impl Strategy<Value = (String, String)> {
    let with = |key: &'static str, value: BoxedStrategy<String>| {
        (
            Just(key.to_owned()),
            prop_oneof![9 => value, 1 => any_value()],
        )
            .boxed()
    };
    prop_oneof![
        with("\"agent_id\"", any_text().boxed()),
        with("\"task_id\"", any_text().boxed()),
        with("\"recorded_at\"", any_time().boxed()),
        with("\"timestamp\"", any_time().boxed()),
        with("\"latency_ms\"", any_number().boxed()),
        with("\"accuracy\"", any_number().boxed()),
        with("\"cpu_us\\u0061ge\"", any_number().boxed()),
        with("\"memory_mb\"", any_number().boxed()),
        with("\"network_bytes\"", any_number().boxed()),
        with("\"custom_metrics\"", metric_map().boxed()),
        with("\"metrics\"", metric_map().boxed()),
        with("\"execution_context\"", host_object().boxed()),
        with("\"metadata\"", host_object().boxed()),
        (any_text(), any_value()),
    ]
}

/// An object that is near to a report: the required members of one shape or none, and random ones, in any order.
fn near_report() -> impl Strategy<Value = String> {
    let a = [
        ("\"agent_id\"", "\"agent_17\""),
        ("\"task_id\"", "\"8c6f2f0e-8a9a-4f57-9e10-2d3c4b5a6978\""),
        ("\"latency_ms\"", "45.25"),
        ("\"accuracy\"", "0.9731"),
        ("\"cpu_usage\"", "0.4375"),
        ("\"memory_mb\"", "512"),
        ("\"recorded_at\"", "\"2026-11-23T12:18:18Z\""),
    ];
    let b = [
        ("\"agent_id\"", "\"agent_17\""),
        ("\"task_id\"", "\"t\""),
        ("\"timestamp\"", "1795436298"),
        ("\"metrics\"", "{\"x\":1.5}"),
    ];
    let owned = |all: &[(&str, &str)]| -> Vec<(String, String)> {
        all.iter()
            .map(|&(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    };
    let base = prop_oneof![4 => Just(owned(&a)), 3 => Just(owned(&b)), 1 => Just(Vec::new())];
    (base, prop::collection::vec(member(), 0..6), space())
        .prop_flat_map(|(mut members, more, s)| {
            members.extend(more);
            (Just(members).prop_shuffle(), Just(s))
        })
        .prop_map(|(members, s)| {
            let all: Vec<_> = members
                .iter()
                .map(|(k, v)| format!("{k}{s}:{s}{v}"))
                .collect();
            format!("{{{s}{}{s}}}", all.join(&format!("{s},{s}")))
        })
}

/// A few damaged places: where (as a fraction of the length), and what is done there.
fn damages() -> impl Strategy<Value = Vec<(f64, u8, Vec<u8>)>> {
    let bytes = prop_oneof![
        prop::collection::vec(
            prop::sample::select(b"{}[]\",:\\0-.eE1nutf \n\x00\x1f\x7f\xc3\xa9".to_vec()),
            0..3
        ),
        prop::collection::vec(any::<u8>(), 0..3),
    ];
    prop::collection::vec((0.0..1.0, 0_u8..4, bytes), 1..4)
}

fn damage(mut body: Vec<u8>, damages: &[(f64, u8, Vec<u8>)]) -> Vec<u8> {
    for (place, kind, bytes) in damages {
        let at = (place * body.len() as f64) as usize;
        match kind {
            0 => drop(body.splice(at..at, bytes.iter().copied())),
            1 => drop(body.splice(
                at..(at + bytes.len()).min(body.len()),
                bytes.iter().copied(),
            )),
            2 => drop(body.drain(at..(at + bytes.len() + 1).min(body.len()))),
            _ => body.truncate(at),
        }
    }
    body
}

fn config() -> ProptestConfig {
    let cases = std::env::var("LAYER5_DECODE_CASES")
        .ok()
        .and_then(|n| n.parse().ok());
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases.unwrap_or(1500))
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn on_sound_json(reports in prop::collection::vec(prop_oneof![9 => near_report(), 1 => any_value()], 0..4), s in space()) {
        check(format!("{s}[{s}{}{s}]{s}", reports.join(",")).as_bytes())?;
        check(reports.join("\n").as_bytes())?;
    }

    #[test]
    fn on_one_report(report in near_report()) {
        check(report.as_bytes())?;
    }

    /// Guessed keys: maps that repeat, nearly repeat, and hold a key twice, short ones and such with a hash table.
    #[test]
    fn on_maps_that_repeat(
        maps in prop::collection::vec(
            (0_usize..2, prop::collection::vec(prop::sample::select(vec!["a", "b", "m3", "\\u0061", "a key of more than 21 bytes"]), 0..4)),
            1..8,
        )
    ) {
        let map = |(many, names): &(usize, Vec<&str>)| {
            let many = (0..many * 18).map(|i| format!("\"m{i}\":{i}"));
            let some = names.iter().enumerate().map(|(i, name)| format!("\"{name}\":{i}.5"));
            let all: Vec<String> = many.chain(some).collect();
            all.join(",")
        };
        let reports: Vec<String> = maps
            .iter()
            .map(|m| format!(r#"{{"agent_id":"a","task_id":"t","timestamp":1,"metrics":{{{}}}}}"#, map(m)))
            .collect();
        check(format!("[{}]", reports.join(",")).as_bytes())?;
    }

    #[test]
    fn on_damaged_bytes(reports in prop::collection::vec(near_report(), 1..4), damages in damages()) {
        check(&damage(format!("[{}]", reports.join(",")).into_bytes(), &damages))?;
        check(&damage(reports.join("\n").into_bytes(), &damages))?;
    }

    #[test]
    fn on_any_bytes(body in any::<Vec<u8>>()) {
        check(&body)?;
        let _ = decoded(&body, BodyFormat::Bincode);
    }

    #[test]
    fn on_any_mixture_of_tokens(body in "([\\[\\]{}:,\"0-9eE.+-]|null|true|\"agent_id\":|\"metrics\":\\{| |\\n){0,24}") {
        check(body.as_bytes())?;
    }
}
