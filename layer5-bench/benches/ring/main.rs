//! The rings beside their peers, same work for all: 64-byte items, capacities 1024 and 65536.
//! In: nothing. Out: criterion's report, elements per second. Called from: `cargo bench --bench
//! ring`.
//!
//! | group | shape | meant to stress |
//! |---|---|---|
//! | `uncontended` | one thread, push then pop | the bare cost of an item: read-modify-writes and fences |
//! | `round_trip` | two threads, one item to and fro | the latency of one handoff |
//! | `one_to_one` | two threads, single items and batches of 256 | cache lines moving between cores |
//! | `many_to_one` | 2 and 4 producers, single items and batches of 256 | the contended claim, and a machine with fewer cores than threads |
//!
//! Whoever finds a ring full or empty looks again 32 times and then yields, with every peer alike.
//! Each transfer is checked on the way: all items, each producer's in order. Compare rows of one
//! run only.
#![allow(
    missing_docs,
    reason = "criterion's macros expand to undocumented items"
)]

use std::{
    hint::{black_box, spin_loop},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use crossbeam::queue::ArrayQueue;
use layer5_ingest::ring::{mpsc, spsc};
use ringbuf::traits::{Consumer as _, Producer as _, Split as _};

const CAPACITIES: [usize; 2] = [1024, 65_536];
const BATCH: usize = 256;
/// Items per measured transfer: many laps of the small ring, some of the large.
const N: u64 = 1 << 18;

/// 64 bytes; the first word is the item's number, the second its producer.
#[derive(Clone, Copy, Default)]
struct Item([u64; 8]);

impl Item {
    fn new(number: u64, producer: u64) -> Self {
        Self([number, producer, 0, 0, 0, 0, 0, number])
    }
}

/// What the consumer expects of each producer next.
struct Expected([u64; 4]);

impl Expected {
    fn check(&mut self, item: &Item) {
        let Item([number, producer, .., copy]) = *item;
        let next = &mut self.0[producer as usize];
        assert!(
            number == *next && copy == number,
            "item {number} of {producer}, not {next}"
        );
        *next += 1;
    }
}

/// Looks again 32 times, then lets others run.
#[derive(Default)]
struct Idle(u32);

impl Idle {
    fn wait(&mut self) {
        self.0 += 1;
        if self.0.is_multiple_of(32) {
            thread::yield_now();
        } else {
            spin_loop();
        }
    }
}

/// Moves `n` items of each producer to the consumer; returns the time from the common start to the
/// last item. `push(number, producer)` sends items from that number on, made on the spot, and
/// `pop(expected)` takes some; both return how many.
fn transfer<P, C>(n: u64, producers: Vec<P>, mut pop: C) -> Duration
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
                start.wait();
                let mut sent = 0;
                let mut idle = Idle::default();
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
        let mut expected = Expected([0; 4]);
        start.wait();
        let began = Instant::now();
        let mut taken = 0;
        let mut idle = Idle::default();
        while taken < total {
            match pop(&mut expected) {
                0 => idle.wait(),
                n => {
                    taken += n as u64;
                    idle = Idle::default();
                }
            }
        }
        let took = began.elapsed();
        assert_eq!(expected.0.iter().sum::<u64>(), total);
        took
    })
}

/// The items of one batch; `N` is a multiple of its length.
fn batch(number: u64, producer: u64) -> impl Iterator<Item = Item> {
    (number..number + BATCH as u64).map(move |number| Item::new(number, producer))
}

/// Repeats `run` as criterion asks.
fn repeat(iterations: u64, mut run: impl FnMut() -> Duration) -> Duration {
    (0..iterations).map(|_| run()).sum()
}

fn one(expected: &mut Expected, item: Option<Item>) -> usize {
    item.map_or(0, |item| {
        expected.check(&item);
        1
    })
}

fn both(expected: &mut Expected, (before, after): (&[Item], &[Item])) -> usize {
    before
        .iter()
        .chain(after)
        .for_each(|item| expected.check(item));
    before.len() + after.len()
}

fn spsc_single(capacity: usize) -> Duration {
    let (mut p, mut c) = spsc::channel(capacity);
    let push = move |number, id| usize::from(p.push(Item::new(number, id)).is_ok());
    transfer(N, vec![push], |expected| one(expected, c.pop().ok()))
}

fn spsc_batch(capacity: usize) -> Duration {
    let (mut p, mut c) = spsc::channel(capacity);
    let push = move |number, id| {
        let Ok(mut claim) = p.claim(BATCH) else {
            return 0;
        };
        claim.fill(batch(number, id));
        claim.publish()
    };
    transfer(N, vec![push], |expected| {
        let chunk = c.chunk(BATCH);
        both(expected, chunk.as_slices());
        chunk.commit_all()
    })
}

