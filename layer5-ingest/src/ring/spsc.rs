//! One producer, one consumer: the ring between the committer and a shard.
//! In: values from one thread. Out: the same values to another, through a [`Consumer`]. Called from: the server's shards;
//! `mpsc` is its sibling. The producer keeps its own position and how far it has seen slots free in plain fields, and
//! reads the consumer's cache line only when none of those is left.
//! Invariants: `tail` (shared) is stored by the producer alone, after the values before it. The slots `tail .. limit` are
//! free.

use core::time::Duration;

pub use super::consumer::Consumer;
use super::{
    check_capacity,
    claim::{Claim, Outlet},
    cursors::{Cursors, Gauge},
    error::{ClaimError, PushError},
    lane::{Lane, Sending},
    position::{count, distance},
    sync::{Arc, publishing},
};

/// Makes a ring of `capacity` slots. Memory: the next power of two of slots, allocated here and
/// never again.
///
/// # Panics
/// When `capacity` is 0 or above [`CAPACITY_MAX`](super::CAPACITY_MAX).
///
/// # Example
/// ```
/// use layer5_ingest::ring::{PopError, PushError, spsc};
/// let (mut producer, mut consumer) = spsc::channel(2);
/// producer.push("a").unwrap();
/// producer.push("b").unwrap();
/// assert_eq!(producer.push("c"), Err(PushError::Full("c")));
/// assert_eq!(consumer.pop(), Ok("a"));
/// drop(producer);
/// assert_eq!(consumer.pop(), Ok("b"));
/// assert_eq!(consumer.pop(), Err(PopError::Closed));
/// ```
#[must_use]
pub fn channel<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    channel_at(capacity, 0)
}

/// As `channel`, with the first position given: tests start just before the wrap.
fn channel_at<T>(capacity: usize, start: u64) -> (Producer<T>, Consumer<T>) {
    check_capacity(capacity);
    let lane = Lane::unstamped(capacity, start);
    let consumer = Consumer::new(&lane);
    let producer = Producer {
        lane: Sending::at(&lane),
        tail: start,
        limit: start.wrapping_add(capacity as u64),
    };
    (producer, consumer)
}

/// The sending end.
#[derive(Debug)]
pub struct Producer<T> {
    lane: Sending<T>,
    /// Equals the shared tail.
    tail: u64,
    /// A capacity behind where the shared head was seen.
    limit: u64,
}

