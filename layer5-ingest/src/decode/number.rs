//! Decimal text to the nearest double, bit for bit as [`str::parse`] gives it, and faster where that is easy.
//! In: text and where the number starts. Out: the double and where it ends. Called from: `scan`.
//! Reference: Clinger (1990), "How to read floating point numbers accurately", the fast path: when the digits fit
//! 53 bits and the power of ten is exact, one correctly rounded operation gives the correctly rounded result.

/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Reads the JSON number at `start`; infinite when too large. An error is the index where a digit is missing.
#[inline]
pub(super) fn decimal(text: &str, start: usize) -> Result<(f64, usize), usize> {
    let bytes = text.as_bytes();
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let negative = at(start) == b'-';
    let first = start + usize::from(negative);
    let mut i = first;
    // Wraps when there are more than 19 digits; such a number is not taken by the fast path.
    let mut mantissa = 0_u64;
    while at(i).is_ascii_digit() {
        mantissa = mantissa
            .wrapping_mul(10)
            .wrapping_add(u64::from(at(i) - b'0'));
        i += 1;
    }
    let mut n_digits = i - first;
    if n_digits == 0 {
        return Err(i);
    }
    if n_digits > 1 && at(first) == b'0' {
        return Err(first + 1);
    }
    let mut exponent = 0_i64;
    if at(i) == b'.' {
        i += 1;
        let from = i;
        while at(i).is_ascii_digit() {
            mantissa = mantissa
                .wrapping_mul(10)
                .wrapping_add(u64::from(at(i) - b'0'));
            i += 1;
        }
        if i == from {
            return Err(i);
        }
        n_digits += i - from;
        exponent = -((i - from) as i64);
    }
    if matches!(at(i), b'e' | b'E') {
        i += 1;
        let minus = at(i) == b'-';
        i += usize::from(minus || at(i) == b'+');
        let from = i;
        let mut n = 0_i64;
        while at(i).is_ascii_digit() {
            n = n.saturating_mul(10).saturating_add(i64::from(at(i) - b'0'));
            i += 1;
        }
        if i == from {
            return Err(i);
        }
        exponent = exponent.saturating_add(if minus { -n } else { n });
    }
    if n_digits <= 19 && mantissa <= 1 << f64::MANTISSA_DIGITS && (-22..=22).contains(&exponent) {
        let power = EXACT_POWERS[exponent.unsigned_abs() as usize];
        let magnitude = if exponent < 0 {
            mantissa as f64 / power
        } else {
            mantissa as f64 * power
        };
        return Ok((if negative { -magnitude } else { magnitude }, i));
    }
    Ok((slow(&text[start..i]), i))
}

#[cold]
fn slow(number: &str) -> f64 {
    number
        .parse()
        .expect("JSON numbers are a part of what Rust parses as f64")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str) {
        let expected: f64 = text.parse().expect(text);
        let (value, end) = decimal(text, 0).expect(text);
        assert_eq!(value.to_bits(), expected.to_bits(), "{text}");
        assert_eq!(end, text.len(), "{text}");
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
            assert_eq!(decimal(text, 0), Err(at), "{text}");
        }
        // A value ends where the grammar ends; whoever asked for it sees what follows.
        assert_eq!(decimal("1-", 0), Ok((1.0, 1)));
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
        fn any_decimal_is_rounded_as_std_does(text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?") {
            check(&text);
        }
    }
}
