//! The three forms of a time in JSON: RFC 3339 text, seconds since 1970, and how serde writes a `SystemTime`.
//! In: a scanner at the value. Out: the moment, or none when the value is of no form. Called from: `report_json`.

use std::borrow::Cow;

use layer5_core::Timestamp;

use super::keys::Keys;
use super::scan::{Broken, Scanner};

/// Whole seconds are exact; a fraction is as exact as its double, as everywhere a time is read from JSON.
pub(super) fn seconds_to_time(text: &str, seconds: f64) -> Option<Timestamp> {
    if let Ok(whole) = text.parse::<u64>() {
        return Timestamp::from_parts(whole, 0);
    }
    if let Ok(whole) = text.parse::<i64>() {
        return whole
            .checked_mul(layer5_core::time::NANOS_PER_SECOND)
            .map(Timestamp::from_nanos);
    }
    Timestamp::from_seconds(seconds)
}

/// The members of a time in the form of a serde `SystemTime`.
#[derive(Clone, Copy, Debug)]
pub(super) enum TimePart {
    Seconds,
    Nanos,
    Unknown,
}

/// Reads `{"secs_since_epoch": u64, "nanos_since_epoch": u32}`; without nanoseconds they are 0.
pub(super) fn system_time(
    scanner: &mut Scanner<'_>,
    depth: u32,
    keys: &mut Keys<TimePart>,
) -> Result<Option<Timestamp>, Broken> {
    let depth = scanner.deeper(depth)?;
    let (mut secs, mut nanos, mut sound) = (None, Some(0), true);
    let meaning = |key: Cow<'_, str>| match &*key {
        "secs_since_epoch" => TimePart::Seconds,
        "nanos_since_epoch" => TimePart::Nanos,
        _ => TimePart::Unknown,
    };
    keys.each_member(scanner, meaning, |part, scanner, _| {
        match part {
            TimePart::Seconds => {
                secs = integer(scanner, depth)?;
                sound &= secs.is_some();
            }
            TimePart::Nanos => {
                nanos = integer(scanner, depth)?.and_then(|n| u32::try_from(n).ok());
                sound &= nanos.is_some();
            }
            TimePart::Unknown => scanner.skip_value(depth)?,
        }
        Ok(())
    })?;
    let parts = secs.zip(nanos).filter(|_| sound);
    Ok(parts.and_then(|(secs, nanos)| Timestamp::from_parts(secs, nanos)))
}

/// Reads a `u64` written without fraction and exponent; `None` for any other value.
fn integer(scanner: &mut Scanner<'_>, depth: u32) -> Result<Option<u64>, Broken> {
    let start = scanner.offset();
    scanner.skip_value(depth)?;
    Ok(scanner.since(start).parse().ok())
}
