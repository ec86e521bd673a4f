//! The slot table: uninitialised memory for values, addressed by position. Every raw access to a
//! value is in this file.
//! In: positions that the caller owns. Out: values and slices. Called from: `spsc`, `mpsc`,
//! `claim`, `chunk`.
//! Invariants: the table has a power of two of slots. It does not know which of them hold values:
//! at each moment a slot belongs to the producer that claimed it, or to the consumer once
//! published, or to nobody, and it is the callers who keep that (see `cursors`). It therefore drops
//! no values by itself.

use core::{cell::UnsafeCell, marker::PhantomData, ptr, ptr::NonNull, slice};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};

#[cfg(loom)]
use super::sync::Tracked;

/// Bytes that move between cores as one.
const LINE: usize = 64;

/// A power of two of slots for values, the first at the start of a cache line: a value of a line's size lies in one.
///
/// Invariant in `T`, hence the cell: both ends hold the table, and a producer that passed for one of shorter-lived values
/// would give them to a consumer of longer-lived ones.
///
/// ```compile_fail,E0597
/// let (producer, mut consumer) = layer5_ingest::ring::spsc::channel::<&'static str>(4);
/// {
///     let text = String::from("gone before it is read");
///     let mut producer = producer;
///     producer.push(&text).unwrap();
/// }
/// let dangling = consumer.pop();
/// ```
pub(super) struct Slots<T> {
    memory: NonNull<UnsafeCell<T>>,
    mask: usize,
    values: PhantomData<T>,
    /// Loom's view of the cells: it cannot watch slices, so each access touches the twin of its
    /// slot.
    #[cfg(loom)]
    twins: Box<[Tracked<()>]>,
}

// SAFETY: the table hands values from thread to thread, which `T: Send` allows, and never shares
// one: each slot has one owner at a time, kept by the callers of the unsafe functions below.
unsafe impl<T: Send> Sync for Slots<T> {}
// SAFETY: as above; the memory is this table's own.
unsafe impl<T: Send> Send for Slots<T> {}

impl<T> Slots<T> {
    /// Makes room for at least `capacity` values. The caller has checked `1 <= capacity <= 2^62`.
    pub(super) fn new(capacity: usize) -> Self {
        let len = capacity.next_power_of_two();
        let layout = Self::layout(len);
        let memory = if layout.size() == 0 {
            NonNull::dangling()
        } else {
            // SAFETY: the layout has a size.
            let memory = unsafe { alloc(layout) };
            NonNull::new(memory.cast()).unwrap_or_else(|| handle_alloc_error(layout))
        };
        Self {
            memory,
            mask: len - 1,
            values: PhantomData,
            #[cfg(loom)]
            twins: (0..len).map(|_| Tracked::new(())).collect(),
        }
    }

    fn layout(len: usize) -> Layout {
        Layout::array::<T>(len)
            .and_then(|layout| layout.align_to(LINE))
            .unwrap_or_else(|_| panic!("ring of {len} slots exceeds the address space"))
    }

    /// Returns the number of slots, a power of two.
    pub(super) fn len(&self) -> usize {
        self.mask + 1
    }

