//! The tools that try to break the service's promises find nothing in the service, and find a bug that is planted: a
//! tool that never fails would prove nothing. Each run is short; `docs/benchmarks.md` has the long ones.
//!
//! Both bugs are planted from outside, so the service has no code for them: `ack-before-commit` takes the answer to
//! `?ack=buffered` for a durable one, `missing-fsync` lets strace answer every fsync without doing it.

use clap::Parser;
use layer5_bench::{
    Failure, LEFT_OUT,
    crash::{self, CrashArgs},
    overload::{self, OverloadArgs},
    powercut::{self, PowercutArgs},
};
use serde_json::Value;

#[derive(Debug, Parser)]
struct Line<A: clap::Args> {
    #[command(flatten)]
    args: A,
}

fn args<A: clap::Args>(words: &str) -> A {
    let words = std::iter::once("test").chain(words.split_whitespace());
    Line::parse_from(words).args
}

/// What the tool found; `None`, and said so, when this machine or user can't do it.
#[track_caller]
fn outcome(ran: Result<(String, Value), Failure>) -> Option<Result<Value, String>> {
    match ran {
        Ok((_, json)) => Some(Ok(json)),
        Err(failure) if failure.code == LEFT_OUT => {
            let required = std::env::var("LAYER5_REQUIRE_TOOLS").is_ok_and(|v| v == "1");
            assert!(!required, "required, and left out: {}", failure.message);
            eprintln!("skipped: {}", failure.message);
            None
        }
        Err(failure) => Some(Err(failure.message)),
    }
}

/// The run finds that something acknowledged is lost.
#[track_caller]
fn is_caught(ran: Result<(String, Value), Failure>) {
    if let Some(found) = outcome(ran) {
        let words = found.expect_err("a planted bug is found");
        assert!(words.contains("acknowledged reports are lost"), "{words}");
    }
}

#[test]
fn kills_lose_and_double_nothing() {
    let ran = crash::run(&args::<CrashArgs>("--kills 8 --random 3 --seed 5"));
    if let Some(found) = outcome(ran) {
        let found = found.unwrap_or_else(|words| panic!("{words}"));
        assert!(
            found["findings"]["acknowledged"].as_u64() > Some(0),
            "{found}"
        );
        assert_eq!(found["findings"]["lost"], 0, "{found}");
        assert_eq!(found["findings"]["doubled"], 0, "{found}");
        assert_eq!(found["effects"]["doubled"], 0, "{found}");
    }
}

#[test]
fn power_cuts_lose_and_double_nothing() {
    let ran = powercut::run(&args::<PowercutArgs>("--cuts 3 --seed 5"));
    if let Some(found) = outcome(ran) {
        let found = found.unwrap_or_else(|words| panic!("{words}"));
        assert!(
            found["findings"]["acknowledged"].as_u64() > Some(0),
            "{found}"
        );
        assert_eq!(found["findings"]["lost"], 0, "{found}");
        assert_eq!(found["findings"]["doubled"], 0, "{found}");
    }
}

#[test]
fn an_answer_before_the_commit_is_caught_by_kills() {
    // Each kill catches it with a chance of one in three or more, so sixty miss it once in 10^10 runs.
    let planted = "--kills 0 --random 60 --seed 5 --plant ack-before-commit";
    is_caught(crash::run(&args::<CrashArgs>(planted)));
}

#[test]
fn a_missing_fsync_is_caught_by_a_power_cut() {
    let planted = "--cuts 3 --seed 5 --plant missing-fsync";
    is_caught(powercut::run(&args::<PowercutArgs>(planted)));
}

#[test]
fn a_disk_that_is_full_and_an_fsync_that_fails_are_survived() {
    for trial in ["disk-full", "fsync-error"] {
        let ran = overload::run(&args::<OverloadArgs>(&format!("--trial {trial}")));
        if let Some(found) = outcome(ran) {
            found.unwrap_or_else(|words| panic!("{words}"));
        }
    }
}
