//! The portfolio: several samplers over one set of observations, each where it is strong.
//! In: [`Known`]. Out: proposals that say which part made them. Called from: [`crate::study`].
//! How: over continuous parameters a trust region from the first trial on, which converges at a rate no global model
//! reaches; when that has nothing left to gain, expected improvement over a Gaussian process picks where to search next.
//! The first step that disappoints asks for a probe of the noise; where there is noise, the trust region goes on as long
//! as the fall it expects is more than that, then the Gaussian process alone. Where parameters have steps or no order, or
//! constraints come with the outcome, the process follows an even design; beyond the observations it can hold, an
//! evolution strategy and the Parzen estimator take turns.
//! Invariants: decisions depend on the observations and the saved state alone.

use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::cma_es::CmaEs;
use crate::design::sobol::scrambled;
use crate::gp::{Fitted, ROWS_MAX, propose_log_ei, thinned_rows};
use crate::linalg::distance2;
use crate::noise::{self, Probes};
use crate::sampler::{Known, Proposal, Sampler, SamplerKind};
use crate::tpe::Tpe;
use crate::trial::Why;
use crate::trust_region::{DELTA_START, Run};
use crate::unit_cube::AxisKind;

/// Width of the first design, as a share of the cube's.
const DESIGN_WIDTH: f64 = 0.7;

/// How far from the advised place the search goes on under noise: corners are wide, and little can be learned there.
const NOISY_REACH: f64 = 0.25;

/// Evaluations up to which the model does not lead out of the part of the cube that the first design covers.
const N_MIDDLE: usize = 20;

/// Half width of the box in which a later local search begins: it knows where it is, the first one does not.
const DELTA_LATER: f64 = 0.05;

/// Local steps in a row that may fail under noise.
const NOISY_PATIENCE: u32 = 1;

/// Evaluations of the first design, where one is made.
fn n_design(d: usize) -> usize {
    (d + 2).min(20)
}

/// Whether the trust region can search this space.
fn searches_locally(known: &Known<'_>) -> bool {
    let kinds = || (0..known.cube.len()).map(|j| known.cube.kind(j));
    let moves = |kind: AxisKind| kind == AxisKind::Continuous;
    let is_fixed = |kind: AxisKind| matches!(kind, AxisKind::Levels(1) | AxisKind::Categories(1));
    known.constraints.is_empty() && kinds().any(moves) && kinds().all(|k| moves(k) || is_fixed(k))
}

/// The portfolio's state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Portfolio {
    fitted: Fitted,
    local: Option<Run>,
    /// Where local searches ended.
    ended: Vec<Vec<f64>>,
    is_noisy: bool,
    #[serde(default)]
    probes: Probes,
    evolution: CmaEs,
}

impl Sampler for Portfolio {
    fn propose(&mut self, known: &Known<'_>, rng: &mut Pcg64) -> Proposal {
        let d = known.cube.len();
        let (n_design, told_min) = if searches_locally(known) {
            (1, 1)
        } else {
            (n_design(d), 2)
        };
        if known.n_used() < n_design || known.y.len() < told_min {
            return design(known);
        }
        // A search whose steps come out as expected needs no probe.
        let is_doubted = self.local.as_mut().is_none_or(|run| {
            run.digest(known);
            run.is_doubted()
        });
        if is_doubted
            && known.n_used() >= d + 2
            && let Some(proposal) = self.probes.next(known, rng)
        {
            return proposal;
        }
        self.is_noisy = noise::share(known).is_some_and(|share| share > noise::SHARE_MAX);
        if let Some(proposal) = self.propose_local(known) {
            return proposal;
        }
        self.propose_global(known, rng)
    }
}

/// The middle first, then an even spread over the middle part of the cube: in more than a few dimensions most of the volume
/// lies in corners, where objectives are worst and tell least about their bottom.
fn design(known: &Known<'_>) -> Proposal {
    let mut u = scrambled(known.n_asked as u32, known.cube.len(), known.seed);
    for (j, u) in u.iter_mut().enumerate() {
        if known.cube.is_ordered(j) {
            *u = if known.n_asked == 0 {
                0.5
            } else {
                0.5 + DESIGN_WIDTH * (*u - 0.5)
            };
        }
    }
    let unit = known.cube.to_unit(&known.cube.from_even(&u));
    Proposal {
        unit,
        by: SamplerKind::Sobol,
        why: Why::InitialDesign,
        expected: None,
    }
}