    /// Returns the slot of a position.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "only the low bits are kept"
    )]
    pub(super) fn index(&self, at: u64) -> usize {
        at as usize & self.mask
    }

    /// Splits `n <= len` slots from `at` where the table ends; returns the first index and the two
    /// lengths.
    fn split(&self, at: u64, n: usize) -> (usize, usize, usize) {
        debug_assert!(n <= self.len());
        let start = self.index(at);
        let first = n.min(self.len() - start);
        (start, first, n - first)
    }

    fn ptr(&self, index: usize) -> *mut T {
        debug_assert!(index < self.len());
        UnsafeCell::raw_get(self.memory.as_ptr()).wrapping_add(index)
    }

    /// Writes a value into the slot of `at`.
    /// # Safety
    /// The caller owns the slot and it holds no value (one would be forgotten).
    pub(super) unsafe fn write(&self, at: u64, value: T) {
        self.touch_mut(at, 1);
        // SAFETY: `index` is masked into the table, so the pointer is valid and aligned; the caller
        // owns the slot.
        unsafe { self.ptr(self.index(at)).write(value) }
    }

    /// Moves the value out of the slot of `at`.
    /// # Safety
    /// The caller owns the slot and it holds a value, which from now on counts as gone.
    pub(super) unsafe fn read(&self, at: u64) -> T {
        self.touch_mut(at, 1);
        // SAFETY: the pointer is valid as in `write`; the caller owns the slot and says it holds a
        // value.
        unsafe { self.ptr(self.index(at)).read() }
    }

    /// Copies `n` values from `source` into the slots from `at` on.
    /// # Safety
    /// The caller owns the slots `at .. at + n`, `n <= len`, and they hold no values; `source` is
    /// valid for `n` reads, does not lie in the table, and if `T` is not `Copy` its values count as
    /// moved.
    pub(super) unsafe fn copy_in(&self, at: u64, source: *const T, n: usize) {
        self.touch_mut(at, n);
        let (start, first, second) = self.split(at, n);
        // SAFETY: `split` keeps `start + first` within the table; ownership and `source` are the
        // caller's word.
        unsafe { ptr::copy_nonoverlapping(source, self.ptr(start), first) };
        // SAFETY: `second < start`'s end of the table, `first + second = n` values are readable at
        // `source`.
        unsafe { ptr::copy_nonoverlapping(source.wrapping_add(first), self.ptr(0), second) };
    }

    /// Writes values into the slots from `at` on until they or the `n` slots run out, and counts each in `filled`; draws no
    /// value that would have no slot.
    /// # Safety
    /// The caller owns the slots `at .. at + n`, `n <= len`, and they hold no values.
    #[inline]
    pub(super) unsafe fn fill(
        &self,
        at: u64,
        n: usize,
        mut values: impl Iterator<Item = T>,
        filled: &mut usize,
    ) {
        self.touch_mut(at, n);
        let (start, first, second) = self.split(at, n);
        for (start, n) in [(start, first), (0, second)] {
            for i in start..start + n {
                let Some(value) = values.next() else {
                    return;
                };
                // SAFETY: `split` keeps `i` within the table; the caller owns the slot, and it holds no value.
                unsafe { self.ptr(i).write(value) };
                *filled += 1;
            }
        }
    }

    /// Moves `n` values from the slots from `at` on to `target`.
    /// # Safety
    /// The caller owns the slots `at .. at + n`, `n <= len`, and each holds a value, which from now
    /// on counts as gone; `target` is valid for `n` writes and does not lie in the table.
    pub(super) unsafe fn copy_out(&self, at: u64, target: *mut T, n: usize) {
        self.touch_mut(at, n);
        let (start, first, second) = self.split(at, n);
        // SAFETY: `split` keeps `start + first` within the table; ownership and `target` are the
        // caller's word.
        unsafe { ptr::copy_nonoverlapping(self.ptr(start), target, first) };
        // SAFETY: the second part starts at slot 0 and `first + second = n` values are writable at
        // `target`.
        unsafe { ptr::copy_nonoverlapping(self.ptr(0), target.wrapping_add(first), second) };
    }

    /// Returns the values in the slots `at .. at + n`, in order, as the part before and the part
    /// after the table's end.
    /// # Safety
    /// For as long as the slices live: the slots `at .. at + n`, `n <= len`, hold values and nobody
    /// writes to them.
    pub(super) unsafe fn slices(&self, at: u64, n: usize) -> (&[T], &[T]) {
        self.touch(at, n);
        let (start, first, second) = self.split(at, n);
        // SAFETY: `split` keeps the range within one allocation; the caller says it holds values
        // and is left alone.
        let before = unsafe { slice::from_raw_parts(self.ptr(start), first) };
        // SAFETY: as above, from slot 0.
        let after = unsafe { slice::from_raw_parts(self.ptr(0), second) };
        (before, after)
    }

    /// Drops the values in the slots `at .. at + n`.
    /// # Safety
    /// The caller owns the slots `at .. at + n`, `n <= len`, and each holds a value, which from now
    /// on counts as gone.
    pub(super) unsafe fn drop_values(&self, at: u64, n: usize) {
        if !core::mem::needs_drop::<T>() {
            return;
        }
        self.touch_mut(at, n);
        let (start, first, second) = self.split(at, n);
        // SAFETY: `split` keeps the range within the table; the caller owns it and says it holds
        // values.
        unsafe { ptr::slice_from_raw_parts_mut(self.ptr(start), first).drop_in_place() };
        // SAFETY: as above, from slot 0.
        unsafe { ptr::slice_from_raw_parts_mut(self.ptr(0), second).drop_in_place() };
    }

    /// Writes to each cache line of the slots `at .. at + n`; see `Lane::take_lines`.
    /// # Safety
    /// The caller owns the slots `at .. at + n`, `n <= len`, and they hold no values.
    #[inline]
    pub(super) unsafe fn take_lines(&self, at: u64, n: usize) {
        let (_, first, second) = self.split(at, n);
        // SAFETY: the slots before the table's end are the caller's, and hold no values.
        unsafe { self.take_lines_side_by_side(at, first) };
        // SAFETY: as are those behind it.
        unsafe { self.take_lines_side_by_side(at.wrapping_add(first as u64), second) };
    }

    /// As [`take_lines`](Self::take_lines), of slots that do not lie over the table's end.
    /// # Safety
    /// As there.
    #[inline]
    pub(super) unsafe fn take_lines_side_by_side(&self, at: u64, n: usize) {
        self.touch_mut(at, n);
        let memory = self.ptr(self.index(at)).cast::<u8>();
        for i in (0..n * size_of::<T>()).step_by(LINE) {
            // SAFETY: the byte is one of the slots', which the caller owns; no value is there.
            unsafe { memory.wrapping_add(i).write(0) };
        }
    }

    #[cfg(not(loom))]
    #[inline(always)]
    #[expect(clippy::unused_self, reason = "its loom twin below uses it")]
    fn touch(&self, _at: u64, _n: usize) {}

    #[cfg(not(loom))]
    #[inline(always)]
    #[expect(clippy::unused_self, reason = "its loom twin below uses it")]
    fn touch_mut(&self, _at: u64, _n: usize) {}

    /// Tells loom that the slots are read.
    #[cfg(loom)]
    fn touch(&self, at: u64, n: usize) {
        (0..n as u64).for_each(|i| self.twins[self.index(at.wrapping_add(i))].with(|_| ()));
    }

    /// Tells loom that the slots are written.
    #[cfg(loom)]
    fn touch_mut(&self, at: u64, n: usize) {
        (0..n as u64).for_each(|i| self.twins[self.index(at.wrapping_add(i))].with_mut(|_| ()));
    }
}

impl<T> Drop for Slots<T> {
    fn drop(&mut self) {
        let layout = Self::layout(self.len());
        if layout.size() > 0 {
            // SAFETY: `new` allocated the memory with this layout, and nobody has a pointer to it any more.
            unsafe { dealloc(self.memory.as_ptr().cast(), layout) };
        }
    }
}

impl<T> core::fmt::Debug for Slots<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Slots")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
