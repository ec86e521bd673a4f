//! Proves the orderings: loom runs each small program in every order of its steps that the memory
//! model allows (up to two or three preemptions, as many as end within a minute), and checks that
//! no slot is touched by two at once, that nothing is lost, doubled, leaked, or left asleep. Each
//! program runs three threads, two of them spawned, explores at least a thousand executions, and
//! has twins with a planted bug that loom must find. Run by
//! `RUSTFLAGS="--cfg loom" cargo test -p layer5-ingest --test ring_loom --release`.
#![cfg(loom)]

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use layer5_ingest::ring::{Planted, PopError, PushError, Wait, mpsc, plant, spsc};
use loom::{
    sync::Arc as Watched,
    thread::{self, yield_now},
};

/// Loom's waits know no time.
const NEVER: Duration = Duration::from_secs(1);

/// Names, to a copy of this process, the bug to plant.
const PLANT: &str = "LAYER5_RING_PLANT";

/// Explores `program` with up to so many preemptions; returns the number of executions.
fn explore(program: fn(), preemptions: usize) -> u64 {
    let executions = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&executions);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        program();
    });
    executions.load(Ordering::Relaxed)
}

/// Checks that the test `name`'s program is right in at least a thousand executions, and that loom
/// finds each planted bug. A bug is planted in a copy of this process: what loom finds there makes
/// destructors panic in their turn, which ends a process.
fn check(name: &str, preemptions: usize, program: fn(), bugs: &[Planted]) {
    if let Ok(planted) = std::env::var(PLANT) {
        let bug = bugs.iter().find(|bug| format!("{bug:?}") == planted);
        plant(*bug.expect("the bug is one of this test's"));
        explore(program, preemptions);
        return;
    }
    let executions = explore(program, preemptions);
    println!("{name}: {executions} executions");
    assert!(
        executions >= 1000,
        "only {executions} executions were explored"
    );
    for bug in bugs {
        let output = Command::new(std::env::current_exe().expect("a test runs from a file"))
            .args([name, "--exact", "--nocapture"])
            .env(PLANT, format!("{bug:?}"))
            .output()
            .expect("this process can run once more");
        let said = String::from_utf8_lossy(&output.stderr);
        let found = said.contains("Causality violation") || said.contains("deadlock; threads");
        assert!(
            found && !output.status.success(),
            "loom missed {bug:?}: {said}"
        );
        println!("{name}: {bug:?} was found");
    }
}

/// Pops until the ring is closed; a watched value that were lost would show as a leak.
fn pop_all(mut pop: impl FnMut() -> Result<Watched<u32>, PopError>) -> Vec<u32> {
    let mut out = Vec::new();
    loop {
        match pop() {
            Ok(value) => out.push(*value),
            Err(PopError::Empty) => yield_now(),
            Err(PopError::Closed) => return out,
        }
    }
}

/// Pushes until there was room.
fn push(mut push: impl FnMut(Watched<u32>) -> Result<(), PushError<Watched<u32>>>, value: u32) {
    let mut value = Watched::new(value);
    while let Err(PushError::Full(back)) = push(value) {
        value = back;
        yield_now();
    }
}

#[test]
fn spsc_single_values() {
    check(
        "spsc_single_values",
        3,
        || {
            let (mut producer, mut consumer) = spsc::channel(1);
            let pushing = thread::spawn(move || {
                (0..2).for_each(|i| push(|value| producer.push(value), i));
            });
            let popping = thread::spawn(move || pop_all(|| consumer.pop()));
            pushing.join().unwrap();
            assert_eq!(popping.join().unwrap(), [0, 1]);
        },
        &[Planted::WeakPublish, Planted::WeakFree],
    );
}

#[test]
fn spsc_batches() {
    check(
        "spsc_batches",
        3,
        || {
            let (mut producer, mut consumer) = spsc::channel(2);
            let pushing = thread::spawn(move || {
                push(|value| producer.push(value), 0);
                loop {
                    if let Ok(mut claim) = producer.claim(2) {
                        claim.fill([1, 2].map(Watched::new));
                        claim.publish();
                        break;
                    }
                    yield_now();
                }
            });
            let popping = thread::spawn(move || {
                let mut out = Vec::new();
                while out.len() < 3 {
                    let chunk = consumer.chunk(2);
                    let (before, after) = chunk.as_slices();
                    out.extend(before.iter().chain(after).map(|value| **value));
                    if chunk.commit_all() == 0 {
                        yield_now();
                    }
                }
                out
            });
            pushing.join().unwrap();
            assert_eq!(popping.join().unwrap(), [0, 1, 2]);
        },
        &[Planted::WeakPublish, Planted::WeakFree],
    );
}

/// Takes up to `looks` values while the producers run, then, when they are done, the rest.
fn pop_now_and_later(
    mut consumer: mpsc::Consumer<Watched<u32>>,
    looks: usize,
    threads: [thread::JoinHandle<Vec<u32>>; 2],
) -> (Vec<u32>, [Vec<u32>; 2]) {
    let mut out: Vec<u32> = (0..looks)
        .filter_map(|_| consumer.pop().ok())
        .map(|v| *v)
        .collect();
    let sent = threads.map(|thread| thread.join().unwrap());
    out.extend(pop_all(|| consumer.pop()));
    (out, sent)
}

