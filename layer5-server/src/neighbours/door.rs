//! One neighbour's door: how every call to it is made, counted and, when it does not answer, held back.
//! In: a request. Out: status and body, or why there is none. Called from: the clients beside this file.
//! Invariants: timeout, body limit and circuit hold for every call; redirects are not followed and no proxy is used,
//! because the neighbours are inside the same network.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use layer5_core::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Url, redirect};

use super::circuit::{Circuit, CircuitConfig, CircuitState};
use crate::clock;

/// The most that is read of an answer: feedback is well below 4 KiB, a refusal's words are cut anyway.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The longest wait that a neighbour may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Where a neighbour is and how long to wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorConfig {
    /// Its base address, `http://host:port` with or without a path.
    pub url: String,
    /// Longest time for one call.
    pub timeout: Duration,
    /// When to leave it alone.
    pub circuit: CircuitConfig,
}

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DoorError {
    /// The address is not one.
    #[error("'{url}' is not an http address: {detail}")]
    Url {
        /// As configured.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The HTTP client could not be made.
    #[error("no http client: {0}")]
    Client(#[source] reqwest::Error),
}

/// Durations kept between two looks; a look comes once a second.
const DURATIONS_MAX: usize = 4096;

/// The classes of failure, as metrics know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// No answer in time.
    Timeout,
    /// No connection, or it broke.
    Connection,
    /// An answer with a status that is no success.
    Status,
    /// An answer that could not be read.
    Answer,
}

impl CallKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Timeout, Self::Connection, Self::Status, Self::Answer];

    /// The kind as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Status => "status",
            Self::Answer => "answer",
        }
    }
}

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// It was not made.
    #[error("the neighbour failed before, it is left alone for {} ms", wait.as_millis())]
    CircuitOpen {
        /// How long.
        wait: Duration,
    },
    /// No answer in time.
    #[error("no answer within the timeout")]
    Timeout,
    /// No connection, or it broke.
    #[error("connection failed: {0}")]
    Connection(String),
    /// Not a success.
    #[error("status {status}: {detail}")]
    Status {
        /// HTTP status.
        status: u16,
        /// The beginning of the body.
        detail: String,
        /// What the neighbour asked to wait.
        retry_after: Option<Duration>,
    },
    /// Not what was agreed.
    #[error("unusable answer: {0}")]
    Answer(String),
}

impl CallError {
    /// Its class; `None` when no call was made.
    #[must_use]
    pub fn kind(&self) -> Option<CallKind> {
        match self {
            Self::CircuitOpen { .. } => None,
            Self::Timeout => Some(CallKind::Timeout),
            Self::Connection(_) => Some(CallKind::Connection),
            Self::Status { .. } => Some(CallKind::Status),
            Self::Answer(_) => Some(CallKind::Answer),
        }
    }

    /// Whether the neighbour can't serve anybody now, as opposed to not liking this one request.
    fn is_trouble(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            Self::CircuitOpen { .. } => false,
            Self::Timeout | Self::Connection(_) | Self::Answer(_) => true,
        }
    }
}

/// What is known of a neighbour.
#[derive(Clone, Debug, PartialEq)]
pub struct DoorSnapshot {
    /// Calls made.
    pub calls: u64,
    /// Failed ones, in the order of [`CallKind::ALL`].
    pub errors: [u64; CallKind::ALL.len()],
    /// Time spent in calls, s.
    pub seconds: f64,
    /// Whether the last call was answered by a working neighbour; `None` before the first.
    pub up: Option<bool>,
    /// What the circuit does.
    pub circuit: CircuitState,
}

/// An answer of success.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Door {
    client: Client,
    base: String,
    circuit: Mutex<Circuit>,
    calls: AtomicU64,
    errors: [AtomicU64; CallKind::ALL.len()],
    nanos: AtomicU64,
    /// How long each call since the last look took, s.
    durations: Mutex<Vec<f64>>,
    /// 0 never called, 1 down, 2 up.
    up: AtomicU8,
}

impl Door {
    pub(super) fn new(config: &DoorConfig) -> Result<Self, DoorError> {
        let wrong = |detail: String| DoorError::Url {
            url: config.url.clone(),
            detail,
        };
        let url = Url::parse(&config.url).map_err(|e| wrong(e.to_string()))?;
        if url.scheme() != "http" || !url.has_host() {
            return Err(wrong("expected http://host[:port][/path]".into()));
        }
        let client = Client::builder()
            .timeout(config.timeout)
            .connect_timeout(config.timeout)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(DoorError::Client)?;
        Ok(Self {
            client,
            base: config.url.trim_end_matches('/').to_owned(),
            circuit: Mutex::new(Circuit::new(config.circuit)),
            calls: AtomicU64::new(0),
            errors: Default::default(),
            nanos: AtomicU64::new(0),
            durations: Mutex::default(),
            up: AtomicU8::new(0),
        })
    }

