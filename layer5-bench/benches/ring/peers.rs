//! Every ring at moving items from one thread or several to one: a function each, the peers' as their documentation has it.
//! In: items, producers, capacity. Out: rows. Called from: `main`.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crossbeam::{queue::ArrayQueue, utils::CachePadded};
use disruptor::{BusySpin, Producer as _};
use layer5_ingest::ring::{mpsc, spsc};
use ringbuf::traits::{Consumer as _, Producer as _, Split as _};

use crate::{
    Figure, Row,
    transfer::{Item, transfer},
};

const CAPACITIES: [usize; 2] = [1024, 65_536];
/// Items of a batch; the items of a transfer are a multiple of it.
const BATCH: usize = 256;

type Took = (u64, Duration);

/// The items of one batch.
#[inline(always)]
fn batch<const W: usize>(number: u64, producer: u64) -> impl Iterator<Item = Item<W>> {
    (number..number + BATCH as u64).map(move |number| Item::new(number, producer))
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for capacity in CAPACITIES {
        one_to_one::<4>(capacity, &mut rows);
        one_to_one::<8>(capacity, &mut rows);
        one_to_one::<16>(capacity, &mut rows);
    }
    for producers in [1, 2, 4] {
        for capacity in CAPACITIES {
            many_to_one(producers, capacity, &mut rows);
        }
    }
    rows
}

/// A transfer of so many items, through a ring of a capacity, from so many producers.
type Transfer = fn(u64, usize, usize) -> Took;

