//! Names become dense numbers once, at the border: agents, metrics, and series, that is one metric of one agent.
//! In: validated reports. Out: [`Resolved`], the numbers of a report's names. Called from: the sources in `server`, which
//! hold one [`Names`] behind a lock: [`Names::resolve_report`] reads, [`Names::intern_report`] writes and is only needed
//! for a report with a name never seen.
//! Invariants: numbers count up from 0 without holes and never change; the catalogue's metrics have the numbers of
//! [`Kpi`]; a report that breaks a limit registers nothing. Append-only, so what is new since a number is what
//! [`Names::agents_from`] and its sisters give, and the `restore_` functions put it back in the same order.
//! Memory: 16 bytes per series and about 100 per agent, besides its name.

mod limits;

use std::hash::BuildHasher;

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;
use layer5_core::{AgentId, Kpi, MetricId, MetricName, Report, SeriesId, SeriesKey};
pub use limits::{CardinalityError, CardinalityLimits, RestoreError};

const N_KPIS: usize = Kpi::ALL.len();

/// Marks a metric of the catalogue that an agent has no series of.
const NO_SERIES: SeriesId = SeriesId(u32::MAX);

/// The numbers of a report's names; reused from report to report.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Who reports.
    pub agent: AgentId,
    /// Metric and series of each value, in the report's order.
    pub series: Vec<(MetricId, SeriesId)>,
    /// The report names another host than the one known: call [`Names::set_host`].
    pub host_changed: bool,
}

impl Default for Resolved {
    fn default() -> Self {
        Self {
            agent: AgentId(0),
            series: Vec::with_capacity(8),
            host_changed: false,
        }
    }
}

/// Every name that is known.
#[derive(Clone, Debug)]
pub struct Names {
    hasher: SeedableRandomState,
    agents: Vec<Agent>,
    agents_by_name: HashTable<u32>,
    metrics: Vec<Box<str>>,
    /// The custom ones; the catalogue's are known by their type.
    metrics_by_name: HashTable<u32>,
    series: Vec<SeriesKey>,
}

#[derive(Clone, Debug)]
struct Agent {
    name: Box<str>,
    host: Option<Box<str>>,
    /// The series of the catalogue's metrics, by their number.
    known: [SeriesId; N_KPIS],
    /// The series of custom metrics, sorted by metric.
    custom: Vec<(MetricId, SeriesId)>,
}