fn rtrb_single(capacity: usize) -> Duration {
    let (mut p, mut c) = rtrb::RingBuffer::new(capacity);
    let push = move |number, id| usize::from(p.push(Item::new(number, id)).is_ok());
    transfer(N, vec![push], |expected| one(expected, c.pop().ok()))
}

fn rtrb_batch(capacity: usize) -> Duration {
    let (mut p, mut c) = rtrb::RingBuffer::new(capacity);
    let push = move |number, id| {
        let Ok(chunk) = p.write_chunk_uninit(BATCH) else {
            return 0;
        };
        chunk.fill_from_iter(batch(number, id))
    };
    transfer(N, vec![push], |expected| {
        let n = c.slots().min(BATCH);
        let Ok(chunk) = c.read_chunk(n) else { return 0 };
        both(expected, chunk.as_slices());
        chunk.commit_all();
        n
    })
}

fn ringbuf_single(capacity: usize) -> Duration {
    let (mut p, mut c) = ringbuf::HeapRb::new(capacity).split();
    let push = move |number, id| usize::from(p.try_push(Item::new(number, id)).is_ok());
    transfer(N, vec![push], |expected| one(expected, c.try_pop()))
}

fn ringbuf_batch(capacity: usize) -> Duration {
    let (mut p, mut c) = ringbuf::HeapRb::new(capacity).split();
    // A part of a batch may fit, so the last one is cut at `N`.
    let push = move |number, id| p.push_iter(batch(number, id).take((N - number) as usize));
    let mut buffer = [Item::default(); BATCH];
    transfer(N, vec![push], |expected| {
        let n = c.pop_slice(&mut buffer);
        both(expected, (&buffer[..n], &[]))
    })
}

fn array_queue(capacity: usize, producers: usize) -> Duration {
    let queue = ArrayQueue::new(capacity);
    let push = |number, id| usize::from(queue.push(Item::new(number, id)).is_ok());
    transfer(N, vec![push; producers], |expected| {
        one(expected, queue.pop())
    })
}

fn crossbeam_channel(capacity: usize, producers: usize) -> Duration {
    let (p, c) = crossbeam::channel::bounded(capacity);
    let push = |number, id| usize::from(p.try_send(Item::new(number, id)).is_ok());
    transfer(N, vec![push; producers], |expected| {
        one(expected, c.try_recv().ok())
    })
}

fn mpsc_single(capacity: usize, producers: usize) -> Duration {
    let (p, mut c) = mpsc::channel(capacity);
    let push = |number, id| usize::from(p.push(Item::new(number, id)).is_ok());
    transfer(N, vec![push; producers], |expected| {
        one(expected, c.pop().ok())
    })
}

fn mpsc_batch(capacity: usize, producers: usize) -> Duration {
    let (p, mut c) = mpsc::channel(capacity);
    let push = |number, id| {
        let Ok(mut claim) = p.claim(BATCH) else {
            return 0;
        };
        claim.fill(batch(number, id));
        claim.publish()
    };
    transfer(N, vec![push; producers], |expected| {
        let chunk = c.chunk(BATCH);
        both(expected, chunk.as_slices());
        chunk.commit_all()
    })
}

/// A transfer through a ring of some capacity.
type OneToOne = fn(usize) -> Duration;
/// A transfer through a ring of some capacity, from so many producers.
type ManyToOne = fn(usize, usize) -> Duration;

fn one_to_one(c: &mut Criterion) {
    let mut group = c.benchmark_group("one_to_one");
    group.throughput(Throughput::Elements(N));
    let rows: [(&str, OneToOne); 7] = [
        ("layer5 spsc single", spsc_single),
        ("rtrb single", rtrb_single),
        ("ringbuf single", ringbuf_single),
        ("ArrayQueue single", |capacity| array_queue(capacity, 1)),
        ("layer5 spsc batch", spsc_batch),
        ("rtrb batch", rtrb_batch),
        ("ringbuf batch", ringbuf_batch),
    ];
    for capacity in CAPACITIES {
        for (name, run) in rows {
            group.bench_function(BenchmarkId::new(name, capacity), |b| {
                b.iter_custom(|iterations| repeat(iterations, || run(capacity)));
            });
        }
    }
}

