//! How often safe mode breaks the limit it was given, on functions nobody tuned it on.
//! In: runs. Out: [`Broken`]. Called from: `layer5-bench quality safety`.
//! Notation: each run minimises a drawn function for 30 suggestions; of 100 even draws the 20th best is where it starts,
//! the value of the 40th best the one no suggestion may exceed, as often as stated.

#![allow(
    clippy::missing_panics_doc,
    reason = "what is expected holds whatever the caller does"
)]

use layer5_optimize::{Outcome, Point, Safe, SamplerKind, Study, StudyConfig};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use rayon::prelude::*;
use serde::Serialize;

use super::optimize::drawn::floats_only;
use super::optimize::problem::{Problem, normal};

const SUGGESTIONS: usize = 30;

/// What safe mode did at one stated probability.
#[derive(Debug, Clone, Serialize)]
pub struct Broken {
    /// Axes.
    pub dims: usize,
    /// With which probability a suggestion was to keep the limit.
    pub stated: f64,
    /// Share of suggestions that did.
    pub kept: f64,
    /// Suggestions.
    pub suggestions: usize,
    /// Mean of the way from the start's value to the minimum that was gone, 0..=1.
    pub progress: f64,
}

/// `runs` runs in `dims` dimensions at a stated probability; noise of `noise` of the way from the limit to the minimum.
#[must_use]
pub fn broken(dims: usize, stated: f64, noise: f64, runs: u64) -> Broken {
    let one = |run: u64| {
        let mut problems = floats_only(dims, 500 + run / 8);
        let problem = problems.swap_remove((run % 8) as usize);
        one_run(&problem, stated, noise, run)
    };
    let all: Vec<(usize, f64)> = (0..runs).into_par_iter().map(one).collect();
    let suggestions = SUGGESTIONS * all.len();
    let n_broken: usize = all.iter().map(|(n, _)| n).sum();
    Broken {
        dims,
        stated,
        kept: 1.0 - n_broken as f64 / suggestions as f64,
        suggestions,
        progress: all.iter().map(|(_, p)| p).sum::<f64>() / all.len() as f64,
    }
}

/// Suggestions that broke the limit, and the progress made.
fn one_run(problem: &Problem, stated: f64, noise: f64, seed: u64) -> (usize, f64) {
    let config = StudyConfig {
        sampler: SamplerKind::Random,
        seed,
        ..StudyConfig::new(problem.space.clone())
    };
    let mut even = Study::new(config).expect("random search fits every space");
    let mut drawn: Vec<(f64, Point)> = (0..100)
        .map(|_| even.ask().point)
        .map(|point| (problem.value(&point), point))
        .collect();
    drawn.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (worst, (first, start)) = (drawn[40].0, drawn[20].clone());
    let sd = noise * (worst - problem.minimum);
    let mut study = Study::new(StudyConfig {
        safe: Some(Safe {
            worst,
            probability: stated,
            start,
        }),
        seed,
        ..StudyConfig::new(problem.space.clone())
    })
    .expect("fits");
    let mut rng = Pcg64::seed_from_u64(seed);
    let (mut n_broken, mut best) = (0, first);
    for _ in 0..SUGGESTIONS {
        let trial = study.ask();
        let value = problem.value(&trial.point);
        n_broken += usize::from(value > worst);
        best = best.min(value);
        study
            .tell(trial.id, Outcome::Value(value + sd * normal(&mut rng)))
            .expect("pending");
    }
    (n_broken, (first - best) / (first - problem.minimum))
}
