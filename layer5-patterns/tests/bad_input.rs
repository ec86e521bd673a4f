//! Every batch function answers every input: no panic, nothing that is not a number where a number is promised, answers no
//! longer than the input asks for. How: a table of named series that broke something somewhere, then drawn ones, each
//! given to all functions with sizes that fit and sizes that do not.

use layer5_core::Timestamp;
use layer5_patterns::change_point::{
    ChangePointConfig, MeanCost, change_points, change_points_beside_seasons, crops, fpop,
};
use layer5_patterns::cluster::{ClusterConfig, behaviour_features, cluster_agents, k_means};
use layer5_patterns::decomposition::{StlConfig, mstl, without_seasons};
use layer5_patterns::forecast::{ForecastConfig, forecast};
use layer5_patterns::matching::{
    StreamingProfile, Template, TemplateWatch, ab_join, discords, dtw, dtw_search, find_shapes,
    find_templates, mass, matrix_profile, motifs,
};
use layer5_patterns::relation::{RelationConfig, compare_windows, relations};
use layer5_patterns::seasonality::{SeasonalityConfig, periods};
use layer5_patterns::trend::trend;
use layer5_patterns::{AnalysisConfig, analyze, autocorrelation, fill_gaps};
use proptest::prelude::*;

/// Gives one series to every function; `m` is a window or a period, whether it fits or not.
fn check(name: &str, values: &[f64], m: usize) {
    let n = values.len();
    let told = change_points(values, &ChangePointConfig::default());
    assert!(told.windows(2).all(|w| w[0].index < w[1].index), "{name}");
    for c in &told {
        let numbers = [
            c.before,
            c.after,
            c.spread_before,
            c.spread_after,
            c.slope_after,
        ];
        assert!(
            c.index < n && numbers.iter().all(|v| v.is_finite()),
            "{name} {c:?}"
        );
    }
    let beside = change_points_beside_seasons(values, &[m, 0, 1], &ChangePointConfig::default());
    assert!(beside.iter().all(|c| c.index < n), "{name}");
    for least in [0, 1, m] {
        assert!(fpop(values, 1.0, least).iter().all(|s| *s < n), "{name}");
    }
    if let Some(filled) = fill_gaps(values) {
        assert!(filled.iter().all(|v| v.is_finite()), "{name}");
        let short = &filled[..n.min(60)];
        let all = crops(&MeanCost::new(short, 1.0), (0.5, 50.0), 2, 20);
        assert!(all.iter().all(|s| s.starts.len() < n.max(1)), "{name}");
        assert_eq!(autocorrelation(&filled, n).len(), n, "{name}");
    }
    for period in periods(values, &SeasonalityConfig::default()) {
        assert!(
            period.len >= 2 && 2 * period.len <= n + 1,
            "{name} {period:?}"
        );
        assert!(
            period.amplitude.is_finite() && (0.0..=1.0).contains(&period.strength),
            "{name}"
        );
    }
    let parts = mstl(values, &[m, 2 * m, 0], &StlConfig::default());
    assert!(parts.trend.len() == n || parts.trend.is_empty(), "{name}");
    assert_eq!(without_seasons(values, &[m]).len(), n, "{name}");
    if let Some(line) = trend(values) {
        assert!(
            line.slope.is_finite() && (0.0..=1.0).contains(&line.p_value),
            "{name}"
        );
    }
    for horizon in [0, 7] {
        let next = forecast(values, horizon, &[m], &ForecastConfig::default());
        assert!(next.mean.len() == horizon || next.mean.is_empty(), "{name}");
        for h in 0..next.mean.len() {
            let (low, mean, high) = (next.lower[h], next.mean[h], next.upper[h]);
            assert!(
                low <= mean && mean <= high && high.is_finite(),
                "{name} {low} {mean} {high}"
            );
        }
    }
    matching(name, values, m);
    let reversed: Vec<f64> = values.iter().rev().copied().collect();
    for found in relations(&[values, &reversed, values], &RelationConfig::default()) {
        assert!(found.pearson.abs() <= 1.0 + 1e-9, "{name} {found:?}");
    }
    if let Some(drift) = compare_windows(values, &reversed[..n / 2]) {
        let probabilities = [drift.distance, drift.p_value];
        assert!(
            probabilities.iter().all(|p| (0.0..=1.0).contains(p)),
            "{name} {drift:?}"
        );
        assert!(
            drift.shift.is_finite() && drift.transport.is_finite(),
            "{name} {drift:?}"
        );
    }
    let features = behaviour_features(&[
        values,
        &reversed,
        &[],
        values,
        values,
        values,
        values,
        values,
    ]);
    assert_eq!(
        cluster_agents(&features, &ClusterConfig::default())
            .labels
            .len(),
        8
    );
    if let Some(found) = k_means(&features, 2, 2, 1) {
        assert!(found.labels.iter().all(|l| *l < 2), "{name}");
    }
}

