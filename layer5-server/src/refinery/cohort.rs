//! One cohort's closed loop: try settings on a few agents, compare with those left alone, roll out what helps, take
//! back what hurts.
//! In: readings at ticks, deliveries and outcomes. Out: [`Decision`]s. Called from: [`super::tuner`].
//! Notation: the log cost `x` is `ln(objective)` where lower is better and `-ln(objective)` where higher is; the value
//! told to the study is `v = (x - level) - (x0 - level0) + r0`: the log cost now, corrected by the holdouts' level,
//! against the anchor window, plus the anchor setting's own value. `v = 0` at the initial setting, `1 - exp(v)` is the
//! improvement over it.
//! Invariants: one recommendation under way per agent; at most `canary_share` of the members try something; a worse
//! outcome or a broken guard leads back to the best setting known; holdouts keep the initial setting for good, so the
//! gain stays provable. The objective must be positive: readings that are not are left out.

use std::collections::{BTreeMap, VecDeque};

use layer5_core::{
    AgentId, Recommendation, Timestamp, catalogue::Better, recommendation::optimization_id,
};
use layer5_optimize::{
    Direction, Outcome as TrialOutcome, Point, Prediction, SamplerKind, Space, SpaceError, Study,
    StudyConfig,
    bandit::{Bandit, GaussianPrior, GaussianThompson, Memory},
    experiment::{Experiment, ExperimentSettings, Group},
    rollout::{Guardrails, Move, Rollout, Stage},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Decision, Reading,
    control_level::ControlLevel,
    member::{Anchor, Goal, Means, Member, Purpose, UnderWay},
    settings,
};
use crate::{
    config::CohortConfig,
    store::{Evaluation, StoredRecommendation},
};

/// Standard deviation of a setting's value before anything is known: a factor of e^0.5 either way.
const PRIOR_SD: f64 = 0.5;
/// Half the width of a 95 % interval in standard deviations.
const Z95: f64 = 1.96;
/// An outcome is worse when the objective lost more than this.
const WORSE: f64 = 0.05;
/// A rollout needs this much predicted improvement.
const WORTH_IT: f64 = 0.01;
/// Evaluations against one anchor before a fresh one is taken.
const ANCHOR_USES: u32 = 8;
/// Ticks without a report after which what is under way is given up.
const QUIET_TICKS: u32 = 600;
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

/// How far outcomes were from their predictions, in the model's own standard deviations: what widens the next
/// intervals until 95 % of the outcomes lie inside (split conformal prediction, Lei et al. 2018).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Misses(VecDeque<f64>);

impl Misses {
    /// Outcomes remembered, and those needed before they are believed.
    const LEN_MAX: usize = 200;
    const LEN_MIN: usize = 20;

    fn add(&mut self, miss: f64) {
        self.0.push_back(miss);
        if self.0.len() > Self::LEN_MAX {
            self.0.pop_front();
        }
    }

    /// Half the width of a 95 % interval in the model's standard deviations.
    fn half_width(&self) -> f64 {
        if self.0.len() < Self::LEN_MIN {
            return Z95;
        }
        let mut sorted: Vec<f64> = self.0.iter().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let rank = ((sorted.len() + 1) as f64 * 0.95).ceil() as usize;
        sorted[rank.min(sorted.len()) - 1]
    }
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

    fn read(&mut self, readings: &[Reading], now: Timestamp) {
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
    fn measure(&mut self, log_at: Timestamp, out: &mut Vec<Decision>) {
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

    fn corrected(&self, means: &Means) -> f64 {
        means.log_cost - self.level.between(means.first, means.last)
    }

    /// The value `v` of what `agent` ran with during `means`.
    fn value(&self, agent: AgentId, means: &Means) -> f64 {
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
    fn close(
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

    /// While something is rolled out, every full window of an agent that has it, and of a holdout, is one more value of
    /// the experiment: the improvement over the initial setting.
    fn prove(&mut self) {
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

    /// What is under way for `agent` will have no outcome.
    fn give_up(&mut self, agent: AgentId) {
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

    fn choose_goals(&mut self, now: Timestamp) {
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

    fn can_begin(&self, member: &Member) -> bool {
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

    fn begin_campaign(&mut self, now: Timestamp) {
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

    fn choose_rollouts(&mut self, now: Timestamp) {
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

    /// Sends every member with a goal one safe step on its way.
    fn lead(&mut self, log_at: Timestamp, stopped: bool, out: &mut Vec<Decision>) {
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
    pub(super) fn expected(&self, point: &Point, before: f64) -> ((f64, f64, f64), f64) {
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

/// The standard deviation of a prediction; a thousandth at least, which no measured outcome undercuts.
fn deviation(p: &Prediction) -> f64 {
    ((p.upper - p.lower) / (2.0 * Z95)).max(1e-3)
}

/// The standard normal distribution function, to 1e-7: Abramowitz and Stegun (1964), 26.2.17.
fn normal_cdf(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let series = t
        * (0.319_381_530
            + t * (-0.356_563_782
                + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * series;
    if z > 0.0 { 1.0 - tail } else { tail }
}
