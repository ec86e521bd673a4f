//! Throws damaged bodies at every decoder of this crate and compares each answer with the slow reading of `reference`.
//! In: targets, runs and a seed on the command line. Out: one line a target, runs per second and how many inputs were
//! sound; a wrong answer or a panic ends it with the input and the command that makes it again. Called from: `cargo test`
//! (a few thousand runs each) and `check.sh fuzz` (two million each).
//! How: input number `i` of a seed is made of `(seed, i)` alone: one of the target's seeds, damaged in a few places by
//! `mutate`, which knows what tokens of JSON, envelopes and varints look like. So any input can be made again without
//! those before it, and the same command does the same on any number of threads.
//!
//! ```text
//! cargo test --workspace --test decode_fuzz -- --runs 2000000
//! cargo test --workspace --test decode_fuzz -- --target ndjson --seed 7 --only 123456
//! ```
//! A `main` of its own, because a test harness has no arguments for it. Not led by coverage: that needs a compiler's
//! unstable flags, and a grammar that is known beats it on formats as small as these.
#![allow(clippy::print_stdout, reason = "its output is its result")]
#![allow(
    clippy::disallowed_methods,
    reason = "runs per second are measured, and decide nothing"
)]

mod labelled;
mod mutate;
mod protobuf;
#[path = "../reference/mod.rs"]
mod reference;
mod rng;
mod seeds;
mod targets;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Instant,
};

use mutate::Grammar;
use rng::Rng;
use targets::{TARGETS, Target};

/// Runs of each target when nothing is said, as under `cargo test`.
const RUNS_DEFAULT: u64 = 4_000;

/// Inputs that a thread takes at a time.
const STRIDE: u64 = 1_000;

#[derive(Debug)]
struct Order {
    target: Option<String>,
    runs: u64,
    seed: u64,
    only: Option<u64>,
}

impl Order {
    /// Whatever else `cargo test` is told is meant for test harnesses.
    fn of_arguments() -> Self {
        let mut order = Self {
            target: None,
            runs: RUNS_DEFAULT,
            seed: 1,
            only: None,
        };
        let mut arguments = std::env::args();
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let text = arguments.next().unwrap_or_default();
                text.parse()
                    .unwrap_or_else(|_| panic!("{argument} needs a number, not {text:?}"))
            };
            match argument.as_str() {
                "--runs" => order.runs = number(),
                "--seed" => order.seed = number(),
                "--only" => order.only = Some(number()),
                "--target" => order.target = arguments.next(),
                _ => {}
            }
        }
        order
    }
}

fn main() -> ExitCode {
    let order = Order::of_arguments();
    let chosen: Vec<&Target> = TARGETS
        .iter()
        .filter(|target| {
            order
                .target
                .as_deref()
                .is_none_or(|name| name == target.name)
        })
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        println!("no such target; there are: {}", names.join(" "));
        return ExitCode::FAILURE;
    }
    for target in chosen {
        if !run(target, &order) {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Input `i` of a target.
fn input(target: &Target, seeds: &[Vec<u8>], seed: u64, i: u64, body: &mut Vec<u8>) {
    let mut rng = Rng::new(seed, i);
    body.clear();
    body.extend_from_slice(rng.of(seeds).as_slice());
    let other = rng.of(seeds);
    // One damage mostly, seldom many.
    let mut n = 1;
    while n < 12 && rng.below(2) == 0 {
        n += 1;
    }
    // Some stay whole, so that the seeds themselves are compared.
    if rng.below(32) != 0 {
        for _ in 0..n {
            mutate::damage(body, other, target.grammar, &mut rng);
        }
    }
    if target.grammar == Grammar::Envelopes && rng.below(4) != 0 {
        mutate::mend_envelopes(body);
    }
}

fn run(target: &Target, order: &Order) -> bool {
    let seeds = (target.seeds)();
    let (first, last) = order.only.map_or((0, order.runs), |i| (i, i + 1));
    let (next, n_sound, failed) = (
        AtomicU64::new(first),
        AtomicU64::new(0),
        AtomicBool::new(false),
    );
    let began = Instant::now();
    let work = || {
        let mut body = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let from = next.fetch_add(STRIDE, Ordering::Relaxed);
            if from >= last {
                return;
            }
            for i in from..(from + STRIDE).min(last) {
                input(target, &seeds, order.seed, i, &mut body);
                let answer = catch_unwind(AssertUnwindSafe(|| (target.check)(&body)))
                    .unwrap_or_else(|_| Err("it panics".to_owned()));
                match answer {
                    Ok(sound) => {
                        n_sound.fetch_add(u64::from(sound), Ordering::Relaxed);
                    }
                    Err(why) => {
                        failed.store(true, Ordering::Relaxed);
                        report(target, order.seed, i, &body, &why);
                    }
                }
            }
        }
    };
    let n_threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..n_threads).for_each(|_| drop(scope.spawn(work))));
    let seconds = began.elapsed().as_secs_f64();
    let n = last - first;
    let n_sound = n_sound.into_inner();
    println!(
        "{:<12} seed {}: {n} runs, {n_sound} sound, {seconds:.1} s, {:.0} runs/s",
        target.name,
        order.seed,
        n as f64 / seconds
    );
    // A mutator that leaves nothing sound, or damages nothing, tests one half only.
    let both_kinds = n < 1000 || (n / 100..n - n / 100).contains(&n_sound);
    let failed = failed.into_inner();
    if !failed && !both_kinds {
        println!("{}: not both sound and broken inputs", target.name);
    }
    !failed && both_kinds
}

fn report(target: &Target, seed: u64, i: u64, body: &[u8], why: &str) {
    println!(
        "FAILED {}: {why}\n  input: b\"{}\"\n  again: cargo test --workspace --test decode_fuzz -- --target {} --seed {seed} --only {i}",
        target.name,
        body.escape_ascii(),
        target.name
    );
}
