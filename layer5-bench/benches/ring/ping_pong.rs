//! One value sent to a thread that sends it back: the latency of two handoffs.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use layer5_ingest::ring::{mpsc, spsc};
use ringbuf::traits::{Consumer as _, Producer as _, Split as _};

use crate::{
    Figure, Row,
    transfer::{Idle, pin},
};

const CAPACITY: usize = 64;

fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let mut idle = Idle::default();
    loop {
        if let Some(found) = look() {
            return found;
        }
        idle.wait();
    }
}

/// Sends a number to and fro, `n` times, spinning.
fn ping_pong(
    n: u64,
    mut there: impl FnMut(u64) -> bool,
    mut here: impl FnMut() -> Option<u64> + Send,
    mut back: impl FnMut(u64) -> bool + Send,
    mut echoed: impl FnMut() -> Option<u64>,
) -> (u64, Duration) {
    let start = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            pin(1);
            start.wait();
            for _ in 0..n {
                let value = until(&mut here);
                assert!(back(value), "one value in flight fits");
            }
        });
        pin(0);
        start.wait();
        let began = Instant::now();
        for i in 0..n {
            assert!(there(i), "one value in flight fits");
            assert_eq!(until(&mut echoed), i);
        }
        (n, began.elapsed())
    })
}

fn spsc(n: u64) -> (u64, Duration) {
    let ((mut p, mut c), (mut q, mut d)) = (spsc::channel(CAPACITY), spsc::channel(CAPACITY));
    ping_pong(
        n,
        |i| p.push(i).is_ok(),
        || c.pop().ok(),
        |i| q.push(i).is_ok(),
        || d.pop().ok(),
    )
}

fn mpsc(n: u64) -> (u64, Duration) {
    let ((p, mut c), (q, mut d)) = (mpsc::channel(CAPACITY), mpsc::channel(CAPACITY));
    ping_pong(
        n,
        |i| p.push(i).is_ok(),
        || c.pop().ok(),
        |i| q.push(i).is_ok(),
        || d.pop().ok(),
    )
}

fn rtrb(n: u64) -> (u64, Duration) {
    let ((mut p, mut c), (mut q, mut d)) = (
        rtrb::RingBuffer::new(CAPACITY),
        rtrb::RingBuffer::new(CAPACITY),
    );
    ping_pong(
        n,
        |i| p.push(i).is_ok(),
        || c.pop().ok(),
        |i| q.push(i).is_ok(),
        || d.pop().ok(),
    )
}

fn ringbuf(n: u64) -> (u64, Duration) {
    let (mut p, mut c) = ringbuf::HeapRb::new(CAPACITY).split();
    let (mut q, mut d) = ringbuf::HeapRb::new(CAPACITY).split();
    ping_pong(
        n,
        |i| p.try_push(i).is_ok(),
        || c.try_pop(),
        |i| q.try_push(i).is_ok(),
        || d.try_pop(),
    )
}

/// A round trip of so many turns.
type RoundTrip = fn(u64) -> (u64, Duration);

pub(crate) fn rows() -> Vec<Row> {
    let rings: [(&str, RoundTrip); 4] = [
        ("layer5 spsc", spsc),
        ("layer5 mpsc", mpsc),
        ("rtrb", rtrb),
        ("ringbuf", ringbuf),
    ];
    let row = |(ring, run): (&'static str, RoundTrip)| Row {
        group: "round_trip",
        case: "8 B".to_owned(),
        ring,
        figure: Figure::Nanos,
        run: Box::new(run),
    };
    rings.map(row).into()
}
