//! The positions and flags that the two ends of a ring share, and the gauge that lets others watch
//! them.
//! In: progress of the ends. Out: room, fill level, closed or not. Called from: `spsc`, `mpsc`,
//! `claim`, `chunk`.
//! Invariants: `head <= tail <= head + capacity` in wrapping arithmetic, and both only advance.
//! `tail` is advanced by producers alone, `head` by the consumer alone. A slot belongs to producers
//! from the `head` store (Release) that freed it, read with Acquire by `head`, and to the
//! consumer from its publication on (see `spsc`, `mpsc`). What one end writes often lies in a cache
//! line of its own, so the ends disturb each other only where they must.

use crossbeam::utils::CachePadded;

use super::{
    bell::Bell,
    error::ClaimError,
    pace::Pace,
    position::{count, distance},
    sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Ordering, freeing},
};

/// What both ends see.
#[derive(Debug)]
pub(super) struct Cursors {
    pub(super) tail: CachePadded<Tail>,
    pub(super) head: CachePadded<Head>,
    pub(super) ends: CachePadded<Ends>,
}

/// Written by producers.
#[derive(Debug)]
pub(super) struct Tail {
    /// First position not yet claimed (`mpsc`), or not yet published (`spsc`).
    pub(super) at: AtomicU64,
    /// A head that some producer has read (`mpsc` only): at or before the true one, so room counted
    /// from it is there.
    pub(super) head_seen: AtomicU64,
    /// How the producer looks at the head (`spsc` only).
    pub(super) pace: Pace,
}

/// Written by the consumer.
#[derive(Debug)]
pub(super) struct Head {
    /// First position not yet taken.
    pub(super) at: AtomicU64,
    /// First position not yet seen to be published, the start of a claim; the consumer's own.
    seen: AtomicU64,
    /// How the consumer looks for what is published.
    pub(super) pace: Pace,
    /// Highest fill level noticed.
    level_max: AtomicU64,
}

/// Written seldom.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) capacity: u64,
    pub(super) producers: AtomicUsize,
    pub(super) consumer_gone: AtomicBool,
    /// The consumer sleeps here until something is published.
    pub(super) published: Bell,
    /// Producers sleep here until slots are freed.
    pub(super) freed: Bell,
}

impl Cursors {
    pub(super) fn new(capacity: usize, start: u64) -> Self {
        Self {
            tail: CachePadded::new(Tail {
                at: AtomicU64::new(start),
                head_seen: AtomicU64::new(start),
                pace: Pace::new(),
            }),
            head: CachePadded::new(Head {
                at: AtomicU64::new(start),
                seen: AtomicU64::new(start),
                pace: Pace::new(),
                level_max: AtomicU64::new(0),
            }),
            ends: CachePadded::new(Ends {
                capacity: capacity as u64,
                producers: AtomicUsize::new(1),
                consumer_gone: AtomicBool::new(false),
                published: Bell::new(),
                freed: Bell::new(),
            }),
        }
    }

    /// Frees the slots before `head` for producers.
    #[inline]
    pub(super) fn free_to(&self, head: u64) {
        // Release: what was taken out of the slots stays before; partner: Acquire in `head`.
        self.head.at.store(head, freeing());
        self.ends.freed.ring();
    }

    /// Returns the consumer's position; what it took is out of its slots.
    #[inline]
    pub(super) fn head(&self) -> u64 {
        // Acquire: partner is the Release in `free_to`.
        self.head.at.load(Ordering::Acquire)
    }

    /// Keeps how far the consumer has seen, for when it goes.
    #[inline]
    pub(super) fn note_seen(&self, seen: u64) {
        // Relaxed: no other thread reads it.
        self.head.seen.store(seen, Ordering::Relaxed);
    }

