//! `layer5 demo`: the service on loopback, a fleet with planted truth round it, and a table of how it did.
//! In: the arguments. Out: progress on standard error, the tables (or one JSON object) on standard output, exit code
//! 0, or 1 with the reason when reports were lost or a contract was broken.
//! Invariants: nothing outlives the demo but its output: the data folder is temporary, every port is on loopback.

mod fleet;
mod host;
mod progress;
mod results;
mod service_view;
mod setup;
mod table;

use std::{io::Write, net::SocketAddr, process::ExitCode};

use clap::{Args, ValueEnum};
use serde::Serialize;

use self::{
    fleet::{Neighbours, Plan},
    progress::say,
    results::Addresses,
    setup::Listen,
};
use crate::{
    app,
    clock::now,
    logging,
    standin::{
        clock::{FleetClock, STEPS_PER_SECOND},
        layer7::Layer7,
        layer8::Layer8,
        misbehaviour::Misbehaviour,
    },
};

/// Exit code when Ctrl-C ends the demo: 128 + SIGINT.
const EXIT_INTERRUPTED: u8 = 130;

/// Watch Layer5 work: a simulated week of a fleet in half a minute, or this machine as it is.
///
/// Starts the service on loopback with a temporary data folder. Around it play a fleet of agents (Layer4) with
/// incidents planted by the seed and parameters whose best values are known, a Layer7 that applies recommendations and
/// now and then fails, and a Layer8. At the end a table says what was sent, lost and found, and how near to the best
/// the fleet came.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5 demo                          half a minute, 60 agents\n  \
    layer5 demo --seconds 10 --seed 7    shorter, another fate\n  \
    layer5 demo --source host            this machine's processes instead of a fleet\n  \
    layer5 demo --output json | jq .improvement\n  \
    layer5 demo --keep                   leave the service up to look around")]
pub struct DemoArgs {
    /// How long it runs; each second is 80 reports of every agent, 6.7 simulated hours
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Agents in the fleet, or processes followed at most
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=2000))]
    agents: u32,
    /// Decides incidents, noise and the best parameters
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    /// Where the KPIs come from
    #[arg(long, value_enum, default_value_t = Source::Fleet)]
    source: Source,
    /// Tables for people, or one JSON object for programs
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Port of the API; without it 8080, or the next free one
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Port of the metrics page; without it 9090, or the next free one
    #[arg(long, value_name = "PORT")]
    metrics_port: Option<u16>,
    /// Keep the service running until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// Where the demo's KPIs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// A simulated fleet with planted truth
    Fleet,
    /// The processes of this machine, from /proc
    Host,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Tables
    Text,
    /// One JSON object
    Json,
}

/// Where the demo's service listens.
#[derive(Clone, Copy, Debug)]
struct Service {
    api: SocketAddr,
    metrics: SocketAddr,
}

impl Service {
    fn api_url(&self) -> String {
        format!("http://{}", self.api)
    }

    fn metrics_url(&self) -> String {
        format!("http://{}", self.metrics)
    }
}

/// Runs the demo to its end.
#[must_use]
pub fn run(args: &DemoArgs) -> ExitCode {
    let ended = tokio::runtime::Runtime::new()
        .map_err(|error| format!("no runtime: {error}"))
        .and_then(|runtime| runtime.block_on(demo(args)));
    match ended {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::Interrupted) => {
            say("interrupted");
            EXIT_INTERRUPTED.into()
        }
        Ok(Ended::Badly(reason)) | Err(reason) => {
            say(&format!("layer5 demo: {reason}"));
            ExitCode::FAILURE
        }
    }
}

/// How a demo ended that could be started.
enum Ended {
    Well,
    Badly(String),
    Interrupted,
}

/// The running service, and what must outlive it.
struct Stage {
    running: app::Running,
    service: Service,
    neighbours: Option<Neighbours>,
    clock: FleetClock,
    _log: logging::Log,
    // Dropped last, which removes the folder.
    _folder: tempfile::TempDir,
}

