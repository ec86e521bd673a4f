//! The log of the commands that run a service: lines on standard error, and in a file that is rotated where one is named.
//! In: [`LogConfig`]; events from everywhere. Out: [`Log`], whose end writes what is left; [`level`] and [`set_level`] for
//! the API and for a configuration that is read again. Called from: `cli/serve` and `cli/demo`.
//! Invariants: it is started once per process; colours only on a terminal, and not with `NO_COLOR`; no line waits for a
//! disk: what the file can't take is counted, and standard error has it all the same.

mod file;
mod level;

use std::{io, sync::OnceLock};

pub use file::dropped_lines;
pub use level::{LevelError, check, level, set_level};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use crate::config::{LogConfig, LogFormat};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The level is none.
    #[error("log.level: {0}")]
    Level(#[from] LevelError),
    /// The file can't be opened.
    #[error("log.file = {path}: {source}; name a file in a folder that can be written, or none")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A started log. Dropping it writes what is on its way to the file.
#[derive(Debug, Default)]
#[must_use = "what is on its way to the file is written when this is dropped"]
pub struct Log {
    _file: Option<file::Writing>,
}

/// The level's handle, once the log is started: a subscriber is the whole process'.
static HANDLE: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts the log. In a process that has one already, the other one stays.
///
/// # Errors
/// [`LogError`] when the level is none or the file can't be opened.
pub fn start(config: &LogConfig) -> Result<Log, LogError> {
    let (filter, handle) = reload::Layer::new(level::parse(&config.level)?);
    let (file, writing) = match &config.file {
        None => (None, None),
        Some(path) => {
            let opened = file::open(path, file::Limits::of(config));
            let (lines, writing) = opened.map_err(|source| LogError::File {
                path: path.display().to_string(),
                source,
            })?;
            (Some(json(lines).boxed()), Some(writing))
        }
    };
    let colours =
        std::env::var_os("NO_COLOR").is_none() && io::IsTerminal::is_terminal(&io::stderr());
    let console = match config.format {
        LogFormat::Json => json(io::stderr).boxed(),
        LogFormat::Text => fmt::layer()
            .with_ansi(colours)
            .with_writer(io::stderr)
            .boxed(),
    };
    let layers = tracing_subscriber::registry().with(filter);
    if layers.with(console).with(file).try_init().is_ok() {
        // Only whoever set the subscriber comes here.
        let _first = HANDLE.set(handle);
        tell_panics();
    }
    Ok(Log { _file: writing })
}

/// One JSON object a line: time, level, target, message, fields, and the span of the request.
fn json<S, W>(writer: W) -> impl Layer<S> + Send + Sync
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync,
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(writer)
}

/// A panic is a line of the log too, with its place.
fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let thread = std::thread::current().name().unwrap_or("?").to_owned();
        let words = panic.payload_as_str().unwrap_or("no words");
        tracing::error!(
            place,
            thread,
            panic = words,
            "a bug in layer5: a thread panicked"
        );
    }));
}
