//! The batch analyses, one row per line of work, and `augurs` beside them where it does the same.
//! Shapes are those of `layer5-bench quality speed`, which prints them beside the stored answers of Python peers; seeds are
//! in `src/quality/speed.rs`. One thread. Stresses: matching is quadratic and runs in cache; the others are short, so that
//! planning and allocation count. `cargo bench -p layer5-bench --bench patterns`

use std::hint::black_box;

use augurs::dtw::Dtw;
use augurs::ets::AutoETS;
use augurs::mstl::MSTLModel;
use augurs::{Fit, Predict};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use layer5_bench::quality::speed::{cases, seasonal, walk};
use layer5_patterns::matching::dtw;

/// Not worth its time in the unoptimised run of continuous integration.
const LONG: &str = "profile-50k";

fn ours(c: &mut Criterion) {
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .expect("a thread");
    let mut group = c.benchmark_group("patterns");
    group.sample_size(10);
    for mut case in cases() {
        if case.row == LONG && cfg!(debug_assertions) {
            continue;
        }
        let answer = one.install(|| (case.work)());
        assert!(
            answer.is_finite() && answer != 0.0,
            "{}: {answer}",
            case.row
        );
        group.throughput(Throughput::Elements(case.pieces as u64));
        group.bench_function(case.row, |b| {
            one.install(|| b.iter(|| black_box((case.work)())));
        });
    }
    group.finish();
}

fn beside(c: &mut Criterion) {
    let (left, right) = (walk(1_000, 7), walk(1_000, 8));
    let mut group = c.benchmark_group("augurs");
    group.sample_size(10);
    for (name, band) in [("dtw-1000", None), ("dtw-1000-100", Some(100))] {
        let peer = band.map_or_else(Dtw::euclidean, |w| Dtw::euclidean().with_window(w));
        let (own, theirs) = (
            dtw(&left, &right, band.unwrap_or(usize::MAX)),
            peer.distance(&left, &right),
        );
        // Their band is measured on other cells of its border; without one the distance is the same number.
        assert!(
            band.is_some() || (own - theirs).abs() < 1e-6 * own,
            "{own} {theirs}"
        );
        group.bench_function(name, |b| b.iter(|| peer.distance(black_box(&left), &right)));
    }
    let weeks = seasonal(1_008, 5);
    group.bench_function("mstl-1008", |b| {
        b.iter(|| {
            let model = MSTLModel::naive(vec![24, 168]);
            model.fit(black_box(&weeks)).expect("six weeks")
        });
    });
    let month = seasonal(720, 6);
    group.bench_function("ets-720", |b| {
        b.iter(|| {
            let model = AutoETS::non_seasonal()
                .fit(black_box(&month))
                .expect("720 values");
            model.predict(24, None).expect("a fitted model")
        });
    });
    group.finish();
}

criterion_group!(benches, ours, beside);
criterion_main!(benches);