impl<T> Producer<T> {
    /// Appends a value.
    ///
    /// # Errors
    /// [`PushError::Full`] when no slot is free, [`PushError::Closed`] when the consumer is gone;
    /// both give it back.
    ///
    /// # Cost
    /// One store that the consumer sees; no read-modify-write.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), PushError<T>> {
        if !self.lane.cursors.has_consumer() {
            return Err(PushError::Closed(value));
        }
        if self.free_for(1) == 0 {
            return Err(PushError::Full(value));
        }
        // SAFETY: the slot at `tail` is free, so says `free_for`, and this is the only producer.
        unsafe { self.lane.slots.write(self.tail, value) };
        self.publish_to(self.tail.wrapping_add(1));
        Ok(())
    }

    /// Appends a value, waiting for room for at most `timeout`: spins shortly, then sleeps.
    ///
    /// # Errors
    /// [`PushError::Full`] when there was no room in time, [`PushError::Closed`] when the consumer
    /// is gone.
    pub fn push_wait(&mut self, value: T, timeout: Duration) -> Result<(), PushError<T>> {
        match self.wait_room(1, timeout) {
            Ok(()) => self.push(value),
            Err(ClaimError::Closed) => Err(PushError::Closed(value)),
            Err(_) => Err(PushError::Full(value)),
        }
    }

    /// Appends copies of all of `values`, or of none.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    #[inline]
    pub fn push_all(&mut self, values: &[T]) -> Result<(), ClaimError>
    where
        T: Copy,
    {
        let mut claim = self.claim(values.len())?;
        claim.fill_copy(values);
        claim.publish();
        Ok(())
    }

    /// Appends copies of as many of the first `values` as there is room for; returns how many (0
    /// also when closed).
    #[inline]
    pub fn push_slice(&mut self, values: &[T]) -> usize
    where
        T: Copy,
    {
        let free = self.free_for(values.len() as u64);
        let n = values.len().min(count(free));
        match self.push_all(&values[..n]) {
            Ok(()) => n,
            Err(_) => 0,
        }
    }

    /// Moves all of `values` into the ring and leaves the vector empty, or moves none and leaves it
    /// as it is.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub fn push_vec(&mut self, values: &mut Vec<T>) -> Result<(), ClaimError> {
        let n = values.len();
        let mut claim = self.claim(n)?;
        // SAFETY: no value of the vector is dropped by it any more: they are moved below, and `n`
        // slots were claimed.
        unsafe { values.set_len(0) };
        // SAFETY: the vector's memory still holds the `n` values, outside the table, and they count
        // as moved.
        unsafe { claim.fill_from(values.as_ptr(), n) };
        claim.publish();
        Ok(())
    }

    /// Reserves `n` slots to be filled in place, all of them or none; they may lie over the end of
    /// the ring's memory.
    ///
    /// # Errors
    /// [`ClaimError::Full`] when fewer are free, [`ClaimError::TooLarge`] when the ring has fewer
    /// in all, [`ClaimError::Closed`] when the consumer is gone.
    ///
    /// # Example
    /// ```
    /// let (mut producer, mut consumer) = layer5_ingest::ring::spsc::channel(4);
    /// let mut claim = producer.claim(3).unwrap();
    /// claim.fill(["a", "b", "c"].map(String::from));
    /// claim.publish();
    /// assert_eq!(consumer.chunk(8).as_slices().0, ["a", "b", "c"]);
    /// ```
    #[inline]
    pub fn claim(&mut self, n: usize) -> Result<Claim<'_, T>, ClaimError> {
        self.make_room(n)?;
        Ok(Claim {
            slots: &self.lane.slots,
            cursors: &self.lane.cursors,
            at: self.tail,
            outlet: Outlet::Tail(&mut self.tail),
            len: n,
            filled: 0,
        })
    }

    /// As [`claim`](Self::claim), waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// As [`claim`](Self::claim); [`ClaimError::TooLarge`] at once.
    pub fn claim_wait(&mut self, n: usize, timeout: Duration) -> Result<Claim<'_, T>, ClaimError> {
        self.wait_room(n, timeout)?;
        self.claim(n)
    }

    /// Returns the number of slots.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.gauge().capacity()
    }

    /// Returns whether the consumer is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !self.lane.cursors.has_consumer()
    }

    /// Returns an observer of the fill level.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        Gauge::new(&self.lane.cursors)
    }

    /// Returns how many slots are free, looking afresh only when fewer than `wanted` are known to
    /// be.
    #[inline]
    fn free_for(&mut self, wanted: u64) -> u64 {
        let free = distance(self.tail, self.limit);
        if free >= wanted {
            return free;
        }
        self.limit = look(&self.lane.cursors, self.tail, wanted);
        distance(self.tail, self.limit)
    }

    /// Succeeds when `n` slots are free from `tail` on.
    #[inline]
    fn make_room(&mut self, n: usize) -> Result<(), ClaimError> {
        if !self.lane.cursors.has_consumer() {
            return Err(ClaimError::Closed);
        }
        let free = self.free_for(n as u64);
        if free >= n as u64 {
            Ok(())
        } else {
            Err(self.lane.cursors.refusal(n, free))
        }
    }

    fn wait_room(&mut self, n: usize, timeout: Duration) -> Result<(), ClaimError> {
        let mut outcome = self.make_room(n);
        if matches!(outcome, Err(ClaimError::Full { .. })) {
            let cursors = Arc::clone(&self.lane.cursors);
            cursors.ends.freed.wait(timeout, || {
                outcome = self.make_room(n);
                !matches!(outcome, Err(ClaimError::Full { .. }))
            });
        }
        outcome
    }

    #[inline]
    fn publish_to(&mut self, tail: u64) {
        self.tail = tail;
        // Release: the values stay before; partner: Acquire in `Lane::tail`.
        self.lane.cursors.tail.at.store(tail, publishing());
        self.lane.cursors.ends.published.ring();
    }
}

/// Looks how far the slots behind `tail` are free; notes the level when fewer are than `wanted`. By value, see `lane`.
#[inline(never)]
fn look(cursors: &Cursors, tail: u64, wanted: u64) -> u64 {
    let capacity = cursors.ends.capacity;
    let mut limit = tail;
    let free = cursors.tail.pace.look(capacity, || {
        limit = cursors.head().wrapping_add(capacity);
        distance(tail, limit)
    });
    debug_assert!(free <= capacity);
    if free < wanted {
        cursors.note_level(capacity - free);
    }
    limit
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::VecDeque;

    use super::channel_at;

    #[test]
    fn positions_wrap_without_a_trace() {
        for capacity in [1, 2, 3, 4, 7, 8] {
            for before_wrap in 0..20 {
                let (mut producer, mut consumer) = channel_at(capacity, u64::MAX - before_wrap);
                let mut model = VecDeque::new();
                for i in 0..60_usize {
                    if producer.push(i).is_ok() {
                        model.push_back(i);
                    }
                    let batch = [i; 3];
                    model.extend(&batch[..producer.push_slice(&batch[..i % 4])]);
                    assert_eq!(consumer.gauge().len(), model.len());
                    for _ in 0..i % 3 {
                        assert_eq!(consumer.pop().ok(), model.pop_front());
                    }
                    if i % 5 == 0 {
                        let mut out = Vec::new();
                        consumer.drain_into(&mut out, 2);
                        assert!(out.into_iter().eq(model.drain(..model.len().min(2))));
                    }
                }
            }
        }
    }
}
