//! From strength to alarm: the first sight of something new is reported, then there is quiet.
//! In: a strength (0 = nothing, unit-free, unbounded) per sample. Out: the samples that deserve attention.
//! Called from: `watch`. The score is never touched here, and alarms never come from it.
//! Invariants: while quiet only what clearly exceeds the last alarm is reported.

use layer5_core::Direction;
use serde::{Deserialize, Serialize};

/// How much an alarm asks for attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth a line in a log.
    Notice,
    /// Worth a look today.
    Warning,
    /// Worth a look now.
    Critical,
}

impl Severity {
    /// Severity of a strength in `0 ..= 1`: halves and three quarters are the borders.
    pub fn of(strength: f64) -> Self {
        if strength >= 0.75 {
            Self::Critical
        } else if strength >= 0.5 {
            Self::Warning
        } else {
            Self::Notice
        }
    }
}

/// A sample that shows something not seen in this series' past.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// How new it is, in `(0, 1]`; comparable between series.
    pub strength: f64,
    /// The strength in words.
    pub severity: Severity,
    /// Side of the baseline.
    pub direction: Direction,
    /// Distance from the baseline, in the series' unit, `>= 0`.
    pub magnitude: f64,
    /// What would have been normal, in the series' unit.
    pub baseline: f64,
}

/// Keeps quiet after an alarm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Hush {
    left: u32,
    last: f32,
}

impl Hush {
    /// Decides on one sample. `least`: smallest strength that counts; `quiet_len`: samples of quiet after an alarm;
    /// `exceed`: factor over the last alarm that breaks the quiet. Returns whether to report.
    ///
    /// # Example
    /// ```
    /// use layer5_patterns::alarm::Hush;
    /// let mut hush = Hush::default();
    /// assert!(hush.admits(1.0, 0.5, 10, 2.0));
    /// assert!(!hush.admits(1.5, 0.5, 10, 2.0));
    /// assert!(hush.admits(2.5, 0.5, 10, 2.0));
    /// ```
    pub fn admits(&mut self, strength: f32, least: f32, quiet_len: u32, exceed: f32) -> bool {
        let quiet = self.left > 0;
        self.left = self.left.saturating_sub(1);
        if strength < least || (quiet && strength < exceed * self.last) {
            return false;
        }
        self.left = quiet_len;
        self.last = strength;
        true
    }
}
