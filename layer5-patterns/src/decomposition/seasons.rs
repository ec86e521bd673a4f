//! Seasons taken off by phase, in a way that a change of level does not disturb.
//! In: a series with gaps, its periods. Out: the series without them. Called from: [`crate::change_point`].
//! Each value is compared with the centred mean over one period round it; the median of these differences at one
//! phase is the season there. A step of the level touches only the period round it, and a median forgets that.

use crate::gaps::fill_gaps;
use crate::order_statistics::median;

/// Takes each season off, shortest first; periods that fit fewer than three times are left alone.
///
/// `values`: shape `[n]`. Returns shape `[n]`, the same unit, gaps where there were gaps.
/// # Cost
/// O(n) per period.
///
/// ```
/// use layer5_patterns::decomposition::without_seasons;
/// let values: Vec<f64> = (0..40).map(|t| [3.0, -3.0, 1.0, -1.0][t % 4] + if t < 20 { 0.0 } else { 9.0 }).collect();
/// let rest = without_seasons(&values, &[4]);
/// assert!(rest[..18].iter().all(|v| v.abs() < 1e-9) && rest[22..].iter().all(|v| (v - 9.0).abs() < 1e-9));
/// ```
pub fn without_seasons(values: &[f64], periods: &[usize]) -> Vec<f64> {
    let Some(mut rest) = fill_gaps(values) else {
        return values.to_vec();
    };
    let n = rest.len();
    let mut periods: Vec<usize> = periods
        .iter()
        .copied()
        .filter(|&p| p >= 2 && 3 * p <= n)
        .collect();
    periods.sort_unstable();
    for period in periods {
        let season = season_by_phase(&rest, period);
        for (i, v) in rest.iter_mut().enumerate() {
            *v -= season[i % period];
        }
    }
    for (v, original) in rest.iter_mut().zip(values) {
        if !original.is_finite() {
            *v = f64::NAN;
        }
    }
    rest
}

/// The season by phase, centred; shape `[period]`.
fn season_by_phase(values: &[f64], period: usize) -> Vec<f64> {
    let n = values.len();
    let half = period / 2;
    // An even period has half a sample of each end in its centred mean.
    let weight = if period.is_multiple_of(2) { 0.5 } else { 1.0 };
    let mut by_phase: Vec<Vec<f64>> = vec![Vec::new(); period];
    let mut inner: f64 = values[1..2 * half].iter().sum();
    for i in half..n - half {
        let (first, last) = (i - half, i + half);
        if first > 0 {
            inner += values[last - 1] - values[first];
        }
        let mean = (inner + weight * (values[first] + values[last])) / period as f64;
        by_phase[i % period].push(values[i] - mean);
    }
    let mut season: Vec<f64> = by_phase
        .iter()
        .map(|differences| median(differences))
        .collect();
    let mean = season.iter().sum::<f64>() / period as f64;
    for s in &mut season {
        *s -= mean;
    }
    season
}
