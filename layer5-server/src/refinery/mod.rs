//! The pure step in the middle: samples and happenings in, findings and decisions out.
//! In: what the committer made durable, in log order. Out: effects that the committer makes durable with a later
//! group. Called from: the shard threads, the tuner thread, and the replay at start.
//! Two halves. A [`shard::Shard`] owns some of the agents and watches each of their series; shards share nothing. The
//! one [`tuner::Tuner`] owns the studies; at every tick (a position in the log) it is given what all shards read since
//! the one before, sorted by agent, so its decisions do not depend on the number of threads or their timing.
//! Invariants: no clock, no I/O, no tokio here; same log, same seeds, same effects, which is why a restart can replay.
//! Reference: docs/decisions/0004-refinery.md.

pub mod ask;
pub mod asked;
pub mod cohort;
pub mod control_level;
pub mod incidents;
pub mod member;
pub mod peers;
pub mod reading;
pub mod scale;
pub mod settings;
pub mod shard;
pub mod tuner;

pub use reading::{Reading, Roles};
pub use shard::{Found, Shard};
pub use tuner::{Decision, Tuner};
