//! `layer5 serve`: the service, until SIGTERM, SIGINT or a failed store.
//! In: a configuration. Out: where it listens, on standard error; the log.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, finish, log, runtime};
use crate::{
    app::{self, StartError, StopError},
    config::{Config, load},
    store::OpenError,
};

/// Run the service
///
/// Takes reports on http.listen (127.0.0.1:8080), shows its metrics on metrics.listen (127.0.0.1:9090) and keeps
/// everything in store.data_dir (./layer5-data). Every key has a default; `docs/operating/configuration.md` names them.
/// SIGTERM stops it cleanly: unready, drained, snapshot, exit 0.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5 serve\n  \
    layer5 serve --config layer5.toml\n  \
    LAYER7_API_URL=http://layer7-service:8080 layer5 serve --config layer5.toml\n  \
    layer5 serve --config layer5.toml --check")]
pub(super) struct ServeArgs {
    /// The configuration, TOML
    #[arg(long, value_name = "FILE", env = "LAYER5_CONFIG")]
    config: Option<PathBuf>,
    /// Only check the configuration
    #[arg(long)]
    check: bool,
}

pub(super) fn run(args: &ServeArgs) -> ExitCode {
    finish(serve(args))
}

fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let config = load(args.config.as_deref(), std::env::vars()).map_err(|e| Failure::new(78, e))?;
    if args.check {
        super::print("the configuration is good\n");
        return Ok(());
    }
    log::start(&config.log)?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(until_stopped(config));
    // A start that was interrupted may still wait for the data folder.
    runtime.shutdown_background();
    outcome
}

async fn until_stopped(config: Config) -> Result<(), Failure> {
    let signals = |kind| signal(kind).map_err(|e| Failure::new(1, format!("no signals: {e}")));
    let (mut terminate, mut interrupt) = (
        signals(SignalKind::terminate())?,
        signals(SignalKind::interrupt())?,
    );
    let started = tokio::select! {
        started = app::start(config) => started,
        _ = terminate.recv() => return Err(Failure::new(130, "interrupted by SIGTERM before it was ready")),
        _ = interrupt.recv() => return Err(Failure::new(130, "interrupted before it was ready")),
    };
    let mut running = started.map_err(|error| {
        let code = match &error {
            StartError::Store(OpenError::InUse { .. }) => 75,
            StartError::Store(_) | StartError::Replay { .. } => 74,
            StartError::Cohort(_)
            | StartError::Neighbour(_)
            | StartError::Tokens(_)
            | StartError::TooManyObjectives { .. } => 78,
            _ => 1,
        };
        Failure::new(code, error)
    })?;
    let (api, metrics) = (running.api, running.metrics);
    tracing::info!(%api, %metrics, data_dir = %running.data_dir.display(), "layer5 is ready");
    let reason = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = running.failed() => "the store failed",
    };
    tracing::info!(reason, "layer5 stops");
    running.stop().await.map_err(|error| match error {
        StopError::StoreFailed => Failure::new(74, error),
        StopError::Panicked => Failure::new(1, error),
    })
}
