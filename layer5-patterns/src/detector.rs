//! What every streaming detector has in common: one sample in, one [`Outcome`] out.
//! In: value and time of one sample. Out: a score, the samples still missing for one, or why it was refused.
//! Called from: `watch`, the contract tests and anyone who wants one detector alone.
//! Invariants: updates are total, causal and deterministic, do not allocate, and a refused sample changes nothing.

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

/// The answer to one sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Outcome {
    /// No score yet: so many samples are still missing.
    WarmUp {
        /// Samples still needed, at least 1.
        needed: u32,
    },
    /// Strangeness in `0 ..= 1`: one minus the share of this series' own past that was at least as strange.
    Score(f64),
    /// The sample was not taken; the state is what it was.
    Refused(Refusal),
}

impl Outcome {
    /// The score, when there is one.
    pub fn score(self) -> Option<f64> {
        match self {
            Self::Score(score) => Some(score),
            _ => None,
        }
    }
}

/// Why a sample was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// The value is not a number or infinite.
    NotFinite,
    /// The sample is older than one already taken. (The same time twice is accepted.)
    Late,
}

/// A scorer of one series, one sample at a time.
///
/// # Example
/// ```
/// use layer5_core::Timestamp;
/// use layer5_patterns::anomaly::spike::Spike;
/// use layer5_patterns::{Alone, Detector, Outcome};
///
/// let mut spike = Alone::<Spike>::default();
/// for i in 0..200 {
///     spike.update(f64::from(i % 5), Timestamp::from_millis(1000 * i64::from(i)));
/// }
/// let Outcome::Score(score) = spike.update(40.0, Timestamp::from_millis(200_000)) else {
///     panic!("warm after 200 samples");
/// };
/// assert!(score > 0.9999);
/// ```
pub trait Detector {
    /// Takes one sample in and judges it against the past.
    fn update(&mut self, value: f64, at: Timestamp) -> Outcome;
    /// Samples needed before the first score.
    fn warm_up(&self) -> u32;
    /// Forgets everything; the detector is as new.
    fn reset(&mut self);
}

/// One idea of the watch, without the bookkeeping that the watch does once for all of them.
pub trait Part: Default {
    /// Samples before its score means anything.
    const WARM_UP: u32;

    /// Judges and learns a checked sample; higher is stranger, `0 ..= 1`. `origin`: what values are taken relative
    /// to; the first value of the series, moved by a part that has found a new level.
    fn score(&mut self, value: f64, origin: &mut f64, at: Timestamp) -> f64;
}

/// A part by itself: refuses what must not enter, counts the warm-up, and is a [`Detector`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Alone<P> {
    part: P,
    origin: f64,
    last_at: Option<Timestamp>,
    n: u32,
}

impl<P: Part> Detector for Alone<P> {
    fn update(&mut self, value: f64, at: Timestamp) -> Outcome {
        if let Err(refusal) = admit(value, at, self.last_at) {
            return Outcome::Refused(refusal);
        }
        if self.last_at.is_none() {
            self.origin = value;
        }
        self.last_at = Some(at);
        let score = self.part.score(value, &mut self.origin, at);
        if self.n < P::WARM_UP {
            let needed = P::WARM_UP - self.n;
            self.n += 1;
            return Outcome::WarmUp { needed };
        }
        Outcome::Score(score)
    }

    fn warm_up(&self) -> u32 {
        P::WARM_UP
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Shared first step of every detector: the sample can be taken, or why not.
pub(crate) fn admit(value: f64, at: Timestamp, last_at: Option<Timestamp>) -> Result<(), Refusal> {
    if !value.is_finite() {
        return Err(Refusal::NotFinite);
    }
    match last_at {
        Some(last) if at < last => Err(Refusal::Late),
        _ => Ok(()),
    }
}
