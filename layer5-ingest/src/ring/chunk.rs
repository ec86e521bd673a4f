//! The consumer's view of several published values at once: read them in place, then commit.
//! In: a published range. Out: two slices. Called from: `spsc::Consumer::chunk`,
//! `mpsc::Consumer::chunk`.
//! Invariants: the slots `head .. head + len` are published and the consumer, which this borrows,
//! has not taken them.

use super::lane::Lane;

/// Published values, oldest first, still in their slots.
///
/// Dropping a chunk without a commit takes nothing: the same values are there again next time.
#[derive(Debug)]
#[must_use = "values are taken out of the ring by `commit`"]
pub struct Chunk<'a, T> {
    pub(super) lane: &'a Lane<T>,
    pub(super) head: &'a mut u64,
    pub(super) len: usize,
}

impl<T> Chunk<'_, T> {
    /// Returns the number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the values in order: those before the end of the ring's memory, then those after it
    /// (often none).
    #[must_use]
    pub fn as_slices(&self) -> (&[T], &[T]) {
        // SAFETY: the slots are published and the consumer alone frees them; it is borrowed for as
        // long as the slices live, and the only thing that frees them here, `commit`, consumes
        // `self`.
        unsafe { self.lane.slots.slices(*self.head, self.len) }
    }

    /// Takes the first `n` values out of the ring, dropping them, and frees their slots; returns
    /// how many those were (all there are when `n` is larger).
    pub fn commit(self, n: usize) -> usize {
        let n = n.min(self.len);
        let at = *self.head;
        let advance = Advance {
            lane: self.lane,
            head: self.head,
            n,
        };
        // SAFETY: the slots are published, the consumer owns them, and `advance` moves the head
        // past them, also when a destructor panics, so none is seen again.
        unsafe { self.lane.slots.drop_values(at, n) };
        drop(advance);
        n
    }

    /// Takes every value out of the ring, as `commit(len)`.
    pub fn commit_all(self) -> usize {
        let n = self.len;
        self.commit(n)
    }

    /// Moves every value to the end of `target` and frees the slots; returns how many those were.
    pub(super) fn move_to(self, target: &mut Vec<T>) -> usize {
        target.reserve(self.len);
        let spare = target.spare_capacity_mut().as_mut_ptr().cast::<T>();
        // SAFETY: the slots are published and owned; `reserve` made room for `len` writes outside
        // the table; the head moves past the slots below, so their values count as gone.
        unsafe { self.lane.slots.copy_out(*self.head, spare, self.len) };
        // SAFETY: the values up to the new length were just written, within the capacity.
        unsafe { target.set_len(target.len() + self.len) };
        drop(Advance {
            lane: self.lane,
            head: self.head,
            n: self.len,
        });
        self.len
    }
}

/// Moves the head on when dropped, so that a panicking destructor cannot leave a value to be
/// dropped twice.
struct Advance<'a, T> {
    lane: &'a Lane<T>,
    head: &'a mut u64,
    n: usize,
}

impl<T> Drop for Advance<'_, T> {
    fn drop(&mut self) {
        if self.n > 0 {
            let at = *self.head;
            *self.head = at.wrapping_add(self.n as u64);
            if self.n > 1 {
                // SAFETY: the slots' values were moved out or dropped, or are leaked because a destructor panicked.
                unsafe { self.lane.take_lines(at, self.n) };
            }
            self.lane.cursors.free_to(*self.head);
        }
    }
}
