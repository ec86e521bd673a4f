//! The portfolio: several samplers over one set of observations, each where it is strong.
//! In: [`Known`]. Out: proposals that say which part made them. Called from: [`crate::study`].
//! How: an even design; then expected improvement over a Gaussian process, which finds the basin; then a trust region,
//! which converges in it at a rate no global model reaches; and when that has nothing left to gain, the Gaussian process
//! picks where to search next. Where observations are noisy, or most of the space has no order, the Gaussian process
//! goes on alone; beyond the observations it can hold, an evolution strategy and the Parzen estimator take turns.
//! Invariants: decisions depend on the observations and the saved state alone.

use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::cma_es::CmaEs;
use crate::design::sobol::scrambled;
use crate::gp::{Fitted, ROWS_MAX, propose_log_ei, thinned_rows};
use crate::linalg::distance2;
use crate::noise;
use crate::sampler::{Known, Proposal, Sampler, SamplerKind};
use crate::tpe::Tpe;
use crate::trial::Why;
use crate::trust_region::Run;

/// Width of the first design, as a share of the cube's.
const DESIGN_WIDTH: f64 = 0.7;

/// How far from the advised place the search goes on under noise: corners are wide, and little can be learned there.
const NOISY_REACH: f64 = 0.25;

/// Evaluations up to which the model does not lead out of the part of the cube that the first design covers.
const N_MIDDLE: usize = 20;

/// Evaluations of the first design.
fn n_design(d: usize) -> usize {
    (d + 2).min(20)
}

/// Evaluations before the first local search: the design, the probe, and global steps enough to see the lie of the land.
/// In many dimensions that takes more than can be had, so there they stay few.
fn n_first(d: usize) -> usize {
    n_design(d) + 1 + (2 * (d + 1)).min(12)
}

/// The portfolio's state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Portfolio {
    fitted: Fitted,
    local: Option<Run>,
    /// Where local searches ended.
    ended: Vec<Vec<f64>>,
    /// Global proposals since the last local search ended.
    n_global: usize,
    is_noisy: bool,
    is_probed: bool,
    evolution: CmaEs,
}

impl Sampler for Portfolio {
    fn propose(&mut self, known: &Known<'_>, rng: &mut Pcg64) -> Proposal {
        if known.n_used() < n_design(known.cube.len()) || known.y.len() < 2 {
            return design(known);
        }
        if !self.is_probed {
            self.is_probed = true;
            if let Some(proposal) = noise::probe(known, rng) {
                return proposal;
            }
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
        let d = known.cube.len();
        let n_ordered = (0..d).filter(|j| known.cube.is_ordered(*j)).count();
        let n_levels = (0..d)
            .filter(|j| known.cube.kind(*j) != crate::unit_cube::AxisKind::Continuous)
            .count();
        if self.is_noisy || n_ordered == 0 || n_levels > 0 || !known.constraints.is_empty() {
            return None;
        }
        if self.local.is_none() && self.should_begin(known) {
            let row = known.best()?;
            let delta = if self.ended.is_empty() { 0.15 } else { 0.05 };
            self.local = Some(Run::new(
                known.x[row].clone(),
                known.y[row],
                known.y.len(),
                delta,
            ));
        }
        let run = self.local.as_mut()?;
        let patience = (2 * d + 4) as u32;
        let proposal = if run.n_failures > patience {
            None
        } else {
            run.propose(known)
        };
        if proposal.is_none() {
            self.ended.push(run.centre().to_vec());
            self.local = None;
            self.n_global = 0;
        }
        proposal
    }

    fn should_begin(&self, known: &Known<'_>) -> bool {
        let d = known.cube.len();
        let Some(best) = known.best() else {
            return false;
        };
        if self.ended.is_empty() {
            // A stated budget leaves two thirds of it to converge in.
            let first = known.budget.map_or(usize::MAX, |budget| budget / 3);
            return known.n_used() >= n_first(d).min(first.max(n_design(d) + 1));
        }
        // A better place away from where searches ended is worth one of its own.
        let near = |end: &Vec<f64>| distance2(end, &known.x[best]) < 1e-6 * d as f64;
        !self.ended.iter().any(near)
    }

    fn propose_global(&mut self, known: &Known<'_>, rng: &mut Pcg64) -> Proposal {
        self.n_global += 1;
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