    /// Returns the consumer's position and how far it has seen; for the consumer's own thread.
    #[inline]
    pub(super) fn consumer_position(&self) -> (u64, u64) {
        // Relaxed: this thread stored both.
        (
            self.head.at.load(Ordering::Relaxed),
            self.head.seen.load(Ordering::Relaxed),
        )
    }

    /// Says why a claim of `asked` slots is not granted where `free` are free.
    #[cold]
    pub(super) fn refusal(&self, asked: usize, free: u64) -> ClaimError {
        let (capacity, free) = (count(self.ends.capacity), count(free));
        if asked > capacity {
            ClaimError::TooLarge { asked, capacity }
        } else {
            ClaimError::Full { asked, free }
        }
    }

    /// Remembers the highest level that either end has come upon.
    #[inline]
    pub(super) fn note_level(&self, level: u64) {
        // Relaxed: a number for display, ordered with nothing.
        if level > self.head.level_max.load(Ordering::Relaxed) {
            self.raise_level(level);
        }
    }

    #[cold]
    fn raise_level(&self, level: u64) {
        self.head.level_max.fetch_max(level, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn has_producers(&self) -> bool {
        // Acquire: partner is the Release in `leave_producer`; what the last one published is seen
        // after this says no.
        self.ends.producers.load(Ordering::Acquire) > 0
    }

    #[inline]
    pub(super) fn has_consumer(&self) -> bool {
        // Relaxed: a push that misses this leaves its value in the ring, which drops it; nothing
        // else hangs on it.
        !self.ends.consumer_gone.load(Ordering::Relaxed)
    }

    pub(super) fn join_producer(&self) {
        // Relaxed: the count is above zero, as the caller holds a producer.
        self.ends.producers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave_producer(&self) {
        // Release: partner in `has_producers`. Acquire: the last to leave passes on what the others
        // published.
        if self.ends.producers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ends.published.ring();
        }
    }

    pub(super) fn leave_consumer(&self) {
        self.ends.consumer_gone.store(true, Ordering::Release);
        self.ends.freed.ring();
    }
}

/// Watches a ring's fill level from any thread; cheap to clone, and keeps neither the ring's values
/// nor its ends alive.
///
/// The numbers are those of an instant that has passed by the time they are read.
///
/// # Example
/// ```
/// let (producer, mut consumer) = layer5_ingest::ring::mpsc::channel(8);
/// let gauge = producer.gauge();
/// producer.push_all(&[1, 2, 3]).unwrap();
/// assert_eq!((gauge.len(), gauge.capacity()), (3, 8));
/// consumer.pop().unwrap();
/// assert_eq!(gauge.len(), 2);
/// ```
#[derive(Clone, Debug)]
pub struct Gauge {
    cursors: Arc<Cursors>,
}

impl Gauge {
    pub(super) fn new(cursors: &Arc<Cursors>) -> Self {
        Self {
            cursors: Arc::clone(cursors),
        }
    }

    /// Returns the number of slots in use, `0 ..= capacity`: published and not yet taken, or
    /// (`mpsc`) claimed.
    #[must_use]
    pub fn len(&self) -> usize {
        // The head first: it cannot have passed a tail that is read later. The tail may have gone
        // on meanwhile, hence min.
        let head = self.cursors.head();
        let tail = self.cursors.tail.at.load(Ordering::Acquire);
        let len = distance(head, tail).min(self.cursors.ends.capacity);
        self.cursors.note_level(len);
        count(len)
    }

    /// Returns whether no slot is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of slots.
    #[must_use]
    pub fn capacity(&self) -> usize {
        count(self.cursors.ends.capacity)
    }

    /// Returns the highest level noticed since the ring was made, `0 ..= capacity`. Noticed are the
    /// level at each refusal, whenever the consumer looks for more, and whenever a gauge is read; a
    /// peak between two looks may be higher.
    #[must_use]
    pub fn high_watermark(&self) -> usize {
        count(self.cursors.head.level_max.load(Ordering::Relaxed))
    }
}
