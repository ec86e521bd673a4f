//! What is normal at this time of day and of the week, learnt as the samples arrive.
//! In: times and values relative to an origin. Out: the expected deviation from the level at a time, once a cycle has
//! proved itself on samples it had not seen. Called from: `watch`.
//! Notation: a slot is one hour of the day, or six hours of the week (UTC); a visit is one cycle's stay in a slot.
//! The week learns what the day leaves over.
//! Invariants: before a cycle is confirmed it explains 0; a slot never visited answers with 0.
//! Reference: seasonal strength as in Wang, Smith and Hyndman (2006), Data Min. Knowl. Disc. 13, 335-364, measured
//! out of sample; effective sample size as in Bartlett (1946), J. R. Stat. Soc. Suppl. 8(1), 27-41.

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::stats::compact::Compact;

/// Length of the daily cycle, s.
pub const DAY_SECONDS: f64 = 86_400.0;
/// Length of the weekly cycle, s.
pub const WEEK_SECONDS: f64 = 604_800.0;
/// Slots of the longer list.
const SLOTS_MAX: usize = 28;
/// The epoch was a Thursday; weeks are counted from Monday.
const MONDAY_MILLIS: i64 = 3 * 86_400_000;
/// Weight of the newest visit in a slot: about five visits of memory.
const VISIT_WEIGHT: f32 = 0.35;
/// Share of the variance that the cycle must explain on unseen samples, to be confirmed: much when nearly one whole
/// cycle was predicted, less after three.
const SHARE_EARLY: f32 = 0.5;
const SHARE_LATE: f32 = 0.2;
const DROP: f32 = 0.02;
/// The share must also be this many times what independent errors leave to chance, `1 / sqrt(n)`: slow noise looks like
/// its own yesterday now and then.
const CHANCE_TIMES: f32 = 4.0;
/// Memory of the errors, in cycles.
const ERROR_CYCLES: f32 = 3.0;
/// A slot that was visited before learns at most this many usual errors from one value.
const LEARN_CLIP: f32 = 3.0;

/// Which cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Period {
    /// 24 slots of one hour.
    Day,
    /// 28 slots of six hours.
    Week,
}

impl Period {
    const fn slots(self) -> usize {
        match self {
            Self::Day => 24,
            Self::Week => SLOTS_MAX,
        }
    }

    pub(crate) const fn seconds(self) -> f64 {
        match self {
            Self::Day => DAY_SECONDS,
            Self::Week => WEEK_SECONDS,
        }
    }

    /// Slot at a time, and how far the time is from its middle, in slots, `-0.5 .. 0.5`.
    fn place(self, at: Timestamp) -> (usize, f32) {
        let (millis, per_slot) = match self {
            Self::Day => (at.millis().rem_euclid(86_400_000), 3_600_000.0),
            Self::Week => (
                (at.millis() + MONDAY_MILLIS).rem_euclid(604_800_000),
                21_600_000.0,
            ),
        };
        let place = millis as f32 / per_slot;
        let slot = (place as usize).min(self.slots() - 1);
        (slot, place - slot as f32 - 0.5)
    }
}

/// One cycle of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cycle {
    period: Period,
    slot: u8,
    /// Whether the slot had been visited before this visit.
    known: bool,
    confirmed: bool,
    /// Whether a confirmation was reported before.
    told: bool,
    /// A bit for each slot visited.
    seen: u32,
    /// Samples in this visit, and in the whole visit before it.
    visit_len: u16,
    visit_len_before: u16,
    /// Visits whose slot was known.
    predicted: u16,
    /// Mean deviation in each slot, relative to the origin of the values.
    slots: Compact<SLOTS_MAX>,
    /// Running mean over about a cycle, squared errors against it and against the slots, and the product of
    /// neighbouring errors against the slots.
    level: f32,
    n: u16,
    n_predicted: u16,
    error_level: f32,
    error_slots: f32,
    error_before: f32,
    error_lag: f32,
}

