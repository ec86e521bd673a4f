//! How a series will go on, and how far that can be trusted.
//! In: one series, oldest first, equally spaced, gaps as `NaN`; the seasons it has. Out: a [`Forecast`].
//! Called from: [`crate::analyze()`], the quality suite for forecasts.
//! The way: several simple methods, each good at something, are tried on the latest part of the series as if it were
//! not known; their combination is weighted by how well they did, and the width of the interval is what would have
//! held the share asked for, origin after origin (adaptive conformal prediction). Short spikes of the history are taken off
//! before anything is fitted; the errors that weights and widths come from know them.
//! Invariants: never not-a-number; `lower <= mean <= upper`; a series of one value is continued by that value.
//! Reference: Makridakis, Spiliotis and Assimakopoulos (2020), the M4 competition: combinations of simple methods lead;
//! Vovk, Gammerman and Shafer (2005), and Gibbs and Candes (2021), <https://arxiv.org/abs/2106.00170>, for the intervals.

mod ets;
mod naive;
mod theta;

pub use ets::{Fitted, exponential_smoothing};
pub use naive::seasonal_naive;
pub use theta::theta;

use crate::decomposition::{StlConfig, mstl};
use crate::gaps::{fill_gaps, rescale, unit_range};
use crate::normal;
use crate::order_statistics::{median, quantile, robust_sigma};

/// Past origins from which the methods are tried.
const ORIGINS_MAX: usize = 8;
/// Longest history used: older samples tell little of the next and cost time.
const HISTORY_LEN_MAX: usize = 20_000;
/// How much more a method that did better counts: the power of the ratio of losses.
const WEIGHT_POWER: i32 = 5;
/// How fast the share aimed at follows the share held, per origin: with so few origins faster than in long streams.
const ADAPTATION: f64 = 0.1;
/// Logarithms are taken of series whose least value is above this share of their median: lower, and they would be all that
/// counts.
const LOG_SHARE_MIN: f64 = 0.05;
/// A remainder beyond this many robust deviations is a spike when it does not last.
const SPIKE_SIGMA: f64 = 4.0;
/// Longest spike, samples.
const SPIKE_LEN_MAX: usize = 3;
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
    /// As [`Method::MstlTheta`], of logarithms, where seasons are shares of the level. Left out unless every value is well
    /// above zero.
    LogMstlTheta,
}

impl Method {
    /// Every method, in the order in which they are tried.
    pub const ALL: [Self; 5] = [
        Self::SeasonalNaive,
        Self::MstlSmoothing,
        Self::MstlTheta,
        Self::Smoothing,
        Self::LogMstlTheta,
    ];

    /// Those that can continue `values`.
    fn that_fit(values: &[f64]) -> &'static [Self] {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let well_above = least > LOG_SHARE_MIN * median(values) && least > 0.0;
        &Self::ALL[..Self::ALL.len() - usize::from(!well_above)]
    }
}

/// Continues a series by `horizon` values.
///
/// `values`: shape `[n]`; gaps are filled by straight lines. `periods`: seasons in samples, strongest first, as
/// [`crate::seasonality::periods`] finds them; those longer than half the series are not used.
/// Returns an empty forecast when there is no finite value.
/// # Cost
/// At most nine fits of five methods, each O(n) for every trial of its weights. `layer5-bench`'s bench `patterns` has rows for
/// the parts.
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
    let coverage = config.coverage.clamp(0.0, 0.9999);
    let methods = Method::that_fit(&filled);
    let trial = tried(&filled, horizon, (methods, &periods), coverage);
    let parts = fits(&filled, horizon, (methods, &periods));
    let (mean, variance) = combined(&parts, &trial.weights, horizon);
    let mut result = Forecast::default();
    for (level, v) in mean.iter().zip(&variance) {
        let half = trial.factor * v.max(0.0).sqrt();
        result.mean.push(rescale(*level, unit.scale));
        result.lower.push(rescale(level - half, unit.scale));
        result.upper.push(rescale(level + half, unit.scale));
    }
    result
}

/// What the methods did on the latest part of the series.
struct Trial {
    /// One weight per method, summing to 1.
    weights: Vec<f64>,
    /// Half the interval in standard deviations of the combination.
    factor: f64,
}

