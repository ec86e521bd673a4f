//! Why a ring refused: one small enum per operation, with the value given back where there is one.
//! In: nothing. Out: the errors of `spsc`, `mpsc` and `overwrite`. Called from: the other files of
//! `ring`.

use thiserror::Error;

/// Why a value was not taken; it holds the value.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
pub enum PushError<T> {
    /// Every slot is taken.
    #[error("ring is full")]
    Full(T),
    /// The consumer is gone; no later push can succeed.
    #[error("ring is closed: its consumer is gone")]
    Closed(T),
}

impl<T> PushError<T> {
    /// Returns the value that was refused.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Closed(value) => value,
        }
    }
}

// Written out because a refused value need not be `Debug`.
impl<T> core::fmt::Debug for PushError<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

/// Why a claim of several slots was not granted; nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClaimError {
    /// Fewer slots are free than were asked for.
    #[error("ring is full: {asked} slots asked for, {free} free")]
    Full {
        /// Slots asked for.
        asked: usize,
        /// Slots that were free.
        free: usize,
    },
    /// More slots were asked for than the ring has: no waiting will help.
    #[error("claim of {asked} slots exceeds the ring's capacity of {capacity}")]
    TooLarge {
        /// Slots asked for.
        asked: usize,
        /// Slots that the ring has.
        capacity: usize,
    },
    /// The consumer is gone; no later claim can succeed.
    #[error("ring is closed: its consumer is gone")]
    Closed,
}

/// Why there was nothing to take.
///
/// A word wide: beside it in a `Result` a value starts at a word, and is moved on in words. Where the error is a byte, the
/// compiler copies the bytes between it and the value along, in a piece that two stores have written, which costs a pop as
/// much again (docs/benchmarks.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[repr(usize)]
pub enum PopError {
    /// Nothing is published at the moment.
    #[error("ring is empty")]
    Empty,
    /// Every producer is gone and everything they published has been taken.
    #[error("ring is closed: its producers are gone and it is drained")]
    Closed,
}

/// How a wait of the consumer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// There is something to take.
    Ready,
    /// Nothing came within the time given.
    TimedOut,
    /// Every producer is gone and everything they published has been taken.
    Closed,
}
