//! The owner of all studies: takes the log's happenings in their order, and every tick's readings of all shards.
//! In: new agents, controls, ticks. Out: [`Decision`]s. Called from: the tuner thread and the replay at start.
//! Invariants: what it does depends on its inputs and their order alone; open questions and ad-hoc studies are
//! bounded, the oldest give way.

use std::collections::{BTreeMap, VecDeque};

use layer5_core::{AgentId, Outcome, Timestamp};
use layer5_optimize::accuracy::{AccuracyWindow, Evaluation as Judged};
use layer5_patterns::incident::Symptom;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Found, Reading, Roles,
    ask::{self, AskAnswer, OpenAsk},
    cohort::{Cohort, Phase},
    incidents::{FleetIncidents, IncidentView},
    peers::Peers,
};
use crate::{
    config::CohortConfig,
    store::{Ask, Control, Evaluation, StoredRecommendation},
};

/// Most answers of `/optimize` that wait for their outcome.
const OPEN_ASKS_MAX: usize = 10_000;
/// Most studies for parameters that no cohort declares.
const AD_HOC_MAX: usize = 1_000;

/// What the tuner decided.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Advice for an agent.
    Recommend(StoredRecommendation),
    /// An outcome is known; `predicted` is the improvement that was expected, with its 95 % interval.
    Evaluated {
        /// The outcome.
        evaluation: Evaluation,
        /// What was expected.
        predicted: (f64, f64, f64),
    },
    /// The answer to a question, for whoever waits for it.
    Answer(AskAnswer),
    /// An agent is unlike its peers.
    Found(Found),
}

/// What has been decided and learned so far; the optimization metrics are made of this and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Recommendations issued, by who proposed them.
    pub issued: BTreeMap<String, u64>,
    /// Outcomes known.
    pub evaluated: u64,
    /// Mean accuracy of the last 24 h, from 20 evaluations on.
    pub accuracy: Option<f64>,
    /// Share of right signs.
    pub direction_hit_ratio: Option<f64>,
    /// Share of outcomes inside their 95 % interval.
    pub interval_coverage: Option<f64>,
    /// Mean observed improvement.
    pub mean_improvement: Option<f64>,
    /// Relative loss of accuracy against the window before.
    pub drift: Option<f64>,
    /// Share of the cohorts' agents that were decided about in the last hour.
    pub coverage: Option<f64>,
}

/// What one study looks like, for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StudyView {
    /// Its name.
    pub name: String,
    /// Explore, roll out or settled.
    pub phase: String,
    /// Agents in its cohort, and how many of them are holdouts.
    pub members: usize,
    /// How many of them keep the initial setting.
    pub holdouts: usize,
    /// Outcomes it has learned from.
    pub observations: usize,
    /// Recommendations it made.
    pub decisions: u64,
    /// The best setting known, as the contracts write it.
    pub best: Option<layer5_core::Parameters>,
    /// Its predicted improvement over the initial setting.
    pub best_improvement: Option<f64>,
    /// The rollout that is being proven.
    pub experiment: Option<ExperimentView>,
}

/// A rollout that is being proven.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExperimentView {
    /// How far it has got.
    pub stage: layer5_optimize::rollout::Stage,
    /// Outcomes on agents that were changed, and on agents that were not.
    pub n_treated: u64,
    /// Outcomes on agents that were not changed.
    pub n_control: u64,
    /// Mean improvement of the changed minus that of the others.
    pub difference: f64,
    /// What can be said however often one looks.
    pub verdict: layer5_optimize::experiment::Verdict,
}

/// The owner of all studies.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tuner {
    cohorts: Vec<Cohort>,
    home: BTreeMap<AgentId, usize>,
    decided: BTreeMap<AgentId, Timestamp>,
    ad_hoc: BTreeMap<String, Cohort>,
    ad_hoc_order: VecDeque<String>,
    asks: BTreeMap<Uuid, OpenAsk>,
    ask_order: VecDeque<Uuid>,
    accuracy: AccuracyWindow,
    peers: Peers,
    incidents: FleetIncidents,
    issued: BTreeMap<String, u64>,
    evaluated: u64,
    stopped: bool,
    now: Timestamp,
}

impl Tuner {
    /// A tuner of these cohorts; the slots say where each one's objective and guard stand in a reading.
    ///
    /// # Errors
    /// [`layer5_optimize::SpaceError`] of the first cohort whose parameters are no space.
    pub fn new(
        cohorts: Vec<(CohortConfig, (usize, Option<usize>))>,
    ) -> Result<Self, layer5_optimize::SpaceError> {
        let cohorts: Result<_, _> = cohorts
            .into_iter()
            .map(|(config, slots)| Cohort::new(config, slots))
            .collect();
        Ok(Self {
            cohorts: cohorts?,
            home: BTreeMap::new(),
            decided: BTreeMap::new(),
            ad_hoc: BTreeMap::new(),
            ad_hoc_order: VecDeque::new(),
            asks: BTreeMap::new(),
            ask_order: VecDeque::new(),
            accuracy: AccuracyWindow::new(),
            peers: Peers::default(),
            incidents: FleetIncidents::default(),
            issued: BTreeMap::new(),
            evaluated: 0,
            stopped: false,
            now: Timestamp::MIN,
        })
    }

