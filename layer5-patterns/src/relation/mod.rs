//! Which series move together, with what lag, and whether that could be chance.
//! In: several series on one time grid, gaps as `NaN`. Out: [`Relation`]s. Called from: the service, over many series.
//! The way: each series is prewhitened (its own autoregression taken off), so that two trends or two seasons do not pass
//! for a relation; each pair is correlated at every lag; the strongest lag is judged with the effective number of
//! samples and the number of lags tried; over all pairs the false discovery rate is held.
//! Invariants: `lag > 0` means that the first series leads; the result does not depend on the number of threads.
//! Reference: Haugh (1976) for prewhitened cross-correlation; Bartlett (1946) for the effective sample size; Benjamini and
//! Hochberg (1995), <https://doi.org/10.1111/j.2517-6161.1995.tb02031.x>.

mod discovery;
mod prewhiten;
mod two_windows;

pub use discovery::benjamini_hochberg;
pub use prewhiten::prewhitened;
pub use two_windows::{WindowDrift, compare_windows};

use rayon::prelude::*;

use crate::normal;
use crate::order_statistics::ranks;

/// What is asked of a relation. The defaults need no tuning.
#[derive(Debug, Clone, PartialEq)]
pub struct RelationConfig {
    /// Longest lag tried in either direction, samples. Default 12.
    pub lag_max: usize,
    /// Share of false relations among those reported, 0..1. Default 0.01.
    pub false_discovery_rate: f64,
    /// Least correlation worth reporting, 0..=1. Default 0.2.
    pub correlation_min: f64,
}

impl Default for RelationConfig {
    fn default() -> Self {
        Self {
            lag_max: 12,
            false_discovery_rate: 0.01,
            correlation_min: 0.2,
        }
    }
}

/// Two series that move together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Relation {
    /// Index of the first series.
    pub first: usize,
    /// Index of the second.
    pub second: usize,
    /// Samples by which the first leads the second; negative when it follows.
    pub lag: i64,
    /// Pearson correlation of the prewhitened series at that lag, -1..=1.
    pub pearson: f64,
    /// Spearman correlation there: much smaller than Pearson's when single values make the relation.
    pub spearman: f64,
    /// Effective number of independent pairs.
    pub n_effective: f64,
    /// Probability of so strong a correlation at any lag by chance, 0..=1, before the discovery rate is considered.
    pub p_value: f64,
}

/// Finds the relations among several series, most certain first.
///
/// `series`: equally long slices on one grid; unequal lengths are compared over the shorter one's beginning. Pairs with fewer
/// than 20 common samples are left out.
/// # Cost
/// O(pairs * lags * n), shared among threads.
///
/// ```
/// use layer5_patterns::relation::{RelationConfig, relations};
/// let noise = |i: u64| ((i * i * 2_654_435_761) >> 9 & 1023) as f64;
/// let cause: Vec<f64> = (0..300).map(|i| noise(i + 3)).collect();
/// let effect: Vec<f64> = (0..300).map(noise).collect();
/// let found = relations(&[&cause, &effect], &RelationConfig::default());
/// assert_eq!((found[0].lag, found[0].pearson > 0.9), (3, true));
/// ```
pub fn relations(series: &[&[f64]], config: &RelationConfig) -> Vec<Relation> {
    let whitened: Vec<Vec<f64>> = series.par_iter().map(|s| prewhitened(s)).collect();
    let pairs: Vec<(usize, usize)> = (0..series.len())
        .flat_map(|i| (i + 1..series.len()).map(move |j| (i, j)))
        .collect();
    let tried: Vec<Relation> = pairs
        .par_iter()
        .filter_map(|&(i, j)| strongest(&whitened[i], &whitened[j], config.lag_max, (i, j)))
        .collect();
    let p_values: Vec<f64> = tried.iter().map(|r| r.p_value).collect();
    let accepted = benjamini_hochberg(&p_values, config.false_discovery_rate);
    let mut found: Vec<Relation> = tried
        .into_iter()
        .zip(accepted)
        .filter(|(r, yes)| *yes && r.pearson.abs() >= config.correlation_min)
        .map(|(r, _)| r)
        .collect();
    found.sort_by(|a, b| {
        a.p_value
            .total_cmp(&b.p_value)
            .then((a.first, a.second).cmp(&(b.first, b.second)))
    });
    found
}

/// Fewest common samples of a pair.
const COMMON_MIN: usize = 20;

