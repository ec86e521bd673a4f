//! One checked value of one series: what every room behind validation works on.
//! Invariants: `value` is finite and in the series' unit.

use serde::{Deserialize, Serialize};

use crate::{SeriesId, Timestamp};

/// How far a sample can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[repr(u8)]
pub enum Quality {
    /// Inside the catalogue's range, or of a metric without one.
    #[default]
    Good = 0,
    /// Finite, but outside the range that the catalogue gives its metric (shape B only).
    Suspect = 1,
}

/// A checked value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When it was read, by the sender's clock.
    pub at: Timestamp,
    /// Finite, in the series' unit.
    pub value: f64,
    /// The series it belongs to.
    pub series: SeriesId,
    /// How far it can be trusted.
    pub quality: Quality,
}
