//! Where a configuration comes from: the file, the environment's overlay, variables, then flags; the last one wins.
//! In: paths, variables, flags. Out: a checked [`Config`] with the origin of every value, or an error with file, line
//! and the nearest known key. Called from: the CLI, at the start and at every reload.
//! Invariants: nothing is half applied; no file holds a password.

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    Config, ConfigError,
    layer::{Layer, overlaid, values},
    origin::{FileRead, Loaded, Origin, refuse_password},
    variables,
};

/// Largest file of a configuration, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

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
        for (name, key, value) in variables::keys(&self.variables) {
            let over = variables::one_key(&name, &key, &value)?;
            loaded.note(&over, &Origin::Variable(name));
            overlaid(&mut table, over);
        }
        for (key, value) in &self.flags {
            let name = format!("--set {key}");
            let over = variables::one_key(&name, key, value)?;
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

#[cfg(test)]
mod tests {
    use super::super::layer::parse;
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