fn push_rows(
    group: &'static str,
    case: &str,
    (capacity, producers): (usize, usize),
    rings: &[(&'static str, Transfer)],
    rows: &mut Vec<Row>,
) {
    for &(ring, run) in rings {
        rows.push(Row {
            group,
            case: case.to_owned(),
            ring,
            figure: Figure::Rate,
            run: Box::new(move |n| run(n / producers as u64, capacity, producers)),
        });
    }
}

fn one_to_one<const W: usize>(capacity: usize, rows: &mut Vec<Row>) {
    let shape = (capacity, 1);
    let case = format!("single {} B {capacity}", 8 * W);
    let single: [(&str, Transfer); 6] = [
        ("layer5 spsc", spsc_single::<W>),
        ("rtrb", rtrb_single::<W>),
        ("ringbuf", ringbuf_single::<W>),
        ("disruptor", disruptor_single::<W>),
        ("ArrayQueue", array_queue::<W>),
        ("crossfire spsc", crossfire_spsc::<W>),
    ];
    push_rows("one_to_one", &case, shape, &single, rows);
    let case = format!("batch {} B {capacity}", 8 * W);
    let batches: [(&str, Transfer); 6] = [
        ("layer5 spsc", spsc_batch::<W>),
        ("rtrb chunks", rtrb_batch::<W>),
        ("ringbuf slices", ringbuf_batch::<W>),
        ("disruptor", disruptor_batch::<W>),
        ("limit: bare words", handoff::<W, false>),
        ("limit: words, given back", handoff::<W, true>),
    ];
    push_rows("one_to_one", &case, shape, &batches, rows);
}

fn many_to_one(producers: usize, capacity: usize, rows: &mut Vec<Row>) {
    let case = format!("{producers} producers 64 B {capacity}");
    let rings: [(&str, Transfer); 7] = [
        ("layer5 mpsc single", mpsc_single::<8>),
        ("ArrayQueue single", array_queue::<8>),
        ("crossbeam-channel single", crossbeam_channel::<8>),
        ("crossfire single", crossfire_mpsc::<8>),
        ("disruptor single", disruptor_multi_single::<8>),
        ("layer5 mpsc batch", mpsc_batch::<8>),
        ("disruptor batch", disruptor_multi_batch::<8>),
    ];
    push_rows("many_to_one", &case, (capacity, producers), &rings, rows);
}

fn spsc_single<const W: usize>(n: u64, capacity: usize, _: usize) -> Took {
    let (mut p, mut c) = spsc::channel(capacity);
    let push = move |number, id| usize::from(p.push(Item::<W>::new(number, id)).is_ok());
    transfer(n, vec![push], |expected| expected.one(c.pop().ok()))
}

fn spsc_batch<const W: usize>(n: u64, capacity: usize, _: usize) -> Took {
    let (mut p, mut c) = spsc::channel(capacity);
    let push = move |number, id| {
        let Ok(mut claim) = p.claim(BATCH) else {
            return 0;
        };
        claim.fill(batch::<W>(number, id));
        claim.publish()
    };
    transfer(n, vec![push], |expected| {
        let chunk = c.chunk(BATCH);
        let (before, after) = chunk.as_slices();
        expected.all(before);
        expected.all(after);
        chunk.commit_all()
    })
}

fn rtrb_single<const W: usize>(n: u64, capacity: usize, _: usize) -> Took {
    let (mut p, mut c) = rtrb::RingBuffer::new(capacity);
    let push = move |number, id| usize::from(p.push(Item::<W>::new(number, id)).is_ok());
    transfer(n, vec![push], |expected| expected.one(c.pop().ok()))
}

fn rtrb_batch<const W: usize>(n: u64, capacity: usize, _: usize) -> Took {
    let (mut p, mut c) = rtrb::RingBuffer::new(capacity);
    let push = move |number, id| {
        let Ok(chunk) = p.write_chunk_uninit(BATCH) else {
            return 0;
        };
        chunk.fill_from_iter(batch::<W>(number, id))
    };
    transfer(n, vec![push], |expected| {
        let n = c.slots().min(BATCH);
        let Ok(chunk) = c.read_chunk(n) else { return 0 };
        let (before, after) = chunk.as_slices();
        expected.all(before);
        expected.all(after);
        chunk.commit_all();
        n
    })
}

fn ringbuf_single<const W: usize>(n: u64, capacity: usize, _: usize) -> Took {
    let (mut p, mut c) = ringbuf::HeapRb::new(capacity).split();
    let push = move |number, id| usize::from(p.try_push(Item::<W>::new(number, id)).is_ok());
    transfer(n, vec![push], |expected| expected.one(c.try_pop()))
}

fn ringbuf_batch<const W: usize>(n: u64, capacity: usize, _: usize) -> Took {
    let (mut p, mut c) = ringbuf::HeapRb::new(capacity).split();
    // A part of a batch may fit, so the last one is cut at `n`.
    let push = move |number, id| p.push_iter(batch::<W>(number, id).take((n - number) as usize));
    let mut buffer = [Item::<W>::default(); BATCH];
    transfer(n, vec![push], |expected| {
        let n = c.pop_slice(&mut buffer);
        expected.all(&buffer[..n])
    })
}

fn array_queue<const W: usize>(n: u64, capacity: usize, producers: usize) -> Took {
    let queue = ArrayQueue::new(capacity);
    let push = |number, id| usize::from(queue.push(Item::<W>::new(number, id)).is_ok());
    transfer(n, vec![push; producers], |expected| {
        expected.one(queue.pop())
    })
}

fn crossbeam_channel<const W: usize>(n: u64, capacity: usize, producers: usize) -> Took {
    let (p, c) = crossbeam::channel::bounded(capacity);
    let push = |number, id| usize::from(p.try_send(Item::<W>::new(number, id)).is_ok());
    transfer(n, vec![push; producers], |expected| {
        expected.one(c.try_recv().ok())
    })
}

fn crossfire_spsc<const W: usize>(n: u64, capacity: usize, _: usize) -> Took {
    let (p, c) = crossfire::spsc::bounded_blocking(capacity);
    let push = move |number, id| usize::from(p.try_send(Item::<W>::new(number, id)).is_ok());
    transfer(n, vec![push], |expected| expected.one(c.try_recv().ok()))
}

fn crossfire_mpsc<const W: usize>(n: u64, capacity: usize, producers: usize) -> Took {
    let (p, c) = crossfire::mpsc::bounded_blocking(capacity);
    let push = |number, id| usize::from(p.try_send(Item::<W>::new(number, id)).is_ok());
    transfer(n, vec![push; producers], |expected| {
        expected.one(c.try_recv().ok())
    })
}

fn mpsc_single<const W: usize>(n: u64, capacity: usize, producers: usize) -> Took {
    let (p, mut c) = mpsc::channel(capacity);
    let push = |number, id| usize::from(p.push(Item::<W>::new(number, id)).is_ok());
    transfer(n, vec![push; producers], |expected| {
        expected.one(c.pop().ok())
    })
}

fn mpsc_batch<const W: usize>(n: u64, capacity: usize, producers: usize) -> Took {
    let (p, mut c) = mpsc::channel(capacity);
    let push = |number, id| {
        let Ok(mut claim) = p.claim(BATCH) else {
            return 0;
        };
        claim.fill(batch::<W>(number, id));
        claim.publish()
    };
    transfer(n, vec![push; producers], |expected| {
        let chunk = c.chunk(BATCH);
        let (before, after) = chunk.as_slices();
        expected.all(before);
        expected.all(after);
        chunk.commit_all()
    })
}

/// Takes what a disruptor's poller has, which it gives in the slots.
macro_rules! polled {
    ($poller:ident, $expected:ident) => {
        match $poller.poll() {
            Ok(mut events) => {
                let mut n = 0;
                for item in &mut events {
                    $expected.check(item);
                    n += 1;
                }
                n
            }
            Err(_) => 0,
        }
    };
}

fn disruptor_single<const W: usize>(n: u64, capacity: usize, _: usize) -> Took {
    let builder = disruptor::build_single_producer(capacity, Item::<W>::default, BusySpin);
    let (mut poller, builder) = builder.new_event_poller();
    let mut p = builder.build();
    let push =
        move |number, id| usize::from(p.try_publish(|item| *item = Item::new(number, id)).is_ok());
    transfer(n, vec![push], |expected| polled!(poller, expected))
}

fn disruptor_batch<const W: usize>(n: u64, capacity: usize, _: usize) -> Took {
    let builder = disruptor::build_single_producer(capacity, Item::<W>::default, BusySpin);
    let (mut poller, builder) = builder.new_event_poller();
    let mut p = builder.build();
    let push = move |number, id| {
        let filled = p.try_batch_publish(BATCH, |slots| {
            slots
                .zip(batch(number, id))
                .for_each(|(slot, item)| *slot = item);
        });
        if filled.is_ok() { BATCH } else { 0 }
    };
    transfer(n, vec![push], |expected| polled!(poller, expected))
}

fn disruptor_multi_single<const W: usize>(n: u64, capacity: usize, producers: usize) -> Took {
    let builder = disruptor::build_multi_producer(capacity, Item::<W>::default, BusySpin);
    let (mut poller, builder) = builder.new_event_poller();
    let p = builder.build();
    let push = || {
        let p = RefCell::new(p.clone());
        move |number, id| {
            let published = p
                .borrow_mut()
                .try_publish(|item| *item = Item::new(number, id));
            usize::from(published.is_ok())
        }
    };
    transfer(n, (0..producers).map(|_| push()).collect(), |expected| {
        polled!(poller, expected)
    })
}

fn disruptor_multi_batch<const W: usize>(n: u64, capacity: usize, producers: usize) -> Took {
    let builder = disruptor::build_multi_producer(capacity, Item::<W>::default, BusySpin);
    let (mut poller, builder) = builder.new_event_poller();
    let p = builder.build();
    let push = || {
        let p = RefCell::new(p.clone());
        move |number, id| {
            let filled = p.borrow_mut().try_batch_publish(BATCH, |slots| {
                slots
                    .zip(batch(number, id))
                    .for_each(|(slot, item)| *slot = item);
            });
            if filled.is_ok() { BATCH } else { 0 }
        }
    };
    transfer(n, (0..producers).map(|_| push()).collect(), |expected| {
        polled!(poller, expected)
    })
}

/// What no ring of copies can beat by much: words written, two positions moved, and, if so asked, a word of each cache line
/// written by the consumer, as our rings do.
fn handoff<const W: usize, const GIVE_BACK: bool>(n: u64, capacity: usize, _: usize) -> Took {
    let words: Vec<AtomicU64> = (0..capacity * W).map(|_| AtomicU64::new(0)).collect();
    let (head, tail) = (
        CachePadded::new(AtomicU64::new(0)),
        CachePadded::new(AtomicU64::new(0)),
    );
    let (capacity, mask) = (capacity as u64, capacity - 1);
    let mut head_seen = 0;
    let slot = |at: u64| {
        let first = (at as usize & mask) * W;
        &words[first..first + W]
    };
    let push = |number: u64, id: u64| {
        let end = number + BATCH as u64;
        if end - head_seen > capacity {
            head_seen = head.load(Ordering::Acquire);
            if end - head_seen > capacity {
                return 0;
            }
        }
        for (at, item) in (number..end).zip(batch::<W>(number, id)) {
            for (word, value) in slot(at).iter().zip(item.0) {
                word.store(value, Ordering::Relaxed);
            }
        }
        tail.store(end, Ordering::Release);
        BATCH
    };
    let mut at = 0;
    transfer(n, vec![push], |expected| {
        let end = tail.load(Ordering::Acquire).min(at + BATCH as u64);
        let n = end - at;
        for at in at..end {
            let mut item = Item::<W>::default();
            for (value, word) in item.0.iter_mut().zip(slot(at)) {
                *value = word.load(Ordering::Relaxed);
            }
            expected.check(&item);
            if GIVE_BACK {
                let lines = slot(at).iter().step_by(8);
                lines.for_each(|word| word.store(0, Ordering::Relaxed));
            }
        }
        at = end;
        head.store(at, Ordering::Release);
        n as usize
    })
}
