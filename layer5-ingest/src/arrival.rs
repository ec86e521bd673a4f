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
    /// The source that it came by, a number of the server's.
    pub source: u8,
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
        source: 0,
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

#[cfg(test)]
mod tests {
    use layer5_core::{Kpi, MetricName, Quality, SeriesId, Shape, Timestamp, Value};

    use super::*;

    #[test]
    fn one_arrival_per_value_and_the_ends_are_marked() {
        let at = Timestamp::from_nanos(5);
        let value = |metric, value| Value { metric, value };
        let report = |task: &'static str| Report {
            agent_id: "a".into(),
            task_id: task.into(),
            recorded_at: at,
            shape: Shape::Batch,
            hostname: None,
            values: vec![
                value(MetricName::Known(Kpi::Accuracy), 97.0),
                value(MetricName::from("x"), -1.0),
            ],
        };
        let resolved = Resolved {
            agent: AgentId(3),
            series: vec![(MetricId(1), SeriesId(8)), (MetricId(5), SeriesId(9))],
            host_changed: false,
        };
        let mut out = Vec::new();
        arrivals(&report("t1"), &resolved, 42, &mut out);
        arrivals(&report("t2"), &resolved, 42, &mut out);
        close_request(&mut out);
        let ends: Vec<_> = out
            .iter()
            .map(|a| (a.last_of_report, a.last_of_request))
            .collect();
        assert_eq!(
            ends,
            [(false, false), (true, false), (false, false), (true, true)]
        );
        let expected = Arrival {
            report: report_key(AgentId(3), "t1", at),
            sample: Sample {
                at,
                value: 97.0,
                series: SeriesId(8),
                quality: Quality::Suspect,
            },
            agent: AgentId(3),
            metric: MetricId(1),
            request: 42,
            source: 0,
            last_of_report: false,
            last_of_request: false,
        };
        assert_eq!(out[0], expected);
        assert_eq!(
            (out[1].sample.series, out[1].sample.quality),
            (SeriesId(9), Quality::Good)
        );
        assert_ne!(out[0].report, out[2].report);
    }
}
