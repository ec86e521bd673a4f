//! A value that repeats where it used to vary.
//! In: samples. Out: length and improbability of the current run of equal values. Called from: `watch`; usable alone.
//! Notation: r the share of samples that repeat the one before, k the length of the run (repeats).
//! Invariants: a series that always was constant is never a flatline; counts that often repeat need long runs.
//! Reference: run lengths of a Bernoulli process, P(run >= k) = r^k.

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::detector::Part;

/// Fewest repeats that can be a flatline.
const RUN_MIN: u16 = 6;
/// Weight of the newest sample in the share of repeats.
const ALPHA: f32 = 1.0 / 2000.0;
/// A run must be this many times the longest one before.
const LONGER_THAN_EVER: u16 = 2;

/// Detector of stuck values, of a series whose samples are counted elsewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Flatline {
    value: f64,
    repeat_share: f32,
    run: u16,
    longest: u16,
}

impl Flatline {
    /// Takes the `n`-th value in, `n` from 1; returns `-ln P` of the current run under the past, 0 where nothing is special.
    pub(crate) fn step(&mut self, value: f64, n: u32) -> f32 {
        let repeats = value == self.value;
        self.value = value;
        if n <= 1 {
            return 0.0;
        }
        if repeats {
            self.run = self.run.saturating_add(1);
        } else {
            // The run that ended was part of life; a very long one counts once, not per sample.
            let once = self.longest.max(RUN_MIN).saturating_mul(4);
            self.longest = self.longest.max(self.run.min(once));
            self.run = 0;
        }
        let weight = ALPHA.max(1.0 / n as f32);
        self.repeat_share += weight * (f32::from(u8::from(repeats)) - self.repeat_share);
        if self.run < RUN_MIN.max(self.longest.saturating_mul(LONGER_THAN_EVER)) {
            return 0.0;
        }
        // One repeat more than seen, as in Laplace's rule.
        let share = (self.repeat_share + 1.0 / n.min(2000) as f32).min(1.0);
        -f32::from(self.run) * share.ln()
    }

    /// The newest value; 0 before the first.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Samples that repeated the value before them, up to the newest; more than 65 535 are as many.
    pub fn run(&self) -> u16 {
        self.run
    }
}

/// A [`Flatline`] that counts its samples itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct FlatlineAlone {
    n: u32,
    flatline: Flatline,
}

impl Part for FlatlineAlone {
    const WARM_UP: u32 = 64;

    fn score(&mut self, value: f64, _origin: &mut f64, _at: Timestamp) -> f64 {
        self.n = self.n.saturating_add(1);
        1.0 - f64::from(-self.flatline.step(value, self.n)).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surprise(values: impl Iterator<Item = f64>) -> f32 {
        let mut flat = Flatline::default();
        let counted = values.zip(1..);
        counted.map(|(v, n)| flat.step(v, n)).last().unwrap_or(0.0)
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
