//! Many producers, one consumer: the intake, where every handler pushes and the committer drains.
//! In: values from any thread. Out: the same values to one thread, each producer's in its order.
//! Called from: the server. A producer claims `n` positions by one compare-and-swap of the tail,
//! fills their slots, and stamps the first with the claim's end (see `position`). The consumer
//! walks from stamp to stamp. So a batch costs two shared writes whatever its length, claims fill
//! and publish independently of each other, and one not yet published holds back only what the
//! consumer would read after it.
//! Invariants: the claims partition the positions. A stamp is stored once for each claim, after its values.

use core::time::Duration;

pub use super::consumer::Consumer;
use super::{
    check_capacity,
    claim::{Claim, Outlet},
    cursors::{Cursors, Gauge},
    error::{ClaimError, PushError},
    lane::{Lane, Sending},
    pace::give_way,
    position::{distance, stamp},
    sync::{Ordering, publishing},
};

/// Makes a ring of `capacity` slots. Memory: the next power of two of slots and as many stamps of
/// eight bytes, allocated here and never again.
///
/// # Panics
/// When `capacity` is 0 or above [`CAPACITY_MAX`](super::CAPACITY_MAX).
///
/// # Example
/// ```
/// use layer5_ingest::ring::{PopError, mpsc};
/// let (producer, mut consumer) = mpsc::channel(4);
/// let other = producer.clone();
/// producer.push(1).unwrap();
/// other.push(2).unwrap();
/// drop((producer, other));
/// assert_eq!((consumer.pop(), consumer.pop()), (Ok(1), Ok(2)));
/// assert_eq!(consumer.pop(), Err(PopError::Closed));
/// ```
#[must_use]
pub fn channel<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    channel_at(capacity, 0)
}

/// As `channel`, with the first position given: tests start just before the wrap.
fn channel_at<T>(capacity: usize, start: u64) -> (Producer<T>, Consumer<T>) {
    check_capacity(capacity);
    let lane = Lane::stamped(capacity, start);
    let consumer = Consumer::new(&lane);
    let producer = Producer {
        lane: Sending::at(&lane),
    };
    (producer, consumer)
}

/// A sending end: clone it for each thread, or share one by reference.
#[derive(Debug)]
pub struct Producer<T> {
    lane: Sending<T>,
}

impl<T> Producer<T> {
    /// Appends a value.
    ///
    /// # Errors
    /// [`PushError::Full`] when no slot is free, [`PushError::Closed`] when the consumer is gone;
    /// both give it back.
    ///
    /// # Cost
    /// One compare-and-swap, retried when another producer came first, and one store.
    #[inline]
    pub fn push(&self, value: T) -> Result<(), PushError<T>> {
        if !self.lane.cursors.has_consumer() {
            return Err(PushError::Closed(value));
        }
        let Ok(at) = self.reserve(1) else {
            return Err(PushError::Full(value));
        };
        // SAFETY: `reserve` gave the slot at `at` to this call alone, free.
        unsafe { self.lane.slots.write(at, value) };
        self.publish_one(at);
        Ok(())
    }

    /// Appends a value, waiting for room for at most `timeout`: spins shortly, then sleeps.
    ///
    /// # Errors
    /// [`PushError::Full`] when there was no room in time, [`PushError::Closed`] when the consumer
    /// is gone.
    pub fn push_wait(&self, value: T, timeout: Duration) -> Result<(), PushError<T>> {
        match self.reserve_wait(1, timeout) {
            Ok(at) => {
                // SAFETY: `reserve_wait` gave the slot at `at` to this call alone, free.
                unsafe { self.lane.slots.write(at, value) };
                self.publish_one(at);
                Ok(())
            }
            Err(ClaimError::Closed) => Err(PushError::Closed(value)),
            Err(_) => Err(PushError::Full(value)),
        }
    }

    /// Appends copies of all of `values` side by side, or of none.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    #[inline]
    pub fn push_all(&self, values: &[T]) -> Result<(), ClaimError>
    where
        T: Copy,
    {
        let mut claim = self.claim(values.len())?;
        claim.fill_copy(values);
        claim.publish();
        Ok(())
    }

    /// Moves all of `values` into the ring side by side and leaves the vector empty, or moves none
    /// and leaves it as it is.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    ///
    /// # Example
    /// ```
    /// use layer5_ingest::ring::{ClaimError, mpsc};
    /// let (producer, _consumer) = mpsc::channel(2);
    /// let mut batch = vec![String::from("a"), String::from("b")];
    /// producer.push_vec(&mut batch).unwrap();
    /// assert!(batch.is_empty());
    /// batch.push(String::from("c"));
    /// assert_eq!(producer.push_vec(&mut batch), Err(ClaimError::Full { asked: 1, free: 0 }));
    /// assert_eq!(batch, ["c"]);
    /// ```
    pub fn push_vec(&self, values: &mut Vec<T>) -> Result<(), ClaimError> {
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

    /// Reserves `n` slots side by side to be filled in place, all of them or none; they may lie
    /// over the end of the ring's memory. Values that other producers claim later wait behind this
    /// claim, so fill it from what is at hand.
    ///
    /// # Errors
    /// [`ClaimError::Full`] when fewer are free, [`ClaimError::TooLarge`] when the ring has fewer
    /// in all, [`ClaimError::Closed`] when the consumer is gone.
    ///
    /// # Cost
    /// One compare-and-swap to claim and one or two stores to publish, whatever `n` is.
    ///
    /// # Example
    /// ```
    /// let (producer, mut consumer) = layer5_ingest::ring::mpsc::channel(4);
    /// let mut claim = producer.claim(3).unwrap();
    /// claim.fill(1..=2);
    /// assert_eq!(claim.publish(), 2); // the third slot goes back
    /// assert_eq!(consumer.chunk(8).as_slices().0, [1, 2]);
    /// ```
    #[inline]
    pub fn claim(&self, n: usize) -> Result<Claim<'_, T>, ClaimError> {
        self.make_room(n).map(|at| self.claimed(at, n))
    }