impl Names {
    /// Knows the catalogue's metrics and nothing else. `seed` only spreads names in memory, so that no sender can
    /// choose names that crowd one place; it shows in no result.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            hasher: SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()),
            agents: Vec::new(),
            agents_by_name: HashTable::new(),
            metrics: Kpi::ALL.into_iter().map(|kpi| kpi.name().into()).collect(),
            metrics_by_name: HashTable::new(),
            series: Vec::new(),
        }
    }

    /// The number of an agent.
    #[must_use]
    pub fn lookup_agent(&self, name: &str) -> Option<AgentId> {
        let hash = self.hasher.hash_one(name);
        let same = |&i: &u32| *self.agents[i as usize].name == *name;
        self.agents_by_name.find(hash, same).map(|&i| AgentId(i))
    }

    /// The number of a metric.
    #[must_use]
    pub fn lookup_metric(&self, metric: &MetricName<'_>) -> Option<MetricId> {
        match metric {
            MetricName::Known(kpi) => Some(MetricId::from(*kpi)),
            MetricName::Custom(name) => {
                let hash = self.hasher.hash_one(&**name);
                let same = |&i: &u32| *self.metrics[i as usize] == **name;
                self.metrics_by_name.find(hash, same).map(|&i| MetricId(i))
            }
        }
    }

    /// The number of the series of `metric` of `agent`.
    #[must_use]
    pub fn lookup_series(&self, agent: AgentId, metric: MetricId) -> Option<SeriesId> {
        self.agents.get(agent.index())?.series(metric)
    }

    /// Fills `out` with the numbers of a report's names, if all are known; otherwise [`Self::intern_report`] is needed.
    ///
    /// # Cost
    /// One hash of the agent's name, one of each custom metric's name; no allocation once `out` has grown.
    #[must_use]
    pub fn resolve_report(&self, report: &Report<'_>, out: &mut Resolved) -> bool {
        out.series.clear();
        let Some(agent) = self.lookup_agent(&report.agent_id) else {
            return false;
        };
        out.agent = agent;
        let agent = &self.agents[agent.index()];
        out.host_changed =
            report.hostname.is_some() && agent.host.as_deref() != report.hostname.as_deref();
        for value in &report.values {
            let Some(metric) = self.lookup_metric(&value.metric) else {
                return false;
            };
            let Some(series) = agent.series(metric) else {
                return false;
            };
            out.series.push((metric, series));
        }
        true
    }

    /// Fills `out` with the numbers of a report's names, registering those that are new, and its host.
    ///
    /// # Errors
    /// The first name that breaks a limit; nothing of the report is registered then.
    pub fn intern_report(
        &mut self,
        report: &Report<'_>,
        limits: &CardinalityLimits,
        out: &mut Resolved,
    ) -> Result<(), CardinalityError> {
        self.check_room(report, limits)?;
        out.series.clear();
        out.agent = self.intern_agent(&report.agent_id, limits)?;
        for value in &report.values {
            let metric = self.intern_metric(&value.metric, limits)?;
            let series = self.intern_series(out.agent, metric, limits)?;
            out.series.push((metric, series));
        }
        if let Some(host) = &report.hostname {
            self.set_host(out.agent, host);
        }
        out.host_changed = false;
        Ok(())
    }

    /// Whether there is room for every name of the report that is new.
    fn check_room(
        &self,
        report: &Report<'_>,
        limits: &CardinalityLimits,
    ) -> Result<(), CardinalityError> {
        let agent = self.lookup_agent(&report.agent_id);
        let (mut n_metrics, mut n_series) = (self.metrics.len(), self.series.len());
        let mut n_of_agent = agent.map_or(0, |agent| self.agents[agent.index()].n_series());
        if agent.is_none() {
            self.check_agents(&report.agent_id, limits)?;
        }
        for (i, value) in report.values.iter().enumerate() {
            let metric = self.lookup_metric(&value.metric);
            let series = agent
                .zip(metric)
                .and_then(|(agent, metric)| self.lookup_series(agent, metric));
            let repeated = || {
                report.values[..i]
                    .iter()
                    .any(|before| before.metric == value.metric)
            };
            if series.is_some() || repeated() {
                continue;
            }
            let name = value.metric.as_str();
            if metric.is_none() {
                check_metrics(n_metrics, name, limits)?;
                n_metrics += 1;
            }
            check_series(n_series, n_of_agent, name, limits)?;
            n_series += 1;
            n_of_agent += 1;
        }
        Ok(())
    }

    /// The number of an agent, a new one if it has none.
    ///
    /// # Errors
    /// [`CardinalityError::Agents`].
    pub fn intern_agent(
        &mut self,
        name: &str,
        limits: &CardinalityLimits,
    ) -> Result<AgentId, CardinalityError> {
        if let Some(agent) = self.lookup_agent(name) {
            return Ok(agent);
        }
        self.check_agents(name, limits)?;
        Ok(self.push_agent(name))
    }

    /// The number of a metric, a new one if it has none.
    ///
    /// # Errors
    /// [`CardinalityError::Metrics`].
    pub fn intern_metric(
        &mut self,
        metric: &MetricName<'_>,
        limits: &CardinalityLimits,
    ) -> Result<MetricId, CardinalityError> {
        if let Some(metric) = self.lookup_metric(metric) {
            return Ok(metric);
        }
        check_metrics(self.metrics.len(), metric.as_str(), limits)?;
        Ok(self.push_metric(metric.as_str()))
    }

    /// The number of the series of `metric` of `agent`, a new one if it has none.
    ///
    /// # Errors
    /// [`CardinalityError::Series`] or [`CardinalityError::MetricsPerAgent`].
    ///
    /// # Panics
    /// When `agent` or `metric` is not a number of these names.
    pub fn intern_series(
        &mut self,
        agent: AgentId,
        metric: MetricId,
        limits: &CardinalityLimits,
    ) -> Result<SeriesId, CardinalityError> {
        let of_agent = &self.agents[agent.index()];
        if let Some(series) = of_agent.series(metric) {
            return Ok(series);
        }
        check_series(
            self.series.len(),
            of_agent.n_series(),
            self.metric_name(metric),
            limits,
        )?;
        Ok(self.push_series(SeriesKey { agent, metric }))
    }

    /// Notes the machine that an agent runs on; true when that is news.
    ///
    /// # Panics
    /// When `agent` is not a number of these names.
    pub fn set_host(&mut self, agent: AgentId, host: &str) -> bool {
        let known = &mut self.agents[agent.index()].host;
        let news = known.as_deref() != Some(host);
        if news {
            *known = Some(host.into());
        }
        news
    }

    /// The name of an agent.
    ///
    /// # Panics
    /// When `agent` is not a number of these names; so for the other tables.
    #[must_use]
    pub fn agent_name(&self, agent: AgentId) -> &str {
        &self.agents[agent.index()].name
    }

    /// The machine that an agent runs on, if a report said so.
    #[must_use]
    pub fn host(&self, agent: AgentId) -> Option<&str> {
        self.agents[agent.index()].host.as_deref()
    }

    /// The name of a metric.
    #[must_use]
    pub fn metric_name(&self, metric: MetricId) -> &str {
        &self.metrics[metric.index()]
    }

    /// What a series is.
    #[must_use]
    pub fn series_key(&self, series: SeriesId) -> SeriesKey {
        self.series[series.index()]
    }

    /// The series of an agent, the catalogue's first, then by metric number.
    pub fn series_of(&self, agent: AgentId) -> impl Iterator<Item = (MetricId, SeriesId)> + '_ {
        let agent = &self.agents[agent.index()];
        let known = Kpi::ALL.into_iter().map(MetricId::from).zip(agent.known);
        known
            .filter(|&(_, series)| series != NO_SERIES)
            .chain(agent.custom.iter().copied())
    }

    /// How many agents are known.
    #[must_use]
    pub fn n_agents(&self) -> usize {
        self.agents.len()
    }

    /// How many metrics are known, the catalogue's five included.
    #[must_use]
    pub fn n_metrics(&self) -> usize {
        self.metrics.len()
    }

    /// How many series are known.
    #[must_use]
    pub fn n_series(&self) -> usize {
        self.series.len()
    }

    /// Number and name of the agents from number `n` on.
    pub fn agents_from(&self, n: usize) -> impl Iterator<Item = (AgentId, &str)> {
        let rest = self.agents.iter().enumerate().skip(n);
        rest.map(|(i, agent)| (AgentId(number(i)), &*agent.name))
    }

    /// Number and name of the metrics from number `n` on; the first five are the catalogue's.
    pub fn metrics_from(&self, n: usize) -> impl Iterator<Item = (MetricId, &str)> {
        let rest = self.metrics.iter().enumerate().skip(n);
        rest.map(|(i, name)| (MetricId(number(i)), &**name))
    }

    /// Number and key of the series from number `n` on.
    pub fn series_from(&self, n: usize) -> impl Iterator<Item = (SeriesId, SeriesKey)> + '_ {
        let rest = self.series.iter().enumerate().skip(n);
        rest.map(|(i, &key)| (SeriesId(number(i)), key))
    }

    /// Puts back an agent, in the order of the numbers.
    ///
    /// # Errors
    /// [`RestoreError::OutOfOrder`] or [`RestoreError::Twice`].
    pub fn restore_agent(&mut self, agent: AgentId, name: &str) -> Result<(), RestoreError> {
        in_order("agent", agent.0, self.agents.len())?;
        if self.lookup_agent(name).is_some() {
            return Err(RestoreError::Twice {
                kind: "agent",
                found: agent.0,
            });
        }
        self.push_agent(name);
        Ok(())
    }

    /// Puts back a metric, in the order of the numbers; the catalogue's are there already and are passed over.
    ///
    /// # Errors
    /// [`RestoreError::OutOfOrder`], or [`RestoreError::Twice`] for a name with another number, the catalogue's included.
    pub fn restore_metric(&mut self, metric: MetricId, name: &str) -> Result<(), RestoreError> {
        if let Some(known) = self.lookup_metric(&MetricName::from(name)) {
            let catalogued = metric.index() < N_KPIS && known == metric;
            return if catalogued {
                Ok(())
            } else {
                Err(RestoreError::Twice {
                    kind: "metric",
                    found: metric.0,
                })
            };
        }
        in_order("metric", metric.0, self.metrics.len())?;
        self.push_metric(name);
        Ok(())
    }

    /// Puts back a series, in the order of the numbers, its agent and its metric first.
    ///
    /// # Errors
    /// Any [`RestoreError`].
    pub fn restore_series(&mut self, series: SeriesId, key: SeriesKey) -> Result<(), RestoreError> {
        in_order("series", series.0, self.series.len())?;
        let known_names =
            key.agent.index() < self.agents.len() && key.metric.index() < self.metrics.len();
        if !known_names {
            return Err(RestoreError::Dangling { found: series.0 });
        }
        if self.lookup_series(key.agent, key.metric).is_some() {
            return Err(RestoreError::Twice {
                kind: "series",
                found: series.0,
            });
        }
        self.push_series(key);
        Ok(())
    }

    fn check_agents(&self, name: &str, limits: &CardinalityLimits) -> Result<(), CardinalityError> {
        if self.agents.len() < limits.agents_max {
            return Ok(());
        }
        Err(CardinalityError::Agents {
            name: name.to_owned(),
            limit: limits.agents_max,
        })
    }

    fn push_agent(&mut self, name: &str) -> AgentId {
        let id = number(self.agents.len());
        self.agents.push(Agent {
            name: name.into(),
            host: None,
            known: [NO_SERIES; N_KPIS],
            custom: Vec::new(),
        });
        let (hasher, agents) = (&self.hasher, &self.agents);
        let rehash = |&i: &u32| hasher.hash_one(&*agents[i as usize].name);
        self.agents_by_name
            .insert_unique(hasher.hash_one(name), id, rehash);
        AgentId(id)
    }

    fn push_metric(&mut self, name: &str) -> MetricId {
        let id = number(self.metrics.len());
        self.metrics.push(name.into());
        let (hasher, metrics) = (&self.hasher, &self.metrics);
        let rehash = |&i: &u32| hasher.hash_one(&*metrics[i as usize]);
        self.metrics_by_name
            .insert_unique(hasher.hash_one(name), id, rehash);
        MetricId(id)
    }

    fn push_series(&mut self, key: SeriesKey) -> SeriesId {
        let series = SeriesId(number(self.series.len()));
        self.series.push(key);
        let agent = &mut self.agents[key.agent.index()];
        match agent.known.get_mut(key.metric.index()) {
            Some(known) => *known = series,
            None => {
                let place = agent
                    .custom
                    .partition_point(|&(metric, _)| metric < key.metric);
                agent.custom.insert(place, (key.metric, series));
            }
        }
        series
    }
}

