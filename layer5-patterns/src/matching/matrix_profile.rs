//! For every window of a series, how far its nearest neighbour is and where: the matrix profile.
//! In: a series (or two), a window length. Out: a [`MatrixProfile`]. Called from: [`super::motifs`], users.
//! The way: blocks of [`super::diagonals`] are shared among threads, and the result does not depend on how.
//! Invariants: neighbours closer than half a window are not looked at. A tie goes to the earlier neighbour.
//! Reference: Zhu et al. (2016), SCRIMP/STOMP; Zimmerman et al. (2019), SCAMP, for the centred recurrence.

use std::ops::Range;

use rayon::prelude::*;

use super::diagonals::{Best, LANES, Steps, walk};
use super::windows::{Windows, distance};

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
    let steps = Steps::new(windows, m);
    let best = over_diagonals(
        exclusion..count,
        |first, end, rows, cols| {
            walk((&steps, &steps), first, end, (rows, cols));
        },
        (count, count),
    );
    let best = best.0.join(&best.1);
    profile_of((&steps.windows, &best), m, |i| {
        nearest_constant(&steps.windows, i, exclusion)
    })
}

/// The matrix profile of one series with another: for each window of `series` the nearest window of `other`.
///
/// `neighbour` are places in `other`; there is no exclusion. `window_len` below 4, or more than either series: empty.
/// # Cost
/// O(n k) time for series of n and k samples, O(n + k) memory per thread.
///
/// ```
/// use layer5_patterns::matching::ab_join;
/// let lesson: Vec<f64> = (0..60).map(|t| f64::from(t % 30).powi(2)).collect();
/// let series: Vec<f64> = (0..200).map(|t| f64::from(t % 40).powi(2)).collect();
/// let joined = ab_join(&series, &lesson, 20);
/// assert!(joined.distance[45] < 1e-3 && joined.neighbour[45] % 30 == 5);
/// ```
pub fn ab_join(series: &[f64], other: &[f64], window_len: usize) -> MatrixProfile {
    let m = window_len;
    let (Some(a), Some(b)) = (Windows::new(series, m), Windows::new(other, m)) else {
        return MatrixProfile::default();
    };
    let counts = (a.count(), b.count());
    if m < 4
        || [counts.0, counts.1]
            .iter()
            .any(|c| u32::try_from(*c).is_err())
    {
        return MatrixProfile::default();
    }
    let (a, b) = (Steps::new(a, m), Steps::new(b, m));
    let above = over_diagonals(
        0..counts.1,
        |first, end, rows, cols| {
            walk((&a, &b), first, end, (rows, cols));
        },
        counts,
    );
    let below = over_diagonals(
        1..counts.0,
        |first, end, rows, cols| {
            walk((&b, &a), first, end, (rows, cols));
        },
        (counts.1, counts.0),
    );
    let best = above.0.join(&below.1);
    let constant = (0..counts.1).find(|&j| b.windows.is_constant(j));
    profile_of((&a.windows, &best), m, |_| constant)
}

/// Shares blocks of neighbouring diagonals among threads; the best of rows and of columns, of lengths `counts`.
fn over_diagonals(
    range: Range<usize>,
    walk: impl Fn(usize, usize, &mut Best, &mut Best) + Sync,
    counts: (usize, usize),
) -> (Best, Best) {
    let blocks: Vec<usize> = range.clone().step_by(LANES).collect();
    // Early diagonals are long and late ones short: handing every k-th block to one part evens the work out.
    let parts = rayon::current_num_threads().clamp(1, 64);
    (0..parts)
        .into_par_iter()
        .map(|part| {
            let mut best = (Best::new(counts.0), Best::new(counts.1));
            for &first in blocks.iter().skip(part).step_by(parts) {
                walk(
                    first,
                    (first + LANES).min(range.end),
                    &mut best.0,
                    &mut best.1,
                );
            }
            best
        })
        .reduce_with(|a, b| (a.0.join(&b.0), a.1.join(&b.1)))
        .unwrap_or_else(|| (Best::new(counts.0), Best::new(counts.1)))
}

/// Distances from correlations; `constant` names the constant window that a constant window is nearest to.
fn profile_of(
    (windows, best): (&Windows, &Best),
    m: usize,
    constant: impl Fn(usize) -> Option<usize>,
) -> MatrixProfile {
    let count = windows.count();
    let mut profile = MatrixProfile {
        distance: vec![f64::INFINITY; count],
        neighbour: (0..count).collect(),
        window_len: m,
    };
    for i in (0..count).filter(|&i| !windows.gap[i]) {
        if !windows.is_constant(i) {
            if best.neighbour[i] != u32::MAX {
                profile.distance[i] = distance(best.correlation[i], m, 0);
                profile.neighbour[i] = best.neighbour[i] as usize;
            }
        } else if let Some(j) = constant(i) {
            profile.distance[i] = 0.0;
            profile.neighbour[i] = j;
        }
    }
    profile
}

/// The first constant window far enough from `i`, or the last.
fn nearest_constant(windows: &Windows, i: usize, exclusion: usize) -> Option<usize> {
    let far = |&j: &usize| windows.is_constant(j) && j.abs_diff(i) >= exclusion;
    let first = windows
        .first_constant
        .filter(|j| j.abs_diff(i) >= exclusion);
    first.or_else(|| windows.last_constant.filter(far))
}
