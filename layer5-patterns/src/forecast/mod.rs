//! How a series will go on, and how far that can be trusted.
//! In: one series, oldest first, equally spaced, gaps as `NaN`; the seasons it has. Out: a [`Forecast`].
//! Called from: [`crate::analyze()`], the quality suite for forecasts.
//! The way: several simple methods, each good at something, are tried on the latest part of the series as if it were
//! not known; their combination is weighted by how well they did, and the width of the interval is what would have
//! held the share asked for (split conformal prediction).
//! Invariants: never not-a-number; `lower <= mean <= upper`; a series of one value is continued by that value.
//! Reference: Makridakis, Spiliotis and Assimakopoulos (2020), the M4 competition: combinations of simple methods lead;
//! Vovk, Gammerman and Shafer (2005) for the intervals.

mod ets;
mod naive;
mod theta;

pub use ets::{Fitted, exponential_smoothing};
pub use naive::seasonal_naive;
pub use theta::theta;

use crate::decomposition::{StlConfig, mstl};
use crate::gaps::{fill_gaps, rescale, unit_range};
use crate::normal;
use crate::order_statistics::quantile;

/// Past origins from which the methods are tried.
const ORIGINS_MAX: usize = 6;
/// Longest history used: older samples tell little of the next and cost time.
const HISTORY_LEN_MAX: usize = 20_000;
/// Errors needed before their own quantile is trusted rather than the normal law.
const ERRORS_MIN: usize = 20;

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

/// The methods that are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// The last season again, or the last value.
    SeasonalNaive,
    /// Seasons by MSTL, the rest by exponential smoothing with damped trend.
    MstlSmoothing,
    /// Seasons by MSTL, the rest by Theta.
    MstlTheta,
    /// Exponential smoothing with its own season of the shortest period.
    Smoothing,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 4] = [
        Self::SeasonalNaive,
        Self::MstlSmoothing,
        Self::MstlTheta,
        Self::Smoothing,
    ];
}

/// Continues a series by `horizon` values.
///
/// `values`: shape `[n]`; gaps are filled by straight lines. `periods`: seasons in samples, strongest first, as
/// [`crate::seasonality::periods`] finds them; those longer than half the series are not used.
/// Returns an empty forecast when there is no finite value.
/// # Cost
/// At most seven fits of four methods, each O(n); about 10 ms for 1 000 samples with two seasons.
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
    let values = &values[values.len().saturating_sub(HISTORY_LEN_MAX)..];
    let unit = unit_range(values);
    let Some(filled) = fill_gaps(&unit.values) else {
        return Forecast::default();
    };
    let n = filled.len();
    let periods: Vec<usize> = periods
        .iter()
        .copied()
        .filter(|&p| p >= 2 && 2 * p <= n)
        .collect();
    let trial = tried(&filled, horizon, &periods);
    let parts = fits(&filled, horizon, &periods);
    let (mean, variance) = combined(&parts, &trial.weights, horizon);
    let z = normal::quantile(0.5 + config.coverage.clamp(0.0, 0.9999) / 2.0);
    let factor = if trial.errors.len() >= ERRORS_MIN {
        // The rank that makes split conformal intervals hold their coverage in finite samples.
        let m = trial.errors.len() as f64;
        quantile(&trial.errors, (config.coverage * (m + 1.0) / m).min(1.0)).clamp(0.3 * z, 5.0 * z)
    } else {
        z
    };
    let mut result = Forecast::default();
    for (level, v) in mean.iter().zip(&variance) {
        let half = factor * v.max(0.0).sqrt();
        result.mean.push(rescale(*level, unit.scale));
        result.lower.push(rescale(level - half, unit.scale));
        result.upper.push(rescale(level + half, unit.scale));
    }
    result
}

/// What the methods did on the latest part of the series.
struct Trial {
    /// One weight per method, summing to 1.
    weights: [f64; Method::ALL.len()],
    /// Errors of the combination, in its own standard deviations.
    errors: Vec<f64>,
}