/// One past origin: what each method told, and its sum of absolute errors.
struct Origin<'a> {
    parts: Vec<Fitted>,
    came: &'a [f64],
    losses: Vec<f64>,
}

fn tried(
    values: &[f64],
    horizon: usize,
    (methods, periods): (&[Method], &[usize]),
    coverage: f64,
) -> Trial {
    let n = values.len();
    let longest = periods.iter().copied().max().unwrap_or(1);
    let shortest_history = (2 * longest).max(8);
    let ahead = horizon.clamp(1, (n / 5).max(1));
    let mut origins = Vec::new();
    // Oldest first; seasons that a shorter history holds too few times would make the trial unlike the forecast.
    for k in (1..=ORIGINS_MAX).rev() {
        let Some(origin) = n.checked_sub(k * ahead).filter(|o| *o >= shortest_history) else {
            continue;
        };
        let parts = fits(&values[..origin], ahead, (methods, periods));
        let came = &values[origin..origin + ahead];
        let mut losses = vec![0.0; methods.len()];
        for (loss, part) in losses.iter_mut().zip(&parts) {
            *loss = part.mean.iter().zip(came).map(|(f, v)| (f - v).abs()).sum();
        }
        origins.push(Origin {
            parts,
            came,
            losses,
        });
    }
    Trial {
        weights: weights_of(&summed(&origins, usize::MAX, methods.len())),
        factor: interval_factor(&origins, coverage, methods.len()),
    }
}

