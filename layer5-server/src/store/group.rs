//! A group: everything that became durable together, and the unit of the log. State is a function of the groups.
//! In: built by the committer. Out: to [`Store::commit`](super::Store::commit), and back from the log on replay.
//! Invariants: `seq` rises by one; `reports[i].n_samples` sum to `samples.len()`; names in `new_*` are new to the log.

use layer5_core::{
    AgentId, MetricId, PatternEvent, Recommendation, Sample, SeriesId, SeriesKey, Timestamp,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::control::Control;

/// What one durable commit holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Position in the log; the first group of a store is 1.
    pub seq: u64,
    /// Wall clock of the commit. Part of the log, so that a replay sees the time that the first run saw.
    pub at: Timestamp,
    /// Whether the shards summarise and the tuner steps after this group.
    pub tick: bool,
    /// Agents first seen here.
    pub new_agents: Vec<(AgentId, String)>,
    /// The host that an agent was first seen on, or moved to.
    pub new_hosts: Vec<(AgentId, String)>,
    /// Metric names first seen here.
    pub new_metrics: Vec<(MetricId, String)>,
    /// Series first seen here.
    pub new_series: Vec<(SeriesId, SeriesKey)>,
    /// The reports taken, in order of acceptance.
    pub reports: Vec<StoredReport>,
    /// Their samples, in report order.
    pub samples: Vec<Sample>,
    /// Happenings other than samples, in order.
    pub controls: Vec<Control>,
    /// How far each source was read, `(source, offset)`; the newest of a source counts.
    pub offsets: Vec<(String, String)>,
    /// What the refinery decided on earlier groups.
    pub effects: Effects,
}

/// One accepted report: what a duplicate is recognised by, and how many of the group's samples are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredReport {
    /// The dedup key.
    pub key: u128,
    /// Its share of [`Group::samples`].
    pub n_samples: u16,
}

/// Decisions that become visible (and leave) with the group that carries them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// Patterns found; an id that is stored already is left alone.
    pub events: Vec<PatternEvent>,
    /// Advice, put into history and outbox unless its `optimization_id` is there already.
    pub recommendations: Vec<StoredRecommendation>,
    /// Outcomes.
    pub evaluations: Vec<Evaluation>,
    /// Acknowledged by Layer7, or handed out to its poll: out of the outbox.
    pub delivered: Vec<Uuid>,
    /// Refused by Layer7 for good, with its words: out of the outbox.
    pub refused: Vec<(Uuid, String)>,
}

impl Effects {
    /// Whether nothing was decided.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.recommendations.is_empty()
            && self.evaluations.is_empty()
            && self.delivered.is_empty()
            && self.refused.is_empty()
    }
}

/// Advice with where it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredRecommendation {
    /// What leaves.
    pub recommendation: Recommendation,
    /// The study that proposed it.
    pub study: String,
    /// Its trial within the study.
    pub trial: u64,
    /// The sampler's name.
    pub proposed_by: String,
    /// Kept in history only, not sent: dry run.
    pub dry_run: bool,
}

/// The outcome of a recommendation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Of which.
    pub optimization_id: Uuid,
    /// Improvement of the objective as a ratio, positive is better.
    pub observed_improvement: f64,
    /// When it was known.
    pub at: Timestamp,
}

/// What the store holds, counted over its whole life (retention does not lower it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Accepted reports.
    pub reports: u64,
    /// Their samples.
    pub samples: u64,
    /// Groups.
    pub groups: u64,
    /// The newest group; 0 in an empty store.
    pub last_seq: u64,
}

impl Totals {
    /// These totals with `group` added.
    pub(super) fn plus(self, group: &Group) -> Self {
        Self {
            reports: self.reports + group.reports.len() as u64,
            samples: self.samples + group.samples.len() as u64,
            groups: self.groups + 1,
            last_seq: group.seq,
        }
    }
}
