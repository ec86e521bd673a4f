//! Reports from Redis Streams, by a consumer group: each entry at least once, acknowledged when it is durable.
//! In: a stream, or the partitions of one. Out: batches at the border; acknowledgements, and `stream:dead` for entries
//! that are refused. Called from: [`super::Sources`]. Next on the way: [`crate::intake`].
//!
//! A session has two connections. One reads: first what was read before and not acknowledged, then what others left
//! lying (XAUTOCLAIM), then what is new. The other follows: it waits until a batch is durable, writes its refused entries
//! to `stream:dead`, and acknowledges. Meanwhile the first reads on, at most `batches_in_flight` ahead.
//!
//! Whatever fails ends the session, and the next one begins with what is pending: what was taken already is recognised
//! by its dedup keys. What was durable when the connection broke is acknowledged first in the next session, so that it
//! is not read again even when Redis was away for longer than the dedup window.
//! Invariants: XACK only after the group commit; nothing in flight is forgotten; memory is bounded by `batch_len`,
//! `batches_in_flight` and `reply_bytes_max`.

mod connection;
mod entry;
mod resp;
mod session;

pub use connection::{Address, AddressError, RedisError, addresses};
pub use resp::ReplyError;
pub(super) use session::Session;