fn many_to_one(c: &mut Criterion) {
    let mut group = c.benchmark_group("many_to_one");
    let rows: [(&str, ManyToOne); 4] = [
        ("layer5 mpsc single", mpsc_single),
        ("ArrayQueue single", array_queue),
        ("crossbeam-channel single", crossbeam_channel),
        ("layer5 mpsc batch", mpsc_batch),
    ];
    for producers in [2, 4] {
        group.throughput(Throughput::Elements(N * producers as u64));
        for capacity in CAPACITIES {
            for (name, run) in rows {
                let id = BenchmarkId::new(name, format!("{producers} producers/{capacity}"));
                group.bench_function(id, |b| {
                    b.iter_custom(|iterations| repeat(iterations, || run(capacity, producers)));
                });
            }
        }
    }
}

/// Times a push and the pop after it, with `push` and `pop` checked first.
fn push_pop(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    mut push: impl FnMut(Item),
    mut pop: impl FnMut() -> Item,
) {
    /// Items in flight, so that none is read back at once.
    const FILL: u64 = 64;
    (0..FILL).for_each(|i| push(Item::new(i, 0)));
    for i in 0..FILL {
        assert_eq!(pop().0[0], i);
        push(Item::new(i, 0));
    }
    let item = Item::new(0, 0);
    group.bench_function(name, |b| {
        b.iter(|| {
            push(*black_box(&item));
            black_box(&pop()).0[0]
        });
    });
}

fn uncontended(c: &mut Criterion) {
    let mut group = c.benchmark_group("uncontended");
    group.throughput(Throughput::Elements(1));
    let (mut p, mut c) = spsc::channel(1024);
    push_pop(
        &mut group,
        "layer5 spsc",
        |item| assert!(p.push(item).is_ok()),
        || c.pop().expect("64 items are in flight"),
    );
    let (p, mut c) = mpsc::channel(1024);
    push_pop(
        &mut group,
        "layer5 mpsc",
        |item| assert!(p.push(item).is_ok()),
        || c.pop().expect("64 items are in flight"),
    );
    let (mut p, mut c) = rtrb::RingBuffer::new(1024);
    push_pop(
        &mut group,
        "rtrb",
        |item| assert!(p.push(item).is_ok()),
        || c.pop().expect("64 items are in flight"),
    );
    let (mut p, mut c) = ringbuf::HeapRb::new(1024).split();
    let push = |item| assert!(p.try_push(item).is_ok());
    push_pop(&mut group, "ringbuf", push, || {
        c.try_pop().expect("64 items are in flight")
    });
    let queue = ArrayQueue::new(1024);
    let push = |item| assert!(queue.push(item).is_ok());
    push_pop(&mut group, "ArrayQueue", push, || {
        queue.pop().expect("64 items are in flight")
    });
}

/// Sends a number to a thread that sends it back, `n` times, spinning; returns the time.
fn ping_pong(
    n: u64,
    mut there: impl FnMut(u64) -> bool,
    mut here: impl FnMut() -> Option<u64> + Send,
    mut back: impl FnMut(u64) -> bool + Send,
    mut echoed: impl FnMut() -> Option<u64>,
) -> Duration {
    fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
        let mut idle = Idle::default();
        loop {
            if let Some(found) = look() {
                return found;
            }
            idle.wait();
        }
    }
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..n {
                let value = until(&mut here);
                assert!(back(value), "one value in flight fits");
            }
        });
        let began = Instant::now();
        for i in 0..n {
            assert!(there(i), "one value in flight fits");
            assert_eq!(until(&mut echoed), i);
        }
        began.elapsed()
    })
}

fn round_trip(c: &mut Criterion) {
    let mut group = c.benchmark_group("round_trip");
    group.bench_function("layer5 spsc", |b| {
        b.iter_custom(|n| {
            let ((mut p, mut c), (mut q, mut d)) = (spsc::channel(64), spsc::channel(64));
            ping_pong(
                n,
                move |i| p.push(i).is_ok(),
                move || c.pop().ok(),
                move |i| q.push(i).is_ok(),
                move || d.pop().ok(),
            )
        });
    });
    group.bench_function("layer5 mpsc", |b| {
        b.iter_custom(|n| {
            let ((p, mut c), (q, mut d)) = (mpsc::channel(64), mpsc::channel(64));
            ping_pong(
                n,
                move |i| p.push(i).is_ok(),
                move || c.pop().ok(),
                move |i| q.push(i).is_ok(),
                move || d.pop().ok(),
            )
        });
    });
    group.bench_function("rtrb", |b| {
        b.iter_custom(|n| {
            let ((mut p, mut c), (mut q, mut d)) =
                (rtrb::RingBuffer::new(64), rtrb::RingBuffer::new(64));
            ping_pong(
                n,
                move |i| p.push(i).is_ok(),
                move || c.pop().ok(),
                move |i| q.push(i).is_ok(),
                move || d.pop().ok(),
            )
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500));
    targets = uncontended, round_trip, one_to_one, many_to_one
}
criterion_main!(benches);
