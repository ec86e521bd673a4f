//! What an operator can set, with the default of every key and the limit of everything that can grow.
//! In: TOML, environment and flags, through [`load`]. Out: plain structs, passed down field by field.
//! Invariants: a `Config` that left [`Config::check`] can be run; unknown keys are refused; addresses are loopback
//! unless tokens are set up.

mod cohort;
mod load;
mod memory;
mod sources;

use std::{net::SocketAddr, path::PathBuf};

pub use cohort::{CohortConfig, ParameterConfig, ParameterType};
pub use load::{ConfigError, load, parse};
use serde::{Deserialize, Serialize};
pub use sources::{
    FollowConfig, OtlpConfig, PullConfig, RedisConfig, RemoteWriteConfig, SourcesConfig,
    WebSocketConfig,
};

/// Everything that can be configured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The API.
    pub http: HttpConfig,
    /// The metrics page.
    pub metrics: MetricsConfig,
    /// Who may do what.
    pub auth: AuthConfig,
    /// What is kept, and where.
    pub store: StoreConfig,
    /// How much is taken.
    pub limits: LimitsConfig,
    /// Rings, groups and shards.
    pub pipeline: PipelineConfig,
    /// The ways in besides HTTP push.
    pub sources: SourcesConfig,
    /// The detectors.
    pub patterns: PatternsConfig,
    /// The evolution layer.
    pub layer7: NeighbourConfig,
    /// The resource layer.
    pub layer8: NeighbourConfig,
    /// The log.
    pub log: LogConfig,
    /// Blue or green, from `DEPLOYMENT_COLOR`; empty outside a blue-green deployment.
    pub color: String,
    /// What this instance is for: `active` or `shadow`; also from `LAYER5_ROLE`.
    pub role: Role,
    /// The fleets to tune; without one Layer5 watches and recommends nothing.
    pub cohort: Vec<CohortConfig>,
}

/// What an instance is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Takes reports from everywhere and delivers what it recommends: the one writer of its data folder.
    #[default]
    Active,
    /// Works on what the instance at `sources.follow.url` has taken, delivers nothing, calls no neighbour: a candidate
    /// whose findings are compared before the traffic is switched.
    Shadow,
}

/// The API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Largest body as sent, bytes.
    pub body_bytes_max: usize,
    /// Largest body after gzip or zstd, bytes.
    pub decoded_bytes_max: usize,
    /// Bodies of reports held at once, as sent and as decoded, bytes; beyond it the answer is 429.
    pub bodies_bytes_max: usize,
    /// How long a body waits for room before it is answered 429, s.
    pub full_wait_seconds: f64,
    /// Longest time for one request, s.
    pub request_timeout_seconds: f64,
    /// Most connections open at once; beyond it they wait in the kernel.
    pub connections_max: usize,
    /// Bytes that a connection reads ahead of what its request's handler takes.
    pub read_ahead_bytes: usize,
    /// Most requests under way at once; beyond it the answer is 503.
    pub requests_max: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8080).into(),
            body_bytes_max: 16 << 20,
            decoded_bytes_max: 64 << 20,
            bodies_bytes_max: 96 << 20,
            full_wait_seconds: 0.5,
            request_timeout_seconds: 30.0,
            connections_max: 2048,
            read_ahead_bytes: 64 << 10,
            requests_max: 1024,
        }
    }
}

/// The metrics page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Where to listen.
    pub listen: SocketAddr,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 9090).into(),
        }
    }
}

/// Who may do what. Without a token file the API is open, and then it listens on loopback only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// A file with one `role token` a line; role is `reader`, `sender` or `operator`.
    pub tokens_file: Option<PathBuf>,
    /// Listen beyond loopback without tokens: for networks that keep strangers out by themselves.
    pub allow_anonymous: bool,
}

/// What is kept, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// The folder of everything durable; one process at a time.
    pub data_dir: PathBuf,
    /// How long to wait for the folder when another process has it, s; connections wait with it. 0: not at all.
    pub lock_wait_seconds: f64,
    /// How long samples are kept, days.
    pub raw_days: f64,
    /// How long their aggregates are kept, days.
    pub aggregate_days: f64,
    /// Width of an aggregate, s.
    pub aggregate_seconds: f64,
    /// Most bytes of the data folder; the oldest samples go first.
    pub disk_bytes_max: u64,
    /// Share of one core's time that merging history may take.
    pub compaction_share: f64,
    /// Bytes a second that merging history may write.
    pub compaction_bytes_per_second: u64,
    /// Samples between two snapshots: what must be replayed at most after a crash.
    pub snapshot_samples: u64,
    /// Most samples in memory that no block of history has yet; beyond it a commit writes one itself.
    pub head_samples_max: usize,
    /// Page caches of log and views, bytes.
    pub cache_bytes: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            data_dir: "layer5-data".into(),
            lock_wait_seconds: 0.0,
            raw_days: 7.0,
            aggregate_days: 30.0,
            aggregate_seconds: 300.0,
            disk_bytes_max: 20 << 30,
            compaction_share: 0.2,
            compaction_bytes_per_second: 32 << 20,
            snapshot_samples: 2_000_000,
            head_samples_max: 1 << 21,
            cache_bytes: 40 << 20,
        }
    }
}