/// What a cycle says of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Said {
    deviation: f32,
    residual: f32,
    newly_confirmed: bool,
}

impl Cycle {
    fn new(period: Period) -> Self {
        Self {
            period,
            slot: u8::MAX,
            known: false,
            confirmed: false,
            told: false,
            seen: 0,
            visit_len: 0,
            visit_len_before: 0,
            predicted: 0,
            slots: Compact::default(),
            level: 0.0,
            n: 0,
            n_predicted: 0,
            error_level: 0.0,
            error_slots: 0.0,
            error_before: 0.0,
            error_lag: 0.0,
        }
    }

    /// Share of the variance that the slots explain on samples they had not seen; at most 1, may be negative.
    fn explained(&self) -> f32 {
        if self.error_level > 0.0 {
            1.0 - self.error_slots / self.error_level
        } else {
            0.0
        }
    }

    fn amplitude(&self) -> f32 {
        let all = self.slots.all();
        let all = &all[..self.period.slots()];
        let low = all.iter().copied().fold(f32::INFINITY, f32::min);
        let high = all.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        high - low
    }

    /// Highest (or lowest) slot of a confirmed cycle.
    fn extreme(&self, highest: bool) -> f32 {
        if !self.confirmed {
            return 0.0;
        }
        let visited = (0..self.period.slots()).filter(|slot| self.seen >> slot & 1 == 1);
        let deviations = visited.map(|slot| self.slots.get(slot));
        if highest {
            deviations.fold(f32::MIN, f32::max)
        } else {
            deviations.fold(f32::MAX, f32::min)
        }
    }

    fn expected(&self, at: Timestamp) -> f32 {
        let (slot, off) = self.period.place(at);
        if self.confirmed && self.seen >> slot & 1 == 1 {
            self.between(slot, off)
        } else {
            0.0
        }
    }

    /// The slot's value, or between it and its neighbour's where that is known too.
    fn between(&self, slot: usize, off: f32) -> f32 {
        let count = self.period.slots();
        let other = if off < 0.0 {
            slot + count - 1
        } else {
            slot + 1
        } % count;
        if self.seen >> other & 1 == 0 || other == usize::from(self.slot) && !self.known {
            return self.slots.get(slot);
        }
        let here = self.slots.get(slot);
        here + off.abs() * (self.slots.get(other) - here)
    }

    /// Judges and learns one value.
    fn step(&mut self, x: f32, at: Timestamp) -> Said {
        let (slot, off) = self.period.place(at);
        if slot != usize::from(self.slot) {
            if slot < usize::from(self.slot) {
                self.slots.refine();
            }
            self.slot = slot as u8;
            self.known = self.seen >> slot & 1 == 1;
            self.seen |= 1 << slot;
            self.visit_len_before = self.visit_len.max(1);
            self.visit_len = 0;
            self.predicted = self.predicted.saturating_add(u16::from(self.known));
        }
        self.visit_len = self.visit_len.saturating_add(1);
        let was = if self.known {
            self.between(slot, off)
        } else {
            self.level
        };
        let residual = x - was;
        let deviation = if self.confirmed && self.known {
            was
        } else {
            0.0
        };
        let per_cycle = (self.period.slots() as f32
            * f32::from(self.visit_len_before.max(self.visit_len)))
        .max(24.0);
        if self.known {
            self.compare(x - self.level, residual, per_cycle);
        }
        self.n = self.n.saturating_add(1);
        self.level += (1.0 / per_cycle).max(1.0 / f32::from(self.n)) * (x - self.level);
        self.learn(x, slot);
        Said {
            deviation,
            residual,
            newly_confirmed: self.decide(per_cycle),
        }
    }

