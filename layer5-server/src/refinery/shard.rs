//! One shard: the agents it owns, a watch for each of their series, and what to tell the tuner.
//! In: samples in log order, ticks. Out: [`Found`] patterns and [`Reading`]s. Called from: the shard's thread.
//! Invariants: an agent lives in exactly one shard; state is plain data, so a snapshot is a list of agents that can be
//! dealt out to any number of shards.
//! Cost: one table look-up and one watch update per sample; a tick is O(agents).

use std::{hash::BuildHasher, sync::Arc};

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use layer5_core::{
    AgentId, Finding, MetricId, PatternKind, SeriesId, Timestamp,
    event::{Detail, Direction},
};
use layer5_ingest::Arrival;
use layer5_patterns::{Outcome, Watch, WatchConfig, incident::Symptom, watch::WatchState};
use serde::{Deserialize, Serialize};

use super::{
    Reading, Roles,
    asked::{Asked, AskedOfSeries, SavedAsked},
    scale::Scale,
};

/// A pattern, and the series it was found in. `metric` is `None` for a finding about the agent as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Whose.
    pub agent: AgentId,
    /// In which metric.
    pub metric: Option<MetricId>,
    /// What.
    pub finding: Finding,
    /// The template that came again.
    pub template: Option<String>,
}

/// A snapshot of one agent: everything that a shard knows of it. `W`: its watches, or where they lie while it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedAgent<W = Watch> {
    agent: AgentId,
    rhythm: Rhythm,
    reading: Option<Reading>,
    symptoms: Vec<Noticed>,
    series: Vec<SavedSeries<W>>,
}

/// A finding that the next tick tells the tuner.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Noticed {
    metric: Option<MetricId>,
    finding: Finding,
}

/// Findings of one agent kept for the next tick, at most: an agent has not many more series.
const NOTICED_MAX: usize = 256;

/// One series in a snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedSeries<W> {
    series: SeriesId,
    metric: MetricId,
    own: OwnDoing,
    watch: W,
}

/// What Layer5's own changes do to a series: it is watched as if they had not been made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct OwnDoing {
    /// Natural logarithm of the factor that the agent's setting puts on the metric.
    log_factor: f64,
    /// Samples that are not judged while a change settles.
    settle_left: u32,
}

impl OwnDoing {
    /// A finding about the series without our doing, in terms of the series as it is.
    fn put_back(self, finding: Finding) -> Finding {
        let factor = self.log_factor.exp();
        Finding {
            baseline: finding.baseline * factor,
            magnitude: finding.magnitude * factor,
            ..finding
        }
    }
}

impl<W> SavedAgent<W> {
    /// Whose state it is.
    #[must_use]
    pub fn agent(&self) -> AgentId {
        self.agent
    }

    /// `recorded_at` of its newest report.
    #[must_use]
    pub fn newest(&self) -> Timestamp {
        self.rhythm.last
    }
}

/// When an agent reports, to notice when it stops.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Rhythm {
    last: Timestamp,
    /// Exponentially weighted mean of the seconds between two reports, and of the deviation from it.
    interval: f64,
    deviation: f64,
    n: u32,
    silent: bool,
}

/// Weight of the newest interval in the rhythm: an effective memory of about 20 reports.
const RHYTHM_WEIGHT: f64 = 0.05;
/// Reports before silence can be told from a slow start.
const RHYTHM_WARM_UP: u32 = 10;
/// An agent is silent after this many of its usual intervals ...
const SILENT_INTERVALS: f64 = 8.0;
/// ... and this many deviations more.
const SILENT_DEVIATIONS: f64 = 6.0;

impl Rhythm {
    fn new(at: Timestamp) -> Self {
        Self {
            last: at,
            interval: 0.0,
            deviation: 0.0,
            n: 0,
            silent: false,
        }
    }

    /// Counts a report; several samples of one report share their time and count once.
    fn report(&mut self, at: Timestamp) {
        if at <= self.last {
            return;
        }
        let interval = at.seconds_since(self.last);
        self.last = at;
        if std::mem::take(&mut self.silent) {
            return;
        }
        if self.n == 0 {
            self.interval = interval;
        } else {
            let error = interval - self.interval;
            self.interval += RHYTHM_WEIGHT * error;
            self.deviation += RHYTHM_WEIGHT * (error.abs() - self.deviation);
        }
        self.n = self.n.saturating_add(1);
    }

