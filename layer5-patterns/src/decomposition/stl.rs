//! Season and trend by local regression.
//! In: a filled series and one period. Out: season, trend, remainder. Called from: [`super::mstl`].
//! Notation: loess of odd span q and degree 1 with tricube weights.
//! Invariants: `seasonal + trend + remainder` is the series; a constant series has no season.
//! Reference: Cleveland, Cleveland, McRae and Terpenning (1990), "STL: A Seasonal-Trend Decomposition Procedure Based on
//! Loess".

use super::loess::{Row, loess, loess_at};
use crate::order_statistics::median;

/// Spans and passes. The defaults are those of the paper for a robust fit.
#[derive(Debug, Clone, PartialEq)]
pub struct StlConfig {
    /// Span of the seasonal loess, in cycles, odd. Default 11 (Bandara et al. 2021, MSTL).
    pub seasonal_span: usize,
    /// Passes of the inner loop. Default 2.
    pub inner_passes: usize,
    /// Passes of the outer loop, which takes weight from outliers. Default 0; 1 or more when outliers are expected.
    pub outer_passes: usize,
}

impl Default for StlConfig {
    fn default() -> Self {
        Self {
            seasonal_span: 11,
            inner_passes: 2,
            outer_passes: 0,
        }
    }
}

/// The parts of a series, each of shape `[n]` and in its unit.
#[derive(Debug, Clone, PartialEq)]
pub struct StlParts {
    /// What repeats with the period, slowly changing.
    pub seasonal: Vec<f64>,
    /// The smooth level.
    pub trend: Vec<f64>,
    /// The rest.
    pub remainder: Vec<f64>,
}

/// Decomposes a series with one period.
///
/// `values`: shape `[n]`, finite. `period`: samples; when it is below 2 or fits fewer than twice, the season is zero.
/// # Cost
/// O(n) times the passes, for loess is evaluated on a grid and joined by lines; without outer passes a few products per
/// sample and pass. O(n) memory.
pub fn stl(values: &[f64], period: usize, config: &StlConfig) -> StlParts {
    let n = values.len();
    let mut seasonal = vec![0.0; n];
    let mut trend = vec![0.0; n];
    if period < 2 || 2 * period > n {
        let span = odd((n / 4).max(7));
        let trend = loess(values, None, span, (span / 10).max(1));
        let remainder = values.iter().zip(&trend).map(|(v, t)| v - t).collect();
        return StlParts {
            seasonal,
            trend,
            remainder,
        };
    }
    let trend_span =
        odd(((1.5 * period as f64) / (1.0 - 1.5 / config.seasonal_span as f64)).ceil() as usize);
    let low_span = odd(period);
    let mut weights: Option<Vec<f64>> = None;
    let mut detrended = vec![0.0; n];
    for outer in 0..=config.outer_passes {
        for _ in 0..config.inner_passes.max(1) {
            for (slot, (v, t)) in detrended.iter_mut().zip(values.iter().zip(&trend)) {
                *slot = v - t;
            }
            let cycle = smooth_phases(&detrended, weights.as_deref(), period, config.seasonal_span);
            let low = loess(
                &low_pass(&cycle, period),
                None,
                low_span,
                (low_span / 10).max(1),
            );
            for (i, slot) in seasonal.iter_mut().enumerate() {
                *slot = cycle[i + period] - low[i];
            }
            let without: Vec<f64> = values.iter().zip(&seasonal).map(|(v, s)| v - s).collect();
            trend = loess(
                &without,
                weights.as_deref(),
                trend_span,
                (trend_span / 10).max(1),
            );
        }
        if outer < config.outer_passes {
            weights = Some(robustness(values, &seasonal, &trend));
        }
    }
    let remainder = (0..n).map(|i| values[i] - seasonal[i] - trend[i]).collect();
    StlParts {
        seasonal,
        trend,
        remainder,
    }
}

fn odd(span: usize) -> usize {
    span | 1
}