#[test]
fn mpsc_single_values() {
    check(
        "mpsc_single_values",
        2,
        || {
            let (producer, consumer) = mpsc::channel(1);
            let threads = [[0, 1], [2, 3]].map(|values| {
                let producer = producer.clone();
                let send = move |value: &u32| producer.push(Watched::new(*value)).is_ok();
                thread::spawn(move || values.into_iter().filter(send).collect())
            });
            drop(producer);
            let (mut out, sent) = pop_now_and_later(consumer, 2, threads);
            for sent in &sent {
                assert!(
                    out.iter().filter(|value| sent.contains(value)).eq(sent),
                    "kept in order"
                );
            }
            out.sort_unstable();
            assert_eq!(out, sent.concat(), "all that was sent, and once");
        },
        &[Planted::WeakPublish, Planted::WeakFree],
    );
}

#[test]
fn mpsc_batch_beside_single_values() {
    check(
        "mpsc_batch_beside_single_values",
        2,
        || {
            let (producer, consumer) = mpsc::channel(2);
            let other = producer.clone();
            let batching = thread::spawn(move || {
                let Ok(mut claim) = other.claim(2) else {
                    return Vec::new();
                };
                claim.fill([1, 2].map(Watched::new));
                claim.publish();
                vec![1, 2]
            });
            let send = move |value: &u32| producer.push(Watched::new(*value)).is_ok();
            let pushing = thread::spawn(move || [3, 4].into_iter().filter(send).collect());
            let (mut out, sent) = pop_now_and_later(consumer, 2, [batching, pushing]);
            let first = out.iter().position(|value| *value == 1);
            assert!(
                first.is_none_or(|i| out[i + 1] == 2),
                "a batch stays together: {out:?}"
            );
            out.sort_unstable();
            assert_eq!(out, sent.concat(), "all that was sent, and once");
        },
        &[Planted::WeakPublish, Planted::WeakFree],
    );
}

#[test]
fn mpsc_abandoned_claim_beside_single_values() {
    check(
        "mpsc_abandoned_claim_beside_single_values",
        2,
        || {
            let (producer, consumer) = mpsc::channel(2);
            let other = producer.clone();
            let abandoning = thread::spawn(move || {
                if let Ok(mut claim) = other.claim(2) {
                    claim.push(Watched::new(1)).expect("two slots are claimed");
                }
                Vec::new()
            });
            let send = move |value: &u32| producer.push(Watched::new(*value)).is_ok();
            let pushing = thread::spawn(move || [3, 4].into_iter().filter(send).collect());
            let (out, sent) = pop_now_and_later(consumer, 2, [abandoning, pushing]);
            assert_eq!(
                out,
                sent.concat(),
                "what was pushed, and nothing of the claim"
            );
        },
        &[Planted::WeakPublish, Planted::WeakFree],
    );
}

#[test]
fn mpsc_consumer_leaves_early() {
    check(
        "mpsc_consumer_leaves_early",
        2,
        || {
            let (producer, mut consumer) = mpsc::channel(2);
            let threads = [0, 1].map(|id| {
                let producer = producer.clone();
                thread::spawn(move || drop(producer.push(Watched::new(id))))
            });
            drop(producer);
            drop(consumer.pop());
            drop(consumer);
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        },
        &[Planted::WeakPublish],
    );
}

#[test]
fn a_sleeping_consumer_is_woken() {
    check(
        "a_sleeping_consumer_is_woken",
        2,
        || {
            let (producer, mut consumer) = mpsc::channel(2);
            let (mut relay, mut relayed) = spsc::channel(1);
            let relaying = thread::spawn(move || {
                assert_eq!(consumer.wait(NEVER), Wait::Ready);
                relay.push(consumer.pop().unwrap()).unwrap();
                drop(relay);
            });
            let pushing = thread::spawn(move || {
                producer.push(7).unwrap();
                // Alive until the value came through, lest leaving does the waking.
                producer
            });
            assert_eq!(relayed.wait(NEVER), Wait::Ready);
            assert_eq!(relayed.pop(), Ok(7));
            assert_eq!(relayed.wait(NEVER), Wait::Closed);
            drop(pushing.join().unwrap());
            relaying.join().unwrap();
        },
        &[Planted::NoFence],
    );
}

#[test]
fn a_sleeping_consumer_hears_the_last_producer_leave() {
    check(
        "a_sleeping_consumer_hears_the_last_producer_leave",
        3,
        || {
            let (producer, mut consumer) = mpsc::channel::<u32>(1);
            let other = producer.clone();
            let threads = [
                thread::spawn(move || drop(producer)),
                thread::spawn(move || drop(other)),
            ];
            assert_eq!(consumer.wait(NEVER), Wait::Closed);
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        },
        &[Planted::NoFence],
    );
}

#[test]
fn a_producer_sleeping_for_room_is_woken() {
    check(
        "a_producer_sleeping_for_room_is_woken",
        2,
        || {
            let (mut producer, mut consumer) = spsc::channel(1);
            producer.push(0).unwrap();
            let pushing = thread::spawn(move || {
                producer.push_wait(1, NEVER).unwrap();
                producer.push_wait(2, NEVER).unwrap();
                producer
            });
            let popping = thread::spawn(move || {
                assert_eq!(consumer.pop(), Ok(0));
                assert_eq!(consumer.wait(NEVER), Wait::Ready);
                assert_eq!(consumer.pop(), Ok(1));
                consumer
            });
            let _producer = pushing.join().unwrap();
            assert_eq!(popping.join().unwrap().pop(), Ok(2));
        },
        &[Planted::NoFence],
    );
}
