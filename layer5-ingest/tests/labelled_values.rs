//! Remote write and OTLP: what real senders write is read as it was meant, in both forms alike, and no bytes harm the
//! reader. `fixtures/otlp_python_sdk.*` is one export of the OpenTelemetry SDK for Python 1.45.2, made by the script of
//! that name; remote write is proven with a real Prometheus in the server's tests.

use layer5_core::{Kpi, MetricName, Rejection, Report, Timestamp};
use layer5_ingest::{BodyError, DecodeLimits, decode_otlp, decode_otlp_json, decode_remote_write};
use proptest::prelude::*;

const SDK: &[u8] = include_bytes!("fixtures/otlp_python_sdk.bin");
const SDK_JSON: &[u8] = include_bytes!("fixtures/otlp_python_sdk.json");
const LIMITS: DecodeLimits = DecodeLimits {
    depth_max: 32,
    reports_max: 100,
    values_max: 16,
};

/// Agent, metric, value and time of each report, or why there is none.
type Read = Vec<Result<(String, String, f64, i64), String>>;

fn kept(read: &mut Read, i: usize, report: Result<&Report<'_>, Rejection>) {
    assert_eq!(i, read.len());
    read.push(match report {
        Ok(report) => {
            let [value] = &report.values[..] else {
                panic!("one value a report")
            };
            let metric = value.metric.as_str().to_owned();
            let at = report.recorded_at.nanos();
            Ok((report.agent_id.to_string(), metric, value.value, at))
        }
        Err(rejection) => Err(rejection.to_string()),
    });
}

fn otlp(body: &[u8]) -> Result<Read, BodyError> {
    let mut read = Vec::new();
    decode_otlp(body, "service.instance.id", &LIMITS, &mut |i, r, _| {
        kept(&mut read, i, r)
    })?;
    Ok(read)
}

fn otlp_json(body: &[u8]) -> Result<Read, BodyError> {
    let mut read = Vec::new();
    decode_otlp_json(body, "service.instance.id", &LIMITS, &mut |i, r, _| {
        kept(&mut read, i, r)
    })?;
    Ok(read)
}

fn remote_write(body: &[u8]) -> Result<Read, BodyError> {
    let mut read = Vec::new();
    let n = decode_remote_write(body, "agent_id", &LIMITS, &mut |i, r, _| {
        kept(&mut read, i, r)
    })?;
    assert_eq!(n, read.len());
    Ok(read)
}

/// A field that holds bytes.
fn bytes(number: u8, inner: &[u8]) -> Vec<u8> {
    let length = u8::try_from(inner.len()).expect("short");
    assert!(length < 0x80, "one byte of length");
    [&[number << 3 | 2, length], inner].concat()
}

fn label(name: &str, value: &str) -> Vec<u8> {
    let inner = [bytes(1, name.as_bytes()), bytes(2, value.as_bytes())].concat();
    bytes(1, &inner)
}

fn sample(value: f64, millis: u8) -> Vec<u8> {
    bytes(
        2,
        &[&[1 << 3 | 1][..], &value.to_le_bytes(), &[2 << 3, millis]].concat(),
    )
}

fn series(parts: &[Vec<u8>]) -> Vec<u8> {
    bytes(1, &parts.concat())
}

#[test]
fn the_sdks_message_is_read_in_both_forms() {
    let at = 1_795_452_706_036_950_010;
    let value =
        |metric: &str, value: f64| Ok(("agent_17".to_owned(), metric.to_owned(), value, at));
    let only = "only gauges and sums are taken, their points being numbers";
    let expected = vec![
        value("requests{code=\"200\",route=\"/a\"}", 7.0),
        value("in_flight", -3.0),
        Err(format!("wrong_type: size: {only}")),
        value("latency_ms", 45.25),
        value("load{core=\"0\"}", 0.5),
        value("load{core=\"1\"}", 1.5),
    ];
    assert_eq!(otlp(SDK), Ok(expected.clone()));
    assert_eq!(otlp_json(SDK_JSON), Ok(expected));
}

#[test]
fn a_metric_of_the_catalogue_is_known_as_such() {
    let mut known = 0;
    let mut sink = |_: usize, report: Result<&Report<'_>, Rejection>, _: &[u8]| {
        let kpi =
            |report: &Report<'_>| report.values[0].metric == MetricName::Known(Kpi::LatencyMs);
        known += usize::from(report.is_ok_and(kpi));
    };
    decode_otlp(SDK, "service.instance.id", &LIMITS, &mut sink).expect("sound");
    assert_eq!(known, 1);
}

