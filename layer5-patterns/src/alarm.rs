//! From strength to alarm: the first sight of something new is reported, then there is quiet.
//! In: a strength (0 = nothing, unit-free, unbounded) per sample. Out: the samples that deserve attention.
//! Called from: `watch`. The score is never touched here, and alarms never come from it.
//! Invariants: what does not reach the bar leaves it where it is.

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

/// Keeps quiet after an alarm: each alarm sets a bar that the next must reach, and the bar sinks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Hush {
    bar: f32,
}

impl Hush {
    /// Lets one sample pass; after `quiet_len` of them the bar is half as high.
    pub fn sink(&mut self, quiet_len: u32) {
        // One less ln 2 / (n + 0.35) is the n-th root of a half, to within 1 / n squared.
        self.bar *= 1.0 - std::f32::consts::LN_2 / (quiet_len.max(1) as f32 + 0.35);
    }

    /// Whether to report this strength, which sets the bar `exceed` times as high if so.
    ///
    /// # Example
    /// ```
    /// use layer5_patterns::alarm::Hush;
    /// let mut hush = Hush::default();
    /// assert!(hush.admits(1.0, 2.0));
    /// assert!(!hush.admits(1.5, 2.0));
    /// assert!(hush.admits(2.5, 2.0));
    /// for _ in 0..10 {
    ///     hush.sink(10);
    /// }
    /// assert!(hush.admits(2.6, 2.0));
    /// ```
    pub fn admits(&mut self, strength: f32, exceed: f32) -> bool {
        let admitted = strength >= self.bar;
        if admitted {
            self.bar = exceed * strength;
        }
        admitted
    }
}
