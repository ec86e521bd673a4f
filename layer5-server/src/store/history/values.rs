//! A column of floating-point values as integers: decimals where they are decimals, the bits themselves elsewhere.
//! In: values in time. Out: bytes, and back bit for bit. Called from: [`super::chunk`].
//! Layout: form byte; 0 to 12: the values are `m / 10^form`, then the exceptions (varint count; each the steps from the one
//! before as a varint, and its 8 bytes) and the `m` by [`super::integers`]; 64 + s: the integers are the values in the
//! order of their bits, without the s low bits that are zero in all of them.
//! What people and exporters write has few decimals: as integers their noise costs what it is worth, where the
//! difference of two binary fractions (Gorilla) has a mantissa full of bits.
//! Invariants: every bit of every value comes back, `-0.0`, subnormals and NaN included; no bytes make `read` panic.

use super::integers;
use crate::store::columns::{Cursor, write_varint};

/// Most decimal places that are looked for. `10^12` and every `m` below 2^53 are exact, so `m / 10^places` is the
/// double nearest to that decimal (IEEE 754 division), and stays the same when both are multiplied by ten.
const PLACES_MAX: usize = 12;
const M_MAX: f64 = (1_u64 << 53) as f64;
const BITS: u8 = 64;
/// One value in so many may be no decimal before the column is written as bits.
const EXCEPTIONS_SHARE: usize = 8;
const POWERS: [f64; PLACES_MAX + 1] = [
    1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12,
];

/// Appends the bytes of `values`, which are not empty.
pub(super) fn write(values: &[f64], bytes: &mut Vec<u8>) {
    match decimals(values) {
        Some(decimals) => {
            bytes.push(decimals.places as u8);
            write_varint(bytes, decimals.exceptions.len() as u64);
            let mut before = 0;
            for &at in &decimals.exceptions {
                write_varint(bytes, (at - before) as u64);
                bytes.extend_from_slice(&values[at].to_bits().to_le_bytes());
                before = at;
            }
            integers::write(&decimals.ms, bytes);
        }
        None => {
            let all = values.iter().fold(0, |all, value| all | value.to_bits());
            let n_zero = all.trailing_zeros().min(63);
            bytes.push(BITS + n_zero as u8);
            let integers: Vec<i64> = values.iter().map(|&v| ordered(v, n_zero)).collect();
            integers::write(&integers, bytes);
        }
    }
}

/// The `n` values that `bytes` hold to their end.
pub(super) fn read(bytes: &[u8], n: usize) -> Option<Vec<f64>> {
    let mut cursor = Cursor { bytes, offset: 0 };
    let form = *cursor.take(1)?.first()?;
    if let Some(n_zero) = form.checked_sub(BITS).filter(|n_zero| *n_zero < 64) {
        let integers = integers::read(&bytes[1..], n)?;
        let value = |&integer: &i64| unordered(integer, u32::from(n_zero));
        return Some(integers.iter().map(value).collect());
    }
    let power = *POWERS.get(usize::from(form))?;
    let n_exceptions = cursor.varint()?;
    let mut exceptions = Vec::new();
    let mut at = 0_u64;
    for _ in 0..n_exceptions {
        at = at.checked_add(cursor.varint()?)?;
        let bits = u64::from_le_bytes(cursor.take(8)?.try_into().ok()?);
        exceptions.push((usize::try_from(at).ok()?, bits));
    }
    let ms = integers::read(&bytes[cursor.offset..], n)?;
    let mut values: Vec<f64> = ms.iter().map(|&m| m as f64 / power).collect();
    for (at, bits) in exceptions {
        *values.get_mut(at)? = f64::from_bits(bits);
    }
    Some(values)
}

struct Decimals {
    places: usize,
    ms: Vec<i64>,
    exceptions: Vec<usize>,
}

