//! Keeps an end that has caught up with the other off its heels.
//! In: what each look at the other's position found. Out: a pause before the next look, or none. Called from: `consumer`,
//! `spsc`.
//!
//! Two ends that are a few items apart write and read the same cache lines, and each look at the other's position takes
//! its line away: every item costs two or three transfers between cores, several times of what it costs when they are far
//! apart. And they stay there, because the one behind is as slow as the one in front. So whoever finds little lets the
//! other go ahead before it looks again. A single item is not little, but what somebody waits for who sends the next one
//! when this has come back; and a pause that has brought next to nothing is not repeated.
//! Invariants: a pause is `PAUSES` spins, whatever happens; it delays, and never changes an answer.

use super::sync::{AtomicBool, Ordering, spin_loop};

/// Spins of a pause: a few transfers of a cache line long.
const PAUSES: u32 = if cfg!(loom) { 0 } else { 8 };

/// Fewer items than these are no reason for a pause.
const LITTLE_MIN: u64 = 2;

/// What a pause brings at least, if it was worth it.
const WORTH: u64 = 4;

/// So many are not little, or this part of the slots.
const ENOUGH: u64 = 64;
const ENOUGH_PART: u64 = 8;

/// How one end looks at the other. It lies in that end's cache line, and only that end uses it.
#[derive(Debug)]
pub(super) struct Pace {
    /// The next look is put off.
    pausing: AtomicBool,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            pausing: AtomicBool::new(false),
        }
    }

    /// To be called before a look.
    #[inline]
    pub(super) fn wait(&self) {
        // Relaxed, here and below: of one thread alone.
        if self.pausing.load(Ordering::Relaxed) {
            (0..PAUSES).for_each(|_| spin_loop());
        }
    }

    /// To be called after a look that found `n` items, or free slots, of `capacity`.
    #[inline]
    pub(super) fn found(&self, n: u64, capacity: u64) {
        let pausing = self.pausing.load(Ordering::Relaxed);
        let little = if pausing { WORTH } else { LITTLE_MIN };
        let enough = (capacity / ENOUGH_PART).min(ENOUGH);
        self.pausing
            .store((little..enough).contains(&n), Ordering::Relaxed);
    }
}
