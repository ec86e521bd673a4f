//! The checks of a report: readings out, or one [`Rejection`] that names field, value and limit.
//! In: a [`Report`] from decode, the limits from the config, `now` from the server. Out: `Ok` means that every value
//! may enter state. Called from: `server/http/reports` and every other source, before anything is taken.
//! Invariants: NaN and infinity never pass; checks are written in the positive, so NaN fails them.
//! Reference: Project Chimera's contracts, section 2.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{MetricName, Quality, Report, Shape, Timestamp, Value};

/// The limits of a report. The defaults are those of the contracts.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportLimits {
    /// Oldest accepted `recorded_at`, seconds before now. Contract: 1 h.
    pub max_age_seconds: f64,
    /// Furthest accepted `recorded_at`, seconds after now. Contract: 60 s.
    pub max_ahead_seconds: f64,
    /// Longest agent or task id, bytes. Contract: 128.
    pub id_bytes_max: usize,
    /// Longest metric name, bytes. Contract: 100.
    pub metric_bytes_max: usize,
    /// Most values in one report. Ours: 256, far above the 7 of a full shape A.
    pub values_max: usize,
}

impl Default for ReportLimits {
    fn default() -> Self {
        Self {
            max_age_seconds: 3600.0,
            max_ahead_seconds: 60.0,
            id_bytes_max: 128,
            metric_bytes_max: 100,
            values_max: 256,
        }
    }
}

/// Why a report was refused; the label of `layer5_kpi_rejected_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// Not JSON, or broken in the middle.
    Malformed,
    /// A field holds another type than it must.
    WrongType,
    /// A required field is absent.
    MissingField,
    /// An id is empty, too long or has control characters.
    InvalidId,
    /// A time that is none of the three forms.
    InvalidTime,
    /// A number outside its range.
    OutOfRange,
    /// NaN or infinity, or a number too large for a double.
    NotFinite,
    /// Recorded longer ago than `max_age`.
    TooOld,
    /// Recorded further ahead than `max_ahead`.
    TooFarAhead,
    /// No metric at all.
    NoMetrics,
    /// A metric name is empty or too long, or there are too many values.
    TooLarge,
    /// It would need a new agent, metric or series, and their limit is reached.
    Cardinality,
}

impl Reason {
    /// Every reason, for metrics that start at zero.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::WrongType,
        Self::MissingField,
        Self::InvalidId,
        Self::InvalidTime,
        Self::OutOfRange,
        Self::NotFinite,
        Self::TooOld,
        Self::TooFarAhead,
        Self::NoMetrics,
        Self::TooLarge,
        Self::Cardinality,
    ];

    /// The reason as a metric label and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::WrongType => "wrong_type",
            Self::MissingField => "missing_field",
            Self::InvalidId => "invalid_id",
            Self::InvalidTime => "invalid_time",
            Self::OutOfRange => "out_of_range",
            Self::NotFinite => "not_finite",
            Self::TooOld => "too_old",
            Self::TooFarAhead => "too_far_ahead",
            Self::NoMetrics => "no_metrics",
            Self::TooLarge => "too_large",
            Self::Cardinality => "cardinality",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refused report: nothing of it entered state.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{reason}: {field}: {detail}")]
pub struct Rejection {
    /// The class of the mistake.
    pub reason: Reason,
    /// The field at fault, as the sender wrote it; empty when there is none.
    pub field: String,
    /// The offending value and the limit it broke.
    pub detail: String,
}

impl Rejection {
    /// A rejection of `field` for `reason`, with the value and the limit in `detail`.
    #[must_use]
    pub fn new(reason: Reason, field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            reason,
            field: field.into(),
            detail: detail.into(),
        }
    }
}

