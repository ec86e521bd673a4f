//! One call tells every kind of pattern a single series has, and answers any input without panic.

use layer5_core::{PatternKind, Timestamp};
use layer5_patterns::{AnalysisConfig, analyze};

fn every_minute(n: usize) -> Vec<Timestamp> {
    (0..n as i64)
        .map(|i| Timestamp::from_millis(i * 60_000))
        .collect()
}

fn noise(i: usize) -> f64 {
    let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64 - 0.5
}

#[test]
fn any_input_is_answered() {
    let inputs: [(&str, Vec<f64>); 10] = [
        ("empty", vec![]),
        ("one", vec![1.0]),
        ("two", vec![1.0, 2.0]),
        ("equal", vec![5.0; 300]),
        ("gaps only", vec![f64::NAN; 300]),
        (
            "mostly gaps",
            (0..300)
                .map(|i| if i % 7 == 0 { noise(i) } else { f64::NAN })
                .collect(),
        ),
        (
            "magnitudes",
            (0..300)
                .map(|i| if i % 3 == 0 { 1e308 } else { 1e-308 })
                .collect(),
        ),
        (
            "extremes",
            (0..300)
                .map(|i| if i % 2 == 0 { f64::MAX } else { f64::MIN })
                .collect(),
        ),
        ("infinite", vec![f64::INFINITY; 50]),
        (
            "one wild",
            (0..300)
                .map(|i| if i == 150 { 1e300 } else { noise(i) })
                .collect(),
        ),
    ];
    let config = AnalysisConfig {
        horizon: 500,
        ..AnalysisConfig::default()
    };
    for (name, values) in &inputs {
        let n = values.len();
        let times = [
            every_minute(n),
            vec![Timestamp::EPOCH; n],
            every_minute(n).into_iter().rev().collect(),
            (0..n as i64)
                .map(|i| Timestamp::from_nanos(i * i * i * i * 1_000_000_000))
                .collect(),
        ];
        for at in &times {
            let found = analyze(at, values, &config);
            assert!(found.findings.len() <= 1000, "{name}");
            assert!(
                found.summary.forecast.iter().all(|v| v.is_finite()),
                "{name}"
            );
            assert!(found.summary.change_points.iter().all(|c| *c < n), "{name}");
            for finding in &found.findings {
                assert!((0.0..=1.0).contains(&finding.score), "{name} {finding:?}");
                assert!(
                    (0.0..=1.0).contains(&finding.confidence),
                    "{name} {finding:?}"
                );
                assert!(
                    finding.magnitude.is_finite() && finding.baseline.is_finite(),
                    "{name} {finding:?}"
                );
            }
        }
    }
    assert_eq!(analyze(&every_minute(3), &[1.0; 9], &config).summary.n, 3);
}

#[test]
fn a_rich_series_tells_its_kinds() {
    let n = 960;
    let values: Vec<f64> = (0..n)
        .map(|t| {
            let season = 5.0 * (t as f64 * std::f64::consts::TAU / 48.0).sin();
            let step = if t < 600 { 0.0 } else { 30.0 };
            let spike = if t == 400 { 60.0 } else { 0.0 };
            100.0 + season + step + spike + noise(t)
        })
        .collect();
    let config = AnalysisConfig {
        limits: (None, Some(134.0)),
        horizon: 96,
        ..AnalysisConfig::default()
    };
    let found = analyze(&every_minute(n), &values, &config);
    println!("{:?}", found.findings);
    assert_eq!(found.summary.period, Some(48));
    assert!(
        found
            .summary
            .change_points
            .iter()
            .any(|c| c.abs_diff(600) <= 2)
    );
    assert!(found.summary.anomalies.contains(&400));
    for kind in [
        PatternKind::Seasonality,
        PatternKind::ChangePoint,
        PatternKind::Anomaly,
        PatternKind::Motif,
    ] {
        assert!(found.findings.iter().any(|f| f.kind == kind), "{kind}");
    }
    assert!(found.findings.windows(2).all(|w| w[0].start <= w[1].start));
}

#[test]
fn a_far_step_hides_no_season() {
    let n = 2016;
    for (period, amplitude) in [(288.0, 2.0), (37.0, 2.0), (24.0, 2.0)] {
        let values: Vec<f64> = (0..n)
            .map(|t| {
                let season = amplitude * (t as f64 * std::f64::consts::TAU / period).sin();
                let step = if t < 900 { 0.0 } else { 8.0 * amplitude };
                50.0 + season + step + noise(t)
            })
            .collect();
        let found = analyze(&every_minute(n), &values, &AnalysisConfig::default()).summary;
        assert_eq!(found.periods, [period as usize]);
        assert!(
            found.change_points.iter().any(|c| c.abs_diff(900) <= 2),
            "{:?}",
            found.change_points
        );
    }
}
