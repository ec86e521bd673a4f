//! How long suggestions take: one ask and tell in five dimensions, the ten-thousandth one, and studies by the thousand.
//! In: nothing but sizes. Out: [`Pace`], [`Long`], [`Many`]. Called from: `layer5-bench quality suggest-speed`.
//! Notation: milliseconds are means over the ten trials round `n`, fits that fall due among them included; the peers'
//! script times the same trials of the same valley.

use std::time::Instant;

use layer5_optimize::{Outcome, SamplerKind, Study, StudyConfig};
use rayon::prelude::*;
use serde::Serialize;

use super::problem::{Problem, boxed};
use super::public::rosenbrock;

/// Samplers that are timed.
const TIMED: [SamplerKind; 6] = [
    SamplerKind::Auto,
    SamplerKind::Gp,
    SamplerKind::TrustRegion,
    SamplerKind::Tpe,
    SamplerKind::CmaEs,
    SamplerKind::Forest,
];

/// One sampler's time per trial.
#[derive(Debug, Clone, Serialize)]
pub struct Pace {
    /// The sampler.
    pub sampler: SamplerKind,
    /// Observations, and milliseconds per ask and tell there.
    pub at: Vec<(usize, f64)>,
}

/// One long study.
#[derive(Debug, Clone, Serialize)]
pub struct Long {
    /// The sampler.
    pub sampler: SamplerKind,
    /// Trials.
    pub trials: usize,
    /// Milliseconds of the slowest ask.
    pub slowest_ms: f64,
    /// Milliseconds of the mean ask among the last hundred.
    pub last_ms: f64,
}

/// Many studies at once, on every thread of the pool.
#[derive(Debug, Clone, Serialize)]
pub struct Many {
    /// Studies.
    pub studies: usize,
    /// Trials of each.
    pub trials: usize,
    /// Trials per second in all.
    pub trials_per_s: f64,
    /// Threads.
    pub threads: usize,
    /// Most memory the process ever had, megabytes; 0 where the system does not say.
    pub peak_mb: f64,
}

fn valley() -> Problem {
    boxed("valley5", &[(-2.0, 2.0); 5], 0.0, rosenbrock)
}

fn started(problem: &Problem, sampler: SamplerKind, seed: u64) -> Study {
    let config = StudyConfig {
        seed,
        sampler,
        ..StudyConfig::new(problem.space.clone())
    };
    Study::new(config).expect("every sampler here fits floats")
}

/// Milliseconds of one ask and tell, the objective's own time left out.
fn trial_ms(study: &mut Study, problem: &Problem) -> f64 {
    let begun = Instant::now();
    let trial = study.ask();
    let asked = begun.elapsed();
    let value = problem.value(&trial.point);
    let begun = Instant::now();
    study
        .tell(trial.id, Outcome::Value(value))
        .expect("pending");
    1e3 * (asked + begun.elapsed()).as_secs_f64()
}

/// The pace of every sampler, means over `runs` runs.
#[must_use]
pub fn paces(runs: u64) -> Vec<Pace> {
    let problem = valley();
    let sizes = [50, 100];
    let pace = |sampler| {
        let mut sums = [0.0; 2];
        for seed in 0..runs {
            let mut study = started(&problem, sampler, seed);
            let all: Vec<f64> = (0..105).map(|_| trial_ms(&mut study, &problem)).collect();
            for (sum, n) in sums.iter_mut().zip(sizes) {
                *sum += all[n - 5..n + 5].iter().sum::<f64>() / 10.0;
            }
        }
        let at = sizes.into_iter().zip(sums.map(|s| s / runs as f64));
        Pace {
            sampler,
            at: at.collect(),
        }
    };
    TIMED.into_iter().map(pace).collect()
}

/// A study of `trials` trials with each sampler that is meant for so many.
#[must_use]
pub fn long(trials: usize) -> Vec<Long> {
    let problem = valley();
    let samplers = [SamplerKind::Auto, SamplerKind::Tpe, SamplerKind::CmaEs];
    let one = |sampler| {
        let mut study = started(&problem, sampler, 1);
        let all: Vec<f64> = (0..trials)
            .map(|_| trial_ms(&mut study, &problem))
            .collect();
        let last = &all[trials.saturating_sub(100)..];
        Long {
            sampler,
            trials,
            slowest_ms: all.iter().copied().fold(0.0, f64::max),
            last_ms: last.iter().sum::<f64>() / last.len().max(1) as f64,
        }
    };
    samplers.into_iter().map(one).collect()
}

/// `studies` studies with the portfolio, told in turn, all of them kept to the end.
#[must_use]
pub fn many(studies: usize, trials: usize) -> Many {
    let problem = valley();
    let begun = Instant::now();
    let kept: Vec<Study> = (0..studies as u64)
        .into_par_iter()
        .map(|seed| {
            let mut study = started(&problem, SamplerKind::Auto, seed);
            (0..trials).for_each(|_| {
                trial_ms(&mut study, &problem);
            });
            study
        })
        .collect();
    let seconds = begun.elapsed().as_secs_f64();
    assert!(
        kept.iter()
            .all(|study| study.observations().len() == trials)
    );
    Many {
        studies,
        trials,
        trials_per_s: (studies * trials) as f64 / seconds,
        threads: rayon::current_num_threads(),
        peak_mb: peak_mb().unwrap_or(0.0),
    }
}

fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kb: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kb / 1024.0)
}
