//! What a shard tells the tuner of one agent at a tick: the sums of its objective and guard metrics since the last.
//! In: samples, by [`super::shard`]. Out: one [`Reading`] per agent that reported. Called from: the tick.
//! Invariants: sums are finite; `first <= last`; an agent without new samples has no reading.

use layer5_core::{AgentId, MetricId, Timestamp};
use serde::{Deserialize, Serialize};

/// The metrics that matter for tuning; every other metric is watched but not summed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roles {
    /// The metrics that any cohort minimises, maximises or guards, in rising order, at most [`Reading::METRICS_MAX`].
    pub metrics: Vec<MetricId>,
}

impl Roles {
    /// The place of `metric` in a reading's sums.
    #[must_use]
    pub fn slot(&self, metric: MetricId) -> Option<usize> {
        self.metrics.iter().position(|&m| m == metric)
    }
}

/// Sum and count of one metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sum {
    /// How many samples.
    pub n: u32,
    /// Their sum, in the metric's unit.
    pub sum: f64,
}

impl Sum {
    /// The mean, if there was a sample.
    #[must_use]
    pub fn mean(self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / f64::from(self.n))
    }
}

/// What one agent reported between two ticks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Who.
    pub agent: AgentId,
    /// `recorded_at` of the oldest sample.
    pub first: Timestamp,
    /// `recorded_at` of the newest sample.
    pub last: Timestamp,
    /// Per slot of [`Roles`].
    pub sums: [Sum; Self::METRICS_MAX],
}

impl Reading {
    /// Most distinct objective and guard metrics over all cohorts.
    pub const METRICS_MAX: usize = 8;

    /// A reading that begins with a sample at `at`.
    #[must_use]
    pub fn starting(agent: AgentId, at: Timestamp) -> Self {
        Self {
            agent,
            first: at,
            last: at,
            sums: Default::default(),
        }
    }

    /// Counts one sample of the metric in `slot`.
    pub fn add(&mut self, slot: usize, at: Timestamp, value: f64) {
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        self.sums[slot].n += 1;
        self.sums[slot].sum += value;
    }
}
