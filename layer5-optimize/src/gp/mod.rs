//! Gaussian process surrogate: fitted to everything told, it says what to expect anywhere and where to look next.
//! In: [`Known`]. Out: [`Surrogate`], and the sampler that maximises its expected improvement. Called from:
//! [`crate::study`], [`crate::auto`]. Invariants: fits start from saved hyperparameters, so a restored study repeats
//! itself; data of any size and shape give a model or `None`, never a panic.
//! Reference: Jones, Schonlau and Welch (1998), <https://doi.org/10.1023/A:1008306431147>.

pub mod fit;
pub mod given_noise;
pub mod kernel;
pub mod posterior;
mod rows;
mod surrogate;
pub mod warp;

use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use self::fit::{Hyper, NoiseBounds, Training};
use self::kernel::ordered_axes;
pub use self::posterior::Posterior;
pub use self::rows::ROWS_MAX;
pub(crate) use self::rows::{best_rows, rows, thinned_rows};
pub(crate) use self::surrogate::Fitted;
pub use self::surrogate::Surrogate;
use self::warp::Warp;
use crate::acquisition::{Search, maximize_log_ei};
use crate::design::sobol::scrambled;
use crate::noise::Probes;
use crate::sampler::{Known, Proposal, Sampler, SamplerKind};
use crate::trial::Why;

/// Expected improvement over a Gaussian process.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct GpSampler {
    fitted: Fitted,
    #[serde(default)]
    probes: Probes,
}

impl Sampler for GpSampler {
    fn propose(&mut self, known: &Known<'_>, rng: &mut Pcg64) -> Proposal {
        let d = known.cube.len();
        let n_design = (d + 3).min(20);
        if known.n_used() >= n_design
            && let Some(proposal) = self.probes.next(known, rng)
        {
            return Proposal {
                by: SamplerKind::Gp,
                ..proposal
            };
        }
        let surrogate = if known.n_used() < n_design {
            None
        } else {
            self.fitted.surrogate(known, &rows(known))
        };
        let Some(mut surrogate) = surrogate else {
            let u = scrambled(known.n_asked as u32, d, known.seed);
            let unit = known.cube.to_unit(&known.cube.from_even(&u));
            let why = Why::InitialDesign;
            return Proposal {
                unit,
                by: SamplerKind::Gp,
                why,
                expected: None,
            };
        };
        surrogate.imagine(known);
        let (unit, _) = propose_log_ei(&surrogate, known, None, rng);
        let expected = Some(surrogate.expect_at(&unit));
        Proposal {
            unit,
            by: SamplerKind::Gp,
            why: Why::ExpectedImprovement,
            expected,
        }
    }
}

/// A process of every constraint, and the highest value in its units that keeps it.
pub(crate) fn constraint_processes(known: &Known<'_>) -> Vec<(Posterior, f64)> {
    let n = known.constraints.first().map_or(0, Vec::len);
    let rows = rows(known);
    let x: Vec<&[f64]> = rows.iter().map(|i| known.x[*i].as_slice()).collect();
    let ordered = ordered_axes(known.cube);
    let process = |k: usize| {
        let c: Vec<f64> = rows.iter().map(|i| known.constraints[*i][k]).collect();
        let warp = Warp::new(&c, None);
        let z: Vec<f64> = c.iter().map(|c| warp.forward(*c)).collect();
        let start = Hyper::start(known.cube.len());
        let training = Training::new(&ordered, &x, &z);
        let hyper = fit::fit(
            &training,
            std::slice::from_ref(&start),
            NoiseBounds::Free,
            15,
        );
        let hyper = hyper.map_or(start, |(hyper, _)| hyper);
        let posterior = Posterior::new(&hyper, &ordered, &x, &z).ok()?;
        Some((posterior, warp.forward(0.0)))
    };
    (0..n).filter_map(process).collect()
}

/// Whether a snapped place breaks a limit, or is discrete and was suggested before.
pub(crate) fn is_taken(known: &Known<'_>, u: &[f64]) -> bool {
    if !known.limits.is_empty() && !known.limits.keeps(&known.cube.from_unit(u)) {
        return true;
    }
    let mut lost = known.pending.iter().chain(known.failed);
    !known.cube.is_continuous() && (known.x.iter().any(|x| x == u) || lost.any(|(_, x)| x == u))
}

/// Where the expected improvement is highest, and its logarithm, warped units.
pub(crate) fn propose_log_ei(
    surrogate: &Surrogate,
    known: &Known<'_>,
    within: Option<(&[f64], f64)>,
    rng: &mut Pcg64,
) -> (Vec<f64>, f64) {
    let around = best_rows(known, 5);
    let taken = |u: &[f64]| is_taken(known, u);
    let search = Search {
        cube: known.cube,
        around: &around,
        n_candidates: 256,
        n_starts: 4,
        is_taken: &taken,
        within,
    };
    let best = Some(surrogate.best()).filter(|best| best.is_finite());
    let constraints = constraint_processes(known);
    maximize_log_ei(&surrogate.posterior, best, &constraints, &search, rng)
}