async fn demo(args: &DemoArgs) -> Result<Ended, String> {
    let stage = set_up(args).await?;
    let ended = tokio::select! {
        failure = play(args, &stage) => match failure {
            Ok(None) => Ended::Well,
            Ok(Some(reason)) | Err(reason) => Ended::Badly(reason),
        },
        _ = tokio::signal::ctrl_c() => Ended::Interrupted,
    };
    if args.keep && !matches!(ended, Ended::Interrupted) {
        // When the signal can't be waited for, ending at once is the safe side.
        let _ = tokio::signal::ctrl_c().await;
    }
    let stopped = stage.running.stop().await;
    stopped.map_err(|error| format!("the service did not stop cleanly: {error}"))?;
    Ok(ended)
}

async fn set_up(args: &DemoArgs) -> Result<Stage, String> {
    let text = |error: std::io::Error| error.to_string();
    let api = setup::listen(args.port, 8080).map_err(text)?;
    let metrics = setup::listen(args.metrics_port, 9090).map_err(text)?;
    let folder = tempfile::Builder::new()
        .prefix("layer5-demo-")
        .tempdir()
        .map_err(text)?;
    let steps = (f64::from(args.seconds) * STEPS_PER_SECOND) as usize;
    let clock = FleetClock::ending_before(now(), steps);
    let mut config = setup::base_config(api.address, metrics.address, folder.path());
    if let Ok(level) = std::env::var("RUST_LOG") {
        config.log.level = level;
    }
    let log = logging::start(&config.log).map_err(|error| error.to_string())?;
    let neighbours = match args.source {
        Source::Host => None,
        Source::Fleet => Some(Neighbours {
            layer7: Layer7::start(Misbehaviour::MILD, args.seed)
                .await
                .map_err(text)?,
            layer8: Layer8::start().await.map_err(text)?,
        }),
    };
    if let Some(Neighbours { layer7, layer8 }) = &neighbours {
        config = setup::with_fleet(config, &clock, args.seed);
        config.layer7.url = Some(layer7.url());
        config.layer8.url = Some(layer8.url());
    }
    let running = app::start(config)
        .await
        .map_err(|error| error.to_string())?;
    let service = Service {
        api: running.api,
        metrics: running.metrics,
    };
    greet(&service, api, metrics);
    Ok(Stage {
        running,
        service,
        neighbours,
        clock,
        _log: log,
        _folder: folder,
    })
}

/// Plays the demo and shows its results; the reason when it did not succeed.
async fn play(args: &DemoArgs, stage: &Stage) -> Result<Option<String>, String> {
    let seconds = f64::from(args.seconds);
    let agents = args.agents as usize;
    match &stage.neighbours {
        Some(neighbours) => {
            let plan = Plan {
                seed: args.seed,
                agents,
                seconds,
                clock: stage.clock,
            };
            let results = fleet::run(plan, neighbours, &stage.service).await?;
            show(args, &results, &table::fleet(&results), &results.service);
            Ok(results.failure())
        }
        None => {
            let results = host::run(seconds, agents, &stage.service).await?;
            show(args, &results, &table::host(&results), &results.service);
            Ok(results.failure())
        }
    }
}

/// Says where the service listens, and when that is not the usual place.
fn greet(service: &Service, api: Listen, metrics: Listen) {
    let note = |listen: Listen, usual: u16| {
        if listen.usual {
            String::new()
        } else {
            format!(" ({usual} was not used)")
        }
    };
    say(&format!(
        "Layer5 listens on {}{}, metrics on {}{}",
        service.api_url(),
        note(api, 8080),
        service.metrics_url(),
        note(metrics, 9090),
    ));
}

/// Writes the results to standard output. A reader that went away is no failure of the demo.
fn show(args: &DemoArgs, results: &impl Serialize, tables: &str, at: &Addresses) {
    let mut out = std::io::stdout().lock();
    let _ = match args.output {
        Output::Text => write!(out, "\n{tables}{}", table::look_further(at, args.keep)),
        Output::Json => {
            let json = serde_json::to_string_pretty(results)
                .expect("plain numbers and strings are always JSON");
            writeln!(out, "{json}")
        }
    };
    let _ = out.flush();
}
