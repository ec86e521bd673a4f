//! The range of every number that has one: checked, shown in the schema and in the document from this one table.
//! In: a configuration as a table. Out: the first key out of its range. Called from: [`Config::check`](super::Config::check).
//! Invariants: written in the positive, so NaN is refused; a key that no configuration has is a failing test.

use super::{ConfigError, layer};

/// What one number may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    /// Its path, with `[]` for any element of an array and `*` for any name.
    pub(super) key: &'static str,
    /// Least value.
    pub(super) low: f64,
    /// Greatest value.
    pub(super) high: f64,
    /// Whether the least value itself is refused.
    pub(super) is_open: bool,
}

/// A year: what is longer is a slip of the pen, and would not fit into a duration at some point.
const YEAR_SECONDS: f64 = 31_536_000.0;
/// A century.
const DAYS_MAX: f64 = 36_500.0;
/// No limit that anybody would meet.
const BOUNDLESS: f64 = 1e18;
const KIB: f64 = 1024.0;
const MIB: f64 = 1_048_576.0;
const GIB: f64 = 1_073_741_824.0;

const fn within(key: &'static str, low: f64, high: f64) -> Range {
    Range {
        key,
        low,
        high,
        is_open: false,
    }
}

const fn above(key: &'static str, low: f64, high: f64) -> Range {
    Range {
        key,
        low,
        high,
        is_open: true,
    }
}

/// Every range, in the order of the document.
pub(super) const RANGES: &[Range] = &[
    within("http.body_bytes_max", KIB, GIB),
    within("http.decoded_bytes_max", KIB, 4.0 * GIB),
    within("http.bodies_bytes_max", 2.0 * KIB, 64.0 * GIB),
    within("http.full_wait_seconds", 0.0, 60.0),
    above("http.request_timeout_seconds", 0.0, YEAR_SECONDS),
    within("http.connections_max", 1.0, MIB),
    within("http.requests_max", 1.0, MIB),
    within("http.read_ahead_bytes", 8.0 * KIB, 16.0 * MIB),
    within("store.lock_wait_seconds", 0.0, 3600.0),
    above("store.raw_days", 0.0, DAYS_MAX),
    above("store.aggregate_days", 0.0, DAYS_MAX),
    within("store.aggregate_seconds", 1.0, 86_400.0),
    // The log, two snapshots and the views need room besides history.
    within("store.disk_bytes_max", 256.0 * MIB, BOUNDLESS),
    above("store.compaction_share", 0.0, 1.0),
    within("store.compaction_bytes_per_second", KIB, 1e12),
    within("store.snapshot_samples", 1.0, 1e12),
    within("store.head_samples_max", 4.0 * KIB, 64.0 * MIB),
    within("store.cache_bytes", MIB, 64.0 * GIB),
    within("backup.every_hours", 0.0, 8760.0),
    within("backup.keep_last", 0.0, 10_000.0),
    within("backup.keep_daily", 0.0, 10_000.0),
    within("backup.keep_weekly", 0.0, 10_000.0),
    above("limits.max_age_seconds", 0.0, 100.0 * YEAR_SECONDS),
    above("limits.max_ahead_seconds", 0.0, YEAR_SECONDS),
    above("limits.late_seconds", 0.0, YEAR_SECONDS),
    within("limits.agents_max", 1.0, 1e7),
    within("limits.metrics_max", 8.0, 1e6),
    within("limits.metrics_per_agent_max", 1.0, 1e5),
    within("limits.series_max", 1.0, 5e7),
    above("limits.dedup_window_seconds", 0.0, YEAR_SECONDS),
    within("limits.dedup_entries_max", KIB, GIB),
    within("limits.dead_letter_bytes_max", 0.0, BOUNDLESS),
    within("pipeline.intake_capacity", KIB, 64.0 * MIB),
    within("pipeline.shard_capacity", KIB, 64.0 * MIB),
    within("pipeline.shards", 0.0, 256.0),
    within("pipeline.group_samples_max", KIB, 4.0 * MIB),
    within("pipeline.tick_millis", 1.0, 60_000.0),
    within("sources.redis.partitions", 0.0, 1024.0),
    within("sources.redis.batch_len", 1.0, 65_536.0),
    within("sources.redis.batches_in_flight", 1.0, 64.0),
    above("sources.redis.claim_idle_seconds", 0.0, YEAR_SECONDS),
    within("sources.redis.dead_len_max", 0.0, 1e9),
    above("sources.redis.timeout_seconds", 0.0, YEAR_SECONDS),
    within("sources.redis.reply_bytes_max", 64.0 * KIB, 4.0 * GIB),
    above("sources.pull.poll_seconds", 0.0, YEAR_SECONDS),
    above("sources.pull.timeout_seconds", 0.0, YEAR_SECONDS),
    within("sources.pull.pages_per_poll_max", 1.0, MIB),
    within("sources.pull.page_bytes_max", KIB, GIB),
    above("sources.websocket.timeout_seconds", 0.0, YEAR_SECONDS),
    above("sources.websocket.idle_seconds", 0.0, YEAR_SECONDS),
    within("sources.websocket.message_bytes_max", 125.0, 64.0 * MIB),
    within("sources.remote_write.metric_bytes_max", 1.0, 4096.0),
    within("sources.otlp.metric_bytes_max", 1.0, 4096.0),
    within("patterns.template_bytes_max", 0.0, 1e12),
    above("patterns.metric.*.ahead_seconds", 0.0, YEAR_SECONDS),
    above("sources.follow.poll_seconds", 0.0, YEAR_SECONDS),
    above("layer7.timeout_seconds", 0.0, YEAR_SECONDS),
    above("layer8.timeout_seconds", 0.0, YEAR_SECONDS),
    within("log.file_bytes_max", KIB, 1024.0 * GIB),
    above("log.file_age_seconds", 0.0, YEAR_SECONDS),
    within("log.files_max", 1.0, 10_000.0),
    within("cohort[].canary_share", 0.0, 1.0),
    within("cohort[].holdout_share", 0.0, 0.5),
    within("cohort[].window_len", 3.0, 10_000.0),
    within("cohort[].settle_len", 0.0, 10_000.0),
    within("cohort[].trials_max", 1.0, 100_000.0),
    within("cohort[].largest_step", 1e-3, 1.0),
    within("cohort[].objective.guard_keep", 0.0, 1.0),
    within("template[].fit_min", 0.5, 1.0),
    within("template[].height_min", 0.0, BOUNDLESS),
];

