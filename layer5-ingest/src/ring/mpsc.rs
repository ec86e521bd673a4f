//! Many producers, one consumer: the intake, where every handler pushes and the committer drains.
//! In: values from any thread. Out: the same values to one thread, each producer's in its order.
//! Called from: the server. A producer claims `n` positions by one compare-and-swap of the tail,
//! fills their slots, and stamps the first with the claim's end (see `position`). The consumer
//! walks from stamp to stamp. So a batch costs two shared writes whatever its length, claims fill
//! and publish independently of each other, and one not yet published holds back only what the
//! consumer would read after it.
//! Invariants: the claims partition the positions; the consumer stands at a claim's first position
//! whenever `head = run_end`.

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
    position::{Run, count, distance, read_stamp, stamp},
    slots::Slots,
    sync::{Arc, AtomicU64, Ordering, publishing},
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
    let cursors = Arc::new(Cursors::new(capacity, start));
    let slots = Slots::new(capacity);
    let stamps = (0..slots.len())
        .map(|_| AtomicU64::new(stamp(start, false)))
        .collect();
    let lane = Arc::new(Lane {
        slots,
        stamps,
        cursors: Arc::clone(&cursors),
    });
    let producer = Producer {
        lane: Arc::clone(&lane),
        cursors: Arc::clone(&cursors),
    };
    (
        producer,
        Consumer {
            lane,
            cursors,
            head: start,
            run_end: start,
        },
    )
}

/// The slots, the stamps, and the values left when every end is gone.
#[derive(Debug)]
struct Lane<T> {
    slots: Slots<T>,
    stamps: Box<[AtomicU64]>,
    cursors: Arc<Cursors>,
}

impl<T> Lane<T> {
    /// Returns what is published at `at`, the first position of a claim.
    #[inline]
    fn run_at(&self, at: u64) -> Option<Run> {
        // Acquire: the run's values are in their slots; partner: the Release in `publish` and
        // `Claim::release`.
        let stamp = self.stamps[self.slots.index(at)].load(Ordering::Acquire);
        read_stamp(stamp, at, self.slots.len() as u64)
    }
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        // The consumer, before it left, took every run it had begun: its head is at a claim's first
        // position.
        let mut at = self.cursors.head();
        while let Some(run) = self.run_at(at) {
            at = match run {
                Run::Skipped(len) => at.wrapping_add(len),
                Run::Filled(len) => {
                    let n = count(len);
                    // SAFETY: every end is gone, so this owns all slots; the stamp says that these
                    // hold values.
                    unsafe { self.slots.drop_values(at, n) };
                    at.wrapping_add(len)
                }
            };
        }
    }
}

/// A sending end: clone it for each thread, or share one by reference.
#[derive(Debug)]
pub struct Producer<T> {
    lane: Arc<Lane<T>>,
    cursors: Arc<Cursors>,
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
        match self.reserve(1) {
            Ok(at) => {
                // SAFETY: `reserve` gave the slot at `at` to this call alone, free.
                unsafe { self.lane.slots.write(at, value) };
                self.publish_one(at);
                Ok(())
            }
            Err(ClaimError::Closed) => Err(PushError::Closed(value)),
            Err(_) => Err(PushError::Full(value)),
        }
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
        self.reserve(n).map(|at| self.claimed(at, n))
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
        !self.cursors.has_consumer()
    }

    /// Returns an observer of the fill level.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        Gauge::new(&self.cursors)
    }

    fn claimed(&self, at: u64, n: usize) -> Claim<'_, T> {
        Claim {
            slots: &self.lane.slots,
            cursors: &self.cursors,
            outlet: Outlet::Stamps(&self.lane.stamps),
            at,
            len: n,
            filled: 0,
        }
    }

    /// Takes `n` free positions off the tail for the caller alone and returns the first.
    #[inline]
    fn reserve(&self, n: usize) -> Result<u64, ClaimError> {
        let Cursors { tail, ends, .. } = &*self.cursors;
        let (capacity, n) = (ends.capacity, n as u64);
        if !self.cursors.has_consumer() {
            return Err(ClaimError::Closed);
        }
        // Acquire: the head read below is then no older than this tail, so "full" was true at that
        // moment.
        let mut at = tail.at.load(Ordering::Acquire);
        loop {
            // Acquire: partner is the Release in `room_at`. A `head_seen` past a stale `at` gives a
            // huge distance.
            let used = distance(tail.head_seen.load(Ordering::Acquire), at);
            // Written so that neither side can wrap: `n` may be anything, `used` may be huge.
            if (n > capacity || used > capacity - n) && !self.room_at(at, n)? {
                at = tail.at.load(Ordering::Acquire);
                continue;
            }
            // Release: whoever reads the new tail (Acquire above and on failure) also sees the head
            // that made room for it, hence never a head more than a capacity behind; `room_at`
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
                Err(now) => at = now,
            }
        }
    }

    /// Looks afresh whether `n` slots are free from tail `at` on; `Ok(false)` when that tail is out
    /// of date.
    #[cold]
    fn room_at(&self, at: u64, n: u64) -> Result<bool, ClaimError> {
        let capacity = self.cursors.ends.capacity;
        if n > capacity {
            return Err(ClaimError::TooLarge {
                asked: count(n),
                capacity: count(capacity),
            });
        }
        let head = self.cursors.head();
        // Release: passes on what Acquire in `head` has seen; partner: Acquire in `reserve`. An
        // older head may overwrite a newer one: that only sends the next producer here again.
        self.cursors.tail.head_seen.store(head, Ordering::Release);
        let used = distance(head, at);
        if used > capacity {
            return Ok(false);
        }
        if used > capacity - n {
            self.cursors.note_level(used);
            return Err(ClaimError::Full {
                asked: count(n),
                free: count(capacity - used),
            });
        }
        Ok(true)
    }

    fn reserve_wait(&self, n: usize, timeout: Duration) -> Result<u64, ClaimError> {
        let mut outcome = self.reserve(n);
        if matches!(outcome, Err(ClaimError::Full { .. })) {
            self.cursors.ends.freed.wait(timeout, || {
                outcome = self.reserve(n);
                !matches!(outcome, Err(ClaimError::Full { .. }))
            });
        }
        outcome
    }

    /// Hands the value at `at` to the consumer.
    #[inline]
    fn publish_one(&self, at: u64) {
        let slot = self.lane.slots.index(at);
        // Release: the value stays before; partner: Acquire in `Lane::run_at`.
        self.lane.stamps[slot].store(stamp(at.wrapping_add(1), false), publishing());
        self.cursors.ends.published.ring();
    }
}

