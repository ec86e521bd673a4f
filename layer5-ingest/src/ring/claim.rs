//! Several slots reserved by a producer: fill them in place, then publish them together.
//! In: reserved slots. Out: published values. Called from: `spsc::Producer::claim`,
//! `mpsc::Producer::claim`.
//! Invariants: the slots `at .. at + len` belong to this claim; the first `filled` of them hold
//! values. Every claim ends in `release`, by `publish` or by drop, and that leaves no slot behind
//! which the consumer would wait for ever.

use super::{
    cursors::Cursors,
    position::stamp,
    slots::Slots,
    sync::{AtomicU64, publishing},
};

/// Reserved slots, all of them or none, that nobody sees until they are published.
///
/// [`publish`](Claim::publish) hands the values filled in so far to the consumer, together and in
/// order. A claim dropped before that (early return, panic) drops its values and gives its slots
/// back; the ring goes on. Only leaking a claim (`mem::forget`) stops an `mpsc` ring: what was
/// claimed later then waits behind it until every producer is gone, and is leaked with it.
#[derive(Debug)]
#[must_use = "a claim dropped without `publish` gives its slots back"]
pub struct Claim<'a, T> {
    pub(super) slots: &'a Slots<T>,
    pub(super) cursors: &'a Cursors,
    pub(super) outlet: Outlet<'a>,
    pub(super) at: u64,
    pub(super) len: usize,
    pub(super) filled: usize,
}

/// How a claim becomes visible.
#[derive(Debug)]
pub(super) enum Outlet<'a> {
    /// One producer: the tail moves on.
    Tail(&'a mut u64),
    /// Many producers: the claim's first slot is stamped with its end.
    Stamps(&'a [AtomicU64]),
}

impl<T> Claim<'_, T> {
    /// Returns the number of reserved slots.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether no slot was asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns how many reserved slots are still to be filled.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.len - self.filled
    }

    /// Fills the next slot.
    /// # Errors
    /// The value comes back when every slot is filled.
    pub fn push(&mut self, value: T) -> Result<(), T> {
        if self.filled == self.len {
            return Err(value);
        }
        // SAFETY: `filled < len`, so the slot belongs to this claim and holds no value yet.
        unsafe {
            self.slots
                .write(self.at.wrapping_add(self.filled as u64), value)
        };
        self.filled += 1;
        Ok(())
    }

    /// Fills slots from `values` until they or the slots run out; returns how many were filled.
    pub fn fill(&mut self, values: impl IntoIterator<Item = T>) -> usize {
        let before = self.filled;
        let (at, n) = (self.at.wrapping_add(before as u64), self.remaining());
        // SAFETY: the slots behind the filled ones are this claim's and hold no values yet.
        unsafe { self.slots.fill(at, n, values.into_iter(), &mut self.filled) };
        self.filled - before
    }

    /// Fills slots with copies of `values` until they or the slots run out; returns how many were
    /// filled.
    pub fn fill_copy(&mut self, values: &[T]) -> usize
    where
        T: Copy,
    {
        let n = values.len().min(self.remaining());
        // SAFETY: `values` is valid for `n` reads and borrowed, so not in the table.
        unsafe { self.fill_from(values.as_ptr(), n) };
        n
    }

    /// Fills the next `n` slots from `source`.
    /// # Safety
    /// `n <= remaining`; `source` is valid for `n` reads and not in the table; if `T` is not `Copy`
    /// its values count as moved.
    pub(super) unsafe fn fill_from(&mut self, source: *const T, n: usize) {
        debug_assert!(n <= self.remaining());
        let at = self.at.wrapping_add(self.filled as u64);
        // SAFETY: the next `n <= remaining` slots belong to this claim and hold no values; `source`
        // is the caller's word.
        unsafe { self.slots.copy_in(at, source, n) };
        self.filled += n;
    }

    /// Hands the filled slots to the consumer and gives back those left empty; returns how many
    /// values were handed over.
    pub fn publish(mut self) -> usize {
        let filled = self.filled;
        self.release(filled);
        filled
    }

    /// Publishes the first `filled` slots, gives back the rest, and empties the claim.
    fn release(&mut self, filled: usize) {
        let published_end = self.at.wrapping_add(filled as u64);
        let end = self.at.wrapping_add(self.len as u64);
        match &mut self.outlet {
            Outlet::Tail(tail) => {
                if filled > 0 {
                    **tail = published_end;
                    // Release: the values stay before; partner: Acquire in `Lane::tail`.
                    self.cursors.tail.at.store(published_end, publishing());
                }
            }
            Outlet::Stamps(stamps) => {
                // The empty rest first: the consumer comes to it only through the stamp of the
                // filled part.
                if filled < self.len {
                    let slot = self.slots.index(published_end);
                    stamps[slot].store(stamp(end, true), publishing());
                }
                if filled > 0 {
                    let slot = self.slots.index(self.at);
                    // Release: the values stay before; partner: Acquire in `Lane::stamp_at`.
                    stamps[slot].store(stamp(published_end, false), publishing());
                }
            }
        }
        let len = core::mem::take(&mut self.len);
        self.filled = 0;
        if len > 0 {
            self.cursors.ends.published.ring();
        }
    }
}

impl<T> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        let filled = core::mem::take(&mut self.filled);
        let at = self.at;
        let slots = self.slots;
        // The slots go back only after their values are gone, also when a destructor panics.
        let _release = Release(self);
        // SAFETY: the first `filled` slots belong to this claim and hold values; `filled` is 0 from
        // here on.
        unsafe { slots.drop_values(at, filled) };
    }
}

/// Gives an abandoned claim's slots back when dropped.
struct Release<'a, 'b, T>(&'a mut Claim<'b, T>);

impl<T> Drop for Release<'_, '_, T> {
    fn drop(&mut self) {
        self.0.release(0);
    }
}
