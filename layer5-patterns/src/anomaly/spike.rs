//! One value far off where the series has been: a robust distance and its tail probability.
//! In: samples. Out: the probability of a value this far out. Called from: `watch`; usable alone.
//! Invariants: a value moves the location by at most `CLIP * ALPHA` scales, so a spike poisons nothing.
//! Reference: `stats/robust`, `stats/tail`.

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::detector::Part;
use crate::stats::robust::RobustScale;
use crate::stats::tail::Tail;

/// Memory of location and scale: some 200 samples, two thirds of a day of five-minute samples.
const ALPHA: f32 = 1.0 / 200.0;
/// Residuals count at most this many scales (Huber's k for a scale that must not follow outliers).
const CLIP: f32 = 3.0;
/// Distances are cut here, in scales.
const Z_MAX: f32 = 1e4;

/// Detector of spikes and dips.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spike {
    scale: RobustScale,
    tail: Tail,
}

impl Part for Spike {
    const WARM_UP: u32 = 64;

    fn score(&mut self, value: f64, origin: &mut f64, _at: Timestamp) -> f64 {
        let x = narrow(value - *origin);
        let z = self.scale.z(x, Z_MAX).abs();
        let p = self.tail.p(z);
        if self.scale.n() >= Self::WARM_UP / 2 {
            self.tail.update(z);
        }
        self.scale.update(x, ALPHA, CLIP);
        1.0 - f64::from(p)
    }
}

/// A difference as `f32`, cut to where squares of it stay finite.
pub(crate) fn narrow(x: f64) -> f32 {
    x.clamp(-1e18, 1e18) as f32
}
