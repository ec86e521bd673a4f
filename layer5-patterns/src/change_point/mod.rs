//! Where a series enters a new regime of level or variance, found over the whole series at once.
//! In: one series, oldest first; gaps (`NaN`, infinity) are dropped, indices stay those of the input.
//! Out: [`ChangePoint`]s. Called from: [`crate::analyze`], the quality suite for change points.
//! The way: bring to unit noise, [`pelt`] under [`cost::MeanVarianceCost`] with [`penalty::autocorrelation_penalty`].
//! Invariants: nothing depends on the scale or the offset of the series; equal input gives equal output.

mod cost;
pub mod online;
mod pelt;
mod penalty;
pub mod shift;

pub use cost::{MeanCost, MeanVarianceCost, SegmentCost};
pub use pelt::pelt;
pub use penalty::autocorrelation_penalty;

use crate::fourier::autocorrelation;
use crate::gaps::{rescale, unit_range};
use crate::order_statistics::{median, robust_sigma};

/// Variance under which segments are not told apart, as a share of the series' variance.
const VARIANCE_FLOOR: f64 = 1e-3;

/// Values further than this many robust deviations from the median are held there, so that sums of squares keep
/// enough digits for the rest of the series.
const SCALED_MAX: f64 = 1e5;

/// What a change point must satisfy. The defaults need no tuning.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangePointConfig {
    /// Fewest samples in a segment. Default 5.
    pub segment_len_min: usize,
    /// Multiplies the penalty: below 1 finds more, above 1 fewer. Default 1.
    pub penalty_factor: f64,
}

impl Default for ChangePointConfig {
    fn default() -> Self {
        Self {
            segment_len_min: 5,
            penalty_factor: 1.0,
        }
    }
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The level.
    Level,
    /// The spread round the level.
    Variance,
}

/// The first sample of a new regime.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangePoint {
    /// Index of that sample in the input.
    pub index: usize,
    /// What changed most.
    pub change: Change,
    /// Mean of the regime before, the series' unit.
    pub before: f64,
    /// Mean of the regime after, the series' unit.
    pub after: f64,
    /// Standard deviation before, the series' unit.
    pub spread_before: f64,
    /// Standard deviation after, the series' unit.
    pub spread_after: f64,
    /// How sure, 0..=1: from the cost that the change saves against its penalty.
    pub confidence: f64,
}

/// Finds the change points of a series, oldest first.
///
/// `values`: shape `[n]`. Fewer than two segments' worth of values, or all equal: empty.
/// # Cost
/// O(n) to O(n^2) time with the number of changes, O(n) memory.
///
/// ```
/// use layer5_patterns::change_point::{ChangePointConfig, change_points};
/// let values: Vec<f64> = (0..200).map(|i| f64::from(i * 37 % 11) + if i < 120 { 0.0 } else { 30.0 }).collect();
/// let found = change_points(&values, &ChangePointConfig::default());
/// assert_eq!(found.iter().map(|c| c.index).collect::<Vec<_>>(), [120]);
/// ```
pub fn change_points(values: &[f64], config: &ChangePointConfig) -> Vec<ChangePoint> {
    let unit = unit_range(values);
    let index: Vec<usize> = (0..values.len())
        .filter(|&i| values[i].is_finite())
        .collect();
    let present: Vec<f64> = index.iter().map(|&i| unit.values[i]).collect();
    let n = present.len();
    let least = config.segment_len_min.max(2);
    if n < 2 * least {
        return Vec::new();
    }
    let centre = median(&present);
    let spread = robust_sigma(&present, centre);
    if !(spread > 0.0) {
        return Vec::new();
    }
    let scaled: Vec<f64> = present
        .iter()
        .map(|v| ((v - centre) / spread).clamp(-SCALED_MAX, SCALED_MAX))
        .collect();
    let mean = scaled.iter().sum::<f64>() / n as f64;
    let variance = scaled.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
    let phi = autocorrelation(&scaled, 1)[1];
    let cost = MeanVarianceCost::new(&scaled, VARIANCE_FLOOR * variance);
    let penalty = config.penalty_factor * autocorrelation_penalty(n, 1, phi);
    let starts = pelt(&cost, penalty, least);
    let mut bounds = vec![0];
    bounds.extend_from_slice(&starts);
    bounds.push(n);
    bounds
        .windows(3)
        .map(|b| {
            let (before, spread_before) = moments(&present[b[0]..b[1]]);
            let (after, spread_after) = moments(&present[b[1]..b[2]]);
            let saved = cost.cost(b[0]..b[2]) - cost.cost(b[0]..b[1]) - cost.cost(b[1]..b[2]);
            let larger = spread_before.max(spread_after);
            ChangePoint {
                index: index[b[1]],
                change: if (after - before).abs() > larger {
                    Change::Level
                } else {
                    Change::Variance
                },
                before: rescale(before, unit.scale),
                after: rescale(after, unit.scale),
                spread_before: rescale(spread_before, unit.scale),
                spread_after: rescale(spread_after, unit.scale),
                confidence: 1.0 - (-(saved - penalty).max(0.0) / 2.0).exp() / 2.0,
            }
        })
        .collect()
}

fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (
        mean,
        (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_input_has_no_change_points() {
        let config = ChangePointConfig::default();
        assert!(change_points(&[], &config).is_empty());
        assert!(change_points(&[1.0], &config).is_empty());
        assert!(change_points(&[4.0; 100], &config).is_empty());
        assert!(change_points(&[f64::NAN; 100], &config).is_empty());
    }
}
