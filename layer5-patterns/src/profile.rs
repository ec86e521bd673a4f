//! What is normal at this time of day, learnt as the samples arrive.
//! In: times and values relative to an origin. Out: the expected deviation from the level at a time, once the daily
//! cycle has proved itself on samples it had not seen. Called from: `watch`.
//! Notation: a slot is half an hour of UTC time of day; a visit is one day's stay in a slot.
//! Invariants: before the cycle is confirmed `expected` is 0; a slot never visited answers with 0.
//! Reference: seasonal strength as in Wang, Smith and Hyndman (2006), Data Min. Knowl. Disc. 13, 335-364, measured
//! out of sample.

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

/// Slots a day: half an hour is short beside a daily cycle and keeps the state small.
pub const SLOTS: usize = 48;
/// Length of the cycle, s.
pub const DAY_SECONDS: f64 = 86_400.0;
const SLOT_SECONDS: f64 = DAY_SECONDS / SLOTS as f64;
/// Weight of the newest visit in a slot: about five days of memory.
const VISIT_WEIGHT: f32 = 0.35;
/// Share of the variance that the cycle must explain on unseen samples, to be confirmed and to stay.
/// After one predicted day only a strong cycle is believed, after three a weak one: autocorrelated noise can look
/// like its own yesterday once.
const CONFIRM_EARLY: (u16, f32) = (44, 0.5);
const CONFIRM_LATE: (u16, f32) = (3 * SLOTS as u16, 0.2);
const DROP: f32 = 0.02;
/// A slot that was visited before learns at most this many usual errors from one value.
const LEARN_CLIP: f32 = 3.0;

/// Daily profile of one series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Mean deviation in each slot, relative to the origin of the values.
    slots: [[f32; SLOTS / 2]; 2],
    seen: u64,
    slot: u8,
    /// Samples in this visit, and in the whole visit before it.
    visit_len: u16,
    visit_len_before: u16,
    /// Whether the slot had been visited before this visit.
    known: bool,
    /// Sum over the slots of this visit's values, for a first visit.
    predicted: u16,
    /// Running mean over about a day and squared errors against it and against the profile.
    level: f32,
    level_n: u32,
    error_level: f32,
    error_profile: f32,
    confirmed: bool,
    /// Whether a confirmation was reported before.
    told: bool,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            slots: [[0.0; SLOTS / 2]; 2],
            seen: 0,
            slot: u8::MAX,
            visit_len: 0,
            visit_len_before: 0,
            known: false,
            predicted: 0,
            level: 0.0,
            level_n: 0,
            error_level: 0.0,
            error_profile: 0.0,
            confirmed: false,
            told: false,
        }
    }
}

/// What the profile says of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Deviation that the cycle explains; 0 before it is confirmed.
    pub deviation: f32,
    /// Residual to the same time of day whether confirmed or not; the value itself in an unseen slot.
    pub residual: f32,
    /// Whether the cycle was confirmed for the first time by this sample.
    pub newly_confirmed: bool,
}

impl Profile {
    /// Whether the daily cycle is confirmed.
    pub fn confirmed(&self) -> bool {
        self.confirmed
    }

    /// Share of the variance that the profile explains on samples it had not seen; at most 1, may be negative.
    pub fn explained(&self) -> f32 {
        if self.error_level > 0.0 {
            1.0 - self.error_profile / self.error_level
        } else {
            0.0
        }
    }

    /// Largest less smallest slot.
    pub fn amplitude(&self) -> f32 {
        let all = self.slots.as_flattened();
        let low = all.iter().copied().fold(f32::INFINITY, f32::min);
        let high = all.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        high - low
    }

    /// Expected deviation from the level at a time; 0 before the cycle is confirmed.
    pub fn expected(&self, at: Timestamp) -> f32 {
        let slot = slot_of(at);
        if self.confirmed && self.seen >> slot & 1 == 1 {
            self.slots.as_flattened()[slot]
        } else {
            0.0
        }
    }

