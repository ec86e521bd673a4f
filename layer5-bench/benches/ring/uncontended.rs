//! A push and the pop of an older item on one thread: what a ring costs when nobody is in the way.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use crossbeam::queue::ArrayQueue;
use layer5_ingest::ring::{mpsc, spsc};
use ringbuf::traits::{Consumer as _, Producer as _, Split as _};

use crate::{
    Figure, Row,
    transfer::{Item, pin},
};

const CAPACITY: usize = 1024;
/// Items in flight, so that none is read back at once.
const FILL: u64 = 64;

type Item64 = Item<8>;

fn push_pop(
    n: u64,
    mut push: impl FnMut(Item64),
    mut pop: impl FnMut() -> Option<Item64>,
) -> (u64, Duration) {
    pin(0);
    let mut pop = || pop().expect("64 items are in flight");
    (0..FILL).for_each(|i| push(Item::new(i, 0)));
    for i in 0..FILL {
        assert_eq!(pop().0[0], i);
        push(Item::new(i, 0));
    }
    let item = Item::new(0, 0);
    let began = Instant::now();
    for _ in 0..n {
        push(*black_box(&item));
        black_box(&pop());
    }
    (n, began.elapsed())
}

fn spsc(n: u64) -> (u64, Duration) {
    let (mut p, mut c) = spsc::channel(CAPACITY);
    push_pop(n, |item| assert!(p.push(item).is_ok()), || c.pop().ok())
}

fn mpsc(n: u64) -> (u64, Duration) {
    let (p, mut c) = mpsc::channel(CAPACITY);
    push_pop(n, |item| assert!(p.push(item).is_ok()), || c.pop().ok())
}

fn rtrb(n: u64) -> (u64, Duration) {
    let (mut p, mut c) = rtrb::RingBuffer::new(CAPACITY);
    push_pop(n, |item| assert!(p.push(item).is_ok()), || c.pop().ok())
}

fn ringbuf(n: u64) -> (u64, Duration) {
    let (mut p, mut c) = ringbuf::HeapRb::new(CAPACITY).split();
    push_pop(n, |item| assert!(p.try_push(item).is_ok()), || c.try_pop())
}

fn array_queue(n: u64) -> (u64, Duration) {
    let queue = ArrayQueue::new(CAPACITY);
    push_pop(n, |item| assert!(queue.push(item).is_ok()), || queue.pop())
}

fn crossfire(n: u64) -> (u64, Duration) {
    let (p, c) = crossfire::mpsc::bounded_blocking(CAPACITY);
    push_pop(
        n,
        |item| assert!(p.try_send(item).is_ok()),
        || c.try_recv().ok(),
    )
}

fn crossbeam_channel(n: u64) -> (u64, Duration) {
    let (p, c) = crossbeam::channel::bounded(CAPACITY);
    push_pop(
        n,
        |item| assert!(p.try_send(item).is_ok()),
        || c.try_recv().ok(),
    )
}

/// So many pushes and pops.
type PushPop = fn(u64) -> (u64, Duration);

pub(crate) fn rows() -> Vec<Row> {
    let rings: [(&str, PushPop); 7] = [
        ("layer5 spsc", spsc),
        ("rtrb", rtrb),
        ("ringbuf", ringbuf),
        ("layer5 mpsc", mpsc),
        ("ArrayQueue", array_queue),
        ("crossbeam-channel", crossbeam_channel),
        ("crossfire mpsc", crossfire),
    ];
    let row = |(ring, run): (&'static str, PushPop)| Row {
        group: "uncontended",
        case: "64 B".to_owned(),
        ring,
        figure: Figure::Nanos,
        run: Box::new(run),
    };
    rings.map(row).into()
}
