//! What came of what is under way: readings in, outcomes told to the study, what hurt taken back.
//! In: readings at ticks. Out: evaluations, and goals that lead back. Called from: [`super`]. Notation: as there.

use layer5_core::{AgentId, Timestamp, catalogue::Better};
use layer5_optimize::{Outcome as TrialOutcome, Point, bandit::Bandit};

use super::{Cohort, misses::deviation};
use crate::{
    refinery::{
        Decision, Reading,
        member::{Goal, Means, Purpose},
        settings,
    },
    store::Evaluation,
};

/// An outcome is worse when the objective lost more than this.
const WORSE: f64 = 0.05;
/// Ticks without a report after which what is under way is given up.
const QUIET_TICKS: u32 = 600;

impl Cohort {
    pub(super) fn read(&mut self, readings: &[Reading], now: Timestamp) {
        for member in self.members.values_mut() {
            member.quiet_ticks = member.quiet_ticks.saturating_add(1);
        }
        let mut controls = Vec::new();
        for reading in readings {
            let Some(member) = self.members.get_mut(&reading.agent) else {
                continue;
            };
            let objective = reading.sums[self.slots.0];
            let sign = match self.config.objective.better {
                Better::Lower => 1.0,
                Better::Higher => -1.0,
            };
            let Some(mean) = objective.mean().filter(|&mean| mean > 0.0) else {
                continue;
            };
            let log_cost = sign * mean.ln();
            let guard = self.slots.1.map_or((0, 0.0), |slot| {
                (reading.sums[slot].n, reading.sums[slot].sum)
            });
            let span = (reading.first, reading.last);
            member.read(
                span,
                (objective.n, log_cost),
                guard,
                2 * self.config.window_len,
            );
            if member.holdout {
                controls.push((reading.agent, log_cost));
            }
        }
        self.level.tick(now, &controls);
    }

    /// Closes what has been measured long enough, or not at all for too long.
    pub(super) fn measure(&mut self, log_at: Timestamp, out: &mut Vec<Decision>) {
        let window_len = self.config.window_len;
        let due: Vec<(AgentId, Option<Means>)> = self
            .members
            .iter()
            .filter(|(_, m)| m.under_way.as_ref().is_some_and(|u| u.delivered))
            .filter_map(|(&agent, m)| match m.means(window_len) {
                Some(means) => Some((agent, Some(means))),
                None => (m.quiet_ticks > QUIET_TICKS).then_some((agent, None)),
            })
            .collect();
        for (agent, means) in due {
            match means {
                Some(means) => {
                    let value = self.value(agent, &means);
                    let guard_held = self.guard_held(agent, &means);
                    self.close(agent, value, guard_held, log_at, out);
                }
                None => self.give_up(agent),
            }
        }
    }

    pub(super) fn corrected(&self, means: &Means) -> f64 {
        means.log_cost - self.level.between(means.first, means.last)
    }

    /// The value `v` of what `agent` ran with during `means`.
    pub(super) fn value(&self, agent: AgentId, means: &Means) -> f64 {
        let anchor = self.members[&agent].anchor;
        let (level, relative) = anchor.map_or((0.0, 0.0), |a| (a.level, a.relative));
        // e^5 is a factor of 148: what lies beyond is an incident, not a setting.
        (self.corrected(means) - level + relative).clamp(-5.0, 5.0)
    }

    fn guard_held(&self, agent: AgentId, means: &Means) -> bool {
        match (
            self.members[&agent].anchor.and_then(|a| a.guard),
            means.guard,
        ) {
            (Some(before), Some(after)) => self.config.objective.guard_holds(before, after),
            _ => true,
        }
    }

    /// The outcome of what is under way for `agent` is known.
    pub(super) fn close(
        &mut self,
        agent: AgentId,
        value: f64,
        guard_held: bool,
        log_at: Timestamp,
        out: &mut Vec<Decision>,
    ) {
        let Some(member) = self.members.get_mut(&agent) else {
            return;
        };
        let Some(under_way) = member.under_way.take() else {
            return;
        };
        self.open.remove(&under_way.id);
        let observed = 1.0 - (value - under_way.before).exp();
        out.push(Decision::Evaluated {
            evaluation: Evaluation {
                optimization_id: under_way.id,
                observed_improvement: observed,
                at: log_at,
            },
            predicted: under_way.predicted,
        });
        if let Some(predicted) = self.study.predict(&under_way.point) {
            self.misses
                .add((value - predicted.mean).abs() / deviation(&predicted));
        }
        member.relative = value;
        if let Some(anchor) = &mut member.anchor {
            anchor.uses += 1;
        }
        let arrived = member.goal.take_if(|goal| goal.point == under_way.point);
        let purpose = arrived.as_ref().map(|goal| goal.purpose);
        let (trial, arm) = arrived.map_or((None, None), |goal| (goal.trial, goal.arm));
        match trial {
            Some(id) if guard_held => {
                self.study
                    .tell(id, TrialOutcome::Value(value))
                    .expect("an asked trial is told once, with a finite value");
            }
            Some(id) => {
                self.study
                    .tell(id, TrialOutcome::Failed)
                    .expect("an asked trial is told once");
            }
            None => {
                self.study
                    .observe(under_way.point, value)
                    .expect("a point made by this cohort lies in its space");
            }
        }
        if let Some(arm) = arm {
            self.bandit
                .reward(arm, -value)
                .expect("a known arm and a finite value");
        }
        let worse = observed < -WORSE || !guard_held;
        if worse && purpose != Some(Purpose::Rollback) {
            let point = self.safe_point();
            let member = self.members.get_mut(&agent).expect("looked up above");
            if member.current != point {
                member.goal = Some(Goal {
                    point,
                    purpose: Purpose::Rollback,
                    trial: None,
                    arm: None,
                    proposed_by: "rollback".into(),
                });
            }
        }
    }

    /// What is under way for `agent` will have no outcome.
    pub(super) fn give_up(&mut self, agent: AgentId) {
        let Some(member) = self.members.get_mut(&agent) else {
            return;
        };
        if let Some(under_way) = member.under_way.take() {
            self.open.remove(&under_way.id);
        }
        if let Some(id) = member.goal.take().and_then(|goal| goal.trial) {
            self.study
                .tell(id, TrialOutcome::Failed)
                .expect("an asked trial is told once");
        }
    }

    /// Where it is safe to return to: the best setting known if it is worth it, else the initial one.
    fn safe_point(&self) -> Point {
        match self.study.recommend() {
            Some(best) if best.predicted.upper < 0.0 => best.point,
            _ => settings::initial(&self.config.parameter),
        }
    }
}
