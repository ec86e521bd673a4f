//! Local search by quadratic models in a box that grows and shrinks with how well they predict.
//! In: [`Known`]. Out: proposals. Called from: [`crate::study`], [`crate::auto`].
//! Notation: `c` centre (the best place of this search), `delta` half width of the box in unit coordinates, `s` displacement
//! from the centre in units of `delta`.
//! Invariants: categories stay what they are at the centre; every other axis moves. Observations of every sampler feed the
//! model; only this search's own steps change `delta`.
//! Reference: the scheme of Powell's BOBYQA (2009) and Conn, Scheinberg and Vicente (2009), chapters 10 and 11: a step where
//! the model is lowest, a sample where the model has no support, a smaller box where supported models fail.

mod near;
pub mod quadratic;
mod run;

use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

pub(crate) use self::run::DELTA_START;
pub use self::run::Run;
use crate::design::sobol::scrambled;
use crate::sampler::{Known, Proposal, Sampler, SamplerKind};
use crate::trial::Why;

/// Local searches one after the other: each from the best place, later ones from new even draws.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TrustRegion {
    run: Option<Run>,
}

impl Sampler for TrustRegion {
    fn propose(&mut self, known: &Known<'_>, _: &mut Pcg64) -> Proposal {
        if let Some(run) = &mut self.run
            && let Some(proposal) = run.propose(known)
        {
            return proposal;
        }
        let finished = self.run.take();
        let latest = known
            .y
            .len()
            .checked_sub(1)
            .filter(|_| known.pending.is_empty());
        let start = match (&finished, latest) {
            (None, _) => known.best(),
            // The restart's own first point is the latest observation, if it is not where the last search ended.
            (Some(run), Some(row)) if known.y[row] != run.value() => Some(row),
            _ => None,
        };
        if let Some(row) = start {
            let mut run = Run::new(
                known.x[row].clone(),
                known.y[row],
                known.y.len(),
                DELTA_START,
            );
            if let Some(proposal) = run.propose(known) {
                self.run = Some(run);
                return proposal;
            }
        }
        let u = if known.n_asked == 0 {
            vec![0.5; known.cube.len()]
        } else {
            scrambled(known.n_asked as u32, known.cube.len(), known.seed)
        };
        let unit = known.cube.to_unit(&known.cube.from_even(&u));
        let why = if finished.is_some() {
            Why::Restart
        } else {
            Why::InitialDesign
        };
        Proposal {
            unit,
            by: SamplerKind::TrustRegion,
            why,
            expected: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Domain, Parameter, Space};
    use crate::study::{Study, StudyConfig};
    use crate::trial::Outcome;

    fn best_after(n: usize, d: usize, f: impl Fn(&[f64]) -> f64) -> f64 {
        let named = (0..d).map(|j| Parameter::new(j.to_string(), Domain::float(-2.0, 3.0)));
        let space = Space::new(named.collect()).expect("valid");
        let sampler = SamplerKind::TrustRegion;
        let mut study = Study::new(StudyConfig {
            sampler,
            ..StudyConfig::new(space)
        })
        .expect("fits");
        for _ in 0..n {
            let trial = study.ask();
            let x: Vec<f64> = trial
                .point
                .values()
                .iter()
                .map(|v| match v {
                    crate::space::Value::Float(x) => *x,
                    _ => unreachable!("floats only"),
                })
                .collect();
            study
                .tell(trial.id, Outcome::Value(f(&x)))
                .expect("pending");
        }
        study.incumbent().expect("told").value
    }

    #[test]
    fn converges_on_a_tilted_bowl_and_in_a_valley() {
        let bowl = best_after(40, 4, |x| {
            let sum: f64 = x.iter().sum();
            x.iter()
                .enumerate()
                .map(|(i, x)| (x - 0.3 * i as f64).powi(2))
                .sum::<f64>()
                + 0.5 * sum * sum
                - 0.0
        });
        // Minimum by setting the gradient to zero: x_i = a_i - S / 2 with S = sum a / (1 + d / 2) = 0.6.
        assert!(bowl - 0.54 < 1e-6, "{bowl}");
        let valley = best_after(120, 2, |x| {
            100.0 * (x[1] - x[0] * x[0]).powi(2) + (1.0 - x[0]).powi(2)
        });
        assert!(valley < 1e-6, "{valley}");
    }

    #[test]
    fn finds_a_minimum_in_a_corner() {
        let value = best_after(30, 3, |x| x.iter().map(|x| x + 2.0).sum());
        assert!(value < 1e-9, "{value}");
    }
}
