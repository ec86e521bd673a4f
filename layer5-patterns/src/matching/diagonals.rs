//! Correlations of all pairs of windows, walked along diagonals: what the matrix profiles share.
//! In: two series' windows. Out: the best partner of each. Called from: [`super::matrix_profile`].
//! The way: the covariance of windows (i, j) follows from that of (i - 1, j - 1) by two multiplications; neighbouring
//! diagonals are walked together, so that compilers make vectors of them, and a pair that is no better than what both
//! windows have (nearly every pair) costs no branch of its own.
//! Notation: df half the difference of the sample that comes and the one that goes; dg the sum of both, each from its own
//! window's mean. Invariants: windows with a gap and constant ones have norm `NaN`, which is never better than anything. Of
//! equally good partners the earlier is kept, so the order of the walk does not matter.
//! Reference: Zhu et al. (2016), SCRIMP; Zimmerman et al. (2019), SCAMP, for the centred recurrence.

use super::windows::Windows;

/// Diagonals that are walked together.
pub(super) const LANES: usize = 8;

/// What the recurrence needs of one series' windows; each of shape `[n - m + 1]`.
#[derive(Debug, Clone)]
pub(super) struct Steps {
    pub(super) windows: Windows,
    df: Vec<f64>,
    dg: Vec<f64>,
    norm: Vec<f64>,
    m: usize,
}

impl Steps {
    pub(super) fn new(windows: Windows, m: usize) -> Self {
        let count = windows.count();
        let (mut df, mut dg) = (vec![0.0; count], vec![0.0; count]);
        for i in 1..count {
            let (gone, came) = (windows.values[i - 1], windows.values[i + m - 1]);
            df[i] = 0.5 * (came - gone);
            dg[i] = (came - windows.mean[i]) + (gone - windows.mean[i - 1]);
        }
        let norm = (0..count)
            .map(|i| {
                let inverse = windows.inverse_norm[i];
                let usable = !windows.gap[i] && inverse > 0.0;
                if usable { inverse } else { f64::NAN }
            })
            .collect();
        Self {
            windows,
            df,
            dg,
            norm,
            m,
        }
    }

    fn covariance(&self, i: usize, other: &Self, j: usize) -> f64 {
        let (a, b) = (&self.windows, &other.windows);
        (0..self.m)
            .map(|k| (a.values[i + k] - a.mean[i]) * (b.values[j + k] - b.mean[j]))
            .sum()
    }
}

/// The best correlation of each window so far, and with which.
#[derive(Debug, Clone)]
pub(super) struct Best {
    pub(super) correlation: Vec<f64>,
    /// `u32::MAX` where there is none yet.
    pub(super) neighbour: Vec<u32>,
}

impl Best {
    pub(super) fn new(count: usize) -> Self {
        Self {
            correlation: vec![f64::NEG_INFINITY; count],
            neighbour: vec![u32::MAX; count],
        }
    }

    fn offer(&mut self, i: usize, correlation: f64, neighbour: u32) {
        let own = self.correlation[i];
        if correlation > own || (correlation == own && neighbour < self.neighbour[i]) {
            self.correlation[i] = correlation;
            self.neighbour[i] = neighbour;
        }
    }

    pub(super) fn join(mut self, other: &Self) -> Self {
        for (i, (c, j)) in other.correlation.iter().zip(&other.neighbour).enumerate() {
            self.offer(i, *c, *j);
        }
        self
    }
}

/// Walks the diagonals that begin at `(0, first..end)`, rows downwards; `end - first <= LANES`.
pub(super) fn walk(
    (rows, cols): (&Steps, &Steps),
    first: usize,
    end: usize,
    (best_rows, best_cols): (&mut Best, &mut Best),
) {
    let (n_rows, n_cols) = (rows.norm.len(), cols.norm.len());
    let lanes = end - first;
    let mut covariance = [0.0; LANES];
    for (lane, slot) in covariance[..lanes].iter_mut().enumerate() {
        *slot = rows.covariance(0, cols, first + lane);
    }
    // Rows in which every lane is still within the columns.
    let full = if lanes == LANES {
        n_rows.min((n_cols + 1).saturating_sub(end))
    } else {
        0
    };
    let row_steps = rows.df[..full].iter().zip(&rows.dg).zip(&rows.norm);
    let col_steps = cols.df[first..]
        .array_windows::<LANES>()
        .zip(cols.dg[first..].array_windows::<LANES>());
    let col_norms = cols.norm[first..].array_windows::<LANES>();
    for (i, (((df, dg), norm), ((dfs, dgs), norms))) in
        row_steps.zip(col_steps.zip(col_norms)).enumerate()
    {
        let mut correlation = [0.0; LANES];
        for lane in 0..LANES {
            covariance[lane] += df * dgs[lane] + dfs[lane] * dg;
            correlation[lane] = covariance[lane] * norms[lane] * norm;
        }
        let row_best = best_rows.correlation[i];
        let beside: &[f64; LANES] = best_cols.correlation[i + first..]
            .first_chunk()
            .expect("every lane is within the columns");
        let mut better = false;
        for lane in 0..LANES {
            better |= (correlation[lane] >= row_best) | (correlation[lane] >= beside[lane]);
        }
        if better {
            for (lane, c) in correlation.iter().enumerate() {
                let j = i + first + lane;
                best_rows.offer(i, *c, j as u32);
                best_cols.offer(j, *c, i as u32);
            }
        }
    }
    for i in full..n_rows.min(n_cols.saturating_sub(first)) {
        for (lane, covariance) in covariance[..lanes.min(n_cols - first - i)]
            .iter_mut()
            .enumerate()
        {
            let j = i + first + lane;
            *covariance += rows.df[i] * cols.dg[j] + cols.df[j] * rows.dg[i];
            let correlation = *covariance * cols.norm[j] * rows.norm[i];
            best_rows.offer(i, correlation, j as u32);
            best_cols.offer(j, correlation, i as u32);
        }
    }
}
