//! The pair of full fences between a deed and a look at who sleeps, with its cost laid on the
//! sleeper.
//! In: nothing. Out: the two halves of the pair. Called from: `bell`, which says what they order.
//! Invariants: both halves of a pair are of the same kind, chosen when the bell is made.
//!
//! A fence costs a push more than all the rest of it, and is needed only in the moment in which the
//! other side falls asleep. Linux can execute one on every running thread of the process at the
//! request of one of them (`membarrier`, private expedited, since 4.14). So the sleeper asks for
//! that, about a microsecond before a sleep that costs several, and the waker only keeps the
//! compiler from reordering. Where the kernel will not (another system, a sandbox), both sides
//! fence.
//! Reference: membarrier(2), whose "fast side, slow side" example this is.

#[cfg(loom)]
use super::sync::fence_is_missing;
use super::sync::{Ordering, fence};

/// How the two sides are kept in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fences {
    /// The sleeper has the kernel fence for all.
    #[cfg(all(target_os = "linux", not(loom)))]
    Kernel,
    /// Each side fences for itself.
    Both,
}

impl Fences {
    /// Chooses the cheapest kind that this system has.
    #[cfg(all(target_os = "linux", not(loom)))]
    pub(super) fn choose() -> Self {
        match membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) {
            true => Self::Kernel,
            false => Self::Both,
        }
    }

    /// Chooses the kind that every system has.
    #[cfg(not(all(target_os = "linux", not(loom))))]
    pub(super) fn choose() -> Self {
        Self::Both
    }

    /// After the deed, before the look whether anyone sleeps.
    #[inline(always)]
    pub(super) fn before_look(self) {
        #[cfg(loom)]
        if fence_is_missing() {
            return;
        }
        match self {
            #[cfg(all(target_os = "linux", not(loom)))]
            Self::Kernel => core::sync::atomic::compiler_fence(Ordering::SeqCst),
            Self::Both => fence(Ordering::SeqCst),
        }
    }

    /// After the announcement to sleep, before the look whether the deed is done.
    pub(super) fn before_sleep(self) {
        match self {
            #[cfg(all(target_os = "linux", not(loom)))]
            Self::Kernel => assert!(
                membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED),
                "the kernel granted this command when the bell was made"
            ),
            Self::Both => fence(Ordering::SeqCst),
        }
    }
}

/// Issues one membarrier command; false when the kernel refuses.
#[cfg(all(target_os = "linux", not(loom)))]
fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: membarrier reads and writes no memory of ours; its arguments are three numbers, here
    // a command and no flags.
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
    answer == 0
}
