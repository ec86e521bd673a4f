//! Where a series enters a new regime of level, slope or variance, found over the whole series at once.
//! In: one series, oldest first; gaps (`NaN`, infinity) are dropped, indices stay those of the input.
//! Out: [`ChangePoint`]s. Called from: [`crate::analyze()`], the quality suite for change points.
//! The way: `choice` among segmentations by [`pelt`]; a series longer than 800 samples is first thinned to means
//! of blocks, and each change then placed to the sample. Nobody chooses a penalty.
//! Invariants: nothing depends on the scale or the offset of the series; equal input gives equal output.

mod choice;
mod cost;
mod crops;
mod fpop;
pub mod online;
mod pelt;
mod penalty;
pub mod shift;
pub mod variability;

pub use cost::{LineCost, MeanCost, MeanVarianceCost, SegmentCost};
pub use crops::{BestOver, crops};
pub use fpop::fpop;
pub use pelt::pelt;
pub use penalty::autocorrelation_penalty;

use crate::decomposition::without_seasons;
use crate::gaps::{rescale, unit_range};
use crate::order_statistics::{median, robust_sigma};
use choice::{Law, Segmentation, description_len, line_of, residuals};

/// Longest series whose segmentations are searched sample by sample: the search is quadratic where there are no
/// changes. Regimes shorter than `segment_len_min` blocks of a longer series are not seen.
const CHOICE_LEN_MAX: usize = 800;
/// Values further than this many robust deviations from the median are held there, so that sums of squares keep
/// enough digits for the rest of the series.
const SCALED_MAX: f64 = 1e4;

/// What a change point must satisfy. The defaults need no tuning.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangePointConfig {
    /// Fewest samples in a segment. Default 5.
    pub segment_len_min: usize,
    /// Multiplies what a change must pay: below 1 finds more, above 1 fewer. Default 1.
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
    /// The slope; the level goes on where it was.
    Slope,
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
    /// Level just before, the series' unit: the mean of the regime, or where its line ends.
    pub before: f64,
    /// Level just after, the series' unit.
    pub after: f64,
    /// Slope before, the series' unit per sample; 0 where regimes are levels.
    pub slope_before: f64,
    /// Slope after, the series' unit per sample; 0 where regimes are levels.
    pub slope_after: f64,
    /// Standard deviation before, the series' unit.
    pub spread_before: f64,
    /// Standard deviation after, the series' unit.
    pub spread_after: f64,
    /// How sure, 0..=1: from what the change saves in describing the series.
    pub confidence: f64,
}

/// Finds the change points of a series, oldest first.
///
/// `values`: shape `[n]`. Fewer than two segments' worth of values, or all equal: empty. Seasons should be taken off
/// first; [`change_points_beside_seasons`] does so.
/// # Cost
/// O(n) beyond 800 samples; up to 800, O(n^2) for each of at most 105 segmentations. O(n) memory.
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
    let Some((scaled, spread)) = in_unit_variance(&present) else {
        return Vec::new();
    };
    if n < 2 * least {
        return Vec::new();
    }
    let block = n.div_ceil(CHOICE_LEN_MAX);
    let thinned: Vec<f64> = scaled
        .chunks(block)
        .map(|c| c.iter().sum::<f64>() / c.len() as f64)
        .collect();
    let coarse = match in_unit_variance(&thinned) {
        Some((thinned, _)) => choice::choose(&thinned, least, config.penalty_factor),
        None => return Vec::new(),
    };
    let chosen = if block == 1 {
        coarse
    } else {
        placed_to_the_sample(&scaled, &coarse, block)
    };
    let per_block = block as f64;
    let scene = (scaled.as_slice(), &chosen, config.penalty_factor);
    described(scene, per_block)
        .into_iter()
        .map(|c| ChangePoint {
            index: index[c.index],
            before: rescale(c.before * spread.1 + spread.0, unit.scale),
            after: rescale(c.after * spread.1 + spread.0, unit.scale),
            slope_before: rescale(c.slope_before * spread.1, unit.scale),
            slope_after: rescale(c.slope_after * spread.1, unit.scale),
            spread_before: rescale(c.spread_before * spread.1, unit.scale),
            spread_after: rescale(c.spread_after * spread.1, unit.scale),
            ..c
        })
        .collect()
}

/// [`change_points`] of what is left when the seasons are taken off.
///
/// `periods`: in samples, as [`crate::seasonality::periods`] finds them.
pub fn change_points_beside_seasons(
    values: &[f64],
    periods: &[usize],
    config: &ChangePointConfig,
) -> Vec<ChangePoint> {
    if periods.is_empty() {
        change_points(values, config)
    } else {
        change_points(&without_seasons(values, periods), config)
    }
}

/// Values in units of their standard deviation round their mean, wild ones held at a bound; then that mean and
/// deviation. `None` when all are equal.
fn in_unit_variance(values: &[f64]) -> Option<(Vec<f64>, (f64, f64))> {
    let centre = median(values);
    let sigma = robust_sigma(values, centre);
    if sigma.is_nan() || sigma <= 0.0 {
        return None;
    }
    let bound = SCALED_MAX * sigma;
    let held = |v: &f64| (v - centre).clamp(-bound, bound);
    let n = values.len() as f64;
    let mean = values.iter().map(held).sum::<f64>() / n;
    let deviation = (values.iter().map(|v| (held(v) - mean).powi(2)).sum::<f64>() / n).sqrt();
    let scaled = values
        .iter()
        .map(|v| (held(v) - mean) / deviation)
        .collect();
    (deviation > 0.0).then_some((scaled, (centre + mean, deviation)))
}

