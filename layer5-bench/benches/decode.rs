//! From the bytes of a body to checked reports, beside serde_json and sonic-rs on the same bytes in the same run.
//! Shape: NDJSON of 1000 reports of shape A, 444 bytes each on average, every field of CONTRACTS section 2 present; ids,
//! times and numbers differ from report to report, so that no branch is learnt by heart. `long` has numbers of 15 to 17
//! digits, as a sender prints doubles; `batch` is shape B with seven metrics.
//! The peers read *lean*: borrowed ids, the five numbers, the time as unread text, everything else skipped; ours
//! reads all of it, with the time parsed, custom metrics and host kept. `checked` adds `validate`, `resolved` the
//! interning and the arrivals, as the service does.
//! Every row first checks that it read what the others read.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use layer5_core::{ReportLimits, Timestamp, validate};
use layer5_ingest::{
    Arrival, BodyFormat, CardinalityLimits, DecodeLimits, Names, Resolved, WireReport, arrivals,
    decode_reports,
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Deserialize;

const N_REPORTS: usize = 1000;

/// 2026-11-23T12:18:18Z, when all reports are made.
const NOW: Timestamp = Timestamp::from_nanos(1_795_436_298_000_000_000);

/// What a reader in a hurry would keep of a report of shape A.
#[derive(Deserialize)]
#[allow(dead_code, reason = "peers must materialise what they read")]
struct Lean<'a> {
    task_id: &'a str,
    agent_id: &'a str,
    latency_ms: f64,
    accuracy: f64,
    cpu_usage: f64,
    memory_mb: f64,
    network_bytes: Option<u64>,
    recorded_at: &'a str,
}

fn uuid(rng: &mut Pcg64Mcg) -> String {
    let x: u128 = rng.random();
    format!(
        "{:08x}-{:04x}-4{:03x}-9{:03x}-{:012x}",
        x as u32,
        (x >> 32) as u16,
        (x >> 48) & 0xfff,
        (x >> 60) & 0xfff,
        x >> 80
    )
}

/// NDJSON of shape A; `decimals` of each number, 17 for all of them.
fn tasks(decimals: usize) -> Vec<u8> {
    let mut rng = Pcg64Mcg::seed_from_u64(1);
    let agents: Vec<String> = (0..100).map(|_| uuid(&mut rng)).collect();
    let mut body = String::new();
    for i in 0..N_REPORTS {
        let number = |x: f64| match decimals {
            17 => format!("{x}"),
            _ => format!("{x:.decimals$}"),
        };
        let at = NOW.plus_seconds(-rng.random_range(0.0..100.0));
        body += &format!(
            concat!(
                r#"{{"task_id":"{}","agent_id":"{}","latency_ms":{},"accuracy":{},"cpu_usage":{},"memory_mb":{},"#,
                r#""network_bytes":{},"custom_metrics":{{"queue_depth":{},"tokens":{}}},"recorded_at":"{}","#,
                r#""execution_context":{{"hostname":"node-{}","available_cores":8,"available_memory_mb":16384,"#,
                r#""gpu_info":null,"network_interfaces":["eth0"]}}}}"#
            ),
            uuid(&mut rng),
            agents[i % agents.len()],
            number(rng.random_range(10.0..900.0)),
            number(rng.random_range(0.0..1.0)),
            number(rng.random_range(0.0..1.0)),
            number(rng.random_range(100.0..9000.0)),
            rng.random_range(1000..9_999_999),
            rng.random_range(0..90),
            number(rng.random_range(1.0..500.0)),
            Timestamp::from_millis(at.millis()),
            i % 10,
        );
        body.push('\n');
    }
    body.into_bytes()
}

/// NDJSON of shape B with seven metrics.
fn batches() -> Vec<u8> {
    let mut rng = Pcg64Mcg::seed_from_u64(2);
    let mut body = String::new();
    for i in 0..N_REPORTS {
        let metrics: Vec<String> = [
            "latency_ms",
            "accuracy",
            "cpu_usage",
            "memory_mb",
            "queue_depth",
            "tokens",
            "retries",
        ]
        .iter()
        .map(|name| format!("\"{name}\": {:.4}", rng.random_range(0.0..100.0)))
        .collect();
        body += &format!(
            "{{\"timestamp\": {:.3}, \"agent_id\": \"agent_{}\", \"task_id\": \"{}\", \"metrics\": {{{}}}}}\n",
            NOW.seconds() - rng.random_range(0.0..100.0),
            i % 100,
            uuid(&mut rng),
            metrics.join(", ")
        );
    }
    body.into_bytes()
}

