//! A report as Layer4 writes it: both shapes, all three forms of a time, and the mistakes that senders make.
//! In: an agent's readings. Out: one line of NDJSON. Called from: `world` and `host`.
//! These are the sender's own types on purpose: were they the service's, a mistake in the contract would cancel out.
//! Reference: Project Chimera's contracts, section 2.

use std::collections::BTreeMap;

use layer5_core::{Reason, Timestamp};
use serde::Serialize;

/// How an agent writes a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeForm {
    /// RFC 3339 text.
    Text,
    /// Seconds since the epoch.
    Seconds,
    /// Rust's serde form of a `SystemTime`.
    SystemTime,
}

impl TimeForm {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::Text, Self::Seconds, Self::SystemTime];
}

/// A time in one of its three forms.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum WireTime {
    /// `"2026-11-23T12:00:00Z"`.
    Text(String),
    /// `1795436298.25`.
    Seconds(f64),
    /// `{"secs_since_epoch": .., "nanos_since_epoch": ..}`.
    SystemTime {
        /// Whole seconds.
        secs_since_epoch: i64,
        /// The rest.
        nanos_since_epoch: i64,
    },
}

impl WireTime {
    /// `at` in `form`. Milliseconds survive each of them.
    #[must_use]
    pub fn new(at: Timestamp, form: TimeForm) -> Self {
        match form {
            TimeForm::Text => Self::Text(at.to_string()),
            TimeForm::Seconds => Self::Seconds(at.millis() as f64 / 1000.0),
            TimeForm::SystemTime => Self::SystemTime {
                secs_since_epoch: at.nanos().div_euclid(1_000_000_000),
                nanos_since_epoch: at.nanos().rem_euclid(1_000_000_000),
            },
        }
    }
}

/// Shape A.
#[derive(Clone, Debug, Serialize)]
pub struct KpiReport<'a> {
    /// The finished task.
    pub task_id: String,
    /// Who finished it.
    pub agent_id: &'a str,
    /// ms.
    pub latency_ms: f64,
    /// 0..=1.
    pub accuracy: f64,
    /// 0..=1.
    pub cpu_usage: f64,
    /// MB.
    pub memory_mb: f64,
    /// When.
    pub recorded_at: WireTime,
    /// bytes.
    pub network_bytes: u64,
    /// By name.
    pub custom_metrics: BTreeMap<&'a str, f64>,
    /// Where.
    pub execution_context: ExecutionContext<'a>,
}

/// The machine an agent runs on.
#[derive(Clone, Debug, Serialize)]
pub struct ExecutionContext<'a> {
    /// Its name.
    pub hostname: &'a str,
    /// Cores the agent may use.
    pub available_cores: u32,
    /// MB the agent may use.
    pub available_memory_mb: u32,
}

/// Shape B.
#[derive(Clone, Debug, Serialize)]
pub struct KpiBatch<'a> {
    /// When.
    pub timestamp: WireTime,
    /// Who.
    pub agent_id: &'a str,
    /// The finished task.
    pub task_id: String,
    /// By name.
    pub metrics: BTreeMap<&'a str, f64>,
    /// Labels.
    pub metadata: BTreeMap<&'a str, &'a str>,
}

/// A mistake that a sender makes on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The line breaks off.
    CutOff,
    /// Recorded next year.
    NextYear,
    /// `"latency_ms": "NaN"`, as programs write it that can't write NaN.
    NanAsText,
    /// `"accuracy": 1.7`.
    OutOfRange,
    /// No `memory_mb`.
    Missing,
    /// An empty agent id.
    Nameless,
}

impl Mistake {
    /// Every mistake.
    pub const ALL: [Self; 6] = [
        Self::CutOff,
        Self::NextYear,
        Self::NanAsText,
        Self::OutOfRange,
        Self::Missing,
        Self::Nameless,
    ];

    /// The reason that it has to be refused for.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::CutOff => Reason::Malformed,
            Self::NextYear => Reason::TooFarAhead,
            Self::NanAsText => Reason::WrongType,
            Self::OutOfRange => Reason::OutOfRange,
            Self::Missing => Reason::MissingField,
            Self::Nameless => Reason::InvalidId,
        }
    }

    /// A report of `agent` at `at` with this mistake and no other, without a line end.
    #[must_use]
    pub fn write(self, agent: &str, at: Timestamp, number: u64) -> String {
        let year_ahead = at.plus_seconds(400.0 * 86_400.0);
        let (agent, at) = match self {
            Self::Nameless => ("", at),
            Self::NextYear => (agent, year_ahead),
            _ => (agent, at),
        };
        let latency = match self {
            Self::NanAsText => "\"NaN\"",
            _ => "50.5",
        };
        let accuracy = match self {
            Self::OutOfRange => "1.7",
            _ => "0.93",
        };
        let memory = match self {
            Self::Missing => "",
            _ => "\"memory_mb\":512.0,",
        };
        let mut line = format!(
            "{{\"task_id\":\"bad-{number}\",\"agent_id\":\"{agent}\",\"latency_ms\":{latency},\
             \"accuracy\":{accuracy},\"cpu_usage\":0.4,{memory}\"recorded_at\":\"{at}\"}}"
        );
        if self == Self::CutOff {
            line.truncate(line.len() / 2);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_of_a_time_mean_the_same() {
        let at = Timestamp::from_millis(1_795_436_298_250);
        for form in TimeForm::ALL {
            let json = serde_json::to_string(&WireTime::new(at, form)).expect("plain data");
            let back: Timestamp = serde_json::from_str(&json).expect("a time");
            assert_eq!(back, at, "{json}");
        }
    }

    #[test]
    fn a_mistake_is_the_only_one_in_its_line() {
        let at = Timestamp::from_millis(1_795_436_298_250);
        for mistake in Mistake::ALL {
            let line = mistake.write("agent_1", at, 3);
            assert!(!line.contains('\n'));
            let parsed = serde_json::from_str::<serde_json::Value>(&line);
            assert_eq!(parsed.is_err(), mistake == Mistake::CutOff, "{line}");
            let Ok(report) = parsed else { continue };
            let differs = [
                report["agent_id"] != "agent_1",
                report["latency_ms"] != 50.5,
                report["accuracy"] != 0.93,
                report["memory_mb"] != 512.0,
                report["recorded_at"] != at.to_string(),
            ];
            assert_eq!(differs.iter().filter(|d| **d).count(), 1, "{line}");
        }
    }
}
