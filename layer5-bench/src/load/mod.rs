//! `layer5-bench load`: what ingestion costs and how long an answer takes, with a peer fed the same samples in the same
//! run.
//! In: a fleet's size, a rate, a span. Out: a row per server. Called from: the command line.
//! Invariants: what was acknowledged is compared with what is stored, and a difference fails the run; CPU time is the
//! server's alone, from before the first body until it has nothing left to do.

mod measured;
mod peer;
mod table;

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    time::Duration,
};

use clap::{Args, ValueEnum};
use layer5_server::clock;
use measured::Measured;
use serde_json::{Value, json};

use crate::{
    Failure,
    progress::say,
    service::{
        disk,
        pressure::{Outcome, Pressure, send},
        redis::{self, Redis},
        subject::{self, Launch},
        usage,
        workload::{Form, METRICS, Workload},
    },
};

/// Feed a service on this machine and say what it cost
///
/// Starts `layer5 serve` on a fresh data folder, sends reports over HTTP, Redis Streams or Prometheus remote write, asks
/// it afterwards what it stored, and reads its CPU time and memory from the kernel. The disk's own fdatasync is measured beside it. With a rate,
/// times count from when a body was due, not from when it could be sent.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5-bench load --detectors off --peer victoria-metrics\n  \
    layer5-bench load --rate 500000 --seconds 20 --output json\n  \
    layer5-bench load --over http,redis,remote-write --rate 200000\n\n\
    Exit codes: 0 measured, 1 something acknowledged was not stored or could not be measured, 2 wrong arguments")]
pub struct LoadArgs {
    /// The `layer5` binary [default: the one beside this]
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Where data folders are made [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Samples a second in all, or `max`: every connection sends when it was answered
    #[arg(long, default_value = "max", value_parser = rate)]
    pub rate: Rate,
    /// Seconds of sending, for each server
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Agents that report, at least 100
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    pub agents: u64,
    /// Metrics of a report
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(*METRICS.start() as u64..=*METRICS.end() as u64))]
    pub metrics: u64,
    /// Reports in a body
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    pub reports: u64,
    /// Connections, a thread each
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub connections: u64,
    /// What the reports hold
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// By which way; one after the other when several are named
    #[arg(long, value_enum, value_delimiter = ',', default_value = "http")]
    pub over: Vec<Over>,
    /// With the detectors, without, or one after the other
    #[arg(long, value_enum, default_value_t = Detectors::Both)]
    pub detectors: Detectors,
    /// Another server that is fed the same samples in the same run; may be given more than once
    #[arg(long, value_enum)]
    pub peer: Vec<peer::Peer>,
}

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As fast as it is answered.
    Max,
    /// Samples a second.
    PerSecond(f64),
}

fn rate(text: &str) -> Result<Rate, String> {
    match (text, text.parse::<f64>()) {
        ("max", _) => Ok(Rate::Max),
        (_, Ok(rate)) if rate > 0.0 && rate.is_finite() => Ok(Rate::PerSecond(rate)),
        _ => Err("a number of samples a second above 0, or `max`".into()),
    }
}

/// Ways for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Over {
    /// `POST /kpi`, NDJSON, answered when durable
    Http,
    /// A redis-server of our own; answered when Layer5 has acknowledged the entries
    Redis,
    /// `POST /api/v1/write`, snappy, answered when durable
    RemoteWrite,
}

impl Over {
    fn words(self) -> &'static str {
        match self {
            Self::Http => "",
            Self::Redis => ", Redis Streams",
            Self::RemoteWrite => ", remote write",
        }
    }

    fn form(self) -> Form {
        match self {
            Self::Http | Self::Redis => Form::Reports,
            Self::RemoteWrite => Form::RemoteWrite,
        }
    }
}

/// Which rows of Layer5's own there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Detectors {
    /// As it is delivered.
    On,
    /// `patterns.enabled = false`.
    Off,
    /// First without, then with.
    Both,
}

impl Detectors {
    fn rows(self) -> &'static [bool] {
        match self {
            Self::On => &[true],
            Self::Off => &[false],
            Self::Both => &[false, true],
        }
    }
}

