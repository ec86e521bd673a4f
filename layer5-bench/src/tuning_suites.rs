//! `layer5-bench quality bandits`, `safety` and `suggest-speed`: what tuning costs besides the quality of its suggestions.
//! In: numbers of runs. Out: tables, or JSON. Called from: `main`.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use clap::{Args, Subcommand};
use layer5_bench::quality::optimize::speed;
use layer5_bench::quality::{bandits, safety};
use serde_json::{Value, json};

use crate::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum TuningSuite {
    /// Regret of bandits while they learn, and errors of off-policy estimates.
    Bandits(Runs),
    /// How often safe mode breaks its limit, beside what was stated.
    Safety(Runs),
    /// Time per suggestion, of long studies and of many at once; set RAYON_NUM_THREADS for the threads.
    SuggestSpeed(Sizes),
}

#[derive(Debug, Args)]
pub(crate) struct Runs {
    /// Seeded runs of each row.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(2..))]
    runs: u64,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Sizes {
    /// Runs per sampler.
    #[arg(long, default_value_t = 5)]
    runs: u64,
    /// Trials of the long study; 0 leaves it out.
    #[arg(long, default_value_t = 10_000)]
    long: usize,
    /// Studies at once, of 100 trials each; 0 leaves them out.
    #[arg(long, default_value_t = 1_000)]
    studies: usize,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(crate) fn run(suite: &TuningSuite) -> io::Result<()> {
    let ((table, json), output) = match suite {
        TuningSuite::Bandits(of) => (told_bandits(of.runs), of.output),
        TuningSuite::Safety(of) => (told_safety(of.runs), of.output),
        TuningSuite::SuggestSpeed(of) => (told_speed(of), of.output),
    };
    let mut out = io::stdout().lock();
    match output {
        Output::Table => out.write_all(table.as_bytes()),
        Output::Json => writeln!(out, "{json:#}"),
    }
}

fn told_bandits(runs: u64) -> (String, Value) {
    let losses = bandits::losses(runs);
    // Shares of a few dozen logs say nothing of a twentieth, and a log is a matter of milliseconds.
    let estimates = bandits::estimates(20 * runs);
    let mut table = format!(
        "{:<12}{:<22}{:>10}{:>10}\n",
        "problem", "policy", "regret", "+-"
    );
    for loss in &losses {
        let (problem, policy) = (loss.problem, loss.policy);
        let _ = writeln!(
            table,
            "{problem:<12}{policy:<22}{:>10.1}{:>10.1}",
            loss.regret, loss.standard_error
        );
    }
    let _ = writeln!(
        table,
        "\n{:<12}{:<22}{:>10}{:>10}{:>12}",
        "log", "off-policy", "error", "stated", "95 % holds"
    );
    for e in &estimates {
        let _ = writeln!(
            table,
            "{:<12}{:<22}{:>10.4}{:>10.4}{:>12.3}",
            e.log, e.estimator, e.rmse, e.stated, e.covered
        );
    }
    (
        table,
        json!({"suite": "bandits", "runs": runs, "losses": losses, "off_policy": estimates}),
    )
}

fn told_safety(runs: u64) -> (String, Value) {
    let mut rows = Vec::new();
    for dims in [2, 5] {
        for stated in [0.9, 0.95, 0.99] {
            for noise in [0.0, 0.05] {
                rows.push((noise, safety::broken(dims, stated, noise, runs)));
            }
        }
    }
    let mut table = format!(
        "{:>4}{:>8}{:>8}{:>10}{:>13}{:>10}\n",
        "dims", "noise", "stated", "kept", "suggestions", "progress"
    );
    for (noise, row) in &rows {
        let _ = writeln!(
            table,
            "{:>4}{noise:>8}{:>8}{:>10.4}{:>13}{:>10.2}",
            row.dims, row.stated, row.kept, row.suggestions, row.progress
        );
    }
    let json: Vec<Value> = rows
        .iter()
        .map(|(noise, row)| json!({"noise": noise, "row": row}))
        .collect();
    (
        table,
        json!({"suite": "safety", "runs": runs, "rows": json}),
    )
}

fn told_speed(sizes: &Sizes) -> (String, Value) {
    let paces = speed::paces(sizes.runs.max(1));
    let mut table = format!("{:<16}{:>12}{:>12}\n", "ms, 5-D", "n=50", "n=100");
    for pace in &paces {
        let _ = write!(table, "{:<16}", pace.sampler.name());
        for (_, ms) in &pace.at {
            let _ = write!(table, "{ms:>12.4}");
        }
        table.push('\n');
    }
    let long = if sizes.long > 0 {
        speed::long(sizes.long)
    } else {
        Vec::new()
    };
    for row in &long {
        let _ = writeln!(
            table,
            "{} trials of {}: slowest ask and tell {:.2} ms, last hundred {:.3} ms",
            row.trials, row.sampler, row.slowest_ms, row.last_ms
        );
    }
    let many = (sizes.studies > 0).then(|| speed::many(sizes.studies, 100));
    if let Some(many) = &many {
        let _ = writeln!(
            table,
            "{} studies of {} trials on {} threads: {:.0} trials a second, {:.0} MB at most",
            many.studies, many.trials, many.threads, many.trials_per_s, many.peak_mb
        );
    }
    (
        table,
        json!({"suite": "suggest-speed", "paces": paces, "long": long, "many": many}),
    )
}
