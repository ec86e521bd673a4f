//! Thousands of findings become few incidents: what began together, on the same agents, hosts or metrics, is one event.
//! In: the [`Symptom`]s of a tick, in event time. Out: [`Incident`]s, open and closed, and for each a [`Picture`] with its
//! size, its severity and who moved first. Called from: `server/refinery`.
//! The way: symptoms are links. Two belong together when they are of one agent, of one host, or move the same metric the
//! same way on different agents, and begin within a few sampling intervals of each other; whatever is linked through
//! others is one incident, so incidents merge when a symptom links them. A level that comes back is the recovery of the
//! incident that moved it, not a new one.
//! Invariants: a function of the symptoms and their order alone (no clock, no chance); bounded memory whatever comes:
//! [`IncidentConfig`] names the limits, and at each the least matter gives way; ids rise and are never used twice.
//! Reference: the correlation rules are those of alarm correlation by temporal and topological proximity, Jakobson and
//! Weissman (1993), "Alarm correlation", IEEE Network 7(6).

mod picture;

pub use picture::{FirstMover, Movers, Picture};

use std::collections::{BTreeMap, VecDeque};

use layer5_core::event::Detail;
use layer5_core::{AgentId, Direction, Finding, MetricId, PatternKind, Timestamp};
use serde::{Deserialize, Serialize};

use crate::alarm::Severity;

/// How symptoms are put together, and the limits. The defaults need no tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentConfig {
    /// Sampling intervals within which two symptoms of one agent or host belong together. Default 6: a change of level is
    /// dated to within a few samples.
    pub near_intervals: f64,
    /// The same for one metric on different agents. Default 3: there only the time speaks for a common cause.
    pub across_intervals: f64,
    /// Sampling intervals without a new symptom after which an incident is closed. Default 24: changes are confirmed
    /// that late at most.
    pub quiet_intervals: f64,
    /// Seconds that one interval counts as at least. Default 10.
    pub interval_seconds_min: f64,
    /// Seconds after its end in which a level that comes back is the recovery of an incident. Default one day.
    pub recovery_seconds: f64,
    /// Open incidents, at most; the smallest is closed when there are more. Default 64.
    pub open_max: usize,
    /// Series of one incident that are remembered, at most; more are counted. Default 50 000.
    pub members_max: usize,
    /// Closed incidents that are kept, at most; the oldest goes. Default 1000.
    pub closed_max: usize,
    /// Closed incidents whose series are remembered to know their recovery, at most. Default 16.
    pub remembered_max: usize,
}

impl Default for IncidentConfig {
    fn default() -> Self {
        Self {
            near_intervals: 6.0,
            across_intervals: 3.0,
            quiet_intervals: 24.0,
            interval_seconds_min: 10.0,
            recovery_seconds: 86_400.0,
            open_max: 64,
            members_max: 50_000,
            closed_max: 1000,
            remembered_max: 16,
        }
    }
}

/// A finding with where it was made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Symptom {
    /// Whose series.
    pub agent: AgentId,
    /// Where that agent runs; `None` where nobody said.
    pub host: Option<u32>,
    /// Which metric; `None` for the agent as a whole.
    pub metric: Option<MetricId>,
    /// Usual seconds between two reports of the agent.
    pub interval_seconds: f64,
    /// What was found.
    pub finding: Finding,
}

impl Symptom {
    /// Whether a finding tells of something wrong now: an anomaly, a new regime, an agent unlike its peers, a limit ahead.
    /// A season, a slow trend or a shape that comes back does not.
    #[must_use]
    pub fn counts(finding: &Finding) -> bool {
        matches!(
            finding.kind,
            PatternKind::Anomaly
                | PatternKind::ChangePoint
                | PatternKind::Cluster
                | PatternKind::ForecastBreach
        )
    }
}

/// What is remembered of one series in an incident.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Member {
    start: Timestamp,
    direction: Direction,
    score: f64,
    kind: PatternKind,
    silent: bool,
    /// When its level came back.
    recovered_at: Option<Timestamp>,
}

