//! Keeps an end that has caught up with the other off its heels.
//! In: a way to look at the other's position. Out: how much is there. Called from: `consumer`, `spsc`.
//!
//! Two ends that are a few items apart write and read the same cache lines, and each look at the other's position takes
//! its line away: every item costs two or three transfers between cores, several times of what it costs when they are far
//! apart. And they stay there, because the one behind is as slow as the one in front. So whoever finds little lets the
//! other go ahead and looks once more. Where that brings next to nothing, because the other is slow, asleep, waits for an
//! answer, or is this same thread, the next looks are not followed by a pause, and more of them each time that happens.
//! Invariants: a look pauses at most once, for `PAUSES` spins; that delays it, and never changes an answer.

use super::sync::{AtomicU32, Ordering, spin_loop};

/// Spins of a pause: several transfers of a cache line, somewhat less than a microsecond.
const PAUSES: u32 = 24;

/// So many are not little, or this part of the slots.
pub(super) const ENOUGH: u64 = 256;
const ENOUGH_PART: u64 = 4;

/// What a pause brings at least, if it was worth it.
const WORTH: u64 = 4;

/// Looks without a pause after one that was not: at first, and after many in a row.
const REST_MIN: u32 = 64;
const REST_MAX: u32 = 4096;

/// Spins of a producer that another one came before: so many items go in before they meet again.
const GIVE_WAY: u32 = if cfg!(loom) { 0 } else { 8 };

/// How one end looks at the other. It lies in that end's cache line, and only that end uses it.
#[derive(Debug)]
pub(super) struct Pace {
    /// Looks without a pause that are left.
    rest: AtomicU32,
    /// How many those were at first; 0 after a pause that was worth it.
    rest_last: AtomicU32,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            rest: AtomicU32::new(0),
            rest_last: AtomicU32::new(0),
        }
    }

    /// Looks how many items, or free slots, of `capacity` there are, a second time where the first has found little.
    #[inline]
    pub(super) fn look(&self, capacity: u64, mut look: impl FnMut() -> u64) -> u64 {
        let n = look();
        let enough = (capacity / ENOUGH_PART).min(ENOUGH);
        if !(1..enough).contains(&n) {
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
        let rest = match more < n + WORTH {
            true => (2 * self.rest_last.load(Ordering::Relaxed)).clamp(REST_MIN, REST_MAX),
            false => 0,
        };
        self.rest.store(rest, Ordering::Relaxed);
        self.rest_last.store(rest, Ordering::Relaxed);
        more
    }
}

/// Lets the producer that came first go ahead with more than one item: claims taken in turns cost a transfer of the tail's
/// cache line each.
#[cold]
pub(super) fn give_way() {
    (0..GIVE_WAY).for_each(|_| spin_loop());
}
