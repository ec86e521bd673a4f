//! How many names there may be, and what is said when there are more, or when stored ones do not fit.
//! In: limits of the configuration. Out: errors that name the limit. Called from: [`super::Names`].

use layer5_core::{Reason, Rejection};

/// How many names may be known; the answer beyond is a [`CardinalityError`], while known series keep flowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardinalityLimits {
    /// Most agents.
    pub agents_max: usize,
    /// Most metric names, the catalogue's five included.
    pub metrics_max: usize,
    /// Most series, of all agents together.
    pub series_max: usize,
    /// Most series of one agent.
    pub metrics_per_agent_max: usize,
}

impl Default for CardinalityLimits {
    fn default() -> Self {
        Self {
            agents_max: 100_000,
            metrics_max: 10_000,
            series_max: 1_000_000,
            metrics_per_agent_max: 1_000,
        }
    }
}

/// A name too many; nothing was registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CardinalityError {
    /// The agent is new and [`CardinalityLimits::agents_max`] are known.
    #[error("agent {name} is new and {limit} agents are known, the limit (agents_max)")]
    Agents {
        /// The name.
        name: String,
        /// The limit.
        limit: usize,
    },
    /// The metric is new and [`CardinalityLimits::metrics_max`] are known.
    #[error("metric {name} is new and {limit} metrics are known, the limit (metrics_max)")]
    Metrics {
        /// The name.
        name: String,
        /// The limit.
        limit: usize,
    },
    /// The series is new and [`CardinalityLimits::series_max`] are known.
    #[error(
        "a series of metric {name} is new and {limit} series are known, the limit (series_max)"
    )]
    Series {
        /// The metric's name.
        name: String,
        /// The limit.
        limit: usize,
    },
    /// The series is new and the agent has [`CardinalityLimits::metrics_per_agent_max`].
    #[error("metric {name} is new for an agent with {limit}, the limit (metrics_per_agent_max)")]
    MetricsPerAgent {
        /// The metric's name.
        name: String,
        /// The limit.
        limit: usize,
    },
}

impl From<CardinalityError> for Rejection {
    fn from(error: CardinalityError) -> Self {
        let field = match &error {
            CardinalityError::Agents { .. } => "agent_id",
            CardinalityError::Metrics { name, .. }
            | CardinalityError::Series { name, .. }
            | CardinalityError::MetricsPerAgent { name, .. } => name,
        };
        Self::new(Reason::Cardinality, field, error.to_string())
    }
}

/// What was to be restored does not continue what is there: the stored names are damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// A number was left out or came twice.
    #[error("{kind} number {found}, expected {expected}")]
    OutOfOrder {
        /// `agent`, `metric` or `series`.
        kind: &'static str,
        /// The number that came.
        found: u32,
        /// The next free number.
        expected: u32,
    },
    /// The name, or the series, has a number already.
    #[error("{kind} number {found} is known under another number")]
    Twice {
        /// `agent`, `metric` or `series`.
        kind: &'static str,
        /// The number that came.
        found: u32,
    },
    /// A series of an agent or a metric that is not known.
    #[error("series number {found} is of an unknown agent or metric")]
    Dangling {
        /// The number that came.
        found: u32,
    },
}
