//! One sampler on one problem: regrets of seeded runs beside those of random search.
//! In: a [`Problem`] and a [`Plan`]. Out: regrets. Called from: [`super::measure`].

use layer5_optimize::{Outcome, SamplerKind, Study, StudyConfig, Trial};
use rand::SeedableRng;
use rand_pcg::Pcg64;

use super::REGRET_MIN;
use super::problem::{Problem, normal};

/// How runs are made.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Who suggests.
    pub sampler: SamplerKind,
    /// Numbers of evaluations at which regret is taken, rising.
    pub budgets: &'a [usize],
    /// Runs of each problem, with seeds from 0.
    pub seeds: u64,
    /// Suggestions that are asked for before the first of them is told.
    pub batch: usize,
}

/// Regret after each number of evaluations, one run.
#[must_use]
pub fn regrets(problem: &Problem, plan: Plan<'_>, seed: u64) -> Vec<f64> {
    let config = StudyConfig {
        seed,
        sampler: plan.sampler,
        ..StudyConfig::new(problem.space.clone())
    };
    let mut study = Study::new(config).expect("every sampler named here fits these spaces");
    let mut noise = Pcg64::seed_from_u64(seed ^ 0x006e_6f69_7365);
    let mut found = Vec::new();
    let mut asked: std::vec::IntoIter<Trial> = Vec::new().into_iter();
    for n in 1..=plan.budgets.last().copied().unwrap_or(0) {
        let trial = asked.next().unwrap_or_else(|| {
            let batch: Vec<Trial> = (0..plan.batch.max(1)).map(|_| study.ask()).collect();
            asked = batch.into_iter();
            asked.next().expect("at least one was asked")
        });
        let value =
            problem.value_in_run(&trial.point, seed) + problem.noise_sd * normal(&mut noise);
        study
            .tell(trial.id, Outcome::Value(value))
            .expect("the trial is pending");
        if plan.budgets.contains(&n) {
            let point = if problem.noise_sd > 0.0 {
                study.recommend().expect("a value was told").point
            } else {
                study.incumbent().expect("a value was told").point.clone()
            };
            found.push((problem.value_in_run(&point, seed) - problem.minimum).max(REGRET_MIN));
        }
    }
    found
}

/// Mean log10 regret of random search over 200 seeds; under noise it reports the best value told.
pub(super) fn random_log_regret(problem: &Problem, budgets: &[usize]) -> Vec<f64> {
    let n_seeds = 200;
    let mut sums = vec![0.0; budgets.len()];
    for seed in 0..n_seeds {
        let sampler = SamplerKind::Random;
        let config = StudyConfig {
            seed: 1000 + seed,
            sampler,
            ..StudyConfig::new(problem.space.clone())
        };
        let mut study = Study::new(config).expect("random search fits every space");
        let mut noise = Pcg64::seed_from_u64(seed);
        let mut best = (f64::INFINITY, f64::INFINITY);
        let mut b = 0;
        for n in 1..=budgets.last().copied().unwrap_or(0) {
            let value = problem.value_in_run(&study.ask().point, seed);
            let told = value + problem.noise_sd * normal(&mut noise);
            if told < best.0 {
                best = (told, value);
            }
            if budgets.contains(&n) {
                sums[b] += (best.1 - problem.minimum).max(REGRET_MIN).log10();
                b += 1;
            }
        }
    }
    sums.iter().map(|sum| sum / n_seeds as f64).collect()
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    if n == 0 {
        f64::NAN
    } else {
        0.5 * (values[(n - 1) / 2] + values[n / 2])
    }
}