    /// The silence until `now` when it has just become too long; each silence is told once.
    fn fell_silent(&mut self, now: Timestamp) -> Option<Finding> {
        let silence = now.seconds_since(self.last);
        let limit = SILENT_INTERVALS * self.interval + SILENT_DEVIATIONS * self.deviation;
        if self.silent || self.n < RHYTHM_WARM_UP || !(silence > limit) {
            return None;
        }
        self.silent = true;
        let strangeness = silence / limit;
        Some(Finding {
            kind: PatternKind::Anomaly,
            detail: Detail::Missing { seconds: silence },
            start: self.last,
            end: now,
            detected_at: now,
            score: strangeness / (strangeness + 1.0),
            confidence: 1.0 - 0.05 / strangeness,
            direction: Direction::Down,
            magnitude: silence,
            baseline: self.interval,
        })
    }
}

/// There may be a million of them, so what all series of a metric share is in [`OfMetric`] and what few have in [`Special`].
#[derive(Debug)]
struct SeriesState {
    watch: Watch,
    special: Option<Box<Special>>,
    series: SeriesId,
    metric: MetricId,
    agent: u32,
    /// The agent's series after this one, or [`NONE`].
    next: u32,
}

/// Series from which on their states are fetched ahead: two megabytes, more than the second cache of a core.
const FETCH_FROM: usize = 3_000;

/// No place in a list.
const NONE: u32 = u32::MAX;

/// What is the same for all series of a metric.
#[derive(Debug)]
struct OfMetric {
    slot: Option<u8>,
    scale: Scale,
    config: WatchConfig,
}

/// What few series have: changes of ours, and something that people asked for.
#[derive(Debug, Default)]
struct Special {
    own: OwnDoing,
    asked: Option<AskedOfSeries>,
}

impl SeriesState {
    fn own(&self) -> OwnDoing {
        self.special
            .as_ref()
            .map_or_else(OwnDoing::default, |special| special.own)
    }

    fn special(&mut self) -> &mut Special {
        self.special.get_or_insert_default()
    }
}

#[derive(Debug)]
struct AgentState {
    agent: AgentId,
    rhythm: Rhythm,
    /// Apart, because most agents are in no cohort.
    reading: Option<Box<Reading>>,
    symptoms: Vec<Noticed>,
    /// Its series are a list, in the order in which they were first seen.
    first_series: u32,
    last_series: u32,
}

impl AgentState {
    fn notice(&mut self, metric: Option<MetricId>, finding: Finding) {
        if Symptom::counts(&finding) && self.symptoms.len() < NOTICED_MAX {
            self.symptoms.push(Noticed { metric, finding });
        }
    }
}

/// What one series looks like now, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesView {
    /// Its number.
    pub series: SeriesId,
    /// Whose.
    pub agent: AgentId,
    /// Which metric.
    pub metric: MetricId,
    /// What its watch believes.
    pub state: WatchState,
}

/// The agents of one shard.
#[derive(Debug)]
pub struct Shard {
    config: WatchConfig,
    detect: bool,
    roles: Roles,
    asked: Arc<Asked>,
    /// By the metric's number.
    metrics: Vec<OfMetric>,
    agents: Vec<AgentState>,
    agent_index: HashMap<AgentId, u32, FixedState>,
    series: Vec<SeriesState>,
    /// Places in `series`, which has their numbers.
    series_index: HashTable<u32>,
}

impl Shard {
    /// An empty shard; its series are watched when `detect`.
    #[must_use]
    pub fn new(config: WatchConfig, detect: bool, roles: Roles) -> Self {
        Self {
            config,
            detect,
            roles,
            asked: Arc::default(),
            metrics: Vec::new(),
            agents: Vec::new(),
            agent_index: HashMap::with_hasher(FixedState::default()),
            series: Vec::new(),
            series_index: HashTable::new(),
        }
    }