/// Checks a report against `limits` at the moment `now`.
///
/// # Errors
/// The first check that fails, in this order: ids, time, number of values, then each value in the order written.
/// Boundary values: an age of exactly `max_age_seconds` and a lead of exactly `max_ahead_seconds` are accepted.
///
/// # Cost
/// O(values), no allocation unless it fails.
pub fn validate(
    report: &Report<'_>,
    limits: &ReportLimits,
    now: Timestamp,
) -> Result<(), Rejection> {
    check_id("agent_id", &report.agent_id, limits)?;
    check_id("task_id", &report.task_id, limits)?;
    check_time(report, limits, now)?;
    if report.values.is_empty() {
        let detail = "at least one metric is needed, got none";
        return Err(Rejection::new(Reason::NoMetrics, "metrics", detail));
    }
    if report.values.len() > limits.values_max {
        let detail = format!(
            "{} values, at most {}",
            report.values.len(),
            limits.values_max
        );
        return Err(Rejection::new(Reason::TooLarge, "metrics", detail));
    }
    report
        .values
        .iter()
        .try_for_each(|value| check_value(value, report.shape, limits))
}

/// How far a value that passed [`validate`] can be trusted.
#[must_use]
pub fn quality(value: &Value<'_>) -> Quality {
    match value.metric {
        MetricName::Known(kpi) if !kpi.in_range(value.value) => Quality::Suspect,
        _ => Quality::Good,
    }
}

fn check_id(field: &str, id: &str, limits: &ReportLimits) -> Result<(), Rejection> {
    if id.is_empty() || id.len() > limits.id_bytes_max {
        let detail = format!(
            "{} bytes, 1 to {} are accepted",
            id.len(),
            limits.id_bytes_max
        );
        return Err(Rejection::new(Reason::InvalidId, field, detail));
    }
    // Without a branch per byte, so that it is done many bytes at a time; other than plain ASCII is rare.
    let plain = |ok, b: u8| ok & (b' '..0x7f).contains(&b);
    if !id.bytes().fold(true, plain) && id.chars().any(char::is_control) {
        let detail = "has a control character, none is accepted";
        return Err(Rejection::new(Reason::InvalidId, field, detail));
    }
    Ok(())
}

fn check_time(report: &Report<'_>, limits: &ReportLimits, now: Timestamp) -> Result<(), Rejection> {
    let field = match report.shape {
        Shape::Task => "recorded_at",
        Shape::Batch => "timestamp",
    };
    let age = now.seconds_since(report.recorded_at);
    if age > limits.max_age_seconds {
        let detail = format!(
            "{} is {age:.0} s old, at most {:.0} s (max_age)",
            report.recorded_at, limits.max_age_seconds
        );
        return Err(Rejection::new(Reason::TooOld, field, detail));
    }
    if -age > limits.max_ahead_seconds {
        let detail = format!(
            "{} is {:.0} s ahead, at most {:.0} s (max_ahead)",
            report.recorded_at, -age, limits.max_ahead_seconds
        );
        return Err(Rejection::new(Reason::TooFarAhead, field, detail));
    }
    Ok(())
}

fn check_value(value: &Value<'_>, shape: Shape, limits: &ReportLimits) -> Result<(), Rejection> {
    if let MetricName::Custom(name) = &value.metric
        && !(1..=limits.metric_bytes_max).contains(&name.len())
    {
        let detail = format!(
            "a metric name of {} bytes, 1 to {} are accepted",
            name.len(),
            limits.metric_bytes_max
        );
        return Err(Rejection::new(Reason::TooLarge, clipped(name), detail));
    }
    if !value.value.is_finite() {
        let detail = format!("{} is not a finite number", value.value);
        return Err(Rejection::new(
            Reason::NotFinite,
            value.metric.as_str(),
            detail,
        ));
    }
    match (&value.metric, shape) {
        (MetricName::Known(kpi), Shape::Task) if !kpi.in_range(value.value) => {
            let detail = format!("{} is outside {}", value.value, kpi.range_text());
            Err(Rejection::new(Reason::OutOfRange, kpi.name(), detail))
        }
        _ => Ok(()),
    }
}

