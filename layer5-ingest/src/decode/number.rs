//! Decimal text to the nearest double, bit for bit as [`str::parse`] gives it, and faster where that is easy.
//! In: text and where the number starts. Out: the double and where it ends. Called from: `scan`.
//! Invariants: three roads, one result. With `w` the digits and `q` the power of ten, `w * 10^q`:
//! - at most 15 digits, so `w < 2^53`, and `|q| <= 22`: both are exact doubles, so one rounded operation rounds the result once.
//! - `w < 10^19` and `-27 <= q <= 0`: one or two products with a 128-bit reciprocal of `5^-q`; senders that print
//!   doubles in full (15 to 17 digits) come here.
//! - anything else: `str::parse`.
//!
//! Reference: Clinger (1990), "How to read floating point numbers accurately"; Lemire (2021), "Number parsing at a
//! gigabyte per second", sections 5 to 8; eight digits at once after Mula and Lemire.

/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// What a run of so many digits multiplies the digits before it with.
const POWERS: [u64; DIGITS_MAX + 1] = {
    let (mut all, mut n) = ([1; DIGITS_MAX + 1], 1);
    while n < all.len() {
        all[n] = all[n - 1] * 10;
        n += 1;
    }
    all
};

const ONES: u64 = 0x0101_0101_0101_0101;
const ONES_16: u128 = (ONES as u128) << 64 | ONES as u128;

/// Most digits that surely fit a `u64`.
const DIGITS_MAX: usize = 19;

/// Most digits whose value is surely an exact double.
const DIGITS_EXACT: usize = 15;

/// The most negative power of ten whose reciprocal product always decides the rounding.
const RECIPROCAL_POWER_MIN: i64 = -27;

/// `5^q` for `q = 0, -1 .. -27`, as the upper 128 bits of its binary fraction, rounded up.
const RECIPROCALS: [u128; 28] = reciprocals();

/// Reads the JSON number at `pos`; infinite when too large. Returns also where it ends; `None`, and where a digit is
/// missing, when there is no number.
#[inline(always)]
pub(super) fn decimal(text: &str, pos: usize) -> (Option<f64>, usize) {
    match short_decimal(text.as_bytes(), pos) {
        Some((value, end)) => (Some(value), end),
        None => longer_decimal(text, pos),
    }
}

#[inline(never)]
fn longer_decimal(text: &str, pos: usize) -> (Option<f64>, usize) {
    match full_decimal(text.as_bytes(), pos) {
        Some((value, end)) => (Some(value), end),
        None => any_decimal(text, pos),
    }
}

/// A number without sign and exponent that ends within nine bytes, and where it ends: one word is read, and its point
/// taken out.
#[inline(always)]
fn short_decimal(bytes: &[u8], from: usize) -> Option<(f64, usize)> {
    let next = bytes.get(from..)?.first_chunk::<9>()?;
    let text = u64::from_le_bytes(*next.first_chunk()?);
    let x = text ^ (ONES * b'0' as u64);
    let others = others(x);
    let whole = others.trailing_zeros() / 8;
    // A zero stands alone before the point.
    if whole == 0 || whole == 8 || (whole > 1 && x as u8 == 0) {
        return None;
    }
    let (mut n, mut y, mut end) = (whole, x, whole);
    if next[whole as usize] == b'.' {
        let before = (1 << (8 * whole)) - 1;
        y = x & before | x >> 8 & !before;
        // Of the byte that came in above nothing is known.
        let others = others & before | others >> 8 & !before | 1 << 63;
        n = others.trailing_zeros() / 8;
        end = n + 1;
        if n == whole {
            return None;
        }
    }
    if matches!(next[end as usize], b'0'..=b'9' | b'e' | b'E') {
        return None;
    }
    let w = value_of(y << (64 - 8 * n));
    // Through i64, for which there is an instruction.
    let value = w as i64 as f64 / EXACT_POWERS[(n - whole) as usize];
    Some((value, from + end as usize))
}