/// Moves each change of a segmentation of block means to the sample where it costs least.
fn placed_to_the_sample(values: &[f64], coarse: &Segmentation, block: usize) -> Segmentation {
    let n = values.len();
    let mut starts: Vec<usize> = coarse.starts.iter().map(|s| s * block).collect();
    let level = MeanVarianceCost::new(values, 1e-3);
    let line = LineCost::new(values, 1.0);
    for i in 0..starts.len() {
        let from = if i == 0 { 0 } else { starts[i - 1] };
        let to = starts.get(i + 1).copied().unwrap_or(n);
        let low = starts[i].saturating_sub(2 * block).max(from + 2);
        let high = (starts[i] + 2 * block).min(to.saturating_sub(2));
        let cost = |t: usize| match coarse.law {
            Law::Line => line.cost(from..t) + line.cost(t..to),
            Law::Level | Law::LevelAndVariance => level.cost(from..t) + level.cost(t..to),
        };
        if let Some(place) = (low..=high).min_by(|&a, &b| cost(a).total_cmp(&cost(b))) {
            starts[i] = place;
        }
    }
    Segmentation {
        law: coarse.law,
        starts,
    }
}

/// Says of each change what it is, in units of the scaled series.
fn described(scene: (&[f64], &Segmentation, f64), block: f64) -> Vec<ChangePoint> {
    let (values, chosen, factor) = scene;
    let rest = residuals(values, chosen);
    let whole = description_len(values, chosen, factor);
    let mut bounds = vec![0];
    bounds.extend_from_slice(&chosen.starts);
    bounds.push(values.len());
    bounds
        .windows(3)
        .enumerate()
        .map(|(i, b)| {
            let side = |from: usize, to: usize, near_end: bool| {
                let (slope, mean) = line_of(&values[from..to]);
                let slope = if chosen.law == Law::Line { slope } else { 0.0 };
                let half = (to - from) as f64 / 2.0;
                let level = if near_end {
                    mean + slope * half
                } else {
                    mean - slope * half
                };
                let n = (to - from) as f64;
                let spread = (rest[from..to].iter().map(|r| r * r).sum::<f64>() / n).sqrt();
                (slope, level, spread)
            };
            let (slope_before, before, spread_before) = side(b[0], b[1], true);
            let (slope_after, after, spread_after) = side(b[1], b[2], false);
            let step = (after - before).abs();
            let change = if step > 1.5 * spread_before.min(spread_after) {
                Change::Level
            } else if chosen.law == Law::Line {
                Change::Slope
            } else {
                Change::Variance
            };
            let mut fewer = chosen.clone();
            fewer.starts.remove(i);
            let saved = (description_len(values, &fewer, factor) - whole) / block;
            ChangePoint {
                index: b[1],
                change,
                before,
                after,
                slope_before,
                slope_after,
                spread_before,
                spread_after,
                confidence: 1.0 - 0.5 * (-saved.max(0.0) / 2.0).exp(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(i: usize) -> f64 {
        let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64 - 0.5
    }

    #[track_caller]
    fn check(values: &[f64], expected: &[(usize, Change)], reach: usize) {
        let found = change_points(values, &ChangePointConfig::default());
        let told: Vec<_> = found.iter().map(|c| (c.index, c.change)).collect();
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for (is, should) in told.iter().zip(expected) {
            assert!(
                is.0.abs_diff(should.0) <= reach && is.1 == should.1,
                "{told:?}"
            );
        }
    }

    #[test]
    fn levels_slopes_and_variances_are_told_apart() {
        let level: Vec<f64> = (0..300)
            .map(|i| noise(i) + f64::from(u8::from(i >= 170)))
            .collect();
        check(&level, &[(170, Change::Level)], 2);
        let slope: Vec<f64> = (0..300)
            .map(|i| noise(i) + 0.05 * i.saturating_sub(150) as f64)
            .collect();
        check(&slope, &[(150, Change::Slope)], 8);
        let variance: Vec<f64> = (0..300)
            .map(|i| noise(i) * if i < 140 { 1.0 } else { 5.0 })
            .collect();
        check(&variance, &[(140, Change::Variance)], 8);
    }

    #[test]
    fn noise_trend_and_random_walk_have_no_change() {
        check(&(0..300).map(noise).collect::<Vec<_>>(), &[], 0);
        check(
            &(0..300)
                .map(|i| noise(i) + 0.1 * i as f64)
                .collect::<Vec<_>>(),
            &[],
            0,
        );
    }

    #[test]
    fn a_long_series_is_cut_at_the_sample() {
        let values: Vec<f64> = (0..20_000)
            .map(|i| noise(i) + if i < 12_345 { 0.0 } else { 2.0 })
            .collect();
        check(&values, &[(12_345, Change::Level)], 0);
    }

    #[test]
    fn gaps_keep_the_indices_of_the_input() {
        let mut values: Vec<f64> = (0..200)
            .map(|i| noise(i) + if i < 120 { 0.0 } else { 9.0 })
            .collect();
        values[40..60].fill(f64::NAN);
        check(&values, &[(120, Change::Level)], 0);
    }

    #[test]
    fn bad_input_has_no_change_points() {
        let config = ChangePointConfig::default();
        assert!(change_points(&[], &config).is_empty());
        assert!(change_points(&[1.0], &config).is_empty());
        assert!(change_points(&[4.0; 100], &config).is_empty());
        assert!(change_points(&[f64::NAN; 100], &config).is_empty());
        let extreme: Vec<f64> = (0..50)
            .map(|i| if i % 2 == 0 { 1e308 } else { 1e-308 })
            .collect();
        assert!(
            change_points(&extreme, &config)
                .iter()
                .all(|c| c.before.is_finite())
        );
    }
}
