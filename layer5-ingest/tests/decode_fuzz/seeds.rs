//! Sound inputs to be damaged: every shape, every form of a time, every kind of value, and the corners of each.

use layer5_core::Timestamp;
use layer5_ingest::WireReport;

use crate::{
    labelled::{AGENT_ATTRIBUTE, AGENT_LABEL},
    protobuf::{Field, Wire, message},
};

const OBJECTS: [&str; 14] = [
    concat!(
        r#"{"task_id":"8c6f2f0e-8a9a-4f57-9e10-2d3c4b5a6978","agent_id":"00f1a2b3-8a9a-4f57-9e10-2d3c4b5a6978","#,
        r#""latency_ms":45.2031,"accuracy":0.9731,"cpu_usage":0.4375,"memory_mb":512.25,"network_bytes":123456,"#,
        r#""custom_metrics":{"queue_depth":3,"tokens":17.5},"recorded_at":"2026-11-23T12:18:18.123Z","#,
        r#""execution_context":{"hostname":"node-3","available_cores":8,"available_memory_mb":16384,"gpu_info":null,"#,
        r#""network_interfaces":["eth0"]}}"#
    ),
    r#"{"timestamp":1795436298,"agent_id":"agent_17","task_id":"t","metrics":{"latency_ms":45.2,"queue_depth":3}}"#,
    r#"{ "timestamp": 1795436298.25, "agent_id": "a", "task_id": "t", "metrics": { "x": -0, "y": 1e3, "x": 2 } }"#,
    r#"{"timestamp":{"secs_since_epoch":1795436298,"nanos_since_epoch":5},"agent_id":"a","task_id":"t","metrics":{"a":1},"metadata":{"hostname":"h","k":"v"}}"#,
    r#"{"recorded_at":"2026-11-23 12:18:18+02:00","latency_ms":0.1,"accuracy":1,"cpu_usage":0,"memory_mb":1e2,"agent_id":"a","task_id":"t","custom_metrics":{"accuracy":5,"network_bytes":7}}"#,
    r#"{"agent_id":"\u00e9\ud83d\ude00é😀","task_id":"\"\\\/\b\f\n\r\t","timestamp":0,"metrics":{"\u0061":12345678901234567890,"b":0.30000000000000004}}"#,
    r#"{"agent_id":null,"task_id":7,"timestamp":true,"metrics":[]}"#,
    r#"{"agent_id":"a","task_id":"t","recorded_at":"1969-02-29T24:00:00Z","latency_ms":"45"}"#,
    r#"{"unknown":[[{"a":[null,true,false,-1.5e-3,"x"]},{}],[]],"agent_id":"a","task_id":"t","timestamp":-1,"metrics":{"m":9007199254740993}}"#,
    r#"{"metrics":{"a":123456789.12345678,"b":0.1234567890123456789,"c":2.2250738585072011e-308,"d":1.7976931348623159e308},"agent_id":"a","task_id":"t","timestamp":"2026-11-23t12:18:60.999999999999z"}"#,
    r#"{"latency_ms":812.3456789012345,"accuracy":0.123456789012345678,"cpu_usage":0.9999999999999999,"memory_mb":8999.999999999998,"recorded_at":1795436298,"agent_id":"a","task_id":"t","execution_context":{}}"#,
    r#"{"agent_id":"a","agent_id":"b","task_id":"t","timestamp":1,"timestamp":2,"metrics":{"x":1},"metrics":{"y":2}}"#,
    "{\t\"agent_id\" :\r\"a\" ,\"task_id\": \"t\" , \"timestamp\" :1, \"metrics\":{\"m0\":0,\"m1\":1,\"m2\":2,\"m3\":3,\"m4\":4,\"m5\":5,\"m6\":6,\"m7\":7,\"m8\":8,\"m9\":9,\"m10\":10,\"m11\":11,\"m12\":12,\"m13\":13,\"m14\":14,\"m15\":15,\"m16\":16,\"m17\":17,\"m0\":18}}",
    "{}",
];

pub(crate) fn objects() -> Vec<Vec<u8>> {
    OBJECTS
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect()
}

/// Each object beside itself and beside the next: repeated keys are guessed.
fn pairs(separator: &str) -> Vec<String> {
    let next = OBJECTS.iter().cycle().skip(1);
    OBJECTS
        .iter()
        .zip(next)
        .map(|(a, b)| [*a, *a, *b].join(separator))
        .collect()
}

pub(crate) fn arrays() -> Vec<Vec<u8>> {
    let mut all: Vec<_> = pairs(",")
        .iter()
        .map(|text| format!("[{text}]").into_bytes())
        .collect();
    all.push(b" [ ] ".to_vec());
    all
}

pub(crate) fn lines() -> Vec<Vec<u8>> {
    pairs("\n").into_iter().map(String::into_bytes).collect()
}

