//! What both Prometheus and OpenTelemetry send: a value of a name with labels. Here it becomes a report of one value.
//! In: name, labels, value, time. Out: the sink's [`Report`]. Called from: [`super::remote_write`], [`super::otlp`].
//! One report a value: one that is refused, for its name or for the limits on names, takes no other with it. The task
//! of all of them is the protocol, so that a value is known again by its agent, metric and time.
//! Invariants: the labels of a metric stand in the order of their names, whatever order they came in.

use std::{borrow::Cow, fmt::Write};

use layer5_core::{MetricName, Reason, Rejection, Report, Shape, Timestamp, Value};

use super::{BodyError, DecodeLimits, ReportSink};

/// Reports of one value, one after the other.
pub(super) struct Values<'s, 'k, 'a> {
    report: Report<'a>,
    reports_max: usize,
    n: usize,
    sink: &'s mut ReportSink<'k, 'a>,
}

impl<'s, 'k, 'a> Values<'s, 'k, 'a> {
    /// For `sink`; `task` is the task of every report.
    pub(super) fn new(
        task: &'static str,
        limits: &DecodeLimits,
        sink: &'s mut ReportSink<'k, 'a>,
    ) -> Self {
        let unset = Value {
            metric: MetricName::from(""),
            value: 0.0,
        };
        Self {
            report: Report {
                agent_id: Cow::Borrowed(""),
                task_id: Cow::Borrowed(task),
                recorded_at: Timestamp::EPOCH,
                shape: Shape::Batch,
                hostname: None,
                values: vec![unset],
            },
            reports_max: limits.reports_max,
            n: 0,
            sink,
        }
    }

    /// How many there were.
    pub(super) fn len(&self) -> usize {
        self.n
    }

    /// The series that the next values are of.
    pub(super) fn of(&mut self, agent: Cow<'a, str>, metric: MetricName<'a>) {
        self.report.agent_id = agent;
        self.report.values[0].metric = metric;
    }

    /// A value of the series; `raw` is where it stands in the body.
    pub(super) fn value(
        &mut self,
        value: f64,
        at: Timestamp,
        raw: &'a [u8],
    ) -> Result<(), BodyError> {
        let place = self.place()?;
        self.report.recorded_at = at;
        self.report.values[0].value = value;
        (self.sink)(place, Ok(&self.report), raw);
        Ok(())
    }

    /// A value that can't be one of a report.
    pub(super) fn refuse(&mut self, rejection: Rejection, raw: &'a [u8]) -> Result<(), BodyError> {
        let place = self.place()?;
        (self.sink)(place, Err(rejection), raw);
        Ok(())
    }

    fn place(&mut self) -> Result<usize, BodyError> {
        if self.n == self.reports_max {
            let limit = self.reports_max;
            return Err(BodyError::TooManyReports { limit });
        }
        self.n += 1;
        Ok(self.n - 1)
    }
}

/// The metric of `name` with `labels`, which are sorted here: `name` alone, or `name{a="x",b="y"}`.
pub(super) fn metric<'a>(
    name: Cow<'a, str>,
    labels: &mut [(Cow<'a, str>, Cow<'a, str>)],
) -> MetricName<'a> {
    if labels.is_empty() {
        return MetricName::from(name);
    }
    labels.sort_unstable();
    let mut text = name.into_owned();
    let mut before = '{';
    for (label, value) in labels {
        text.push(before);
        text.push_str(label);
        text.push_str("=\"");
        for c in value.chars() {
            match c {
                '"' | '\\' => text.extend(['\\', c]),
                c if c.is_control() => {
                    write!(text, "\\u{{{:x}}}", u32::from(c)).expect("a string takes all")
                }
                c => text.push(c),
            }
        }
        text.push('"');
        before = ',';
    }
    text.push('}');
    MetricName::from(Cow::Owned(text))
}

/// The rejection of a value whose agent is not named.
pub(super) fn no_agent(what: &str, name: &str) -> Rejection {
    let name: String = name.chars().take(100).collect();
    let detail = format!("{what} `{name}` names the agent and is not there");
    Rejection::new(Reason::MissingField, name, detail)
}

/// Text that must be UTF-8.
pub(super) fn text<'a>(bytes: &'a [u8], body: &[u8]) -> Result<Cow<'a, str>, BodyError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(error) => Err(BodyError::NotUtf8 {
            offset: bytes.as_ptr() as usize - body.as_ptr() as usize + error.valid_up_to(),
            line: 1,
        }),
    }
}

#[cfg(test)]
mod tests {
    use layer5_core::Kpi;

    use super::*;

    #[test]
    fn a_metric_is_its_name_and_its_sorted_labels() {
        let name = |labels: &[(&'static str, &'static str)]| {
            let mut labels: Vec<_> = labels.iter().map(|&(l, v)| (l.into(), v.into())).collect();
            metric("latency_ms".into(), &mut labels).as_str().to_owned()
        };
        assert_eq!(name(&[]), "latency_ms");
        assert_eq!(
            name(&[("b", "2"), ("a", "x\"\n")]),
            "latency_ms{a=\"x\\\"\\u{a}\",b=\"2\"}"
        );
        assert_eq!(
            metric("latency_ms".into(), &mut []),
            MetricName::Known(Kpi::LatencyMs)
        );
    }
}