    /// As [`claim`](Self::claim), waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// As [`claim`](Self::claim); [`ClaimError::TooLarge`] at once.
    pub fn claim_wait(&self, n: usize, timeout: Duration) -> Result<Claim<'_, T>, ClaimError> {
        self.reserve_wait(n, timeout).map(|at| self.claimed(at, n))
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

    fn claimed(&self, at: u64, n: usize) -> Claim<'_, T> {
        Claim {
            slots: &self.lane.slots,
            cursors: &self.lane.cursors,
            outlet: Outlet::Stamps(&self.lane.stamps),
            at,
            len: n,
            filled: 0,
        }
    }

    /// Reserves `n` slots, or says why not.
    #[inline]
    fn make_room(&self, n: usize) -> Result<u64, ClaimError> {
        if !self.lane.cursors.has_consumer() {
            return Err(ClaimError::Closed);
        }
        let refused = |free| self.lane.cursors.refusal(n, free);
        self.reserve(n as u64).map_err(refused)
    }

    /// Takes `n` free positions off the tail for the caller alone and returns the first, or how many are free.
    #[inline]
    fn reserve(&self, n: u64) -> Result<u64, u64> {
        let Cursors { tail, ends, .. } = &*self.lane.cursors;
        let capacity = ends.capacity;
        // Acquire: the head read below is then no older than this tail, so "full" was true at that
        // moment.
        let mut at = tail.at.load(Ordering::Acquire);
        loop {
            // Acquire: partner is the Release in `free_at`. A `head_seen` past a stale `at` gives a
            // huge distance.
            let used = distance(tail.head_seen.load(Ordering::Acquire), at);
            // Written so that neither side can wrap: `n` may be anything, `used` may be huge.
            if n > capacity || used > capacity - n {
                match free_at(&self.lane.cursors, at, n) {
                    Some(free) if free < n => return Err(free),
                    Some(_) => {}
                    None => {
                        at = tail.at.load(Ordering::Acquire);
                        continue;
                    }
                }
            }
            // Release: whoever reads the new tail (Acquire above and on failure) also sees the head
            // that made room for it, hence never a head more than a capacity behind; `free_at`
            // relies on that. The slots' former values were taken before the head was stored; the
            // new ones are published by their stamp.
            let claim = tail.at.compare_exchange_weak(
                at,
                at.wrapping_add(n),
                Ordering::Release,
                Ordering::Acquire,
            );
            match claim {
                Ok(_) => return Ok(at),
                Err(now) => {
                    at = now;
                    give_way();
                }
            }
        }
    }

    fn reserve_wait(&self, n: usize, timeout: Duration) -> Result<u64, ClaimError> {
        let mut outcome = self.make_room(n);
        if matches!(outcome, Err(ClaimError::Full { .. })) {
            self.lane.cursors.ends.freed.wait(timeout, || {
                outcome = self.make_room(n);
                !matches!(outcome, Err(ClaimError::Full { .. }))
            });
        }
        outcome
    }

    /// Hands the value at `at` to the consumer.
    #[inline]
    fn publish_one(&self, at: u64) {
        let slot = self.lane.slots.index(at);
        // Release: the value stays before; partner: Acquire in `Lane::stamp_at`.
        self.lane.stamps[slot].store(stamp(at.wrapping_add(1), false), publishing());
        self.lane.cursors.ends.published.ring();
    }
}

/// Looks afresh how many slots are free from tail `at` on, and notes the level when they are fewer than `n`; `None` when
/// that tail is out of date. By value, see `lane`.
#[cold]
fn free_at(cursors: &Cursors, at: u64, n: u64) -> Option<u64> {
    let capacity = cursors.ends.capacity;
    let head = cursors.head();
    // Release: passes on what Acquire in `head` has seen; partner: Acquire in `reserve`. An
    // older head may overwrite a newer one: that only sends the next producer here again.
    cursors.tail.head_seen.store(head, Ordering::Release);
    let used = distance(head, at);
    if used > capacity {
        return None;
    }
    if capacity - used < n {
        cursors.note_level(used);
    }
    Some(capacity - used)
}

impl<T> Clone for Producer<T> {
    fn clone(&self) -> Self {
        Self {
            lane: self.lane.clone(),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::VecDeque;

    use super::channel_at;

    #[test]
    fn positions_wrap_without_a_trace() {
        for capacity in [1, 2, 3, 4, 7, 8] {
            for before_wrap in 0..20 {
                let (producer, mut consumer) = channel_at(capacity, u64::MAX - before_wrap);
                let mut model = VecDeque::new();
                for i in 0..60_usize {
                    if producer.push(i).is_ok() {
                        model.push_back(i);
                    }
                    if let Ok(mut claim) = producer.claim(i % 4) {
                        model.extend(std::iter::repeat_n(i, claim.fill([i; 2])));
                        claim.publish();
                    }
                    for _ in 0..i % 4 {
                        assert_eq!(consumer.pop().ok(), model.pop_front());
                    }
                    if i % 5 == 0 {
                        let mut out = Vec::new();
                        consumer.drain_into(&mut out, 2);
                        assert!(
                            out.iter()
                                .eq(model.drain(..out.len()).collect::<Vec<_>>().iter())
                        );
                    }
                }
                while let Ok(value) = consumer.pop() {
                    assert_eq!(Some(value), model.pop_front());
                }
                assert!(model.is_empty());
                assert!(consumer.gauge().is_empty());
            }
        }
    }
}