fn matching(name: &str, values: &[f64], m: usize) {
    let n = values.len();
    let profile = matrix_profile(values, m);
    assert!(profile.distance.iter().all(|d| *d >= 0.0), "{name}");
    assert!(profile.neighbour.iter().all(|j| *j < n), "{name}");
    for motif in motifs(values, &profile, 2) {
        assert!(motif.occurrences.iter().all(|i| i + m <= n), "{name}");
    }
    assert!(
        discords(&profile, 2).iter().all(|d| d.start + m <= n),
        "{name}"
    );
    let query = &values[..m.min(n)];
    assert!(mass(query, values).iter().all(|d| *d >= 0.0), "{name}");
    assert!(mass(values, query).len() <= 1, "{name}");
    assert!(
        ab_join(values, query, m).distance.iter().all(|d| *d >= 0.0),
        "{name}"
    );
    assert!(dtw(values, query, 3) >= 0.0, "{name}");
    if let Some(found) = dtw_search(query, values, 3) {
        assert!(found.start < n && found.distance >= 0.0, "{name}");
    }
    for found in find_shapes(values, m) {
        assert!(
            found.start + found.len <= n && found.magnitude.is_finite(),
            "{name}"
        );
    }
    if let Ok(template) = Template::new("own", query) {
        let batch = find_templates(values, std::slice::from_ref(&template), 0.9);
        assert!(
            batch.iter().all(|f| f.start as usize + f.len <= n),
            "{name}"
        );
        let mut watch = TemplateWatch::new(vec![template], 0.9).expect("in range");
        for v in values {
            watch.push(*v, |found| assert!(found.fit <= 1.0 + 1e-6, "{name}"));
        }
    }
    if let Ok(mut stream) = StreamingProfile::new(m, 3 * m) {
        for v in values {
            let told = stream.push(*v);
            assert!(told.is_none_or(|t| t.distance.is_finite()), "{name}");
        }
        assert!(stream.profile().distance.len() <= 3 * m, "{name}");
    }
}

fn mixed(i: usize) -> f64 {
    let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64
}

#[test]
fn named_series_are_answered() {
    let of = |n: usize, f: fn(usize) -> f64| (0..n).map(f).collect::<Vec<f64>>();
    let table: Vec<(&str, Vec<f64>)> = vec![
        ("empty", vec![]),
        ("one", vec![3.0]),
        ("two", vec![3.0, -1.0]),
        ("equal", vec![5.0; 200]),
        ("equal and huge", vec![f64::MAX; 200]),
        ("gaps only", vec![f64::NAN; 200]),
        (
            "infinities",
            of(200, |i| {
                if i % 2 == 0 {
                    f64::INFINITY
                } else {
                    f64::NEG_INFINITY
                }
            }),
        ),
        (
            "one value in gaps",
            of(200, |i| if i == 77 { 1.0 } else { f64::NAN }),
        ),
        (
            "magnitudes",
            of(200, |i| if i % 3 == 0 { 1e308 } else { 1e-308 }),
        ),
        (
            "extremes in turn",
            of(200, |i| if i % 2 == 0 { f64::MAX } else { f64::MIN }),
        ),
        ("subnormal", of(200, |i| mixed(i) * 1e-310)),
        (
            "one wild",
            of(200, |i| if i == 100 { 1e300 } else { mixed(i) }),
        ),
        (
            "step of 1e15",
            of(200, |i| mixed(i) + if i < 90 { 0.0 } else { 1e15 }),
        ),
        (
            "every second a gap",
            of(200, |i| if i % 2 == 0 { mixed(i) } else { f64::NAN }),
        ),
        (
            "zeros and a one",
            of(200, |i| f64::from(u8::from(i == 150))),
        ),
    ];
    for (name, values) in &table {
        // A window that fits, one that is too short for some, and ones longer than the series.
        for m in [0, 2, 4, 9, 24, 199, 200, 201, 100_000] {
            check(name, values, m);
        }
    }
}

#[test]
fn times_that_are_no_grid_are_answered() {
    let n = 1_000_000;
    let values: Vec<f64> = (0..n).map(|i| (i % 7) as f64).collect();
    let config = AnalysisConfig {
        motifs_max: 0,
        ..AnalysisConfig::default()
    };
    let at_once = vec![Timestamp::EPOCH; 20_000];
    assert_eq!(
        analyze(&at_once, &values[..20_000], &config).summary.n,
        20_000
    );
    let back: Vec<Timestamp> = (0..5_000)
        .rev()
        .map(|i| Timestamp::from_millis(i * 1_000))
        .collect();
    assert_eq!(analyze(&back, &values[..5_000], &config).summary.n, 5_000);
    // A million samples: the functions that take them without a grid keep to their linear cost.
    assert_eq!(mass(&values[..50], &values).len(), n - 49);
    let template = Template::new("rise", &[0.0, 1.0, 2.0, 3.0]).expect("four values");
    assert!(!find_templates(&values, &[template], 0.99).is_empty());
}

fn awkward() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => -1.0..1.0,
        1 => any::<f64>(),
        1 => Just(0.0),
        1 => Just(1e308),
        1 => Just(-1e308),
        1 => Just(1e-308),
        1 => Just(f64::NAN),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn drawn_series_are_answered(
        values in prop::collection::vec(awkward(), 0..120),
        m in 0usize..140,
    ) {
        check("drawn", &values, m);
    }

    #[test]
    fn runs_of_equal_values_and_gaps_are_answered(
        runs in prop::collection::vec((awkward(), 1usize..30), 1..12),
        m in 2usize..40,
    ) {
        let values: Vec<f64> = runs.iter().flat_map(|&(v, len)| std::iter::repeat_n(v, len)).collect();
        check("runs", &values, m);
    }
}
