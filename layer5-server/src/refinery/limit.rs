//! Limits told ahead: a series on its present slope will meet a line that it should not cross.
//! In: a [`Watch`], which knows the slope, and a [`Limit`] on the scale that is watched. Out: one finding for each
//! approach. Called from: [`super::asked`].
//! Invariants: a series that is past its limit is no forecast; an approach is told once, however its forecast wavers.

use layer5_core::{Direction, Finding, PatternKind, event::Detail};
use layer5_patterns::Watch;
use serde::{Deserialize, Serialize};

/// An approach is over, and the next one told anew, when the breach is further than so many horizons ...
const FORGET_HORIZONS: f64 = 2.0;
/// ... or when for so many samples no slope has led to the limit: a slope that is in doubt for a while is still the same.
const FORGET_LEN: u16 = 240;
/// Least confidence of a slope that a watch tells: it is six standard errors from none (`drift`).
const CONFIDENCE: f64 = 0.95;

/// The forbidden side of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// Values above the limit are bad, such as a full disk.
    Above,
    /// Values below it are, such as accuracy.
    Below,
}

/// A line that a series should not cross.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Where it lies.
    pub value: f64,
    /// Which side is forbidden.
    pub side: Side,
    /// Breaches further ahead than this are not told, s.
    pub horizon_seconds: f64,
}

/// Tells each approach of one series to one limit once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approach {
    told: bool,
    /// Samples without a forecast.
    quiet: u16,
}

impl Approach {
    /// To be called after each sample; a finding when a breach first comes within the horizon.
    pub fn step(&mut self, watch: &Watch, limit: &Limit) -> Option<Finding> {
        let state = watch.state();
        let (is_ahead, direction) = match limit.side {
            Side::Above => (state.level < limit.value, Direction::Up),
            Side::Below => (state.level > limit.value, Direction::Down),
        };
        let breach = watch.seconds_until(limit.value).filter(|_| is_ahead);
        let Some(seconds) = breach else {
            self.quiet = self.quiet.saturating_add(1);
            self.told &= self.quiet < FORGET_LEN;
            return None;
        };
        self.quiet = 0;
        self.told &= seconds <= FORGET_HORIZONS * limit.horizon_seconds;
        if self.told || seconds > limit.horizon_seconds {
            return None;
        }
        self.told = true;
        let at = state.last_at?;
        Some(Finding {
            kind: PatternKind::ForecastBreach,
            detail: Detail::Breach {
                limit: limit.value,
                seconds,
            },
            start: at,
            end: at,
            detected_at: at,
            score: 1.0 / (1.0 + seconds / limit.horizon_seconds),
            confidence: CONFIDENCE,
            direction,
            magnitude: (limit.value - state.level).abs(),
            baseline: state.level,
        })
    }
}

#[cfg(test)]
mod tests {
    use layer5_core::Timestamp;
    use layer5_patterns::WatchConfig;

    use super::*;

    /// Fills twice, with an emptying between.
    fn used(i: i64) -> f64 {
        let wiggle = ((i * 7919) % 101) as f64 / 50.0;
        40.0 + 0.05 * (i % 1500) as f64 + wiggle
    }

    #[test]
    fn each_approach_is_told_once_and_ahead() {
        let limit = Limit {
            value: 90.0,
            side: Side::Above,
            horizon_seconds: 86_400.0,
        };
        let below = Limit {
            value: 20.0,
            side: Side::Below,
            ..limit
        };
        let config = WatchConfig::default();
        let (mut watch, mut up, mut down) = (
            Watch::new(&config),
            Approach::default(),
            Approach::default(),
        );
        let mut told = Vec::new();
        for i in 0..3000_i64 {
            watch.update(used(i), Timestamp::from_millis(300_000 * i), &config);
            told.extend(up.step(&watch, &limit).map(|finding| (i, finding)));
            assert_eq!(down.step(&watch, &below), None);
        }
        // 90 is reached at 1000 and 2500; a day ahead is 288 samples earlier.
        let at: Vec<i64> = told.iter().map(|(i, _)| *i).collect();
        assert_eq!(at.len(), 2, "{at:?}");
        assert!(
            (690..=990).contains(&at[0]) && (2190..=2490).contains(&at[1]),
            "{at:?}"
        );
        for (_, finding) in told {
            assert_eq!(finding.kind, PatternKind::ForecastBreach);
            assert!(finding.baseline < 90.0 && finding.magnitude > 0.0);
        }
    }
}
