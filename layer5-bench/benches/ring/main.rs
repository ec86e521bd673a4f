//! The rings beside their peers, the same work for all, in one run: medians and extremes of rounds in which every row has
//! its turn, so that an hour in which the machine is slow is slow for all.
//! In: words that a row's name must hold, and `--rounds N`. Out: a table, millions of items a second (round trips and
//! uncontended pairs: nanoseconds). Called from: `cargo bench --bench ring -- many_to_one`; without `--bench`, as under
//! `cargo test`, every row runs once and small, as a test of the rows.
//!
//! | group | shape | meant to stress |
//! |---|---|---|
//! | `uncontended` | one thread, push then pop | the bare cost of an item: read-modify-writes and fences |
//! | `round_trip` | two threads, one item to and fro | the latency of one handoff |
//! | `one_to_one` | two threads, single items and batches of 256, of 32, 64 and 128 bytes | cache lines moving between cores |
//! | `many_to_one` | 2 and 4 producers, single items and batches of 256, 64 bytes | the contended claim, and more threads than cores |
//!
//! Not criterion: it pins no threads, and shows no extremes, and single items one to one have two speeds (the consumer is
//! either a cache line or half a ring behind, and stays there): a mean hides both.
//! Thread `k` is pinned to core `k` modulo their number, the consumer being thread 0, and a barrier lets all begin
//! together. Whoever finds a ring full or empty looks again 32 times and then yields, with every peer alike. Each transfer
//! is checked on the way: all items, each producer's in order.
#![allow(clippy::print_stdout, reason = "its output is its result")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

mod peers;
mod ping_pong;
mod transfer;
mod uncontended;

use std::time::Duration;

/// What is measured of a row in one round.
enum Figure {
    /// Millions of items a second: larger is better.
    Rate,
    /// Nanoseconds per turn: smaller is better.
    Nanos,
}

/// One line of the table: a ring at some work.
struct Row {
    group: &'static str,
    /// What all rows beside it have in common.
    case: String,
    ring: &'static str,
    figure: Figure,
    /// Runs for about so many items or turns; returns how many those were, and the time they took.
    run: Box<dyn Fn(u64) -> (u64, Duration)>,
}

impl Row {
    fn name(&self) -> String {
        format!("{}/{}/{}", self.group, self.case, self.ring)
    }

    fn measure(&self, n: u64) -> f64 {
        let (n, took) = (self.run)(n);
        match self.figure {
            Figure::Rate => n as f64 / took.as_secs_f64() / 1e6,
            Figure::Nanos => took.as_secs_f64() * 1e9 / n as f64,
        }
    }

    /// Items of one measurement: about a twentieth of a second of a fast ring.
    fn items(&self) -> u64 {
        match self.figure {
            Figure::Rate => 1 << 20,
            Figure::Nanos => 1 << 16,
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let measured = arguments.iter().any(|argument| argument == "--bench");
    let rounds = arguments.iter().position(|argument| argument == "--rounds");
    let rounds: usize = rounds.map_or(7, |i| arguments[i + 1].parse().expect("--rounds N"));
    let words = arguments
        .iter()
        .filter(|word| !word.starts_with('-') && word.parse::<usize>().is_err());
    let words: Vec<&String> = words.collect();
    let mut rows = uncontended::rows();
    rows.extend(ping_pong::rows());
    rows.extend(peers::rows());
    rows.retain(|row| words.iter().all(|word| row.name().contains(word.as_str())));
    if !measured {
        for row in &rows {
            row.measure(1 << 11);
        }
        println!("{} rows ran and moved every item", rows.len());
        return;
    }
    while !rows.is_empty() {
        let (group, case) = (rows[0].group, rows[0].case.clone());
        let beside = rows
            .iter()
            .take_while(|row| row.group == group && row.case == case);
        let n = beside.count();
        table(&rows[..n], rounds);
        rows.drain(..n);
    }
}

/// Measures rows that belong together, in turns, and prints them.
fn table(rows: &[Row], rounds: usize) {
    let mut figures = vec![Vec::new(); rows.len()];
    for _ in 0..rounds {
        for (row, figures) in rows.iter().zip(&mut figures) {
            figures.push(row.measure(row.items()));
        }
    }
    let unit = match rows[0].figure {
        Figure::Rate => "M items/s",
        Figure::Nanos => "ns",
    };
    println!(
        "{} {} ({unit}: median, min..max of {rounds})",
        rows[0].group, rows[0].case
    );
    for (row, figures) in rows.iter().zip(&mut figures) {
        figures.sort_by(f64::total_cmp);
        println!(
            "  {:<26} {:>8.1}  {:.1}..{:.1}",
            row.ring,
            figures[rounds / 2],
            figures[0],
            figures[rounds - 1]
        );
    }
}
