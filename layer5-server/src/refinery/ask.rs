//! The synchronous question of `/optimize`: a setting for one agent, now.
//! In: [`Ask`] records of the log. Out: an [`AskAnswer`]. Called from: [`super::tuner`].
//! A parameter that the agent's cohort declares keeps its declared bounds; any other gets a conservative space round
//! the given value, and the answer says so.
//! Invariants: an unknown agent is no error; every answer lies inside the spaces that it states.

use std::collections::BTreeMap;

use layer5_core::Parameters;
use layer5_optimize::{Point, SamplerKind, Study, bandit::Bandit};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{cohort::Cohort, settings};
use crate::{
    config::{CohortConfig, ParameterConfig, ParameterType},
    store::Ask,
};

/// The algorithms that `/optimize` knows.
pub const ALGORITHMS: [&str; 7] = [
    "auto", "bandit", "bayesian", "gradient", "cmaes", "tpe", "random",
];

/// The answer to one question.
#[derive(Clone, Debug, PartialEq)]
pub struct AskAnswer {
    /// Its identity, to be told the outcome by.
    pub optimization_id: Uuid,
    /// What to set.
    pub parameters: Parameters,
    /// Probability that it helps, `0 ..= 1`.
    pub confidence: f64,
    /// Predicted improvement over what the agent runs with, a ratio, with its 95 % interval.
    pub expected: (f64, f64, f64),
    /// The bounds that were used, and whether the config declares them.
    pub spaces: BTreeMap<String, (f64, f64, bool)>,
}

/// An answer that waits for its outcome.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OpenAsk {
    /// The study that answered: a cohort's or an ad-hoc one's name.
    pub(super) study: String,
    point: Point,
    arm: Option<usize>,
    /// Value of what the agent ran with before.
    before: f64,
    pub(super) predicted: (f64, f64, f64),
}

/// A conservative space round a value that nobody declared: half to double, or -1 to 1 round zero.
pub(super) fn conservative(name: &str, given: f64) -> ParameterConfig {
    let (a, b) = if given == 0.0 {
        (-1.0, 1.0)
    } else {
        (given * 0.5, given * 2.0)
    };
    ParameterConfig {
        name: name.into(),
        kind: ParameterType::Float,
        low: a.min(b),
        high: a.max(b),
        log: false,
        initial: given,
    }
}

/// The configuration of a study for parameters that no cohort declares.
pub(super) fn ad_hoc(name: String, given: &Parameters) -> CohortConfig {
    let parameter = given
        .iter()
        .map(|(name, &value)| conservative(name, value))
        .collect();
    CohortConfig {
        name,
        agents: String::new(),
        objective: layer5_core::Objective::default(),
        parameter,
        sampler: "auto".into(),
        seed: 0,
        canary_share: 0.2,
        holdout_share: 0.0,
        window_len: 30,
        settle_len: 10,
        trials_max: 100,
        largest_step: 1.0,
        dry_run: false,
    }
}

impl Cohort {
    /// Answers `ask` from this cohort's study. `declared`: whether its spaces come from the config.
    pub(super) fn answer(&mut self, ask: &Ask, declared: bool) -> (AskAnswer, OpenAsk) {
        let parameters = self.config.parameter.clone();
        let given = settings::from_parameters(&parameters, &ask.parameters);
        let relative = self
            .members
            .values()
            .find(|m| m.name == ask.agent_id)
            .map(|m| m.relative);
        let before = relative
            .or_else(|| self.study.predict(&given).map(|p| p.mean))
            .unwrap_or(0.0);
        let (point, arm) = self.propose(&ask.algorithm);
        self.decisions += 1;
        let (predicted, confidence) = self.expected(&point, before);
        let spaces = parameters
            .iter()
            .map(|p| (p.name.clone(), (p.low, p.high, declared)));
        let answer = AskAnswer {
            optimization_id: ask.optimization_id,
            parameters: settings::to_parameters(&parameters, &point),
            confidence,
            expected: predicted,
            spaces: spaces.collect(),
        };
        let study = self.config.name.clone();
        (
            answer,
            OpenAsk {
                study,
                point,
                arm,
                before,
                predicted,
            },
        )
    }

    fn propose(&mut self, algorithm: &str) -> (Point, Option<usize>) {
        let kind = match algorithm {
            "bandit" => {
                let arm = self.bandit.choose(self.config.seed ^ self.decisions);
                return (self.arms[arm].clone(), Some(arm));
            }
            "bayesian" => SamplerKind::Gp,
            "gradient" => SamplerKind::TrustRegion,
            "cmaes" => SamplerKind::CmaEs,
            "tpe" => SamplerKind::Tpe,
            "random" => SamplerKind::Random,
            _ => SamplerKind::Auto,
        };
        // A fork of the study, so that a question without an outcome leaves no pending trial behind.
        let mut config = self.study.config().clone();
        config.sampler = kind;
        config.seed ^= self.decisions;
        let mut fork = Study::new(config).expect("the config of a study that exists is legal");
        for seen in self.study.observations() {
            fork.observe(seen.point.clone(), seen.value)
                .expect("observed in the same space");
        }
        (fork.ask().point, None)
    }

    /// The outcome of an answer: `improvement` is a ratio over what the agent ran with before.
    pub(super) fn outcome(&mut self, open: &OpenAsk, improvement: f64) {
        let value = (open.before + (1.0 - improvement.min(0.99)).ln()).clamp(-5.0, 5.0);
        if let Some(arm) = open.arm {
            self.bandit
                .reward(arm, -value)
                .expect("a known arm and a finite value");
        }
        self.study
            .observe(open.point.clone(), value)
            .expect("a point made by this study lies in its space");
    }

    /// One more observation from outside: an evolution experiment's best setting. Says whether it fits the space.
    pub(super) fn evolved(&mut self, hyperparameters: &Parameters, improvement: f64) -> bool {
        let parameters = &self.config.parameter;
        let known = parameters.iter().all(|p| {
            hyperparameters
                .get(&p.name)
                .is_some_and(|&x| x >= p.low && x <= p.high)
        });
        if !known || !improvement.is_finite() {
            return false;
        }
        let point = settings::from_parameters(parameters, hyperparameters);
        let value = (1.0 - improvement.min(0.99)).ln().clamp(-5.0, 5.0);
        self.study.observe(point, value).is_ok()
    }
}
