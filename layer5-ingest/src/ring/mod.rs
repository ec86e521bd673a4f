//! Bounded rings between threads: lock-free, in batches, with a stated answer to "full", "empty"
//! and "the other is gone".
//! In: values of any type, from one thread or many. Out: the same values, in order, to one thread.
//! Called from: the server (intake: `mpsc`, its handlers produce and the committer consumes;
//! committer to shard: `spsc`), and anyone.
//! Invariants: every value pushed is popped once, handed back once, or dropped once. Nothing grows
//! after construction.
//! Reference: Lamport (1983) for the one-to-one ring; Thompson et al. (2011), Disruptor, for claims
//! and published sequences. What was chosen and rejected: docs/decisions/0002-ring.md.
//!
//! | module | producers | when full |
//! |---|---|---|
//! | [`spsc`] | one | *reject* (`push`, `push_all`, `claim`: the value or batch comes back) or *wait* (`push_wait`, `claim_wait`) |
//! | [`mpsc`] | many | the same |
//! | [`overwrite`] | many | *overwrite the oldest*, and count what was lost |
//!
//! A batch goes in whole or not at all: [`mpsc::Producer::push_all`] copies one,
//! [`mpsc::Producer::push_vec`] moves one, and [`mpsc::Producer::claim`] reserves slots to be
//! filled in place. The consumer takes values one by one (`pop`), moves them out in bulk
//! (`drain_into`), or reads them where they lie (`chunk`, two slices, then `commit`). It waits by
//! `wait` (spins shortly, then sleeps) or as a task (`poll_ready` takes a
//! [`Context`](core::task::Context) of any executor).
//!
//! ```
//! use std::{thread, time::Duration};
//! use layer5_ingest::ring::{Wait, mpsc};
//!
//! let (producer, mut consumer) = mpsc::channel(64);
//! for id in 0..2_u32 {
//!     let producer = producer.clone();
//!     thread::spawn(move || producer.push_all(&[id, id]).expect("two of 64 slots"));
//! }
//! drop(producer);
//! let mut got = Vec::new();
//! while consumer.wait(Duration::from_secs(60)) == Wait::Ready {
//!     consumer.drain_into(&mut got, 16);
//! }
//! got.sort_unstable();
//! assert_eq!(got, [0, 0, 1, 1]);
//! ```
#![allow(
    unsafe_code,
    reason = "slots pass between threads uninitialised; STYLE section 9 says how it is proved"
)]

mod bell;
mod chunk;
mod claim;
mod consumer;
mod cursors;
mod error;
mod fence;
mod lane;
pub mod mpsc;
pub mod overwrite;
mod pace;
mod position;
mod slots;
pub mod spsc;
mod sync;

pub use chunk::Chunk;
pub use claim::Claim;
pub use consumer::Consumer;
pub use cursors::Gauge;
pub use error::{ClaimError, PopError, PushError, Wait};
#[cfg(loom)]
#[doc(hidden)]
pub use sync::{Planted, plant};

/// Largest capacity: positions and stamps keep room for it. Memory ends long before.
pub const CAPACITY_MAX: usize = 1 << (usize::BITS - 2);

fn check_capacity(capacity: usize) {
    assert!(
        (1..=CAPACITY_MAX).contains(&capacity),
        "ring capacity {capacity} must be within 1..={CAPACITY_MAX}"
    );
}
