//! Mean and deviation of every window, and which windows can be compared at all.
//! In: a series, a window length. Out: [`Windows`]. Called from: mass, matrix_profile, dtw, shapes.
//! Invariants: a window is constant when its deviation is below 1e-7 of the series' largest magnitude (rounding of the
//! running sums); its inverse deviation is then 0.

use crate::gaps::unit_range;

/// Moments of all windows of one length.
#[derive(Debug, Clone)]
pub(super) struct Windows {
    /// The series in unit range round its mean, gaps as zero; shape `[n]`.
    pub(super) values: Vec<f64>,
    /// Shape `[n - m + 1]`.
    pub(super) mean: Vec<f64>,
    /// 1 / (sqrt(m) sigma), 0 for constant windows; shape `[n - m + 1]`.
    pub(super) inverse_norm: Vec<f64>,
    /// Whether a window has a gap; shape `[n - m + 1]`.
    pub(super) gap: Vec<bool>,
    /// First window without a gap that is constant.
    pub(super) first_constant: Option<usize>,
    /// Last window without a gap that is constant.
    pub(super) last_constant: Option<usize>,
}

/// Deviations below this (in unit range) are rounding.
const CONSTANT_SIGMA: f64 = 1e-7;

impl Windows {
    /// `None` when `m` is below 2 or above the length of the series.
    pub(super) fn new(series: &[f64], m: usize) -> Option<Self> {
        let n = series.len();
        if m < 2 || m > n {
            return None;
        }
        let unit = unit_range(series);
        let present = unit.n_present.max(1) as f64;
        let centre = unit.values.iter().filter(|v| v.is_finite()).sum::<f64>() / present;
        let values: Vec<f64> = unit
            .values
            .iter()
            .map(|v| if v.is_finite() { v - centre } else { 0.0 })
            .collect();
        let count = n - m + 1;
        let (mut mean, mut inverse_norm) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut gap = Vec::with_capacity(count);
        let (mut sum, mut gaps) = (0.0, 0_usize);
        for i in 0..n {
            sum += values[i];
            gaps += usize::from(!unit.values[i].is_finite());
            if i + 1 < m {
                continue;
            }
            let start = i + 1 - m;
            // Sums start afresh now and then, so that rounding does not pile up.
            if start.is_multiple_of(4096) {
                sum = values[start..=i].iter().sum();
            }
            let mu = sum / m as f64;
            mean.push(mu);
            gap.push(gaps > 0);
            sum -= values[start];
            gaps -= usize::from(!unit.values[start].is_finite());
        }
        // Deviations by a running update of the centred squares (Welford's, for a sliding window).
        let squares_min = CONSTANT_SIGMA * CONSTANT_SIGMA * m as f64;
        let (mut first_constant, mut last_constant) = (None, None);
        let mut squares = 0.0;
        let pairs = values
            .iter()
            .zip(&values[m..])
            .zip(mean.iter().zip(&mean[1..]));
        let steps = pairs.map(|((old, new), (before, mu))| (new - old) * (new - mu + old - before));
        for (start, step) in std::iter::once(0.0).chain(steps).enumerate() {
            squares += step;
            if start.is_multiple_of(256) {
                let own = &values[start..start + m];
                squares = own.iter().map(|v| (v - mean[start]).powi(2)).sum();
            }
            if squares > squares_min {
                inverse_norm.push(1.0 / squares.sqrt());
            } else {
                inverse_norm.push(0.0);
                if !gap[start] {
                    first_constant = first_constant.or(Some(start));
                    last_constant = Some(start);
                }
            }
        }
        Some(Self {
            values,
            mean,
            inverse_norm,
            gap,
            first_constant,
            last_constant,
        })
    }

    pub(super) fn is_constant(&self, i: usize) -> bool {
        !self.gap[i] && self.inverse_norm[i] == 0.0
    }

    pub(super) fn count(&self) -> usize {
        self.mean.len()
    }
}

/// Distance of two windows of length `m` from their correlation; `constants` says how many of them are constant.
pub(super) fn distance(correlation: f64, m: usize, constants: u8) -> f64 {
    match constants {
        0 => (2.0 * m as f64 * (1.0 - correlation.clamp(-1.0, 1.0))).sqrt(),
        1 => (m as f64).sqrt(),
        _ => 0.0,
    }
}
