//! The ways in besides HTTP push: which are open, where they lead, and how much they may bring at once.
//! Invariants: a source that calls others is off until it has an address.

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::sources::redis;

/// Every source besides HTTP push.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourcesConfig {
    /// Redis Streams.
    pub redis: RedisConfig,
    /// Layer4's pages.
    pub pull: PullConfig,
    /// Layer4's WebSocket.
    pub websocket: WebSocketConfig,
    /// Prometheus remote write.
    pub remote_write: RemoteWriteConfig,
    /// OTLP over HTTP.
    pub otlp: OtlpConfig,
    /// The instance that a shadow follows.
    pub follow: FollowConfig,
}

/// The instance that a shadow follows (`role = "shadow"`); an active one follows nobody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FollowConfig {
    /// Its API, such as `http://layer5-refinement-active:8080`.
    pub url: Option<String>,
    /// A file with a reader's token, where tokens are set up there.
    pub token_file: Option<std::path::PathBuf>,
    /// Time between two looks at its log, s.
    pub poll_seconds: f64,
}

impl Default for FollowConfig {
    fn default() -> Self {
        Self {
            url: None,
            token_file: None,
            poll_seconds: 0.2,
        }
    }
}

/// Layer4's pages: reports fetched every few seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PullConfig {
    /// Such as `http://layer4:9090/kpi/export`; without it this source is off.
    pub url: Option<String>,
    /// Time between two polls, s.
    pub poll_seconds: f64,
    /// Longest time for one page, s.
    pub timeout_seconds: f64,
    /// Most pages in one poll; the next one goes on from there.
    pub pages_per_poll_max: usize,
    /// Largest page, bytes.
    pub page_bytes_max: usize,
}

impl Default for PullConfig {
    fn default() -> Self {
        Self {
            url: None,
            poll_seconds: 5.0,
            timeout_seconds: 10.0,
            pages_per_poll_max: 1000,
            page_bytes_max: 16 << 20,
        }
    }
}

/// Layer4's WebSocket: one report per message, as it happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebSocketConfig {
    /// Such as `ws://layer4:9090/kpi/stream`; without it this source is off.
    pub url: Option<String>,
    /// Longest wait for the handshake, and for a write, s.
    pub timeout_seconds: f64,
    /// Silence after which the other side is asked whether it is there; as long again, and the connection is made anew, s.
    pub idle_seconds: f64,
    /// Longest message, bytes.
    pub message_bytes_max: usize,
}

impl Default for WebSocketConfig {
    fn default() -> Self {
        Self {
            url: None,
            timeout_seconds: 10.0,
            idle_seconds: 30.0,
            message_bytes_max: 1 << 20,
        }
    }
}

/// Prometheus remote write, on the API's port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteWriteConfig {
    /// Whether it is answered.
    pub enabled: bool,
    /// The label that names the agent.
    pub agent_label: String,
    /// Longest name of a metric with its labels, bytes.
    pub metric_bytes_max: usize,
}

impl Default for RemoteWriteConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            agent_label: "agent_id".into(),
            metric_bytes_max: 512,
        }
    }
}

/// OTLP over HTTP, on the API's port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpConfig {
    /// Whether it is answered.
    pub enabled: bool,
    /// The resource's attribute that names the agent.
    pub agent_attribute: String,
    /// Longest name of a metric with its attributes, bytes.
    pub metric_bytes_max: usize,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            agent_attribute: "service.instance.id".into(),
            metric_bytes_max: 512,
        }
    }
}

/// Redis Streams: reports from a consumer group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisConfig {
    /// `redis://[user:password@]host:port[/db]`, several with commas between them: the one that is the master is read.
    /// Also from `REDIS_URL`; without it this source is off.
    pub url: Option<String>,
    /// The stream.
    pub stream: String,
    /// Number of streams `stream:0`, `stream:1` and so on; 0: the one stream itself.
    pub partitions: usize,
    /// The consumer group.
    pub group: String,
    /// Our name in the group, the same at every start; empty: the host's name.
    pub consumer: String,
    /// Most entries read at once.
    pub batch_len: usize,
    /// Batches that are read while earlier ones are on their way to the disk.
    pub batches_in_flight: usize,
    /// Entries that another consumer has held for so long without an answer are taken over, s.
    pub claim_idle_seconds: f64,
    /// About how many entries `stream:dead` keeps, the newest.
    pub dead_len_max: usize,
    /// Longest wait for an answer, s.
    pub timeout_seconds: f64,
    /// Longest answer, bytes.
    pub reply_bytes_max: usize,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: None,
            stream: "layer4_kpi_reports".into(),
            partitions: 0,
            group: "layer5".into(),
            consumer: String::new(),
            batch_len: 4096,
            batches_in_flight: 4,
            claim_idle_seconds: 60.0,
            dead_len_max: 100_000,
            timeout_seconds: 5.0,
            reply_bytes_max: 256 << 20,
        }
    }
}

