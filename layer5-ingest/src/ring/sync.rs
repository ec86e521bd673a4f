//! The one switch between the machine's atomics and loom's model of them.
//! In: the `loom` cfg. Out: atomics, `Arc`, `Mutex`, `Condvar`, fences. Called from: every file of
//! `ring`.
//! Under loom it also plants bugs: `tests/ring_loom.rs` shows that the model would find them.
//! Invariants: no other file of `ring` names `std::sync` or `loom`; under loom every fence is a
//! full one and a timed wait never times out, so a lost wake-up shows as a deadlock instead of as a
//! delay.

use core::time::Duration;

#[cfg(loom)]
pub(super) use loom::{
    cell::UnsafeCell as Tracked,
    hint::spin_loop,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
    },
};
#[cfg(not(loom))]
pub(super) use std::{
    hint::spin_loop,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
    },
};

/// Locks, and looks through poison: every critical section of `ring` leaves its data whole at each
/// step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Waits on `condvar` for as long as `blocked` says so and at most `timeout`; false if the time ran
/// out. `blocked` is asked once before the first wait and after each wake-up, always under the
/// lock.
#[cfg(not(loom))]
pub(super) fn wait_while<T>(
    condvar: &Condvar,
    guard: MutexGuard<'_, T>,
    timeout: Duration,
    blocked: impl FnMut(&mut T) -> bool,
) -> bool {
    let (_guard, result) = condvar
        .wait_timeout_while(guard, timeout, blocked)
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    !result.timed_out()
}

/// As above, without the clock that loom does not have.
#[cfg(loom)]
pub(super) fn wait_while<T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'_, T>,
    _timeout: Duration,
    mut blocked: impl FnMut(&mut T) -> bool,
) -> bool {
    while blocked(&mut guard) {
        guard = condvar
            .wait(guard)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
    }
    true
}

/// A bug for loom to find, each a weaker ordering in the one place that needs the stronger.
#[cfg(loom)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// None: the ring as it is.
    Nothing,
    /// A claim's stamp, or the tail, no longer carries the values along.
    WeakPublish,
    /// The head no longer says that the slots before it are empty.
    WeakFree,
    /// Nothing orders publishing a value before looking whether anyone sleeps.
    NoFence,
}

#[cfg(loom)]
std::thread_local! {
    /// Loom runs all threads of a model on the thread of its test.
    static PLANTED: core::cell::Cell<Planted> = const { core::cell::Cell::new(Planted::Nothing) };
}

/// Plants a bug for all rings of the test on this thread.
#[cfg(loom)]
pub fn plant(bug: Planted) {
    PLANTED.set(bug);
}

/// Returns the ordering of a store that publishes values: Release.
#[inline(always)]
pub(super) fn publishing() -> Ordering {
    #[cfg(loom)]
    if PLANTED.get() == Planted::WeakPublish {
        return Ordering::Relaxed;
    }
    Ordering::Release
}

/// Returns the ordering of a store that frees slots: Release.
#[inline(always)]
pub(super) fn freeing() -> Ordering {
    #[cfg(loom)]
    if PLANTED.get() == Planted::WeakFree {
        return Ordering::Relaxed;
    }
    Ordering::Release
}

/// Returns whether the planted bug is a missing fence in `fence`.
#[cfg(loom)]
pub(super) fn fence_is_missing() -> bool {
    PLANTED.get() == Planted::NoFence
}
