//! Numbers that share one unit, sixteen bits each: half the memory of `f32` where a part in sixteen thousand of the
//! largest is exact enough.
//! In: numbers by place. Out: the same, rounded to a multiple of the unit. Called from: the held samples, slots and
//! blocks of a watch, of which a million are kept.
//! Invariants: the unit is a power of two and rises before a number would not fit; all numbers are finite.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Largest code; one less than what fits, so that both signs are alike.
const CODE_MAX: f32 = 32_767.0;
/// Where all codes are below this, the unit may be a quarter.
const CODE_SMALL: i16 = 4_096;
/// Smallest unit, `2^-100`: codes of it are still numbers that `f32` holds in full.
const UNIT_MIN: f32 = f32::from_bits((127 - 100) << 23);

/// `N` numbers; zeros at first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Compact<const N: usize> {
    unit: f32,
    #[serde(serialize_with = "write_codes", deserialize_with = "read_codes")]
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
    #[inline]
    pub(crate) fn all(&self) -> [f32; N] {
        // A loop becomes a few vector instructions, `map` of an array this long a call for each number.
        let mut numbers = [0.0; N];
        for (number, &code) in numbers.iter_mut().zip(&self.codes) {
            *number = f32::from(code) * self.unit;
        }
        numbers
    }

    /// Puts a finite number at `place`, below `N`.
    #[inline]
    pub(crate) fn set(&mut self, place: usize, value: f32) {
        if value.abs() > CODE_MAX * self.unit {
            self.coarsen(value.abs());
        }
        self.codes[place] = nearest(value / self.unit);
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
            *code = nearest(f32::from(*code) * share);
        }
    }
}

/// Largest `N`.
const LEN_MAX: usize = 32;

/// As bytes, the lower one of a code first: a snapshot holds a hundred million of them.
fn write_codes<S: Serializer, const N: usize>(
    codes: &[i16; N],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    const { assert!(N <= LEN_MAX) };
    let mut bytes = [0; 2 * LEN_MAX];
    for (bytes, code) in bytes.chunks_exact_mut(2).zip(codes) {
        bytes.copy_from_slice(&code.to_le_bytes());
    }
    serializer.serialize_bytes(&bytes[..2 * N])
}

fn read_codes<'de, D: Deserializer<'de>, const N: usize>(
    deserializer: D,
) -> Result<[i16; N], D::Error> {
    struct Codes<const N: usize>;
    impl<'de, const N: usize> de::Visitor<'de> for Codes<N> {
        type Value = [i16; N];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{} bytes", 2 * N)
        }

        fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<[i16; N], E> {
            if bytes.len() != 2 * N {
                return Err(E::invalid_length(bytes.len(), &self));
            }
            let mut codes = [0; N];
            for (code, bytes) in codes.iter_mut().zip(bytes.chunks_exact(2)) {
                *code = i16::from_le_bytes([bytes[0], bytes[1]]);
            }
            Ok(codes)
        }

        // Formats without bytes, such as JSON, write a list of numbers.
        fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<[i16; N], A::Error> {
            let mut bytes = [0; 2 * LEN_MAX];
            let mut n = 0;
            while let Some(byte) = list.next_element()? {
                *bytes
                    .get_mut(n)
                    .ok_or_else(|| de::Error::invalid_length(n + 1, &self))? = byte;
                n += 1;
            }
            self.visit_bytes(&bytes[..n])
        }
    }
    deserializer.deserialize_bytes(Codes)
}

/// The nearest whole number, ties to the even one, of a number below `2^22`: at this height an `f32` has no place for
/// anything else. Rounding by itself is a call into the C library on processors before 2008, for which we build.
fn nearest(code: f32) -> i16 {
    const HEIGHT: f32 = 12_582_912.0;
    ((code + HEIGHT) - HEIGHT) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codes_are_rounded_as_by_the_library() {
        for i in -262_136_i32..=262_136 {
            let code = i as f32 / 8.0;
            assert_eq!(nearest(code), code.round_ties_even() as i16, "{code}");
        }
    }

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
    fn comes_back_from_json_and_says_when_it_is_cut() {
        let mut held = Compact::<3>::default();
        (0..3).for_each(|place| held.set(place, place as f32 - 0.7));
        let mut json = serde_json::to_value(held).expect("plain data");
        assert_eq!(
            serde_json::from_value::<Compact<3>>(json.clone()).ok(),
            Some(held)
        );
        let codes = json["codes"].as_array_mut().expect("a list of bytes");
        codes.pop();
        let refused = serde_json::from_value::<Compact<3>>(json).expect_err("one byte short");
        assert!(refused.to_string().contains("6 bytes"), "{refused}");
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
