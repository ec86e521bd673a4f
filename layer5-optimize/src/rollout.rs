//! From a few agents to all of them: stages of a change, and the limits no change may pass.
//! In: verdicts of an experiment, `now`. Out: what to do next and which agents take part.
//! Called from: the server's refinery. Neighbour: [`crate::experiment`].
//! Invariants: a rollout only moves canary -> half -> everyone, or back to nobody, and never leaves
//! nobody; agents of an earlier stage are in every later one.
//! Reference: Humble and Farley (2010), *Continuous Delivery*, ch. 10 (canary releases).

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::experiment::Verdict;
use crate::seed::mix;
use crate::setting::{InvalidSetting, require};

/// The limits that every change keeps, whoever proposed it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guardrails {
    /// Largest step of one parameter, as a fraction of its range, in 0..=1 and above 0.
    pub step_fraction_max: f64,
    /// Seconds between two changes of the same agent, >= 0.
    pub cooldown_seconds: f64,
    /// Share of the agents that a change reaches first, inside 0..=0.5.
    pub canary_share: f64,
    /// Nothing goes out while this is set.
    pub kill_switch: bool,
    /// Recommendations are made, logged and measured, but not sent.
    pub dry_run: bool,
}

impl Default for Guardrails {
    /// A fifth of the range, five minutes (a few reporting intervals), a tenth of the agents.
    fn default() -> Self {
        Guardrails {
            step_fraction_max: 0.2,
            cooldown_seconds: 300.0,
            canary_share: 0.1,
            kill_switch: false,
            dry_run: false,
        }
    }
}

/// What to do with a change that may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Send it.
    Send,
    /// Keep it in the log: this is a dry run.
    LogOnly,
}

/// Why no change may be made now.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// An operator has stopped all changes.
    #[error("the kill switch is on")]
    KillSwitch,
    /// The agent was changed too recently.
    #[error("cooling down until {until}")]
    CoolingDown {
        /// When the next change may be made.
        until: Timestamp,
    },
}

impl Guardrails {
    /// Passes limits that make sense.
    ///
    /// # Errors
    /// [`InvalidSetting`] naming the field that is out of range.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let step = self.step_fraction_max;
        require(
            step > 0.0 && step <= 1.0,
            "step_fraction_max",
            step,
            "above 0 and at most 1",
        )?;
        let cooldown = self.cooldown_seconds;
        let waits = cooldown >= 0.0 && cooldown.is_finite();
        require(waits, "cooldown_seconds", cooldown, "0 or more, and finite")?;
        let share = self.canary_share;
        require(
            share > 0.0 && share <= 0.5,
            "canary_share",
            share,
            "above 0 and at most 0.5",
        )
    }

    /// Whether an agent last changed at `changed_at` (`None`: never) may be changed at `now`.
    ///
    /// # Errors
    /// [`Refusal`], which says why not and until when.
    pub fn permit(
        &self,
        changed_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Delivery, Refusal> {
        if self.kill_switch {
            return Err(Refusal::KillSwitch);
        }
        if let Some(until) = changed_at.map(|at| at.plus_seconds(self.cooldown_seconds))
            && now < until
        {
            return Err(Refusal::CoolingDown { until });
        }
        Ok(if self.dry_run {
            Delivery::LogOnly
        } else {
            Delivery::Send
        })
    }
}

/// The value nearest to `to` that lies in `low..=high` and within `fraction_max` of the range from
/// `from`. For a logarithmic parameter pass the logarithms.
/// `low` <= `high`; a `from` outside the range is taken as its nearest end; a `to` that is NaN
/// changes nothing.
///
/// # Example
/// ```
/// use layer5_optimize::rollout::limit_step;
/// assert_eq!(limit_step(10.0, 90.0, 0.0, 100.0, 0.25), 35.0);
/// assert_eq!(limit_step(10.0, -40.0, 0.0, 100.0, 0.25), 0.0);
/// assert_eq!(limit_step(10.0, 12.0, 0.0, 100.0, 0.25), 12.0);
/// ```
pub fn limit_step(from: f64, to: f64, low: f64, high: f64, fraction_max: f64) -> f64 {
    let from = from.max(low).min(high);
    if to.is_nan() {
        return from;
    }
    // Halving first keeps the width of the widest range finite.
    let reach = (0.5 * high - 0.5 * low) * fraction_max * 2.0;
    to.max(low.max(from - reach)).min(high.min(from + reach))
}

