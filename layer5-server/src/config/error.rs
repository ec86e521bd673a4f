//! Why there is no configuration: which file, line, key or variable, and the way out.
//! Called from: everything in [`super`].

use std::fmt::Display;

use super::{origin::Loaded, secrets};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read {path}: {source}{hint}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
        /// What to do about it.
        hint: String,
    },
    /// The text is not a configuration.
    #[error("{origin}:{line}: {message}{hint}")]
    Parse {
        /// File or variable.
        origin: String,
        /// 1-based line.
        line: usize,
        /// What is wrong.
        message: String,
        /// The nearest known key, when the key is unknown.
        hint: String,
    },
    /// A value is out of its range.
    #[error("{place}{key} = {value} is not accepted, legal: {legal}")]
    Invalid {
        /// Where it was set, such as `layer5.toml:7: `; empty when that is not known.
        place: String,
        /// Which key.
        key: String,
        /// What it was set to.
        value: String,
        /// What it may be set to.
        legal: String,
    },
}

impl ConfigError {
    pub(super) fn invalid(key: &str, value: impl Display, legal: &str) -> Self {
        Self::Invalid {
            place: String::new(),
            key: key.into(),
            value: secrets::hidden(&value.to_string()).into_owned(),
            legal: legal.into(),
        }
    }

    /// The same, with where the key was set.
    pub(super) fn placed(mut self, loaded: &Loaded) -> Self {
        if let Self::Invalid { place, key, .. } = &mut self
            && let Some(origin) = loaded.origin_of(key)
        {
            *place = origin.place();
        }
        self
    }
}