/// Losses of each method over all origins but one.
fn summed(origins: &[Origin<'_>], but: usize, n_methods: usize) -> Vec<f64> {
    let mut sum = vec![0.0; n_methods];
    for (_, origin) in origins.iter().enumerate().filter(|(k, _)| *k != but) {
        for (total, loss) in sum.iter_mut().zip(&origin.losses) {
            *total += loss;
        }
    }
    sum
}

/// The better a method did, the more it counts; without any loss all count alike.
fn weights_of(losses: &[f64]) -> Vec<f64> {
    let least = losses
        .iter()
        .copied()
        .fold(f64::INFINITY, f64::min)
        .max(1e-12);
    let mut weights: Vec<f64> = losses
        .iter()
        .map(|loss| (least / loss.max(1e-12)).powi(WEIGHT_POWER))
        .collect();
    let sum: f64 = weights.iter().sum();
    for w in &mut weights {
        *w /= sum;
    }
    weights
}

/// The width that would have held the share asked for, in standard deviations of the combination.
///
/// Errors of an origin are those of the weights of the others. The share aimed at follows what the errors so far would have
/// held of the next origin: too little, and it is raised (adaptive conformal inference).
fn interval_factor(origins: &[Origin<'_>], coverage: f64, n_methods: usize) -> f64 {
    let z = normal::quantile(0.5 + coverage / 2.0);
    let mut errors: Vec<f64> = Vec::new();
    let mut miss = 1.0 - coverage;
    for (k, origin) in origins.iter().enumerate() {
        let weights = weights_of(&summed(origins, k, n_methods));
        let (mean, variance) = combined(&origin.parts, &weights, origin.came.len());
        let own: Vec<f64> = (0..mean.len())
            .filter(|&h| variance[h] > 0.0)
            .map(|h| (mean[h] - origin.came[h]).abs() / variance[h].sqrt())
            .collect();
        if errors.len() >= ERRORS_MIN {
            let factor = quantile(&errors, 1.0 - miss);
            let outside = own.iter().filter(|e| **e > factor).count() as f64;
            miss += ADAPTATION * (1.0 - coverage - outside / own.len().max(1) as f64);
            miss = miss.clamp(0.2 * (1.0 - coverage), (2.0 * (1.0 - coverage)).min(1.0));
        }
        errors.extend(own);
    }
    if errors.len() < ERRORS_MIN {
        return z;
    }
    // The rank that makes split conformal intervals hold their coverage in finite samples.
    let m = errors.len() as f64;
    quantile(&errors, ((1.0 - miss) * (m + 1.0) / m).min(1.0)).clamp(0.3 * z, 5.0 * z)
}

/// The continuation by each of `methods`.
fn fits(values: &[f64], horizon: usize, (methods, periods): (&[Method], &[usize])) -> Vec<Fitted> {
    let n = values.len();
    let usable: Vec<usize> = periods.iter().copied().filter(|&p| 2 * p <= n).collect();
    let longest = usable.iter().copied().max().unwrap_or(1);
    let shortest = usable.iter().copied().min().unwrap_or(1);
    let remainder = mstl(values, &usable, &StlConfig::default()).remainder;
    let calm = without_spikes(values, &remainder);
    let plain = Adjusted::new(&calm, &usable);
    let continued = |method: &Method| match method {
        Method::SeasonalNaive => {
            let lag = longest.min(n.saturating_sub(1)).max(1);
            let steps: f64 = (lag..n)
                .map(|i| (values[i] - values[i - lag]).powi(2))
                .sum();
            let variance = steps / n.saturating_sub(lag).max(1) as f64;
            Fitted {
                mean: seasonal_naive(&calm, longest, horizon),
                variance: (0..horizon)
                    .map(|h| variance * (1 + h / lag) as f64)
                    .collect(),
            }
        }
        Method::MstlSmoothing => {
            plain.with_seasons(exponential_smoothing(&plain.values, 1, horizon))
        }
        Method::MstlTheta => plain.with_seasons(theta(&plain.values, horizon)),
        // A season of many phases has more states than a short history can tell.
        Method::Smoothing => {
            exponential_smoothing(&calm, if shortest <= 400 { shortest } else { 1 }, horizon)
        }
        Method::LogMstlTheta => {
            let logs: Vec<f64> = calm.iter().map(|v| v.max(f64::MIN_POSITIVE).ln()).collect();
            let adjusted = Adjusted::new(&logs, &usable);
            let mut fitted = adjusted.with_seasons(theta(&adjusted.values, horizon));
            for (mean, variance) in fitted.mean.iter_mut().zip(&mut fitted.variance) {
                // A trend of logarithms is a power: it is not followed beyond ten times what was seen.
                *mean = mean.exp().min(10.0);
                *variance *= *mean * *mean;
            }
            fitted
        }
    };
    methods.iter().map(continued).collect()
}

/// A series without its seasons, and these.
struct Adjusted {
    values: Vec<f64>,
    periods: Vec<usize>,
    seasons: Vec<Vec<f64>>,
}

impl Adjusted {
    fn new(values: &[f64], periods: &[usize]) -> Self {
        let parts = mstl(values, periods, &StlConfig::default());
        let mut adjusted = values.to_vec();
        for season in &parts.seasonal {
            for (v, s) in adjusted.iter_mut().zip(season) {
                *v -= s;
            }
        }
        Self {
            values: adjusted,
            periods: parts.periods,
            seasons: parts.seasonal,
        }
    }

    /// Puts the seasons' last cycles on a continuation.
    fn with_seasons(&self, mut fitted: Fitted) -> Fitted {
        let horizon = fitted.mean.len();
        for (season, &period) in self.seasons.iter().zip(&self.periods) {
            let ahead = seasonal_naive(season, period, horizon);
            for (mean, s) in fitted.mean.iter_mut().zip(ahead) {
                *mean += s;
            }
        }
        fitted
    }
}

/// Values without short spikes: up to [`SPIKE_LEN_MAX`] in a row whose remainder is beyond [`SPIKE_SIGMA`] robust deviations
/// are brought to that bound. What lasts longer is a new level and stays, and so does the newest, which may become one.
fn without_spikes(values: &[f64], remainder: &[f64]) -> Vec<f64> {
    let bound = SPIKE_SIGMA * robust_sigma(remainder, 0.0);
    let mut calm = values.to_vec();
    let mut i = 0;
    while i < calm.len() {
        let len = remainder[i..]
            .iter()
            .take_while(|r| r.abs() > bound)
            .count();
        if len <= SPIKE_LEN_MAX && i + len < calm.len() {
            for k in i..i + len {
                calm[k] -= remainder[k] - remainder[k].clamp(-bound, bound);
            }
        }
        i += len.max(1);
    }
    calm
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
