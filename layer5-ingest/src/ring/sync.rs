//! The one switch between the machine's atomics and loom's model of them.
//! In: the `loom` cfg. Out: atomics, `Arc`, `Mutex`, `Condvar`, fences. Called from: every file of
//! `ring`.
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
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread::yield_now,
};
#[cfg(not(loom))]
pub(super) use std::{
    hint::spin_loop,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread::yield_now,
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
