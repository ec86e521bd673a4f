//! What each agent should try next.
//! In: who is free. Out: goals. Called from: [`super`]. Invariants: at most `canary_share` of the members try something.

use layer5_core::{AgentId, Timestamp};
use layer5_optimize::bandit::Bandit;

use super::{Cohort, Phase};
use crate::refinery::member::{Goal, Member, Purpose};

/// Evaluations against one anchor before a fresh one is taken.
pub(super) const ANCHOR_USES: u32 = 8;

impl Cohort {
    pub(super) fn choose_goals(&mut self, now: Timestamp) {
        let told = self.study.observations().len();
        match &mut self.phase {
            Phase::Explore if told >= self.config.trials_max => self.begin_campaign(now),
            Phase::Explore => self.choose_trials(),
            Phase::RollOut(_) => self.choose_rollouts(now),
            Phase::Settled => {}
        }
    }

    fn choose_trials(&mut self) {
        let allowed = (self.config.canary_share * self.members.len() as f64).ceil() as usize;
        let busy = self
            .members
            .values()
            .filter(|m| m.goal.is_some() || m.under_way.is_some());
        let free = allowed.saturating_sub(busy.count());
        let mut ready: Vec<(u32, AgentId)> = self
            .members
            .iter()
            .filter(|(_, m)| self.can_begin(m))
            .map(|(&agent, m)| (std::cmp::Reverse(m.n_trials).0, agent))
            .collect();
        // The agents that already are canaries go on, so the others keep what they have.
        ready.sort_unstable_by_key(|&(n, agent)| (std::cmp::Reverse(n), agent));
        for (_, agent) in ready.into_iter().take(free) {
            let goal = self.next_trial();
            let member = self.members.get_mut(&agent).expect("listed above");
            member.n_trials += 1;
            member.goal = Some(goal);
        }
    }

    pub(super) fn can_begin(&self, member: &Member) -> bool {
        !member.holdout
            && member.goal.is_none()
            && member.under_way.is_none()
            && (member.anchor.is_some_and(|a| a.uses < ANCHOR_USES)
                || member.len() >= self.config.window_len)
    }

    fn next_trial(&mut self) -> Goal {
        if self.config.sampler == "bandit" {
            let arm = self.bandit.choose(self.config.seed ^ self.decisions);
            return Goal {
                point: self.arms[arm].clone(),
                purpose: Purpose::Trial,
                trial: None,
                arm: Some(arm),
                proposed_by: "bandit".into(),
            };
        }
        let trial = self.study.ask();
        Goal {
            point: trial.point,
            purpose: Purpose::Trial,
            trial: Some(trial.id),
            arm: None,
            proposed_by: trial.proposed_by.name().into(),
        }
    }
}
