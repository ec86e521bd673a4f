//! One report on the way of the service, without its doors and its disk: decode, validate, find the names, make the
//! arrivals, and let the shard step, which updates the watch of every series.
//! Shape: NDJSON of shape A with seven metrics, 100 agents in turn, one report of each a minute; 64 bodies of 1000 reports
//! follow each other in time, so the watches are warm and see a steady stream; seed fixed. The bodies come round again
//! each with new times, which keeps the stream in order however long it is measured.
//! Stresses what a shard does a thousand times a second; the rows before the last are the same way cut short, so that
//! their differences are the cost of a stage. `cargo bench -p layer5-bench --bench pipeline`

use std::{fmt::Write as _, hint::black_box};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use layer5_core::{ReportLimits, Timestamp, validate};
use layer5_ingest::{
    Arrival, BodyFormat, CardinalityLimits, DecodeLimits, Names, Resolved, arrivals, decode_reports,
};
use layer5_patterns::WatchConfig;
use layer5_server::refinery::{Roles, Shard};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

const N_REPORTS: usize = 1000;
const N_AGENTS: usize = 100;
const METRICS: usize = 7;
/// A report of each agent a minute.
const SECONDS_PER_BODY: f64 = 60.0 * (N_REPORTS / N_AGENTS) as f64;
/// Bodies before anything is measured: ten hours and a half, past every warm-up but that of daily cycles.
const WARM_UP: usize = 64;

/// 2026-11-23T12:00:00Z.
const START: Timestamp = Timestamp::from_nanos(1_795_435_200_000_000_000);

/// When the bodies of a stream begin.
fn begins(body: usize) -> Timestamp {
    START.plus_seconds(SECONDS_PER_BODY * body as f64)
}

/// The reports of one body, as a sender writes them.
fn body(number: usize, rng: &mut Pcg64Mcg) -> Vec<u8> {
    let mut text = String::new();
    for i in 0..N_REPORTS {
        let at = begins(number).plus_seconds(60.0 * (i / N_AGENTS) as f64);
        let mut near = |level: f64| level * (1.0 + 0.1 * (rng.random::<f64>() - 0.5));
        writeln!(
            text,
            concat!(
                r#"{{"task_id":"t-{}-{}","agent_id":"agent_{}","latency_ms":{:.3},"accuracy":{:.4},"cpu_usage":{:.4},"#,
                r#""memory_mb":{:.1},"network_bytes":{:.0},"custom_metrics":{{"queue_depth":{:.0},"tokens":{:.2}}},"#,
                r#""recorded_at":"{}","execution_context":{{"hostname":"node-{}"}}}}"#
            ),
            number,
            i,
            i % N_AGENTS,
            near(120.0),
            near(0.9),
            near(0.5),
            near(2000.0),
            near(90_000.0),
            near(40.0),
            near(250.0),
            at,
            i % 10,
        )
        .expect("a string takes any text");
    }
    text.into_bytes()
}

/// Everything between a body and its findings that lives from body to body.
struct Way {
    names: Names,
    resolved: Resolved,
    arrivals: Vec<Arrival>,
    shard: Shard,
}

impl Way {
    fn new() -> Self {
        Self {
            names: Names::new(1),
            resolved: Resolved::default(),
            arrivals: Vec::new(),
            shard: Shard::new(WatchConfig::default(), true, Roles::default()),
        }
    }

    /// Arrivals of a body; returns how many reports it had.
    fn arrive(&mut self, body: &[u8], now: Timestamp) -> usize {
        let (limits, cardinality) = (ReportLimits::default(), CardinalityLimits::default());
        self.arrivals.clear();
        read(body, |report| {
            validate(report, &limits, now).expect("a good report");
            if !self.names.resolve_report(report, &mut self.resolved) {
                let new = self
                    .names
                    .intern_report(report, &cardinality, &mut self.resolved);
                new.expect("room for its names");
            }
            arrivals(report, &self.resolved, 0, &mut self.arrivals);
        })
    }

    /// Steps the shard over the arrivals of the last body; returns how many findings there were.
    fn step(&mut self) -> usize {
        let mut found = Vec::new();
        for arrival in &self.arrivals {
            self.shard.step(arrival, &mut found);
        }
        found.len()
    }
}

/// Gives every report of a body to `each`; all must be sound.
fn read(body: &[u8], mut each: impl FnMut(&layer5_core::Report<'_>)) -> usize {
    let mut n = 0;
    let limits = DecodeLimits::default();
    decode_reports(body, BodyFormat::Ndjson, &limits, &mut |_, report, _| {
        each(report.expect("a sound report"));
        n += 1;
    })
    .expect("a readable body");
    n
}

fn pipeline(criterion: &mut Criterion) {
    let mut rng = Pcg64Mcg::seed_from_u64(5);
    let mut way = Way::new();
    let mut next = 0;
    let mut findings = 0;
    for _ in 0..WARM_UP {
        let body = body(next, &mut rng);
        next += 1;
        assert_eq!(way.arrive(&body, begins(next)), N_REPORTS);
        assert_eq!(way.arrivals.len(), METRICS * N_REPORTS);
        findings += way.step();
    }
    assert_eq!(
        way.shard.n_agents_and_series(),
        (N_AGENTS, METRICS * N_AGENTS)
    );
    let samples = WARM_UP * N_REPORTS * METRICS;
    assert!(
        findings < samples / 1000,
        "{findings} findings in {samples} samples of a quiet stream"
    );

    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(N_REPORTS as u64));
    let still = body(next, &mut rng);
    let now = begins(next + 1);
    group.bench_function("decode", |b| b.iter(|| read(black_box(&still), |_| {})));
    group.bench_function("decode, validate, names, arrivals", |b| {
        b.iter(|| way.arrive(black_box(&still), now));
    });
    group.bench_function("decode to findings", |b| {
        b.iter_batched(
            || {
                let fresh = (body(next, &mut rng), begins(next + 1));
                next += 1;
                fresh
            },
            |(body, now)| {
                way.arrive(black_box(&body), now);
                way.step()
            },
            // One body a time: they must be stepped in the order of their times.
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
