//! From strength to alarm: the first sight of something new is reported, then there is quiet.
//! In: a strength (0 = nothing, unit-free, unbounded) per sample. Out: the samples that deserve attention.
//! Called from: `watch`. The score is never touched here, and alarms never come from it.
//! Two bars must be reached: that of the last alarm, which sinks within hours ([`Hush`]), and one that moves until alarms
//! come as often as is stated ([`Pace`]), whatever the law of the series.
//! Invariants: what does not reach a bar does not raise it.
//! Reference: adaptive conformal inference, Gibbs and Candes (2021), NeurIPS 34, <https://arxiv.org/abs/2106.00170>.

use layer5_core::Direction;
use serde::{Deserialize, Serialize};

use crate::watch::direction;

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

impl Alarm {
    /// The alarm of an unbounded `strength`, at a signed `distance` from what would have been normal.
    pub(crate) fn of(strength: f32, distance: f64, baseline: f64) -> Self {
        let strength = 1.0 - f64::from(-strength).exp();
        Self {
            strength,
            severity: Severity::of(strength),
            direction: direction(distance),
            magnitude: distance.abs(),
            baseline,
        }
    }
}

/// Alarms due by which half of the largest step is taken: before a few were due nobody knows how often they come.
const DUE_HALF: f32 = 2.5;
/// Largest step of the logarithm of the bar: what one alarm raises it by.
const STEP_MAX: f32 = 0.5;
/// How far the logarithm of the bar may go: an outage with many alarms must not make a watch deaf.
const LOWEST: f32 = -2.5;
const HIGHEST: f32 = 1.0;

/// Keeps alarms at a stated rate in the long run: the bar sinks a little with each sample and rises with each alarm, and
/// stands still where the two meet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Logarithm of what the bar is multiplied with.
    height: f32,
}

impl Pace {
    /// Lets the `n`-th sample pass, of which each is due `rate` alarms; returns what the bar is multiplied with.
    ///
    /// # Example
    /// ```
    /// use layer5_patterns::alarm::Pace;
    /// let mut pace = Pace::default();
    /// // One of 100 samples is to be an alarm; strengths are such that at the first bar one of 7 would be.
    /// let strength = |n: u32| ((n * 7919) % 1009) as f32 / 1009.0;
    /// let mut alarms = 0;
    /// for n in 0..20_000 {
    ///     let high = 0.85 * pace.pass(n, 0.01);
    ///     if strength(n) >= high {
    ///         pace.alarmed(n, 0.01);
    ///         alarms += u32::from(n >= 10_000);
    ///     }
    /// }
    /// assert!((90..=110).contains(&alarms), "{alarms}");
    /// ```
    pub fn pass(&mut self, n: u32, rate: f32) -> f32 {
        self.height = (self.height - rate * step(n, rate)).max(LOWEST);
        self.height.exp()
    }

    /// Takes notice of an alarm with the `n`-th sample.
    pub fn alarmed(&mut self, n: u32, rate: f32) {
        self.height = (self.height + step(n, rate)).min(HIGHEST);
    }
}

fn step(n: u32, rate: f32) -> f32 {
    let due = n as f32 * rate;
    STEP_MAX * due * due / (due * due + DUE_HALF * DUE_HALF)
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
