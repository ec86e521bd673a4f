//! Proves that every value is dropped exactly once, wherever it is when its owner goes: in a slot,
//! over the end of the memory, in an abandoned claim, refused, displaced, in a chunk whose
//! destructor panics. Values count themselves.
#![cfg(not(loom))]

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use layer5_ingest::ring::{ClaimError, PopError, PushError, mpsc, overwrite, spsc};

/// Counts itself when dropped, and panics then if told to.
#[derive(Debug)]
struct Counted {
    drops: Rc<Cell<usize>>,
    panics: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.drops.set(self.drops.get() + 1);
        assert!(!self.panics, "planted");
    }
}

/// Makes values and says how many are gone.
#[derive(Default)]
struct Counter {
    drops: Rc<Cell<usize>>,
}

impl Counter {
    fn value(&self) -> Counted {
        Counted {
            drops: Rc::clone(&self.drops),
            panics: false,
        }
    }

    fn panicking(&self) -> Counted {
        Counted {
            drops: Rc::clone(&self.drops),
            panics: true,
        }
    }

    fn values(&self, n: usize) -> Vec<Counted> {
        (0..n).map(|_| self.value()).collect()
    }

    fn check(&self, expected: usize) {
        assert_eq!(self.drops.get(), expected);
    }
}

#[test]
fn what_is_left_in_a_ring_is_dropped_with_its_last_end() {
    for producer_first in [true, false] {
        // Offset 2 of 3 slots: the three values lie over the end of the memory.
        let counter = Counter::default();
        let (mut producer, mut consumer) = spsc::channel(3);
        producer.push_vec(&mut counter.values(2)).unwrap();
        consumer.chunk(2).commit_all();
        counter.check(2);
        producer.push_vec(&mut counter.values(3)).unwrap();
        if producer_first {
            drop(producer);
            counter.check(2);
            drop(consumer);
        } else {
            drop(consumer);
            drop(producer);
        }
        counter.check(5);

        let counter = Counter::default();
        let (producer, mut consumer) = mpsc::channel(3);
        producer.push_vec(&mut counter.values(2)).unwrap();
        drop(consumer.pop().unwrap());
        producer.push_vec(&mut counter.values(2)).unwrap();
        counter.check(1);
        if producer_first {
            drop(producer);
            drop(consumer);
        } else {
            drop(consumer);
            counter.check(4);
            drop(producer);
        }
        counter.check(4);
    }
}

#[test]
fn an_abandoned_claim_drops_its_values_and_the_ring_goes_on() {
    let counter = Counter::default();
    let (mut producer, mut consumer) = spsc::channel(4);
    let mut claim = producer.claim(3).unwrap();
    claim.fill(counter.values(2));
    drop(claim);
    counter.check(2);
    producer.push(counter.value()).unwrap();
    drop(consumer.pop().unwrap());
    counter.check(3);

    let counter = Counter::default();
    let (producer, mut consumer) = mpsc::channel(4);
    let mut abandoned = producer.claim(2).unwrap();
    abandoned.fill(counter.values(2));
    producer.push(counter.value()).unwrap();
    assert_eq!(consumer.pop().unwrap_err(), PopError::Empty);
    drop(abandoned);
    counter.check(2);
    drop(consumer.pop().unwrap());
    counter.check(3);
    assert_eq!(consumer.pop().unwrap_err(), PopError::Empty);
    producer.push_vec(&mut counter.values(4)).unwrap();
    drop((producer, consumer));
    counter.check(7);
}

#[test]
fn a_source_that_panics_while_it_fills_leaves_the_ring_whole() {
    let counter = Counter::default();
    let (producer, mut consumer) = mpsc::channel(4);
    let filled = catch_unwind(AssertUnwindSafe(|| {
        let mut claim = producer.claim(4).unwrap();
        claim.fill((0..4).map(|i| {
            if i < 2 {
                counter.value()
            } else {
                panic!("planted")
            }
        }));
    }));
    assert!(filled.is_err());
    counter.check(2);
    assert_eq!(consumer.pop().unwrap_err(), PopError::Empty);
    producer.push_vec(&mut counter.values(4)).unwrap();
    assert_eq!(consumer.chunk(9).commit_all(), 4);
    counter.check(6);
}

