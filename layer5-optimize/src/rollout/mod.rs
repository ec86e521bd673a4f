//! From a few agents to all of them: stages of a change, and the limits no change may pass.
//! In: verdicts of an experiment, `now`. Out: what to do next and which agents take part.
//! Called from: the server's refinery. Neighbour: [`crate::experiment`].
//! Invariants: a rollout only moves canary -> half -> everyone, or back to nobody, and never leaves
//! nobody; agents of an earlier stage are in every later one.
//! Reference: Humble and Farley (2010), *Continuous Delivery*, ch. 10 (canary releases).

mod guardrails;

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::guardrails::{Delivery, Guardrails, Refusal, limit_step};
use crate::experiment::Verdict;
use crate::seed::mix;

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
}