fn tried(values: &[f64], horizon: usize, periods: &[usize]) -> Trial {
    let n = values.len();
    let even = [1.0 / Method::ALL.len() as f64; Method::ALL.len()];
    let longest = periods.iter().copied().max().unwrap_or(1);
    let shortest_history = (2 * longest).max(8);
    let ahead = horizon.clamp(1, (n / 5).max(1));
    let mut runs = Vec::new();
    let mut squares = [0.0; Method::ALL.len()];
    for k in 1..=ORIGINS_MAX {
        let origin = match n.checked_sub(k * ahead) {
            Some(origin) if origin >= shortest_history => origin,
            _ => break,
        };
        // Seasons that the shorter history holds too few times would make the trial unlike the forecast.
        let parts = fits(&values[..origin], ahead, periods);
        for (square, part) in squares.iter_mut().zip(&parts) {
            *square += part
                .mean
                .iter()
                .zip(&values[origin..])
                .map(|(f, v)| (f - v).abs())
                .sum::<f64>();
        }
        runs.push((origin, parts));
    }
    if runs.is_empty() {
        return Trial {
            weights: even,
            errors: Vec::new(),
        };
    }
    let best = squares
        .iter()
        .copied()
        .fold(f64::INFINITY, f64::min)
        .max(1e-12);
    let mut weights = squares.map(|s| (best / s.max(1e-12)).powi(3));
    let sum: f64 = weights.iter().sum();
    for w in &mut weights {
        *w /= sum;
    }
    let mut errors = Vec::new();
    for (origin, parts) in &runs {
        let (mean, variance) = combined(parts, &weights, ahead);
        for (h, (f, v)) in mean.iter().zip(&values[*origin..]).enumerate() {
            let deviation = variance[h].sqrt();
            if deviation > 0.0 {
                errors.push((f - v).abs() / deviation);
            }
        }
    }
    Trial { weights, errors }
}

/// Every method's continuation, in the order of [`Method::ALL`].
fn fits(values: &[f64], horizon: usize, periods: &[usize]) -> Vec<Fitted> {
    let n = values.len();
    let usable: Vec<usize> = periods.iter().copied().filter(|&p| 2 * p <= n).collect();
    let longest = usable.iter().copied().max().unwrap_or(1);
    let shortest = usable.iter().copied().min().unwrap_or(1);
    let parts = mstl(values, &usable, &StlConfig::default());
    let mut adjusted = values.to_vec();
    for season in &parts.seasonal {
        for (v, s) in adjusted.iter_mut().zip(season) {
            *v -= s;
        }
    }
    let reseasoned = |mut fitted: Fitted| {
        for (season, &period) in parts.seasonal.iter().zip(&parts.periods) {
            for (mean, s) in fitted
                .mean
                .iter_mut()
                .zip(seasonal_naive(season, period, horizon))
            {
                *mean += s;
            }
        }
        fitted
    };
    let lag = longest.min(n.saturating_sub(1)).max(1);
    let steps: f64 = (lag..n)
        .map(|i| (values[i] - values[i - lag]).powi(2))
        .sum();
    let step_variance = steps / n.saturating_sub(lag).max(1) as f64;
    let naive = Fitted {
        mean: seasonal_naive(values, longest, horizon),
        variance: (0..horizon)
            .map(|h| step_variance * (1 + h / lag) as f64)
            .collect(),
    };
    vec![
        naive,
        reseasoned(exponential_smoothing(&adjusted, 1, horizon)),
        reseasoned(theta(&adjusted, horizon)),
        // A season of many phases has more states than a short history can tell.
        exponential_smoothing(values, if shortest <= 400 { shortest } else { 1 }, horizon),
    ]
}

/// Weighted means, and the variances of methods that agree: the mean of the variances.
fn combined(parts: &[Fitted], weights: &[f64], horizon: usize) -> (Vec<f64>, Vec<f64>) {
    let mut mean = vec![0.0; horizon];
    let mut variance = vec![0.0; horizon];
    for (part, w) in parts.iter().zip(weights) {
        for h in 0..horizon {
            mean[h] += w * part.mean[h];
            variance[h] += w * part.variance[h];
        }
    }
    (mean, variance)
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
        assert_eq!(forecast(&[2.0; 50], 2, &[], &config).upper, [2.0, 2.0]);
        assert!(forecast(&[2.0, 3.0], 0, &[0, 1], &config).mean.is_empty());
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

    #[test]
    fn intervals_hold_the_share_asked_for() {
        // White noise on a season: of 40 series, each with its next 24 values, about 95 % must lie inside.
        let hash = |i: u64| {
            let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64 - 0.5
        };
        let (mut inside, mut total) = (0, 0);
        for series in 0..40_u64 {
            let value = |t: u64| {
                let noise: f64 = (0..6).map(|k| hash(series * 100_000 + t * 6 + k)).sum();
                3.0 * (t as f64 * std::f64::consts::TAU / 24.0).sin() + noise
            };
            let past: Vec<f64> = (0..240).map(value).collect();
            let next = forecast(&past, 24, &[24], &ForecastConfig::default());
            for h in 0..24 {
                total += 1;
                let v = value(240 + h as u64);
                inside += usize::from(next.lower[h] <= v && v <= next.upper[h]);
            }
        }
        let share = f64::from(inside as u32) / f64::from(total);
        // Two per cent either way: three standard errors of 960 values that share 40 fits.
        assert!((0.925..=0.985).contains(&share), "{share}");
    }
}
