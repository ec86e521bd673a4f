//! `layer5-bench recover`: how long a killed service takes to be ready again.
//! In: how much it wrote before. Out: a row per round. Called from: the command line.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use clap::Args;
use layer5_server::clock;
use serde_json::{Value, json};

use crate::{
    Failure,
    progress::say,
    service::{
        disk::bytes_under,
        http::Connection,
        pressure::{Pressure, send},
        subject::{self, Launch},
        workload::{Form, Workload},
    },
};

/// Longest time for filling the log.
const FILL_DEADLINE: Duration = Duration::from_secs(300);

/// Kill a service with a long log and time its return
///
/// Feeds it until its data folder holds so many bytes, kills it, and starts it again: from the start of the process to
/// the line that says that it is ready.
#[derive(Args, Debug)]
#[command(after_long_help = "Example:\n  \
    layer5-bench recover --mib 128 --rounds 3\n\n\
    Exit codes: 0 timed, 1 something acknowledged is missing, 2 wrong arguments")]
pub struct RecoverArgs {
    /// The `layer5` binary [default: the one beside this]
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Where the data folder is made [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Bytes that are written before the kill, MiB
    #[arg(long, default_value_t = 128)]
    pub mib: u64,
    /// Let no snapshot shorten the replay
    #[arg(long)]
    pub no_snapshots: bool,
    /// Kills
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Agents that report
    #[arg(long, default_value_t = 1000)]
    pub agents: usize,
    /// What the reports hold
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Times it; a table and its numbers.
///
/// # Errors
/// When the service does not come back, or with less than it had acknowledged.
///
/// # Panics
/// Never: no sender panics.
pub fn run(args: &RecoverArgs) -> Result<(String, Value), Failure> {
    let folder = match &args.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let folder = folder.map_err(|e| Failure::new(format!("no folder for data: {e}")))?;
    let binary = args.server.clone().unwrap_or_else(subject::default_binary);
    let data = folder.path().join("data");
    let mut launch = Launch::new(&binary, &data);
    if args.no_snapshots {
        launch
            .settings
            .push(("STORE__SNAPSHOT_SAMPLES", u64::MAX.to_string()));
    }
    let workload = Workload::new(
        args.seed,
        args.agents,
        7,
        1000,
        clock::now().plus_seconds(-60.0),
    );
    let (mut rows, mut next_body) = (Vec::new(), 0);
    let mut table = format!(
        "{:>5} {:>10} {:>12} {:>12} {:>9}\n",
        "round", "log MiB", "stored", "replayed", "ready ms"
    );
    for round in 1..=args.rounds {
        let service = launch.start().map_err(Failure::new)?;
        let mut connection = Connection::new(service.api, subject::DEADLINE);
        let before = bytes_under(&data);
        say(format!("round {round}: writing {} MiB", args.mib));
        let pressure = Pressure {
            at: service.api,
            form: Form::Reports,
            connections: 16,
            rate: None,
            span: FILL_DEADLINE,
            grace: Duration::ZERO,
            first_body: next_body,
            heed_retry_after: true,
        };
        let stop = AtomicBool::new(false);
        let outcome = std::thread::scope(|scope| {
            let sent = scope.spawn(|| send(&workload, &pressure, &stop));
            while bytes_under(&data) < before + (args.mib << 20) && !sent.is_finished() {
                std::thread::sleep(Duration::from_millis(20));
            }
            stop.store(true, Ordering::Relaxed);
            sent.join().expect("a sender does not panic")
        });
        next_body = outcome.next_body;
        let status = connection
            .get("/api/v1/status")
            .map_err(Failure::new)?
            .json();
        let stored = status["reports"]["stored"].as_u64().unwrap_or(0);
        service.kill();
        let log_bytes = bytes_under(&data);
        let service = launch.start().map_err(Failure::new)?;
        let mut connection = Connection::new(service.api, subject::DEADLINE);
        let status = connection
            .get("/api/v1/status")
            .map_err(Failure::new)?
            .json();
        let after = status["reports"]["stored"].as_u64().unwrap_or(0);
        let replayed = status["samples"]["processed"].as_u64().unwrap_or(0);
        let ready_ms = service.ready_after.as_secs_f64() * 1e3;
        table += &format!(
            "{round:>5} {:>10.0} {after:>12} {replayed:>12} {ready_ms:>9.0}\n",
            log_bytes as f64 / f64::from(1 << 20)
        );
        rows.push(json!({
            "round": round, "data_bytes": log_bytes, "stored": after, "replayed_samples": replayed, "ready_ms": ready_ms,
        }));
        service.kill();
        if after < stored {
            return Err(Failure::new(format!(
                "{table}\n{stored} reports were stored, {after} are left"
            )));
        }
    }
    Ok((table, json!({ "tool": "recover", "rows": rows })))
}
