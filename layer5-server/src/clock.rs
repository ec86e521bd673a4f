//! The one place where the wall clock is read; everything else is handed a [`Timestamp`].

use std::time::{SystemTime, UNIX_EPOCH};

use layer5_core::Timestamp;

/// Now, by the machine's clock.
#[must_use]
pub fn now() -> Timestamp {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)),
        Err(before) => Timestamp::from_nanos(
            i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n),
        ),
    }
}
