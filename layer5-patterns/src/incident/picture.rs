//! An incident as it looks from outside: how large it is, how much it matters, and who moved first.
//! In: an [`Incident`] with its series. Out: a [`Picture`] of plain numbers. Called from: [`super::Incidents::pictures`].
//! Invariants: a function of the incident's members and the number of agents alone; bounded in size whatever the incident's.

use std::collections::BTreeMap;

use layer5_core::{AgentId, Direction, MetricId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Incident, sign};
use crate::alarm::Severity;

/// Metrics told of one incident.
const MOVERS_MAX: usize = 8;
/// Agents from which an incident is critical, whatever their share.
const CRITICAL_AGENTS: usize = 5;
/// Share of all agents from which it is.
const CRITICAL_SHARE: f64 = 0.1;

/// One series of an agent: when it began, which metric, how strange.
type Begun = (Timestamp, Option<MetricId>, f64);
type ByAgent = BTreeMap<AgentId, Vec<Begun>>;

/// Who was hit first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FirstMover {
    /// The agent.
    pub agent: AgentId,
    /// Its host.
    pub host: Option<u32>,
    /// Its metric that moved first.
    pub metric: Option<MetricId>,
    /// When.
    pub at: Timestamp,
    /// Seconds before half of the agents were hit.
    pub lead_seconds: f64,
}

/// One metric's part in an incident.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Movers {
    /// The metric; `None` for agents that fell silent.
    pub metric: Option<MetricId>,
    /// Which way most of them moved.
    pub direction: Direction,
    /// On how many agents.
    pub n_agents: usize,
}

/// An incident as it looks from outside: plain numbers, bounded in size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// Its number.
    pub id: u64,
    /// When its first symptom began.
    pub start: Timestamp,
    /// When its last symptom was told.
    pub end: Timestamp,
    /// When it was closed; `None` while it is open.
    pub closed_at: Option<Timestamp>,
    /// Symptoms, series, agents and hosts.
    pub n_symptoms: u64,
    /// See `n_symptoms`.
    pub n_series: usize,
    /// See `n_symptoms`.
    pub n_agents: usize,
    /// See `n_symptoms`; agents whose host is not known count on none.
    pub n_hosts: usize,
    /// Series whose level has come back.
    pub n_recovered: usize,
    /// Who was hit first.
    pub first: FirstMover,
    /// The metrics, by the number of agents; at most eight.
    pub movers: Vec<Movers>,
    /// How much attention it asks for.
    pub severity: Severity,
    /// By what incidents are ranked: the sum over its agents of how strange the strangest of their series is.
    pub weight: f64,
}

impl Incident {
    pub(super) fn picture(&self, n_agents_known: usize) -> Picture {
        let mut by_agent: ByAgent = BTreeMap::new();
        for ((agent, metric), member) in &self.members {
            by_agent
                .entry(*agent)
                .or_default()
                .push((member.start, *metric, member.score));
        }
        for series in by_agent.values_mut() {
            series.sort_by_key(|(start, metric, _)| (*start, *metric));
        }
        let best = |series: &Vec<Begun>| {
            series
                .iter()
                .map(|(_, _, score)| *score)
                .fold(0.0, f64::max)
        };
        let silent = self.members.values().any(|member| member.silent);
        let n_agents = by_agent.len();
        let large = CRITICAL_AGENTS.max((CRITICAL_SHARE * n_agents_known as f64).ceil() as usize);
        let severity = if n_agents >= large {
            Severity::Critical
        } else if self.members.len() > 1 || silent {
            Severity::Warning
        } else {
            Severity::Notice
        };
        Picture {
            id: self.id,
            start: self.begun.first,
            end: self.last_told,
            closed_at: self.closed_at,
            n_symptoms: self.n_symptoms,
            n_series: self.members.len(),
            n_agents,
            n_hosts: self.hosts.len(),
            n_recovered: self
                .members
                .values()
                .filter(|member| member.recovered_at.is_some())
                .count(),
            first: self.first_mover(&by_agent),
            movers: self.movers(),
            severity,
            weight: by_agent.values().map(best).sum(),
        }
    }

    /// The agent whose series, taken together, moved first.
    ///
    /// An agent counts by the median beginning of its series, and only if at least half as many of them moved as on most
    /// agents: a false alarm on one series beforehand does not make its agent the cause.
    fn first_mover(&self, by_agent: &ByAgent) -> FirstMover {
        let mut sizes: Vec<usize> = by_agent.values().map(Vec::len).collect();
        sizes.sort_unstable();
        let usual = sizes.get(sizes.len() / 2).copied().unwrap_or(1);
        let middle = |series: &[Begun]| series[(series.len() - 1) / 2].0;
        let candidates = by_agent
            .iter()
            .filter(|(_, series)| 2 * series.len() >= usual);
        let first = candidates
            .min_by_key(|(agent, series)| (middle(series), usize::MAX - series.len(), **agent));
        let mut onsets: Vec<Timestamp> = by_agent.values().map(|series| middle(series)).collect();
        onsets.sort_unstable();
        let half = onsets
            .get(onsets.len() / 2)
            .copied()
            .unwrap_or(self.begun.first);
        let (agent, at, metric) = first
            .map_or((AgentId(0), self.begun.first, None), |(agent, series)| {
                (*agent, middle(series), series[0].1)
            });
        FirstMover {
            agent,
            host: self.homes.get(&agent).copied(),
            metric,
            at,
            lead_seconds: half.seconds_since(at).max(0.0),
        }
    }

    fn movers(&self) -> Vec<Movers> {
        let mut counts: BTreeMap<Option<MetricId>, (usize, i64)> = BTreeMap::new();
        for ((_, metric), member) in &self.members {
            let (n, balance) = counts.entry(*metric).or_default();
            *n += 1;
            *balance += i64::from(sign(member.direction));
        }
        let mut movers: Vec<Movers> = counts
            .into_iter()
            .map(|(metric, (n_agents, balance))| Movers {
                metric,
                n_agents,
                direction: match balance.signum() {
                    1 => Direction::Up,
                    -1 => Direction::Down,
                    _ => Direction::None,
                },
            })
            .collect();
        movers.sort_by_key(|m| (usize::MAX - m.n_agents, m.metric));
        movers.truncate(MOVERS_MAX);
        movers
    }
}