    /// Judges and learns one value.
    pub(crate) fn step(&mut self, x: f32, at: Timestamp) -> Expected {
        let slot = slot_of(at);
        if slot != usize::from(self.slot) {
            self.slot = slot as u8;
            self.known = self.seen >> slot & 1 == 1;
            self.seen |= 1 << slot;
            self.visit_len_before = self.visit_len.max(1);
            self.visit_len = 0;
            self.predicted = self.predicted.saturating_add(u16::from(self.known));
        }
        self.visit_len = self.visit_len.saturating_add(1);
        let was = self.slots.as_flattened()[slot];
        let deviation = if self.confirmed && self.known {
            was
        } else {
            0.0
        };
        let residual = if self.known { x - was } else { x - self.level };

        // Same memory for both rivals: about a day of samples.
        let per_day =
            (SLOTS as f32 * f32::from(self.visit_len_before.max(self.visit_len))).max(24.0);
        if self.known {
            let weight = 1.0 / per_day;
            let to_level = x - self.level;
            // Outliers count, but not more than thrice the usual error: both rivals' while they compete.
            let larger = self.error_level.max(self.error_profile);
            let usual = if self.confirmed {
                self.error_profile
            } else {
                larger
            };
            self.error_level += weight * (held(to_level, larger) - self.error_level);
            self.error_profile += weight * (held(residual, usual) - self.error_profile);
        }
        self.level_n = self.level_n.saturating_add(1);
        self.level += (1.0 / per_day).max(1.0 / self.level_n as f32) * (x - self.level);

        let share = if self.known {
            VISIT_WEIGHT / f32::from(self.visit_len_before)
        } else {
            1.0 / f32::from(self.visit_len)
        };
        // What an outage did to these hours must not be expected of them tomorrow.
        let usual = if self.confirmed {
            self.error_profile
        } else {
            self.error_level.max(self.error_profile)
        };
        let limit = if self.known && usual > 0.0 {
            LEARN_CLIP * usual.sqrt()
        } else {
            f32::MAX
        };
        let next = was + share.min(1.0) * (x - was).clamp(-limit, limit);
        if next.is_finite() {
            self.slots.as_flattened_mut()[slot] = next;
        }
        Expected {
            deviation,
            residual,
            newly_confirmed: self.decide(),
        }
    }

    fn decide(&mut self) -> bool {
        let explained = self.explained();
        if self.confirmed {
            self.confirmed = explained > DROP;
            return false;
        }
        self.confirmed = [CONFIRM_EARLY, CONFIRM_LATE]
            .iter()
            .any(|&(slots, share)| self.predicted >= slots && explained > share);
        let first = self.confirmed && !self.told;
        self.told |= self.confirmed;
        first
    }
}

/// The square of an error, at most 9 times the `usual` square where that is known.
fn held(error: f32, usual: f32) -> f32 {
    let square = error * error;
    if usual > 0.0 {
        square.min(9.0 * usual)
    } else {
        square
    }
}

fn slot_of(at: Timestamp) -> usize {
    ((at.second_of_day() / SLOT_SECONDS) as usize).min(SLOTS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Days until the cycle is confirmed, at five-minute samples.
    fn confirmed_after(days: i64, f: impl Fn(i64) -> f32) -> Option<i64> {
        let mut profile = Profile::default();
        (0..288 * days)
            .find(|&i| {
                profile
                    .step(f(i), Timestamp::from_millis(i * 300_000))
                    .newly_confirmed
            })
            .map(|i| i / 288)
    }

    fn noise(i: i64) -> f32 {
        let h = (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((h ^ h >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    #[test]
    fn daily_cycle_is_confirmed_on_the_second_day() {
        let wave = |i: i64| (i as f32 * std::f32::consts::TAU / 288.0).sin() + 0.5 * noise(i);
        assert!(matches!(confirmed_after(5, wave), Some(1 | 2)));
    }

    #[test]
    fn noise_and_trend_have_no_cycle() {
        assert_eq!(confirmed_after(20, noise), None);
        assert_eq!(confirmed_after(20, |i| i as f32 * 0.01 + noise(i)), None);
        assert_eq!(confirmed_after(20, |_| 3.0), None);
    }

    #[test]
    fn other_period_is_not_daily() {
        let wave = |i: i64| (i as f32 * std::f32::consts::TAU / 200.0).sin() + 0.3 * noise(i);
        assert_eq!(confirmed_after(12, wave), None);
    }
}