/// How much is taken; what lies beyond is refused with its reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Oldest accepted report, s before now.
    pub max_age_seconds: f64,
    /// Furthest accepted report, s after now.
    pub max_ahead_seconds: f64,
    /// How far a report may be behind the newest of its agent before it counts as too late, s.
    pub late_seconds: f64,
    /// Most agents known.
    pub agents_max: usize,
    /// Most metric names known.
    pub metrics_max: usize,
    /// Most metrics of one agent.
    pub metrics_per_agent_max: usize,
    /// Most series in all.
    pub series_max: usize,
    /// How long a report is recognised as a duplicate, s.
    pub dedup_window_seconds: f64,
    /// Most reports that the dedup window remembers.
    pub dedup_entries_max: usize,
    /// Dead-letter log, bytes; the oldest go first.
    pub dead_letter_bytes_max: u64,
    /// Memory that the process may have, bytes; what takes more than its share of it is cut. 0: what the control group
    /// or the machine allows.
    pub memory_bytes: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_age_seconds: 3600.0,
            max_ahead_seconds: 60.0,
            late_seconds: 600.0,
            agents_max: 100_000,
            metrics_max: 10_000,
            metrics_per_agent_max: 1_000,
            series_max: 1_000_000,
            dedup_window_seconds: 600.0,
            // Two tables of 2^22 places, seven eighths full: 210 MB.
            dedup_entries_max: 7_340_032,
            dead_letter_bytes_max: 64 << 20,
            memory_bytes: 0,
        }
    }
}

/// Rings, groups and shards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PipelineConfig {
    /// Capacity of the intake ring, samples; a full ring answers 429.
    pub intake_capacity: usize,
    /// Capacity of each shard's ring, samples.
    pub shard_capacity: usize,
    /// Shard threads; 0 = one per core.
    pub shards: usize,
    /// Most samples in one group commit.
    pub group_samples_max: usize,
    /// Time between two steps of the tuner, ms.
    pub tick_millis: u64,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self {
            intake_capacity: 1 << 18,
            shard_capacity: 1 << 17,
            shards: 0,
            group_samples_max: 1 << 17,
            tick_millis: 1000,
        }
    }
}

impl PipelineConfig {
    /// The number of shard threads, with 0 resolved to the cores of this machine.
    #[must_use]
    pub fn n_shards(&self) -> usize {
        match self.shards {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            n => n,
        }
    }
}

/// The detectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PatternsConfig {
    /// Whether series are watched. Without, reports are stored and tuned on, and no pattern is found but silence.
    pub enabled: bool,
}

impl Default for PatternsConfig {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// A neighbour that we call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NeighbourConfig {
    /// Its base address; without one it is not called, and what is meant for it waits (Layer7) or is left out (Layer8).
    pub url: Option<String>,
    /// Longest time for one call, s.
    pub timeout_seconds: f64,
}

impl Default for NeighbourConfig {
    fn default() -> Self {
        Self {
            url: None,
            timeout_seconds: 5.0,
        }
    }
}

/// The log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// What is logged, as `RUST_LOG` has it: `info`, `layer5_server=debug,warn`.
    pub level: String,
    /// JSON lines for machines, or text for people.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".into(),
            format: LogFormat::Json,
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Plain text.
    Text,
}

