//! The log of the commands that run a service: JSON lines or text on standard error.
//! Invariants: it is started once per process; colours only on a terminal, and not with `NO_COLOR`.

use std::io::Write;

use super::Failure;
use crate::config::{LogConfig, LogFormat};

/// Starts the log on standard error.
pub(super) fn start(config: &LogConfig) -> Result<(), Failure> {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.level)
        .map_err(|e| Failure::new(78, format!("log.level = `{}`: {e}", config.level)))?;
    let colours = std::env::var_os("NO_COLOR").is_none()
        && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let base = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Json => base
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init(),
        LogFormat::Text => base.with_ansi(colours).try_init(),
    };
    if let Err(error) = started {
        let _closed = writeln!(std::io::stderr(), "layer5: the log did not start: {error}");
    }
    Ok(())
}
