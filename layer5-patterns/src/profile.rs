//! What is normal at this time of day and of the week, learnt as the samples arrive.
//! In: times and values relative to an origin. Out: the expected deviation from the level at a time, once a cycle has
//! proved itself on samples it had not seen. Called from: `watch`.
//! The week learns what the day leaves over.
//! Invariants: before a cycle is confirmed it explains 0.

mod cycle;

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

use cycle::{Cycle, Said};

/// Slots of one hour.
type Day = Cycle<24, 3_600>;
/// Slots of six hours.
type Week = Cycle<28, 21_600>;

/// Length of the daily cycle, s.
pub const DAY_SECONDS: f64 = Day::SECONDS;
/// Length of the weekly cycle, s.
pub const WEEK_SECONDS: f64 = Week::SECONDS;

/// What the profile says of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Deviation that the confirmed cycles explain.
    pub deviation: f32,
    /// Residual to the same time of day whether confirmed or not; to the usual level in an unseen slot.
    pub residual: f32,
    /// Length of a cycle that was confirmed for the first time by this sample, s.
    pub newly_confirmed: Option<f64>,
}

/// Daily and weekly profile of one series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    day: Day,
    week: Week,
}

impl Profile {
    /// Lengths of the confirmed cycles, s: the day's, the week's.
    pub fn periods(&self) -> [Option<f64>; 2] {
        [
            self.day.confirmed().then_some(DAY_SECONDS),
            self.week.confirmed().then_some(WEEK_SECONDS),
        ]
    }

    /// Length of the shortest confirmed cycle, s.
    pub(crate) fn shortest(&self) -> Option<f64> {
        if self.day.confirmed() {
            Some(self.day.shortest_seconds())
        } else {
            self.week.confirmed().then_some(WEEK_SECONDS)
        }
    }

    /// Whether any cycle is confirmed.
    pub fn confirmed(&self) -> bool {
        self.day.confirmed() || self.week.confirmed()
    }

    /// Share of the variance that the newest confirmed cycle explains on samples it had not seen.
    pub fn explained(&self) -> f32 {
        if self.week.confirmed() {
            self.week.explained()
        } else {
            self.day.explained()
        }
    }

    /// Largest less smallest slot of the newest confirmed cycle.
    pub fn amplitude(&self) -> f32 {
        if self.week.confirmed() {
            self.week.amplitude()
        } else {
            self.day.amplitude()
        }
    }

    /// Expected deviation from the level at a time; 0 before a cycle is confirmed.
    pub fn expected(&self, at: Timestamp) -> f32 {
        self.day.expected(at) + self.week.expected(at)
    }

    /// Furthest expected deviation from the level, up or down, were the extremes of the cycles to meet.
    pub(crate) fn extreme(&self, highest: bool) -> f32 {
        self.day.extreme(highest) + self.week.extreme(highest)
    }

    /// Judges and learns one value.
    pub(crate) fn step(&mut self, x: f32, at: Timestamp) -> Expected {
        let day = self.day.step(x, at);
        let week = self.week.step(x - self.day_left(x, &day), at);
        let newly_confirmed = if week.newly_confirmed {
            Some(WEEK_SECONDS)
        } else {
            day.newly_confirmed.then(|| self.day.shortest_seconds())
        };
        Expected {
            deviation: day.deviation + week.deviation,
            residual: day.residual,
            newly_confirmed,
        }
    }

    /// What the day takes from a value before the week learns it: its slot once known, else nothing.
    fn day_left(&self, x: f32, said: &Said) -> f32 {
        if self.day.confirmed() {
            x - said.residual
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Days until each cycle is confirmed, at five-minute samples.
    fn confirmed_after(days: i64, f: impl Fn(i64) -> f32) -> Vec<(f64, i64)> {
        let mut profile = Profile::default();
        (0..288 * days)
            .filter_map(|i| {
                let said = profile.step(f(i), Timestamp::from_millis(i * 300_000));
                said.newly_confirmed.map(|period| (period, i / 288))
            })
            .collect()
    }

    fn noise(i: i64) -> f32 {
        let h = (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((h ^ h >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    #[test]
    fn daily_cycle_is_confirmed_on_the_second_day() {
        let wave = |i: i64| (i as f32 * std::f32::consts::TAU / 288.0).sin() + 0.5 * noise(i);
        let found = confirmed_after(5, wave);
        assert!(matches!(found[..], [(DAY_SECONDS, 1 | 2)]), "{found:?}");
    }

    #[test]
    fn a_job_every_six_hours_is_told_as_that() {
        for (hours, slots) in [(6, 72), (8, 96), (12, 144)] {
            let job = |i: i64| 4.0 * f32::from(u8::from(i % slots < 12)) + 0.5 * noise(i);
            let found = confirmed_after(5, job);
            assert!(
                matches!(found[..], [(s, _)] if s == 3600.0 * f64::from(hours)),
                "{found:?}"
            );
        }
    }

    #[test]
    fn quiet_weekends_are_a_weekly_cycle() {
        let demand = |i: i64| {
            let weekend = (i / 288 + 3) % 7 >= 5;
            let day = (i as f32 * std::f32::consts::TAU / 288.0).sin();
            day + if weekend { -4.0 } else { 0.0 } + 0.5 * noise(i)
        };
        let found = confirmed_after(36, demand);
        let week = found.iter().find(|f| f.0 == WEEK_SECONDS);
        assert!(week.is_some_and(|f| f.1 <= 21), "{found:?}");
    }

    #[test]
    fn noise_and_trend_have_no_cycle() {
        assert_eq!(confirmed_after(20, noise), []);
        assert_eq!(confirmed_after(20, |i| i as f32 * 0.01 + noise(i)), []);
        assert_eq!(confirmed_after(20, |_| 3.0), []);
    }

    #[test]
    fn other_period_is_not_daily() {
        let wave = |i: i64| (i as f32 * std::f32::consts::TAU / 200.0).sin() + 0.3 * noise(i);
        assert_eq!(confirmed_after(12, wave), []);
    }
}
