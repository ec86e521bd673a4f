//! One cycle by the clock: slots of equal length, each with its usual value, and whether they predict.
//! In: times and values relative to an origin. Out: the deviation that belongs to a time, once the cycle has proved itself on
//! samples it had not seen. Called from: [`super::Profile`].
//! Notation: a visit is one cycle's stay in a slot. Weeks begin on Monday, shorter cycles with the UTC day.
//! Invariants: before a cycle is confirmed it explains 0; a slot never visited answers with 0.
//! Reference: seasonal strength as in Wang, Smith and Hyndman (2006), Data Min. Knowl. Disc. 13, 335-364, measured
//! out of sample; effective sample size as in Bartlett (1946), J. R. Stat. Soc. Suppl. 8(1), 27-41.

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::stats::compact::Compact;

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
/// Share of the variance between slots that a part of the cycle must keep when its repeats are averaged, to be the cycle.
const FOLDED_SHARE: f32 = 0.85;
/// Memory of the errors, in cycles.
const ERROR_CYCLES: f32 = 3.0;
/// A slot that was visited before learns at most this many usual errors from one value.
const LEARN_CLIP: f32 = 3.0;

/// One cycle of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(bound(
    serialize = "Compact<SLOTS>: Serialize",
    deserialize = "Compact<SLOTS>: Deserialize<'de>"
))]
pub(super) struct Cycle<const SLOTS: usize, const SLOT_SECONDS: u32> {
    slot: u8,
    standing: Standing,
    /// A bit for each slot whose first visit is over.
    seen: u32,
    /// Samples in this visit, and in the whole visit before it.
    visit_len: u16,
    visit_len_before: u16,
    /// Visits whose slot was known.
    predicted: u16,
    /// Mean deviation in each slot, relative to the origin of the values.
    slots: Compact<SLOTS>,
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

/// Whether a cycle is believed in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Standing {
    #[default]
    Unproven,
    Confirmed,
    /// Confirmed once, and told then, but not any more.
    Lapsed,
}

/// What a cycle says of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Said {
    pub(super) deviation: f32,
    pub(super) residual: f32,
    pub(super) newly_confirmed: bool,
}