    /// Whether this tuner, restored from a snapshot, still answers to these configurations.
    #[must_use]
    pub fn fits(&self, cohorts: &[(CohortConfig, (usize, Option<usize>))]) -> bool {
        self.cohorts.len() == cohorts.len()
            && self
                .cohorts
                .iter()
                .zip(cohorts)
                .all(|(mine, (config, _))| mine.config == *config)
    }

    /// An agent was seen for the first time.
    pub fn join(&mut self, agent: AgentId, name: &str) {
        self.incidents.join(agent);
        let home = self
            .cohorts
            .iter()
            .position(|cohort| cohort.config.matches(name));
        if let Some(idx) = home {
            self.cohorts[idx].join(agent, name);
            self.home.insert(agent, idx);
        }
    }

    /// An agent was seen on a host.
    pub fn moved_to(&mut self, agent: AgentId, host: &str) {
        self.incidents.moved_to(agent, host);
    }

    /// Takes over what another tuner knows of hosts and incidents: a change of the cohorts does not end an outage.
    pub fn knows_incidents_of(&mut self, other: Self) {
        self.incidents = other.incidents;
    }

    /// The second half of a tick: what the shards found since the last one, and what this tick itself decided.
    pub fn notice(&mut self, symptoms: Vec<Symptom>, decided: &[Decision], newest: Timestamp) {
        let unlike_peers = decided.iter().filter_map(|decision| match decision {
            Decision::Found(found) => Some(found),
            _ => None,
        });
        self.incidents.tick(symptoms, unlike_peers, newest);
    }

    /// Every incident that is kept, by number.
    #[must_use]
    pub fn incidents(&self) -> Vec<IncidentView> {
        self.incidents.views()
    }

    /// One tick: the readings of all shards, in rising order of agent; `log_at` is the time of the log's group.
    pub fn tick(
        &mut self,
        readings: &[Reading],
        roles: &Roles,
        log_at: Timestamp,
        out: &mut Vec<Decision>,
    ) {
        if let Some(newest) = readings.iter().map(|r| r.last).max() {
            self.now = self.now.max(newest);
        }
        let mut found = Vec::new();
        let comparable: Vec<Reading> = readings
            .iter()
            .map(|&reading| match self.home.get(&reading.agent) {
                Some(&idx) => self.cohorts[idx].without_setting(reading),
                None => reading,
            })
            .collect();
        self.peers.tick(&comparable, roles, self.now, &mut found);
        out.extend(found.into_iter().map(Decision::Found));
        let from = out.len();
        for (idx, cohort) in self.cohorts.iter_mut().enumerate() {
            let mine: Vec<Reading> = readings
                .iter()
                .filter(|r| self.home.get(&r.agent) == Some(&idx))
                .copied()
                .collect();
            cohort.tick(&mine, self.now, log_at, self.stopped, out);
        }
        self.count(&out[from..], log_at);
    }

    /// One happening other than reports.
    pub fn control(&mut self, control: &Control, log_at: Timestamp, out: &mut Vec<Decision>) {
        let from = out.len();
        match control {
            Control::Delivered {
                optimization_id, ..
            }
            | Control::HandedOut {
                optimization_id, ..
            } => {
                let _mine = self
                    .cohorts
                    .iter_mut()
                    .any(|c| c.delivered(*optimization_id));
            }
            Control::Refused {
                optimization_id, ..
            } => {
                let id = *optimization_id;
                let _mine = self
                    .cohorts
                    .iter_mut()
                    .any(|c| c.told(id, None, log_at, out));
            }
            Control::Feedback(outcome) => self.feedback(outcome, log_at, out),
            Control::Evolution(evolution) => {
                for cohort in &mut self.cohorts {
                    cohort.evolved(&evolution.hyperparameters, evolution.improvement_achieved);
                }
            }
            Control::Ask(ask) => {
                let answer = self.ask(ask);
                out.push(Decision::Answer(answer));
            }
            Control::KillSwitch { engaged, .. } => self.stopped = *engaged,
            _ => {}
        }
        self.count(&out[from..], log_at);
    }

    fn feedback(&mut self, outcome: &Outcome, log_at: Timestamp, out: &mut Vec<Decision>) {
        let id = outcome.optimization_id;
        let applied = outcome.success.then_some(outcome.performance_delta);
        if self
            .cohorts
            .iter_mut()
            .any(|cohort| cohort.told(id, applied, log_at, out))
        {
            return;
        }
        let (Some(open), Some(improvement)) = (self.asks.remove(&id), applied) else {
            return;
        };
        let cohort = self
            .cohorts
            .iter_mut()
            .find(|c| c.config.name == open.study);
        if let Some(cohort) = cohort.or_else(|| self.ad_hoc.get_mut(&open.study)) {
            cohort.outcome(&open, improvement);
        }
        out.push(Decision::Evaluated {
            evaluation: Evaluation {
                optimization_id: id,
                observed_improvement: improvement,
                at: log_at,
            },
            predicted: open.predicted,
        });
    }

