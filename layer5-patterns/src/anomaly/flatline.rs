//! A value that repeats where it used to vary.
//! In: samples. Out: length and improbability of the current run of equal values. Called from: `watch`; usable alone.
//! Notation: r the share of samples that repeat the one before, k the length of the run (repeats).
//! Invariants: a series that always was constant is never a flatline; counts that often repeat need long runs.
//! Reference: run lengths of a Bernoulli process, P(run >= k) = r^k.

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::detector::Part;

/// Fewest repeats that can be a flatline.
const RUN_MIN: u32 = 6;
/// Weight of the newest sample in the share of repeats.
const ALPHA: f32 = 1.0 / 2000.0;
/// A run must be this many times the longest one before.
const LONGER_THAN_EVER: u32 = 2;

/// Detector of stuck values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Flatline {
    value: f64,
    repeat_share: f32,
    n: u32,
    run: u32,
    longest: u32,
}

impl Flatline {
    /// Takes a checked value in; returns `-ln P` of the current run under the past, 0 where nothing is special.
    pub(crate) fn step(&mut self, value: f64) -> f32 {
        self.n = self.n.saturating_add(1);
        if self.n == 1 {
            self.value = value;
            return 0.0;
        }
        let repeats = value == self.value;
        self.value = value;
        if repeats {
            self.run += 1;
        } else {
            // The run that ended was part of life; a very long one counts once, not per sample.
            self.longest = self
                .longest
                .max(self.run.min(4 * self.longest.max(RUN_MIN)));
            self.run = 0;
        }
        let weight = ALPHA.max(1.0 / self.n as f32);
        self.repeat_share += weight * (f32::from(u8::from(repeats)) - self.repeat_share);
        if self.run < RUN_MIN.max(LONGER_THAN_EVER * self.longest) {
            return 0.0;
        }
        // One repeat more than seen, as in Laplace's rule.
        let share = (self.repeat_share + 1.0 / self.n.min(2000) as f32).min(1.0);
        -(self.run as f32) * share.ln()
    }

    /// The newest value; 0 before the first.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Samples that repeated the value before them, up to the newest.
    pub fn run(&self) -> u32 {
        self.run
    }
}

impl Part for Flatline {
    const WARM_UP: u32 = 64;

    fn score(&mut self, value: f64, _origin: &mut f64, _at: Timestamp) -> f64 {
        1.0 - f64::from(-self.step(value)).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surprise(values: impl Iterator<Item = f64>) -> f32 {
        let mut flat = Flatline::default();
        values.map(|v| flat.step(v)).last().unwrap_or(0.0)
    }

    #[test]
    fn always_constant_is_never_special() {
        assert!(surprise((0..1000).map(|_| 3.0)) < 1.0);
    }

    #[test]
    fn stuck_after_variation_is_special() {
        let stuck = (0..300).map(f64::from).chain((0..10).map(|_| 7.5));
        assert!(surprise(stuck) > 20.0);
    }

    #[test]
    fn counts_that_repeat_need_long_runs() {
        let coin = |i: i32| f64::from((i * i / 7) % 2);
        assert!(surprise((0..500).map(coin).chain((0..8).map(|_| 1.0))) < 18.0);
    }
}