impl<const SLOTS: usize, const SLOT_SECONDS: u32> Default for Cycle<SLOTS, SLOT_SECONDS> {
    fn default() -> Self {
        Self {
            slot: u8::MAX,
            standing: Standing::Unproven,
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
}

impl<const SLOTS: usize, const SLOT_SECONDS: u32> Cycle<SLOTS, SLOT_SECONDS> {
    /// Length, s.
    pub(super) const SECONDS: f64 = SLOTS as f64 * SLOT_SECONDS as f64;

    /// Slot at a time, and how far the time is from its middle, in slots, `-0.5 .. 0.5`.
    fn place(at: Timestamp) -> (usize, f32) {
        let slot_millis = 1000 * i64::from(SLOT_SECONDS);
        let millis = (at.millis() + MONDAY_MILLIS).rem_euclid(SLOTS as i64 * slot_millis);
        let place = millis as f32 / slot_millis as f32;
        let slot = (place as usize).min(SLOTS - 1);
        (slot, place - slot as f32 - 0.5)
    }

    pub(super) fn confirmed(&self) -> bool {
        self.standing == Standing::Confirmed
    }

    /// Whether a slot was visited before the visit that goes on.
    fn known(&self, slot: usize) -> bool {
        self.seen >> slot & 1 == 1
    }

    /// Share of the variance that the slots explain on samples they had not seen; at most 1, may be negative.
    pub(super) fn explained(&self) -> f32 {
        if self.error_level > 0.0 {
            1.0 - self.error_slots / self.error_level
        } else {
            0.0
        }
    }

    /// Length of the shortest cycle that the slots show, s: their own, or a part of it that comes back several times, such as
    /// a job every six hours.
    pub(super) fn shortest_seconds(&self) -> f64 {
        let all = self.slots.all();
        let mean = all.iter().sum::<f32>() / SLOTS as f32;
        let square = |v: &f32| (v - mean) * (v - mean);
        let total: f32 = all.iter().map(square).sum();
        let repeats = |&len: &usize| {
            let folded = |i: usize| all.iter().skip(i).step_by(len).sum::<f32>();
            let times = (SLOTS / len) as f32;
            let kept: f32 = (0..len).map(|i| square(&(folded(i) / times)) * times).sum();
            kept > FOLDED_SHARE * total
        };
        let len = (2..SLOTS)
            .filter(|len| SLOTS.is_multiple_of(*len))
            .find(repeats);
        len.unwrap_or(SLOTS) as f64 * f64::from(SLOT_SECONDS)
    }

    pub(super) fn amplitude(&self) -> f32 {
        let all = self.slots.all();
        let low = all.iter().copied().fold(f32::INFINITY, f32::min);
        let high = all.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        high - low
    }

    /// Highest (or lowest) slot of a confirmed cycle.
    pub(super) fn extreme(&self, highest: bool) -> f32 {
        if !self.confirmed() {
            return 0.0;
        }
        let visited = (0..SLOTS).filter(|&slot| self.known(slot));
        let deviations = visited.map(|slot| self.slots.get(slot));
        if highest {
            deviations.fold(f32::MIN, f32::max)
        } else {
            deviations.fold(f32::MAX, f32::min)
        }
    }

    pub(super) fn expected(&self, at: Timestamp) -> f32 {
        let (slot, off) = Self::place(at);
        if self.confirmed() && self.known(slot) {
            self.between(slot, off)
        } else {
            0.0
        }
    }

    /// The slot's value, or between it and its neighbour's where that is known too.
    fn between(&self, slot: usize, off: f32) -> f32 {
        let other = if off < 0.0 {
            slot + SLOTS - 1
        } else {
            slot + 1
        } % SLOTS;
        if !self.known(other) {
            return self.slots.get(slot);
        }
        let here = self.slots.get(slot);
        here + off.abs() * (self.slots.get(other) - here)
    }

    /// Judges and learns one value.
    pub(super) fn step(&mut self, x: f32, at: Timestamp) -> Said {
        let (slot, off) = Self::place(at);
        if slot != usize::from(self.slot) {
            if slot < usize::from(self.slot) {
                self.slots.refine();
            }
            if self.n > 0 {
                self.seen |= 1 << self.slot;
            }
            self.slot = slot as u8;
            self.visit_len_before = self.visit_len.max(1);
            self.visit_len = 0;
            let known = u16::from(self.known(slot));
            self.predicted = self.predicted.saturating_add(known);
        }
        let known = self.known(slot);
        self.visit_len = self.visit_len.saturating_add(1);
        let was = if known {
            self.between(slot, off)
        } else {
            self.level
        };
        let residual = x - was;
        let deviation = if self.confirmed() && known { was } else { 0.0 };
        let per_cycle =
            (SLOTS as f32 * f32::from(self.visit_len_before.max(self.visit_len))).max(24.0);
        if known {
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
        let usual = if self.confirmed() {
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
        let known = self.known(slot);
        let share = if known {
            VISIT_WEIGHT / f32::from(self.visit_len_before)
        } else {
            1.0 / f32::from(self.visit_len)
        };
        // What an outage did to these hours must not be expected of them next time.
        let usual = if self.confirmed() {
            self.error_slots
        } else {
            self.error_level.max(self.error_slots)
        };
        let limit = if known && usual > 0.0 {
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
        if self.confirmed() {
            if explained <= DROP {
                self.standing = Standing::Lapsed;
            }
            return false;
        }
        let whole = SLOTS as u16;
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
        if explained * explained * independent <= CHANCE_TIMES * CHANCE_TIMES {
            return false;
        }
        let first = self.standing == Standing::Unproven;
        self.standing = Standing::Confirmed;
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
