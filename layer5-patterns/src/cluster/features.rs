//! What characterises an agent's behaviour in one metric, in five numbers.
//! In: a series per agent. Out: a feature matrix. Called from: [`super::cluster_agents`]'s callers.

use ndarray::Array2;
use rayon::prelude::*;

use crate::fourier::autocorrelation;
use crate::order_statistics::{median, quantile, robust_sigma};
use crate::trend::theil_sen;

/// Names of the columns of [`behaviour_features`].
pub const FEATURES: [&str; 5] = ["level", "spread", "slope", "persistence", "tail"];

/// Five features per series: median level, robust spread, slope per sample, lag-1 autocorrelation, and how far the 99th
/// percentile stands above the median in spreads.
///
/// Returns shape `[series, 5]`; a row of `NaN` for a series with fewer than four values.
///
/// ```
/// use layer5_patterns::cluster::behaviour_features;
/// let rising: Vec<f64> = (0..100).map(f64::from).collect();
/// let features = behaviour_features(&[&rising]);
/// assert_eq!((features[[0, 0]], features[[0, 2]]), (49.5, 1.0));
/// ```
pub fn behaviour_features(series: &[&[f64]]) -> Array2<f64> {
    let rows: Vec<[f64; FEATURES.len()]> = series.par_iter().map(|s| of_one(s)).collect();
    Array2::from_shape_fn((series.len(), FEATURES.len()), |(i, j)| rows[i][j])
}

fn of_one(series: &[f64]) -> [f64; FEATURES.len()] {
    let present: Vec<f64> = series.iter().copied().filter(|v| v.is_finite()).collect();
    if present.len() < 4 {
        return [f64::NAN; FEATURES.len()];
    }
    let level = median(&present);
    let spread = robust_sigma(&present, level);
    let slope = theil_sen(series).map_or(f64::NAN, |l| l.slope);
    let persistence = autocorrelation(&present, 1)[1];
    let tail = if spread > 0.0 {
        (quantile(&present, 0.99) - level) / spread
    } else {
        0.0
    };
    [level, spread, slope, persistence, tail]
}
