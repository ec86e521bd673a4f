//! Numbers that share one unit, sixteen bits each: half the memory of `f32` where a part in sixteen thousand of the
//! largest is exact enough.
//! In: numbers by place. Out: the same, rounded to a multiple of the unit. Called from: the held samples, slots and
//! blocks of a watch, of which a million are kept.
//! Invariants: the unit is a power of two and rises before a number would not fit; all numbers are finite.

use serde::{Deserialize, Serialize};

/// Largest code; one less than what fits, so that both signs are alike.
const CODE_MAX: f32 = 32_767.0;
/// Where all codes are below this, the unit may be a quarter.
const CODE_SMALL: i16 = 4_096;
/// Smallest unit, `2^-100`: codes of it are still numbers that `f32` holds in full.
const UNIT_MIN: f32 = f32::from_bits((127 - 100) << 23);

/// `N` numbers; zeros at first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(bound(
    serialize = "[i16; N]: Serialize",
    deserialize = "[i16; N]: Deserialize<'de>"
))]
pub(crate) struct Compact<const N: usize> {
    unit: f32,
    codes: [i16; N],
}

impl<const N: usize> Default for Compact<N> {
    fn default() -> Self {
        Self {
            unit: UNIT_MIN,
            codes: [0; N],
        }
    }
}

impl<const N: usize> Compact<N> {
    /// The number at `place`, below `N`.
    #[inline]
    pub(crate) fn get(&self, place: usize) -> f32 {
        f32::from(self.codes[place]) * self.unit
    }

    /// All numbers in order.
    pub(crate) fn all(&self) -> [f32; N] {
        self.codes.map(|code| f32::from(code) * self.unit)
    }

    /// Puts a finite number at `place`, below `N`.
    #[inline]
    pub(crate) fn set(&mut self, place: usize, value: f32) {
        if value.abs() > CODE_MAX * self.unit {
            self.coarsen(value.abs());
        }
        self.codes[place] = (value / self.unit).round_ties_even() as i16;
    }

    /// Moves every number one place towards the first, which goes.
    pub(crate) fn drop_first(&mut self) {
        self.codes.copy_within(1.., 0);
    }

    /// Makes the unit finer where the largest numbers have gone. To be called now and then, such as once a round.
    pub(crate) fn refine(&mut self) {
        let small = self.codes.iter().all(|c| c.abs() < CODE_SMALL);
        if small && self.unit > 4.0 * UNIT_MIN {
            self.unit *= 0.25;
            for code in &mut self.codes {
                *code *= 4;
            }
        }
    }

    #[cold]
    fn coarsen(&mut self, largest: f32) {
        let before = self.unit;
        while largest > CODE_MAX * self.unit {
            self.unit *= 2.0;
        }
        let share = before / self.unit;
        for code in &mut self.codes {
            *code = (f32::from(*code) * share).round_ties_even() as i16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back_to_a_part_of_the_largest(values in prop::collection::vec(-1e18f32..1e18, 24), scale in -30i32..1) {
            let mut held = Compact::<24>::default();
            let factor = 10f32.powi(scale);
            for (place, v) in values.iter().enumerate() { held.set(place, v * factor); }
            let largest = values.iter().fold(0.0_f32, |a, v| a.max(v.abs())) * factor;
            for (v, back) in values.iter().zip(held.all()) {
                // The unit is at most the largest over 16 384, and may have doubled often: half a unit each time, halved.
                prop_assert!((v * factor - back).abs() <= largest / 16_000.0 + 1e-29);
            }
        }
    }

    #[test]
    fn precision_returns_after_a_wild_value() {
        let mut held = Compact::<4>::default();
        held.set(0, 1e12);
        for round in 0..40 {
            for place in 0..4 {
                held.set(place, 1.0 + 0.001 * (place + round) as f32);
            }
            held.refine();
        }
        held.set(2, 1.234_5);
        assert!((held.get(2) - 1.234_5).abs() < 1e-3);
    }
}