impl Range {
    /// The legal values in words.
    pub(super) fn legal(&self) -> String {
        let Self { low, high, .. } = self;
        match self.is_open {
            _ if *high >= BOUNDLESS => format!("{low} or more"),
            true => format!("above {low}, at most {high}"),
            false => format!("{low} to {high}"),
        }
    }

    fn holds(&self, value: f64) -> bool {
        value <= self.high && (value > self.low || (!self.is_open && value >= self.low))
    }
}

/// The range of the number at `path`, if it has one.
pub(super) fn of(path: &str) -> Option<&'static Range> {
    RANGES.iter().find(|range| fits(range.key, path))
}

/// Whether `path` is one of those that `pattern` means.
pub(super) fn fits(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('.');
    let same = |wanted: &str, part: &str| match wanted.strip_suffix("[]") {
        _ if wanted == "*" || wanted == part => true,
        Some(name) => part
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('[') && rest.ends_with(']')),
        None => false,
    };
    pattern
        .split('.')
        .all(|wanted| parts.next().is_some_and(|part| same(wanted, part)))
        && parts.next().is_none()
}

/// Checks every number of `table`.
pub(super) fn check(table: &toml::Table) -> Result<(), ConfigError> {
    for (path, value) in layer::values(table) {
        let Some(range) = of(&path) else { continue };
        let number = match &value {
            toml::Value::Integer(number) => *number as f64,
            toml::Value::Float(number) => *number,
            _ => continue,
        };
        if !range.holds(number) {
            return Err(ConfigError::invalid(&path, value, &range.legal()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_elements_and_names() {
        for (pattern, path, expected) in [
            ("http.listen", "http.listen", true),
            ("cohort[].window_len", "cohort[3].window_len", true),
            (
                "cohort[].parameter[].low",
                "cohort[0].parameter[12].low",
                true,
            ),
            (
                "patterns.metric.*.upper",
                "patterns.metric.latency_ms.upper",
                true,
            ),
            ("cohort[].window_len", "cohort.window_len", false),
            ("http.listen", "http.listen.port", false),
            ("http.listen", "http", false),
        ] {
            assert_eq!(fits(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn both_ends_and_what_is_no_number() {
        let closed = within("x", 1.0, 2.0);
        assert!(closed.holds(1.0) && closed.holds(2.0) && !closed.holds(2.1) && !closed.holds(0.9));
        let open = above("x", 0.0, 2.0);
        assert!(!open.holds(0.0) && open.holds(1e-9));
        assert!(!open.holds(f64::NAN) && !closed.holds(f64::INFINITY));
    }
}