/// A number as doubles are printed in full: no sign and exponent, up to seven digits, the point, up to eighteen more.
/// 24 bytes are read behind the point, and how many of them are digits decides no branch: it differs from number to
/// number, so it could not be foreseen.
#[inline(always)]
fn full_decimal(bytes: &[u8], from: usize) -> Option<(f64, usize)> {
    let text = bytes.get(from..)?;
    let x = u64::from_le_bytes(*text.first_chunk()?) ^ (ONES * b'0' as u64);
    let whole = others(x).trailing_zeros() / 8;
    if whole == 0 || whole == 8 || text[whole as usize] != b'.' || (whole > 1 && x as u8 == 0) {
        return None;
    }
    let fraction = text.get(whole as usize + 1..)?.first_chunk::<24>()?;
    let (words, _) = fraction.as_chunks::<8>();
    let words = [0, 1, 2].map(|i| u64::from_le_bytes(words[i]) ^ (ONES * b'0' as u64));
    let sixteen = u128::from(words[1]) << 64 | u128::from(words[0]);
    let n = others_16(sixteen).trailing_zeros() / 8;
    let n_more = if n == 16 {
        others(words[2]).trailing_zeros() / 8
    } else {
        0
    };
    let n_fraction = (n + n_more) as usize;
    let n_digits = whole as usize + n_fraction;
    let end = whole as usize + 1 + n_fraction;
    if n == 0 || n_digits > DIGITS_MAX || matches!(text.get(end), Some(b'0'..=b'9' | b'e' | b'E')) {
        return None;
    }
    let sixteen = sixteen << (128 - 8 * n);
    let fraction = value_of(sixteen as u64) * POWERS[8] + value_of((sixteen >> 64) as u64);
    let more = value_of(words[2].unbounded_shl(64 - 8 * n_more));
    let w = value_of(x << (64 - 8 * whole)) * POWERS[n_fraction]
        + fraction * POWERS[n_more as usize]
        + more;
    let value = if n_digits <= DIGITS_EXACT {
        w as i64 as f64 / EXACT_POWERS[n_fraction]
    } else {
        by_reciprocal(w, -(n_fraction as i64))
    };
    Some((value, from + end))
}

/// As [`decimal`], of any form.
#[inline(never)]
fn any_decimal(text: &str, pos: usize) -> (Option<f64>, usize) {
    let bytes = text.as_bytes();
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let negative = at(pos) == b'-';
    let first = pos + usize::from(negative);
    // Wraps when there are more than 19 digits; such a number takes the last road.
    let (mut w, mut i) = digits(bytes, first, 0);
    let mut n_digits = i - first;
    if n_digits == 0 {
        return (None, i);
    }
    if n_digits > 1 && at(first) == b'0' {
        return (None, first + 1);
    }
    let mut q = 0_i64;
    if at(i) == b'.' {
        let from = i + 1;
        (w, i) = digits(bytes, from, w);
        if i == from {
            return (None, i);
        }
        n_digits += i - from;
        q = -((i - from) as i64);
    }
    if matches!(at(i), b'e' | b'E') {
        i += 1;
        match exponent(bytes, &mut i) {
            Some(exponent) => q = q.saturating_add(exponent),
            None => return (None, i),
        }
    }
    let magnitude = if n_digits <= DIGITS_EXACT && q.unsigned_abs() <= 22 {
        let power = EXACT_POWERS[q.unsigned_abs() as usize];
        let w = w as i64 as f64;
        if q < 0 { w / power } else { w * power }
    } else if n_digits <= DIGITS_MAX && (RECIPROCAL_POWER_MIN..=0).contains(&q) {
        by_reciprocal(w, q)
    } else {
        by_std(&text[first..i])
    };
    (Some(if negative { -magnitude } else { magnitude }), i)
}

/// Reads digits from `i` on behind those of `w`; returns all of them, wrapping, and where they end.
#[inline(always)]
fn digits(bytes: &[u8], mut i: usize, mut w: u64) -> (u64, usize) {
    while let Some(eight) = bytes.get(i..).and_then(<[u8]>::first_chunk::<8>) {
        let (value, n) = leading_digits(u64::from_le_bytes(*eight));
        // With `n` known, the next eight bytes need not wait for it.
        if n == 8 {
            w = w.wrapping_mul(POWERS[8]).wrapping_add(value);
            i += 8;
        } else {
            return (w.wrapping_mul(POWERS[n]).wrapping_add(value), i + n);
        }
    }
    while let Some(digit) = bytes
        .get(i)
        .map(|b| b.wrapping_sub(b'0'))
        .filter(|&d| d < 10)
    {
        w = w.wrapping_mul(10).wrapping_add(u64::from(digit));
        i += 1;
    }
    (w, i)
}

