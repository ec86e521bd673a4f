//! A random forest as the model: for rough objectives, many categories and more observations than a Gaussian process holds.
//! In: [`Known`]. Out: proposals of high expected improvement. Called from: [`crate::study`].
//! How: trees grown on bootstrap draws; the mean of their answers is the prediction, their scatter its uncertainty.
//! Invariants: no state: trees are grown anew for each proposal, from streams of its own trial.
//! Reference: Breiman (2001), <https://doi.org/10.1023/A:1010933404324>; as a surrogate, Hutter, Hoos and Leyton-Brown
//! (2011), <https://doi.org/10.1007/978-3-642-25566-3_40>.

use rand::RngExt;
use rand_pcg::Pcg64;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::tree::decision_tree_regressor::{
    DecisionTreeRegressor, DecisionTreeRegressorParameters,
};

use crate::acquisition::{Search, candidates, log_ei};
use crate::gp::best_rows;
use crate::gp::warp::Warp;
use crate::random::even_draw;
use crate::sampler::{Known, Proposal, Sampler, SamplerKind};
use crate::seed::mix;
use crate::trial::Why;

/// Even draws before a tree has anything to split.
const N_STARTUP: usize = 10;
/// Trees.
const N_TREES: usize = 30;
/// The most observations a tree is grown on: the latest.
const ROWS_MAX: usize = 1000;

type Tree = DecisionTreeRegressor<f64, f64, DenseMatrix<f64>, Vec<f64>>;

/// The sampler.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Forest;

impl Sampler for Forest {
    fn propose(&mut self, known: &Known<'_>, rng: &mut Pcg64) -> Proposal {
        let unit = if known.y.len() < N_STARTUP {
            None
        } else {
            improve(known, rng)
        };
        let why = if unit.is_some() {
            Why::ExpectedImprovement
        } else {
            Why::InitialDesign
        };
        Proposal {
            unit: unit.unwrap_or_else(|| even_draw(known.cube, rng)),
            by: SamplerKind::Forest,
            why,
            expected: None,
        }
    }
}

/// The candidate of the highest expected improvement; `None` if no tree could be grown.
fn improve(known: &Known<'_>, rng: &mut Pcg64) -> Option<Vec<f64>> {
    let first = known.y.len().saturating_sub(ROWS_MAX);
    let (x, y) = (&known.x[first..], &known.y[first..]);
    let warp = Warp::new(y, Some(0.2));
    let z: Vec<f64> = y.iter().map(|y| warp.forward(*y)).collect();
    let seed: u64 = rng.random();
    let trees: Vec<Tree> = (0..N_TREES as u64)
        .into_par_iter()
        .filter_map(|t| grow(x, &z, mix(seed ^ mix(t))))
        .collect();
    let around = best_rows(known, 8);
    let search = Search {
        cube: known.cube,
        around: &around,
        n_candidates: 200,
        n_starts: 0,
        is_taken: &|_| false,
        within: None,
    };
    // Trees answer alike within a leaf: of equals the one near a good place comes first.
    let candidates: Vec<Vec<f64>> = candidates(&search, rng)
        .into_iter()
        .rev()
        .filter(|u| {
            !known.x.contains(u)
                && known
                    .pending
                    .iter()
                    .chain(known.failed)
                    .all(|(_, p)| p != u)
        })
        .collect();
    if trees.is_empty() || candidates.is_empty() {
        return None;
    }
    let matrix = DenseMatrix::from_2d_vec(&candidates).ok()?;
    let answers: Vec<Vec<f64>> = trees
        .iter()
        .filter_map(|t| t.predict(&matrix).ok())
        .collect();
    let best = z.iter().copied().fold(f64::INFINITY, f64::min);
    let score = |i: usize| {
        let n = answers.len() as f64;
        let mean = answers.iter().map(|a| a[i]).sum::<f64>() / n;
        let variance = answers.iter().map(|a| (a[i] - mean).powi(2)).sum::<f64>() / n;
        // Trees that agree are not certain: a leaf knows its value to a hundredth of the spread at best.
        log_ei(mean, variance.sqrt().max(0.01), best).value
    };
    let mut scored: Vec<(f64, Vec<f64>)> = candidates
        .into_iter()
        .enumerate()
        .map(|(i, u)| (score(i), u))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().next().map(|(_, u)| u)
}

/// A tree on a bootstrap draw of the rows.
fn grow(x: &[Vec<f64>], z: &[f64], seed: u64) -> Option<Tree> {
    let mut rng = crate::seed::stream(seed, 0);
    let rows: Vec<usize> = z.iter().map(|_| rng.random_range(0..z.len())).collect();
    let drawn: Vec<Vec<f64>> = rows.iter().map(|i| x[*i].clone()).collect();
    let values: Vec<f64> = rows.iter().map(|i| z[*i]).collect();
    let parameters = DecisionTreeRegressorParameters {
        max_depth: Some(20),
        min_samples_leaf: 1,
        min_samples_split: 3,
        seed: Some(seed),
    };
    let matrix = DenseMatrix::from_2d_vec(&drawn).ok()?;
    Tree::fit(&matrix, &values, parameters).ok()
}
