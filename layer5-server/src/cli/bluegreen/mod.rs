//! `layer5 bluegreen`: what a blue-green deployment asks of its two versions, and the whole of one on this machine.
//! In: addresses of running instances; for `local`, nothing. Out: figures and verdicts, as text or JSON; exit 0 when all is
//! well, 1 when a version is refused. Called by: people, and `deploy/deploy-production.sh` inside the pods.
//! [`judge`] decides, [`compare`] and [`watch`] ask, [`local`] deploys: [`instance`]s behind a [`proxy`], with [`senders`].
//! Reference: docs/decisions/0011-blue-green.md.

mod compare;
mod fault;
mod instance;
mod judge;
mod local;
mod proxy;
mod senders;
mod service;
mod takeover;
mod watch;

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use serde_json::json;

use self::service::{Service, Which};
use super::{Failure, finish, print, runtime};

/// Compare, watch and switch two versions
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5 bluegreen local --switches 3 --rollbacks 2\n  \
    layer5 bluegreen compare --live http://layer5-refinement-active:8080 --url http://127.0.0.1:8080\n  \
    layer5 bluegreen figures --seconds 30 > before.json\n  \
    layer5 bluegreen watch --seconds 300 --baseline \"$(cat before.json)\"")]
pub(super) struct BluegreenArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Local(local::LocalArgs),
    /// Send one report to a candidate and read it back
    Smoke(Which),
    /// Compare what a candidate makes of the live instance's reports
    Compare(CompareArgs),
    /// Print how an instance does over a span: reports, errors, accuracy
    Figures(SpanArgs),
    /// Watch an instance, and refuse it when it does worse than before
    Watch(WatchArgs),
}

#[derive(Args, Debug)]
struct CompareArgs {
    /// The live instance
    #[arg(long, value_name = "URL")]
    live: String,
    #[command(flatten)]
    candidate: Which,
    /// Over how much of the past, s
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0, value_parser = seconds)]
    window: f64,
    /// How long the candidate may take to catch up, s
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = seconds)]
    patience: f64,
}

#[derive(Args, Debug)]
struct SpanArgs {
    #[command(flatten)]
    which: Which,
    /// Over which span, s
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
}

#[derive(Args, Debug)]
struct WatchArgs {
    #[command(flatten)]
    span: SpanArgs,
    /// What `figures` printed of the version before
    #[arg(long, value_name = "JSON")]
    baseline: String,
}

pub(super) fn run(args: &BluegreenArgs) -> ExitCode {
    match &args.command {
        Command::Local(args) => local::run(args),
        Command::Smoke(which) => finish(on_runtime(smoke(which))),
        Command::Compare(args) => finish(on_runtime(compare_two(args))),
        Command::Figures(args) => finish(on_runtime(figures(args))),
        Command::Watch(args) => finish(on_runtime(watch_one(args))),
    }
}

fn on_runtime(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    runtime()?.block_on(work)
}

async fn smoke(which: &Which) -> Result<(), Failure> {
    let took = which.service()?.smoke().await.map_err(refused)?;
    print(&format!(
        "a report went in and came out in {} ms\n",
        took.as_millis()
    ));
    Ok(())
}

async fn compare_two(args: &CompareArgs) -> Result<(), Failure> {
    let live = Service::new(&args.live, args.candidate.token_file())?;
    let candidate = args.candidate.service()?;
    let (window, patience) = (span(args.window), span(args.patience));
    let result = compare::compare(&live, &candidate, window, patience)
        .await
        .map_err(refused)?;
    let differs = result.differs();
    print(&format!(
        "{:#}\n",
        json!({ "same": differs.is_empty(), "checks": result.checks })
    ));
    match differs.is_empty() {
        true => Ok(()),
        false => Err(refused(format!(
            "{} differs from {}: {}",
            candidate.url(),
            live.url(),
            differs.join("; ")
        ))),
    }
}

async fn figures(args: &SpanArgs) -> Result<(), Failure> {
    let service = args.which.service()?;
    let figures = watch::figures(&service, span(args.seconds)).await;
    let figures = figures.map_err(refused)?;
    print(&format!("{}\n", json!(figures)));
    Ok(())
}

async fn watch_one(args: &WatchArgs) -> Result<(), Failure> {
    let baseline = serde_json::from_str(&args.baseline)
        .map_err(|e| Failure::new(65, format!("--baseline: {e}")))?;
    let service = args.span.which.service()?;
    let watched = watch::watch(&service, &baseline, span(args.span.seconds)).await;
    let figures = watched.map_err(|why| refused(format!("worse than before: {why}")))?;
    print(&format!("{}\n", json!(figures)));
    Ok(())
}

fn refused(why: String) -> Failure {
    Failure::new(1, why)
}

fn span(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|s| (0.0..=86_400.0).contains(s))
        .ok_or_else(|| format!("{text:?} is not a number of seconds from 0 to 86400"))
}
