//! The ring alone: three senders hand whole batches to one consumer, which sleeps when there is
//! nothing to do, and a full ring says so to whoever is in front of it.
//! Run by `cargo run -p layer5-ingest --example ring_intake`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::{thread, time::Duration};

use layer5_ingest::ring::{ClaimError, Wait, mpsc};

/// What this example sends; any type will do.
#[derive(Clone, Copy)]
struct Reading {
    sensor: usize,
    value: f64,
}

fn main() {
    let (producer, mut consumer) = mpsc::channel(1024);
    let gauge = producer.gauge();

    let senders: Vec<_> = (0..3)
        .map(|sensor| {
            let producer = producer.clone();
            thread::spawn(move || {
                let mut refused = 0_u32;
                for round in 0..1000 {
                    let batch = [Reading {
                        sensor,
                        value: f64::from(round),
                    }; 100];
                    // All hundred or none. A server would answer "try later"; this one waits.
                    if let Err(ClaimError::Full { .. }) = producer.push_all(&batch) {
                        refused += 1;
                        let mut claim = producer
                            .claim_wait(batch.len(), Duration::from_secs(10))
                            .expect("the consumer below is fast");
                        claim.fill_copy(&batch);
                        claim.publish();
                    }
                }
                refused
            })
        })
        .collect();
    // The ring closes with its last producer, and this one sends nothing.
    drop(producer);

    let mut sums = [0.0; 3];
    let mut readings = 0;
    while consumer.wait(Duration::from_secs(1)) != Wait::Closed {
        let chunk = consumer.chunk(256);
        let (before_end, from_start) = chunk.as_slices();
        for reading in before_end.iter().chain(from_start) {
            sums[reading.sensor] += reading.value;
        }
        readings += chunk.commit_all();
    }

    let refused: u32 = senders
        .into_iter()
        .map(|s| s.join().expect("senders do not panic"))
        .sum();
    assert_eq!(sums, [100.0 * 999.0 * 1000.0 / 2.0; 3]);
    println!("{readings} readings, {refused} batches met a full ring");
    println!(
        "highest level {} of {}",
        gauge.high_watermark(),
        gauge.capacity()
    );
}
