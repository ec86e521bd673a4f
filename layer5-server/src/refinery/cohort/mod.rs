//! One cohort's closed loop: try settings on a few agents, compare with those left alone, roll out what helps, take
//! back what hurts.
//! In: readings at ticks, deliveries and outcomes. Out: [`Decision`]s. Called from: [`super::tuner`].
//! A tick goes through the files in this order: `measure` what is under way, `campaign` proves what is rolled out,
//! `trials` choose what comes next, `lead` sends everyone one safe step towards it.
//! Notation: the log cost `x` is `ln(objective)` where lower is better and `-ln(objective)` where higher is; the value
//! told to the study is `v = (x - level) - (x0 - level0) + r0`: the log cost now, corrected by the holdouts' level,
//! against the anchor window, plus the anchor setting's own value. `v = 0` at the initial setting, `1 - exp(v)` is the
//! improvement over it.
//! Invariants: one recommendation under way per agent; at most `canary_share` of the members try something; a worse
//! outcome or a broken guard leads back to the best setting known; holdouts keep the initial setting for good, so the
//! gain stays provable. The objective must be positive: readings that are not are left out.

mod campaign;
mod lead;
mod measure;
mod misses;
mod trials;

use std::collections::BTreeMap;

use layer5_core::{AgentId, Timestamp, catalogue::Better};
use layer5_optimize::{
    Direction, Point, SamplerKind, Space, SpaceError, Study, StudyConfig,
    bandit::{GaussianPrior, GaussianThompson, Memory},
    experiment::Experiment,
    rollout::Rollout,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::misses::Misses;
use super::{Decision, Reading, control_level::ControlLevel, member::Member, settings};
use crate::config::CohortConfig;

/// Arms of the bandit: the initial setting and a spread over the space.
const ARMS: usize = 16;

/// Where the loop is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Phase {
    /// Trials on the canaries.
    Explore,
    /// The best setting goes out by stages.
    RollOut(Box<Campaign>),
    /// Nothing better was found, or it was taken back.
    Settled,
}

/// A setting on its way to everyone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Campaign {
    /// What goes out.
    pub target: Point,
    /// How far it has got.
    pub rollout: Rollout,
    /// Whether it helps, at this stage.
    pub experiment: Experiment,
    /// Whether the last stage was proven.
    pub proven: bool,
}

/// A group of agents that is tuned together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cohort {
    pub(super) config: CohortConfig,
    slots: (usize, Option<usize>),
    pub(super) study: Study,
    pub(super) arms: Vec<Point>,
    pub(super) bandit: GaussianThompson,
    pub(super) members: BTreeMap<AgentId, Member>,
    level: ControlLevel,
    phase: Phase,
    open: BTreeMap<Uuid, AgentId>,
    pub(super) decisions: u64,
    misses: Misses,
}

