//! For every window of a series, how far its nearest neighbour is and where: the matrix profile.
//! In: a series, a window length. Out: a [`MatrixProfile`]. Called from: [`super::motifs`], users.
//! The way: correlations along diagonals by a recurrence of two multiplications, diagonals in blocks so that a row's
//! best is kept in the cache; blocks are shared among threads, and the result does not depend on how.
//! Invariants: neighbours closer than half a window are not looked at. A tie goes to the earlier neighbour.
//! Reference: Zhu et al. (2016), SCRIMP/STOMP; Zimmerman et al. (2019), SCAMP, for the centred recurrence.

use rayon::prelude::*;

use super::windows::{Windows, distance};

/// Diagonals that are walked together.
const BLOCK: usize = 8;

/// Distance to the nearest neighbour, and its place; both shape `[n - m + 1]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MatrixProfile {
    /// z-normalised Euclidean distance; infinite for windows with a gap or without any neighbour.
    pub distance: Vec<f64>,
    /// Start of the nearest window; its own place where there is none.
    pub neighbour: Vec<usize>,
    /// Window length.
    pub window_len: usize,
}

/// Best correlation of each window with an earlier or later one.
struct Best {
    correlation: Vec<f64>,
    neighbour: Vec<u32>,
}

impl Best {
    fn new(count: usize) -> Self {
        Self {
            correlation: vec![f64::NEG_INFINITY; count],
            neighbour: vec![u32::MAX; count],
        }
    }

    fn join(mut self, other: Self) -> Self {
        for i in 0..self.correlation.len() {
            let (c, j) = (other.correlation[i], other.neighbour[i]);
            if c > self.correlation[i] || (c == self.correlation[i] && j < self.neighbour[i]) {
                self.correlation[i] = c;
                self.neighbour[i] = j;
            }
        }
        self
    }
}

/// The matrix profile of a series with itself.
///
/// `window_len` below 4, or more than half the series: empty.
/// # Cost
/// O(n^2) time, O(n) memory per thread.
pub fn matrix_profile(series: &[f64], window_len: usize) -> MatrixProfile {
    let m = window_len;
    let Some(windows) = Windows::new(series, m) else {
        return MatrixProfile::default();
    };
    let count = windows.count();
    let exclusion = m.div_ceil(2).max(1);
    if m < 4 || count <= exclusion || u32::try_from(count).is_err() {
        return MatrixProfile::default();
    }
    let recurrence = Recurrence::new(&windows, m);
    let blocks: Vec<usize> = (exclusion..count).step_by(BLOCK).collect();
    // Early diagonals are long and late ones short: handing every k-th block to one part evens the work out.
    let parts = rayon::current_num_threads().clamp(1, 64);
    let best = (0..parts)
        .into_par_iter()
        .map(|part| {
            let mut best = Best::new(count);
            for &first in blocks.iter().skip(part).step_by(parts) {
                recurrence.walk(first, (first + BLOCK).min(count), &mut best);
            }
            best
        })
        .reduce_with(Best::join)
        .unwrap_or_else(|| Best::new(count));
    profile_of(&windows, &best, m, exclusion)
}

/// What the walk along a diagonal needs, per window.
struct Recurrence<'a> {
    windows: &'a Windows,
    m: usize,
    /// Half the difference of the sample that comes and the one that goes.
    df: Vec<f64>,
    /// Sum of both, each from its own window's mean.
    dg: Vec<f64>,
    /// Zero for constant windows and those with gaps: they then never win.
    norm: Vec<f64>,
}

impl<'a> Recurrence<'a> {
    fn new(windows: &'a Windows, m: usize) -> Self {
        let count = windows.count();
        let (mut df, mut dg) = (vec![0.0; count], vec![0.0; count]);
        for i in 1..count {
            let (gone, came) = (windows.values[i - 1], windows.values[i + m - 1]);
            df[i] = 0.5 * (came - gone);
            dg[i] = (came - windows.mean[i]) + (gone - windows.mean[i - 1]);
        }
        let norm = (0..count)
            .map(|i| {
                if windows.gap[i] {
                    0.0
                } else {
                    windows.inverse_norm[i]
                }
            })
            .collect();
        Self {
            windows,
            m,
            df,
            dg,
            norm,
        }
    }

    fn walk(&self, first: usize, end: usize, best: &mut Best) {
        let w = self.windows;
        let count = w.count();
        let lanes = end - first;
        let mut covariance = [0.0; BLOCK];
        for (lane, slot) in covariance[..lanes].iter_mut().enumerate() {
            let j = first + lane;
            *slot = (0..self.m)
                .map(|k| (w.values[k] - w.mean[0]) * (w.values[j + k] - w.mean[j]))
                .sum();
        }
        let rows = count - first;
        for i in 0..rows {
            let (norm_i, df_i, dg_i) = (self.norm[i], self.df[i], self.dg[i]);
            let j0 = i + first;
            let here = lanes.min(count - j0);
            let (mut row_best, mut row_at) = (best.correlation[i], best.neighbour[i]);
            for (lane, covariance) in covariance[..here].iter_mut().enumerate() {
                let j = j0 + lane;
                if i > 0 {
                    *covariance += df_i * self.dg[j] + self.df[j] * dg_i;
                }
                let norms = norm_i * self.norm[j];
                let correlation = *covariance * norms;
                if norms > 0.0 {
                    if correlation > row_best {
                        (row_best, row_at) = (correlation, j as u32);
                    }
                    if correlation > best.correlation[j] {
                        (best.correlation[j], best.neighbour[j]) = (correlation, i as u32);
                    }
                }
            }
            (best.correlation[i], best.neighbour[i]) = (row_best, row_at);
        }
    }
}

fn profile_of(windows: &Windows, best: &Best, m: usize, exclusion: usize) -> MatrixProfile {
    let count = windows.count();
    let constants: Vec<usize> = (0..count)
        .filter(|&i| !windows.gap[i] && windows.inverse_norm[i] == 0.0)
        .collect();
    let mut profile = MatrixProfile {
        distance: vec![f64::INFINITY; count],
        neighbour: (0..count).collect(),
        window_len: m,
    };
    for i in 0..count {
        if windows.gap[i] {
            continue;
        }
        if windows.inverse_norm[i] > 0.0 {
            if best.neighbour[i] != u32::MAX {
                profile.distance[i] = distance(best.correlation[i], m, 0);
                profile.neighbour[i] = best.neighbour[i] as usize;
            }
        } else if let Some(&j) = other_constant(&constants, i, exclusion) {
            profile.distance[i] = 0.0;
            profile.neighbour[i] = j;
        }
    }
    profile
}

/// The first constant window far enough from `i`.
fn other_constant(constants: &[usize], i: usize, exclusion: usize) -> Option<&usize> {
    match constants.first() {
        Some(first) if first.abs_diff(i) >= exclusion => Some(first),
        _ => constants
            .last()
            .filter(|last| last.abs_diff(i) >= exclusion),
    }
}
