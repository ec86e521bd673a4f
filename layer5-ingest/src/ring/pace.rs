//! Keeps an end that has caught up with the other off its heels.
//! In: a way to look at the other's position. Out: how much is there. Called from: `consumer`, `spsc`.
//!
//! Two ends that are a few items apart write and read the same cache lines, and each look at the other's position takes
//! its line away: every item costs two or three transfers between cores, several times of what it costs when they are far
//! apart. And they stay there, because the one behind is as slow as the one in front. So whoever finds little lets the
//! other go ahead and looks once more. Where that brings next to nothing, because the other is slow, asleep, or this same
//! thread, the next looks are not followed by a pause. A single item is not little: somebody may send the next one when
//! it has come back.
//! Invariants: a look pauses at most once, for `PAUSES` spins; that delays it, and never changes an answer.

use super::sync::{AtomicU32, Ordering, spin_loop};

/// Spins of a pause: several transfers of a cache line, somewhat less than a microsecond.
const PAUSES: u32 = 24;

/// Fewer items than these are no reason for a pause.
const LITTLE_MIN: u64 = 2;

/// So many are not little, or this part of the slots.
pub(super) const ENOUGH: u64 = 256;
const ENOUGH_PART: u64 = 4;

/// What a pause brings at least, if it was worth it.
const WORTH: u64 = 4;

/// Looks without a pause after one that was not.
const REST: u32 = 64;

/// How one end looks at the other. It lies in that end's cache line, and only that end uses it.
#[derive(Debug)]
pub(super) struct Pace {
    /// Looks without a pause that are left.
    rest: AtomicU32,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            rest: AtomicU32::new(0),
        }
    }

    /// Looks how many items, or free slots, of `capacity` there are, a second time where the first has found little.
    #[inline]
    pub(super) fn look(&self, capacity: u64, mut look: impl FnMut() -> u64) -> u64 {
        let n = look();
        let enough = (capacity / ENOUGH_PART).min(ENOUGH);
        if !(LITTLE_MIN..enough).contains(&n) {
            return n;
        }
        // Relaxed, here and below: of one thread alone.
        let rest = self.rest.load(Ordering::Relaxed);
        if rest > 0 {
            self.rest.store(rest - 1, Ordering::Relaxed);
            return n;
        }
        (0..PAUSES).for_each(|_| spin_loop());
        let more = look();
        if more < n + WORTH {
            self.rest.store(REST, Ordering::Relaxed);
        }
        more
    }
}
