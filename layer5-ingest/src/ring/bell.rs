//! How one end of a ring sleeps and the other wakes it, at no cost while nobody sleeps.
//! In: a condition to wait for, or a task's waker. Out: a wake-up. Called from: `cursors`, `spsc`,
//! `mpsc`, `overwrite`.
//!
//! Ordering. The sleeper raises `WAITING`, issues a full fence, and then looks whether what it
//! waits for is there. The other side makes it be there, issues a full fence, and then looks at
//! `WAITING`. Of two full fences one comes first: either the sleeper's look comes after the other's
//! deed and sees it, or the other's look comes after the flag and rings. Between the sleeper's look
//! and its sleep it holds the lock that `ring_now` takes, so a ring cannot fall in between.
//! Invariants: whoever sleeps has raised `WAITING` since it was last lowered. Wake-ups may be
//! spurious, never lost.

use core::{sync::atomic::compiler_fence, task::Waker, time::Duration};

use super::{
    fence::Fences,
    sync::{AtomicU8, Condvar, Mutex, Ordering, lock, spin_loop, wait_while},
};

/// Looks before a sleeper sleeps: about two microseconds, the price of one sleep and wake-up. It
/// does not yield in between: on a busy machine a yield costs a turn of everyone else,
/// milliseconds, while a sleeper that is woken runs at once.
const SPINS: u32 = if cfg!(loom) { 1 } else { 64 };

/// Someone sleeps, or is about to.
const WAITING: u8 = 1;

/// Each side fences for itself; set from the start or never.
const FENCE: u8 = 2;

/// Where one end sleeps and the other rings.
#[derive(Debug)]
pub(super) struct Bell {
    /// Zero when a ring may pass by: nobody sleeps ([`WAITING`]), and this system's kernel fences for all ([`FENCE`]).
    state: AtomicU8,
    fences: Fences,
    task: Mutex<Option<Waker>>,
    sleepers: Condvar,
}

impl Bell {
    pub(super) fn new() -> Self {
        let fences = Fences::choose();
        let state = if fences == Fences::Both { FENCE } else { 0 };
        Self {
            state: AtomicU8::new(state),
            fences,
            task: Mutex::new(None),
            sleepers: Condvar::new(),
        }
    }

    /// Wakes whoever waits. To be called after the deed that they wait for.
    #[inline]
    pub(super) fn ring(&self) {
        // The kernel's half of the pair, if it has one: the look stays behind the deed.
        compiler_fence(Ordering::SeqCst);
        if self.state.load(Ordering::Relaxed) != 0 {
            self.ring_now();
        }
    }

    #[cold]
    fn ring_now(&self) {
        // Pairs with the fence in `raise`.
        self.fences.before_look();
        if self.state.load(Ordering::Relaxed) & WAITING == 0 {
            return;
        }
        let task = {
            let mut task = lock(&self.task);
            self.state.fetch_and(!WAITING, Ordering::Relaxed);
            self.sleepers.notify_all();
            task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Waits until `ready`: spins, then sleeps, at most `timeout` of sleep; false if the
    /// time ran out. `ready` may be called with this bell's lock held: it must not wait on or ring
    /// this same bell.
    pub(super) fn wait(&self, timeout: Duration, mut ready: impl FnMut() -> bool) -> bool {
        for _ in 0..SPINS {
            if ready() {
                return true;
            }
            spin_loop();
        }
        wait_while(&self.sleepers, lock(&self.task), timeout, |_| {
            self.raise();
            !ready()
        })
    }

    /// Asks for `waker` to be woken at the next ring. The caller must look once more afterwards,
    /// before it sleeps.
    pub(super) fn register(&self, waker: &Waker) {
        let mut task = lock(&self.task);
        match &mut *task {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        self.raise();
    }

    fn raise(&self) {
        self.state.fetch_or(WAITING, Ordering::Relaxed);
        // Pairs with the fence in `ring_now`.
        self.fences.before_sleep();
    }
}
