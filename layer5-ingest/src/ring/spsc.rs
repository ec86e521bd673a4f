//! One producer, one consumer: the ring between the committer and a shard.
//! In: values from one thread. Out: the same values to another. Called from: the server's shards;
//! `mpsc` is its sibling. Each end keeps its own position and a copy of the other's in plain
//! fields, and reads the other's cache line only when the copy says that there is no room, or
//! nothing to take.
//! Invariants: `tail` (shared) is stored by the producer alone, after the values before it; `head`
//! by the consumer alone, after the slots before it are empty. The copies are never ahead of what
//! they copy.

use core::{
    task::{Context, Poll},
    time::Duration,
};

use super::{
    check_capacity,
    chunk::Chunk,
    claim::{Claim, Outlet},
    cursors::{Cursors, Gauge},
    error::{ClaimError, PopError, PushError, Wait},
    position::{count, distance},
    slots::Slots,
    sync::{Arc, Ordering, publishing},
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
    let cursors = Arc::new(Cursors::new(capacity, start));
    let lane = Arc::new(Lane {
        slots: Slots::new(capacity),
        cursors: Arc::clone(&cursors),
    });
    let producer = Producer {
        lane: Arc::clone(&lane),
        cursors: Arc::clone(&cursors),
        tail: start,
        head_seen: start,
    };
    (
        producer,
        Consumer {
            lane,
            cursors,
            head: start,
            tail_seen: start,
        },
    )
}

/// The slots, and the values left in them when both ends are gone.
#[derive(Debug)]
struct Lane<T> {
    slots: Slots<T>,
    cursors: Arc<Cursors>,
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        let head = self.cursors.head();
        let tail = self.cursors.tail.at.load(Ordering::Acquire);
        let len = count(distance(head, tail));
        // SAFETY: both ends are gone, so this owns every slot; `head .. tail` were published and
        // not taken.
        unsafe { self.slots.drop_values(head, len) };
    }
}

/// The sending end.
#[derive(Debug)]
pub struct Producer<T> {
    lane: Arc<Lane<T>>,
    cursors: Arc<Cursors>,
    /// Equals the shared tail.
    tail: u64,
    /// At or before the shared head.
    head_seen: u64,
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
        match self.make_room(1) {
            Ok(()) => {}
            Err(ClaimError::Closed) => return Err(PushError::Closed(value)),
            Err(_) => return Err(PushError::Full(value)),
        }
        // SAFETY: `make_room` found the slot at `tail` free, and this is the only producer.
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
        let n = values.len().min(self.free_for(values.len()));
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
            cursors: &self.cursors,
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
        !self.cursors.has_consumer()
    }

    /// Returns an observer of the fill level.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        Gauge::new(&self.cursors)
    }

    /// Returns how many slots are free, looking afresh only when fewer than `wanted` are known to
    /// be.
    #[inline]
    fn free_for(&mut self, wanted: usize) -> usize {
        let capacity = self.cursors.ends.capacity;
        let mut used = distance(self.head_seen, self.tail);
        if capacity - used < wanted as u64 {
            self.head_seen = self.cursors.head();
            used = distance(self.head_seen, self.tail);
        }
        debug_assert!(used <= capacity);
        count(capacity - used)
    }

    /// Succeeds when `n` slots are free from `tail` on.
    #[inline]
    fn make_room(&mut self, n: usize) -> Result<(), ClaimError> {
        if !self.cursors.has_consumer() {
            return Err(ClaimError::Closed);
        }
        let free = self.free_for(n);
        if free >= n {
            Ok(())
        } else {
            Err(self.refuse(n, free))
        }
    }

    #[cold]
    fn refuse(&self, asked: usize, free: usize) -> ClaimError {
        let capacity = self.capacity();
        if asked > capacity {
            return ClaimError::TooLarge { asked, capacity };
        }
        self.cursors.note_level((capacity - free) as u64);
        ClaimError::Full { asked, free }
    }

    fn wait_room(&mut self, n: usize, timeout: Duration) -> Result<(), ClaimError> {
        let mut outcome = self.make_room(n);
        if matches!(outcome, Err(ClaimError::Full { .. })) {
            let cursors = Arc::clone(&self.cursors);
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
        // Release: the values stay before; partner: Acquire in `Consumer::refresh`.
        self.cursors.tail.at.store(tail, publishing());
        self.cursors.ends.published.ring();
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.cursors.leave_producer();
    }
}