/// Earliest and latest beginning.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Span {
    first: Timestamp,
    last: Timestamp,
}

impl Span {
    fn at(at: Timestamp) -> Self {
        Self {
            first: at,
            last: at,
        }
    }

    fn add(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }

    /// Seconds from `at` to the nearest moment of the span.
    fn distance(&self, at: Timestamp) -> f64 {
        if at < self.first {
            self.first.seconds_since(at)
        } else {
            at.seconds_since(self.last).max(0.0)
        }
    }
}

type Series = (AgentId, Option<MetricId>);
/// A metric and which way it moves: 1, -1, 0.
type Movement = (Option<MetricId>, i8);

fn sign(direction: Direction) -> i8 {
    match direction {
        Direction::Up => 1,
        Direction::Down => -1,
        Direction::None => 0,
    }
}

/// Symptoms that belong together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its number, from 1.
    pub id: u64,
    /// When it was closed, in event time; `None` while it is open.
    pub closed_at: Option<Timestamp>,
    /// Symptoms so far, those beyond the limit of members included.
    pub n_symptoms: u64,
    begun: Span,
    last_told: Timestamp,
    interval_seconds: f64,
    members: BTreeMap<Series, Member>,
    agents: BTreeMap<AgentId, Span>,
    homes: BTreeMap<AgentId, u32>,
    hosts: BTreeMap<u32, Span>,
    movements: BTreeMap<Movement, Span>,
}

/// Sampling intervals after a recovery in which what is found in the series belongs to it.
const AFTERMATH_INTERVALS: f64 = 48.0;
/// All incidents.
///
/// ```
/// use layer5_core::event::Detail;
/// use layer5_core::{AgentId, Direction, Finding, MetricId, PatternKind, Timestamp};
/// use layer5_patterns::incident::{Incidents, Symptom};
///
/// let found = |agent: u32, second: i64| {
///     let at = Timestamp::from_millis(second * 1000);
///     let finding = Finding {
///         kind: PatternKind::Anomaly, detail: Detail::Plain, start: at, end: at, detected_at: at, score: 0.9,
///         confidence: 0.9, direction: Direction::Up, magnitude: 10.0, baseline: 40.0,
///     };
///     Symptom { agent: AgentId(agent), host: Some(1), metric: Some(MetricId(0)), interval_seconds: 10.0, finding }
/// };
/// let mut incidents = Incidents::default();
/// let mut hit: Vec<Symptom> = (0..50).map(|agent| found(agent, 1000 + i64::from(agent % 3))).collect();
/// hit.push(found(50, 980));
/// incidents.tick(&mut hit, Timestamp::from_millis(1_010_000));
/// let pictures = incidents.pictures(60);
/// assert_eq!(pictures.len(), 1);
/// assert_eq!(pictures[0].n_agents, 51);
/// assert_eq!(pictures[0].first.agent, AgentId(50));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Incidents {
    config: IncidentConfig,
    last_id: u64,
    open: Vec<Incident>,
    remembered: VecDeque<Incident>,
    closed: VecDeque<Picture>,
}

impl Incidents {
    /// None so far.
    #[must_use]
    pub fn new(config: IncidentConfig) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// Takes the symptoms of a tick; `now` is the newest event time. Symptoms that do not [count](Symptom::counts) are
    /// passed over; the rest is sorted by beginning, agent and metric, so their order does not matter.
    ///
    /// # Cost
    /// O(log n) for each symptom and open incident.
    pub fn tick(&mut self, symptoms: &mut Vec<Symptom>, now: Timestamp) {
        symptoms.retain(|symptom| Symptom::counts(&symptom.finding));
        symptoms.sort_by_key(|s| (s.finding.start, s.agent, s.metric, s.finding.kind));
        for symptom in symptoms.iter() {
            self.take(symptom);
        }
        self.close_quiet(now);
    }

