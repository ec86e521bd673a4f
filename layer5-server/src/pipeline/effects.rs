//! What shards and tuner decided, gathered until the next group makes it durable.
//! In: findings and decisions from the inbox. Out: the [`Effects`] of a group.
//! Invariants: pattern ids rise by one in the order of discovery; while a replay runs, what the store has already is left
//! out, so that effects happen once.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use layer5_core::{Kpi, PatternEvent, PatternKind, Timestamp};
use layer5_ingest::Names;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    counters::Counters,
    refinery::{Decision, Found, ask::AskAnswer},
    store::Effects,
};

/// Who waits for the answer to a question, by its optimization id.
pub(crate) type Askers = Arc<Mutex<HashMap<Uuid, oneshot::Sender<AskAnswer>>>>;

type Identity = (String, String, PatternKind, Timestamp, Timestamp);

/// Effects on their way into a group.
#[derive(Debug)]
pub(crate) struct Pending {
    effects: Effects,
    next_event_id: u64,
    already_stored: HashSet<Identity>,
    /// Recommendations and evaluations that the replayed groups hold.
    already_recommended: HashSet<Uuid>,
    already_evaluated: HashSet<Uuid>,
    counters: Arc<Counters>,
    askers: Askers,
}

impl Pending {
    /// Nothing pending; the next pattern gets `next_event_id`.
    #[must_use]
    pub(crate) fn new(next_event_id: u64, counters: Arc<Counters>, askers: Askers) -> Self {
        Self {
            effects: Effects::default(),
            next_event_id,
            already_stored: HashSet::new(),
            already_recommended: HashSet::new(),
            already_evaluated: HashSet::new(),
            counters,
            askers,
        }
    }

    /// The id of the next pattern.
    #[must_use]
    pub(crate) fn next_event_id(&self) -> u64 {
        self.next_event_id
    }

    /// A replay begins: these patterns are in the store.
    pub(crate) fn expect_again(&mut self, stored: impl IntoIterator<Item = PatternEvent>) {
        self.already_stored
            .extend(stored.into_iter().map(|event| identity(&event)));
    }

    /// A replayed group holds these decisions, which the tuner will come to again.
    pub(crate) fn expect_decisions_again(&mut self, effects: &Effects) {
        let recommended = effects.recommendations.iter();
        self.already_recommended
            .extend(recommended.map(|stored| stored.recommendation.optimization_id));
        let evaluated = effects.evaluations.iter();
        self.already_evaluated
            .extend(evaluated.map(|evaluation| evaluation.optimization_id));
    }

    /// The replay is over.
    pub(crate) fn replayed(&mut self) {
        self.already_stored = HashSet::new();
        self.already_recommended = HashSet::new();
        self.already_evaluated = HashSet::new();
    }

    /// Takes a shard's findings.
    pub(crate) fn found(&mut self, found: Vec<Found>, names: &Names) {
        for Found {
            agent,
            metric,
            finding,
            template,
        } in found
        {
            // A finding about the agent as a whole has no metric; in words it is about its reports.
            let metric = metric.map_or("", |metric| names.metric_name(metric));
            let (subject, unit) = match Kpi::from_name(metric) {
                Some(kpi) => (metric, kpi.unit()),
                None if metric.is_empty() => ("the stream of reports", "s"),
                None => (metric, ""),
            };
            let mut explanation = finding.explain(subject, unit);
            if let Some(template) = template {
                explanation = format!("template `{template}`: {explanation}");
            }
            let event = PatternEvent {
                id: self.next_event_id,
                agent_id: names.agent_name(agent).to_owned(),
                metric: metric.to_owned(),
                explanation,
                finding,
            };
            if self.already_stored.remove(&identity(&event)) {
                continue;
            }
            self.next_event_id += 1;
            self.counters.pattern(finding.kind);
            self.effects.events.push(event);
        }
    }

    /// Takes the tuner's decisions.
    pub(crate) fn decided(&mut self, decisions: Vec<Decision>, names: &Names) {
        for decision in decisions {
            match decision {
                Decision::Recommend(stored) => {
                    let id = stored.recommendation.optimization_id;
                    if !self.already_recommended.remove(&id) {
                        self.effects.recommendations.push(stored);
                    }
                }
                Decision::Evaluated { evaluation, .. } => {
                    if !self.already_evaluated.remove(&evaluation.optimization_id) {
                        self.effects.evaluations.push(evaluation);
                    }
                }
                Decision::Found(found) => self.found(vec![found], names),
                Decision::Answer(answer) => {
                    let mut askers = self.askers.lock().expect("no holder panics");
                    if let Some(asker) = askers.remove(&answer.optimization_id) {
                        // The asker may have gone; its question stays in the log.
                        let _gone = asker.send(answer);
                    }
                }
            }
        }
    }

    /// Whether there is nothing to make durable.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    /// What is pending; nothing is afterwards.
    pub(crate) fn take(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }
}

fn identity(event: &PatternEvent) -> Identity {
    let finding = &event.finding;
    let (agent, metric) = (event.agent_id.clone(), event.metric.clone());
    (
        agent,
        metric,
        finding.kind,
        finding.start,
        finding.detected_at,
    )
}
