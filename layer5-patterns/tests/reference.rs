//! Batch analyses against second implementations written straight from their definitions, and against published values.

use layer5_patterns::autocorrelation;
use layer5_patterns::matching::{mass, matrix_profile};
use layer5_patterns::trend::{mann_kendall, theil_sen};
use proptest::prelude::*;

/// Distance of two z-normalised windows, from the definition.
fn z_distance(a: &[f64], b: &[f64]) -> f64 {
    let z = |v: &[f64]| -> Option<Vec<f64>> {
        let n = v.len() as f64;
        let mean = v.iter().sum::<f64>() / n;
        let sigma = (v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        (sigma > 1e-6).then(|| v.iter().map(|x| (x - mean) / sigma).collect())
    };
    match (z(a), z(b)) {
        (Some(a), Some(b)) => a
            .iter()
            .zip(&b)
            .map(|(x, y)| (x - y).powi(2))
            .sum::<f64>()
            .sqrt(),
        (None, None) => 0.0,
        _ => (a.len() as f64).sqrt(),
    }
}

// Distances near zero are roots of rounding: 1e-12 of correlation error at m = 20 is 6e-6 of distance.
const TOLERANCE: f64 = 1e-4;

proptest! {
    #[test]
    fn mass_agrees_with_the_definition(
        series in prop::collection::vec(-3.0..3.0_f64, 140..300),
        m in 4usize..60,
        at in 0usize..60,
    ) {
        let query = series[at..at + m].to_vec();
        let found = mass(&query, &series);
        prop_assert_eq!(found.len(), series.len() - m + 1);
        for (i, d) in found.iter().enumerate() {
            prop_assert!((d - z_distance(&query, &series[i..i + m])).abs() < TOLERANCE, "{}", i);
        }
    }

    #[test]
    fn matrix_profile_agrees_with_the_definition(
        mut series in prop::collection::vec(-3.0..3.0_f64, 40..120),
        m in 4usize..15,
        flat in 0usize..20,
    ) {
        series[flat..flat + 16].fill(1.0);
        let profile = matrix_profile(&series, m);
        let count = series.len() - m + 1;
        prop_assert_eq!(profile.distance.len(), count);
        for i in 0..count {
            let flat_window = |k: usize| series[k..k + m].iter().all(|v| *v == series[k]);
            let least = (0..count)
                .filter(|j| j.abs_diff(i) >= m.div_ceil(2) && flat_window(*j) == flat_window(i))
                .map(|j| z_distance(&series[i..i + m], &series[j..j + m]))
                .fold(f64::INFINITY, f64::min);
            let is = profile.distance[i];
            prop_assert!(is == least || (is - least).abs() < TOLERANCE, "{}: {} {}", i, is, least);
        }
    }

    #[test]
    fn kendall_score_agrees_with_counting_pairs(values in prop::collection::vec(-3i32..4, 4..80)) {
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        let mut score = 0.0;
        for i in 0..values.len() {
            for j in i + 1..values.len() {
                score += (values[j] - values[i]).signum() * f64::from(u8::from(values[j] != values[i]));
            }
        }
        prop_assert_eq!(mann_kendall(&values).map(|t| t.score), Some(score));
    }

    #[test]
    fn autocorrelation_agrees_with_the_definition(values in prop::collection::vec(-3.0..3.0_f64, 2..400)) {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let variance: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        for (lag, rho) in autocorrelation(&values, n - 1).iter().enumerate() {
            let sum: f64 = (lag..n).map(|i| (values[i] - mean) * (values[i - lag] - mean)).sum();
            prop_assert!((rho - sum / variance).abs() < 1e-9);
        }
    }
}

#[test]
fn gaps_and_constants_behave_as_documented() {
    let mut series: Vec<f64> = (0..100).map(|i| f64::from(i * i % 17)).collect();
    series[50] = f64::NAN;
    let profile = matrix_profile(&series, 10);
    assert!(profile.distance[41..=50].iter().all(|d| d.is_infinite()));
    assert!(profile.distance[40].is_finite() && profile.distance[51].is_finite());
    assert!(mass(&series[0..10], &series)[45].is_infinite());
    assert!(mass(&series[45..55], &series).is_empty());
    assert!(mass(&[1.0; 10], &[1.0; 5]).is_empty());
    assert!(matrix_profile(&[1.0; 5], 10).distance.is_empty());
    assert!(
        matrix_profile(&[1.0; 50], 10)
            .distance
            .iter()
            .all(|d| *d == 0.0)
    );
}

/// Sen (1968) and Gilbert (1987, example 16.1): the series 10, 15, 14, 20 has S = 4 and slopes
/// 5, 2, 10/3, -1, 2.5, 6, whose median is 2.9167.
#[test]
fn trend_agrees_with_a_worked_example() {
    let values = [10.0, 15.0, 14.0, 20.0];
    assert_eq!(mann_kendall(&values).map(|t| t.score), Some(4.0));
    let slope = theil_sen(&values).expect("four values").slope;
    assert!((slope - (2.5 + 10.0 / 3.0) / 2.0).abs() < 1e-12);
}
