//! Where a configuration comes from: the file, then the environment, then flags; the last one wins.
//! In: a path and the environment's variables. Out: a checked [`Config`], or an error with file, line and the nearest
//! known key. Called from: the CLI.
//! Environment: `REDIS_URL`, `LAYER7_API_URL`, `LAYER8_API_URL`, `DEPLOYMENT_COLOR`, `LAYER5_ROLE` and `RUST_LOG` as the contracts name them, and
//! `LAYER5_<SECTION>__<KEY>` for any key of a section, such as `LAYER5_HTTP__LISTEN` or
//! `LAYER5_SOURCES__REDIS__STREAM`.

use std::{fmt::Display, path::Path};

use super::Config;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
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
    #[error("{key} = {value} is not accepted, legal: {legal}")]
    Invalid {
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
            key: key.into(),
            value: value.to_string(),
            legal: legal.into(),
        }
    }
}

/// Reads and checks a configuration: `path` if given, then `env` (name and value pairs).
///
/// # Errors
/// As [`ConfigError`] says; nothing is half applied.
pub fn load(
    path: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let (origin, text) = match path {
        None => ("defaults".to_owned(), String::new()),
        Some(path) => {
            let origin = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
                path: origin.clone(),
                source,
            })?;
            (origin, text)
        }
    };
    let config = parse(&origin, &text)?;
    let config = with_environment(config, env)?;
    config.check()?;
    Ok(config)
}

/// The configuration that `text` holds; `origin` names it in errors. Ranges are not checked here.
///
/// # Errors
/// [`ConfigError::Parse`] with the line, and the nearest known key when a key is unknown.
pub fn parse(origin: &str, text: &str) -> Result<Config, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        ConfigError::Parse {
            origin: origin.to_owned(),
            line: text[..start.min(text.len())].matches('\n').count() + 1,
            message: error.message().trim_end().to_owned(),
            hint: nearest_key(error.message()),
        }
    })
}

/// `unknown field `lisen`, expected one of `listen`, …` -> `, did you mean `listen`?`
fn nearest_key(message: &str) -> String {
    if !message.contains("unknown field") {
        return String::new();
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next() else {
        return String::new();
    };
    quoted
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .min()
        .filter(|(distance, known)| *distance <= known.len().div_ceil(2))
        .map_or_else(String::new, |(_, known)| {
            format!("; did you mean `{known}`?")
        })
}

fn with_environment(
    mut config: Config,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let mut env: Vec<_> = env.into_iter().collect();
    env.sort();
    for (name, value) in env {
        match name.as_str() {
            "LAYER7_API_URL" => config.layer7.url = Some(value),
            "LAYER8_API_URL" => config.layer8.url = Some(value),
            "REDIS_URL" => config.sources.redis.url = Some(value).filter(|url| !url.is_empty()),
            "DEPLOYMENT_COLOR" => config.color = value,
            "RUST_LOG" => config.log.level = value,
            "LAYER5_ROLE" => config.role = parse(&name, &format!("role = {value:?}"))?.role,
            _ => {
                let key = name
                    .strip_prefix("LAYER5_")
                    .filter(|key| key.contains("__"));
                if let Some(key) = key {
                    config = overridden(&config, &name, key, &value)?;
                }
            }
        }
    }
    Ok(config)
}

/// `config` with one key of one section, `SECTION__KEY` or `SECTION__SUBSECTION__KEY`, replaced.
fn overridden(config: &Config, name: &str, key: &str, value: &str) -> Result<Config, ConfigError> {
    let path = key.to_ascii_lowercase();
    let (sections, key) = path.rsplit_once("__").unwrap_or(("", &path));
    let mut table = toml::Table::try_from(config).expect("a configuration is a table");
    let parsed = toml::from_str::<toml::Table>(&format!("v = {value}"))
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut section = Some(&mut table);
    for name in sections.split("__") {
        section = section.and_then(|table| {
            let slot = table.entry(name);
            slot.or_insert_with(|| toml::Table::new().into())
                .as_table_mut()
        });
    }
    if let Some(section) = section {
        section.insert(key.to_owned(), parsed);
    }
    let text = toml::to_string(&table).expect("a table is text");
    parse(name, &text).map_err(|error| match error {
        ConfigError::Parse {
            origin,
            message,
            hint,
            ..
        } => ConfigError::Parse {
            origin,
            line: 1,
            message,
            hint,
        },
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = parse("layer5.toml", text)
            .and_then(|c| c.check())
            .expect_err(text);
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn an_empty_text_is_the_defaults() {
        let config = parse("x", "").expect("no key is required");
        assert_eq!(config, Config::default());
        config.check().expect("the defaults are legal");
    }

    #[test]
    fn a_typo_is_answered_with_line_and_nearest_key() {
        refused(
            "\n[http]\nlisen = \"127.0.0.1:1\"\n",
            "layer5.toml:3: unknown field `lisen`",
        );
        refused(
            "[http]\nlisen = \"127.0.0.1:1\"\n",
            "did you mean `listen`?",
        );
        refused("[htp]\n", "did you mean `http`?");
    }

    #[test]
    fn a_wrong_value_names_key_value_and_way_out() {
        refused("[pipeline]\ntick_millis = 0\n", "pipeline.tick_millis = 0");
        refused("[http]\nlisten = \"0.0.0.0:8080\"\n", "auth.tokens_file");
        refused("[http]\nlisten = 5\n", "layer5.toml:2");
        let cohort = "[[cohort]]\nname = \"f\"\n[[cohort.parameter]]\nname = \"n\"\ntype = \"int\"\nlow = 9\nhigh = 1\ninitial = 3\n";
        refused(cohort, "low < high");
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let env = [
            ("LAYER7_API_URL", "http://l7"),
            ("LAYER5_HTTP__LISTEN", "127.0.0.1:9"),
            ("HOME", "/"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()));
        let config = load(None, env).expect("legal");
        assert_eq!(config.layer7.url.as_deref(), Some("http://l7"));
        assert_eq!(config.http.listen.port(), 9);
        let typo = [("LAYER5_HTTP__LISEN".to_owned(), "127.0.0.1:9".to_owned())];
        assert!(
            load(None, typo)
                .expect_err("typo")
                .to_string()
                .contains("LAYER5_HTTP__LISEN")
        );
    }
}
