//! Proves what the default watch finds and what it leaves alone: seeded streams with one planted event each must give
//! that event near its place, and quiet streams of many kinds must stay quiet.

use layer5_core::event::Detail;
use layer5_core::{Direction, Finding, PatternKind, Timestamp};
use layer5_patterns::{Watch, WatchConfig};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

const STEP_SECONDS: f64 = 300.0;
const START_SECONDS: f64 = 1.7e9;

fn normal(rng: &mut Pcg64Mcg) -> f64 {
    let (a, b): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

fn time_of(i: usize) -> Timestamp {
    Timestamp::from_seconds(START_SECONDS + STEP_SECONDS * i as f64).expect("this century")
}

/// Row nearest to a time.
fn row_of(at: Timestamp) -> i64 {
    ((at.seconds() - START_SECONDS) / STEP_SECONDS).round() as i64
}

fn watch(values: &[f64]) -> Vec<Finding> {
    let config = WatchConfig::default();
    let mut watch = Watch::new(&config);
    values
        .iter()
        .enumerate()
        .flat_map(|(i, &v)| {
            let update = watch.update(v, time_of(i), &config);
            update.findings.iter().copied().collect::<Vec<_>>()
        })
        .collect()
}

/// Latency with a daily cycle and log-normal noise, eight days.
fn latency(seed: u64) -> Vec<f64> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    (0..2304)
        .map(|i| {
            let day = (i as f64 * std::f64::consts::TAU / 288.0).sin();
            60.0 * (1.0 + 0.3 * day) * (0.15 * normal(&mut rng)).exp()
        })
        .collect()
}

fn white(seed: u64) -> Vec<f64> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    (0..2304).map(|_| 50.0 + normal(&mut rng)).collect()
}

fn find(findings: &[Finding], kind: PatternKind, rows: std::ops::Range<i64>) -> Option<Finding> {
    findings
        .iter()
        .copied()
        .find(|f| f.kind == kind && rows.contains(&row_of(f.detected_at)))
}

#[test]
fn a_level_shift_is_found_with_its_place_and_size() {
    for seed in 0..20 {
        let mut values = white(seed);
        values[1200..].iter_mut().for_each(|v| *v += 5.0);
        let found = find(&watch(&values), PatternKind::ChangePoint, 1200..1230);
        let f = found.unwrap_or_else(|| panic!("seed {seed}"));
        assert_eq!(f.direction, Direction::Up);
        assert!(
            (row_of(f.start) - 1200).abs() <= 2,
            "seed {seed}: {}",
            row_of(f.start)
        );
        // Difference of two medians of about twelve unit normals: standard error 0.5, four of them.
        assert!(
            (f.magnitude - 5.0).abs() < 2.0,
            "seed {seed}: {}",
            f.magnitude
        );
    }
}

#[test]
fn an_outage_at_zero_is_found_within_half_its_length() {
    for seed in 0..20 {
        let mut values = latency(seed);
        values[1500..1524].fill(0.0);
        let findings = watch(&values);
        assert!(
            findings
                .iter()
                .any(|f| (1500..1512).contains(&row_of(f.detected_at))),
            "seed {seed}"
        );
    }
}

#[test]
fn a_stuck_value_is_found() {
    let mut values = latency(1);
    let stuck = values[999];
    values[1000..1020].fill(stuck);
    let f = find(&watch(&values), PatternKind::Template, 1000..1012).expect("a flatline");
    assert_eq!(f.detail, Detail::Flatline);
    assert_eq!(f.baseline, stuck);
}

#[test]
fn a_spike_is_found_at_its_row_and_does_not_poison_the_model() {
    let mut values = white(2);
    values[1000] += 20.0;
    values[1300] -= 20.0;
    let findings = watch(&values);
    let up = find(&findings, PatternKind::Anomaly, 1000..1001).expect("the spike");
    let down = find(&findings, PatternKind::Anomaly, 1300..1301).expect("the dip");
    assert_eq!(
        (up.direction, down.direction),
        (Direction::Up, Direction::Down)
    );
    assert!((up.baseline - 50.0).abs() < 1.0);
    assert!(find(&findings, PatternKind::ChangePoint, 0..2304).is_none());
}

#[test]
fn missing_samples_are_told_by_the_clock_and_by_the_next_sample() {
    let config = WatchConfig::default();
    let mut watch = Watch::new(&config);
    for (i, &v) in white(3).iter().take(500).enumerate() {
        watch.update(v, time_of(i), &config);
    }
    assert!(watch.missing(time_of(501), &config).is_none());
    let by_clock = watch
        .missing(time_of(520), &config)
        .expect("a gap of 21 spacings");
    assert!(
        matches!(by_clock.detail, Detail::Missing { seconds } if (seconds - 6300.0).abs() < 1.0)
    );
    let update = watch.update(50.0, time_of(524), &config);
    assert!(
        update
            .findings
            .iter()
            .any(|f| matches!(f.detail, Detail::Missing { .. }))
    );
}