/// The value and the number of the digits that eight bytes of text, first byte lowest, begin with.
#[inline(always)]
fn leading_digits(text: u64) -> (u64, usize) {
    let x = text ^ (ONES * b'0' as u64);
    let n = (others(x).trailing_zeros() / 8) as usize;
    // Digits to the upper end, zeros before them: the lowest byte is the most significant digit.
    (value_of(x.unbounded_shl(64 - 8 * n as u32)), n)
}

/// The high bit of every byte that is no digit, exactly up to and including the first of them: a carry only spoils bytes
/// behind it. `x` is text with the zeros' code taken out by `^`.
#[inline(always)]
fn others(x: u64) -> u64 {
    (x.wrapping_add(ONES * (0x80 - 10)) | x) & (ONES << 7)
}

/// As [`others`], of sixteen bytes.
#[inline(always)]
fn others_16(x: u128) -> u128 {
    (x.wrapping_add(ONES_16 * (0x80 - 10)) | x) & (ONES_16 << 7)
}

/// The value of eight digits, the lowest byte being the most significant.
#[inline(always)]
fn value_of(x: u64) -> u64 {
    let pairs = x.wrapping_mul(10).wrapping_add(x >> 8);
    const EVERY_FOURTH: u64 = 0x0000_00ff_0000_00ff;
    let upper = (pairs & EVERY_FOURTH).wrapping_mul(100 + (1_000_000 << 32));
    let lower = (pairs >> 16 & EVERY_FOURTH).wrapping_mul(1 + (10_000 << 32));
    upper.wrapping_add(lower) >> 32
}

/// Reads the exponent behind its `e`; saturates.
#[cold]
fn exponent(bytes: &[u8], pos: &mut usize) -> Option<i64> {
    let sign = bytes.get(*pos).copied().unwrap_or(0);
    *pos += usize::from(matches!(sign, b'+' | b'-'));
    let from = *pos;
    let mut n = 0_i64;
    while let Some(digit) = bytes
        .get(*pos)
        .map(|b| b.wrapping_sub(b'0'))
        .filter(|&d| d < 10)
    {
        n = n.saturating_mul(10).saturating_add(i64::from(digit));
        *pos += 1;
    }
    (*pos > from).then_some(if sign == b'-' { -n } else { n })
}

/// `w * 10^q` to the nearest double, `-27 <= q <= 0`; the result is 0 or a normal number.
#[inline]
fn by_reciprocal(w: u64, q: i64) -> f64 {
    if w == 0 {
        return 0.0;
    }
    // One bit to round, one for the place of the product's leading one, one for what is cut off: 52 + 3.
    const KEPT_BITS: u32 = 55;
    let shift = w.leading_zeros();
    let w = w << shift;
    let reciprocal = RECIPROCALS[q.unsigned_abs() as usize];
    let mut product = u128::from(w) * (reciprocal >> 64);
    if (product >> 64) as u64 & (u64::MAX >> KEPT_BITS) == u64::MAX >> KEPT_BITS {
        // What the upper half of the reciprocal leaves out could carry into the kept bits.
        product += (u128::from(w) * u128::from(reciprocal as u64)) >> 64;
    }
    let (high, low) = ((product >> 64) as u64, product as u64);
    let leading = (high >> 63) as u32;
    let cut = leading + 64 - KEPT_BITS;
    let mut mantissa = high >> cut;
    // Exactly half way is possible only for small powers; it goes to the even neighbour.
    if low <= 1 && q >= -4 && mantissa & 3 == 1 && mantissa << cut == high {
        mantissa &= !1;
    }
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    // floor(q * log2(10)) + 63, by a fraction that is right for all |q| < 350.
    let power = ((q * 217_706) >> 16) + 63;
    let mut exponent = power + i64::from(leading) - i64::from(shift) + 1023;
    if mantissa == 1 << 53 {
        mantissa >>= 1;
        exponent += 1;
    }
    f64::from_bits((exponent as u64) << 52 | mantissa & ((1 << 52) - 1))
}

#[cold]
fn by_std(number: &str) -> f64 {
    number
        .parse()
        .expect("JSON numbers are a part of what Rust parses as f64")
}

