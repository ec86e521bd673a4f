//! The element of the intake ring: one sample, with all that the committer needs to store, deduplicate and answer.
//! In: a validated report whose names are resolved. Out: one [`Arrival`] per value, appended to the handler's list, which
//! is then claimed in the ring as a whole. Called from: `server/http/reports` and every other source.
//! Invariants: plain data, no pointer, at most 64 bytes, one cache line.

use layer5_core::{AgentId, MetricId, Report, Sample, validate};

use crate::dedup::{ReportKey, report_key};
use crate::intern::Resolved;

/// One sample on its way to the committer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// The report it is a value of.
    pub report: ReportKey,
    /// The sample.
    pub sample: Sample,
    /// Whose it is.
    pub agent: AgentId,
    /// What was measured.
    pub metric: MetricId,
    /// The slot of the request that waits for the answer.
    pub request: u32,
    /// The last sample of its report: the report is counted here.
    pub last_of_report: bool,
    /// The last sample of its request: the answer goes out when it is durable.
    pub last_of_request: bool,
}

const _: () = assert!(size_of::<Arrival>() <= 64);

/// Appends one arrival per value of `report`, which has passed [`layer5_core::validate()`]; `resolved` holds its names.
///
/// # Panics
/// When `resolved` is of another report, by the number of its values.
pub fn arrivals(report: &Report<'_>, resolved: &Resolved, request: u32, out: &mut Vec<Arrival>) {
    assert_eq!(
        report.values.len(),
        resolved.series.len(),
        "names of the same report"
    );
    let key = report_key(resolved.agent, &report.task_id, report.recorded_at);
    let each = report.values.iter().zip(&resolved.series);
    out.extend(each.map(|(value, &(metric, series))| Arrival {
        report: key,
        sample: Sample {
            at: report.recorded_at,
            value: value.value,
            series,
            quality: validate::quality(value),
        },
        agent: resolved.agent,
        metric,
        request,
        last_of_report: false,
        last_of_request: false,
    }));
    if let Some(last) = out.last_mut() {
        last.last_of_report = true;
    }
}

/// Marks the last of `arrivals` as the last of its request.
pub fn close_request(arrivals: &mut [Arrival]) {
    if let Some(last) = arrivals.last_mut() {
        last.last_of_request = true;
    }
}
