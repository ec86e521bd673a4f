//! `layer5-bench overload`: what a service does when it is given more than it can take, or its disk takes nothing.
//! In: which trial. Out: what was measured beside what is demanded. Called from: the command line and CI.

mod disk_full;
mod flood;
mod fsync_error;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::{Failure, progress::say, service::subject};

/// Give a service more than it can take, and watch it refuse
///
/// `flood`: ten times its capacity in a control group of 256 MiB. `disk-full`: its disk is filled and freed again.
/// `fsync-error`: fsync fails from one moment on.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5-bench overload\n  \
    layer5-bench overload --trial flood --seconds 60\n\n\
    Exit codes: 0 every demand was met, 1 one was not, 2 wrong arguments, 77 left out (no root, no strace)")]
pub struct OverloadArgs {
    /// The `layer5` binary [default: the one beside this]
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Where data folders are made [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Which; all of them when none is named
    #[arg(long, value_enum)]
    pub trial: Vec<Trial>,
    /// Seconds of the flood
    #[arg(long, default_value_t = 60.0)]
    pub seconds: f64,
    /// Cores that the flooded service may use, so that one machine can offer it ten times as much as it can take
    #[arg(long, default_value_t = 0.2)]
    pub cpus: f64,
    /// Memory of the flooded service, MiB
    #[arg(long, default_value_t = 256)]
    pub memory_mib: u64,
    /// What the reports hold
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// What can be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Trial {
    /// Ten times what it can take
    Flood,
    /// A disk that is full for a while
    DiskFull,
    /// An fsync that fails
    FsyncError,
}

/// One line: what is demanded, what was seen.
#[derive(Clone, Debug)]
struct Line {
    trial: &'static str,
    demand: String,
    seen: String,
    met: bool,
}

impl Line {
    fn new(
        trial: &'static str,
        demand: impl Into<String>,
        seen: impl Into<String>,
        met: bool,
    ) -> Self {
        Self {
            trial,
            demand: demand.into(),
            seen: seen.into(),
            met,
        }
    }
}

impl OverloadArgs {
    fn binary(&self) -> PathBuf {
        self.server.clone().unwrap_or_else(subject::default_binary)
    }

    fn folder(&self) -> Result<tempfile::TempDir, Failure> {
        let folder = match &self.dir {
            Some(dir) => tempfile::tempdir_in(dir),
            None => tempfile::tempdir(),
        };
        folder.map_err(|e| Failure::new(format!("no folder for data: {e}")))
    }
}

/// Tries; a table and its numbers.
///
/// # Errors
/// When a demand was not met, with the table.
pub fn run(args: &OverloadArgs) -> Result<(String, Value), Failure> {
    let trials = match args.trial.as_slice() {
        [] => &[Trial::Flood, Trial::DiskFull, Trial::FsyncError],
        named => named,
    };
    let mut lines = Vec::new();
    for trial in trials {
        say(format!("{trial:?}"));
        lines.extend(match trial {
            Trial::Flood => flood::run(args)?,
            Trial::DiskFull => disk_full::run(args)?,
            Trial::FsyncError => fsync_error::run(args)?,
        });
    }
    let table = lines.iter().fold(String::new(), |table, line| {
        let met = if line.met { "yes" } else { "NO" };
        table
            + &format!(
                "{:<12} {:<44} {:<3} {}\n",
                line.trial, line.demand, met, line.seen
            )
    });
    if lines.iter().any(|line| !line.met) {
        return Err(Failure::new(format!("a demand was not met\n{table}")));
    }
    let rows: Vec<Value> = lines
        .iter()
        .map(|l| json!({ "trial": l.trial, "demand": l.demand, "seen": l.seen, "met": l.met }))
        .collect();
    Ok((table, json!({ "tool": "overload", "lines": rows })))
}
