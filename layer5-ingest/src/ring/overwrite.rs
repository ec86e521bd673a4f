//! Many producers, one consumer, and always room: a full ring gives up its oldest value and counts
//! it as lost.
//! In: values from any thread. Out: the latest `capacity` of them. Called from: anyone who wants
//! the newest, not all. Taking a value away from under a consumer that reads it in place cannot be
//! both safe and lock-free for any `T`, so this is a queue under a lock, held for one push or pop
//! and never while a value is dropped.
//! Invariants: `pushed = popped + lost + len`, and at most `capacity` values are held.

use core::time::Duration;
use std::collections::VecDeque;

use super::{
    bell::Bell,
    check_capacity,
    error::{PopError, PushError, Wait},
    sync::{Arc, Mutex, lock},
};

/// Makes a ring that keeps the latest `capacity` values.
///
/// # Panics
/// When `capacity` is 0 or above [`CAPACITY_MAX`](super::CAPACITY_MAX).
///
/// # Example
/// ```
/// let (producer, consumer) = layer5_ingest::ring::overwrite::channel(2);
/// assert_eq!(producer.push('a'), Ok(None));
/// assert_eq!(producer.push('b'), Ok(None));
/// assert_eq!(producer.push('c'), Ok(Some('a')));
/// assert_eq!((consumer.pop(), consumer.lost()), (Ok('b'), 1));
/// ```
#[must_use]
pub fn channel<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    check_capacity(capacity);
    let shared = Arc::new(Shared {
        queue: Mutex::new(Queue {
            values: VecDeque::with_capacity(capacity),
            lost: 0,
            producers: 1,
            consumer_gone: false,
        }),
        capacity,
        published: Bell::new(),
    });
    (
        Producer {
            shared: Arc::clone(&shared),
        },
        Consumer { shared },
    )
}

#[derive(Debug)]
struct Shared<T> {
    queue: Mutex<Queue<T>>,
    capacity: usize,
    published: Bell,
}

#[derive(Debug)]
struct Queue<T> {
    /// Oldest first, at most `capacity`.
    values: VecDeque<T>,
    lost: u64,
    producers: usize,
    consumer_gone: bool,
}

/// A sending end: clone it for each thread, or share one by reference.
#[derive(Debug)]
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Producer<T> {
    /// Appends a value; returns the oldest one when it had to give way, which counts as lost.
    ///
    /// # Errors
    /// [`PushError::Closed`] with the value when the consumer is gone; never [`PushError::Full`].
    pub fn push(&self, value: T) -> Result<Option<T>, PushError<T>> {
        let displaced = {
            let mut queue = lock(&self.shared.queue);
            if queue.consumer_gone {
                return Err(PushError::Closed(value));
            }
            let full = queue.values.len() == self.shared.capacity;
            let displaced = if full { queue.values.pop_front() } else { None };
            queue.lost += u64::from(full);
            queue.values.push_back(value);
            displaced
        };
        self.shared.published.ring();
        Ok(displaced)
    }
}

impl<T> Clone for Producer<T> {
    fn clone(&self) -> Self {
        lock(&self.shared.queue).producers += 1;
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        lock(&self.shared.queue).producers -= 1;
        self.shared.published.ring();
    }
}

/// The receiving end.
#[derive(Debug)]
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Consumer<T> {
    /// Takes the oldest value.
    ///
    /// # Errors
    /// [`PopError::Empty`] when there is none at the moment, [`PopError::Closed`] when there never
    /// will be.
    pub fn pop(&self) -> Result<T, PopError> {
        let mut queue = lock(&self.shared.queue);
        queue.values.pop_front().ok_or(match queue.producers {
            0 => PopError::Closed,
            _ => PopError::Empty,
        })
    }

    /// Moves up to `max` values to the end of `target`, oldest first; returns how many (0: empty,
    /// or closed).
    pub fn drain_into(&self, target: &mut Vec<T>, max: usize) -> usize {
        let mut queue = lock(&self.shared.queue);
        let n = max.min(queue.values.len());
        target.extend(queue.values.drain(..n));
        n
    }

    /// Waits until there is something to take, for at most `timeout`: spins shortly, then sleeps.
    pub fn wait(&self, timeout: Duration) -> Wait {
        let mut state = Wait::TimedOut;
        self.shared.published.wait(timeout, || {
            let queue = lock(&self.shared.queue);
            state = match (queue.values.is_empty(), queue.producers) {
                (false, _) => Wait::Ready,
                (true, 0) => Wait::Closed,
                (true, _) => Wait::TimedOut,
            };
            state != Wait::TimedOut
        });
        state
    }

    /// Returns how many values gave way since the ring was made.
    #[must_use]
    pub fn lost(&self) -> u64 {
        lock(&self.shared.queue).lost
    }

    /// Returns the number of values held, `0 ..= capacity`.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.shared.queue).values.len()
    }

    /// Returns whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many values are kept at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        let values = {
            let mut queue = lock(&self.shared.queue);
            queue.consumer_gone = true;
            core::mem::take(&mut queue.values)
        };
        drop(values);
    }
}
