//! What is said of a report that is sound JSON and still no report.
//! In: what was expected and found. Out: a [`Rejection`] that names the field. Called from: `report_json`, `metric_map`.

use layer5_core::{MetricName, Reason, Rejection};

use super::scan::Kind;

/// Longest stretch of a sender's text that a rejection repeats, characters.
const ECHO_CHARS_MAX: usize = 40;

#[cold]
pub(super) fn invalid_time(name: &str, text: &str) -> Rejection {
    let detail = format!(
        "{} is neither RFC 3339, seconds since 1970, nor {{secs_since_epoch, nanos_since_epoch}} of the years 1677 \
         to 2262",
        clipped(text)
    );
    Rejection::new(Reason::InvalidTime, name, detail)
}

pub(super) fn finite(name: &str, value: f64) -> Result<(), Rejection> {
    if value.is_finite() {
        return Ok(());
    }
    let detail = "the number is too large for a double";
    Err(Rejection::new(Reason::NotFinite, name, detail))
}

#[cold]
pub(super) fn missing(name: &str) -> Rejection {
    Rejection::new(Reason::MissingField, name, "is required")
}

#[cold]
pub(super) fn wrong_type(name: &str, expected: &str, found: Kind) -> Rejection {
    let detail = format!("expected {expected}, found {}", found.with_article());
    Rejection::new(Reason::WrongType, name, detail)
}

pub(super) fn entry_name(field: &str, metric: &MetricName<'_>) -> String {
    format!("{field}.{}", clipped(metric.as_str()))
}

fn clipped(text: &str) -> String {
    text.chars().take(ECHO_CHARS_MAX).collect()
}