impl<T> Clone for Producer<T> {
    fn clone(&self) -> Self {
        self.cursors.join_producer();
        Self {
            lane: Arc::clone(&self.lane),
            cursors: Arc::clone(&self.cursors),
        }
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
    /// `head .. run_end` hold published values; a claim's first position.
    run_end: u64,
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
    /// One look per claim and at most two copies of contiguous memory per call; allocates only when
    /// `target` lacks the capacity.
    pub fn drain_into(&mut self, target: &mut Vec<T>, max: usize) -> usize {
        self.chunk(max).move_to(target)
    }

    /// Returns up to `max` values to be read where they lie, all there are when fewer; `commit`
    /// takes them.
    ///
    /// # Example
    /// ```
    /// let (producer, mut consumer) = layer5_ingest::ring::mpsc::channel(4);
    /// producer.push_all(&[1, 2, 3]).unwrap();
    /// let chunk = consumer.chunk(2);
    /// assert_eq!(chunk.as_slices(), (&[1, 2][..], &[][..]));
    /// chunk.commit(1);
    /// assert_eq!(consumer.pop(), Ok(2));
    /// ```
    pub fn chunk(&mut self, max: usize) -> Chunk<'_, T> {
        if self.head == self.run_end {
            self.skip_to_run();
        }
        while distance(self.head, self.run_end) < max as u64 {
            // A run given back empty, in the middle, ends the chunk; the next `refresh` passes over
            // it.
            let Some(Run::Filled(len)) = self.lane.run_at(self.run_end) else {
                break;
            };
            self.run_end = self.run_end.wrapping_add(len);
        }
        let level = distance(self.head, self.run_end);
        debug_assert!(level <= self.cursors.ends.capacity);
        self.cursors.note_level(level);
        let len = count(level).min(max);
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
        if self.head != self.run_end || self.begin_run() {
            Ok(())
        } else {
            self.look_closer()
        }
    }

    /// Nothing is published at `head`: slots given back empty, a claim being filled, or the end.
    #[cold]
    fn look_closer(&mut self) -> Result<(), PopError> {
        if self.skip_to_run() {
            return Ok(());
        }
        if self.cursors.has_producers() {
            return Err(PopError::Empty);
        }
        // What the producers published before they left is visible now.
        if self.skip_to_run() {
            Ok(())
        } else {
            Err(PopError::Closed)
        }
    }

    /// At the end of a run: begins the next if it is published and holds values.
    #[inline]
    fn begin_run(&mut self) -> bool {
        debug_assert_eq!(self.head, self.run_end);
        let Some(Run::Filled(len)) = self.lane.run_at(self.head) else {
            return false;
        };
        self.run_end = self.head.wrapping_add(len);
        true
    }

    /// As `begin_run`, passing over slots given back empty.
    fn skip_to_run(&mut self) -> bool {
        while let Some(Run::Skipped(len)) = self.lane.run_at(self.head) {
            self.head = self.head.wrapping_add(len);
            self.run_end = self.head;
            self.cursors.free_to(self.head);
        }
        self.begin_run()
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.cursors.leave_consumer();
        while self.chunk(usize::MAX).commit_all() > 0 {}
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
