//! What Layer7 does with a recommendation: applies it after a while, watches the agent, and says what came of it.
//! In: recommendations that Layer7 accepted, and the step of the fleet. Out: outcomes to report, and the list of
//! changes, which explains the shifts of latency that Layer5 caused itself.
//! Called from: `fleet`, between two rounds of posts.
//! Invariants: a recommendation is applied once and has one outcome at most; an outcome is Layer7's own measurement,
//! the true relative change with noise of `MEASURING_SD`.

use std::collections::VecDeque;

use layer5_core::{Outcome, Recommendation};
use rand_pcg::Pcg64;
use uuid::Uuid;

use super::{
    noise::{self, normal},
    surface::{Setting, TUNABLES},
    world::World,
};

/// Steps between a recommendation's arrival and its effect.
const APPLY_AFTER: usize = 2;
/// Steps that Layer7 watches before it reports: two simulated hours.
pub const WATCH: usize = 24;
/// Standard deviation of the measurement over a full watch: 0.055 / sqrt(24) * sqrt(2), rounded up.
const MEASURING_SD: f64 = 0.02;

/// A setting that was given to an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Which recommendation.
    pub optimization_id: Uuid,
    /// The index of the agent.
    pub agent: usize,
    /// The first step under the new setting.
    pub step: usize,
    /// The true relative improvement of latency.
    pub improvement: f64,
    /// What Layer5 predicted.
    pub expected: f64,
}

/// The desk of whoever applies recommendations.
#[derive(Debug)]
pub struct Changes {
    waiting: VecDeque<(usize, Recommendation)>,
    watched: Vec<Change>,
    applied: Vec<Change>,
    breaches: Vec<String>,
    rng: Pcg64,
}

impl Changes {
    /// An empty desk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            waiting: VecDeque::new(),
            watched: Vec::new(),
            applied: Vec::new(),
            breaches: Vec::new(),
            rng: noise::stream(seed, noise::STREAM_MEASURING),
        }
    }

    /// Takes a recommendation that arrived in `step`.
    pub fn receive(&mut self, recommendation: Recommendation, step: usize) {
        self.waiting.push_back((step + APPLY_AFTER, recommendation));
    }

    /// Applies what is due before `step` is sent. Returns the outcomes that are known by now.
    pub fn advance(&mut self, step: usize, world: &mut World) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let (done, watched) = std::mem::take(&mut self.watched)
            .into_iter()
            .partition(|change| change.step + WATCH <= step);
        self.watched = watched;
        for change in done {
            outcomes.push(self.measure(&change, step, world));
        }
        while self.waiting.front().is_some_and(|(due, _)| *due <= step) {
            let Some((_, recommendation)) = self.waiting.pop_front() else {
                break;
            };
            // A newer setting ends the watch over the one before; it is reported with what was seen by then.
            let agent = world.index_of(&recommendation.agent_id);
            if let Some(at) = self.watched.iter().position(|c| Some(c.agent) == agent) {
                let superseded = self.watched.remove(at);
                outcomes.push(self.measure(&superseded, step, world));
            }
            match apply(&recommendation, step, world) {
                Ok(change) => {
                    self.watched.push(change.clone());
                    self.applied.push(change);
                }
                Err(breach) => self.breaches.push(breach),
            }
        }
        outcomes
    }

    /// Every change so far, in order of step.
    #[must_use]
    pub fn applied(&self) -> &[Change] {
        &self.applied
    }

    /// Recommendations that no agent could follow.
    #[must_use]
    pub fn breaches(&self) -> &[String] {
        &self.breaches
    }

    fn measure(&mut self, change: &Change, step: usize, world: &World) -> Outcome {
        let seen = step.saturating_sub(change.step).clamp(1, WATCH) as f64;
        let sd = MEASURING_SD * (WATCH as f64 / seen).sqrt();
        Outcome {
            agent_id: world.agents()[change.agent].id.clone(),
            optimization_id: change.optimization_id,
            success: true,
            performance_delta: change.improvement + sd * normal(&mut self.rng),
            timestamp: world.clock().at(step),
        }
    }
}

