//! Finds where an acquisition is highest: many cheap candidates, then gradient ascent from the best few, then small
//! moves along the axes that have no gradient.
//! In: a posterior, the axes, places to look around. Out: unit coordinates on the space's grid. Called from:
//! [`crate::gp`], [`crate::auto`]. Invariants: the result is the same at any thread count: starts are climbed
//! independently and compared in order.

use rand::RngExt;
use rand_pcg::Pcg64;
use rayon::prelude::*;

use super::feasibility;
use super::log_ei::log_ei;
use crate::design::sobol::scrambled_block;
use crate::gp::Posterior;
use crate::linalg::lbfgs::minimize_in_box;
use crate::unit_cube::{AxisKind, UnitCube};

/// Where and how hard to search.
#[allow(
    missing_debug_implementations,
    reason = "it holds a closure and lives for one call"
)]
pub struct Search<'a> {
    /// The axes.
    pub cube: &'a UnitCube,
    /// Good places, best first: half of the candidates are drawn around them.
    pub around: &'a [&'a [f64]],
    /// Candidates spread evenly; as many again are drawn around good places.
    pub n_candidates: usize,
    /// Candidates from which to climb.
    pub n_starts: usize,
    /// Whether a snapped place must not be suggested (it was evaluated before).
    pub is_taken: &'a (dyn Fn(&[f64]) -> bool + Sync),
    /// A place and how far from it ordered axes may move; `None` for the whole cube.
    pub within: Option<(&'a [f64], f64)>,
}

impl Search<'_> {
    /// Limits of axis `j`.
    fn limits(&self, j: usize) -> (f64, f64) {
        match self.within {
            Some((centre, half)) if self.cube.is_ordered(j) => {
                ((centre[j] - half).max(0.0), (centre[j] + half).min(1.0))
            }
            _ => (0.0, 1.0),
        }
    }

    /// Moves `u` inside the limits.
    fn confine(&self, u: &mut [f64]) {
        for (j, u) in u.iter_mut().enumerate() {
            let (low, high) = self.limits(j);
            *u = u.clamp(low, high);
        }
    }
}

/// The place with the highest logarithm of expected improvement below `best` (warped units), and that logarithm.
///
/// `best`: `None` while no observation keeps the constraints; only their probability counts then. `constraints`: a process
/// of each and its highest value that keeps it; the improvement counts with the probability that all are kept.
pub fn maximize_log_ei(
    posterior: &Posterior,
    best: Option<f64>,
    constraints: &[(Posterior, f64)],
    search: &Search<'_>,
    rng: &mut Pcg64,
) -> (Vec<f64>, f64) {
    let value = |u: &[f64]| {
        let mut loss = 0.0;
        if let Some(best) = best {
            let (mean, variance) = posterior.predict(u);
            loss -= log_ei(mean, variance.sqrt(), best).value;
        }
        feasibility::add_loss(constraints, u, &mut loss);
        loss
    };
    let value_with_gradient = |u: &[f64], gradient: &mut [f64]| {
        let mut by_variance = vec![0.0; u.len()];
        let mut loss = 0.0;
        if let Some(best) = best {
            let (mean, variance) = posterior.predict_with_gradient(u, gradient, &mut by_variance);
            let sd = variance.sqrt();
            let ei = log_ei(mean, sd, best);
            for (g, v) in gradient.iter_mut().zip(&by_variance) {
                *g = -(ei.by_mean * *g + ei.by_sd * v / (2.0 * sd));
            }
            loss -= ei.value;
        } else {
            gradient.fill(0.0);
        }
        feasibility::add_loss_and_gradient(constraints, u, &mut loss, gradient);
        loss
    };
    let (u, loss) = minimize_loss(search, rng, value, value_with_gradient);
    (u, -loss)
}

/// The place with the lowest value one can count on, posterior mean plus `caution` standard deviations, and that value:
/// where nothing was observed the mean alone may be a guess.
pub fn minimize_cautiously(
    posterior: &Posterior,
    caution: f64,
    search: &Search<'_>,
    rng: &mut Pcg64,
) -> (Vec<f64>, f64) {
    let value = |u: &[f64]| {
        let (mean, variance) = posterior.predict(u);
        mean + caution * variance.sqrt()
    };
    let value_with_gradient = |u: &[f64], gradient: &mut [f64]| {
        let mut by_variance = vec![0.0; u.len()];
        let (mean, variance) = posterior.predict_with_gradient(u, gradient, &mut by_variance);
        let sd = variance.sqrt();
        for (g, v) in gradient.iter_mut().zip(&by_variance) {
            *g += caution * v / (2.0 * sd);
        }
        mean + caution * sd
    };
    minimize_loss(search, rng, value, value_with_gradient)
}

