//! The receiving end of `spsc` and `mpsc`: one thread that takes values singly, in bulk, or reads them where they lie.
//! In: published slots. Out: their values, and the slots back. Called from: the server's committer and shards, and anyone.
//! It keeps its own position and how far it has seen values published, and looks at what producers write only when
//! nothing it has seen is left.
//! Invariants: `head` (shared) is stored by the consumer alone, after the slots before it are empty. `head .. seen` hold
//! published values, and `seen` is at the first position of a claim.

use core::{
    task::{Context, Poll},
    time::Duration,
};

use super::{
    chunk::Chunk,
    cursors::Gauge,
    error::{PopError, Wait},
    lane::{Lane, Receiving},
    pace::ENOUGH,
    position::{count, distance},
    sync::Arc,
};

/// The receiving end.
#[derive(Debug)]
pub struct Consumer<T> {
    lane: Receiving<T>,
    /// Equals the shared head.
    head: u64,
    seen: u64,
}

impl<T> Consumer<T> {
    pub(super) fn new(lane: &Arc<Lane<T>>) -> Self {
        let (head, seen) = lane.cursors.consumer_position();
        Self {
            lane: Receiving::at(lane),
            head,
            seen,
        }
    }

    /// Takes the oldest value.
    ///
    /// # Errors
    /// [`PopError::Empty`] when there is none at the moment, [`PopError::Closed`] when there never
    /// will be.
    #[inline]
    pub fn pop(&mut self) -> Result<T, PopError> {
        self.look()?;
        // In its place in the answer, lest a large value is copied once more.
        // SAFETY: `head .. seen` are published and, so says `look`, not empty; this is the only consumer.
        let value = Ok(unsafe { self.lane.slots.read(self.head) });
        let at = self.head;
        self.head = at.wrapping_add(1);
        // Not the last one: what the consumer sends in answer would wait until the line is its own.
        if self.head != self.seen {
            // SAFETY: the value was just moved out of the slot, which is this consumer's until the head passes it.
            unsafe { self.lane.take_line(at) };
        }
        self.lane.cursors.free_to(self.head);
        value
    }

    /// Moves up to `max` values to the end of `target`, oldest first; returns how many (0: empty,
    /// or closed).
    ///
    /// # Cost
    /// At most two copies of contiguous memory, and with many producers one look per claim; allocates only when `target`
    /// lacks the capacity.
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
    #[inline]
    pub fn chunk(&mut self, max: usize) -> Chunk<'_, T> {
        // One at least: what was given back empty at the front is freed also for those who want nothing.
        let wanted = max.max(1) as u64;
        if distance(self.head, self.seen) < wanted {
            (self.head, self.seen) = self.lane.published(self.head, self.seen, wanted);
        }
        Chunk {
            lane: &self.lane,
            len: count(distance(self.head, self.seen)).min(max),
            head: &mut self.head,
        }
    }

    /// Waits until there is something to take, for at most `timeout`: spins shortly, then sleeps.
    pub fn wait(&mut self, timeout: Duration) -> Wait {
        let mut state = self.look();
        if state == Err(PopError::Empty) {
            let cursors = Arc::clone(&self.lane.cursors);
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
            self.lane.cursors.ends.published.register(context.waker());
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
        Gauge::new(&self.lane.cursors)
    }

    /// Succeeds when there is a value at `head`.
    #[inline]
    fn look(&mut self) -> Result<(), PopError> {
        if self.head != self.seen {
            return Ok(());
        }
        let (seen, found) = look(&self.lane, self.head);
        // Further on, if slots given back empty were passed over.
        self.head = self.lane.cursors.consumer_position().0;
        self.seen = seen;
        found
    }
}

/// Looks for a value where none is known of; returns how far values are seen, and whether there are any. By value, see
/// `lane`.
#[inline(never)]
fn look<T>(lane: &Lane<T>, head: u64) -> (u64, Result<(), PopError>) {
    let (pace, capacity) = (&lane.cursors.head.pace, lane.cursors.ends.capacity);
    let (mut head, mut seen) = (head, head);
    let level = pace.look(capacity, || {
        (head, seen) = lane.published(head, seen, ENOUGH);
        distance(head, seen)
    });
    if level == 0 {
        if lane.cursors.has_producers() {
            return (seen, Err(PopError::Empty));
        }
        // What the producers published before they left is visible now.
        (head, seen) = lane.published(head, seen, 1);
        if head == seen {
            return (seen, Err(PopError::Closed));
        }
    }
    (seen, Ok(()))
}
