//! One update of the full default watch: score, alarm logic, profile, shift, drift, flatline, gaps.
//! Shape: five-minute samples with a daily cycle and noise, 8 days, seed fixed; the state is warm, as in service.
//! Stresses the steady path; findings are rare. Aim: at most 0.5 us. `cargo bench -p layer5-bench --bench detector`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use layer5_core::Timestamp;
use layer5_patterns::{Watch, WatchConfig};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

const N: usize = 8 * 288;

fn samples(start: usize) -> Vec<(f64, Timestamp)> {
    let mut rng = Pcg64Mcg::seed_from_u64(11);
    (start..start + N)
        .map(|i| {
            let day = (i as f64 * std::f64::consts::TAU / 288.0).sin();
            let noise: f64 = rng.random::<f64>() + rng.random::<f64>() - 1.0;
            (
                60.0 + 15.0 * day + 8.0 * noise,
                Timestamp::from_millis(300_000 * i as i64),
            )
        })
        .collect()
}

fn update(c: &mut Criterion) {
    let config = WatchConfig::default();
    let mut warm = Watch::new(&config);
    for (value, at) in samples(0) {
        warm.update(value, at, &config);
    }
    assert_eq!(warm.state().period_seconds, Some(86_400.0));
    let next = samples(N);
    let mut group = c.benchmark_group("watch");
    group.throughput(Throughput::Elements(N as u64));
    group.bench_function("default update", |b| {
        b.iter(|| {
            let mut watch = warm;
            let mut sum = 0.0;
            for &(value, at) in &next {
                sum += watch
                    .update(value, at, &config)
                    .score
                    .score()
                    .unwrap_or(0.0);
            }
            black_box(sum)
        });
    });
    group.finish();
}

criterion_group!(benches, update);
criterion_main!(benches);