/// `floor(2^b / 5^n) + 1` with the `b` that makes it 128 bits long.
const fn reciprocals() -> [u128; 28] {
    let mut all = [1 << 127; 28];
    let (mut n, mut power) = (1, 5_u64);
    while n < all.len() {
        // Long division of 2^b, bit by bit; b = 127 + the length of 5^n.
        let b = 127 + (u64::BITS - power.leading_zeros());
        let (mut quotient, mut rest, mut i) = (0_u128, 1_u128, 0);
        while i < b {
            rest <<= 1;
            quotient <<= 1;
            if rest >= power as u128 {
                rest -= power as u128;
                quotient |= 1;
            }
            i += 1;
        }
        all[n] = quotient + 1;
        n += 1;
        if n < all.len() {
            power *= 5;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str) {
        let expected: f64 = text.parse().expect(text);
        // At the end of the text, and amid it.
        for text in [
            text,
            &format!("{text}, 012345678"),
            &format!("{text}}}e5______"),
        ] {
            let (value, end) = decimal(text, 0);
            assert_eq!(value.map(f64::to_bits), Some(expected.to_bits()), "{text}");
            assert_eq!(end, text.find([',', '}']).unwrap_or(text.len()), "{text}");
        }
    }

    #[test]
    fn hard_numbers_are_rounded_as_std_does() {
        for text in [
            "0",
            "-0",
            "-0.0",
            "0e9999999999999999999",
            "1e999",
            "-1e999",
            "1e-999",
            "9007199254740992",
            "9007199254740993",
            "9007199254740993.0000001",
            "1e22",
            "1e23",
            "123456789012345678",
            "4.9e-324",
            "2.4703282292062327e-324",
            "2.4703282292062328e-324",
            "2.2250738585072011e-308",
            "1.7976931348623157e308",
            "1.7976931348623159e308",
            "18446744073709551616",
            "100000000000000000000000000000000000000000",
            "0.000000000000000000000000000000001",
            "1e99999999999999999999",
            "4.9e-32412345678901234567890",
            "0.5e+9999999999999999999",
            "1e-99999999999999999999",
            "0.3",
            "2.675",
            "8.5e-1",
        ] {
            check(text);
        }
    }

    #[test]
    fn what_is_not_a_json_number_is_refused_where_it_breaks() {
        for (text, at) in [
            ("-", 1),
            ("01", 1),
            ("-01", 2),
            ("1.", 2),
            ("1.e5", 2),
            ("1e", 2),
            ("1e+", 3),
            (".5", 0),
        ] {
            for text in [text, &format!("{text}, 012345678")] {
                assert_eq!(decimal(text, 0), (None, at), "{text}");
            }
        }
        // A value ends where the grammar ends; whoever asked for it sees what follows.
        assert_eq!(decimal("1-", 0), (Some(1.0), 1));
        assert_eq!(decimal("1-       ", 0), (Some(1.0), 1));
    }

    proptest! {
        #[test]
        fn any_double_comes_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                check(&format!("{value}"));
                check(&format!("{value:e}"));
            }
        }

        #[test]
        fn ties_and_their_neighbours_are_rounded_as_std_does(bits in any::<u64>(), q in 0_i32..28, step in -1_i64..2) {
            // Numbers of at most 19 digits next to the middle between two doubles.
            let value = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
            let middle = (value + f64::EPSILON / 2.0) * 10_f64.powi(18);
            let w = (middle as i64).saturating_add(step).max(0).to_string();
            let (whole, fraction) = w.split_at(w.len().saturating_sub(q as usize));
            let whole = if whole.is_empty() { "0" } else { whole };
            if fraction.is_empty() { check(whole) } else { check(&format!("{whole}.{fraction}")) }
        }

        #[test]
        fn short_halves_are_rounded_as_std_does(w in 1_u64 << 53..1 << 60, zeros in 0_usize..5) {
            // Multiples of a power of five over a power of ten end in exact halves.
            let digits = (w / 625 * 625).to_string();
            let (whole, fraction) = digits.split_at(digits.len() - zeros);
            if fraction.is_empty() { check(whole) } else { check(&format!("{whole}.{fraction}")) }
        }

        #[test]
        fn any_decimal_is_rounded_as_std_does(text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?") {
            check(&text);
        }
    }
}
