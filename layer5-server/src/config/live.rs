//! What takes effect while the service runs, and what needs a restart.
//! In: the configuration that runs and the one that is asked for. Out: the one to run on, and the differences by name.
//! Called from: a reload, `layer5 config diff`, the document.
//! Invariants: what is not listed here needs a restart; whatever changes what the watch finds goes through the log; keys
//! that must fit together are all listed or none of them, so a mixture of two configurations is one.

use super::{Config, layer, secrets};

/// Keys and whole sections that take effect at a reload.
pub(super) const LIVE: &[&str] = &[
    "limits.agents_max",
    "limits.max_age_seconds",
    "limits.max_ahead_seconds",
    "limits.metrics_max",
    "limits.metrics_per_agent_max",
    "limits.series_max",
    "log.level",
    "patterns.metric",
    "patterns.template_bytes_max",
    "patterns.templates_file",
    "sources.otlp",
    "sources.remote_write",
    "store.aggregate_days",
    "store.compaction_bytes_per_second",
    "store.compaction_share",
    "store.disk_bytes_max",
    "store.raw_days",
    "template",
];

/// Whether the value at `path` takes effect at a reload.
#[must_use]
pub fn is_live(path: &str) -> bool {
    LIVE.iter().any(|live| covers(live, path))
}

/// Whether `path` is `section` or lies in it.
pub(super) fn covers(section: &str, path: &str) -> bool {
    path.strip_prefix(section)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// One difference between two configurations.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The key's path.
    pub key: String,
    /// What it was, without secrets; `None`: not set.
    pub from: Option<String>,
    /// What it is to be.
    pub to: Option<String>,
    /// Whether it takes effect at a reload.
    pub is_live: bool,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let or_not_set = |value: &Option<String>| value.clone().unwrap_or("(not set)".into());
        write!(
            f,
            "{}: {} -> {}",
            self.key,
            or_not_set(&self.from),
            or_not_set(&self.to)
        )
    }
}

/// Every difference between two configurations, by key.
#[must_use]
pub fn changes(from: &Config, to: &Config) -> Vec<Change> {
    let (from, to) = (layer::values(&table(from)), layer::values(&table(to)));
    let mut keys: Vec<&String> = from.keys().chain(to.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .filter(|key| from.get(*key) != to.get(*key))
        .map(|key| Change {
            key: key.clone(),
            from: from.get(key).map(secrets::shown),
            to: to.get(key).map(secrets::shown),
            is_live: is_live(key),
        })
        .collect()
}

/// `running` with everything of `asked` that takes effect while it runs.
///
/// # Panics
/// Never: both are configurations, and so is every mixture of whole values.
#[must_use]
pub fn with_live(running: &Config, asked: &Config) -> Config {
    let (mut table, asked) = (self::table(running), self::table(asked));
    for live in LIVE {
        replace(&mut table, &asked, live);
    }
    table
        .try_into()
        .expect("whole values of two configurations make one")
}

fn table(config: &Config) -> toml::Table {
    toml::Table::try_from(config).expect("a configuration is a table")
}

/// Makes what stands at `path` in `into` what stands there in `from`.
fn replace(into: &mut toml::Table, from: &toml::Table, path: &str) {
    match path.split_once('.') {
        Some((section, rest)) => {
            let inner = from.get(section).and_then(toml::Value::as_table);
            let slot = into
                .entry(section)
                .or_insert_with(|| toml::Table::new().into());
            if let Some((slot, inner)) = slot.as_table_mut().zip(inner) {
                replace(slot, inner, rest);
            }
        }
        None => match from.get(path) {
            Some(value) => _ = into.insert(path.to_owned(), value.clone()),
            None => _ = into.remove(path),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{super::parse, *};

    #[test]
    fn live_keys_are_taken_and_the_rest_is_told_by_name() {
        let running = parse(
            "a",
            "[log]\nlevel = \"debug\"\n[patterns.metric.x]\nupper = 3.0\n",
        )
        .expect("legal");
        let asked = parse(
            "b",
            "[http]\nlisten = \"127.0.0.1:1\"\n[limits]\nagents_max = 9\n[patterns.metric.y]\nsensitivity = 2.0\n\
             [layer7]\nurl = \"http://u:secret@h\"\n",
        )
        .expect("legal");
        let next = with_live(&running, &asked);
        assert_eq!(
            (next.log.level.as_str(), next.limits.agents_max),
            ("info", 9)
        );
        assert_eq!(next.patterns, asked.patterns);
        assert_eq!(next.http, running.http);
        let left: Vec<String> = changes(&next, &asked)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            left,
            [
                "http.listen: \"127.0.0.1:8080\" -> \"127.0.0.1:1\"",
                "layer7.url: (not set) -> \"http://u:***@h\"",
            ]
        );
        let all = changes(&running, &asked);
        assert!(
            all.iter()
                .any(|c| c.key == "patterns.metric.x.upper" && c.is_live && c.to.is_none())
        );
        assert_eq!(changes(&asked, &asked), []);
    }
}
