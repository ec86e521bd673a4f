//! One safe step towards the goal, as a recommendation with a predicted effect.
//! In: members with a goal. Out: [`Decision::Recommend`]. Called from: [`super`], `refinery/ask`. Notation: as in [`super`].

use layer5_core::{AgentId, Recommendation, Timestamp, recommendation::optimization_id};
use layer5_optimize::{Point, Prediction, acquisition::log_ei::normal_cdf};

use super::{
    Cohort,
    misses::{Z95, deviation},
    trials::ANCHOR_USES,
};
use crate::{
    refinery::{
        Decision,
        member::{Anchor, Purpose, UnderWay},
        settings,
    },
    store::StoredRecommendation,
};

/// Standard deviation of a setting's value before anything is known: a factor of e^0.5 either way.
const PRIOR_SD: f64 = 0.5;

impl Cohort {
    /// Sends every member with a goal one safe step on its way.
    pub(super) fn lead(&mut self, log_at: Timestamp, stopped: bool, out: &mut Vec<Decision>) {
        let led: Vec<AgentId> = self
            .members
            .iter()
            .filter(|(_, m)| m.under_way.is_none() && (m.goal.is_some() || m.holdout))
            .map(|(&agent, _)| agent)
            .collect();
        for agent in led {
            self.drop_anchor(agent);
            let member = &self.members[&agent];
            let held_back = stopped
                && member
                    .goal
                    .as_ref()
                    .is_some_and(|g| g.purpose != Purpose::Rollback);
            if member.anchor.is_some() && !member.holdout && !held_back {
                self.recommend(agent, log_at, out);
            }
        }
    }

    /// Takes the window as the anchor where there is none yet, or an old one.
    fn drop_anchor(&mut self, agent: AgentId) {
        let member = &self.members[&agent];
        if member
            .anchor
            .is_some_and(|a| member.holdout || a.uses < ANCHOR_USES)
        {
            return;
        }
        let Some(means) = member.means(self.config.window_len) else {
            return;
        };
        let level = self.corrected(&means);
        let relative = self
            .study
            .predict(&member.current)
            .map_or(member.relative, |p| p.mean);
        let initial = settings::initial(&self.config.parameter);
        let relative = if member.current == initial {
            0.0
        } else {
            relative
        };
        let member = self.members.get_mut(&agent).expect("looked up above");
        member.relative = relative;
        member.anchor = Some(Anchor {
            level,
            relative,
            guard: means.guard,
            uses: 0,
        });
    }

    fn recommend(&mut self, agent: AgentId, log_at: Timestamp, out: &mut Vec<Decision>) {
        let parameters = &self.config.parameter;
        let member = &self.members[&agent];
        let Some(goal) = &member.goal else { return };
        let largest = self.config.largest_step;
        let point = settings::step_towards(parameters, &member.current, &goal.point, largest);
        let (predicted, confidence) = self.expected(&point, member.relative);
        let id = optimization_id(&self.config.name, self.decisions, &member.name);
        out.push(Decision::Recommend(StoredRecommendation {
            recommendation: Recommendation {
                agent_id: member.name.clone(),
                optimization_id: id,
                parameters: settings::to_parameters(parameters, &point),
                confidence,
                expected_improvement: predicted.0,
                expected_interval: (predicted.1, predicted.2),
                timestamp: log_at,
            },
            study: self.config.name.clone(),
            trial: goal.trial.map_or(self.decisions, |id| id.0),
            proposed_by: goal.proposed_by.clone(),
            dry_run: self.config.dry_run,
        }));
        self.decisions += 1;
        self.open.insert(id, agent);
        let before = member.relative;
        let member = self.members.get_mut(&agent).expect("looked up above");
        member.under_way = Some(UnderWay {
            id,
            point,
            predicted,
            before,
            delivered: false,
        });
    }

    /// What going from a setting of value `before` to `point` is expected to bring: the improvement with its 95 %
    /// interval, and the probability that it is one.
    pub(in crate::refinery) fn expected(
        &self,
        point: &Point,
        before: f64,
    ) -> ((f64, f64, f64), f64) {
        let known = self.study.predict(point);
        let p = known.unwrap_or(Prediction {
            mean: before,
            lower: before - Z95 * PRIOR_SD,
            upper: before + Z95 * PRIOR_SD,
        });
        let improvement = |value: f64| 1.0 - (value - before).exp();
        let sd = deviation(&p);
        let confidence = normal_cdf((before - p.mean) / sd);
        let reach = sd * self.misses.half_width();
        let interval = (improvement(p.mean + reach), improvement(p.mean - reach));
        ((improvement(p.mean), interval.0, interval.1), confidence)
    }
}
