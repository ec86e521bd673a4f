//! A change of the mean, found while the samples arrive: functional online CUSUM (FOCuS).
//! In: standardised values (mean 0, variance 1 while nothing changes). Out: the log-likelihood ratio of the best
//! change so far and where it would lie. Called from: `watch`; usable alone as [`Focus`].
//! Notation: S_t the sum of the first t values; a candidate is a point (tau, S_tau); the statistic of an upward
//! change at tau is (S_t - S_tau)^2 / (t - tau), where S_t > S_tau.
//! Invariants: candidates are corners of the convex hull of the path, oldest first; at most `CANDIDATES` a side, of
//! which the oldest is given up first (a hull of n points has about ln n corners, so this limits runs beyond e^12).
//! Reference: Romano, Eckley, Fearnhead and Rigaill (2023), JMLR 24(81), algorithm 2, known pre-change mean.

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::anomaly::spike::narrow;
use crate::detector::Part;
use crate::stats::robust::RobustScale;

/// Corners kept a side.
const CANDIDATES: usize = 12;
/// Samples before mean and scale stand for the regime.
const WARM_UP: u32 = 64;
/// Values count at most this many scales: a spike alone is no change of the mean.
const CLIP: f32 = 3.0;

/// One side's hull.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Side {
    corners: [(u32, f32); CANDIDATES],
    len: u8,
}

impl Side {
    /// Adds the point before the newest value and returns (statistic, tau) of the best upward change.
    /// `t`, `sum`: after the newest value. `oldest`: candidates before it are given up.
    fn step(&mut self, point: (u32, f32), t: u32, sum: f32, oldest: u32) -> (f32, u32) {
        let mut len = usize::from(self.len);
        // Lower hull: slopes between corners rise; a corner on or above the chord goes.
        while len >= 2 {
            let (a, b) = (self.corners[len - 2], self.corners[len - 1]);
            let left = (b.1 - a.1) * (point.0 - b.0) as f32;
            let right = (point.1 - b.1) * (b.0 - a.0) as f32;
            if left < right {
                break;
            }
            len -= 1;
        }
        let drop_from = self.corners[..len]
            .iter()
            .position(|c| c.0 >= oldest)
            .unwrap_or(len);
        let drop_from = drop_from.max((len + 1).saturating_sub(CANDIDATES));
        if drop_from > 0 {
            self.corners.copy_within(drop_from..len, 0);
            len -= drop_from;
        }
        self.corners[len] = point;
        len += 1;
        self.len = len as u8;
        let mut best = (0.0, t);
        for &(tau, s) in &self.corners[..len] {
            let rise = sum - s;
            let statistic = rise * rise / (t - tau) as f32;
            if rise > 0.0 && statistic > best.0 {
                best = (statistic, tau);
            }
        }
        best
    }
}

/// The best change so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Twice the log-likelihood ratio against no change; chi-square-like for one candidate.
    pub statistic: f32,
    /// Samples since the change.
    pub run: u32,
    /// Whether the mean rose.
    pub up: bool,
}

/// FOCuS for values with mean 0 and variance 1 before the change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Hull {
    t: u32,
    sum: f32,
    up: Side,
    down: Side,
}

impl Hull {
    /// Takes a standardised value in. `run_max`: changes longer ago are not considered.
    ///
    /// # Cost
    /// O(corners), about ln n, at most 24.
    ///
    /// # Example
    /// ```
    /// use layer5_patterns::change_point::online::Hull;
    /// let mut hull = Hull::default();
    /// for i in 0..100 {
    ///     hull.step(if i % 2 == 0 { 1.0 } else { -1.0 }, u32::MAX);
    /// }
    /// for _ in 0..9 {
    ///     hull.step(2.0, u32::MAX);
    /// }
    /// let change = hull.step(2.0, u32::MAX);
    /// assert!(change.up && (10..=11).contains(&change.run) && change.statistic > 30.0);
    /// ```
    pub fn step(&mut self, value: f32, run_max: u32) -> Change {
        if self.t == u32::MAX || !self.sum.is_finite() || self.sum.abs() > 1e6 {
            *self = Self::default();
        }
        let before = (self.t, self.sum);
        self.t += 1;
        self.sum += value;
        let oldest = self.t.saturating_sub(run_max);
        let up = self.up.step(before, self.t, self.sum, oldest);
        let down = self
            .down
            .step((before.0, -before.1), self.t, -self.sum, oldest);
        let (best, is_up) = if up.0 >= down.0 {
            (up, true)
        } else {
            (down, false)
        };
        Change {
            statistic: best.0,
            run: self.t - best.1,
            up: is_up,
        }
    }
}

/// Change of the mean of a series of unknown location and scale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Focus {
    regime: RobustScale,
    hull: Hull,
}

impl Part for Focus {
    const WARM_UP: u32 = WARM_UP;

    /// One minus `exp(-statistic / 2)`, with the first samples as the regime that may change.
    fn score(&mut self, value: f64, origin: &mut f64, _at: Timestamp) -> f64 {
        let x = narrow(value - *origin);
        if self.regime.n() < WARM_UP {
            self.regime.update(x, 1e-4, CLIP);
            return 0.0;
        }
        let change = self.hull.step(self.regime.z(x, CLIP), u32::MAX);
        1.0 - f64::from(-0.5 * change.statistic).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The statistic by trying every change, as the definition says.
    fn exhaustive(values: &[f32]) -> f32 {
        let mut best: f32 = 0.0;
        let mut sum = 0.0;
        for (k, v) in values.iter().rev().enumerate() {
            sum += v;
            best = best.max(sum * sum / (k + 1) as f32);
        }
        best
    }

    proptest! {
        #[test]
        fn hull_agrees_with_trying_every_change(values in prop::collection::vec(-3i8..=3, 1..120)) {
            let values: Vec<f32> = values.into_iter().map(f32::from).collect();
            let mut hull = Hull::default();
            for end in 1..=values.len() {
                let found = hull.step(values[end - 1], u32::MAX);
                let all = exhaustive(&values[..end]);
                // Small whole numbers: sums are exact, one division rounds.
                prop_assert!((found.statistic - all).abs() <= 1e-4 * all.max(1.0), "{} {}", found.statistic, all);
            }
        }
    }

    #[test]
    fn finds_where_the_mean_changed() {
        let mut hull = Hull::default();
        for i in 0..200 {
            hull.step([0.5, -1.0, 1.0, -0.5][i % 4], u32::MAX);
        }
        let mut change = hull.step(-2.0, u32::MAX);
        for _ in 0..5 {
            change = hull.step(-2.0, u32::MAX);
        }
        assert!(!change.up && change.run.abs_diff(6) <= 1, "{change:?}");
    }
}
