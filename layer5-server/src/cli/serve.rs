//! `layer5 serve`: the service, until SIGTERM, SIGINT or a failed store.
//! In: a configuration. Out: where it listens, on standard error; the log.

mod heap;
mod reload;

use std::process::ExitCode;

use clap::Args;
use reload::Files;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    Failure,
    config::{LayerArgs, checked},
    finish, runtime,
};
use crate::{
    app::{self, StartError, StopError},
    config::{Layers, Loaded},
    logging,
    store::OpenError,
};

/// Run the service
///
/// Takes reports on http.listen (127.0.0.1:8080), shows its metrics on metrics.listen (127.0.0.1:9090) and keeps
/// everything in store.data_dir (./layer5-data). Every key has a default; `docs/operating/configuration.md` names them.
/// A change of its files, or SIGHUP, loads them again; what is refused changes nothing. SIGTERM stops it cleanly: unready,
/// drained, snapshot, exit 0.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5 serve\n  \
    layer5 serve --config layer5.toml --env production\n  \
    LAYER7_API_URL=http://layer7-service:8080 layer5 serve --config layer5.toml\n  \
    layer5 serve --config layer5.toml --check")]
pub(super) struct ServeArgs {
    #[command(flatten)]
    layers: LayerArgs,
    /// Only check the configuration
    #[arg(long)]
    check: bool,
}

pub(super) fn run(args: &ServeArgs) -> ExitCode {
    finish(serve(args))
}

fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let layers = args.layers.layers();
    let loaded = checked(&layers)?;
    if args.check {
        super::print("the configuration is good\n");
        return Ok(());
    }
    heap::give_memory_back();
    let _log = logging::start(&loaded.config.log).map_err(|e| Failure::new(78, e))?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(until_stopped(layers, loaded));
    // A start that was interrupted may still wait for the data folder.
    runtime.shutdown_background();
    outcome
}

async fn until_stopped(layers: Layers, loaded: Loaded) -> Result<(), Failure> {
    let signals = |kind| signal(kind).map_err(|e| Failure::new(1, format!("no signals: {e}")));
    let (mut terminate, mut interrupt, mut hang_up) = (
        signals(SignalKind::terminate())?,
        signals(SignalKind::interrupt())?,
        signals(SignalKind::hangup())?,
    );
    let started = tokio::select! {
        started = app::start(loaded.config.clone()) => started,
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
    let mut files = Files::started(layers, &loaded, &running);
    let reason = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            () = running.failed() => break "the store failed",
            _ = hang_up.recv() => files.load(&running).await,
            () = files.changed() => files.load(&running).await,
        }
    };
    tracing::info!(reason, "layer5 stops");
    running.stop().await.map_err(|error| match error {
        StopError::StoreFailed => Failure::new(74, error),
        StopError::Panicked => Failure::new(1, error),
    })
}