/// How far a change has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Taken back: it was worse, or no better.
    Nobody,
    /// The first few agents.
    Canary,
    /// Every second agent.
    Half,
    /// All of them.
    Everyone,
}

/// What a verdict asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Stay and keep measuring.
    Hold,
    /// Extend to this stage; measure it with a new experiment.
    Extend(Stage),
    /// Take the change back from every agent that has it.
    TakeBack,
    /// Nothing is left to do.
    Finished,
}

/// One change on its way through the fleet.
///
/// # Example
/// ```
/// use layer5_core::Timestamp;
/// use layer5_optimize::experiment::Verdict;
/// use layer5_optimize::rollout::{Guardrails, Move, Rollout, Stage};
///
/// let limits = Guardrails { cooldown_seconds: 60.0, ..Guardrails::default() };
/// let mut rollout = Rollout::start(7, Timestamp::from_millis(0));
/// let better = Verdict::Better { lower: 0.02, upper: 0.09 };
/// let next = rollout.advance(&better, &limits, Timestamp::from_millis(60_000));
/// assert_eq!(next, Move::Extend(Stage::Half));
/// assert_eq!(rollout.share(&limits), 0.5);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    stage: Stage,
    since: Timestamp,
    seed: u64,
}

impl Rollout {
    /// A change that reaches its canaries now. `seed` decides who they are; give every rollout its
    /// own, or the same agents are always the first.
    pub fn start(seed: u64, now: Timestamp) -> Self {
        Rollout {
            stage: Stage::Canary,
            since: now,
            seed,
        }
    }

    /// How far it has got.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// When it got there.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// Share of the agents that have the change, 0..=1.
    pub fn share(&self, limits: &Guardrails) -> f64 {
        match self.stage {
            Stage::Nobody => 0.0,
            Stage::Canary => limits.canary_share,
            Stage::Half => 0.5,
            Stage::Everyone => 1.0,
        }
    }

    /// Whether the agent with this hash (any stable 64-bit one) has the change. The hash is mixed
    /// with the seed; an agent once included stays so in every later stage.
    pub fn includes(&self, agent_hash: u64, limits: &Guardrails) -> bool {
        let place = mix(mix(self.seed).wrapping_add(agent_hash)) >> 11;
        (place as f64) < self.share(limits) * (1u64 << 53) as f64
    }

    /// Moves by what the stage's experiment found. A worse outcome is taken back at once, even
    /// during the cooldown and with the kill switch on; an extension waits for both. A change that
    /// is no better is taken back too: it has no right to the risk.
    pub fn advance(&mut self, verdict: &Verdict, limits: &Guardrails, now: Timestamp) -> Move {
        let next = match (self.stage, verdict) {
            (Stage::Nobody, _) => return Move::Finished,
            (_, Verdict::Worse { .. } | Verdict::NoDifference { .. }) => Stage::Nobody,
            (_, Verdict::Running) => return Move::Hold,
            (Stage::Canary, Verdict::Better { .. }) => Stage::Half,
            (Stage::Half, Verdict::Better { .. }) => Stage::Everyone,
            (Stage::Everyone, Verdict::Better { .. }) => return Move::Finished,
        };
        if next != Stage::Nobody && limits.permit(Some(self.since), now).is_err() {
            return Move::Hold;
        }
        self.stage = next;
        self.since = now;
        if next == Stage::Nobody {
            Move::TakeBack
        } else {
            Move::Extend(next)
        }
    }