#[test]
fn a_daily_cycle_is_told_once_and_then_expected() {
    let findings = watch(&latency(4));
    let seasons: Vec<_> = findings
        .iter()
        .filter(|f| f.kind == PatternKind::Seasonality)
        .collect();
    assert_eq!(seasons.len(), 1);
    assert_eq!(seasons[0].detail, Detail::Period { seconds: 86_400.0 });
    assert!(row_of(seasons[0].detected_at) < 4 * 288);
}

#[test]
fn a_drift_is_told_with_its_direction() {
    let mut rng = Pcg64Mcg::seed_from_u64(5);
    let values: Vec<f64> = (0..2304)
        .map(|i| 50.0 + 0.01 * (i as f64 - 1000.0).max(0.0) + normal(&mut rng))
        .collect();
    let f = find(&watch(&values), PatternKind::Trend, 1000..2304).expect("a drift");
    assert_eq!(f.direction, Direction::Up);
    // 0.01 a sample, twelve samples an hour.
    assert!((f.magnitude - 0.12).abs() < 0.06, "{}", f.magnitude);
}

/// Findings per 10 000 samples on quiet series, the daily cycle's own confirmation apart.
fn false_rate(draw: impl Fn(&mut Pcg64Mcg, &mut f64, usize) -> f64) -> f64 {
    let (series, n) = (40, 2500);
    let mut count = 0;
    for seed in 0..series {
        let mut rng = Pcg64Mcg::seed_from_u64(1000 + seed);
        let mut memory = 0.0;
        let values: Vec<f64> = (0..n).map(|i| draw(&mut rng, &mut memory, i)).collect();
        count += watch(&values)
            .iter()
            .filter(|f| f.kind != PatternKind::Seasonality)
            .count();
    }
    count as f64 * 1e4 / (series as f64 * n as f64)
}

#[test]
fn quiet_series_stay_quiet() {
    let day = |i: usize| (i as f64 * std::f64::consts::TAU / 288.0).sin();
    // At most one finding in 10 000 samples; 100 000 samples each, so ten are let through.
    let rates = [
        ("white", false_rate(|r, _, _| normal(r))),
        (
            "autoregressive",
            false_rate(|r, a, _| {
                *a = 0.8 * *a + normal(r);
                *a
            }),
        ),
        (
            "daily",
            false_rate(|r, _, i| 10.0 + 3.0 * day(i) + normal(r)),
        ),
        (
            "log-normal",
            false_rate(|r, _, i| 60.0 * (1.0 + 0.3 * day(i)) * (0.15 * normal(r)).exp()),
        ),
        (
            "counts",
            false_rate(|r, _, _| (0..20).filter(|_| r.random::<f64>() < 0.1).count() as f64),
        ),
        (
            "ratio",
            false_rate(|r, _, _| (0.9 + 0.03 * normal(r)).min(1.0)),
        ),
        ("constant", false_rate(|_, _, _| 5.0)),
    ];
    for (name, rate) in rates {
        assert!(rate <= 1.0, "{name}: {rate} per 10 000 samples");
    }
    // Student t with three degrees of freedom: the tail is learnt, but not at once.
    let heavy = false_rate(|r, _, _| {
        let chi2: f64 = (0..3).map(|_| normal(r).powi(2)).sum();
        normal(r) / (chi2 / 3.0).sqrt()
    });
    assert!(heavy <= 3.0, "heavy tails: {heavy} per 10 000 samples");
}

#[test]
fn a_spread_that_triples_is_a_change_of_variance_and_not_of_level() {
    for (factor, way) in [(3.0, Direction::Up), (0.3, Direction::Down)] {
        let mut values = white(6);
        let after = values.iter_mut().skip(1200);
        after.for_each(|v| *v = 50.0 + factor * (*v - 50.0));
        let findings = watch(&values);
        let f = find(&findings, PatternKind::ChangePoint, 1230..1330).expect("a new spread");
        assert_eq!((f.detail, f.direction), (Detail::Variance, way));
        // The mean logarithm of some 24 distances has a standard error of a quarter.
        let grown = f64::abs(factor - 1.0);
        assert!(
            (0.6 * grown..1.6 * grown).contains(&f.magnitude),
            "{}",
            f.magnitude
        );
        assert!((row_of(f.start) - 1200).abs() < 40, "{}", row_of(f.start));
    }
}

#[test]
fn a_slope_that_ends_is_told() {
    let mut rng = Pcg64Mcg::seed_from_u64(8);
    let values: Vec<f64> = (0..3400_i32)
        .map(|i| 50.0 + 0.01 * f64::from(i.clamp(1000, 2200) - 1000) + normal(&mut rng))
        .collect();
    let findings = watch(&values);
    find(&findings, PatternKind::Trend, 1000..2200).expect("a drift");
    let ends: Vec<_> = findings
        .iter()
        .filter(|f| f.detail == Detail::Slope)
        .collect();
    // A bend may be told in two parts, while the line is half old and half new.
    assert!((1..=2).contains(&ends.len()), "{findings:?}");
    for f in &ends {
        assert_eq!(f.direction, Direction::Down);
        assert!((2200..2900).contains(&row_of(f.detected_at)));
    }
    let change: f64 = ends.iter().map(|f| f.magnitude).sum();
    assert!((change - 0.12).abs() < 0.08, "{change}");
}
