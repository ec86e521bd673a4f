//! What is logged, and how that is changed while the service runs.
//! In: directives as `RUST_LOG` has them. Out: a filter. Called from: [`super::start`], `http/log_level`, and whatever
//! reads the configuration again.
//! Invariant: a level that is refused changes nothing.

use tracing_subscriber::EnvFilter;

use super::HANDLE;

/// The levels by name.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Why a level is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LevelError {
    /// A bare word that is no level would silently be taken as a module's name.
    #[error(
        "{word:?} is no level; write off, error, warn, info, debug or trace, or a module with one, as layer5_server=debug"
    )]
    Word {
        /// What was given.
        word: String,
    },
    /// It can't be read.
    #[error("{directives:?}: {why}")]
    Directive {
        /// What was given.
        directives: String,
        /// What is wrong with it.
        why: String,
    },
    /// This process has no log of its own: the service lives in another program.
    #[error("the log of this process is not layer5's to change")]
    NoLog,
}

/// Reads directives such as `info` or `layer5_server=debug,warn`.
pub(super) fn parse(directives: &str) -> Result<EnvFilter, LevelError> {
    let words: Vec<&str> = directives.split(',').map(str::trim).collect();
    for &word in &words {
        let level = word.rsplit('=').next().unwrap_or_default().trim();
        if !LEVELS.contains(&level.to_lowercase().as_str()) {
            let word = word.to_owned();
            return Err(LevelError::Word { word });
        }
    }
    EnvFilter::try_new(words.join(",")).map_err(|error| LevelError::Directive {
        directives: directives.to_owned(),
        why: error.to_string(),
    })
}

/// Whether these directives can be read.
///
/// # Errors
/// [`LevelError`] naming the word that is at fault.
pub fn check(directives: &str) -> Result<(), LevelError> {
    parse(directives).map(drop)
}

/// What is logged now; `None` when this process has no log of layer5's.
#[must_use]
pub fn level() -> Option<String> {
    HANDLE.get()?.with_current(ToString::to_string).ok()
}

/// Logs from now on what `directives` say, such as `info` or `layer5_server=debug,warn`.
///
/// # Errors
/// [`LevelError`]; what was logged before is still logged then.
pub fn set_level(directives: &str) -> Result<(), LevelError> {
    let filter = parse(directives)?;
    let before = level().ok_or(LevelError::NoLog)?;
    let handle = HANDLE.get().ok_or(LevelError::NoLog)?;
    handle.reload(filter).map_err(|_gone| LevelError::NoLog)?;
    if before != directives {
        // Seen at every level but `error` and `off`.
        tracing::warn!(before, now = directives, "the log level was changed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_and_slips_are_named() {
        for good in [
            "info",
            "WARN",
            "layer5_server=debug,warn",
            "off",
            "a::b=trace , info",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for (bad, word) in [
            ("inffo", "inffo"),
            ("info,layer5_server", "layer5_server"),
            ("", ""),
            ("a=loud", "a=loud"),
        ] {
            let error = parse(bad).expect_err("no level");
            assert_eq!(
                error,
                LevelError::Word {
                    word: word.to_owned()
                }
            );
        }
    }
}