impl Agent {
    fn series(&self, metric: MetricId) -> Option<SeriesId> {
        if let Some(&series) = self.known.get(metric.index()) {
            return (series != NO_SERIES).then_some(series);
        }
        let place = self
            .custom
            .binary_search_by_key(&metric, |&(metric, _)| metric);
        place.ok().map(|i| self.custom[i].1)
    }

    fn n_series(&self) -> usize {
        self.custom.len()
            + self
                .known
                .iter()
                .filter(|&&series| series != NO_SERIES)
                .count()
    }
}

fn check_metrics(n: usize, name: &str, limits: &CardinalityLimits) -> Result<(), CardinalityError> {
    if n < limits.metrics_max {
        return Ok(());
    }
    Err(CardinalityError::Metrics {
        name: name.to_owned(),
        limit: limits.metrics_max,
    })
}

fn check_series(
    n: usize,
    n_of_agent: usize,
    name: &str,
    limits: &CardinalityLimits,
) -> Result<(), CardinalityError> {
    if n >= limits.series_max {
        return Err(CardinalityError::Series {
            name: name.to_owned(),
            limit: limits.series_max,
        });
    }
    if n_of_agent >= limits.metrics_per_agent_max {
        return Err(CardinalityError::MetricsPerAgent {
            name: name.to_owned(),
            limit: limits.metrics_per_agent_max,
        });
    }
    Ok(())
}

fn in_order(kind: &'static str, found: u32, n: usize) -> Result<(), RestoreError> {
    let expected = number(n);
    if found == expected {
        return Ok(());
    }
    Err(RestoreError::OutOfOrder {
        kind,
        found,
        expected,
    })
}

/// The number of the `i`-th name.
fn number(i: usize) -> u32 {
    u32::try_from(i).expect("the limits keep tables far below 2^32 entries")
}

#[cfg(test)]
mod tests;
