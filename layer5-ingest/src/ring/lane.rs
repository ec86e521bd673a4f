//! The memory of a ring and the places of its ends: slots, the stamps that publish them where producers are many, and the
//! values left in them when an end goes.
//! In: positions. Out: how far values are published. Called from: `spsc`, `mpsc`, `consumer`.
//! What an end does when it is dropped is done by its place here, so that the ends themselves are plain fields that no
//! call takes the address of, and can live in registers.
//! Invariants: with one producer there are no stamps, and all before `tail` is published; with many there is a stamp for
//! each slot, and a claim is published by the stamp of its first (see `position`). When the last end goes, `head` is at the
//! first position of a claim.

use core::ops::Deref;

use super::{
    chunk::Chunk,
    cursors::Cursors,
    position::{Run, count, distance, read_stamp, stamp},
    slots::Slots,
    sync::{Arc, AtomicU64, Ordering},
};

/// Bytes of slots that the consumer's core still has at hand after it read them: half of a small first cache.
const RECENT: usize = 16 << 10;
/// Bytes of a table that comes round before a core has forgotten what it read there: half of a second cache.
const REMEMBERED: usize = 256 << 10;

/// What the ends of a ring share beyond their positions.
#[derive(Debug)]
pub(super) struct Lane<T> {
    pub(super) slots: Slots<T>,
    /// One for each slot, or none.
    pub(super) stamps: Box<[AtomicU64]>,
    /// Whether the consumer makes lines its own.
    takes_lines: bool,
    pub(super) cursors: Arc<Cursors>,
}

impl<T> Lane<T> {
    /// For one producer.
    pub(super) fn unstamped(capacity: usize, start: u64) -> Arc<Self> {
        Self::new(Slots::new(capacity), Box::default(), capacity, start)
    }

    /// For many.
    pub(super) fn stamped(capacity: usize, start: u64) -> Arc<Self> {
        let slots = Slots::new(capacity);
        let stamps = (0..slots.len())
            .map(|_| AtomicU64::new(stamp(start, false)))
            .collect();
        Self::new(slots, stamps, capacity, start)
    }

    fn new(slots: Slots<T>, stamps: Box<[AtomicU64]>, capacity: usize, start: u64) -> Arc<Self> {
        Arc::new(Self {
            takes_lines: slots.len() * size_of::<T>() <= REMEMBERED,
            slots,
            stamps,
            cursors: Arc::new(Cursors::new(capacity, start)),
        })
    }

    /// Looks how far values are published beyond `head .. seen`, where producers are many for `wanted` of them at least;
    /// returns both anew. Slots given back empty are freed when they come first; in the middle they end the walk.
    #[inline(never)]
    pub(super) fn published(&self, mut head: u64, mut seen: u64, wanted: u64) -> (u64, u64) {
        if self.stamps.is_empty() {
            seen = self.tail();
        } else {
            while distance(head, seen) < wanted {
                let word = self.stamp_at(seen);
                // A single value, as most are. The branch is foreseen, so that the next look need not wait for this stamp.
                let next = seen.wrapping_add(1);
                if word == stamp(next, false) {
                    seen = next;
                    continue;
                }
                match self.read(word, seen) {
                    Some(Run::Filled(len)) => seen = seen.wrapping_add(len),
                    Some(Run::Skipped(len)) if head == seen => {
                        head = head.wrapping_add(len);
                        seen = head;
                        self.cursors.free_to(head);
                    }
                    _ => break,
                }
            }
        }
        self.cursors.note_seen(seen);
        let level = distance(head, seen);
        debug_assert!(level <= self.cursors.ends.capacity);
        self.cursors.note_level(level);
        (head, seen)
    }

    /// Returns the end of what one producer has published.
    #[inline]
    fn tail(&self) -> u64 {
        // Acquire: the values before it are in their slots; partner: the Release in `spsc::Producer::publish_to` and
        // `Claim::release`.
        self.cursors.tail.at.load(Ordering::Acquire)
    }

    /// Returns the stamp at `at`, the first position of a claim.
    #[inline]
    fn stamp_at(&self, at: u64) -> u64 {
        // Acquire: the claim's values are in their slots; partner: the Release in `mpsc::Producer::publish_one` and
        // `Claim::release`.
        self.stamps[self.slots.index(at)].load(Ordering::Acquire)
    }

    /// Returns what the stamp at `at` says one of many producers has published.
    #[inline]
    fn read(&self, stamp: u64, at: u64) -> Option<Run> {
        read_stamp(stamp, at, self.slots.len() as u64)
    }