/// At most the first 40 characters, so that an answer does not echo a hostile name in full.
fn clipped(name: &str) -> String {
    name.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kpi;

    const NOW: Timestamp = Timestamp::from_nanos(1_795_436_298_000_000_000);

    fn task() -> Report<'static> {
        let values = [
            (Kpi::LatencyMs, 45.2),
            (Kpi::Accuracy, 0.9),
            (Kpi::CpuUsage, 0.5),
            (Kpi::MemoryMb, 512.0),
        ]
        .map(|(kpi, value)| Value {
            metric: MetricName::Known(kpi),
            value,
        });
        Report {
            agent_id: "a".into(),
            task_id: "t".into(),
            recorded_at: NOW,
            shape: Shape::Task,
            hostname: None,
            values: values.to_vec(),
        }
    }

    #[track_caller]
    fn check(edit: impl FnOnce(&mut Report<'static>), expected: Result<(), (Reason, &str)>) {
        let mut report = task();
        edit(&mut report);
        let got = validate(&report, &ReportLimits::default(), NOW);
        let got = got
            .as_ref()
            .copied()
            .map_err(|r| (r.reason, r.field.as_str()));
        assert_eq!(got, expected);
    }

    #[test]
    fn a_good_report_passes() {
        check(|_| (), Ok(()));
    }

    #[test]
    fn both_sides_of_every_limit() {
        check(|r| r.agent_id = "x".repeat(128).into(), Ok(()));
        check(
            |r| r.agent_id = "x".repeat(129).into(),
            Err((Reason::InvalidId, "agent_id")),
        );
        check(
            |r| r.task_id = "".into(),
            Err((Reason::InvalidId, "task_id")),
        );
        for control in [
            "a\nb",
            "\0",
            "0123456789abcdef\u{1f}",
            "a\u{7f}",
            "\u{85}",
            "é\u{9f}é",
        ] {
            check(
                |r| r.task_id = control.into(),
                Err((Reason::InvalidId, "task_id")),
            );
        }
        for plain in [" ~", "é", "\u{a0}", "0123456789abcdefé😀"] {
            check(|r| r.task_id = plain.into(), Ok(()));
        }
        check(|r| r.recorded_at = NOW.plus_seconds(-3600.0), Ok(()));
        check(
            |r| r.recorded_at = NOW.plus_seconds(-3601.0),
            Err((Reason::TooOld, "recorded_at")),
        );
        check(|r| r.recorded_at = NOW.plus_seconds(60.0), Ok(()));
        check(
            |r| r.recorded_at = NOW.plus_seconds(61.0),
            Err((Reason::TooFarAhead, "recorded_at")),
        );
        check(|r| r.values.clear(), Err((Reason::NoMetrics, "metrics")));
        check(
            |r| r.values[0].value = 300_000.0,
            Err((Reason::OutOfRange, "latency_ms")),
        );
        check(
            |r| r.values[1].value = f64::NAN,
            Err((Reason::NotFinite, "accuracy")),
        );
    }

    #[test]
    fn shape_b_takes_what_is_finite_and_flags_it() {
        check(
            |r| {
                r.shape = Shape::Batch;
                r.values[1].value = 97.0;
            },
            Ok(()),
        );
        let odd = Value {
            metric: MetricName::Known(Kpi::Accuracy),
            value: 97.0,
        };
        assert_eq!(quality(&odd), Quality::Suspect);
        let custom = Value {
            metric: MetricName::from("queue_depth"),
            value: -5.0,
        };
        assert_eq!(quality(&custom), Quality::Good);
    }

    #[test]
    fn a_custom_name_has_its_limits() {
        let named = |n: usize| Value {
            metric: MetricName::Custom("m".repeat(n).into()),
            value: 1.0,
        };
        check(|r| r.values.push(named(100)), Ok(()));
        check(
            |r| r.values.push(named(101)),
            Err((Reason::TooLarge, &"m".repeat(40))),
        );
    }
}