    fn ask(&mut self, ask: &Ask) -> AskAnswer {
        let declared = self.cohorts.iter_mut().find(|cohort| {
            cohort.config.matches(&ask.agent_id)
                && ask
                    .parameters
                    .keys()
                    .all(|name| cohort.config.parameter.iter().any(|p| p.name == *name))
        });
        let (answer, open) = match declared {
            Some(cohort) => cohort.answer(ask, true),
            None => self.ad_hoc_study(ask).answer(ask, false),
        };
        if self.ask_order.len() >= OPEN_ASKS_MAX
            && let Some(oldest) = self.ask_order.pop_front()
        {
            self.asks.remove(&oldest);
        }
        self.ask_order.push_back(ask.optimization_id);
        self.asks.insert(ask.optimization_id, open);
        answer
    }

    /// The study of these parameter names of this agent.
    fn ad_hoc_study(&mut self, ask: &Ask) -> &mut Cohort {
        let names: Vec<&str> = ask.parameters.keys().map(String::as_str).collect();
        let key = format!("{}:{}", ask.agent_id, names.join(","));
        if !self.ad_hoc.contains_key(&key) {
            if self.ad_hoc_order.len() >= AD_HOC_MAX
                && let Some(oldest) = self.ad_hoc_order.pop_front()
            {
                self.ad_hoc.remove(&oldest);
            }
            let config = ask::ad_hoc(key.clone(), &ask.parameters);
            let cohort = Cohort::new(config, (0, None))
                .expect("the border refuses questions without a parameter or with non-finite ones");
            self.ad_hoc.insert(key.clone(), cohort);
            self.ad_hoc_order.push_back(key.clone());
        }
        self.ad_hoc.get_mut(&key).expect("inserted above")
    }

    fn count(&mut self, decisions: &[Decision], log_at: Timestamp) {
        for decision in decisions {
            match decision {
                Decision::Recommend(stored) => {
                    *self.issued.entry(stored.proposed_by.clone()).or_default() += 1;
                    let name = &stored.recommendation.agent_id;
                    let mut members = self.cohorts.iter().flat_map(|c| &c.members);
                    if let Some((&agent, _)) = members.find(|(_, m)| m.name == *name) {
                        self.decided.insert(agent, log_at);
                    }
                }
                Decision::Evaluated {
                    evaluation,
                    predicted,
                } => {
                    self.evaluated += 1;
                    let judged = Judged {
                        at: log_at,
                        predicted: predicted.0,
                        observed: evaluation.observed_improvement,
                        lower: predicted.1,
                        upper: predicted.2,
                    };
                    self.accuracy
                        .add(judged)
                        .expect("intervals are ordered and finite");
                }
                Decision::Found(_) => {}
                Decision::Answer(_) => *self.issued.entry("ask".into()).or_default() += 1,
            }
        }
    }

    /// What has been decided and learned so far.
    #[must_use]
    pub fn score(&self, now: Timestamp) -> Score {
        let recent = |agent: &AgentId| {
            self.decided
                .get(agent)
                .is_some_and(|at| now.seconds_since(*at) <= 3600.0)
        };
        let n_agents = self.home.len();
        let decided = self.home.keys().filter(|agent| recent(agent)).count();
        Score {
            issued: self.issued.clone(),
            evaluated: self.evaluated,
            accuracy: self.accuracy.accuracy(now),
            direction_hit_ratio: self.accuracy.direction_hit_ratio(now),
            interval_coverage: self.accuracy.interval_coverage(now),
            mean_improvement: self.accuracy.mean_improvement(now),
            drift: self.accuracy.drift(now),
            coverage: (n_agents > 0).then(|| decided as f64 / n_agents as f64),
        }
    }

    /// Every study, for people.
    #[must_use]
    pub fn studies(&self) -> Vec<StudyView> {
        self.cohorts
            .iter()
            .chain(self.ad_hoc.values())
            .map(Cohort::view)
            .collect()
    }
}

impl Cohort {
    fn view(&self) -> StudyView {
        let best = self.study.recommend();
        let phase = match self.phase() {
            Phase::Explore => "explore".to_owned(),
            Phase::RollOut(campaign) => format!("roll_out {:?}", campaign.rollout.stage()),
            Phase::Settled => "settled".to_owned(),
        };
        StudyView {
            name: self.config.name.clone(),
            phase,
            members: self.members.len(),
            holdouts: self.members.values().filter(|m| m.holdout).count(),
            observations: self.study.observations().len(),
            decisions: self.decisions,
            best: best
                .as_ref()
                .map(|b| super::settings::to_parameters(&self.config.parameter, &b.point)),
            best_improvement: best.map(|b| 1.0 - b.predicted.mean.exp()),
            experiment: match self.phase() {
                Phase::RollOut(campaign) => Some(ExperimentView {
                    stage: campaign.rollout.stage(),
                    n_treated: campaign.experiment.treated().len(),
                    n_control: campaign.experiment.control().len(),
                    difference: campaign.experiment.treated().mean()
                        - campaign.experiment.control().mean(),
                    verdict: campaign.experiment.verdict(),
                }),
                _ => None,
            },
        }
    }
}