    /// How many are open.
    #[must_use]
    pub fn n_open(&self) -> usize {
        self.open.len()
    }

    /// Every incident that is kept, by number. `n_agents`: agents known in all, for the severity.
    #[must_use]
    pub fn pictures(&self, n_agents: usize) -> Vec<Picture> {
        let remembered = self
            .remembered
            .iter()
            .map(|incident| incident.picture(n_agents));
        let open = self.open.iter().map(|incident| incident.picture(n_agents));
        let mut all: Vec<Picture> = self
            .closed
            .iter()
            .cloned()
            .chain(remembered)
            .chain(open)
            .collect();
        all.sort_by_key(|picture| picture.id);
        all
    }

    fn take(&mut self, symptom: &Symptom) {
        let recovery = self.config.recovery_seconds;
        let mut known = self.open.iter_mut().chain(&mut self.remembered);
        if known.any(|incident| incident.recovers(symptom, recovery)) {
            return;
        }
        let linked: Vec<usize> = (0..self.open.len())
            .filter(|&i| self.open[i].links(symptom, &self.config))
            .collect();
        let Some((&first, others)) = linked.split_first() else {
            self.begin(symptom);
            return;
        };
        for &other in others.iter().rev() {
            let merged = self.open.remove(other);
            self.open[first].absorb(merged, self.config.members_max);
        }
        self.open[first].add(symptom, self.config.members_max);
    }

    fn begin(&mut self, symptom: &Symptom) {
        if self.open.len() >= self.config.open_max.max(1) {
            let size = |i: &usize| (self.open[*i].agents.len(), self.open[*i].last_told);
            if let Some(least) = (0..self.open.len()).min_by_key(size) {
                let incident = self.open.remove(least);
                let at = incident.last_told;
                self.close(incident, at);
            }
        }
        self.last_id += 1;
        self.open
            .push(Incident::new(self.last_id, symptom, &self.config));
    }

    fn close_quiet(&mut self, now: Timestamp) {
        let quiet = self.config.quiet_intervals;
        let over = |i: &Incident| now.seconds_since(i.last_told) > quiet * i.interval_seconds;
        while let Some(i) = self.open.iter().position(over) {
            let incident = self.open.remove(i);
            let at = incident
                .last_told
                .plus_seconds(quiet * incident.interval_seconds);
            self.close(incident, at);
        }
    }

    fn close(&mut self, mut incident: Incident, at: Timestamp) {
        incident.closed_at = Some(at);
        self.remembered.push_back(incident);
        if self.remembered.len() <= self.config.remembered_max {
            return;
        }
        // What concerns one series alone is forgotten first: nobody will ask for its recovery.
        let lone = self.remembered.iter().position(|i| i.members.len() == 1);
        if let Some(oldest) = self.remembered.remove(lone.unwrap_or(0)) {
            self.closed.push_back(oldest.picture(0));
        }
        while self.closed.len() > self.config.closed_max {
            let lone = self
                .closed
                .iter()
                .position(|p| p.severity == Severity::Notice);
            self.closed.remove(lone.unwrap_or(0));
        }
    }
}

impl Incident {
    fn new(id: u64, symptom: &Symptom, config: &IncidentConfig) -> Self {
        let start = symptom.finding.start;
        let mut incident = Self {
            id,
            closed_at: None,
            n_symptoms: 0,
            begun: Span::at(start),
            last_told: symptom.finding.detected_at,
            interval_seconds: config.interval_seconds_min,
            members: BTreeMap::new(),
            agents: BTreeMap::new(),
            homes: BTreeMap::new(),
            hosts: BTreeMap::new(),
            movements: BTreeMap::new(),
        };
        incident.add(symptom, config.members_max);
        incident
    }