#[test]
fn without_the_attribute_every_point_is_refused() {
    let mut refused = Vec::new();
    let n = decode_otlp(SDK, "agent", &LIMITS, &mut |_, report, _| {
        refused.extend(report.err().map(|rejection| rejection.to_string()));
    });
    assert_eq!((n, refused.len()), (Ok(6), 6));
    let expected =
        "missing_field: agent: the resource attribute `agent` names the agent and is not there";
    assert_eq!(refused[0], expected);
}

#[test]
fn json_has_what_protobuf_has_not() {
    let point = |point: &str| {
        let body = format!(
            r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{{"key":"service.instance.id","value":{{"intValue":"5"}}}}]}},
            "scopeMetrics":[{{"metrics":[{{"name":"m","gauge":{{"dataPoints":[{point}]}}}}]}}],"unknown":[1]}}]}}"#
        );
        otlp_json(body.as_bytes())
    };
    let value = |v: f64| Ok(vec![Ok(("5".to_owned(), "m".to_owned(), v, 9))]);
    assert_eq!(point(r#"{"timeUnixNano":9,"asDouble":1}"#), value(1.0));
    assert_eq!(point(r#"{"timeUnixNano":"9","asInt":-2}"#), value(-2.0));
    assert_eq!(
        point(r#"{"timeUnixNano":"9","asDouble":"Infinity"}"#),
        value(f64::INFINITY)
    );
    assert_eq!(
        point(r#"{"timeUnixNano":"9","asDouble":1,"flags":1}"#),
        Ok(vec![])
    );
    assert!(matches!(
        &point(r#"{"timeUnixNano":"9"}"#).as_deref(),
        Ok([Err(_)])
    ));
    assert!(matches!(
        point(r#"{"timeUnixNano":"x"}"#),
        Err(BodyError::Json { .. })
    ));
    assert!(matches!(otlp_json(b"\xff"), Err(BodyError::Json { .. })));
    let deep = [b"[".repeat(1_000_000), b"]".repeat(1_000_000)].concat();
    assert!(matches!(otlp_json(&deep), Err(BodyError::Json { .. })));
}

#[test]
fn a_write_request_is_read() {
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let body = [
        series(&[
            label("__name__", "up"),
            label("job", "j"),
            label("agent_id", "a"),
            sample(1.5, 7),
            sample(stale, 8),
            sample(f64::NAN, 9),
        ]),
        series(&[label("__name__", "lost"), sample(1.0, 7)]),
        // Metadata.
        bytes(3, b"\x08\x01"),
    ]
    .concat();
    let read = remote_write(&body).expect("sound");
    let milli = Timestamp::from_millis(7).nanos();
    assert_eq!(
        read[0],
        Ok(("a".into(), "up{job=\"j\"}".into(), 1.5, milli))
    );
    assert!(
        read[1]
            .as_ref()
            .is_ok_and(|(_, _, value, _)| value.is_nan()),
        "validation refuses it"
    );
    let refused = read[2].as_ref().expect_err("no agent");
    assert!(
        refused.starts_with("missing_field: agent_id: the label"),
        "{refused}"
    );
    assert_eq!(read.len(), 3, "a stale marker is no value");
}

#[test]
fn what_is_broken_is_refused_with_its_place() {
    let body = series(&[
        label("__name__", "up"),
        label("agent_id", "a"),
        sample(1.0, 7),
    ]);
    assert!(remote_write(&body).is_ok());
    for cut in 1..body.len() {
        assert!(
            matches!(remote_write(&body[..cut]), Err(BodyError::Protobuf { .. })),
            "{cut}"
        );
    }
    let bad = series(&[bytes(1, &bytes(1, b"\xff"))]);
    assert_eq!(
        remote_write(&bad),
        Err(BodyError::NotUtf8 { offset: 6, line: 1 })
    );
    let many = series(&[
        label("__name__", "up"),
        label("agent_id", "a"),
        sample(1.0, 7),
    ])
    .repeat(101);
    assert_eq!(
        remote_write(&many),
        Err(BodyError::TooManyReports { limit: 100 })
    );
}

proptest! {
    #[test]
    fn no_mutation_of_a_message_panics(at in 0..SDK.len(), byte: u8, cut in 0..SDK.len()) {
        let mut body = SDK.to_vec();
        body[at] = byte;
        let _either = otlp(&body);
        let _either = otlp(&body[..cut]);
        let _either = remote_write(&body);
    }

    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _either = (otlp(&body), otlp_json(&body), remote_write(&body));
    }
}