    /// Same memory for both rivals, and for how alike neighbouring errors are.
    fn compare(&mut self, to_level: f32, to_slots: f32, per_cycle: f32) {
        self.n_predicted = self.n_predicted.saturating_add(1);
        let weight = (1.0 / (ERROR_CYCLES * per_cycle)).max(1.0 / f32::from(self.n_predicted));
        // Outliers count, but not more than thrice the usual error: both rivals' while they compete.
        let larger = self.error_level.max(self.error_slots);
        let usual = if self.confirmed {
            self.error_slots
        } else {
            larger
        };
        let to_level = held(to_level, larger);
        let to_slots = held(to_slots, usual);
        self.error_level += weight * (to_level * to_level - self.error_level);
        self.error_slots += weight * (to_slots * to_slots - self.error_slots);
        self.error_lag += weight * (to_slots * self.error_before - self.error_lag);
        self.error_before = to_slots;
    }

    fn learn(&mut self, x: f32, slot: usize) {
        let share = if self.known {
            VISIT_WEIGHT / f32::from(self.visit_len_before)
        } else {
            1.0 / f32::from(self.visit_len)
        };
        // What an outage did to these hours must not be expected of them next time.
        let usual = if self.confirmed {
            self.error_slots
        } else {
            self.error_level.max(self.error_slots)
        };
        let limit = if self.known && usual > 0.0 {
            LEARN_CLIP * usual.sqrt()
        } else {
            f32::MAX
        };
        let was = self.slots.get(slot);
        let next = was + share.min(1.0) * (x - was).clamp(-limit, limit);
        if next.is_finite() {
            self.slots.set(slot, next);
        }
    }

    fn decide(&mut self, per_cycle: f32) -> bool {
        let explained = self.explained();
        if self.confirmed {
            self.confirmed = explained > DROP;
            return false;
        }
        let whole = self.period.slots() as u16;
        let least = if self.predicted >= 3 * whole {
            SHARE_LATE
        } else if self.predicted + 2 >= whole {
            SHARE_EARLY
        } else {
            return false;
        };
        if explained <= least {
            return false;
        }
        let alike = (self.error_lag / self.error_slots.max(f32::MIN_POSITIVE)).clamp(0.0, 0.999);
        let n = f32::from(self.n_predicted).min(2.0 * ERROR_CYCLES * per_cycle);
        let independent = n * (1.0 - alike) / (1.0 + alike);
        self.confirmed = explained * explained * independent > CHANCE_TIMES * CHANCE_TIMES;
        let first = self.confirmed && !self.told;
        self.told |= self.confirmed;
        first
    }
}

/// An error, cut to thrice the usual one (given squared) where that is known.
fn held(error: f32, usual: f32) -> f32 {
    if usual > 0.0 {
        let limit = 3.0 * usual.sqrt();
        error.clamp(-limit, limit)
    } else {
        error
    }
}

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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    day: Cycle,
    week: Cycle,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            day: Cycle::new(Period::Day),
            week: Cycle::new(Period::Week),
        }
    }
}

impl Profile {
    /// Lengths of the confirmed cycles, s: the day's, the week's.
    pub fn periods(&self) -> [Option<f64>; 2] {
        [&self.day, &self.week].map(|c| c.confirmed.then_some(c.period.seconds()))
    }

    /// Whether any cycle is confirmed.
    pub fn confirmed(&self) -> bool {
        self.day.confirmed || self.week.confirmed
    }

    /// Share of the variance that the newest confirmed cycle explains on samples it had not seen.
    pub fn explained(&self) -> f32 {
        self.newest().explained()
    }

    /// Largest less smallest slot of the newest confirmed cycle.
    pub fn amplitude(&self) -> f32 {
        self.newest().amplitude()
    }

    fn newest(&self) -> &Cycle {
        if self.week.confirmed {
            &self.week
        } else {
            &self.day
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
        let newly =
            |said: &Said, cycle: &Cycle| said.newly_confirmed.then_some(cycle.period.seconds());
        Expected {
            deviation: day.deviation + week.deviation,
            residual: day.residual,
            newly_confirmed: newly(&week, &self.week).or(newly(&day, &self.day)),
        }
    }

    /// What the day takes from a value before the week learns it: its slot once known, else nothing.
    fn day_left(&self, x: f32, said: &Said) -> f32 {
        if self.day.confirmed {
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
