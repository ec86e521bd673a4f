//! Samples that should have come and did not.
//! In: times of samples. Out: how unusual the time since the last one is. Called from: `watch`; usable alone.
//! Notation: spacing = seconds between samples; location and scale are of its logarithm, so 0.1 s beside 60 s is fine.
//! Invariants: equal times are no gap; a gap is judged before it is learnt.
//! Reference: `stats/robust`.

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::detector::Part;
use crate::stats::robust::RobustScale;

/// Samples before the usual spacing is known.
const WARM_UP: u32 = 32;
/// Memory of the spacing, in samples.
const ALPHA: f32 = 1.0 / 500.0;
/// Smallest scale of the log spacing that is believed: jitter of 15 %.
const SCALE_MIN: f32 = 0.15;
/// A gap is at least so many usual spacings.
const TIMES_MIN: f32 = 4.0;

/// Detector of missing samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// The earliest moment there is before the first sample.
    last_at: Timestamp,
    log_spacing: RobustScale,
    longest: f32,
}

impl Default for Gap {
    fn default() -> Self {
        Self {
            last_at: Timestamp::MIN,
            log_spacing: RobustScale::default(),
            longest: 0.0,
        }
    }
}

impl Gap {
    /// Usual seconds between samples; `None` before two different times.
    pub fn spacing_seconds(&self) -> Option<f64> {
        (self.log_spacing.n() > 0).then(|| f64::from(self.log_spacing.location().exp()))
    }

    /// Time of the newest sample.
    pub fn last_at(&self) -> Option<Timestamp> {
        (self.last_at > Timestamp::MIN).then_some(self.last_at)
    }

    /// How many scales the silence until `now` lies above the usual spacing; 0 while it is no gap.
    pub fn strangeness(&self, now: Timestamp) -> f32 {
        let Some(last) = self.last_at() else {
            return 0.0;
        };
        let seconds = now.seconds_since(last) as f32;
        if self.log_spacing.n() < WARM_UP || seconds <= 0.0 {
            return 0.0;
        }
        let above = seconds.ln() - self.log_spacing.location();
        if above < TIMES_MIN.ln() || seconds < 1.5 * self.longest {
            return 0.0;
        }
        above / self.log_spacing.scale().max(SCALE_MIN)
    }

    /// Takes the time of a sample in.
    pub(crate) fn step(&mut self, at: Timestamp) {
        if let Some(last) = self.last_at() {
            let seconds = at.seconds_since(last) as f32;
            if seconds > 0.0 {
                self.log_spacing.update(seconds.ln(), ALPHA, 3.0);
                // The longest silence fades: half after some 7000 samples.
                self.longest = (self.longest * 0.9999).max(if self.log_spacing.n() < WARM_UP {
                    0.0
                } else {
                    seconds.min(4.0 * self.longest.max(seconds * 0.25))
                });
            }
        }
        self.last_at = at;
    }
}

impl Part for Gap {
    // The first sample has no spacing before it.
    const WARM_UP: u32 = WARM_UP + 1;

    fn score(&mut self, _value: f64, _origin: &mut f64, at: Timestamp) -> f64 {
        let strangeness = self.strangeness(at);
        self.step(at);
        // Twice the Gaussian tail would underflow; this falls in the same order.
        1.0 - f64::from(-strangeness).exp()
    }
}