    /// Has the states of these samples' series brought into the cache side by side, where steps would wait for one after
    /// the other. Does nothing where they are there anyway.
    pub fn fetch<'a>(&self, arrivals: impl Iterator<Item = &'a Arrival>) {
        if self.series.len() < FETCH_FROM {
            return;
        }
        for arrival in arrivals {
            if let Some(idx) = self.place_of(arrival.sample.series) {
                // A copy that nobody looks at reads every line of it.
                std::hint::black_box(self.series[idx as usize].watch);
            }
        }
    }

    /// Takes one sample; what it shows is appended to `found`. Returns how far its time is behind the newest of its agent,
    /// s; 0 when it is not. A watch leaves out what is behind its newest sample.
    pub fn step(&mut self, arrival: &Arrival, found: &mut Vec<Found>) -> f64 {
        let sample = &arrival.sample;
        let idx = match self.place_of(sample.series) {
            Some(idx) => idx,
            None => self.add_series(
                arrival.agent,
                sample.series,
                arrival.metric,
                sample.at,
                None,
            ),
        };
        let state = &mut self.series[idx as usize];
        let agent = &mut self.agents[state.agent as usize];
        let behind = agent.rhythm.last.seconds_since(sample.at).max(0.0);
        agent.rhythm.report(sample.at);
        let of_metric = &self.metrics[state.metric.index()];
        if let Some(slot) = of_metric.slot {
            agent
                .reading
                .get_or_insert_with(|| Box::new(Reading::starting(arrival.agent, sample.at)))
                .add(slot as usize, sample.at, sample.value);
        }
        if !self.detect {
            return behind;
        }
        let scale = of_metric.scale;
        let mut own = OwnDoing::default();
        let mut value = sample.value;
        if let Some(special) = &mut state.special {
            own = special.own;
            if own.settle_left > 0 {
                special.own.settle_left -= 1;
                return behind;
            }
            value *= (-own.log_factor).exp();
        }
        let update = state
            .watch
            .update(scale.watched(value), sample.at, &of_metric.config);
        let mut is_gap = false;
        for finding in update.findings.iter() {
            // Silence is the agent's, not one of each of its metrics: the rhythm tells it once.
            if matches!(finding.detail, Detail::Missing { .. }) {
                is_gap = true;
            } else {
                let metric = Some(state.metric);
                let finding = own.put_back(scale.finding(*finding));
                agent.notice(metric, finding);
                found.push(Found {
                    agent: agent.agent,
                    metric,
                    finding,
                    template: None,
                });
            }
        }
        let was_taken = !matches!(update.score, Outcome::Refused(_));
        let asked = state.special.as_mut().and_then(|s| s.asked.as_mut());
        if let Some(asked) = asked.filter(|_| was_taken) {
            let factor = own.log_factor.exp();
            let metric = Some(state.metric);
            let told = |finding: Finding, template: Option<&str>| {
                agent.notice(metric, finding);
                found.push(Found {
                    agent: agent.agent,
                    metric,
                    finding,
                    template: template.map(str::to_owned),
                });
            };
            asked.step(*sample, &state.watch, (scale, factor), is_gap, told);
        }
        behind
    }

    /// From here on what people asked for is this. What is asked as before goes on where it was.
    pub fn ask(&mut self, asked: Arc<Asked>) {
        for (number, of_metric) in (0..).zip(&mut self.metrics) {
            of_metric.config = asked.watch(MetricId(number), self.config);
        }
        for state in &mut self.series {
            let agent = self.agents[state.agent as usize].agent;
            let before = state.special.as_mut().and_then(|s| s.asked.take());
            let Some(mut next) = asked.of_series(agent, state.metric) else {
                continue;
            };
            if let Some(before) = before {
                next.take_over(before);
            }
            state.special().asked = Some(next);
        }
        self.asked = asked;
    }

    /// How far what was asked for has come, in pieces of about `n_series` series.
    pub fn save_asked(&self, n_series: usize) -> impl Iterator<Item = Vec<SavedAsked>> + '_ {
        let asked = self.series.iter().filter_map(|state| {
            let agent = self.agents[state.agent as usize].agent;
            let asked = state.special.as_ref()?.asked.as_ref()?;
            Some(asked.save(agent, state.series))
        });
        let mut asked = asked.peekable();
        std::iter::from_fn(move || {
            asked.peek()?;
            Some(asked.by_ref().take(n_series).collect())
        })
    }

    /// Takes over from a snapshot how far what is asked for now had come.
    pub fn restore_asked(&mut self, saved: &SavedAsked) {
        if let Some(idx) = self.place_of(saved.series())
            && let Some(special) = &mut self.series[idx as usize].special
            && let Some(asked) = &mut special.asked
        {
            asked.resume(saved);
        }
    }

    /// Layer5 changed what `agent` runs with: from here on `metric` is expected at `exp(log_factor)` times what it would
    /// be at the initial setting, and the next `settle_len` samples of it are not judged.
    pub fn moved(&mut self, agent: AgentId, metric: MetricId, log_factor: f64, settle_len: u32) {
        let Some(&idx) = self.agent_index.get(&agent) else {
            return;
        };
        let mut idx = self.agents[idx as usize].first_series;
        while let Some(state) = self.series.get_mut(idx as usize) {
            if state.metric == metric {
                let own = &mut state.special().own;
                own.log_factor = log_factor;
                own.settle_left = own.settle_left.max(settle_len);
            }
            idx = state.next;
        }
    }

    /// A tick: who reported what since the last one, and who fell silent by `newest`, the newest `recorded_at` of the
    /// whole fleet: a shard's own agents may all be silent. `readings` is left sorted by agent; what was found since the
    /// last tick is told in `symptoms`.
    pub fn tick(
        &mut self,
        newest: Timestamp,
        readings: &mut Vec<Reading>,
        symptoms: &mut Vec<Symptom>,
        found: &mut Vec<Found>,
    ) {
        for agent in &mut self.agents {
            readings.extend(agent.reading.take().map(|reading| *reading));
            if let Some(finding) = agent.rhythm.fell_silent(newest) {
                agent.notice(None, finding);
                found.push(Found {
                    agent: agent.agent,
                    metric: None,
                    finding,
                    template: None,
                });
            }
            let (id, interval_seconds) = (agent.agent, agent.rhythm.interval);
            let told = agent.symptoms.drain(..);
            symptoms.extend(told.map(|Noticed { metric, finding }| Symptom {
                agent: id,
                host: None,
                metric,
                interval_seconds,
                finding,
            }));
        }
        readings.sort_unstable_by_key(|reading| reading.agent);
    }

    /// Everything this shard knows, agent by agent, in pieces of about `n_series` series.
    pub fn save(&self, n_series: usize) -> impl Iterator<Item = Vec<SavedAgent<&Watch>>> + '_ {
        let saved = move |agent: &AgentState| SavedAgent {
            agent: agent.agent,
            rhythm: agent.rhythm,
            reading: agent.reading.as_deref().copied(),
            symptoms: agent.symptoms.clone(),
            series: self
                .series_of(agent)
                .map(|s| SavedSeries {
                    series: s.series,
                    metric: s.metric,
                    own: s.own(),
                    watch: &s.watch,
                })
                .collect(),
        };
        let mut agents = self.agents.iter();
        std::iter::from_fn(move || {
            let mut piece = Vec::new();
            let mut n = 0;
            while n < n_series {
                let Some(agent) = agents.next() else { break };
                let saved = saved(agent);
                n += saved.series.len().max(1);
                piece.push(saved);
            }
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// Takes over agents from a snapshot.
    pub fn restore(&mut self, saved: impl IntoIterator<Item = SavedAgent>) {
        for SavedAgent {
            agent,
            rhythm,
            reading,
            symptoms,
            series,
        } in saved
        {
            for saved in series {
                let SavedSeries {
                    series,
                    metric,
                    own,
                    watch,
                } = saved;
                let idx = self.add_series(agent, series, metric, rhythm.last, Some(watch));
                if own != OwnDoing::default() {
                    self.series[idx as usize].special().own = own;
                }
            }
            if let Some(&idx) = self.agent_index.get(&agent) {
                self.agents[idx as usize].rhythm = rhythm;
                self.agents[idx as usize].reading = reading.map(Box::new);
                self.agents[idx as usize].symptoms = symptoms;
            }
        }
    }

    /// How many agents and series live here.
    #[must_use]
    pub fn n_agents_and_series(&self) -> (usize, usize) {
        (self.agents.len(), self.series.len())
    }

    /// The series of `agent` with what their watches believe; `None` for a stranger.
    #[must_use]
    pub fn view(&self, agent: AgentId) -> Option<Vec<SeriesView>> {
        let &idx = self.agent_index.get(&agent)?;
        let series = self.series_of(&self.agents[idx as usize]);
        let view = |s: &SeriesState| SeriesView {
            series: s.series,
            agent,
            metric: s.metric,
            state: self.metrics[s.metric.index()].scale.state(s.watch.state()),
        };
        Some(series.map(view).collect())
    }

    fn series_of(&self, agent: &AgentState) -> impl Iterator<Item = &SeriesState> {
        let at = |idx: u32| self.series.get(idx as usize);
        std::iter::successors(at(agent.first_series), move |state| at(state.next))
    }

    fn add_series(
        &mut self,
        agent: AgentId,
        series: SeriesId,
        metric: MetricId,
        at: Timestamp,
        watch: Option<Watch>,
    ) -> u32 {
        let agent_idx = *self.agent_index.entry(agent).or_insert_with(|| {
            let rhythm = Rhythm::new(at);
            self.agents.push(AgentState {
                agent,
                rhythm,
                reading: None,
                symptoms: Vec::new(),
                first_series: NONE,
                last_series: NONE,
            });
            (self.agents.len() - 1) as u32
        });
        let idx = self.series.len() as u32;
        for number in self.metrics.len()..=metric.index() {
            let metric = MetricId(number as u32);
            self.metrics.push(OfMetric {
                slot: self.roles.slot(metric).map(|slot| slot as u8),
                scale: Scale::of(metric),
                config: self.asked.watch(metric, self.config),
            });
        }
        let asked = self.asked.of_series(agent, metric);
        let special = asked.map(|asked| {
            Box::new(Special {
                asked: Some(asked),
                ..Special::default()
            })
        });
        self.series.push(SeriesState {
            watch: watch.unwrap_or_else(|| Watch::new(&self.config)),
            special,
            series,
            metric,
            agent: agent_idx,
            next: NONE,
        });
        let agent = &mut self.agents[agent_idx as usize];
        match self.series.get_mut(agent.last_series as usize) {
            Some(last) => last.next = idx,
            None => agent.first_series = idx,
        }
        agent.last_series = idx;
        let known = &self.series;
        let rehash = |&idx: &u32| hash_of(known[idx as usize].series);
        self.series_index
            .insert_unique(hash_of(series), idx, rehash);
        idx
    }

    fn place_of(&self, series: SeriesId) -> Option<u32> {
        let is_it = |&idx: &u32| self.series[idx as usize].series == series;
        self.series_index.find(hash_of(series), is_it).copied()
    }
}

/// Numbers of series are dense and ours alone, so every bit counts and nobody can choose them to collide.
fn hash_of(series: SeriesId) -> u64 {
    FixedState::default().hash_one(series.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_millis(minutes * 60_000)
    }

    #[test]
    fn a_silence_is_told_once_and_again_after_a_return() {
        let mut rhythm = Rhythm::new(at(0));
        for minute in 1..=20 {
            rhythm.report(at(minute));
        }
        assert!(rhythm.fell_silent(at(27)).is_none());
        let finding = rhythm.fell_silent(at(30)).expect("ten minutes of silence");
        assert_eq!((finding.start, finding.detected_at), (at(20), at(30)));
        assert!(rhythm.fell_silent(at(40)).is_none());
        rhythm.report(at(41));
        rhythm.report(at(42));
        assert!(rhythm.fell_silent(at(43)).is_none());
        assert!(rhythm.fell_silent(at(60)).is_some());
    }

    #[test]
    fn a_slow_start_is_no_silence() {
        let mut rhythm = Rhythm::new(at(0));
        rhythm.report(at(1));
        assert!(rhythm.fell_silent(at(10_000)).is_none());
    }
}
