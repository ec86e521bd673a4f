//! Proves that waiting ends: on a value, on room, on a dropped end, on time; by thread and by task.
//! Threads meet through the rings alone; the only times are limits that a right ring never reaches
//! (a minute) or must reach (a millisecond).
#![cfg(not(loom))]

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use layer5_ingest::ring::{ClaimError, PopError, PushError, Wait, mpsc, overwrite, spsc};

const NEVER: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(1);

/// Unparks a thread, and counts.
struct Unpark {
    thread: thread::Thread,
    wakes: AtomicUsize,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        self.thread.unpark();
    }
}

/// Runs a task to its end on this thread; no executor of any library is needed.
fn block_on<F: Future>(task: F) -> F::Output {
    let unpark = Arc::new(Unpark {
        thread: thread::current(),
        wakes: AtomicUsize::new(0),
    });
    let waker = Waker::from(unpark);
    let mut task = pin!(task);
    loop {
        match task.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn a_wait_times_out_on_an_empty_ring_and_not_on_a_filled_one() {
    let (producer, mut consumer) = mpsc::channel(2);
    assert_eq!(consumer.wait(SHORT), Wait::TimedOut);
    assert_eq!(consumer.wait(Duration::ZERO), Wait::TimedOut);
    producer.push(1).unwrap();
    assert_eq!(consumer.wait(Duration::ZERO), Wait::Ready);
    drop(producer);
    assert_eq!(consumer.wait(NEVER), Wait::Ready);
    assert_eq!(consumer.pop(), Ok(1));
    assert_eq!(consumer.wait(NEVER), Wait::Closed);

    let (mut producer, mut consumer) = spsc::channel(1);
    assert_eq!(consumer.wait(SHORT), Wait::TimedOut);
    producer.push(1).unwrap();
    assert_eq!(producer.push_wait(2, SHORT), Err(PushError::Full(2)));
    assert_eq!(
        producer.claim_wait(2, NEVER).err(),
        Some(ClaimError::TooLarge {
            asked: 2,
            capacity: 1
        })
    );
    assert_eq!(consumer.wait(NEVER), Wait::Ready);
}

#[test]
fn a_slow_pair_sleeps_and_wakes_for_every_value() {
    // Capacity 1: each side waits for the other at every value.
    const N: u32 = 20_000;
    let (mut there, mut here) = spsc::channel(1);
    let (back, mut echoed) = mpsc::channel(1);
    let echo = thread::spawn(move || {
        while here.wait(NEVER) == Wait::Ready {
            back.push_wait(here.pop().unwrap(), NEVER).unwrap();
        }
    });
    for i in 0..N {
        there.push_wait(i, NEVER).unwrap();
        assert_eq!(echoed.wait(NEVER), Wait::Ready);
        assert_eq!(echoed.pop(), Ok(i));
    }
    drop(there);
    assert_eq!(echoed.wait(NEVER), Wait::Closed);
    echo.join().unwrap();
}

#[test]
fn many_producers_waiting_for_room_all_get_it() {
    const PRODUCERS: u64 = 4;
    const N: u64 = 20_000;
    let (producer, mut consumer) = mpsc::channel(3);
    let threads: Vec<_> = (0..PRODUCERS)
        .map(|id| {
            let producer = producer.clone();
            thread::spawn(move || {
                for i in 0..N {
                    if i % 4 == 0 {
                        let mut claim = producer.claim_wait(2, NEVER).unwrap();
                        claim.push((id, i)).unwrap();
                        claim.publish();
                    } else {
                        producer.push_wait((id, i), NEVER).unwrap();
                    }
                }
            })
        })
        .collect();
    drop(producer);
    let mut next = [0; PRODUCERS as usize];
    let mut out = Vec::new();
    while consumer.wait(NEVER) == Wait::Ready {
        consumer.drain_into(&mut out, 2);
        for (id, i) in out.drain(..) {
            assert_eq!(
                i, next[id as usize],
                "producer {id}'s values keep their order"
            );
            next[id as usize] += 1;
        }
    }
    assert_eq!(next, [N; PRODUCERS as usize]);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_producer_waiting_for_room_hears_that_the_consumer_is_gone() {
    let (producer, mut consumer) = mpsc::channel(1);
    producer.push(0).unwrap();
    let waiting = thread::spawn(move || {
        assert_eq!(producer.push_wait(1, NEVER), Ok(()));
        producer.push_wait(2, NEVER)
    });
    assert_eq!(consumer.pop(), Ok(0));
    assert_eq!(consumer.wait(NEVER), Wait::Ready);
    drop(consumer);
    assert_eq!(waiting.join().unwrap(), Err(PushError::Closed(2)));
}

#[test]
fn a_task_is_woken_once_and_only_when_it_asked() {
    let unpark = Arc::new(Unpark {
        thread: thread::current(),
        wakes: AtomicUsize::new(0),
    });
    let waker = Waker::from(Arc::clone(&unpark));
    let mut context = Context::from_waker(&waker);
    let (producer, mut consumer) = mpsc::channel(4);
    let check = |expected| assert_eq!(unpark.wakes.load(Ordering::Relaxed), expected);

    producer.push(0).unwrap();
    assert_eq!(consumer.poll_ready(&mut context), Poll::Ready(Wait::Ready));
    consumer.pop().unwrap();
    assert_eq!(consumer.poll_ready(&mut context), Poll::Pending);
    assert_eq!(consumer.poll_ready(&mut context), Poll::Pending);
    check(0);
    producer.push(1).unwrap();
    check(1);
    producer.push(2).unwrap();
    check(1);
    assert_eq!(consumer.poll_ready(&mut context), Poll::Ready(Wait::Ready));
    assert_eq!((consumer.pop(), consumer.pop()), (Ok(1), Ok(2)));
    assert_eq!(consumer.poll_ready(&mut context), Poll::Pending);
    drop(producer);
    check(2);
    assert_eq!(consumer.poll_ready(&mut context), Poll::Ready(Wait::Closed));
    assert_eq!(consumer.pop(), Err(PopError::Closed));
}

#[test]
fn a_task_gets_everything_that_threads_push() {
    const N: u64 = 50_000;
    let (producer, mut consumer) = mpsc::channel(16);
    let pushing = thread::spawn(move || {
        (0..N).for_each(|i| producer.push_wait(i, NEVER).unwrap());
    });
    let sum = block_on(async move {
        let mut sum = 0;
        let mut out = Vec::new();
        while poll_fn(|context| consumer.poll_ready(context)).await == Wait::Ready {
            consumer.drain_into(&mut out, 8);
            sum += out.drain(..).sum::<u64>();
        }
        sum
    });
    assert_eq!(sum, N * (N - 1) / 2);
    pushing.join().unwrap();
}

#[test]
fn an_overwriting_ring_wakes_its_consumer() {
    let (producer, consumer) = overwrite::channel(4);
    let pushing = thread::spawn(move || {
        for i in 0..10_000_u64 {
            producer.push(i).unwrap();
        }
    });
    let (mut taken, mut last) = (0, None);
    while consumer.wait(NEVER) == Wait::Ready {
        let value = consumer.pop().unwrap();
        assert!(Some(value) > last, "what is left keeps its order");
        (taken, last) = (taken + 1, Some(value));
    }
    assert_eq!(last, Some(9_999));
    assert_eq!(taken + consumer.lost(), 10_000);
    pushing.join().unwrap();
}