pub(crate) fn envelopes() -> Vec<Vec<u8>> {
    let report =
        |agent: &str, seconds: f64, host: Option<&str>, values: &[(&str, f64)]| WireReport {
            agent_id: agent.to_owned(),
            task_id: "8c6f2f0e-8a9a-4f57-9e10-2d3c4b5a6978".to_owned(),
            recorded_at: Timestamp::EPOCH.plus_seconds(seconds),
            batch: host.is_none(),
            hostname: host.map(str::to_owned),
            values: values.iter().map(|&(n, v)| (n.to_owned(), v)).collect(),
        };
    let many: Vec<(String, f64)> = (0..300).map(|i| (format!("m{i}"), f64::from(i))).collect();
    let many: Vec<(&str, f64)> = many.iter().map(|(n, v)| (n.as_str(), *v)).collect();
    let kinds = [
        report(
            "agent_17",
            1_795_436_298.5,
            Some("h"),
            &[("latency_ms", 45.2), ("x", f64::NAN)],
        ),
        report("é😀", -1.0, None, &[("accuracy", -0.0), ("accuracy", 1.0)]),
        report("", 0.0, Some(""), &[]),
        report(&"a".repeat(300), 9e9, None, &many),
    ];
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    for (i, first) in kinds.iter().enumerate() {
        for second in [None, Some(&kinds[(i + 1) % kinds.len()])] {
            let mut body = Vec::new();
            first.append_to(&mut body);
            second.inspect(|report| report.append_to(&mut body));
            bodies.push(body);
        }
    }
    bodies
}

fn nested(number: u32, fields: &[Field]) -> Field {
    (number, Wire::Bytes(message(fields)))
}

fn text(number: u32, text: &str) -> Field {
    (number, Wire::Bytes(text.as_bytes().to_vec()))
}

fn double(number: u32, value: f64) -> Field {
    (number, Wire::Fixed64(value.to_bits()))
}

pub(crate) fn write_requests() -> Vec<Vec<u8>> {
    let label = |name: &str, value: &str| nested(1, &[text(1, name), text(2, value)]);
    let sample =
        |value: f64, millis: u64| nested(2, &[double(1, value), (2, Wire::Varint(millis))]);
    let named = [
        label("__name__", "up"),
        label("job", "é\"\\\u{7}"),
        label(AGENT_LABEL, "agent_17"),
        sample(1.5, 1_795_436_298_123),
        sample(f64::from_bits(0x7ff0_0000_0000_0002), 8),
        sample(f64::NAN, u64::MAX),
    ];
    let nobody = [label("__name__", "lost"), sample(1.0, 7)];
    let bare = [
        label(AGENT_LABEL, "a"),
        label("__name__", "latency_ms"),
        sample(45.25, 9),
    ];
    [
        &[nested(1, &named), nested(1, &nobody)][..],
        &[nested(1, &bare)],
        &[
            nested(1, &bare),
            nested(3, &[(1, Wire::Varint(1))]),
            nested(1, &named),
        ],
    ]
    .map(message)
    .into()
}

pub(crate) fn metrics_requests() -> Vec<Vec<u8>> {
    let attribute =
        |number: u32, key: &str, any: Field| nested(number, &[text(1, key), nested(2, &[any])]);
    let resource = nested(
        1,
        &[
            attribute(1, AGENT_ATTRIBUTE, text(1, "agent_17")),
            attribute(1, "n", (3, Wire::Varint(u64::MAX))),
        ],
    );
    let point = |value: Field| {
        nested(
            1,
            &[
                (3, Wire::Fixed64(1_795_436_298_123_000_000)),
                value,
                attribute(7, "core", (2, Wire::Varint(1))),
                attribute(7, "b", double(4, 0.5)),
                (8, Wire::Varint(0)),
            ],
        )
    };
    let gauge = nested(
        2,
        &[
            text(1, "load"),
            nested(5, &[point(double(4, 0.5)), point((6, Wire::Fixed64(7)))]),
        ],
    );
    let sum = nested(
        2,
        &[
            text(1, "latency_ms"),
            nested(
                7,
                &[
                    nested(1, &[(3, Wire::Fixed64(9)), double(4, 45.25)]),
                    nested(1, &[(8, Wire::Varint(1))]),
                ],
            ),
        ],
    );
    let histogram = nested(2, &[text(1, "size"), nested(9, &[point(double(4, 1.0))])]);
    let scope = nested(
        2,
        &[
            nested(1, &[text(1, "scope")]),
            gauge.clone(),
            sum,
            histogram,
        ],
    );
    vec![
        message(&[nested(1, &[resource.clone(), scope.clone()])]),
        // The resource behind what it is the resource of.
        message(&[
            nested(1, &[nested(2, &[gauge]), resource]),
            nested(1, &[scope]),
        ]),
    ]
}

pub(crate) fn metrics_requests_in_json() -> Vec<Vec<u8>> {
    const FULL: &str = concat!(
        r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.instance.id","value":{"stringValue":"a"}},"#,
        r#"{"key":"n","value":{"intValue":"-5"}},{"key":"l","value":{"arrayValue":{"values":[]}}}]},"scopeMetrics":[{"scope":{},"#,
        r#""metrics":[{"name":"load","gauge":{"dataPoints":[{"timeUnixNano":"9","asDouble":0.5,"attributes":[{"key":"c","#,
        r#""value":{"boolValue":true}}]},{"timeUnixNano":9,"asInt":"7"},{"asDouble":"NaN","flags":1}]}},"#,
        r#"{"name":"s","sum":{"dataPoints":[{"asDouble":"-Infinity"}]}},{"name":"h","histogram":{"dataPoints":[{"count":"1"}]}}]}]}]}"#
    );
    [FULL, r#"{"resourceMetrics":[]}"#, "{}"]
        .map(|text| text.as_bytes().to_vec())
        .into()
}