    /// Takes the change back whatever the figures say (an operator, a lost guardrail KPI).
    pub fn take_back(&mut self, now: Timestamp) -> Move {
        if self.stage == Stage::Nobody {
            return Move::Finished;
        }
        self.stage = Stage::Nobody;
        self.since = now;
        Move::TakeBack
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BETTER: Verdict = Verdict::Better {
        lower: 0.01,
        upper: 0.1,
    };
    const WORSE: Verdict = Verdict::Worse {
        lower: -0.1,
        upper: -0.01,
    };
    const FLAT: Verdict = Verdict::NoDifference {
        lower: -0.01,
        upper: 0.01,
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    /// Limits without a cooldown.
    fn limits() -> Guardrails {
        Guardrails {
            cooldown_seconds: 0.0,
            ..Guardrails::default()
        }
    }

    /// The moves that a sequence of verdicts makes, one a second.
    fn moves(verdicts: &[Verdict]) -> (Vec<Move>, Stage) {
        let mut rollout = Rollout::start(1, at(0));
        let moves = (1..)
            .zip(verdicts)
            .map(|(s, v)| rollout.advance(v, &limits(), at(s)))
            .collect();
        (moves, rollout.stage())
    }

    #[test]
    fn good_news_extends_stage_by_stage() {
        let (moves, stage) = moves(&[Verdict::Running, BETTER, BETTER, BETTER]);
        let half = Move::Extend(Stage::Half);
        assert_eq!(
            moves,
            [
                Move::Hold,
                half,
                Move::Extend(Stage::Everyone),
                Move::Finished
            ]
        );
        assert_eq!(stage, Stage::Everyone);
    }

    #[test]
    fn bad_news_takes_back_from_every_stage_and_for_good() {
        for n_better in 0..3 {
            for bad in [WORSE, FLAT] {
                let mut verdicts = vec![BETTER; n_better];
                verdicts.extend([bad, BETTER]);
                let (moves, stage) = moves(&verdicts);
                assert_eq!(moves[n_better..], [Move::TakeBack, Move::Finished]);
                assert_eq!(stage, Stage::Nobody);
            }
        }
    }

    #[test]
    fn cooldown_and_kill_switch_hold_an_extension_but_not_a_retreat() {
        let waiting = Guardrails {
            cooldown_seconds: 10.0,
            ..limits()
        };
        let mut rollout = Rollout::start(1, at(0));
        assert_eq!(rollout.advance(&BETTER, &waiting, at(9)), Move::Hold);
        assert_eq!(
            rollout.clone().advance(&WORSE, &waiting, at(9)),
            Move::TakeBack
        );
        let killed = Guardrails {
            kill_switch: true,
            ..limits()
        };
        assert_eq!(rollout.advance(&BETTER, &killed, at(99)), Move::Hold);
        assert_eq!(
            rollout.clone().advance(&WORSE, &killed, at(99)),
            Move::TakeBack
        );
        assert_eq!(
            rollout.advance(&BETTER, &waiting, at(10)),
            Move::Extend(Stage::Half)
        );
        assert_eq!(rollout.since(), at(10));
        assert_eq!(rollout.take_back(at(11)), Move::TakeBack);
        assert_eq!(rollout.take_back(at(12)), Move::Finished);
    }

    #[test]
    fn stages_are_nested_and_of_the_stated_size() {
        let limits = limits();
        let stages = [Stage::Nobody, Stage::Canary, Stage::Half, Stage::Everyone];
        let counts = stages.map(|stage| {
            let rollout = Rollout {
                stage,
                since: at(0),
                seed: 9,
            };
            (0..10_000)
                .filter(|&agent| rollout.includes(agent, &limits))
                .count() as f64
        });
        assert_eq!((counts[0], counts[3]), (0.0, 10_000.0));
        // Binomial with n = 10 000: five standard deviations are 150 at 0.1 and 250 at 0.5.
        assert!((counts[1] - 1000.0).abs() < 150.0, "{counts:?}");
        assert!((counts[2] - 5000.0).abs() < 250.0, "{counts:?}");
        let canary = Rollout {
            stage: Stage::Canary,
            since: at(0),
            seed: 9,
        };
        let half = Rollout {
            stage: Stage::Half,
            ..canary.clone()
        };
        for agent in 0..10_000 {
            assert!(!canary.includes(agent, &limits) || half.includes(agent, &limits));
        }
    }

    #[test]
    fn another_seed_has_other_canaries() {
        let canaries = |seed| {
            let rollout = Rollout::start(seed, at(0));
            (0..1000)
                .filter(move |&agent| rollout.includes(agent, &limits()))
                .collect::<Vec<u64>>()
        };
        assert_ne!(canaries(1), canaries(2));
        assert_eq!(canaries(1), canaries(1));
    }

    #[test]
    fn permission_knows_all_four_answers() {
        let waiting = Guardrails {
            cooldown_seconds: 10.0,
            ..limits()
        };
        assert_eq!(waiting.permit(None, at(0)), Ok(Delivery::Send));
        let refused = Err(Refusal::CoolingDown { until: at(15) });
        assert_eq!(waiting.permit(Some(at(5)), at(14)), refused);
        assert_eq!(waiting.permit(Some(at(5)), at(15)), Ok(Delivery::Send));
        let dry = Guardrails {
            dry_run: true,
            ..limits()
        };
        assert_eq!(dry.permit(None, at(0)), Ok(Delivery::LogOnly));
        let killed = Guardrails {
            kill_switch: true,
            ..dry
        };
        assert_eq!(killed.permit(None, at(0)), Err(Refusal::KillSwitch));
    }

    #[test]
    fn limits_are_checked_on_both_sides() {
        let fits = |change: fn(&mut Guardrails)| {
            let mut limits = Guardrails::default();
            change(&mut limits);
            limits.check().is_ok()
        };
        assert!(fits(|_| ()));
        assert!(fits(|l| l.step_fraction_max = 1.0) && !fits(|l| l.step_fraction_max = 1.01));
        assert!(!fits(|l| l.step_fraction_max = 0.0) && !fits(|l| l.step_fraction_max = f64::NAN));
        assert!(fits(|l| l.cooldown_seconds = 0.0) && !fits(|l| l.cooldown_seconds = -1.0));
        assert!(fits(|l| l.canary_share = 0.5) && !fits(|l| l.canary_share = 0.51));
        assert!(!fits(|l| l.canary_share = 0.0));
    }

    #[test]
    fn the_widest_range_has_a_finite_step() {
        assert_eq!(
            limit_step(0.0, f64::INFINITY, f64::MIN, f64::MAX, 0.5),
            f64::MAX
        );
        assert_eq!(limit_step(5.0, f64::NAN, 0.0, 10.0, 0.5), 5.0);
        assert_eq!(limit_step(50.0, 0.0, 0.0, 10.0, 0.1), 9.0);
    }

    proptest! {
        #[test]
        fn a_limited_step_stays_in_the_box_and_within_reach(
            from in -100.0..100.0f64,
            to in -1e6..1e6f64,
            low in -100.0..0.0f64,
            width in 0.0..100.0f64,
            fraction in 0.0..1.0f64,
        ) {
            let high = low + width;
            let start = from.clamp(low, high);
            let limited = limit_step(from, to, low, high, fraction);
            prop_assert!(limited >= low && limited <= high);
            prop_assert!((limited - start).abs() <= fraction * width * (1.0 + 1e-12) + 1e-12);
            let wanted = to.clamp(low, high);
            // It goes the wanted way, and all the way when that is near enough.
            prop_assert!((limited - start) * (wanted - start) >= 0.0);
            if (wanted - start).abs() < fraction * width * (1.0 - 1e-12) {
                prop_assert_eq!(limited, wanted);
            }
        }
    }
}
