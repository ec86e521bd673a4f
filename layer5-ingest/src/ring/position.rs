//! Positions count every slot ever claimed; this file holds their arithmetic and the stamp that
//! publishes a claim.
//! In: plain `u64`s. Out: plain `u64`s. Called from: `spsc`, `mpsc`, `slots`, `claim`, `chunk`.
//! Invariants: a position wraps at 2^64 and slot tables have a power of two of slots, so `position
//! & mask` stays right over the wrap. Positions are compared only through their wrapping distance,
//! never with `<`.
//!
//! A stamp lies in the slot table of `mpsc` at the first slot of a claim and says where that claim
//! ends: `end << 1 | skip`. A reader standing at position `at` takes it as published when the
//! distance from `at` to `end` is `1 ..= slots`. What an earlier lap left there ended at or before
//! `at` (a claim is never longer than the table), so its distance is zero or negative and nobody
//! has to clear it.

/// Whether the slots of a claim hold values, or were given back empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// `len` slots hold values.
    Filled(u64),
    /// `len` slots hold nothing and are to be passed over.
    Skipped(u64),
}

/// Returns how far `to` lies behind `from`; huge when `to` is in truth the older one.
#[inline]
pub(super) fn distance(from: u64, to: u64) -> u64 {
    to.wrapping_sub(from)
}

/// Returns a number of slots as an index type.
#[inline]
pub(super) fn count(n: u64) -> usize {
    debug_assert!(
        usize::try_from(n).is_ok(),
        "numbers of slots are bounded by a capacity, a usize"
    );
    n as usize
}

/// Returns the stamp of a claim that ends before position `end`.
#[inline]
pub(super) fn stamp(end: u64, skip: bool) -> u64 {
    (end << 1) | u64::from(skip)
}

/// Reads a stamp as seen by a reader at position `at` of a table of `slots` slots; `None`: not yet
/// published.
#[inline]
pub(super) fn read_stamp(stamp: u64, at: u64, slots: u64) -> Option<Run> {
    // Both sides are doubled, so the distance is taken modulo 2^63, far beyond the `slots` it is
    // compared with.
    let twice = stamp.wrapping_sub(at << 1);
    let len = twice >> 1;
    if !(1..=slots).contains(&len) {
        return None;
    }
    Some(if twice & 1 == 0 {
        Run::Filled(len)
    } else {
        Run::Skipped(len)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Run, distance, read_stamp, stamp};

    proptest! {
        #[test]
        fn a_stamp_reads_back_at_its_own_position_and_nowhere_later(
            at in prop_oneof![any::<u64>(), (u64::MAX - 70)..=u64::MAX, 0..70_u64],
            bits in 0..40_u32,
            len in 1..=u64::from(u32::MAX),
            laps in 1..1000_u64,
            skip in any::<bool>(),
        ) {
            let slots = 1_u64 << bits;
            let len = (len - 1) % slots + 1;
            let word = stamp(at.wrapping_add(len), skip);
            let expected = if skip { Run::Skipped(len) } else { Run::Filled(len) };
            prop_assert_eq!(read_stamp(word, at, slots), Some(expected));
            prop_assert_eq!(read_stamp(word, at.wrapping_add(laps * slots), slots), None);
        }

        #[test]
        fn distance_survives_the_wrap(from in any::<u64>(), len in 0..u64::from(u32::MAX)) {
            prop_assert_eq!(distance(from, from.wrapping_add(len)), len);
        }
    }

    #[test]
    fn a_fresh_table_has_nothing_published() {
        for start in [0, 5, u64::MAX - 3] {
            for i in 0..8 {
                assert_eq!(
                    read_stamp(stamp(start, false), start.wrapping_add(i), 8),
                    None
                );
            }
        }
    }
}
