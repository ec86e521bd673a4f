//! Drives the rings hard from real threads, for ThreadSanitizer and for long runs on real hardware.
//! In: rounds on the command line (default 3). Out: exit status, one line a round. Called from:
//! `cargo test`, and `check.sh` with the sanitizer.
//! Invariants: each program checks that every value arrives once and in its producer's order.
//!
//! A `main` of its own instead of the test harness, under which the sanitizer reports false races. It
//! does not see what synchronises inside the standard library either, hence: threads are joined,
//! not scoped; the ends of a ring meet on the main thread before they are dropped (`Arc` fences
//! there); `ring::overwrite`, safe code under a `Mutex`, is left to the compiler; and the one datum
//! that the rings keep under a `Mutex`, the bell's waker, is excused in `tsan-suppressions.txt`.
//!
//! ```text
//! export RUSTC_BOOTSTRAP=1 TSAN_OPTIONS="suppressions=$PWD/layer5-ingest/tests/tsan-suppressions.txt"
//! RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" \
//!   cargo test -p layer5-ingest --target x86_64-unknown-linux-gnu --test ring_stress -- 100
//! ```
#![allow(clippy::print_stdout, reason = "its output is its result")]

use std::{
    thread::{self, JoinHandle, yield_now},
    time::Duration,
};

use layer5_ingest::ring::{PopError, Wait, mpsc, spsc};

/// Values per producer and program; more rounds find more than more values, as each starts afresh.
const N: u64 = 1_000;
const PRODUCERS: u64 = 3;
/// A limit that a right ring never reaches.
const NEVER: Duration = Duration::from_secs(600);

/// On the heap, so that a value seen too early or too late is a race that the sanitizer sees.
type Value = Box<(u64, u64)>;

fn main() {
    // Whatever else `cargo test` is told is meant for test harnesses.
    let rounds = std::env::args().find_map(|argument| argument.parse().ok());
    let rounds: u64 = rounds.unwrap_or(3);
    for round in 0..rounds {
        for capacity in [1, 2, 3, 64] {
            spsc_singles(capacity);
            spsc_batches_waiting(capacity);
            mpsc_everything(capacity, false);
            mpsc_everything(capacity, true);
            mpsc_consumer_leaves(capacity);
        }
        println!("round {round}: every value arrived once and in order");
    }
}

/// Checks that each producer's values come in order.
#[derive(Default)]
struct Expected {
    next: [u64; PRODUCERS as usize],
}

impl Expected {
    fn take(&mut self, value: &Value) {
        let (producer, number) = **value;
        let next = &mut self.next[usize::try_from(producer).expect("a small number")];
        assert_eq!(number, *next, "producer {producer}");
        *next += 1;
    }
}

fn spsc_singles(capacity: usize) {
    let (mut producer, mut consumer) = spsc::channel(capacity);
    let pushing = thread::spawn(move || {
        for number in 0..N {
            let mut value = Box::new((0, number));
            while let Err(refused) = producer.push(value) {
                value = refused.into_inner();
                yield_now();
            }
        }
        producer
    });
    let mut expected = Expected::default();
    while expected.next[0] < N {
        match consumer.pop() {
            Ok(value) => expected.take(&value),
            Err(_) => yield_now(),
        }
    }
    drop(pushing.join().expect("the producer checks nothing"));
    assert_eq!(consumer.pop().err(), Some(PopError::Closed));
}

fn spsc_batches_waiting(capacity: usize) {
    let (mut producer, mut consumer) = spsc::channel(capacity);
    let pushing = thread::spawn(move || {
        let mut number = 0;
        while number < N {
            let n = (1 + number % capacity as u64).min(N - number);
            let mut claim = producer
                .claim_wait(usize::try_from(n).expect("at most the capacity"), NEVER)
                .expect("there will be room");
            claim.fill((number..number + n).map(|number| Box::new((0, number))));
            number += claim.publish() as u64;
        }
        producer
    });
    let mut expected = Expected::default();
    while expected.next[0] < N {
        assert_eq!(consumer.wait(NEVER), Wait::Ready);
        let chunk = consumer.chunk(7);
        let (before, after) = chunk.as_slices();
        before
            .iter()
            .chain(after)
            .for_each(|value| expected.take(value));
        chunk.commit_all();
    }
    drop(pushing.join().expect("the producer checks nothing"));
    assert_eq!(consumer.wait(NEVER), Wait::Closed);
}