impl Portfolio {
    /// A step of the local search, if there is one or one should begin.
    fn propose_local(&mut self, known: &Known<'_>) -> Option<Proposal> {
        if !searches_locally(known) || (self.is_noisy && !self.ended.is_empty()) {
            return None;
        }
        let d = known.cube.len();
        if self.local.is_none() && self.should_begin(known) {
            let row = known.best()?;
            let delta = if self.ended.is_empty() {
                DELTA_START
            } else {
                DELTA_LATER
            };
            let run = Run::new(known.x[row].clone(), known.y[row], known.y.len(), delta);
            self.local = Some(run);
        }
        let run = self.local.as_mut()?;
        let (patience, fall_min) = if self.is_noisy {
            (NOISY_PATIENCE, noise::deviation(known).unwrap_or(0.0))
        } else {
            ((2 * d + 4) as u32, 0.0)
        };
        let proposal = if run.n_failures > patience {
            None
        } else {
            run.propose(known)
        };
        let value = run.value();
        let is_worth = |p: &Proposal| p.expected.is_none_or(|e| value - e.mean >= fall_min);
        let proposal = proposal.filter(is_worth);
        if proposal.is_none() {
            self.ended.push(run.centre().to_vec());
            self.local = None;
        }
        proposal
    }

    fn should_begin(&self, known: &Known<'_>) -> bool {
        let d = known.cube.len();
        let Some(best) = known.best() else {
            return false;
        };
        // A better place away from where searches ended is worth one of its own.
        let near = |end: &Vec<f64>| distance2(end, &known.x[best]) < 1e-6 * d as f64;
        !self.ended.iter().any(near)
    }

    fn propose_global(&mut self, known: &Known<'_>, rng: &mut Pcg64) -> Proposal {
        if known.y.len() > ROWS_MAX {
            return if known.n_asked.is_multiple_of(2)
                && (0..known.cube.len()).any(|j| known.cube.is_ordered(j))
            {
                self.evolution.propose(known, rng)
            } else {
                Tpe.propose(known, rng)
            };
        }
        let apart = if known.cube.is_continuous() && !self.is_noisy {
            0.01
        } else {
            0.0
        };
        let rows = thinned_rows(known, apart);
        let Some(mut surrogate) = self.fitted.surrogate(known, &rows) else {
            return design(known);
        };
        surrogate.imagine(known);
        let within = if self.is_noisy {
            surrogate.advise(known).and_then(|(unit, _)| unit)
        } else {
            None
        };
        let middle = vec![0.5; known.cube.len()];
        let within = if self.ended.is_empty() && known.n_used() < N_MIDDLE {
            Some((middle.as_slice(), 0.5 * DESIGN_WIDTH))
        } else {
            within.as_deref().map(|centre| (centre, NOISY_REACH))
        };
        let (unit, _) = propose_log_ei(&surrogate, known, within, rng);
        let expected = Some(surrogate.expect_at(&unit));
        Proposal {
            unit,
            by: SamplerKind::Gp,
            why: Why::ExpectedImprovement,
            expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acquisition::maximize::normal_draw;
    use crate::seed::stream;
    use crate::space::{Domain, Parameter, Space, Value};
    use crate::study::{Study, StudyConfig};
    use crate::trial::{Outcome, Trial};

    /// The trials of a function of three numbers, told with noise of this standard deviation.
    fn trials(n: usize, noise: f64, f: impl Fn(f64) -> f64) -> Vec<Trial> {
        let named = (0..3).map(|j| Parameter::new(j.to_string(), Domain::float(-1.0, 1.0)));
        let space = Space::new(named.collect()).expect("valid");
        let mut study = Study::new(StudyConfig::new(space)).expect("fits");
        let mut rng = stream(7, 7);
        for _ in 0..n {
            let trial = study.ask();
            let terms = trial.point.values().iter().map(|value| match value {
                Value::Float(x) => f(*x),
                _ => unreachable!("floats only"),
            });
            let told = terms.sum::<f64>() + noise * normal_draw(&mut rng);
            study.tell(trial.id, Outcome::Value(told)).expect("pending");
        }
        study.trials().to_vec()
    }

    #[test]
    fn a_search_whose_steps_come_out_as_expected_is_not_probed() {
        // The middle, three samples, and three steps down the slope, the last of which is stopped by the wall.
        let trials = trials(7, 0.0, |x| x);
        let by: Vec<SamplerKind> = trials[1..].iter().map(|t| t.proposed_by).collect();
        assert_eq!(by, [SamplerKind::TrustRegion; 6]);
    }

    #[test]
    fn noise_is_found_and_then_the_process_goes_on() {
        let trials = trials(40, 0.3, |x| (x - 0.3).powi(2));
        let probed = trials.iter().position(|t| t.why == Why::NoiseProbe);
        assert!(probed.is_some_and(|n| n < 20), "{probed:?}");
        let last = &trials[30..];
        assert!(last.iter().all(|t| t.proposed_by == SamplerKind::Gp));
    }
}
