//! What bandits lose while they learn, and how true their estimates of policies that never ran are.
//! In: numbers of runs. Out: [`Loss`]es and [`Estimate`]s. Called from: `layer5-bench quality bandits`.
//! Notation: regret = sum over pulls of the best arm's mean minus the chosen arm's; means over seeded runs, each with its
//! own arms (but for the ten Bernoulli arms, which are fixed).
//! Problems: `bernoulli`, ten arms .05 .. .50, 10 000 pulls; `linear`, five arms, contexts of eight features on the unit
//! sphere, noise .1, 2 000 pulls; `bent`, the same contexts in four features, each arm's mean a wave along its own direction,
//! of which a linear model sees a part, 2 000 pulls.

#![allow(
    clippy::missing_panics_doc,
    reason = "what is expected holds whatever the caller does"
)]

use std::f64::consts::PI;

use layer5_optimize::bandit::{
    Arm, Bandit, BernoulliThompson, ContextualBandit, KlUcb, LinThompson, LinUcb, LoggedDecision,
    Memory, NonlinearThompson, PolicyValue, RidgeSettings, Ucb1, WaveSettings, doubly_robust,
    inverse_propensity,
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use rayon::prelude::*;
use serde::Serialize;

use super::optimize::problem::normal;

/// One policy on one problem.
#[derive(Debug, Clone, Serialize)]
pub struct Loss {
    /// The problem.
    pub problem: &'static str,
    /// The policy; `random` for comparison.
    pub policy: &'static str,
    /// Mean regret over the runs.
    pub regret: f64,
    /// Standard error of that mean.
    pub standard_error: f64,
}

/// One estimator of a policy's value from logs of another.
#[derive(Debug, Clone, Serialize)]
pub struct Estimate {
    /// Whose decisions were logged.
    pub log: &'static str,
    /// The estimator.
    pub estimator: &'static str,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Mean of the standard errors it stated.
    pub stated: f64,
    /// Share of logs in which the truth was in the stated 95 % interval.
    pub covered: f64,
}

const PULLS: u64 = 2_000;
const ARMS: usize = 5;

/// Regrets of every policy on its problems, `runs` runs each.
#[must_use]
pub fn losses(runs: u64) -> Vec<Loss> {
    let ten = |policy, make: fn() -> Box<dyn Bandit>| {
        mean("bernoulli", policy, runs, |seed| {
            bernoulli_regret(make().as_mut(), seed)
        })
    };
    let ridge = RidgeSettings::default;
    let mut all = vec![
        ten("thompson", || {
            Box::new(BernoulliThompson::new(10, Memory::Forever).expect("fits"))
        }),
        ten("kl_ucb", || {
            Box::new(KlUcb::new(10, Memory::Forever).expect("fits"))
        }),
        ten("ucb1", || {
            Box::new(Ucb1::new(10, Memory::Forever).expect("fits"))
        }),
    ];
    for world in [World::Linear, World::Bent] {
        let d = world.n_features();
        let mut add = |policy, regret: &(dyn Fn(u64) -> f64 + Sync)| {
            all.push(mean(world.name(), policy, runs, regret));
        };
        add("random", &|seed| {
            contextual_regret(&world, seed, |_, pull| pull as usize % ARMS, |_, _, _| ())
        });
        add("lin_ucb", &|seed| {
            learned(&world, seed, LinUcb::new(ARMS, d, ridge()).expect("fits"))
        });
        add("lin_thompson", &|seed| {
            learned(
                &world,
                seed,
                LinThompson::new(ARMS, d, ridge()).expect("fits"),
            )
        });
        add("nonlinear_thompson", &|seed| {
            let waves = WaveSettings {
                seed,
                ..WaveSettings::default()
            };
            learned(
                &world,
                seed,
                NonlinearThompson::new(ARMS, d, ridge(), waves).expect("fits"),
            )
        });
    }
    all
}

fn mean(
    problem: &'static str,
    policy: &'static str,
    runs: u64,
    regret: impl Fn(u64) -> f64 + Sync,
) -> Loss {
    let all: Vec<f64> = (0..runs).into_par_iter().map(&regret).collect();
    let n = runs as f64;
    let mean = all.iter().sum::<f64>() / n;
    let variance = all.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    Loss {
        problem,
        policy,
        regret: mean,
        standard_error: (variance / n).sqrt(),
    }
}

fn bernoulli_regret(policy: &mut dyn Bandit, seed: u64) -> f64 {
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut regret = 0.0;
    for pull in 0..10_000 {
        let arm = policy.choose((seed << 32) | pull);
        regret += 0.05 * (9 - arm) as f64;
        let success = rng.random::<f64>() < 0.05 * (arm + 1) as f64;
        policy
            .reward(arm, f64::from(success))
            .expect("0 and 1 are taken by all");
    }
    regret
}

/// How means depend on the context.
#[derive(Debug, Clone, Copy)]
enum World {
    Linear,
    Bent,
}

impl World {
    fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Bent => "bent",
        }
    }

    fn n_features(self) -> usize {
        match self {
            Self::Linear => 8,
            Self::Bent => 4,
        }
    }

    fn mean(self, direction: &[f64], phase: f64, context: &[f64]) -> f64 {
        let along: f64 = direction.iter().zip(context).map(|(a, b)| a * b).sum();
        match self {
            Self::Linear => along,
            Self::Bent => 0.5 * (3.0 * along + phase).sin(),
        }
    }
}

