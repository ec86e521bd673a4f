//! `layer5-bench scale`: what a million series cost, beside a thousand in the same run.
//! In: how many agents, of how many metrics. Out: a row for each fleet, and whether the demands on memory and throughput
//! are met. Called from: the command line.

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    time::Duration,
};

use clap::Args;
use layer5_server::clock;
use serde_json::{Value, json};

use crate::{
    Failure,
    progress::say,
    service::{
        http::Connection,
        latency::Percentiles,
        pressure::{Pressure, send},
        subject::{self, Launch},
        usage,
        workload::{Form, METRICS, Workload},
    },
};

/// Most resident memory of a series, bytes: everything else is divided by the number of series too.
const BYTES_PER_SERIES_MAX: f64 = 1024.0;
/// Least throughput, as a share of that of the small fleet.
const SHARE_MIN: f64 = 0.5;
/// Longest wait until what was stored was looked at.
const SETTLE_DEADLINE: Duration = Duration::from_secs(120);
const CONNECTIONS: usize = 16;
const REPORTS_PER_BODY: usize = 1000;

/// Feed a small fleet and a large one, and compare memory and throughput
///
/// Every series of a fleet reports before anything is measured. Memory is what the kernel calls resident at the end,
/// divided by the number of series.
#[derive(Args, Debug)]
#[command(after_long_help = "Example:\n  \
    layer5-bench scale --agents 100000 --metrics 10\n\n\
    Exit codes: 0 both demands were met, 1 one was not, 2 wrong arguments")]
pub struct ScaleArgs {
    /// The `layer5` binary [default: the one beside this]
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Where data folders are made [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Agents of the large fleet; the small one has 100
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(100..=100_000))]
    pub agents: u64,
    /// Metrics of a report
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(*METRICS.start() as u64..=*METRICS.end() as u64))]
    pub metrics: u64,
    /// Seconds of sending, for each fleet
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Without detectors
    #[arg(long)]
    pub no_detectors: bool,
    /// What the reports hold
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// What one fleet cost.
struct Row {
    series: usize,
    samples_per_second: f64,
    cpu_seconds_per_million: f64,
    rss_bytes: u64,
    ack_ms: Percentiles,
}

impl Row {
    fn bytes_per_series(&self) -> f64 {
        self.rss_bytes as f64 / self.series as f64
    }
}

/// Measures; a table and its numbers.
///
/// # Errors
/// When a demand was not met, with the table.
pub fn run(args: &ScaleArgs) -> Result<(String, Value), Failure> {
    let folder = match &args.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let folder = folder.map_err(|e| Failure::new(format!("no folder for data: {e}")))?;
    let mut rows = Vec::new();
    for agents in [100, args.agents] {
        rows.push(measure(args, folder.path(), agents as usize)?);
    }
    let mut table = format!(
        "{:>9} {:>10} {:>8} {:>9} {:>9} {:>9} {:>13}\n",
        "series", "samples/s", "CPU s/M", "p50 ms", "p99 ms", "RSS MiB", "bytes/series"
    );
    for row in &rows {
        table += &format!(
            "{:>9} {:>10.0} {:>8.3} {:>9.1} {:>9.1} {:>9.0} {:>13.0}\n",
            row.series,
            row.samples_per_second,
            row.cpu_seconds_per_million,
            row.ack_ms.p50,
            row.ack_ms.p99,
            row.rss_bytes as f64 / f64::from(1 << 20),
            row.bytes_per_series(),
        );
    }
    let (small, large) = (&rows[0], &rows[1]);
    let share = large.samples_per_second / small.samples_per_second;
    let bytes = large.bytes_per_series();
    table += &format!(
        "throughput {:.0} % of the small fleet's (at least {:.0} %), {bytes:.0} bytes a series (at most {BYTES_PER_SERIES_MAX:.0})\n",
        share * 100.0,
        SHARE_MIN * 100.0
    );
    if !(share >= SHARE_MIN && bytes <= BYTES_PER_SERIES_MAX) {
        return Err(Failure::new(format!("a demand was not met\n{table}")));
    }
    let numbers: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "series": row.series, "samples_per_second": row.samples_per_second,
                "cpu_seconds_per_million": row.cpu_seconds_per_million, "rss_bytes": row.rss_bytes, "ack_ms": row.ack_ms,
            })
        })
        .collect();
    let json = json!({ "tool": "scale", "rows": numbers, "throughput_share": share });
    Ok((table, json))
}

fn measure(args: &ScaleArgs, folder: &Path, agents: usize) -> Result<Row, Failure> {
    let from = clock::now().plus_seconds(-60.0);
    let metrics = args.metrics as usize;
    let workload = Workload::new(args.seed, agents, metrics, REPORTS_PER_BODY, from);
    let binary = args.server.clone().unwrap_or_else(subject::default_binary);
    let mut launch = Launch::new(&binary, &folder.join(agents.to_string()));
    let detect = !args.no_detectors;
    launch.settings = vec![("PATTERNS__ENABLED", detect.to_string())];
    let service = launch.start().map_err(Failure::new)?;
    let mut connection = Connection::new(service.api, subject::DEADLINE);
    say(format!("{agents} agents: every series reports"));
    let mut body = Vec::new();
    let n_first = agents.div_ceil(REPORTS_PER_BODY) as u64;
    for index in 0..n_first {
        workload.write(index, Form::Reports, &mut body);
        loop {
            let answer = connection.post_form(Form::Reports, &body);
            match answer.map_err(Failure::new)?.status {
                200 => break,
                429 | 503 => std::thread::sleep(Duration::from_millis(200)),
                status => return Err(Failure::new(format!("answered with {status}"))),
            }
        }
    }
    settle(&mut connection)?;
    say(format!("{agents} agents: measuring"));
    let pressure = Pressure {
        at: service.api,
        form: Form::Reports,
        connections: CONNECTIONS,
        rate: None,
        span: Duration::from_secs_f64(args.seconds),
        grace: Duration::ZERO,
        first_body: n_first,
        heed_retry_after: true,
    };
    let before = usage::cpu_seconds(service.pid()).unwrap_or(0.0);
    let outcome = send(&workload, &pressure, &AtomicBool::new(false));
    settle(&mut connection)?;
    let cpu_seconds = usage::cpu_seconds(service.pid()).unwrap_or(0.0) - before;
    let samples = outcome.taken as f64 * workload.samples_per_body() as f64;
    let row = Row {
        series: workload.n_series(),
        samples_per_second: samples / outcome.took.as_secs_f64(),
        cpu_seconds_per_million: cpu_seconds / samples * 1e6,
        rss_bytes: usage::memory_bytes(service.pid(), "VmRSS").unwrap_or(0),
        ack_ms: Percentiles::of(&outcome.times),
    };
    service.kill();
    // The next fleet has the disk to itself.
    let _kept_on_failure = std::fs::remove_dir_all(&launch.data_dir);
    Ok(row)
}

/// Waits until every stored sample was looked at.
fn settle(connection: &mut Connection) -> Result<(), Failure> {
    let began = std::time::Instant::now();
    loop {
        let status = connection
            .get("/api/v1/status")
            .map_err(Failure::new)?
            .json();
        let samples = &status["samples"];
        if samples["stored"] == samples["processed"] {
            return Ok(());
        }
        if began.elapsed() > SETTLE_DEADLINE {
            return Err(Failure::new(format!("not looked at in time: {samples}")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
