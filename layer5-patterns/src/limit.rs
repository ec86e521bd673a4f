//! Time to breach: when a series on its present slope will meet a line it should not cross.
//! In: a [`Watch`], a [`Limit`] on the scale that is watched. Out: a [`Breach`] while the series heads there; one finding
//! for each approach. Called from: whoever knows limits; a watch knows none.
//! Notation: t the slope's ratio to its standard error. A slope is believed from `T_MIN` of `drift` on, which takes a day
//! of samples (of very fast series some 240 of them); a breach is forecast for the top of the confirmed cycles.
//! Invariants: `0 <= earliest <= seconds <= latest`; a series that is past its limit is no forecast.

use layer5_core::event::Detail;
use layer5_core::{Direction, Finding, PatternKind};
use serde::{Deserialize, Serialize};

use crate::watch::Watch;

/// Standard errors of the slope between the forecast and its ends: 95 in 100 lie between.
const Z_INTERVAL: f64 = 1.96;
/// An approach is over, and the next one told anew, when the breach is further than so many horizons.
const FORGET_HORIZONS: f64 = 2.0;

/// The forbidden side of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Values above the limit are bad, such as a full disk.
    Above,
    /// Values below it are, such as accuracy.
    Below,
}

/// A line that a series should not cross.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Where it lies, on the scale that is watched.
    pub value: f64,
    /// Which side is forbidden.
    pub side: Side,
    /// Breaches further ahead than this are not told, s.
    pub horizon_seconds: f64,
}

/// A limit that will be met if the present slope goes on; times from the newest sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Breach {
    /// Most likely, s.
    pub seconds: f64,
    /// With the slope as steep as it may be, s.
    pub earliest: f64,
    /// With the slope as flat as it may be, s.
    pub latest: f64,
    /// The series at the newest sample: the end of its line, and the furthest its cycles go on the limit's side.
    pub from: f64,
    /// Ratio of the slope to its standard error, positive.
    pub t: f64,
}

impl Watch {
    /// When the series will meet `limit` on its present slope; `None` while no slope is beyond chance, when it leads
    /// away, or when the series is past the limit already.
    ///
    /// # Cost
    /// O(1); some 50 slots are looked at where a cycle is known.
    ///
    /// # Example
    /// ```
    /// use layer5_core::Timestamp;
    /// use layer5_patterns::limit::{Limit, Side};
    /// use layer5_patterns::{Watch, WatchConfig};
    ///
    /// let config = WatchConfig::default();
    /// let mut watch = Watch::new(&config);
    /// for i in 0..600_i64 {
    ///     let used = 40.0 + 0.05 * i as f64 + ((i * 7919) % 101) as f64 / 50.0;
    ///     watch.update(used, Timestamp::from_millis(300_000 * i), &config);
    /// }
    /// let full = Limit { value: 90.0, side: Side::Above, horizon_seconds: 7.0 * 86_400.0 };
    /// // From about 71 percent, 0.6 an hour: 90 percent comes after some 32 hours.
    /// let breach = watch.breach(&full).expect("a slope");
    /// assert!((28.0..36.0).contains(&(breach.seconds / 3600.0)));
    /// assert!(breach.earliest < breach.seconds && breach.seconds < breach.latest);
    /// assert_eq!(watch.breach(&Limit { value: 20.0, side: Side::Below, ..full }), None);
    /// ```
    pub fn breach(&self, limit: &Limit) -> Option<Breach> {
        let line = self.line()?;
        let above = limit.side == Side::Above;
        let from = line.value + self.cycle_extreme(above);
        let room = limit.value - from;
        let towards = if above { 1.0 } else { -1.0 };
        if !(line.t > 0.0 && room * towards > 0.0 && line.per_second * towards > 0.0) {
            return None;
        }
        let seconds = room / line.per_second;
        let spread = Z_INTERVAL / line.t;
        let latest = seconds / (1.0 - spread).max(f64::EPSILON);
        latest.is_finite().then_some(Breach {
            seconds,
            earliest: seconds / (1.0 + spread),
            latest,
            from,
            t: line.t,
        })
    }
}

/// Tells each approach of one series to one limit once. Plain data; give it the same limit each time.
///
/// # Example
/// ```
/// use layer5_core::{PatternKind, Timestamp};
/// use layer5_patterns::limit::{Approach, Limit, Side};
/// use layer5_patterns::{Watch, WatchConfig};
///
/// let full = Limit { value: 90.0, side: Side::Above, horizon_seconds: 2.0 * 86_400.0 };
/// let (config, mut approach) = (WatchConfig::default(), Approach::default());
/// let (mut watch, mut told) = (Watch::new(&config), Vec::new());
/// for i in 0..900_i64 {
///     let used = 40.0 + 0.05 * i as f64 + ((i * 7919) % 101) as f64 / 50.0;
///     watch.update(used, Timestamp::from_millis(300_000 * i), &config);
///     told.extend(approach.step(&watch, &full));
/// }
/// assert_eq!(told.len(), 1);
/// assert_eq!(told[0].kind, PatternKind::ForecastBreach);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approach {
    told: bool,
}

impl Approach {
    /// To be called after each sample (or now and then); a finding when a breach first comes within the horizon.
    pub fn step(&mut self, watch: &Watch, limit: &Limit) -> Option<Finding> {
        let Some(breach) = watch.breach(limit) else {
            // A slope that is in doubt for a while is still the same approach.
            self.told &= watch.slope_in_doubt();
            return None;
        };
        if breach.seconds > FORGET_HORIZONS * limit.horizon_seconds {
            self.told = false;
        }
        if self.told || breach.seconds > limit.horizon_seconds {
            return None;
        }
        self.told = true;
        let at = watch.state().last_at?;
        Some(Finding {
            kind: PatternKind::ForecastBreach,
            detail: Detail::Breach {
                limit: limit.value,
                seconds: breach.seconds,
            },
            start: at,
            end: at,
            detected_at: at,
            score: 1.0 / (1.0 + breach.seconds / limit.horizon_seconds),
            confidence: 1.0 - (-0.5 * breach.t).exp(),
            direction: match limit.side {
                Side::Above => Direction::Up,
                Side::Below => Direction::Down,
            },
            magnitude: (limit.value - breach.from).abs(),
            baseline: breach.from,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WatchConfig;
    use layer5_core::Timestamp;

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
