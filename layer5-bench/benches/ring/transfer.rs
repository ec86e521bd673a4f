//! Moves items from some threads to one, and checks that all arrive in order.
//! In: what pushes and what pops. Out: the time. Called from: `peers`.

use std::{
    hint::spin_loop,
    sync::{Arc, Barrier, LazyLock},
    thread,
    time::{Duration, Instant},
};

use core_affinity::CoreId;

/// An item of `W` words: the first is its number, the second its producer, the last its number again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<const W: usize>(pub(crate) [u64; W]);

impl<const W: usize> Item<W> {
    #[inline(always)]
    pub(crate) fn new(number: u64, producer: u64) -> Self {
        let mut words = [0; W];
        words[0] = number;
        words[1] = producer;
        words[W - 1] = number;
        Self(words)
    }
}

impl<const W: usize> Default for Item<W> {
    fn default() -> Self {
        Self([0; W])
    }
}

/// What the consumer expects of each producer next.
pub(crate) struct Expected([u64; 4]);

impl Expected {
    #[inline(always)]
    pub(crate) fn check<const W: usize>(&mut self, item: &Item<W>) {
        let (number, producer) = (item.0[0], item.0[1]);
        let next = &mut self.0[producer as usize];
        assert!(
            number == *next && item.0[W - 1] == number,
            "item {number} of {producer}, not {next}"
        );
        *next += 1;
    }

    #[inline(always)]
    pub(crate) fn one<const W: usize>(&mut self, item: Option<Item<W>>) -> usize {
        item.map_or(0, |item| {
            self.check(&item);
            1
        })
    }

    #[inline(always)]
    pub(crate) fn all<const W: usize>(&mut self, items: &[Item<W>]) -> usize {
        items.iter().for_each(|item| self.check(item));
        items.len()
    }
}

/// Looks again 32 times, then lets others run.
#[derive(Default)]
pub(crate) struct Idle(u32);

impl Idle {
    #[inline(always)]
    pub(crate) fn wait(&mut self) {
        self.0 += 1;
        if self.0.is_multiple_of(32) {
            thread::yield_now();
        } else {
            spin_loop();
        }
    }
}

/// The cores of this process, asked for before any thread is pinned: a thread that is sees its own alone.
static CORES: LazyLock<Vec<CoreId>> =
    LazyLock::new(|| core_affinity::get_core_ids().unwrap_or_default());

/// Keeps thread `k` of a measurement on one core.
pub(crate) fn pin(k: usize) {
    if !CORES.is_empty() {
        core_affinity::set_for_current(CORES[k % CORES.len()]);
    }
}

/// Moves `n` items of each producer; returns how many in all, and the time from the common start to the last one.
/// `push(number, producer)` sends items from that number on, made on the spot, and `pop(expected)` takes some; both return
/// how many.
pub(crate) fn transfer<P, C>(n: u64, producers: Vec<P>, mut pop: C) -> (u64, Duration)
where
    P: FnMut(u64, u64) -> usize + Send,
    C: FnMut(&mut Expected) -> usize,
{
    let total = n * producers.len() as u64;
    let start = Arc::new(Barrier::new(producers.len() + 1));
    thread::scope(|scope| {
        for (id, mut push) in (0..).zip(producers) {
            let start = Arc::clone(&start);
            scope.spawn(move || {
                pin(1 + id as usize);
                start.wait();
                let (mut sent, mut idle) = (0, Idle::default());
                while sent < n {
                    match push(sent, id) {
                        0 => idle.wait(),
                        pushed => {
                            sent += pushed as u64;
                            idle = Idle::default();
                        }
                    }
                }
            });
        }
        pin(0);
        let mut expected = Expected([0; 4]);
        start.wait();
        let began = Instant::now();
        let (mut taken, mut idle) = (0, Idle::default());
        while taken < total {
            match pop(&mut expected) {
                0 => idle.wait(),
                n => {
                    taken += n as u64;
                    idle = Idle::default();
                }
            }
        }
        (total, began.elapsed())
    })
}