impl SourcesConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let redis = &self.redis;
        positive("sources.redis.claim_idle_seconds", redis.claim_idle_seconds)?;
        positive("sources.redis.timeout_seconds", redis.timeout_seconds)?;
        within("sources.redis.batch_len", redis.batch_len, 1, 65_536)?;
        within("sources.redis.partitions", redis.partitions, 0, 1024)?;
        within(
            "sources.redis.batches_in_flight",
            redis.batches_in_flight,
            1,
            64,
        )?;
        within(
            "sources.redis.reply_bytes_max",
            redis.reply_bytes_max,
            1 << 16,
            4 << 30,
        )?;
        let pull = &self.pull;
        positive("sources.pull.poll_seconds", pull.poll_seconds)?;
        positive("sources.pull.timeout_seconds", pull.timeout_seconds)?;
        let pages = pull.pages_per_poll_max;
        within("sources.pull.pages_per_poll_max", pages, 1, 1 << 20)?;
        let bytes = pull.page_bytes_max;
        within("sources.pull.page_bytes_max", bytes, 1 << 10, 1 << 30)?;
        let websocket = &self.websocket;
        let seconds = websocket.timeout_seconds;
        positive("sources.websocket.timeout_seconds", seconds)?;
        positive("sources.websocket.idle_seconds", websocket.idle_seconds)?;
        let bytes = websocket.message_bytes_max;
        within("sources.websocket.message_bytes_max", bytes, 125, 64 << 20)?;
        if let Some(url) = &websocket.url
            && !reqwest::Url::parse(url).is_ok_and(|url| url.scheme() == "ws" && url.has_host())
        {
            let key = "sources.websocket.url";
            return Err(ConfigError::invalid(key, url, "ws://host[:port]/path"));
        }
        positive("sources.follow.poll_seconds", self.follow.poll_seconds)?;
        if let Some(url) = &self.follow.url
            && !reqwest::Url::parse(url).is_ok_and(|url| url.scheme() == "http")
        {
            let key = "sources.follow.url";
            return Err(ConfigError::invalid(key, url, "http://..."));
        }
        let bytes = self.remote_write.metric_bytes_max;
        within("sources.remote_write.metric_bytes_max", bytes, 1, 4096)?;
        let bytes = self.otlp.metric_bytes_max;
        within("sources.otlp.metric_bytes_max", bytes, 1, 4096)?;
        if let Some(url) = &pull.url
            && !reqwest::Url::parse(url).is_ok_and(|url| url.scheme() == "http")
        {
            return Err(ConfigError::invalid("sources.pull.url", url, "http://..."));
        }
        for (key, name) in [
            (
                "sources.remote_write.agent_label",
                &self.remote_write.agent_label,
            ),
            ("sources.otlp.agent_attribute", &self.otlp.agent_attribute),
            ("sources.redis.stream", &redis.stream),
            ("sources.redis.group", &redis.group),
        ] {
            if name.is_empty() {
                return Err(ConfigError::invalid(key, "\"\"", "a name"));
            }
        }
        if let Some(url) = &redis.url {
            redis::addresses(url).map_err(|error| {
                let legal = format!("redis://[user:password@]host:port[/db]; {error}");
                // The address may hold a password, which belongs in no log.
                ConfigError::invalid("sources.redis.url", "(not shown)", &legal)
            })?;
        }
        Ok(())
    }
}

fn positive(key: &str, value: f64) -> Result<(), ConfigError> {
    // A year: what is longer is a slip of the pen, and would not fit into a duration at some point.
    if value > 0.0 && value <= 31_536_000.0 {
        return Ok(());
    }
    Err(ConfigError::invalid(
        key,
        value,
        "a number above 0, at most a year",
    ))
}

fn within(key: &str, value: usize, low: usize, high: usize) -> Result<(), ConfigError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::invalid(
        key,
        value,
        &format!("{low} to {high}"),
    ))
}
