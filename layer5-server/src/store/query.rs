//! What the store is asked and what it answers: plain rows.
//! In: questions from HTTP handlers and the outbox. Out: rows. Called from: everywhere behind the store.
//! Invariants: `number`s and ids rise; a page is continued with the last one seen.

use layer5_core::{AgentId, MetricId, PatternEvent, PatternKind, SeriesId, SeriesKey, Timestamp};
use serde::{Deserialize, Serialize};

use super::group::{Evaluation, StoredRecommendation};

/// Which patterns, oldest first. The default asks for the first 100 of all.
#[derive(Clone, Debug, PartialEq)]
pub struct PatternQuery {
    /// Only ids above this one; `None` starts at the oldest.
    pub after: Option<u64>,
    /// At most so many; 0 counts as 1.
    pub limit: usize,
    /// Only this kind.
    pub kind: Option<PatternKind>,
    /// Only this agent.
    pub agent_id: Option<String>,
    /// Only patterns that end at or after this moment.
    pub from: Option<Timestamp>,
    /// Only patterns that start before this moment.
    pub to: Option<Timestamp>,
}

impl Default for PatternQuery {
    fn default() -> Self {
        Self {
            after: None,
            limit: 100,
            kind: None,
            agent_id: None,
            from: None,
            to: None,
        }
    }
}

impl PatternQuery {
    /// Whether `event` is asked for, its id and the limit aside.
    #[must_use]
    pub fn admits(&self, event: &PatternEvent) -> bool {
        self.kind.is_none_or(|kind| event.finding.kind == kind)
            && self
                .agent_id
                .as_ref()
                .is_none_or(|agent| event.agent_id == *agent)
            && self.from.is_none_or(|from| event.finding.end >= from)
            && self.to.is_none_or(|to| event.finding.start < to)
    }
}

/// Where a recommendation is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecommendationState {
    /// In the outbox.
    Pending,
    /// Layer7 has it.
    Delivered,
    /// Its outcome is known.
    Evaluated,
    /// Layer7 refused it for good.
    Rejected,
    /// Kept for people to see, never sent.
    DryRun,
}

/// A recommendation with its history.
#[derive(Clone, Debug, PartialEq)]
pub struct RecommendationRow {
    /// Its place in the order of issue, from 1.
    pub number: u64,
    /// What was advised, and by whom.
    pub stored: StoredRecommendation,
    /// Where it is.
    pub state: RecommendationState,
    /// Layer7's words when it refused, otherwise empty.
    pub refusal: String,
    /// Its outcome, once known.
    pub evaluation: Option<Evaluation>,
}

/// A refused report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// Its place in the order of refusal, from 1.
    pub number: u64,
    /// When it came.
    pub at: Timestamp,
    /// By which source.
    pub source: String,
    /// The class of the mistake.
    pub reason: String,
    /// The field at fault.
    pub field: String,
    /// The value and the limit it broke.
    pub detail: String,
    /// What came.
    pub raw: Vec<u8>,
}

/// Every name that the log has given a number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredNames {
    /// Agents, by rising number.
    pub agents: Vec<(AgentId, String)>,
    /// The host of an agent, where known.
    pub hosts: Vec<(AgentId, String)>,
    /// Metrics, by rising number.
    pub metrics: Vec<(MetricId, String)>,
    /// Series, by rising number.
    pub series: Vec<(SeriesId, SeriesKey)>,
}

/// Room on the disk that holds the store, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Free for this user.
    pub free: u64,
    /// Of the whole file system.
    pub total: u64,
}
