//! Where a configuration comes from: the file, the environment's overlay, variables, then flags; the last one wins.
//! In: paths, variables, flags. Out: a checked [`Config`] with the origin of every value, or an error with file, line
//! and the nearest known key. Called from: the CLI, at the start and at every reload.
//! Variables: `REDIS_URL`, `LAYER7_API_URL`, `LAYER8_API_URL`, `DEPLOYMENT_COLOR`, `LAYER5_ROLE` and `RUST_LOG` as the contracts name them, and
//! `LAYER5_<SECTION>__<KEY>` for any key of a section, such as `LAYER5_HTTP__LISTEN` or
//! `LAYER5_SOURCES__REDIS__STREAM`.
//! Invariants: nothing is half applied; no file holds a password.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    io::Read,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    Config, TemplateConfig,
    layer::{Layer, overlaid, parse, values},
    secrets,
};

/// Largest file of a configuration, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

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
    fn placed(mut self, loaded: &Loaded) -> Self {
        if let Self::Invalid { place, key, .. } = &mut self
            && let Some(origin) = loaded.origin_of(key)
        {
            *place = origin.place();
        }
        self
    }
}

/// What the service runs in: chooses the overlay that lies beside the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// On a developer's machine.
    Development,
    /// Like production, for trying out.
    Staging,
    /// What counts.
    Production,
}

impl Environment {
    /// As it stands in the overlay's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }
}

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
    fn place(&self) -> String {
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
    origins: BTreeMap<String, Origin>,
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
}

/// Everything that a configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The file; without one the defaults are what variables and flags change.
    pub file: Option<PathBuf>,
    /// The environment, whose overlay lies beside the file.
    pub environment: Option<Environment>,
    /// Names and values of variables.
    pub variables: Vec<(String, String)>,
    /// `(key, value)` of each `--set`.
    pub flags: Vec<(String, String)>,
}

/// Reads and checks a configuration: `path` if given, then `variables`.
///
/// # Errors
/// As [`ConfigError`] says; nothing is half applied.
pub fn load(
    path: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let layers = Layers {
        file: path.map(Path::to_owned),
        variables: variables.into_iter().collect(),
        ..Layers::default()
    };
    Ok(layers.load()?.config)
}

impl Layers {
    /// The file and the overlay, as far as they were asked for.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let overlay = self.file.as_deref().zip(self.environment);
        let overlay = overlay.map(|(file, environment)| overlay_beside(file, environment));
        self.file.iter().cloned().chain(overlay).collect()
    }

    /// Reads the files, then as [`Self::load_texts`].
    ///
    /// # Errors
    /// As [`ConfigError`] says.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut files = Vec::new();
        for (i, path) in self.paths().into_iter().enumerate() {
            let hint = match i {
                0 => "",
                _ => "; an environment needs its overlay beside the file, which may be empty",
            };
            files.push(read(&path, hint)?);
        }
        self.load_texts(files, |path| {
            read(path, "; patterns.templates_file names it")
        })
    }

    /// Makes one configuration of the file's text, the overlay's, what `templates` reads, the variables and the flags.
    ///
    /// # Errors
    /// As [`ConfigError`] says.
    pub fn load_texts(
        &self,
        files: Vec<FileRead>,
        templates: impl FnOnce(&Path) -> Result<FileRead, ConfigError>,
    ) -> Result<Loaded, ConfigError> {
        let mut table = toml::Table::new();
        let mut loaded = Loaded {
            config: Config::default(),
            files: Vec::new(),
            origins: BTreeMap::new(),
        };
        for (i, file) in files.into_iter().enumerate() {
            let name = file.path.display().to_string();
            let layer = Layer::read(&name, &file.text)?;
            loaded.take(&layer, |line| match i {
                0 => Origin::File(name.clone(), line),
                _ => Origin::Overlay(name.clone(), line),
            })?;
            overlaid(&mut table, layer.table);
            loaded.files.push(file);
        }
        for (name, key, value) in self.variable_keys() {
            let over = one_key(&name, &key, &value)?;
            loaded.note(&over, &Origin::Variable(name));
            overlaid(&mut table, over);
        }
        for (key, value) in &self.flags {
            let name = format!("--set {key}");
            let over = one_key(&name, key, value)?;
            for (key, value) in values(&over) {
                refuse_password(&key, &value, &format!("{name}: "))?;
            }
            loaded.note(&over, &Origin::Flag(key.clone()));
            overlaid(&mut table, over);
        }
        // Every layer was a configuration by itself, so what can be wrong now is how they fit together.
        loaded.config = table
            .try_into()
            .map_err(|error: toml::de::Error| ConfigError::Parse {
                origin: "the layers together".into(),
                line: 1,
                message: error.message().trim_end().into(),
                hint: String::new(),
            })?;
        if let Some(path) = loaded.config.patterns.templates_file.clone() {
            loaded.take_templates(templates(&path)?)?;
        }
        match loaded.config.check() {
            Ok(()) => Ok(loaded),
            Err(error) => Err(error.placed(&loaded)),
        }
    }

    /// Variable, key and value of everything in the environment that means us.
    fn variable_keys(&self) -> Vec<(String, String, String)> {
        let mut keys = Vec::new();
        for (name, value) in &self.variables {
            let key = match name.as_str() {
                "LAYER7_API_URL" => "layer7.url".to_owned(),
                "LAYER8_API_URL" => "layer8.url".to_owned(),
                "REDIS_URL" if value.is_empty() => continue,
                "REDIS_URL" => "sources.redis.url".to_owned(),
                "DEPLOYMENT_COLOR" => "color".to_owned(),
                "LAYER5_ROLE" => "role".to_owned(),
                "RUST_LOG" => "log.level".to_owned(),
                _ => match name
                    .strip_prefix("LAYER5_")
                    .filter(|key| key.contains("__"))
                {
                    Some(key) => key.to_ascii_lowercase().replace("__", "."),
                    None => continue,
                },
            };
            keys.push((name.clone(), key, value.clone()));
        }
        // In the order of their names: the same whatever the order of the environment.
        keys.sort();
        keys
    }
}