impl LoadArgs {
    fn workload(&self) -> Workload {
        // A minute back, so that the newest report of a short run is not ahead of the clock by more than is allowed.
        let from = clock::now().plus_seconds(-60.0);
        let (agents, metrics) = (self.agents as usize, self.metrics as usize);
        Workload::new(self.seed, agents, metrics, self.reports as usize, from)
    }

    fn pressure(&self, at: std::net::SocketAddr, form: Form) -> Pressure {
        Pressure {
            at,
            form,
            connections: self.connections as usize,
            rate: match self.rate {
                Rate::Max => None,
                Rate::PerSecond(rate) => Some(rate),
            },
            span: Duration::from_secs_f64(self.seconds),
            grace: Duration::from_secs_f64(self.seconds),
            first_body: 0,
            heed_retry_after: true,
        }
    }
}

/// Measures; a table and its numbers.
///
/// # Errors
/// When a server can't be run, or stored less than it acknowledged.
pub fn run(args: &LoadArgs) -> Result<(String, Value), Failure> {
    let folder = match &args.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let folder = folder.map_err(|e| Failure::new(format!("no folder for data: {e}")))?;
    let binary = args.server.clone().unwrap_or_else(subject::default_binary);
    say("the disk");
    let span = Duration::from_secs(4);
    let disk =
        disk::probe(folder.path(), span).map_err(|e| Failure::new(format!("no probe: {e}")))?;
    let mut rows = Vec::new();
    for &over in &args.over {
        for &detect in args.detectors.rows() {
            rows.push(layer5(args, &binary, folder.path(), over, detect)?);
        }
    }
    for peer in &args.peer {
        rows.push(peer::measure(*peer, args, folder.path())?);
    }
    let json = json!({
        "tool": "load",
        "samples_per_body": args.workload().samples_per_body(),
        "series": args.workload().n_series(),
        "fdatasync_ms": disk,
        "rows": rows,
        "ratios": table::ratios(&rows),
    });
    let table = table::draw(&rows, &disk, args);
    match rows.iter().find_map(Measured::fault) {
        None => Ok((table, json)),
        Some(fault) => Err(Failure::new(format!("{table}\n{fault}"))),
    }
}

fn layer5(
    args: &LoadArgs,
    binary: &Path,
    folder: &Path,
    over: Over,
    detect: bool,
) -> Result<Measured, Failure> {
    let name = match detect {
        true => format!("layer5{}", over.words()),
        false => format!("layer5{}, no detectors", over.words()),
    };
    say(&name);
    let redis = match over {
        Over::Redis => Some(Redis::start(folder).map_err(|e| {
            Failure::new(format!(
                "redis-server can't be run: {e}; Debian has a package of that name"
            ))
        })?),
        Over::Http | Over::RemoteWrite => None,
    };
    let mut launch = Launch::new(binary, &folder.join(format!("layer5-{over:?}-{detect}")));
    launch.settings = vec![("PATTERNS__ENABLED", detect.to_string())];
    if let Some(redis) = &redis {
        let url = format!("redis://{}", redis.at);
        launch.settings.push(("SOURCES__REDIS__URL", url));
    }
    let service = launch.start().map_err(Failure::new)?;
    let (workload, pressure) = (args.workload(), args.pressure(service.api, over.form()));
    let before = usage::cpu_seconds(service.pid()).unwrap_or(0.0);
    let outcome = match &redis {
        Some(redis) => redis::send(redis, &workload, &pressure).map_err(Failure::new)?,
        None => send(&workload, &pressure, &AtomicBool::new(false)),
    };
    let mut connection = crate::service::http::Connection::new(service.api, subject::DEADLINE);
    let samples = measured::settled(&mut connection)?;
    let after = usage::cpu_seconds(service.pid()).unwrap_or(0.0);
    let row = Measured::new(
        &name,
        &outcome,
        &workload,
        after - before,
        service.pid(),
        samples,
    );
    service.terminate();
    // The next server has the disk to itself.
    let _kept_on_failure = std::fs::remove_dir_all(&launch.data_dir);
    Ok(row)
}
