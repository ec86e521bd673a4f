//! The log of the commands that run a service: JSON lines or text on standard error.
//! Invariants: it is started once per process; colours only on a terminal, and not with `NO_COLOR`.

use std::io::Write;

use tracing_subscriber::{
    EnvFilter, Registry, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use super::Failure;
use crate::config::{LogConfig, LogFormat};

/// What the log keeps, to be changed while it runs.
#[derive(Clone, Debug)]
pub(super) struct Level(reload::Handle<EnvFilter, Registry>);

impl Level {
    /// From here on the log keeps what `level` says, which was checked with the configuration.
    pub(super) fn set(&self, level: &str) {
        if let Ok(filter) = EnvFilter::try_new(level) {
            // It fails only when the log is gone, and then there is nobody to tell.
            let _gone = self.0.reload(filter);
        }
    }
}

/// Starts the log on standard error.
pub(super) fn start(config: &LogConfig) -> Result<Level, Failure> {
    let filter = EnvFilter::try_new(&config.level)
        .map_err(|e| Failure::new(78, format!("log.level = `{}`: {e}", config.level)))?;
    let (filter, handle) = reload::Layer::new(filter);
    let colours = std::env::var_os("NO_COLOR").is_none()
        && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let base = tracing_subscriber::registry().with(filter);
    let started = match config.format {
        LogFormat::Json => base
            .with(lines.json().flatten_event(true).with_current_span(false))
            .try_init(),
        LogFormat::Text => base.with(lines.with_ansi(colours)).try_init(),
    };
    if let Err(error) = started {
        let _closed = writeln!(std::io::stderr(), "layer5: the log did not start: {error}");
    }
    Ok(Level(handle))
}
