//! A configuration and where each of its values comes from.
//! In: layers, one after the other. Out: for a key, what set it. Called from: [`super::load`], `cli/config`.
//! Invariants: the origin of a value is that of the layer which won; no file holds a password.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::{
    Config, ConfigError,
    layer::{Layer, values},
    secrets,
    templates::templates,
};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file.
    File(String, usize),
    /// The environment's overlay.
    Overlay(String, usize),
    /// The templates file.
    Templates(String, usize),
    /// A variable.
    Variable(String),
    /// A flag.
    Flag(String),
}

impl Origin {
    pub(super) fn place(&self) -> String {
        match self {
            Self::File(path, line) | Self::Overlay(path, line) | Self::Templates(path, line) => {
                format!("{path}:{line}: ")
            }
            Self::Variable(name) => format!("{name}: "),
            Self::Flag(flag) => format!("--set {flag}: "),
        }
    }
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "file {path}:{line}"),
            Self::Overlay(path, line) => write!(f, "overlay {path}:{line}"),
            Self::Templates(path, line) => write!(f, "templates {path}:{line}"),
            Self::Variable(name) => write!(f, "env {name}"),
            Self::Flag(key) => write!(f, "flag --set {key}"),
        }
    }
}

/// A file that a configuration was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRead {
    /// Which.
    pub path: PathBuf,
    /// What it said.
    pub text: String,
}

/// A checked configuration and where it comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What holds.
    pub config: Config,
    /// The files it was read from: the file, the overlay, the templates.
    pub files: Vec<FileRead>,
    pub(super) origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Where `key` was set; `None` where its default holds.
    #[must_use]
    pub fn origin_of(&self, key: &str) -> Option<&Origin> {
        let inside = |path: &str| {
            let rest = path.strip_prefix(key)?;
            rest.starts_with(['.', '[']).then_some(())
        };
        self.origins.get(key).or_else(|| {
            let mut inner = self.origins.iter();
            inner
                .find(|(path, _)| inside(path).is_some())
                .map(|(_, origin)| origin)
        })
    }

    /// The values of a file's layer win over what was there.
    pub(super) fn take(
        &mut self,
        layer: &Layer,
        origin: impl Fn(usize) -> Origin,
    ) -> Result<(), ConfigError> {
        // An array of tables replaces the one of the layer before as a whole.
        for array in layer.table.iter().filter(|(_, value)| value.is_array()) {
            let elements = format!("{}[", array.0);
            self.origins.retain(|path, _| !path.starts_with(&elements));
        }
        for (key, value) in values(&layer.table) {
            let origin = origin(layer.line(&key).unwrap_or(1));
            refuse_password(&key, &value, &origin.place())?;
            self.origins.insert(key, origin);
        }
        Ok(())
    }

    /// The values of a variable or a flag do.
    pub(super) fn note(&mut self, table: &toml::Table, origin: &Origin) {
        for (key, _) in values(table) {
            self.origins.insert(key, origin.clone());
        }
    }

    /// Adds the templates of a file of them.
    pub(super) fn take_templates(&mut self, file: FileRead) -> Result<(), ConfigError> {
        let name = file.path.display().to_string();
        let before = self.config.template.len();
        self.config.template.extend(templates(&name, &file.text)?);
        let layer = Layer::read(&name, &file.text)?;
        for (key, line) in &layer.lines {
            let Some((index, rest)) = key
                .strip_prefix("template[")
                .and_then(|k| k.split_once(']'))
            else {
                continue;
            };
            let index: usize = index.parse().unwrap_or_default();
            let key = format!("template[{}]{rest}", before + index);
            self.origins
                .insert(key, Origin::Templates(name.clone(), *line));
        }
        self.files.push(file);
        Ok(())
    }
}

/// Refuses a value that holds one.
pub(super) fn refuse_password(
    key: &str,
    value: &toml::Value,
    place: &str,
) -> Result<(), ConfigError> {
    let found = value.as_str().is_some_and(secrets::holds_password);
    if !found {
        return Ok(());
    }
    Err(ConfigError::Invalid {
        place: place.to_owned(),
        key: key.to_owned(),
        value: secrets::shown(value),
        legal: "an address without a password; a password comes from the environment or, for Redis, from the file that \
                sources.redis.password_file names"
            .into(),
    })
}