/// The receiving end.
#[derive(Debug)]
pub struct Consumer<T> {
    lane: Arc<Lane<T>>,
    cursors: Arc<Cursors>,
    /// Equals the shared head.
    head: u64,
    /// At or before the shared tail.
    tail_seen: u64,
}

impl<T> Consumer<T> {
    /// Takes the oldest value.
    ///
    /// # Errors
    /// [`PopError::Empty`] when there is none at the moment, [`PopError::Closed`] when there never
    /// will be.
    #[inline]
    pub fn pop(&mut self) -> Result<T, PopError> {
        self.look()?;
        // SAFETY: `look` found the slot at `head` published, and this is the only consumer.
        let value = Ok(unsafe { self.lane.slots.read(self.head) });
        self.head = self.head.wrapping_add(1);
        self.cursors.free_to(self.head);
        value
    }

    /// Moves up to `max` values to the end of `target`, oldest first; returns how many (0: empty,
    /// or closed).
    ///
    /// # Cost
    /// At most two copies of contiguous memory; allocates only when `target` lacks the capacity.
    pub fn drain_into(&mut self, target: &mut Vec<T>, max: usize) -> usize {
        self.chunk(max).move_to(target)
    }

    /// Returns up to `max` values to be read where they lie, all there are when fewer; `commit`
    /// takes them.
    ///
    /// # Example
    /// ```
    /// let (mut producer, mut consumer) = layer5_ingest::ring::spsc::channel(4);
    /// producer.push_all(&[1, 2, 3]).unwrap();
    /// let chunk = consumer.chunk(2);
    /// assert_eq!(chunk.as_slices(), (&[1, 2][..], &[][..]));
    /// chunk.commit(1);
    /// assert_eq!(consumer.pop(), Ok(2));
    /// ```
    #[inline]
    pub fn chunk(&mut self, max: usize) -> Chunk<'_, T> {
        if distance(self.head, self.tail_seen) < max as u64 {
            self.refresh();
        }
        let len = count(distance(self.head, self.tail_seen)).min(max);
        Chunk {
            slots: &self.lane.slots,
            cursors: &self.cursors,
            head: &mut self.head,
            len,
        }
    }

    /// Waits until there is something to take, for at most `timeout`: spins shortly, then sleeps.
    pub fn wait(&mut self, timeout: Duration) -> Wait {
        let mut state = self.look();
        if state == Err(PopError::Empty) {
            let cursors = Arc::clone(&self.cursors);
            cursors.ends.published.wait(timeout, || {
                state = self.look();
                state != Err(PopError::Empty)
            });
        }
        match state {
            Ok(()) => Wait::Ready,
            Err(PopError::Empty) => Wait::TimedOut,
            Err(PopError::Closed) => Wait::Closed,
        }
    }

    /// Returns, for a task of any executor, [`Wait::Ready`] or [`Wait::Closed`], or keeps the
    /// task's waker to be woken.
    pub fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Wait> {
        let mut state = self.look();
        if state == Err(PopError::Empty) {
            self.cursors.ends.published.register(context.waker());
            state = self.look();
        }
        match state {
            Ok(()) => Poll::Ready(Wait::Ready),
            Err(PopError::Empty) => Poll::Pending,
            Err(PopError::Closed) => Poll::Ready(Wait::Closed),
        }
    }

    /// Returns the number of slots.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.gauge().capacity()
    }

    /// Returns an observer of the fill level.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        Gauge::new(&self.cursors)
    }

    /// Succeeds when there is a value at `head`.
    #[inline]
    fn look(&mut self) -> Result<(), PopError> {
        if self.head != self.tail_seen || self.refresh() {
            Ok(())
        } else {
            self.look_closer()
        }
    }

    /// Nothing is published: is it the end?
    #[cold]
    fn look_closer(&mut self) -> Result<(), PopError> {
        if self.cursors.has_producers() {
            return Err(PopError::Empty);
        }
        // What the producer published before it left is visible now.
        if self.refresh() {
            Ok(())
        } else {
            Err(PopError::Closed)
        }
    }

    /// Looks how far the producer is; returns whether there is anything to take.
    #[inline]
    fn refresh(&mut self) -> bool {
        // Acquire: partner is the Release in `Producer::publish_to` and `Claim::release`.
        self.tail_seen = self.cursors.tail.at.load(Ordering::Acquire);
        let level = distance(self.head, self.tail_seen);
        debug_assert!(level <= self.cursors.ends.capacity);
        self.cursors.note_level(level);
        level > 0
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.cursors.leave_consumer();
        self.chunk(usize::MAX).commit_all();
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
