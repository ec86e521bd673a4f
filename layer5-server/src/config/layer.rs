//! One layer of a configuration, a text in TOML: what it says, and on which line each key stands.
//! In: a text and a name for it. Out: a table, lines by key. Called from: [`mod@super::load`].
//! A key is written as a path: `http.listen`, `cohort[0].parameter[1].low`.
//! Invariants: a layer that was read is a configuration by itself, so what is wrong with it has a line of its own.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::{Config, ConfigError, keys};

/// What one text says.
#[derive(Debug)]
pub(super) struct Layer {
    /// Every key that it sets.
    pub(super) table: toml::Table,
    /// 1-based line of every key and table.
    pub(super) lines: BTreeMap<String, usize>,
}

impl Layer {
    /// Reads `text`; `name` stands in errors.
    pub(super) fn read(name: &str, text: &str) -> Result<Self, ConfigError> {
        parse(name, text)?;
        let table = text.parse().map_err(|error| refusal(name, text, &error))?;
        Ok(Self {
            table,
            lines: lines(text),
        })
    }

    /// The line of `key`, or of the first key in it.
    pub(super) fn line(&self, key: &str) -> Option<usize> {
        let inside = |path: &str| {
            let rest = path.strip_prefix(key)?;
            rest.starts_with(['.', '[']).then_some(())
        };
        self.lines.get(key).copied().or_else(|| {
            let inner = self.lines.iter().filter(|(path, _)| inside(path).is_some());
            inner.map(|(_, line)| *line).min()
        })
    }
}

/// The configuration that `text` holds; `origin` names it in errors. Ranges are not checked here.
///
/// # Errors
/// [`ConfigError::Parse`] with the line, and the nearest known key when a key is unknown.
pub fn parse(origin: &str, text: &str) -> Result<Config, ConfigError> {
    toml::from_str(text).map_err(|error| refusal(origin, text, &error))
}

fn refusal(origin: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start);
    let line = line_at(text, start);
    let message = error.message().trim_end().replace('\n', ", ");
    // A value of the wrong type: the parser knows where it stands, not what it is called.
    let is_value = !message.contains("unknown field") && text.parse::<toml::Table>().is_ok();
    let lines = if is_value {
        lines(text)
    } else {
        BTreeMap::new()
    };
    let here = lines.iter().filter(|(_, at)| **at == line);
    let key = here.map(|(key, _)| key).max_by_key(|key| key.len());
    let hint = hint(error.message());
    // With the one that is meant, the list of all others is noise.
    let message = match message.split_once(", expected") {
        Some((unknown, _)) if !hint.is_empty() => unknown.to_owned(),
        _ => message,
    };
    ConfigError::Parse {
        origin: origin.to_owned(),
        line,
        message: match key {
            Some(key) => format!("{key}: {message}"),
            None => message,
        },
        hint,
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())]
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count()
        + 1
}

/// `unknown field `lisen`, expected one of `listen`, …` -> `; did you mean `listen`?`, and the same for words that are
/// one of a few. A key that belongs elsewhere is told where.
fn hint(message: &str) -> String {
    let is_key = message.contains("unknown field");
    if !is_key && !message.contains("unknown variant") {
        return String::new();
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next() else {
        return String::new();
    };
    let here: Vec<&str> = quoted.collect();
    if let Some(known) = nearest(unknown, here) {
        return format!("; did you mean `{known}`?");
    }
    if !is_key {
        return String::new();
    }
    let everywhere = keys::every_key();
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let names: Vec<String> = everywhere.iter().map(|key| last(&key.path)).collect();
    let found = nearest(unknown, names.iter().map(String::as_str).collect());
    let found = found.and_then(|name| everywhere.iter().find(|key| last(&key.path) == name));
    found.map_or_else(String::new, |key| format!("; did you mean `{}`?", key.path))
}

/// Of what is known, what is most like `unknown`, if it is like it at all.
fn nearest<'a>(unknown: &str, known: Vec<&'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .min()
        .filter(|(distance, known)| *distance <= known.len().div_ceil(2))
        .map(|(_, known)| known)
}

/// The line of every key in `text`, as far as it can be read.
pub(super) fn lines(text: &str) -> BTreeMap<String, usize> {
    let (table, _errors) = DeTable::parse_recoverable(text);
    let mut lines = BTreeMap::new();
    collect("", table.get_ref(), text, &mut lines);
    lines
}

fn collect(path: &str, table: &DeTable<'_>, text: &str, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let path = joined(path, key.get_ref());
        lines.insert(path.clone(), line_at(text, key.span().start));
        match value.get_ref() {
            DeValue::Table(inner) => collect(&path, inner, text, lines),
            DeValue::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    if let DeValue::Table(inner) = item.get_ref() {
                        let path = format!("{path}[{i}]");
                        lines.insert(path.clone(), line_at(text, item.span().start));
                        collect(&path, inner, text, lines);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The path of `key` in the table at `path`.
pub(super) fn joined(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Every value of `table` by its path; an array of tables is taken apart, any other array is one value.
#[must_use]
pub fn values(table: &toml::Table) -> BTreeMap<String, toml::Value> {
    fn walk(path: &str, table: &toml::Table, out: &mut BTreeMap<String, toml::Value>) {
        for (key, value) in table {
            let path = joined(path, key);
            match value {
                toml::Value::Table(inner) => walk(&path, inner, out),
                toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => {
                    for (i, item) in items.iter().enumerate() {
                        if let Some(inner) = item.as_table() {
                            walk(&format!("{path}[{i}]"), inner, out);
                        }
                    }
                }
                value => _ = out.insert(path, value.clone()),
            }
        }
    }
    let mut out = BTreeMap::new();
    walk("", table, &mut out);
    out
}

/// Puts what `over` says on top of `under`: tables are joined, everything else is replaced.
pub(super) fn overlaid(under: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(value)) => overlaid(inner, value),
            (_, value) => _ = under.insert(key, value),
        }
    }
}
