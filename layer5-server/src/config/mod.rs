//! What an operator can set, with the default of every key and the limit of everything that can grow.
//! In: TOML, environment and flags, through [`load`]. Out: plain structs, passed down field by field.
//! Invariants: a `Config` that left [`Config::check`] can be run; unknown keys are refused; addresses are loopback
//! unless tokens are set up; the comment of a field is its documentation for operators, see [`keys`].

mod backup;
mod cohort;
pub mod document;
mod error;
pub mod history;
mod in_force;
pub mod keys;
mod layer;
pub mod live;
mod load;
mod memory;
mod origin;
mod patterns;
mod ranges;
pub mod secrets;
mod sources;
mod templates;
mod variables;

use std::{net::SocketAddr, path::PathBuf};

pub use backup::BackupConfig;
pub(crate) use cohort::glob;
pub use cohort::{CohortConfig, ParameterConfig, ParameterType};
pub use error::ConfigError;
pub use in_force::InForce;
pub use layer::{parse, values};
pub use load::{Environment, Layers, load};
pub use origin::{FileRead, Loaded, Origin};
pub use patterns::{MetricConfig, PatternsConfig, Sensitivity, TemplateConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use sources::{
    FollowConfig, OtlpConfig, PullConfig, RedisConfig, RemoteWriteConfig, SourcesConfig,
    WebSocketConfig,
};
pub use templates::{checked_templates, templates};

/// Everything that can be configured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Copies of it elsewhere.
    pub backup: BackupConfig,
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
    /// Shapes that a person wants to be told of when they come again.
    pub template: Vec<TemplateConfig>,
}

/// What an instance is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// A file with one `role token` a line; role is `reader`, `sender` or `operator`.
    pub tokens_file: Option<PathBuf>,
    /// Listen beyond loopback without tokens: for networks that keep strangers out by themselves.
    pub allow_anonymous: bool,
}

/// What is kept, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// A neighbour that we call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// What is logged, as `RUST_LOG` has it: `info`, `layer5_server=debug,warn`.
    pub level: String,
    /// JSON lines for machines, or text for people.
    pub format: LogFormat,
    /// A file that has the lines too, as JSON; without one they are on standard error alone.
    pub file: Option<PathBuf>,
    /// Size at which the file is put away and compressed, bytes.
    pub file_bytes_max: u64,
    /// Age at which it is, s.
    pub file_age_seconds: f64,
    /// Compressed files kept; the oldest go first.
    pub files_max: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".into(),
            format: LogFormat::Json,
            file: None,
            file_bytes_max: 64 << 20,
            file_age_seconds: 86_400.0,
            files_max: 14,
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Plain text.
    Text,
}

impl Config {
    /// Checks what types alone can't: ranges, how keys fit together, and that nothing listens to strangers without
    /// tokens.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] naming the key, its value, the legal values and the way out.
    ///
    /// # Panics
    /// Never: every configuration is a table.
    pub fn check(&self) -> Result<(), ConfigError> {
        ranges::check(&toml::Table::try_from(self).expect("a configuration is a table"))?;
        let http = &self.http;
        let whole_body = http.body_bytes_max.saturating_add(http.decoded_bytes_max);
        if http.bodies_bytes_max < whole_body {
            let legal =
                format!("{whole_body} or more: body_bytes_max and decoded_bytes_max together");
            let key = "http.bodies_bytes_max";
            return Err(ConfigError::invalid(key, http.bodies_bytes_max, &legal));
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
        for (key, url) in [
            ("layer7.url", &self.layer7.url),
            ("layer8.url", &self.layer8.url),
            ("sources.pull.url", &self.sources.pull.url),
            ("sources.follow.url", &self.sources.follow.url),
        ] {
            let is_http = |url: &String| {
                reqwest::Url::parse(url).is_ok_and(|url| url.scheme() == "http" && url.has_host())
            };
            if let Some(url) = url.as_ref().filter(|url| !is_http(url)) {
                return Err(ConfigError::invalid(key, url, "http://host[:port][/path]"));
            }
        }
        if let Err(error) = crate::logging::check(&self.log.level) {
            let legal = format!("off, error, warn, info, debug, trace, or target=level; {error}");
            return Err(ConfigError::invalid("log.level", &self.log.level, &legal));
        }
        self.sources.check()?;
        patterns::check(&self.patterns, &self.template, self.limits.agents_max)?;
        cohort::check(&self.cohort)
    }
}