/// Smooths each phase over its cycles, one cycle beyond either end: shape `[n + 2 period]`.
fn smooth_phases(values: &[f64], weights: Option<&[f64]>, period: usize, span: usize) -> Vec<f64> {
    let n = values.len();
    let mut extended = vec![0.0; n + 2 * period];
    let Some(weights) = weights else {
        // Phases that come once more than the others are the first ones; each group is fitted by the same sums.
        let (cycles, once_more) = (n / period, n % period);
        smooth_group(
            values,
            &mut extended,
            (0, once_more),
            (cycles + 1, period),
            span,
        );
        smooth_group(
            values,
            &mut extended,
            (once_more, period),
            (cycles, period),
            span,
        );
        return extended;
    };
    let mut phase_values = Vec::with_capacity(n / period + 1);
    let mut phase_weights = Vec::with_capacity(n / period + 1);
    for phase in 0..period {
        phase_values.clear();
        phase_values.extend(values.iter().skip(phase).step_by(period));
        phase_weights.clear();
        phase_weights.extend(weights.iter().skip(phase).step_by(period));
        for k in 0..phase_values.len() + 2 {
            extended[phase + k * period] =
                loess_at(&phase_values, Some(&phase_weights), span, k as f64 - 1.0);
        }
    }
    extended
}

/// Smooths the phases `from..to`, which all have the same number of cycles.
fn smooth_group(
    values: &[f64],
    extended: &mut [f64],
    (from, to): (usize, usize),
    (cycles, period): (usize, usize),
    span: usize,
) {
    if from == to {
        return;
    }
    let half = span / 2;
    let inner = (span <= cycles).then(|| Row::new(cycles, span, half as f64));
    for k in 0..cycles + 2 {
        let inside = k > half && k + span - half <= cycles + 1;
        let own;
        let (first, coefficients) = match &inner {
            Some(row) if inside => (k - 1 - half, &row.coefficients),
            _ => {
                own = Row::new(cycles, span, k as f64 - 1.0);
                (own.first, &own.coefficients)
            }
        };
        let out = &mut extended[k * period + from..k * period + to];
        for (c, weight) in coefficients.iter().enumerate() {
            let cycle = (first + c) * period;
            for (slot, v) in out.iter_mut().zip(&values[cycle + from..cycle + to]) {
                *slot += weight * v;
            }
        }
    }
}

/// Moving means of lengths period, period and 3: shape `[n]` from `[n + 2 period]`.
fn low_pass(values: &[f64], period: usize) -> Vec<f64> {
    moving_mean(&moving_mean(&moving_mean(values, period), period), 3)
}

fn moving_mean(values: &[f64], len: usize) -> Vec<f64> {
    let mut sum: f64 = values[..len].iter().sum();
    let mut means = Vec::with_capacity(values.len() + 1 - len);
    means.push(sum / len as f64);
    for i in len..values.len() {
        sum += values[i] - values[i - len];
        means.push(sum / len as f64);
    }
    means
}

/// Bisquare weights from the remainder, zero beyond six median absolute deviations.
fn robustness(values: &[f64], seasonal: &[f64], trend: &[f64]) -> Vec<f64> {
    let distance: Vec<f64> = (0..values.len())
        .map(|i| (values[i] - seasonal[i] - trend[i]).abs())
        .collect();
    let bound = 6.0 * median(&distance);
    distance
        .iter()
        .map(|d| {
            if bound > 0.0 && *d < bound {
                (1.0 - (d / bound).powi(2)).powi(2)
            } else {
                f64::from(u8::from(*d <= bound))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pure_season_on_a_line_is_taken_apart() {
        let values: Vec<f64> = (0..120)
            .map(|t| 0.1 * t as f64 + [2.0, 0.0, -1.0, -1.0][t % 4])
            .collect();
        let parts = stl(&values, 4, &StlConfig::default());
        for t in 4..116 {
            // Loess of degree 1 keeps lines and constant seasons; what is left is rounding and the ends.
            assert!(
                (parts.seasonal[t] - [2.0, 0.0, -1.0, -1.0][t % 4]).abs() < 1e-6,
                "{t}"
            );
            assert!((parts.trend[t] - 0.1 * t as f64).abs() < 1e-6, "{t}");
        }
    }

    #[test]
    fn short_series_have_no_season() {
        assert_eq!(stl(&[], 4, &StlConfig::default()).trend, [0.0; 0]);
        assert_eq!(
            stl(&[1.0, 2.0, 3.0], 4, &StlConfig::default()).seasonal,
            [0.0; 3]
        );
    }
}