fn learned(world: &World, seed: u64, policy: impl ContextualBandit) -> f64 {
    let policy = std::cell::RefCell::new(policy);
    contextual_regret(
        world,
        seed,
        |context, pull| {
            policy
                .borrow()
                .choose(context, (seed << 32) | pull)
                .expect("it fits")
        },
        |arm, context, reward| {
            policy
                .borrow_mut()
                .reward(arm, context, reward)
                .expect("it is finite");
        },
    )
}

fn contextual_regret(
    world: &World,
    seed: u64,
    choose: impl Fn(&[f64], u64) -> Arm,
    learn: impl Fn(Arm, &[f64], f64),
) -> f64 {
    let mut rng = Pcg64::seed_from_u64(seed);
    let d = world.n_features();
    let arms: Vec<(Vec<f64>, f64)> = (0..ARMS)
        .map(|_| (on_sphere(d, &mut rng), rng.random_range(0.0..2.0 * PI)))
        .collect();
    let mut regret = 0.0;
    for pull in 0..PULLS {
        let context = on_sphere(d, &mut rng);
        let means: Vec<f64> = arms
            .iter()
            .map(|(w, phase)| world.mean(w, *phase, &context))
            .collect();
        let best = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let arm = choose(&context, pull);
        regret += best - means[arm];
        learn(arm, &context, means[arm] + 0.1 * normal(&mut rng));
    }
    regret
}

fn on_sphere(d: usize, rng: &mut Pcg64) -> Vec<f64> {
    let v: Vec<f64> = (0..d).map(|_| normal(rng)).collect();
    let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
    v.into_iter().map(|x| x / length).collect()
}

/// Both estimators on `logs` simulated logs of 2 000 decisions of each behaviour, about a policy that prefers the best of
/// three arms; the doubly robust one with predictions that are wrong by a tenth. `usual` chose that arm in a tenth of the
/// decisions, `heavy` in one of two hundred: ten decisions carry most of the weight.
#[must_use]
pub fn estimates(logs: u64) -> Vec<Estimate> {
    let behaviours = [("usual", [0.6, 0.3, 0.1]), ("heavy", [0.8, 0.195, 0.005])];
    let both = behaviours.map(|(name, behaviour)| estimates_of(name, behaviour, logs));
    both.into_iter().flatten().collect()
}

fn estimates_of(log_name: &'static str, behaviour: [f64; 3], logs: u64) -> [Estimate; 2] {
    const MEANS: [f64; 3] = [0.2, 0.5, 0.8];
    const TARGET: [f64; 3] = [0.1, 0.2, 0.7];
    let truth: f64 = MEANS.iter().zip(TARGET).map(|(m, t)| m * t).sum();
    let one = |seed: u64| {
        let mut rng = Pcg64::seed_from_u64(seed);
        let log: Vec<LoggedDecision> = (0..2_000)
            .map(|_| {
                let u: f64 = rng.random();
                let arm =
                    usize::from(u >= behaviour[0]) + usize::from(u >= behaviour[0] + behaviour[1]);
                LoggedDecision {
                    arm,
                    reward: f64::from(rng.random::<f64>() < MEANS[arm]),
                    propensity: behaviour[arm],
                    target: TARGET.to_vec(),
                }
            })
            .collect();
        let predicted = vec![MEANS.iter().map(|m| m + 0.1).collect(); log.len()];
        [
            inverse_propensity(&log).expect("a legal log"),
            doubly_robust(&log, &predicted).expect("a legal log"),
        ]
    };
    let all: Vec<[PolicyValue; 2]> = (0..logs).into_par_iter().map(one).collect();
    let n = logs as f64;
    let estimate = |k: usize, estimator| {
        let values = || all.iter().map(move |both| both[k]);
        let holds = |v: &PolicyValue| v.lower <= truth && truth <= v.upper;
        Estimate {
            log: log_name,
            estimator,
            rmse: (values().map(|v| (v.mean - truth).powi(2)).sum::<f64>() / n).sqrt(),
            stated: values().map(|v| v.standard_error).sum::<f64>() / n,
            covered: values().filter(holds).count() as f64 / n,
        }
    };
    [
        estimate(0, "inverse_propensity"),
        estimate(1, "doubly_robust"),
    ]
}