impl Cohort {
    /// A cohort without agents. `slots`: where its objective and its guard stand in a [`Reading`].
    ///
    /// # Errors
    /// [`SpaceError`] when the parameters are no space: none at all, or a name twice.
    #[expect(
        clippy::missing_panics_doc,
        reason = "what is expected holds whatever the caller does"
    )]
    pub fn new(config: CohortConfig, slots: (usize, Option<usize>)) -> Result<Self, SpaceError> {
        let space = settings::space(&config.parameter)?;
        let sampler = SamplerKind::from_name(&config.sampler).unwrap_or(SamplerKind::Auto);
        let study = Self::study(&config, space.clone(), sampler);
        let mut spread = Self::study(&config, space, SamplerKind::Sobol);
        let mut arms = vec![settings::initial(&config.parameter)];
        arms.extend((1..ARMS).map(|_| spread.ask().point));
        let prior = GaussianPrior::NormalInverseGamma {
            mean: 0.0,
            kappa: 0.1,
            alpha: 2.0,
            beta: 0.1,
        };
        let bandit = GaussianThompson::new(arms.len(), Memory::Forever, prior)
            .expect("sixteen arms and a proper prior are legal");
        Ok(Self {
            config,
            slots,
            study,
            arms,
            bandit,
            members: BTreeMap::new(),
            level: ControlLevel::default(),
            phase: Phase::Explore,
            open: BTreeMap::new(),
            decisions: 0,
            misses: Misses::default(),
        })
    }

    /// What is left of a reading when the known effect of its agent's setting is taken away, so that agents with
    /// different settings can be compared; a setting that is being measured leaves nothing.
    pub(super) fn without_setting(&self, mut reading: Reading) -> Reading {
        let sum = &mut reading.sums[self.slots.0];
        if let Some(member) = self.members.get(&reading.agent) {
            match (&member.under_way, self.config.objective.better) {
                (Some(_), _) => sum.n = 0,
                (None, Better::Lower) => sum.sum *= (-member.relative).exp(),
                (None, Better::Higher) => sum.sum *= member.relative.exp(),
            }
        }
        reading
    }

    pub(super) fn study(config: &CohortConfig, space: Space, sampler: SamplerKind) -> Study {
        Study::new(StudyConfig {
            direction: Direction::Minimize,
            seed: config.seed,
            budget: Some(config.trials_max),
            sampler,
            ..StudyConfig::new(space)
        })
        .expect("a checked space and a known sampler make a study")
    }

    /// Takes in an agent. Every `1 / holdout_share`-th that joins is a holdout; a cohort of fewer than four has none.
    pub fn join(&mut self, agent: AgentId, name: &str) {
        let n = self.members.len() as f64;
        let share = self.config.holdout_share;
        let holdout = n >= 3.0 && ((n + 1.0) * share).floor() > (n * share).floor()
            || self.members.len() == 3 && share > 0.0;
        let initial = settings::initial(&self.config.parameter);
        self.members
            .entry(agent)
            .or_insert_with(|| Member::new(name.into(), initial, holdout));
    }

    /// Where the loop is.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// One tick: `readings` of members in rising order of agent, `now` the newest `recorded_at` of all.
    /// With `stopped`, what is under way is still measured and taken back, and nothing new begins.
    pub fn tick(
        &mut self,
        readings: &[Reading],
        now: Timestamp,
        log_at: Timestamp,
        stopped: bool,
        out: &mut Vec<Decision>,
    ) {
        self.read(readings, now);
        self.measure(log_at, out);
        self.prove();
        if !stopped {
            self.choose_goals(now);
        }
        self.lead(log_at, stopped, out);
    }

    /// Layer7 has the recommendation `id`. Returns whether it was one of this cohort's.
    pub fn delivered(&mut self, id: Uuid) -> bool {
        let Some(member) = self
            .open
            .get(&id)
            .and_then(|agent| self.members.get_mut(agent))
        else {
            return false;
        };
        if let Some(under_way) = member
            .under_way
            .as_mut()
            .filter(|u| u.id == id && !u.delivered)
        {
            under_way.delivered = true;
            let point = under_way.point.clone();
            member.changed(point, self.config.settle_len);
        }
        true
    }

    /// Layer7 told what became of the recommendation `id`. Returns whether it was one of this cohort's.
    pub fn told(
        &mut self,
        id: Uuid,
        applied: Option<f64>,
        log_at: Timestamp,
        out: &mut Vec<Decision>,
    ) -> bool {
        let Some(&agent) = self.open.get(&id) else {
            return false;
        };
        let Some(improvement) = applied else {
            self.give_up(agent);
            return true;
        };
        self.delivered(id);
        let before = self.members[&agent]
            .under_way
            .as_ref()
            .map_or(0.0, |u| u.before);
        let value = before + (1.0 - improvement.min(0.99)).ln();
        self.close(agent, value.clamp(-5.0, 5.0), true, log_at, out);
        true
    }
}
