//! Sound inputs to be damaged: every shape, every form of a time, every kind of value, and the corners of each.

use layer5_core::Timestamp;
use layer5_ingest::WireReport;

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
