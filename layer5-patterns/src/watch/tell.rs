//! Findings in the words of [`layer5_core::Finding`]: what each part of a watch found, with its time, size and chance.
//! In: a step, a slope, a cycle, a spread, a run. Out: findings in the series' unit. Called from: [`super::Watch::update`].
//! Invariants: scores and confidences lie in `0 ..= 1`; what is told began before it was told.

use layer5_core::event::Detail;
use layer5_core::{Direction, Finding, PatternKind, Timestamp};

use super::{WARM_UP, Watch, WatchConfig};
use crate::change_point::shift::Step;
use crate::change_point::variability::Rescaled;
use crate::drift::Slope;

impl Watch {
    /// The silence until `now`, when it is long for this series: for the caller's clock, and at each sample.
    pub fn missing(&self, now: Timestamp, config: &WatchConfig) -> Option<Finding> {
        let strangeness = self.gap.strangeness(now);
        if f64::from(strangeness) < config.gap_scales {
            return None;
        }
        let start = self.gap.last_at()?;
        let seconds = now.seconds_since(start);
        Some(Finding {
            kind: PatternKind::Anomaly,
            detail: Detail::Missing { seconds },
            start,
            end: now,
            detected_at: now,
            score: f64::from(strangeness / (strangeness + 3.0)),
            confidence: 1.0 - f64::from(-strangeness).exp(),
            direction: Direction::None,
            magnitude: 0.0,
            baseline: self.flatline.value(),
        })
    }

    pub(super) fn changed(&self, step: Step, at: Timestamp, spacing: f64) -> Finding {
        let height = f64::from(step.height);
        Finding {
            kind: PatternKind::ChangePoint,
            detail: Detail::Level,
            start: at.plus_seconds(-spacing * f64::from(step.back)),
            end: at,
            detected_at: at,
            score: improbability(step.p),
            confidence: confidence(step.p),
            direction: direction(height),
            magnitude: height.abs(),
            baseline: self.origin + f64::from(step.before),
        }
    }

    pub(super) fn rescaled(&self, change: Rescaled, at: Timestamp, spacing: f64) -> Finding {
        let grown = f64::from(change.after) - f64::from(change.before);
        Finding {
            kind: PatternKind::ChangePoint,
            detail: Detail::Variance,
            start: at.plus_seconds(-spacing * f64::from(change.back)),
            end: at,
            detected_at: at,
            score: improbability(change.p),
            confidence: confidence(change.p),
            direction: direction(grown),
            magnitude: grown.abs(),
            baseline: self.origin + f64::from(self.shift.level().location()),
        }
    }

    pub(super) fn seasonal(&self, seconds: f64, at: Timestamp) -> Finding {
        let share = f64::from(self.profile.explained());
        Finding {
            kind: PatternKind::Seasonality,
            detail: Detail::Period { seconds },
            start: at.plus_seconds(-2.0 * seconds),
            end: at,
            detected_at: at,
            score: share,
            confidence: 0.5 + 0.5 * share,
            direction: Direction::None,
            magnitude: f64::from(self.profile.amplitude()),
            baseline: self.origin + f64::from(self.shift.level().location()),
        }
    }

    pub(super) fn drifting(&self, slope: Slope, at: Timestamp, spacing: f64) -> Finding {
        let seconds = spacing * f64::from(slope.span);
        let samples_per_hour = if spacing > 0.0 { 3600.0 / spacing } else { 0.0 };
        let per_hour = f64::from(slope.per_sample) * samples_per_hour;
        let t = f64::from(slope.t.abs());
        let base = Finding {
            kind: PatternKind::Trend,
            detail: Detail::Rate { per_hour },
            start: at.plus_seconds(-seconds),
            end: at,
            detected_at: at,
            score: t / (t + 7.0),
            confidence: 1.0 - (-0.5 * t).exp(),
            direction: direction(per_hour),
            magnitude: per_hour.abs(),
            baseline: self.origin + f64::from(self.shift.level().location() - slope.rise),
        };
        let Some(before) = slope.before else {
            return base;
        };
        let change = per_hour - f64::from(before) * samples_per_hour;
        Finding {
            kind: PatternKind::ChangePoint,
            detail: Detail::Slope,
            direction: direction(change),
            magnitude: change.abs(),
            ..base
        }
    }

    pub(super) fn stuck(
        &mut self,
        value: f64,
        n: u32,
        at: Timestamp,
        spacing: f64,
        config: &WatchConfig,
    ) -> Option<Finding> {
        let surprise = f64::from(self.flatline.step(value, n));
        if self.flatline.run() == 0 {
            self.flat_reported = false;
        }
        if self.flat_reported || n <= WARM_UP || surprise < -config.flatline_p.ln() {
            return None;
        }
        self.flat_reported = true;
        Some(Finding {
            kind: PatternKind::Template,
            detail: Detail::Flatline,
            start: at.plus_seconds(-spacing * f64::from(self.flatline.run())),
            end: at,
            detected_at: at,
            score: surprise / (surprise + 18.0),
            confidence: 1.0 - (-0.25 * surprise).exp(),
            direction: Direction::None,
            magnitude: 0.0,
            baseline: value,
        })
    }
}

/// A value that the tail of its past does not expect.
pub(super) fn strange(p: f32, at: Timestamp, distance: f64, baseline: f64) -> Finding {
    Finding {
        kind: PatternKind::Anomaly,
        detail: Detail::Plain,
        start: at,
        end: at,
        detected_at: at,
        score: improbability(p),
        confidence: confidence(p),
        direction: direction(distance),
        magnitude: distance.abs(),
        baseline,
    }
}

/// Which way a signed distance goes.
pub(crate) fn direction(x: f64) -> Direction {
    if x > 0.0 {
        Direction::Up
    } else if x < 0.0 {
        Direction::Down
    } else {
        Direction::None
    }
}

/// A probability as a score in `0 ..= 1`: 1e-10 and below is 1.
fn improbability(p: f32) -> f64 {
    (-f64::from(p).log10() / 10.0).clamp(0.0, 1.0)
}

/// Chance that 10 000 quiet samples would not have shown this.
fn confidence(p: f32) -> f64 {
    (1.0 - 1e4 * f64::from(p)).clamp(0.0, 1.0)
}
