//! The best setting on its way to everyone, stage by stage, each one proven.
//! In: full windows of those that have it and of the holdouts. Out: goals, or the way back. Called from: [`super`].

use layer5_core::{AgentId, Timestamp};
use layer5_optimize::{
    experiment::{Experiment, ExperimentSettings, Group},
    rollout::{Guardrails, Move, Rollout, Stage},
};

use super::{Campaign, Cohort, Phase};
use crate::refinery::{
    member::{Goal, Means, Purpose},
    settings,
};

/// A rollout needs this much predicted improvement.
const WORTH_IT: f64 = 0.01;

impl Cohort {
    /// While something is rolled out, every full window of an agent that has it, and of a holdout, is one more value of
    /// the experiment: the improvement over the initial setting.
    pub(super) fn prove(&mut self) {
        let Phase::RollOut(campaign) = &self.phase else {
            return;
        };
        let target = campaign.target.clone();
        let due: Vec<(AgentId, Group, Means)> = self
            .members
            .iter()
            .filter(|(_, m)| m.under_way.is_none() && m.anchor.is_some())
            .filter_map(|(&agent, m)| {
                let group = if m.holdout {
                    Group::Control
                } else {
                    Group::Treated
                };
                let counts = m.holdout || m.current == target;
                Some((
                    agent,
                    group,
                    m.means(self.config.window_len).filter(|_| counts)?,
                ))
            })
            .collect();
        for (agent, group, means) in due {
            let improvement = 1.0 - self.value(agent, &means).exp();
            if let Phase::RollOut(campaign) = &mut self.phase {
                campaign
                    .experiment
                    .add(group, improvement)
                    .expect("improvements are finite");
            }
            if let Some(member) = self.members.get_mut(&agent) {
                member.window_used();
            }
        }
    }

    pub(super) fn begin_campaign(&mut self, now: Timestamp) {
        let worth = self
            .study
            .recommend()
            .filter(|best| best.predicted.mean < (-WORTH_IT).ln_1p());
        self.phase = match worth {
            None => Phase::Settled,
            Some(best) => Phase::RollOut(Box::new(Campaign {
                target: best.point,
                rollout: Rollout::start(self.config.seed, now),
                experiment: Self::experiment(),
                proven: false,
            })),
        };
    }

    fn experiment() -> Experiment {
        Experiment::new(ExperimentSettings::default()).expect("the default settings are legal")
    }

    fn guardrails(&self) -> Guardrails {
        Guardrails {
            step_fraction_max: self.config.largest_step,
            cooldown_seconds: 0.0,
            canary_share: self.config.canary_share,
            kill_switch: false,
            dry_run: self.config.dry_run,
        }
    }

    pub(super) fn choose_rollouts(&mut self, now: Timestamp) {
        let guardrails = self.guardrails();
        let ready: Vec<AgentId> = self
            .members
            .iter()
            .filter(|(_, m)| self.can_begin(m))
            .map(|(&a, _)| a)
            .collect();
        let initial = settings::initial(&self.config.parameter);
        let Phase::RollOut(campaign) = &mut self.phase else {
            return;
        };
        let mut taken_back = false;
        if !campaign.proven {
            match campaign
                .rollout
                .advance(&campaign.experiment.verdict(), &guardrails, now)
            {
                Move::Hold => {}
                Move::Extend(_) => campaign.experiment = Self::experiment(),
                Move::Finished => campaign.proven = true,
                Move::TakeBack => taken_back = true,
            }
        }
        let target = if taken_back {
            initial
        } else {
            campaign.target.clone()
        };
        let (purpose, proposed_by) = match taken_back {
            true => (Purpose::Rollback, "rollback"),
            false => (Purpose::Rollout, "rollout"),
        };
        for agent in ready {
            let included = taken_back
                || campaign.rollout.stage() == Stage::Everyone
                || campaign.rollout.includes(u64::from(agent.0), &guardrails);
            let member = self.members.get_mut(&agent).expect("listed above");
            if included && member.current != target {
                member.goal = Some(Goal {
                    point: target.clone(),
                    purpose,
                    trial: None,
                    arm: None,
                    proposed_by: proposed_by.into(),
                });
            }
        }
        if taken_back {
            self.phase = Phase::Settled;
        }
    }
}