/// Each producer pushes singles, batches, and claims that it fills in part or abandons.
fn mpsc_everything(capacity: usize, waiting: bool) {
    let (producer, mut consumer) = mpsc::channel(capacity);
    let threads: Vec<_> = (0..PRODUCERS)
        .map(|id| {
            let producer = producer.clone();
            thread::spawn(move || {
                let mut number = 0;
                while number < N {
                    number += push_some(&producer, id, number, waiting);
                }
                producer
            })
        })
        .collect();
    let gauge = producer.gauge();
    let mut expected = Expected::default();
    let mut out = Vec::new();
    while expected.next.iter().sum::<u64>() < N * PRODUCERS {
        if waiting {
            assert_eq!(consumer.wait(NEVER), Wait::Ready);
        }
        match consumer.pop() {
            Ok(value) => expected.take(&value),
            Err(_) => yield_now(),
        }
        consumer.drain_into(&mut out, 5);
        out.drain(..).for_each(|value| expected.take(&value));
        assert!(gauge.len() <= capacity && gauge.high_watermark() <= capacity);
    }
    join(threads);
    assert_eq!(expected.next, [N; PRODUCERS as usize]);
}

/// Pushes one or more values from `number` on, in a way that depends on it; returns how many.
fn push_some(producer: &mpsc::Producer<Value>, id: u64, number: u64, waiting: bool) -> u64 {
    let value = |number| Box::new((id, number));
    let timeout = if waiting { NEVER } else { Duration::ZERO };
    let pushed = match number % 5 {
        0 if producer.capacity() >= 3 => match producer.claim_wait(3, timeout) {
            // The third slot goes back.
            Ok(mut claim) => {
                claim.fill((number..N).take(2).map(value));
                claim.publish()
            }
            Err(_) => 0,
        },
        1 => {
            // Nothing of an abandoned claim is seen.
            if let Ok(mut claim) = producer.claim(1) {
                claim.fill([value(u64::MAX)]);
            }
            usize::from(producer.push_wait(value(number), timeout).is_ok())
        }
        2 if producer.capacity() >= 2 => {
            let mut batch: Vec<Value> = (number..N).take(2).map(value).collect();
            let n = batch.len();
            if producer.push_vec(&mut batch).is_ok() {
                n
            } else {
                0
            }
        }
        _ => usize::from(producer.push_wait(value(number), timeout).is_ok()),
    };
    if pushed == 0 {
        yield_now();
    }
    pushed as u64
}

/// The consumer leaves in the middle; what is left in the ring is dropped with it, or at the end.
fn mpsc_consumer_leaves(capacity: usize) {
    let (producer, mut consumer) = mpsc::channel(capacity);
    let threads: Vec<_> = (0..PRODUCERS)
        .map(|id| {
            let producer = producer.clone();
            thread::spawn(move || {
                let mut number = 0;
                while producer.push_wait(Box::new((id, number)), NEVER).is_ok() {
                    number += 1;
                }
                producer
            })
        })
        .collect();
    let mut expected = Expected::default();
    for _ in 0..N / 4 {
        assert_eq!(consumer.wait(NEVER), Wait::Ready);
        expected.take(&consumer.pop().expect("it was said to be ready"));
    }
    drop(consumer);
    join(threads);
    assert!(producer.is_closed());
}

/// Ends the threads; only then drops their producers.
fn join(threads: Vec<JoinHandle<mpsc::Producer<Value>>>) {
    let producers: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
    assert!(
        producers.iter().all(Result::is_ok),
        "producers check nothing"
    );
}