fn strongest(a: &[f64], b: &[f64], lag_max: usize, names: (usize, usize)) -> Option<Relation> {
    let reach = lag_max.min(a.len().min(b.len()) / 4) as i64;
    let mut best: Option<(f64, i64, usize)> = None;
    for lag in -reach..=reach {
        let (x, y) = common(a, b, lag);
        if x.len() < COMMON_MIN {
            continue;
        }
        let r = pearson(&x, &y);
        let better = best.is_none_or(|(other, at, _)| {
            r.abs() > other.abs() || (r.abs() == other.abs() && lag.abs() < at.abs())
        });
        if better {
            best = Some((r, lag, x.len()));
        }
    }
    let (r, lag, _) = best?;
    let (x, y) = common(a, b, lag);
    let n_effective = effective_len(&x, &y);
    let z = r.abs().min(1.0 - 1e-15).atanh() * (n_effective - 3.0).max(1.0).sqrt();
    let lags = (2 * reach + 1) as f64;
    // Sidak's correction for the lags that were tried.
    let p_value = -(lags * (-normal::two_sided_p(z)).ln_1p()).exp_m1();
    Some(Relation {
        first: names.0,
        second: names.1,
        lag,
        pearson: r,
        spearman: pearson(&ranks(&x), &ranks(&y)),
        n_effective,
        p_value: p_value.clamp(0.0, 1.0),
    })
}

/// Samples `a[i]`, `b[i + lag]` where both are present.
fn common(a: &[f64], b: &[f64], lag: i64) -> (Vec<f64>, Vec<f64>) {
    let ahead = lag.max(0) as usize;
    let behind = (-lag).max(0) as usize;
    a.iter()
        .skip(behind)
        .zip(b.iter().skip(ahead))
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .map(|(x, y)| (*x, *y))
        .unzip()
}

/// Pearson's correlation; 0 when one of them is constant.
fn pearson(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len() as f64;
    let (mx, my) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (a, b) in x.iter().zip(y) {
        xy += (a - mx) * (b - my);
        xx += (a - mx).powi(2);
        yy += (b - my).powi(2);
    }
    let norm = (xx * yy).sqrt();
    if norm > 0.0 {
        (xy / norm).clamp(-1.0, 1.0)
    } else {
        0.0
    }
}

/// Bartlett's effective number of samples of two autocorrelated series, between 4 and n.
fn effective_len(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len();
    let lags = (n / 10).clamp(1, 50);
    let (rx, ry) = (
        crate::autocorrelation(x, lags),
        crate::autocorrelation(y, lags),
    );
    let sum: f64 = (1..rx.len())
        .map(|k| (1.0 - k as f64 / n as f64) * rx[k] * ry[k])
        .sum();
    (n as f64 / (1.0 + 2.0 * sum).max(0.1)).clamp(4.0, n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(i: u64) -> f64 {
        let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64 - 0.5
    }

    #[test]
    fn a_follower_is_found_with_its_lag() {
        let cause: Vec<f64> = (0..400).map(noise).collect();
        let effect: Vec<f64> = (0..400)
            .map(|i| if i < 5 { 0.0 } else { -2.0 * noise(i - 5) } + 0.3 * noise(i + 9_999))
            .collect();
        let found = relations(&[&cause, &effect], &RelationConfig::default());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].lag, 5);
        assert!(found[0].pearson < -0.9 && found[0].spearman < -0.9);
    }

    #[test]
    fn two_random_walks_are_not_related() {
        let walk = |seed: u64| -> Vec<f64> {
            (0..300)
                .scan(0.0, |sum, i| {
                    *sum += noise(seed * 10_000 + i);
                    Some(*sum)
                })
                .collect()
        };
        let walks: Vec<Vec<f64>> = (0..12).map(walk).collect();
        let slices: Vec<&[f64]> = walks.iter().map(Vec::as_slice).collect();
        // 66 pairs at a false discovery rate of 1 %: one or none.
        assert!(relations(&slices, &RelationConfig::default()).len() <= 1);
    }

    #[test]
    fn bad_input_has_no_relation() {
        let config = RelationConfig::default();
        assert!(relations(&[], &config).is_empty());
        assert!(relations(&[&[], &[1.0]], &config).is_empty());
        assert!(relations(&[&[1.0; 100], &[f64::NAN; 100], &[1e308; 100]], &config).is_empty());
    }
}
