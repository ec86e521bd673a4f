//! Several seasons and a trend.
//! In: a series with gaps and its periods. Out: a [`Decomposition`]. Called from: [`crate::forecast`].
//! Reference: Bandara, Hyndman and Bergmeir (2021), MSTL, <https://arxiv.org/abs/2107.13462>.

use super::stl::{StlConfig, stl};
use crate::gaps::fill_gaps;

/// The parts of a series; each part has shape `[n]` and the series' unit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decomposition {
    /// Periods that were used, samples, shortest first.
    pub periods: Vec<usize>,
    /// One season per period.
    pub seasonal: Vec<Vec<f64>>,
    /// The smooth level.
    pub trend: Vec<f64>,
    /// The rest, after gaps were filled by straight lines.
    pub remainder: Vec<f64>,
}

/// Decomposes a series with any number of periods, refining each season twice with the others taken off.
///
/// `values`: shape `[n]`, gaps are filled. Periods that fit fewer than twice are left out. A series without a finite
/// value has empty parts.
///
/// ```
/// use layer5_patterns::decomposition::{StlConfig, mstl};
/// let values: Vec<f64> = (0..336).map(|t| f64::from(t % 24) + f64::from(t % 168 / 24)).collect();
/// let parts = mstl(&values, &[24, 168], &StlConfig::default());
/// let back: f64 = parts.trend[100] + parts.remainder[100] + parts.seasonal.iter().map(|s| s[100]).sum::<f64>();
/// assert!((back - values[100]).abs() < 1e-9);
/// ```
pub fn mstl(values: &[f64], periods: &[usize], config: &StlConfig) -> Decomposition {
    let Some(filled) = fill_gaps(values) else {
        return Decomposition::default();
    };
    let n = filled.len();
    let mut used: Vec<usize> = periods
        .iter()
        .copied()
        .filter(|&p| p >= 2 && 2 * p <= n)
        .collect();
    used.sort_unstable();
    used.dedup();
    if used.is_empty() {
        let parts = stl(&filled, 1, config);
        return Decomposition {
            periods: used,
            seasonal: Vec::new(),
            trend: parts.trend,
            remainder: parts.remainder,
        };
    }
    let mut seasonal = vec![vec![0.0; n]; used.len()];
    let mut rest = filled;
    let passes = if used.len() > 1 { 2 } else { 1 };
    let mut trend = vec![0.0; n];
    for pass in 0..passes {
        for (k, &period) in used.iter().enumerate() {
            for (v, s) in rest.iter_mut().zip(&seasonal[k]) {
                *v += s;
            }
            // A longer period has fewer cycles and may change less from one to the next (Bandara et al., section 2).
            let own = StlConfig {
                seasonal_span: config.seasonal_span + 4 * k,
                ..config.clone()
            };
            let parts = stl(&rest, period, &own);
            for (v, s) in rest.iter_mut().zip(&parts.seasonal) {
                *v -= s;
            }
            seasonal[k] = parts.seasonal;
            if pass + 1 == passes && k + 1 == used.len() {
                trend = parts.trend;
            }
        }
    }
    let remainder = rest.iter().zip(&trend).map(|(v, t)| v - t).collect();
    Decomposition {
        periods: used,
        seasonal,
        trend,
        remainder,
    }
}
