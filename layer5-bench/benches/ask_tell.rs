//! One ask and tell in five dimensions, per sampler, at several numbers of observations.
//! What the shape stresses: the surrogate's fit and search grow with the observations, the others must not.
//! Each bench checks that what is asked is inside the space before it is timed.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use layer5_optimize::{
    Domain, Outcome, Parameter, Point, SamplerKind, Space, Study, StudyConfig, Value,
};

/// A valley, in `-2..=2` on every axis.
fn objective(point: &Point) -> f64 {
    let x: Vec<f64> = point
        .values()
        .iter()
        .map(|value| {
            if let Value::Float(x) = value {
                *x
            } else {
                f64::NAN
            }
        })
        .collect();
    x.windows(2)
        .map(|w| 100.0 * (w[1] - w[0] * w[0]).powi(2) + (1.0 - w[0]).powi(2))
        .sum()
}

fn study_with(sampler: SamplerKind, n: usize) -> Study {
    let named = (0..5).map(|j| Parameter::new(format!("x{j}"), Domain::float(-2.0, 2.0)));
    let space = Space::new(named.collect()).expect("valid");
    let config = StudyConfig {
        sampler,
        seed: 1,
        ..StudyConfig::new(space)
    };
    let mut study = Study::new(config).expect("fits");
    for _ in 0..n {
        ask_and_tell(&mut study);
    }
    study
}

fn ask_and_tell(study: &mut Study) {
    let trial = study.ask();
    let value = objective(&trial.point);
    study
        .tell(trial.id, Outcome::Value(value))
        .expect("pending");
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ask_tell_5d");
    group.sample_size(20);
    for (sampler, sizes) in [
        (SamplerKind::Random, [50, 100]),
        (SamplerKind::Tpe, [50, 100]),
        (SamplerKind::CmaEs, [50, 100]),
        (SamplerKind::TrustRegion, [50, 100]),
        (SamplerKind::Gp, [50, 100]),
        (SamplerKind::Auto, [50, 100]),
    ] {
        for n in sizes {
            let study = study_with(sampler, n);
            let asked = study.clone().ask();
            study
                .config()
                .space
                .check(&asked.point)
                .expect("suggestions are inside");
            group.bench_function(format!("{sampler}/n={n}"), |bencher| {
                bencher.iter_batched_ref(|| study.clone(), ask_and_tell, BatchSize::SmallInput);
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