impl Loaded {
    fn take(&mut self, layer: &Layer, origin: impl Fn(usize) -> Origin) -> Result<(), ConfigError> {
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

    fn note(&mut self, table: &toml::Table, origin: &Origin) {
        for (key, _) in values(table) {
            self.origins.insert(key, origin.clone());
        }
    }

    /// Adds the templates of a file of them.
    fn take_templates(&mut self, file: FileRead) -> Result<(), ConfigError> {
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

/// The `[[template]]` tables of a file that holds nothing else; ranges are not checked here.
///
/// # Errors
/// [`ConfigError::Parse`] with the line.
pub fn templates(name: &str, text: &str) -> Result<Vec<TemplateConfig>, ConfigError> {
    let config = parse(name, text)?;
    let others = text.parse::<toml::Table>().unwrap_or_default();
    if let Some(other) = others.keys().find(|key| *key != "template") {
        let lines = super::layer::lines(text);
        return Err(ConfigError::Parse {
            origin: name.to_owned(),
            line: lines.get(other).copied().unwrap_or(1),
            message: format!("`{other}` has no place in a file of templates"),
            hint: "; it holds [[template]] tables and nothing else".into(),
        });
    }
    Ok(config.template)
}

/// The `[[template]]` tables of a file that holds nothing else, checked.
///
/// # Errors
/// [`ConfigError`] with the line.
pub fn checked_templates(name: &str, text: &str) -> Result<Vec<TemplateConfig>, ConfigError> {
    let config = Config {
        template: templates(name, text)?,
        ..Config::default()
    };
    let lines = super::layer::lines(text);
    match config.check() {
        Ok(()) => Ok(config.template),
        Err(mut error) => {
            if let ConfigError::Invalid { place, key, .. } = &mut error {
                let line = lines.get(key.as_str()).copied().unwrap_or(1);
                *place = format!("{name}:{line}: ");
            }
            Err(error)
        }
    }
}

fn overlay_beside(file: &Path, environment: Environment) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let end = file.extension().unwrap_or_default().to_string_lossy();
    let dot = if end.is_empty() { "" } else { "." };
    file.with_file_name(format!("{stem}.{}{dot}{end}", environment.as_str()))
}

/// Reads one file, which must be of a sensible size.
fn read(path: &Path, hint: &str) -> Result<FileRead, ConfigError> {
    let refused = |source: std::io::Error| ConfigError::Read {
        path: path.display().to_string(),
        source,
        hint: hint.to_owned(),
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(refused)?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(refused)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let message = format!("it is larger than {FILE_BYTES_MAX} bytes");
        return Err(refused(std::io::Error::other(message)));
    }
    Ok(FileRead {
        path: path.to_owned(),
        text,
    })
}

fn refuse_password(key: &str, value: &toml::Value, place: &str) -> Result<(), ConfigError> {
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

/// A table with the one key that a variable or a flag sets. The value is taken as TOML has it, else as text.
fn one_key(name: &str, key: &str, value: &str) -> Result<toml::Table, ConfigError> {
    let nested = |value: toml::Value| {
        let mut parts = key.rsplit('.');
        let mut table = toml::Table::new();
        table.insert(parts.next().unwrap_or_default().to_owned(), value);
        for section in parts {
            table = toml::Table::from_iter([(section.to_owned(), table.into())]);
        }
        table
    };
    let checked = |table: toml::Table| {
        let text = toml::to_string(&table).expect("a table is text");
        match parse(name, &text) {
            Ok(_) => Ok(table),
            // The text is ours, so its lines mean nothing to whoever set the variable.
            Err(ConfigError::Parse { message, hint, .. }) => Err(ConfigError::Parse {
                origin: name.to_owned(),
                line: 1,
                message,
                hint,
            }),
            Err(other) => Err(other),
        }
    };
    let as_text = || nested(toml::Value::String(value.to_owned()));
    let given = toml::from_str::<toml::Table>(&format!("v = {value}"));
    match given.ok().and_then(|mut table| table.remove("v")) {
        None => checked(as_text()),
        Some(given) => {
            checked(nested(given)).or_else(|error| checked(as_text()).map_err(|_| error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(given: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        given.iter().map(owned).collect()
    }

    fn file(path: &str, text: &str) -> FileRead {
        FileRead {
            path: path.into(),
            text: text.into(),
        }
    }

    fn texts(layers: &Layers, texts: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
        let files = texts.iter().map(|(path, text)| file(path, text)).collect();
        let templates =
            "\n[[template]]\nname = \"t\"\nmetric = \"m\"\nvalues = [0.0, 1.0, 2.0, 0.0]\n";
        layers.load_texts(files, |path| {
            Ok(file(&path.display().to_string(), templates))
        })
    }

    #[test]
    fn an_empty_text_is_the_defaults() {
        let config = parse("x", "").expect("no key is required");
        assert_eq!(config, Config::default());
        config.check().expect("the defaults are legal");
    }

    #[test]
    fn every_layer_wins_over_the_one_before_and_origins_say_which_did() {
        let layers = Layers {
            environment: Some(Environment::Production),
            variables: variables(&[
                ("LAYER5_LIMITS__AGENTS_MAX", "7"),
                ("HOME", "/"),
                ("LAYER7_API_URL", "http://l7"),
            ]),
            flags: variables(&[("log.level", "warn")]),
            ..Layers::default()
        };
        let base = "[log]\nlevel = \"debug\"\nformat = \"text\"\n[limits]\nagents_max = 5\nseries_max = 50\n\
                    [[cohort]]\nname = \"a\"\nseed = 3\n[[cohort]]\nname = \"b\"\n";
        let over = "[limits]\nseries_max = 60\n[patterns]\ntemplates_file = \"t.toml\"\n[[cohort]]\nname = \"c\"\n";
        let loaded =
            texts(&layers, &[("l5.toml", base), ("l5.production.toml", over)]).expect("legal");
        let config = &loaded.config;
        assert_eq!(
            (config.log.level.as_str(), config.limits.agents_max),
            ("warn", 7)
        );
        assert_eq!(config.limits.series_max, 60);
        assert_eq!(config.cohort.len(), 1);
        assert_eq!(config.template[0].name, "t");
        for (key, origin) in [
            ("log.level", "flag --set log.level"),
            ("log.format", "file l5.toml:3"),
            ("limits.agents_max", "env LAYER5_LIMITS__AGENTS_MAX"),
            ("limits.series_max", "overlay l5.production.toml:2"),
            ("layer7.url", "env LAYER7_API_URL"),
            ("cohort[0].name", "overlay l5.production.toml:6"),
            ("template[0].name", "templates t.toml:3"),
        ] {
            let found = loaded.origin_of(key).map(ToString::to_string);
            assert_eq!(found.as_deref(), Some(origin), "{key}");
        }
        assert_eq!(loaded.origin_of("cohort[1].name"), None);
        assert_eq!(loaded.origin_of("cohort[0].seed"), None);
        assert_eq!(loaded.origin_of("http.listen"), None);
    }

    #[test]
    fn a_mistake_of_a_variable_names_it() {
        for (name, value, says) in [
            (
                "LAYER5_HTTP__LISEN",
                "127.0.0.1:9",
                "did you mean `listen`?",
            ),
            (
                "LAYER5_LIMITS__AGENTS_MAX",
                "0",
                "LAYER5_LIMITS__AGENTS_MAX: limits.agents_max = 0",
            ),
            (
                "LAYER5_LIMITS__AGENTS_MAX",
                "many",
                "LAYER5_LIMITS__AGENTS_MAX",
            ),
        ] {
            let layers = Layers {
                variables: variables(&[(name, value)]),
                ..Layers::default()
            };
            let error = layers.load().expect_err("a mistake").to_string();
            assert!(error.contains(name) && error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_number_may_be_a_text() {
        let layers = Layers {
            variables: variables(&[
                ("LAYER5_SOURCES__REDIS__CONSUMER", "5"),
                ("REDIS_URL", "redis://:secret@r"),
            ]),
            ..Layers::default()
        };
        let config = layers.load().expect("legal").config;
        assert_eq!(config.sources.redis.consumer, "5");
    }

    #[test]
    fn a_password_in_a_file_or_a_flag_is_refused_and_not_shown() {
        let text = "[sources.redis]\nurl = \"redis://:s3cret@host\"\n";
        let in_file = texts(&Layers::default(), &[("l5.toml", text)]).expect_err("refused");
        let layers = Layers {
            flags: variables(&[("layer7.url", "http://u:s3cret@host")]),
            ..Layers::default()
        };
        for (error, place) in [
            (in_file, "l5.toml:2: "),
            (layers.load().expect_err("refused"), "--set layer7.url: "),
        ] {
            let error = error.to_string();
            assert!(
                error.starts_with(place) && !error.contains("s3cret"),
                "{error}"
            );
        }
    }
}