/// The place with the lowest loss, and that loss: of an acquisition, its negative.
pub(crate) fn minimize_loss(
    search: &Search<'_>,
    rng: &mut Pcg64,
    value: impl Fn(&[f64]) -> f64 + Sync,
    value_with_gradient: impl Fn(&[f64], &mut [f64]) -> f64 + Sync,
) -> (Vec<f64>, f64) {
    let cube = search.cube;
    let candidates = candidates(search, rng);
    let mut ranked: Vec<(f64, Vec<f64>)> = candidates
        .into_iter()
        .map(|u| (value(&u), u))
        .filter(|(v, _)| v.is_finite())
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut starts: Vec<(f64, Vec<f64>)> = Vec::new();
    for (v, u) in &ranked {
        // Starts too close to a better one climb the same hill.
        let apart =
            |s: &(f64, Vec<f64>)| crate::linalg::distance2(&s.1, u) > 1e-3 * cube.len() as f64;
        if starts.len() < search.n_starts && starts.iter().all(apart) {
            starts.push((*v, u.clone()));
        }
    }
    let climbed: Vec<(f64, Vec<f64>)> = starts
        .into_par_iter()
        .map(|(_, mut u)| {
            let (low, high): (Vec<f64>, Vec<f64>) = (0..cube.len())
                .map(|j| {
                    if cube.is_ordered(j) {
                        search.limits(j)
                    } else {
                        (u[j], u[j])
                    }
                })
                .unzip();
            minimize_in_box(&mut u, &low, &high, 40, 1e-6, &value_with_gradient);
            cube.snap(&mut u);
            improve_discrete(cube, u, &value)
        })
        .collect();
    let best = climbed
        .into_iter()
        .chain(ranked)
        .filter(|(v, u)| v.is_finite() && !(search.is_taken)(u))
        .min_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((v, u)) => (u, v),
        None => (crate::random::even_draw(cube, rng), f64::INFINITY),
    }
}

/// Snapped candidates: an even spread, and neighbours of good places at several distances.
pub(crate) fn candidates(search: &Search<'_>, rng: &mut Pcg64) -> Vec<Vec<f64>> {
    let (cube, d) = (search.cube, search.cube.len());
    let n = search.n_candidates;
    let spread = scrambled_block(0, n as u32, d, rng.random());
    let mut all: Vec<Vec<f64>> = spread
        .iter()
        .map(|u| {
            let squeezed: Vec<f64> = (0..d)
                .map(|j| {
                    let (low, high) = search.limits(j);
                    low + u[j] * (high - low)
                })
                .collect();
            cube.to_unit(&cube.from_even(&squeezed))
        })
        .collect();
    if search.around.is_empty() {
        return all;
    }
    for i in 0..n {
        // The better the place, the more neighbours: place k is used about twice as often as place 2k.
        let turn: f64 = rng.random();
        let place = (search.around.len() as f64).powf(turn) as usize - 1;
        let mut u = search.around[place.min(search.around.len() - 1)].to_vec();
        // Widths from 0.3 down to 0.3 * 2^-8, in turn.
        let width = 0.3 * 0.5f64.powi((i % 9) as i32);
        // All axes in every other candidate, else a few, so that high dimensions are not left at once.
        let share = if i % 2 == 0 {
            1.0
        } else {
            (2.0 / d as f64).min(1.0)
        };
        for (j, u) in u.iter_mut().enumerate() {
            if rng.random::<f64>() >= share {
                continue;
            }
            match cube.kind(j) {
                AxisKind::Categories(n) => {
                    if rng.random::<f64>() < 0.5 {
                        *u = (rng.random_range(0..n) as f64 + 0.5) / n as f64;
                    }
                }
                AxisKind::Continuous | AxisKind::Levels(_) => {
                    let normal = normal_draw(rng);
                    *u += width * normal;
                }
            }
        }
        search.confine(&mut u);
        cube.snap(&mut u);
        all.push(u);
    }
    all.extend(search.around.iter().map(|u| u.to_vec()));
    all
}

/// A standard normal number (Box and Muller).
pub(crate) fn normal_draw(rng: &mut Pcg64) -> f64 {
    let (a, b): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - a).ln()).sqrt() * (2.0 * std::f64::consts::PI * b).cos()
}

/// Moves along discrete axes, one step or one category at a time, while that helps.
fn improve_discrete(
    cube: &UnitCube,
    mut u: Vec<f64>,
    value: &(impl Fn(&[f64]) -> f64 + Sync),
) -> (f64, Vec<f64>) {
    let mut best = value(&u);
    // Two rounds reach every neighbour of every neighbour; categories beyond this many are left to the candidates.
    let categories_max = 32;
    for _ in 0..2 {
        let before = best;
        for j in 0..cube.len() {
            let options: Vec<f64> = match cube.kind(j) {
                AxisKind::Continuous => continue,
                AxisKind::Levels(n) if n > 1 => {
                    let step = 1.0 / (n - 1) as f64;
                    vec![u[j] - step, u[j] + step]
                }
                AxisKind::Levels(_) => continue,
                AxisKind::Categories(n) => (0..n.min(categories_max))
                    .map(|k| (k as f64 + 0.5) / n as f64)
                    .collect(),
            };
            for option in options {
                let mut moved = u.clone();
                moved[j] = option;
                cube.snap(&mut moved);
                let moved_value = value(&moved);
                if moved_value < best {
                    (best, u) = (moved_value, moved);
                }
            }
        }
        if best == before {
            break;
        }
    }
    (best, u)
}