impl Config {
    /// Checks what types alone can't: ranges, and that nothing listens to strangers without tokens.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] naming the key, its value, the legal values and the way out.
    pub fn check(&self) -> Result<(), ConfigError> {
        let positive = [
            (
                "http.request_timeout_seconds",
                self.http.request_timeout_seconds,
            ),
            ("limits.max_age_seconds", self.limits.max_age_seconds),
            ("limits.max_ahead_seconds", self.limits.max_ahead_seconds),
            ("limits.late_seconds", self.limits.late_seconds),
            (
                "limits.dedup_window_seconds",
                self.limits.dedup_window_seconds,
            ),
            ("store.raw_days", self.store.raw_days),
            ("store.aggregate_days", self.store.aggregate_days),
            ("store.aggregate_seconds", self.store.aggregate_seconds),
            ("store.compaction_share", self.store.compaction_share),
            ("layer7.timeout_seconds", self.layer7.timeout_seconds),
            ("layer8.timeout_seconds", self.layer8.timeout_seconds),
        ];
        for (key, value) in positive {
            if !(value > 0.0 && value.is_finite()) {
                return Err(ConfigError::invalid(key, value, "a number above 0"));
            }
        }
        if !(0.0..=60.0).contains(&self.http.full_wait_seconds) {
            let waits = self.http.full_wait_seconds;
            return Err(ConfigError::invalid(
                "http.full_wait_seconds",
                waits,
                "0 to 60",
            ));
        }
        let waits = self.store.lock_wait_seconds;
        if !(0.0..=3600.0).contains(&waits) {
            let (key, legal) = ("store.lock_wait_seconds", "0 to 3600");
            return Err(ConfigError::invalid(key, waits, legal));
        }
        let share = self.store.compaction_share;
        if !(share <= 1.0) {
            let key = "store.compaction_share";
            return Err(ConfigError::invalid(key, share, "above 0, at most 1"));
        }
        let widest = 86_400.0;
        if !(1.0..=widest).contains(&self.store.aggregate_seconds) {
            let (key, value) = ("store.aggregate_seconds", self.store.aggregate_seconds);
            return Err(ConfigError::invalid(key, value, "1 to 86400"));
        }
        // The log, two snapshots and the views need room besides history.
        if self.store.disk_bytes_max < 1 << 28 {
            let (key, value) = ("store.disk_bytes_max", self.store.disk_bytes_max);
            return Err(ConfigError::invalid(
                key,
                value,
                "268435456 (256 MiB) or more",
            ));
        }
        let counts = [
            (
                "http.body_bytes_max",
                self.http.body_bytes_max,
                1 << 10,
                1 << 30,
            ),
            (
                "http.decoded_bytes_max",
                self.http.decoded_bytes_max,
                1 << 10,
                4 << 30,
            ),
            (
                "http.bodies_bytes_max",
                self.http.bodies_bytes_max,
                self.http
                    .body_bytes_max
                    .saturating_add(self.http.decoded_bytes_max),
                64 << 30,
            ),
            (
                "http.connections_max",
                self.http.connections_max,
                1,
                1 << 20,
            ),
            (
                "http.read_ahead_bytes",
                self.http.read_ahead_bytes,
                memory::READ_AHEAD_BYTES_MIN,
                16 << 20,
            ),
            ("http.requests_max", self.http.requests_max, 1, 1 << 20),
            (
                "store.head_samples_max",
                self.store.head_samples_max,
                1 << 12,
                1 << 26,
            ),
            (
                "store.cache_bytes",
                self.store.cache_bytes,
                1 << 20,
                64 << 30,
            ),
            (
                "pipeline.intake_capacity",
                self.pipeline.intake_capacity,
                1 << 10,
                1 << 26,
            ),
            (
                "pipeline.shard_capacity",
                self.pipeline.shard_capacity,
                1 << 10,
                1 << 26,
            ),
            (
                "pipeline.group_samples_max",
                self.pipeline.group_samples_max,
                1 << 10,
                1 << 22,
            ),
            ("pipeline.shards", self.pipeline.n_shards(), 1, 256),
            ("limits.agents_max", self.limits.agents_max, 1, 10_000_000),
            ("limits.metrics_max", self.limits.metrics_max, 8, 1_000_000),
            (
                "limits.metrics_per_agent_max",
                self.limits.metrics_per_agent_max,
                1,
                100_000,
            ),
            ("limits.series_max", self.limits.series_max, 1, 50_000_000),
            (
                "limits.dedup_entries_max",
                self.limits.dedup_entries_max,
                1 << 10,
                1 << 30,
            ),
        ];
        for (key, value, low, high) in counts {
            if !(low..=high).contains(&value) {
                return Err(ConfigError::invalid(
                    key,
                    value,
                    &format!("{low} to {high}"),
                ));
            }
        }
        if !(1..=60_000).contains(&self.pipeline.tick_millis) {
            let legal = "1 to 60000";
            return Err(ConfigError::invalid(
                "pipeline.tick_millis",
                self.pipeline.tick_millis,
                legal,
            ));
        }
        for (key, listen) in [
            ("http.listen", self.http.listen),
            ("metrics.listen", self.metrics.listen),
        ] {
            let guarded = self.auth.tokens_file.is_some() || self.auth.allow_anonymous;
            if !listen.ip().is_loopback() && !guarded {
                let way_out = "a loopback address, or auth.tokens_file, or auth.allow_anonymous = true \
                               where the network itself keeps strangers out";
                return Err(ConfigError::invalid(key, listen, way_out));
            }
        }
        self.sources.check()?;
        self.cohort.iter().try_for_each(CohortConfig::check)
    }
}
