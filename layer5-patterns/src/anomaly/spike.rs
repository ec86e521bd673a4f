//! One value far off where the series has been: a robust distance and its tail probability.
//! In: samples. Out: the probability of a value this far out. Called from: `watch`; usable alone.
//! Invariants: a value moves the location by at most `CLIP * ALPHA` scales, so a spike poisons nothing.
//! Reference: `stats/robust`, `stats/tail`.

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::detector::{Detector, Outcome, admit};
use crate::stats::robust::RobustScale;
use crate::stats::tail::Tail;

/// Memory of location and scale: some 200 samples, two thirds of a day of five-minute samples.
const ALPHA: f32 = 1.0 / 200.0;
/// Residuals count at most this many scales (Huber's k for a scale that must not follow outliers).
const CLIP: f32 = 3.0;
/// Samples before a tail probability means anything.
const WARM_UP: u32 = 64;
/// Distances are cut here, in scales.
const Z_MAX: f32 = 1e4;

/// Detector of spikes and dips.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spike {
    scale: RobustScale,
    tail: Tail,
    origin: f64,
    last_at: Option<Timestamp>,
}

impl Default for Spike {
    fn default() -> Self {
        Self {
            scale: RobustScale::default(),
            tail: Tail::default(),
            origin: 0.0,
            last_at: None,
        }
    }
}

impl Detector for Spike {
    fn update(&mut self, value: f64, at: Timestamp) -> Outcome {
        if let Err(refusal) = admit(value, at, self.last_at) {
            return Outcome::Refused(refusal);
        }
        if self.last_at.is_none() {
            self.origin = value;
        }
        self.last_at = Some(at);
        let x = narrow(value - self.origin);
        let outcome = if self.scale.n() < WARM_UP {
            Outcome::WarmUp {
                needed: WARM_UP - self.scale.n(),
            }
        } else {
            let z = self.scale.z(x, Z_MAX).abs();
            let p = self.tail.p(z);
            self.tail.update(z);
            Outcome::Score(1.0 - f64::from(p))
        };
        self.scale.update(x, ALPHA, CLIP);
        outcome
    }

    fn warm_up(&self) -> u32 {
        WARM_UP
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// A difference as `f32`, cut to where squares of it stay finite.
pub(crate) fn narrow(x: f64) -> f32 {
    x.clamp(-1e18, 1e18) as f32
}