    pub(super) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.base))
    }

    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base))
    }

    /// Makes the call, unless the circuit is open.
    pub(super) async fn call(&self, request: RequestBuilder) -> Result<Answer, CallError> {
        let start = Instant::now();
        self.with_circuit(|circuit| circuit.admit(start))
            .map_err(|wait| CallError::CircuitOpen { wait })?;
        let result = exchange(request).await;
        let end = Instant::now();
        let trouble = result.as_ref().is_err_and(CallError::is_trouble);
        self.with_circuit(|circuit| match trouble {
            true => circuit.failed(end),
            false => circuit.succeeded(),
        });
        self.calls.fetch_add(1, Relaxed);
        let nanos = u64::try_from((end - start).as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Relaxed);
        let mut durations = self
            .durations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if durations.len() < DURATIONS_MAX {
            durations.push((end - start).as_secs_f64());
        }
        drop(durations);
        self.up.store(if trouble { 1 } else { 2 }, Relaxed);
        if let Err(error) = &result {
            self.count(error);
        }
        result
    }

    /// Counts a failure; for an answer that turned out to be unusable, call it after the fact.
    pub(super) fn count(&self, error: &CallError) {
        let position = |kind| CallKind::ALL.iter().position(|&k| k == kind);
        if let Some(i) = error.kind().and_then(position) {
            self.errors[i].fetch_add(1, Relaxed);
        }
    }

    /// How long each call since the last look took, s; the first [`DURATIONS_MAX`] of them.
    pub(super) fn take_durations(&self) -> Vec<f64> {
        std::mem::take(
            &mut *self
                .durations
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    pub(super) fn snapshot(&self) -> DoorSnapshot {
        DoorSnapshot {
            calls: self.calls.load(Relaxed),
            errors: std::array::from_fn(|i| self.errors[i].load(Relaxed)),
            seconds: self.nanos.load(Relaxed) as f64 / 1e9,
            up: match self.up.load(Relaxed) {
                0 => None,
                up => Some(up == 2),
            },
            circuit: self.with_circuit(|circuit| circuit.state()),
        }
    }

    fn with_circuit<T>(&self, f: impl FnOnce(&mut Circuit) -> T) -> T {
        f(&mut self.circuit.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn exchange(request: RequestBuilder) -> Result<Answer, CallError> {
    let mut response = request.send().await.map_err(failure)?;
    let status = response.status();
    let retry_after = retry_after(response.headers(), clock::now());
    let mut body = vec![];
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(CallError::Answer(format!(
                "body of more than {ANSWER_BYTES_MAX} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok(Answer {
            status: status.as_u16(),
            body,
        });
    }
    let words = String::from_utf8_lossy(&body);
    Err(CallError::Status {
        status: status.as_u16(),
        detail: words.chars().take(500).collect(),
        retry_after,
    })
}

fn failure(error: reqwest::Error) -> CallError {
    match error.is_timeout() {
        true => CallError::Timeout,
        false => CallError::Connection(why(&error)),
    }
}

/// Why a call was not answered: the innermost message, because the outer ones only repeat the address.
pub(crate) fn why(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer within the time it was given".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Either form of RFC 9110, section 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = match text.parse::<u32>() {
        Ok(seconds) => f64::from(seconds),
        Err(_) => http_date(text)?.seconds_since(now).max(0.0),
    };
    Some(Duration::from_secs_f64(seconds).min(RETRY_AFTER_MAX))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that may be sent.
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, date) = text.split_once(", ")?;
    let mut words = date.split(' ');
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|&m| m == month)? + 1;
    Timestamp::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_host_or_scheme_is_refused() {
        for url in ["", "layer7:8080", "ftp://x", "http://", "https://layer7"] {
            let config = DoorConfig {
                url: url.into(),
                timeout: Duration::from_secs(1),
                circuit: CircuitConfig::default(),
            };
            assert!(
                matches!(Door::new(&config), Err(DoorError::Url { .. })),
                "{url}"
            );
        }
    }

    #[test]
    fn both_forms_of_retry_after_are_understood() {
        let now = Timestamp::parse_rfc3339("1994-11-06T08:49:07Z").expect("a time");
        let check = |text: &str, seconds: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().expect("a header"));
            assert_eq!(
                retry_after(&headers, now),
                seconds.map(Duration::from_secs),
                "{text}"
            );
        };
        check("7", Some(7));
        check("0", Some(0));
        check("4000000000", Some(300));
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(30));
        check("Sun, 06 Nov 1994 08:00:00 GMT", Some(0));
        check("soon", None);
        check("-1", None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
