//! Which parameters matter, and how, by a model of everything told.
//! In: a [`Study`]. Out: shares of the variance over the whole space, and the model along one parameter. Called from:
//! reports. Invariants: the same study gives the same numbers at any thread count; work is bounded whatever the study.
//! Notation: `a`, `b` two independent even draws of points; `mixed` is `a` with one axis from `b`.
//! Reference: Sobol' (2001) and Saltelli et al. (2010), <https://doi.org/10.1016/j.cpc.2009.09.018>, on the surrogate as in
//! Hutter, Hoos and Leyton-Brown (2014), "An efficient approach for assessing hyperparameter importance".

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::design::sobol::scrambled_block;
use crate::gp::Surrogate;
use crate::space::{Point, Space, Value};
use crate::study::Study;
use crate::unit_cube::UnitCube;

/// How much of the objective's variation over the space goes back to one parameter, by the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// The parameter.
    pub name: String,
    /// Share due to it alone, 0..=1.
    pub alone: f64,
    /// Share due to it with whatever it interacts with, at least `alone` but for sampling error.
    pub total: f64,
}

/// What the model expects at one value of a parameter, the others averaged out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dependence {
    /// The parameter's value.
    pub value: Value,
    /// Mean of the model over the other parameters.
    pub mean: f64,
    /// 10 % quantile over the other parameters.
    pub low: f64,
    /// 90 % quantile over the other parameters.
    pub high: f64,
}

/// Draws: standard errors of a hundredth or two.
const N_SAMPLES: usize = 1024;
/// Fewest draws, where many parameters or observations make each one dear.
const N_SAMPLES_LEAST: usize = 128;
/// Multiplications spent on all draws, some tenths of a second.
const WORK_MAX: usize = 300_000_000;

/// The importance of every parameter for one objective (0 is the first), in the space's order; `None` while there is no
/// model, or if there is no such objective.
///
/// # Cost
/// A fit, and `1024 (2 + d)` predictions of `n d` multiplications; fewer where that were more than three hundred million.
#[must_use]
pub fn importances(study: &Study, objective: usize) -> Option<Vec<Importance>> {
    let surrogate = study.surrogate_of(objective)?;
    let (cube, d) = (study.cube(), study.cube().len());
    let work = (2 + d) * surrogate.posterior.len() * d;
    let n_samples = (WORK_MAX / work.max(1)).clamp(N_SAMPLES_LEAST, N_SAMPLES);
    // One sequence of twice the width: its halves are independent draws.
    let rows = scrambled_block(0, n_samples as u32, 2 * d, 1);
    // In units of the widest value, so that squares of huge ones stay finite.
    let unit = study.minimised().iter().map(|v| v[objective].abs());
    let unit = unit.fold(1e-290, f64::max);
    let value = |u: &[f64]| {
        let place = cube.to_unit(&cube.from_even(u));
        (expected(&surrogate, &place) / unit).clamp(-1e6, 1e6)
    };
    let a: Vec<f64> = rows.par_iter().map(|r| value(&r[..d])).collect();
    let b: Vec<f64> = rows.par_iter().map(|r| value(&r[d..])).collect();
    let n = n_samples as f64;
    let mean = a.iter().chain(&b).sum::<f64>() / (2.0 * n);
    let squares = a.iter().chain(&b).map(|v| (v - mean).powi(2));
    let variance = squares.sum::<f64>() / (2.0 * n);
    let share = |sum: f64| {
        // What varies by less than rounding does not vary.
        if variance > 1e-24 * mean * mean && variance > 1e-290 {
            (sum / n / variance).clamp(0.0, 1.0)
        } else {
            0.0
        }
    };
    let parameters = study.config().space.parameters();
    let of = |j: usize| {
        // Against `b` the mixed points have only axis `j` in common, against `a` all others.
        let mixed = rows.iter().map(|r| {
            let mut u = r[..d].to_vec();
            u[j] = r[d + j];
            value(&u)
        });
        let mixed: Vec<f64> = mixed.collect();
        let products = b.iter().zip(&mixed).zip(&a);
        let alone: f64 = products.map(|((b, m), a)| (b - mean) * (m - a)).sum();
        let steps = a.iter().zip(&mixed);
        let total: f64 = steps.map(|(a, m)| 0.5 * (a - m).powi(2)).sum();
        Importance {
            name: parameters[j].name.clone(),
            alone: share(alone),
            total: share(total),
        }
    };
    Some((0..d).into_par_iter().map(of).collect())
}

/// The model of one objective along parameter `index`, at up to `n_values` of its values; `None` while there is no model, or
/// if there is no such objective or parameter.
///
/// # Cost
/// A fit, and `128 n_values` predictions.
#[must_use]
pub fn partial_dependence(
    study: &Study,
    objective: usize,
    index: usize,
    n_values: usize,
) -> Option<Vec<Dependence>> {
    study.config().space.parameters().get(index)?;
    let surrogate = study.surrogate_of(objective)?;
    let sign = study.sign(objective);
    Some(dependence(
        study.cube(),
        &study.config().space,
        (&surrogate, sign),
        index,
        n_values,
    ))
}

/// The model of one objective along every parameter, `None` while there is no model: one fit for all.
#[must_use]
pub fn dependences(
    study: &Study,
    objective: usize,
    n_values: usize,
) -> Option<Vec<Vec<Dependence>>> {
    let surrogate = study.surrogate_of(objective)?;
    let (cube, space, sign) = (study.cube(), &study.config().space, study.sign(objective));
    let all = 0..space.len();
    let along = |index| dependence(cube, space, (&surrogate, sign), index, n_values);
    Some(all.into_par_iter().map(along).collect())
}

fn dependence(
    cube: &UnitCube,
    space: &Space,
    (surrogate, sign): (&Surrogate, f64),
    index: usize,
    n_values: usize,
) -> Vec<Dependence> {
    let d = cube.len();
    let levels = space.parameters()[index].domain.n_values();
    let n = (n_values.max(2) as u64).min(levels.unwrap_or(u64::MAX)) as usize;
    let rows = scrambled_block(0, 128, d, 2);
    let at = |k: usize| {
        let along = if n > 1 {
            k as f64 / (n - 1) as f64
        } else {
            0.5
        };
        let value = cube.value_at(index, along);
        let mut values: Vec<f64> = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut point: Point = cube.from_even(row);
            point.0[index] = value;
            cube.settle(&mut point);
            // Where it does not matter there is nothing to see.
            if cube.matters(index, &point) {
                values.push(sign * expected(surrogate, &cube.to_unit(&point)));
            }
        }
        values.sort_by(f64::total_cmp);
        let quantile = |q: f64| Some(values[((values.len().checked_sub(1)?) as f64 * q) as usize]);
        Some(Dependence {
            value,
            mean: values.iter().map(|v| v / values.len() as f64).sum::<f64>(),
            low: quantile(0.1)?,
            high: quantile(0.9)?,
        })
    };
    (0..n).filter_map(at).collect()
}

fn expected(surrogate: &Surrogate, u: &[f64]) -> f64 {
    surrogate.to_objective(surrogate.posterior.mean(u))
}