#[test]
fn a_destructor_that_panics_in_a_commit_takes_nothing_twice() {
    let counter = Counter::default();
    let (producer, mut consumer) = mpsc::channel(4);
    producer
        .push_vec(&mut vec![
            counter.value(),
            counter.panicking(),
            counter.value(),
        ])
        .unwrap();
    producer.push(counter.value()).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| consumer.chunk(3).commit_all())).is_err());
    counter.check(3);
    assert_eq!(consumer.chunk(9).commit_all(), 1);
    counter.check(4);
}

#[test]
fn refused_values_come_back() {
    let counter = Counter::default();
    let (producer, consumer) = mpsc::channel(1);
    producer.push(counter.value()).unwrap();
    let PushError::Full(back) = producer.push(counter.value()).unwrap_err() else {
        panic!("one slot holds one value")
    };
    counter.check(0);
    let mut two = counter.values(2);
    let error = producer.push_vec(&mut two).unwrap_err();
    assert_eq!(
        error,
        ClaimError::TooLarge {
            asked: 2,
            capacity: 1
        }
    );
    assert_eq!(two.len(), 2);
    drop(consumer);
    let PushError::Closed(back_again) = producer.push(back).unwrap_err() else {
        panic!("the consumer is gone")
    };
    assert_eq!(producer.push_vec(&mut two).unwrap_err(), ClaimError::Closed);
    assert!(producer.is_closed());
    counter.check(1);
    drop((two, back_again));
    counter.check(4);
}

#[test]
fn displaced_values_are_handed_out() {
    let counter = Counter::default();
    let (producer, consumer) = overwrite::channel(2);
    for _ in 0..5 {
        drop(producer.push(counter.value()).unwrap());
    }
    counter.check(3);
    drop(consumer);
    counter.check(5);
    drop(producer.push(counter.value()).unwrap_err());
    counter.check(6);
}

#[test]
fn zero_sized_values_are_counted_too() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    struct Nothing;
    impl Drop for Nothing {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (producer, mut consumer) = mpsc::channel(3);
    producer.push_vec(&mut vec![Nothing, Nothing]).unwrap();
    producer.push(Nothing).unwrap();
    assert!(producer.push(Nothing).is_err());
    assert_eq!(DROPS.load(Ordering::Relaxed), 1);
    assert!(consumer.pop().is_ok());
    assert_eq!(
        consumer.chunk(9).as_slices().0.len() + consumer.chunk(9).as_slices().1.len(),
        2
    );
    drop((producer, consumer));
    assert_eq!(DROPS.load(Ordering::Relaxed), 4);

    let (mut producer, mut consumer) = spsc::channel(1);
    producer.push(()).unwrap();
    assert_eq!(producer.push(()), Err(PushError::Full(())));
    assert_eq!(consumer.pop(), Ok(()));
}

#[test]
fn a_gauge_keeps_no_value_alive() {
    let value = Arc::new(());
    let (producer, consumer) = mpsc::channel(2);
    producer.push(Arc::clone(&value)).unwrap();
    let gauge = producer.gauge();
    drop((producer, consumer));
    assert_eq!(Arc::strong_count(&value), 1);
    assert_eq!(gauge.len(), 0);
}

#[test]
#[should_panic(expected = "ring capacity 0 must be within 1..=")]
fn spsc_without_slots_is_refused() {
    drop(spsc::channel::<u8>(0));
}

#[test]
#[should_panic(expected = "ring capacity 0 must be within 1..=")]
fn mpsc_without_slots_is_refused() {
    drop(mpsc::channel::<u8>(0));
}

#[test]
#[should_panic(expected = "ring capacity 0 must be within 1..=")]
fn overwrite_without_slots_is_refused() {
    drop(overwrite::channel::<u8>(0));
}
