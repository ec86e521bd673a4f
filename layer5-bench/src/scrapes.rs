//! `layer5-bench scrapes`: what a storm of scrapes costs those who send reports.
//! In: scrapes a second, a rate of reports. Out: the p99 of durable answers without and with the storm, and their ratio.
//! Called from: the command line. Rounds without and with take turns on one service, so that what else the machine does
//! meets both alike.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use clap::Args;
use layer5_server::clock;
use serde_json::{Value, json};

use crate::{
    Failure,
    service::{
        http::Connection,
        latency::Percentiles,
        pressure::{Pressure, send},
        subject::{self, Launch},
        workload::{Form, Workload},
    },
};

/// Connections that scrape.
const SCRAPERS: u64 = 4;

/// Scrape the metrics page very often and see what it costs the senders
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "Example:\n  layer5-bench scrapes --per-second 200 --dir /dev/shm")]
pub struct ScrapesArgs {
    /// The `layer5` binary [default: the one beside this]
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
    /// Where the data folder is made; on /dev/shm the disk's own jitter is out of the way
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Scrapes a second
    #[arg(long, default_value_t = 200.0)]
    pub per_second: f64,
    /// Samples a second
    #[arg(long, default_value_t = 100_000.0)]
    pub rate: f64,
    /// Pairs of rounds
    #[arg(long, default_value_t = 8)]
    pub rounds: u32,
    /// Seconds of a round
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
}

/// Measures; a table and its numbers.
///
/// # Errors
/// When the service can't be run or refuses reports.
pub fn run(args: &ScrapesArgs) -> Result<(String, Value), Failure> {
    let folder = match &args.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let folder = folder.map_err(Failure::new)?;
    let binary = args.server.clone().unwrap_or_else(subject::default_binary);
    let page = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let page = page.map_err(Failure::new)?;
    let mut launch = Launch::new(&binary, &folder.path().join("data"));
    launch.settings.push(("METRICS__LISTEN", page.to_string()));
    let service = launch.start().map_err(Failure::new)?;
    let workload = Workload::new(1, 1000, 7, 100, clock::now().plus_seconds(-60.0));
    let mut pressure = Pressure {
        at: service.api,
        form: Form::Reports,
        connections: 8,
        rate: Some(args.rate),
        span: Duration::from_secs_f64(args.seconds),
        grace: Duration::from_secs_f64(args.seconds),
        first_body: 0,
        heed_retry_after: true,
    };
    let (mut times, mut rounds) = ([Vec::new(), Vec::new()], Vec::new());
    let (mut scrapes, mut unanswered) = (0, 0);
    // The first round warms up and counts for nothing.
    for round in 0..=2 * args.rounds {
        let stormy = round % 2 == 0;
        let stop = AtomicBool::new(!stormy);
        let (answered, failed) = (AtomicU64::new(0), AtomicU64::new(0));
        let outcome = std::thread::scope(|scope| {
            for _ in 0..SCRAPERS {
                scope.spawn(|| {
                    scrape(
                        page,
                        args.per_second / SCRAPERS as f64,
                        &stop,
                        &answered,
                        &failed,
                    )
                });
            }
            let outcome = send(&workload, &pressure, &AtomicBool::new(false));
            stop.store(true, Relaxed);
            outcome
        });
        pressure.first_body = outcome.next_body;
        if outcome.taken < outcome.sent {
            return Err(Failure::new(format!(
                "{} of {} bodies were refused; lower --rate",
                outcome.sent - outcome.taken,
                outcome.sent
            )));
        }
        if round > 0 {
            scrapes += answered.load(Relaxed);
            unanswered += failed.load(Relaxed);
            rounds.push((stormy, Percentiles::of(&outcome.times).p99));
            times[usize::from(stormy)].extend(outcome.times);
        }
    }
    service.kill();
    let [calm, storm] = [0, 1].map(|side| Percentiles::of(&times[side]));
    let middle = |stormy: bool| {
        let mut p99: Vec<f64> = rounds
            .iter()
            .filter(|r| r.0 == stormy)
            .map(|r| r.1)
            .collect();
        p99.sort_by(f64::total_cmp);
        p99[p99.len() / 2]
    };
    let (calm_middle, storm_middle) = (middle(false), middle(true));
    let achieved = scrapes as f64 / (f64::from(args.rounds) * args.seconds);
    let table = format!(
        "{:<22} {:>8} {:>9} {:>9} {:>22}\n{:<22} {:>8} {:>9.2} {:>9.2} {:>22.2}\n{:<22} {:>8} {:>9.2} {:>9.2} {:>22.2}\n\
         {achieved:.0} scrapes/s, {unanswered} unanswered; p99 with / without: {:.3} over all, {:.3} of the medians of rounds\n",
        "answers",
        "bodies",
        "p50 ms",
        "p99 ms",
        "median p99 of rounds",
        "without scrapes",
        calm.n,
        calm.p50,
        calm.p99,
        calm_middle,
        "with",
        storm.n,
        storm.p50,
        storm.p99,
        storm_middle,
        storm.p99 / calm.p99,
        storm_middle / calm_middle,
    );
    let found = json!({
        "without": calm, "with": storm, "scrapes_per_second": achieved, "unanswered": unanswered,
        "median_p99_ms": { "without": calm_middle, "with": storm_middle },
        "ratio": storm_middle / calm_middle,
    });
    Ok((table, found))
}

fn scrape(
    page: SocketAddr,
    per_second: f64,
    stop: &AtomicBool,
    answered: &AtomicU64,
    failed: &AtomicU64,
) {
    let mut connection = Connection::new(page, Duration::from_secs(5));
    let began = Instant::now();
    for nth in 0.. {
        let due = began + Duration::from_secs_f64(f64::from(nth) / per_second);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if stop.load(Relaxed) {
            return;
        }
        match connection.get("/metrics") {
            Ok(answer) if answer.status == 200 => answered.fetch_add(1, Relaxed),
            _ => failed.fetch_add(1, Relaxed),
        };
    }
}