fn decimals(values: &[f64]) -> Option<Decimals> {
    let exceptions_max = values.len() / EXCEPTIONS_SHARE;
    let (mut places, mut n_exceptions) = (0, 0);
    for &value in values {
        match (places..=PLACES_MAX).find(|&places| scaled(value, places).is_some()) {
            Some(needed) => places = needed,
            None => n_exceptions += 1,
        }
        if n_exceptions > exceptions_max {
            return None;
        }
    }
    let mut ms: Vec<i64> = Vec::with_capacity(values.len());
    let mut exceptions = Vec::new();
    for (at, &value) in values.iter().enumerate() {
        let m = scaled(value, places);
        if m.is_none() {
            exceptions.push(at);
        }
        ms.push(m.or(ms.last().copied()).unwrap_or(0));
    }
    // Raising the places for one value may have pushed a large one out.
    (exceptions.len() <= exceptions_max).then_some(Decimals {
        places,
        ms,
        exceptions,
    })
}

/// `m` when `value` is exactly `m / 10^places`.
fn scaled(value: f64, places: usize) -> Option<i64> {
    let m = (value * POWERS[places]).round();
    let exact =
        m.abs() < M_MAX && ((m as i64) as f64 / POWERS[places]).to_bits() == value.to_bits();
    exact.then_some(m as i64)
}

/// The bits of a value without the `n_zero` low ones, as an integer that rises with the value.
fn ordered(value: f64, n_zero: u32) -> i64 {
    let size = (value.abs().to_bits() >> n_zero).cast_signed();
    if value.is_sign_negative() {
        !size
    } else {
        size
    }
}

fn unordered(integer: i64, n_zero: u32) -> f64 {
    let size = if integer < 0 { !integer } else { integer };
    let value = f64::from_bits(size.cast_unsigned() << n_zero & !SIGN);
    f64::from_bits(value.to_bits() | if integer < 0 { SIGN } else { 0 })
}

const SIGN: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn n_bytes(values: &[f64]) -> usize {
        let mut bytes = Vec::new();
        write(values, &mut bytes);
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let back = read(&bytes, values.len()).expect("what was written can be read");
        assert_eq!(bits(&back), bits(values));
        bytes.len()
    }

    #[test]
    fn the_ends_of_every_range_come_back() {
        let values = [
            0.0,
            -0.0,
            1.0,
            f64::MIN_POSITIVE,
            5e-324,
            -5e-324,
            f64::MAX,
            f64::MIN,
            -1e-4,
            0.1 + 0.2,
            9_007_199_254_740_992.0,
            f64::NAN,
            f64::INFINITY,
            -f64::NAN,
        ];
        n_bytes(&values);
        for value in values {
            n_bytes(&[value]);
            n_bytes(&[value; 9]);
            n_bytes(&[1.5, 2.25, 3.0, value, 2.75, 1.0, 1.5, 0.5, 0.25, 8.0]);
        }
    }

    #[test]
    fn one_strange_value_does_not_spoil_a_column_of_decimals() {
        let mut values: Vec<f64> = (0..800).map(|i| f64::from(i % 100) / 1000.0).collect();
        let plain = n_bytes(&values);
        values[400] = 1.0 / 3.0;
        assert!(n_bytes(&values) < plain + 40);
    }

    proptest! {
        #[test]
        fn there_and_back(bits in prop::collection::vec(any::<u64>(), 1..100)) {
            n_bytes(&bits.iter().map(|&b| f64::from_bits(b)).collect::<Vec<_>>());
        }

        #[test]
        fn decimals_there_and_back(ms in prop::collection::vec(-3_000_000_i64..3_000_000, 1..100), places in 0_i32..8) {
            let values: Vec<f64> = ms.iter().map(|&m| m as f64 / 10_f64.powi(places)).collect();
            // 23 bits each, at most two more for the code, and the heads.
            prop_assert!(n_bytes(&values) <= values.len() * 26 / 8 + 24);
        }

        #[test]
        fn singles_there_and_back(values in prop::collection::vec(any::<f32>(), 1..100)) {
            n_bytes(&values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_answered(bytes in any::<Vec<u8>>(), n in 0_usize..300) {
            let _ = read(&bytes, n);
        }
    }
}