    /// Whether a symptom began near what this incident has of the same agent, host, or movement.
    fn links(&self, symptom: &Symptom, config: &IncidentConfig) -> bool {
        let start = symptom.finding.start;
        let interval = symptom.interval_seconds.max(config.interval_seconds_min);
        let near = |span: Option<&Span>, intervals: f64| {
            span.is_some_and(|span| span.distance(start) <= intervals * interval)
        };
        let movement = (symptom.metric, sign(symptom.finding.direction));
        near(self.agents.get(&symptom.agent), config.near_intervals)
            || near(
                symptom.host.and_then(|host| self.hosts.get(&host)),
                config.near_intervals,
            )
            || near(self.movements.get(&movement), config.across_intervals)
    }

    /// Counts a series that comes back. Returns whether the symptom was that, or what the watch still had to say while
    /// it learned the old level anew.
    fn recovers(&mut self, symptom: &Symptom, within_seconds: f64) -> bool {
        let finding = &symptom.finding;
        let moves = matches!(
            finding.kind,
            PatternKind::ChangePoint | PatternKind::Anomaly
        );
        if !moves || finding.start.seconds_since(self.last_told) > within_seconds {
            return false;
        }
        let Some(member) = self.members.get_mut(&(symptom.agent, symptom.metric)) else {
            return false;
        };
        if let Some(at) = member.recovered_at {
            return finding.start.seconds_since(at) <= AFTERMATH_INTERVALS * self.interval_seconds;
        }
        let back =
            sign(member.direction) * sign(finding.direction) == -1 && finding.start > member.start;
        if back {
            member.recovered_at = Some(finding.start);
        }
        back
    }

    fn add(&mut self, symptom: &Symptom, members_max: usize) {
        let finding = &symptom.finding;
        let span = Span::at(finding.start);
        self.n_symptoms += 1;
        self.begun.add(span);
        self.last_told = self.last_told.max(finding.detected_at);
        self.interval_seconds = self.interval_seconds.max(symptom.interval_seconds);
        let movement = (symptom.metric, sign(finding.direction));
        self.movements.entry(movement).or_insert(span).add(span);
        if let Some(host) = symptom.host {
            self.hosts.entry(host).or_insert(span).add(span);
        }
        let key = (symptom.agent, symptom.metric);
        if self.members.len() >= members_max && !self.members.contains_key(&key) {
            return;
        }
        self.agents.entry(symptom.agent).or_insert(span).add(span);
        if let Some(host) = symptom.host {
            self.homes.insert(symptom.agent, host);
        }
        let new = Member {
            start: finding.start,
            direction: finding.direction,
            score: finding.score,
            kind: finding.kind,
            silent: matches!(finding.detail, Detail::Missing { .. }),
            recovered_at: None,
        };
        self.members
            .entry(key)
            .and_modify(|member| member.add(&new))
            .or_insert(new);
    }

    /// Takes in an incident that turned out to be the same.
    fn absorb(&mut self, other: Self, members_max: usize) {
        self.n_symptoms += other.n_symptoms;
        self.begun.add(other.begun);
        self.last_told = self.last_told.max(other.last_told);
        self.interval_seconds = self.interval_seconds.max(other.interval_seconds);
        for (key, span) in other.movements {
            self.movements.entry(key).or_insert(span).add(span);
        }
        for (key, span) in other.hosts {
            self.hosts.entry(key).or_insert(span).add(span);
        }
        for (key, span) in other.agents {
            self.agents.entry(key).or_insert(span).add(span);
        }
        self.homes.extend(other.homes);
        for (key, member) in other.members {
            if self.members.len() < members_max || self.members.contains_key(&key) {
                self.members
                    .entry(key)
                    .and_modify(|m| m.add(&member))
                    .or_insert(member);
            }
        }
    }
}

impl Member {
    /// The same series again: the earlier beginning and the stronger score stay.
    fn add(&mut self, other: &Self) {
        if other.start < self.start {
            (self.start, self.direction, self.kind) = (other.start, other.direction, other.kind);
        }
        self.score = self.score.max(other.score);
        self.silent |= other.silent;
    }
}