fn apply(
    recommendation: &Recommendation,
    step: usize,
    world: &mut World,
) -> Result<Change, String> {
    let id = recommendation.optimization_id;
    let agent = world.index_of(&recommendation.agent_id).ok_or_else(|| {
        format!(
            "{id} is for {}, which does not exist",
            recommendation.agent_id
        )
    })?;
    let mut setting: Setting = world.agents()[agent].setting;
    for (name, &value) in &recommendation.parameters {
        let at = TUNABLES
            .iter()
            .position(|tunable| tunable.name == name)
            .ok_or_else(|| format!("{id} sets {name}, which no agent has"))?;
        if let Some(reason) = TUNABLES[at].refuses(value) {
            return Err(format!("{id}: {reason}"));
        }
        setting[at] = value;
    }
    let (before, after) = world.apply(agent, setting);
    Ok(Change {
        optimization_id: id,
        agent,
        step,
        improvement: (before - after) / before,
        expected: recommendation.expected_improvement,
    })
}

#[cfg(test)]
mod tests {
    use layer5_core::Timestamp;

    use super::*;
    use crate::standin::{clock::FleetClock, truth::Truth};

    fn world() -> World {
        let clock = FleetClock::ending_before(Timestamp::from_millis(1_795_436_298_000), 500);
        World::new(7, 4, clock, Truth::quiet(4))
    }

    fn advice(number: u128, agent: &str, parameters: &[(&str, f64)]) -> Recommendation {
        let parameters = parameters.iter().map(|(n, v)| ((*n).to_owned(), *v));
        Recommendation {
            agent_id: agent.to_owned(),
            optimization_id: Uuid::from_u128(number),
            parameters: parameters.collect(),
            confidence: 0.5,
            expected_improvement: 0.1,
            expected_interval: (0.0, 0.2),
            timestamp: Timestamp::EPOCH,
        }
    }

    #[test]
    fn a_recommendation_is_applied_once_watched_and_reported() {
        let (mut world, mut changes) = (world(), Changes::new(7));
        changes.receive(advice(1, "agent_002", &[("concurrency", 8.0)]), 10);
        assert!(changes.advance(11, &mut world).is_empty());
        assert!(changes.applied().is_empty());
        assert!(changes.advance(12, &mut world).is_empty());
        assert_eq!(world.agents()[2].setting[0], 8.0);
        assert_eq!(changes.applied()[0].step, 12);
        assert!(changes.advance(35, &mut world).is_empty());
        let outcomes = changes.advance(36, &mut world);
        assert_eq!(outcomes.len(), 1);
        let truth = changes.applied()[0].improvement;
        // Five standard deviations of the measurement.
        assert!((outcomes[0].performance_delta - truth).abs() < 5.0 * MEASURING_SD);
        assert!(changes.advance(400, &mut world).is_empty());
    }

    #[test]
    fn a_newer_setting_ends_the_watch_over_the_older() {
        let (mut world, mut changes) = (world(), Changes::new(7));
        changes.receive(advice(1, "agent_002", &[("concurrency", 8.0)]), 10);
        changes.receive(advice(2, "agent_002", &[("concurrency", 16.0)]), 20);
        changes.advance(12, &mut world);
        let outcomes = changes.advance(22, &mut world);
        assert_eq!(outcomes[0].optimization_id, Uuid::from_u128(1));
        assert_eq!(changes.applied().len(), 2);
        assert_eq!(changes.advance(46, &mut world).len(), 1);
    }

    #[test]
    fn what_no_agent_can_follow_is_a_breach_and_changes_nothing() {
        let (mut world, mut changes) = (world(), Changes::new(7));
        let wrong: [(&str, &[(&str, f64)]); 4] = [
            ("agent_999", &[("concurrency", 8.0)]),
            ("agent_002", &[("threads", 8.0)]),
            ("agent_002", &[("concurrency", 33.0)]),
            ("agent_002", &[("batch_size", 8.0), ("concurrency", 1.5)]),
        ];
        for (number, (agent, parameters)) in wrong.into_iter().enumerate() {
            changes.receive(advice(number as u128, agent, parameters), 0);
        }
        changes.advance(2, &mut world);
        assert_eq!(changes.breaches().len(), 4);
        assert!(changes.applied().is_empty());
        assert!(world.improvement().abs() < 1e-12);
    }
}