fn binary(ndjson: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    read(ndjson, BodyFormat::Ndjson, |report| {
        WireReport {
            agent_id: report.agent_id.to_string(),
            task_id: report.task_id.to_string(),
            recorded_at: report.recorded_at,
            batch: false,
            hostname: report.hostname.as_deref().map(str::to_owned),
            values: report
                .values
                .iter()
                .map(|v| (v.metric.as_str().to_owned(), v.value))
                .collect(),
        }
        .append_to(&mut body);
    });
    body
}

/// Reads a body and gives every report to `each`; all must be sound.
fn read(body: &[u8], format: BodyFormat, mut each: impl FnMut(&layer5_core::Report<'_>)) -> usize {
    decode_reports(
        body,
        format,
        &DecodeLimits::default(),
        &mut |_, report, _| {
            each(report.expect("a sound report"));
        },
    )
    .expect("a readable body")
}

fn latency_sum(body: &[u8], format: BodyFormat) -> f64 {
    let mut sum = 0.0;
    read(body, format, |report| sum += report.values[0].value);
    sum
}

fn lean<'a>(body: &'a str, parse: impl Fn(&'a str) -> Lean<'a>) -> f64 {
    body.lines()
        .map(|line| black_box(parse(line)).latency_ms)
        .sum()
}

fn serde_lean(body: &str) -> f64 {
    lean(body, |line| serde_json::from_str(line).expect("a report"))
}

fn sonic_lean(body: &str) -> f64 {
    lean(body, |line| sonic_rs::from_str(line).expect("a report"))
}

fn checked(body: &[u8]) -> usize {
    let limits = ReportLimits::default();
    let mut n = 0;
    read(body, BodyFormat::Ndjson, |report| {
        n += usize::from(validate(report, &limits, NOW).is_ok())
    });
    n
}

/// All that a source does with a body whose names are known.
fn resolved(body: &[u8], names: &Names, resolved: &mut Resolved, out: &mut Vec<Arrival>) {
    let limits = ReportLimits::default();
    out.clear();
    read(body, BodyFormat::Ndjson, |report| {
        validate(report, &limits, NOW).expect("a good report");
        assert!(names.resolve_report(report, resolved), "known names");
        arrivals(report, resolved, 0, out);
    });
}

fn decode(criterion: &mut Criterion) {
    for (name, body) in [("task", tasks(4)), ("long", tasks(17))] {
        let text = std::str::from_utf8(&body).expect("UTF-8");
        let bincode = binary(&body);
        // Lean readers of other libraries are not bit-exact by default, hence the tolerance.
        let expected = latency_sum(&body, BodyFormat::Ndjson);
        assert_eq!(latency_sum(&bincode, BodyFormat::Bincode), expected);
        for sum in [serde_lean(text), sonic_lean(text)] {
            assert!((sum - expected).abs() < 1e-6, "{sum} {expected}");
        }
        assert_eq!(checked(&body), N_REPORTS);
        let mut names = Names::new(1);
        let (mut place, mut out) = (Resolved::default(), Vec::new());
        read(&body, BodyFormat::Ndjson, |report| {
            let limits = CardinalityLimits::default();
            names
                .intern_report(report, &limits, &mut place)
                .expect("room");
        });
        resolved(&body, &names, &mut place, &mut out);
        assert_eq!(out.len(), 7 * N_REPORTS);

        let mut group =
            criterion.benchmark_group(format!("decode/{name}/{} B", body.len() / N_REPORTS - 1));
        group.throughput(Throughput::Elements(N_REPORTS as u64));
        group.bench_function("serde_json lean", |b| {
            b.iter(|| serde_lean(black_box(text)))
        });
        group.bench_function("sonic-rs lean", |b| b.iter(|| sonic_lean(black_box(text))));
        group.bench_function("layer5", |b| {
            b.iter(|| latency_sum(black_box(&body), BodyFormat::Ndjson))
        });
        group.bench_function("layer5 checked", |b| b.iter(|| checked(black_box(&body))));
        group.bench_function("layer5 resolved", |b| {
            b.iter(|| resolved(black_box(&body), &names, &mut place, &mut out));
        });
        group.bench_function("layer5 bincode", |b| {
            b.iter(|| latency_sum(black_box(&bincode), BodyFormat::Bincode));
        });
        group.finish();
    }
    let body = batches();
    assert_eq!(checked(&body), N_REPORTS);
    let mut group =
        criterion.benchmark_group(format!("decode/batch/{} B", body.len() / N_REPORTS - 1));
    group.throughput(Throughput::Elements(N_REPORTS as u64));
    group.bench_function("layer5", |b| {
        b.iter(|| latency_sum(black_box(&body), BodyFormat::Ndjson))
    });
    group.bench_function("layer5 checked", |b| b.iter(|| checked(black_box(&body))));
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
