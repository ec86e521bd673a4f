//! How a series will go on, and how far that can be trusted.
//! In: one series, oldest first, equally spaced, gaps as `NaN`; the seasons it has. Out: a [`Forecast`].
//! Called from: [`crate::analyze`], the quality suite for forecasts.
//! Invariants: never not-a-number; `lower <= mean <= upper`; a series of one value is continued by that value.

mod naive;
mod theta;

pub use naive::seasonal_naive;

use crate::gaps::{fill_gaps, rescale, unit_range};
use crate::normal;

/// What is asked of a forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastConfig {
    /// Probability that the interval holds the value that comes, 0..1. Default 0.95.
    pub coverage: f64,
}

impl Default for ForecastConfig {
    fn default() -> Self {
        Self { coverage: 0.95 }
    }
}

/// Values to come. All three have shape `[horizon]` and the series' unit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Forecast {
    /// The expected value.
    pub mean: Vec<f64>,
    /// Lower end of the interval.
    pub lower: Vec<f64>,
    /// Upper end of the interval.
    pub upper: Vec<f64>,
}

/// Continues a series by `horizon` values.
///
/// `values`: shape `[n]`; gaps are filled by straight lines. `periods`: seasons in samples, strongest first, as
/// [`crate::seasonality::periods`] finds them; those longer than half the series are not used.
/// Returns an empty forecast when there is no finite value.
///
/// ```
/// use layer5_patterns::forecast::{ForecastConfig, forecast};
/// let values: Vec<f64> = (0..96).map(|t| [1.0, 5.0, 9.0, 5.0][t % 4]).collect();
/// let next = forecast(&values, 4, &[4], &ForecastConfig::default());
/// assert!((next.mean[2] - 9.0).abs() < 0.1);
/// ```
pub fn forecast(
    values: &[f64],
    horizon: usize,
    periods: &[usize],
    config: &ForecastConfig,
) -> Forecast {
    let unit = unit_range(values);
    let Some(filled) = fill_gaps(&unit.values) else {
        return Forecast::default();
    };
    let n = filled.len();
    let period = periods
        .iter()
        .copied()
        .find(|&p| p >= 2 && 2 * p <= n)
        .unwrap_or(1);
    let season = phase_means(&filled, period);
    let rest: Vec<f64> = filled
        .iter()
        .enumerate()
        .map(|(i, v)| v - season[i % period])
        .collect();
    let fitted = theta::theta(&rest, horizon);
    let variance =
        fitted.errors.iter().map(|e| e * e).sum::<f64>() / fitted.errors.len().max(1) as f64;
    let z = normal::quantile(0.5 + config.coverage.clamp(0.0, 1.0) / 2.0);
    let mut result = Forecast::default();
    for (h, level) in fitted.mean.iter().enumerate() {
        let mean = level + season[(n + h) % period];
        let half = z * (variance * (1.0 + 0.1 * h as f64)).sqrt();
        result.mean.push(rescale(mean, unit.scale));
        result.lower.push(rescale(mean - half, unit.scale));
        result.upper.push(rescale(mean + half, unit.scale));
    }
    result
}

/// Mean of each phase round the mean of all; zero without a season.
fn phase_means(values: &[f64], period: usize) -> Vec<f64> {
    if period < 2 {
        return vec![0.0];
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (0..period)
        .map(|phase| {
            let (sum, count) = values
                .iter()
                .skip(phase)
                .step_by(period)
                .fold((0.0, 0.0), |a, v| (a.0 + v, a.1 + 1.0));
            sum / count - mean
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_input_is_answered_without_panic() {
        let config = ForecastConfig::default();
        assert!(forecast(&[], 3, &[], &config).mean.is_empty());
        assert!(forecast(&[f64::NAN], 3, &[], &config).mean.is_empty());
        assert_eq!(forecast(&[2.0], 2, &[7], &config).mean, [2.0, 2.0]);
        let extreme = forecast(
            &[1e308, -1e308, 1e-308, 1e308, -1e308, 1e308],
            4,
            &[2],
            &config,
        );
        assert!(
            extreme
                .mean
                .iter()
                .chain(&extreme.upper)
                .all(|v| v.is_finite())
        );
    }
}