    /// Makes the cache lines of the slots `at .. at + n`, which are about to be freed, this core's own.
    ///
    /// A line that the consumer has only read stays the producer's as well, and the producer's next write there has to wait
    /// until the consumer's copy is gone, one line after the other. One that the consumer has written moves as a whole, and
    /// many of them at a time. In a large table its copy is long gone by itself, and the writes would be for nothing
    /// (figures: docs/benchmarks.md).
    /// # Safety
    /// The slots are the consumer's, `n <= len`, and hold no values.
    #[inline]
    pub(super) unsafe fn take_lines(&self, at: u64, n: usize) {
        if !self.takes_lines {
            return;
        }
        let recent = n.min(RECENT / size_of::<T>().max(1));
        let at = at.wrapping_add((n - recent) as u64);
        // SAFETY: these are some of the slots that the caller speaks of.
        unsafe { self.slots.take_lines(at, recent) };
        if !self.stamps.is_empty() {
            (0..recent as u64).for_each(|i| self.take_stamp(at.wrapping_add(i)));
        }
    }

    /// As [`take_lines`](Self::take_lines), of one slot.
    /// # Safety
    /// As there.
    #[inline]
    pub(super) unsafe fn take_line(&self, at: u64) {
        if !self.takes_lines {
            return;
        }
        // SAFETY: the caller's word.
        unsafe { self.slots.take_lines_side_by_side(at, 1) };
        if !self.stamps.is_empty() {
            self.take_stamp(at);
        }
    }

    /// Writes to the stamp of a slot what publishes nothing later: that a claim ended behind it.
    #[inline]
    fn take_stamp(&self, at: u64) {
        // Relaxed: the store of the head that frees the slot comes behind it, and the next stamp behind that.
        self.stamps[self.slots.index(at)]
            .store(stamp(at.wrapping_add(1), false), Ordering::Relaxed);
    }

    /// Drops what is published and not taken, for a consumer that goes.
    fn drain(&self) {
        let (mut head, mut seen) = self.cursors.consumer_position();
        loop {
            (head, seen) = self.published(head, seen, u64::MAX);
            let len = count(distance(head, seen));
            let chunk = Chunk {
                lane: self,
                head: &mut head,
                len,
            };
            if chunk.commit_all() == 0 {
                return;
            }
        }
    }
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        let mut at = self.cursors.head();
        if self.stamps.is_empty() {
            let len = count(distance(at, self.tail()));
            // SAFETY: both ends are gone, so this owns every slot; `head .. tail` were published and not taken.
            unsafe { self.slots.drop_values(at, len) };
            return;
        }
        while let Some(run) = self.read(self.stamp_at(at), at) {
            at = match run {
                Run::Skipped(len) => at.wrapping_add(len),
                Run::Filled(len) => {
                    let n = count(len);
                    // SAFETY: every end is gone, so this owns all slots; the stamp says that these hold values, and the
                    // consumer, before it left, took every run it had begun.
                    unsafe { self.slots.drop_values(at, n) };
                    at.wrapping_add(len)
                }
            };
        }
    }
}

/// A producer's place.
#[derive(Debug)]
pub(super) struct Sending<T>(Arc<Lane<T>>);

impl<T> Sending<T> {
    /// The first place at a lane.
    pub(super) fn at(lane: &Arc<Lane<T>>) -> Self {
        Self(Arc::clone(lane))
    }
}

impl<T> Clone for Sending<T> {
    fn clone(&self) -> Self {
        self.0.cursors.join_producer();
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Sending<T> {
    type Target = Lane<T>;

    #[inline]
    fn deref(&self) -> &Lane<T> {
        &self.0
    }
}

impl<T> Drop for Sending<T> {
    fn drop(&mut self) {
        self.0.cursors.leave_producer();
    }
}

/// The consumer's place.
#[derive(Debug)]
pub(super) struct Receiving<T>(Arc<Lane<T>>);

impl<T> Receiving<T> {
    /// The only place at a lane.
    pub(super) fn at(lane: &Arc<Lane<T>>) -> Self {
        Self(Arc::clone(lane))
    }
}

impl<T> Deref for Receiving<T> {
    type Target = Lane<T>;

    #[inline]
    fn deref(&self) -> &Lane<T> {
        &self.0
    }
}

impl<T> Drop for Receiving<T> {
    fn drop(&mut self) {
        self.0.cursors.leave_consumer();
        self.0.drain();
    }
}
