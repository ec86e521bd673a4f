//! Keys that are set outside of files: by variables of the environment and by `--set`.
//! In: names and values. Out: tables of one key. Called from: [`super::load`].
//! Variables: `REDIS_URL`, `LAYER7_API_URL`, `LAYER8_API_URL`, `DEPLOYMENT_COLOR`, `LAYER5_ROLE` and `RUST_LOG` as the
//! contracts name them, and `LAYER5_<SECTION>__<KEY>` for any key of a section, such as `LAYER5_HTTP__LISTEN` or
//! `LAYER5_SOURCES__REDIS__STREAM`.

use super::{ConfigError, layer::parse};

/// Variable, key and value of everything among `variables` that means us.
pub(super) fn keys(variables: &[(String, String)]) -> Vec<(String, String, String)> {
    let mut keys = Vec::new();
    for (name, value) in variables {
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

/// A table with the one key that a variable or a flag sets. The value is taken as TOML has it, else as text.
pub(super) fn one_key(name: &str, key: &str, value: &str) -> Result<toml::Table, ConfigError> {
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
