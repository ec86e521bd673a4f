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
        let count = n - m + 1;
        let unit = unit_range(series);
        let gap = gaps(&unit.values, m, n - unit.n_present);
        let present = unit.n_present.max(1) as f64;
        let centre = unit.values.iter().filter(|v| v.is_finite()).sum::<f64>() / present;
        let mut values = unit.values;
        for v in &mut values {
            *v = if v.is_finite() { *v - centre } else { 0.0 };
        }
        let mean = means(&values, m);
        let mut inverse_norm = squares(&values, &mean, m);
        let squares_min = CONSTANT_SIGMA * CONSTANT_SIGMA * m as f64;
        for norm in &mut inverse_norm {
            *norm = if *norm > squares_min {
                1.0 / norm.sqrt()
            } else {
                0.0
            };
        }
        let constant = |i: &usize| !gap[*i] && inverse_norm[*i] == 0.0;
        let first_constant = (0..count).find(constant);
        let last_constant = first_constant.and_then(|_| (0..count).rev().find(constant));
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

/// Which windows have one of the `n_gaps` gaps.
fn gaps(values: &[f64], m: usize, n_gaps: usize) -> Vec<bool> {
    let mut gap = vec![false; values.len() - m + 1];
    if n_gaps > 0 {
        // Windows before this place are decided.
        let mut decided = 0;
        for (i, _) in values.iter().enumerate().filter(|(_, v)| !v.is_finite()) {
            let end = (i + 1).min(gap.len());
            gap[(i + 1).saturating_sub(m).clamp(decided, end)..end].fill(true);
            decided = end;
        }
    }
    gap
}

/// Means of all windows, by running sums that start afresh now and then so that rounding does not pile up.
fn means(values: &[f64], m: usize) -> Vec<f64> {
    const BLOCK: usize = 4096;
    let count = values.len() - m + 1;
    let share = 1.0 / m as f64;
    let mut mean = Vec::with_capacity(count);
    for start in (0..count).step_by(BLOCK) {
        let end = (start + BLOCK).min(count);
        let mut sum: f64 = values[start..start + m].iter().sum();
        mean.push(sum * share);
        let steps = values[start..end - 1].iter().zip(&values[start + m..]);
        mean.extend(steps.map(|(old, new)| {
            sum += new - old;
            sum * share
        }));
    }
    mean
}

/// Squared deviations of all windows from their means, by the same running update (Welford's, for a sliding window).
fn squares(values: &[f64], mean: &[f64], m: usize) -> Vec<f64> {
    const BLOCK: usize = 256;
    let count = mean.len();
    let mut squares = Vec::with_capacity(count);
    for start in (0..count).step_by(BLOCK) {
        let end = (start + BLOCK).min(count);
        let own = &values[start..start + m];
        let mut sum: f64 = own.iter().map(|v| (v - mean[start]).powi(2)).sum();
        squares.push(sum);
        let steps = values[start..end - 1].iter().zip(&values[start + m..]);
        let means = mean[start..end].iter().zip(&mean[start + 1..end]);
        squares.extend(steps.zip(means).map(|((old, new), (before, mu))| {
            sum += (new - old) * (new - mu + old - before);
            sum
        }));
    }
    squares
}
