//! What a sender wrote, unchecked: one KPI report of either shape, borrowed from the bytes it came in.
//! In: from `ingest/decode`. Out: to [`crate::validate()`]. Both shapes become the same plain value here, so nothing
//! behind this door knows that there are two.
//! Invariants: none; a report may be nonsense until it is validated.

use std::borrow::Cow;

use crate::{Kpi, Timestamp};

/// Which of the two wire shapes a report came in; their ranges are enforced differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Shape A, `KpiReport`: one finished task, ranges are enforced.
    Task,
    /// Shape B, `KpiBatch`: named metrics, finite is enough, the catalogue's ranges lower the quality flag.
    Batch,
}

/// The name of a metric: one of the catalogue, or whatever the sender calls it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MetricName<'a> {
    /// A metric that the catalogue knows.
    Known(Kpi),
    /// Any other name.
    Custom(Cow<'a, str>),
}

impl MetricName<'_> {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(kpi) => kpi.name(),
            Self::Custom(name) => name,
        }
    }
}

impl<'a> From<&'a str> for MetricName<'a> {
    fn from(name: &'a str) -> Self {
        Kpi::from_name(name).map_or(Self::Custom(Cow::Borrowed(name)), Self::Known)
    }
}

impl<'a> From<Cow<'a, str>> for MetricName<'a> {
    fn from(name: Cow<'a, str>) -> Self {
        Kpi::from_name(&name).map_or(Self::Custom(name), Self::Known)
    }
}

/// One value of a report, in the metric's own unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Value<'a> {
    /// What was measured.
    pub metric: MetricName<'a>,
    /// What was read; anything until validated.
    pub value: f64,
}

/// One KPI report. A decoder reuses the `values` of the report before, so one body costs one allocation.
#[derive(Clone, Debug, PartialEq)]
pub struct Report<'a> {
    /// Who reports.
    pub agent_id: Cow<'a, str>,
    /// The task that was finished.
    pub task_id: Cow<'a, str>,
    /// When the values were read, by the sender's clock.
    pub recorded_at: Timestamp,
    /// Which wire shape it came in.
    pub shape: Shape,
    /// `execution_context.hostname` or `metadata.hostname`: the machine that the agent runs on.
    pub hostname: Option<Cow<'a, str>>,
    /// The values, in the order they were written.
    pub values: Vec<Value<'a>>,
}
