//! What a study has learned, as plain numbers for a page: which parameters matter, how, how it went, how well it predicted.
//! In: a [`Study`]. Out: tables in the caller's units. Called from: reports.
//! Invariants: nothing here is drawn from the objective: all of it comes from what was told, and says so where it is a
//! model's view. Reference: importances by variance, Sobol' (2001) and Saltelli et al. (2010), on the surrogate as in
//! Hutter, Hoos and Leyton-Brown (2014), "An efficient approach for assessing hyperparameter importance".

use serde::{Deserialize, Serialize};

use crate::design::sobol::scrambled_block;
use crate::gp::Surrogate;
use crate::pareto::{front, hypervolume};
use crate::space::{Point, Value};
use crate::study::Study;
use crate::trial::{Prediction, TrialState};

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

/// How well trials were predicted before they were told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// What was predicted and what came of it, in the order of asking.
    pub pairs: Vec<(Prediction, f64)>,
    /// Share of outcomes inside their 95 % interval; `None` without pairs.
    pub coverage: Option<f64>,
    /// Median distance of prediction and outcome, in the objective's units; `None` without pairs.
    pub median_error: Option<f64>,
}

/// Sample points of the sums below: standard errors of a few hundredths.
const N_SAMPLES: u32 = 512;

/// The importance of every parameter, in the space's order; `None` while there is no model, or with several objectives.
///
/// # Cost
/// A fit, and `512 (2 + d)` predictions of `n d` multiplications.
#[must_use]
pub fn importances(study: &Study) -> Option<Vec<Importance>> {
    let surrogate = study.surrogate()?;
    let (cube, d) = (study.cube(), study.cube().len());
    // One sequence of twice the width: its halves are independent draws.
    let rows = scrambled_block(0, N_SAMPLES, 2 * d, 1);
    let value = |u: &[f64]| surrogate.posterior.mean(&cube.to_unit(&cube.from_even(u)));
    let a: Vec<f64> = rows.iter().map(|r| value(&r[..d])).collect();
    let b: Vec<f64> = rows.iter().map(|r| value(&r[d..])).collect();
    let n = f64::from(2 * N_SAMPLES);
    let mean = a.iter().chain(&b).sum::<f64>() / n;
    let variance = a.iter().chain(&b).map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    let share = |sum: f64| {
        if variance > 1e-300 {
            (sum / f64::from(N_SAMPLES) / variance).clamp(0.0, 1.0)
        } else {
            0.0
        }
    };
    let of = |j: usize| {
        // `a` with axis `j` from `b`: against `b` it has only that axis in common, against `a` all others.
        let mixed: Vec<f64> = rows
            .iter()
            .map(|r| {
                let mut u = r[..d].to_vec();
                u[j] = r[d + j];
                value(&u)
            })
            .collect();
        let alone: f64 = (b.iter().zip(&mixed).zip(&a))
            .map(|((b, m), a)| (b - mean) * (m - a))
            .sum();
        let total: f64 = a
            .iter()
            .zip(&mixed)
            .map(|(a, m)| 0.5 * (a - m).powi(2))
            .sum();
        Importance {
            name: study.config().space.parameters()[j].name.clone(),
            alone: share(alone),
            total: share(total),
        }
    };
    Some((0..d).map(of).collect())
}

/// The model along parameter `index`, at up to `n_values` of its values; `None` while there is no model, with several
/// objectives, or if there is no such parameter.
///
/// # Cost
/// A fit, and `128 n_values` predictions.
#[must_use]
pub fn partial_dependence(study: &Study, index: usize, n_values: usize) -> Option<Vec<Dependence>> {
    let surrogate = study.surrogate()?;
    let (cube, d) = (study.cube(), study.cube().len());
    let parameter = study.config().space.parameters().get(index)?;
    let levels = parameter.domain.n_values().unwrap_or(u64::MAX);
    let n = (n_values.max(2) as u64).min(levels) as usize;
    let rows = scrambled_block(0, 128, d, 2);
    let sign = study.config().direction.sign();
    let at = |k: usize| {
        let mut values: Vec<f64> = Vec::with_capacity(rows.len());
        let mut point = None;
        for row in &rows {
            let mut u = row.clone();
            u[index] = if n > 1 {
                k as f64 / (n - 1) as f64
            } else {
                0.5
            };
            let full = cube.from_even(&u);
            values.push(sign * expected(&surrogate, &cube.to_unit(&full)));
            point = Some(full);
        }
        values.sort_by(f64::total_cmp);
        let quantile = |q: f64| values[((values.len() - 1) as f64 * q) as usize];
        Dependence {
            value: point.map_or(Value::Float(f64::NAN), |p: Point| p.0[index]),
            mean: values.iter().sum::<f64>() / values.len() as f64,
            low: quantile(0.1),
            high: quantile(0.9),
        }
    };
    Some((0..n).map(at).collect())
}

fn expected(surrogate: &Surrogate, u: &[f64]) -> f64 {
    surrogate.to_objective(surrogate.posterior.mean(u))
}

/// The best value of the first objective after each observation, those that break a constraint left out; `None` before the
/// first that does not.
#[must_use]
pub fn convergence(study: &Study) -> Vec<Option<f64>> {
    let sign = study.config().direction.sign();
    let mut best: Option<f64> = None;
    let mut curve = Vec::with_capacity(study.observations().len());
    for observation in study.observations() {
        if observation.is_feasible() {
            let value = sign * observation.value;
            best = Some(best.map_or(value, |b| b.min(value)));
        }
        curve.push(best.map(|b| sign * b));
    }
    curve
}

/// Volume between `reference` and what was reached, after each observation: for several objectives. `reference`: one
/// value per objective in the caller's units, worse than what is of interest. `None` if it has another length.
///
/// # Cost
/// That of [`hypervolume`] wherever the front changes.
#[must_use]
pub fn hypervolume_curve(study: &Study, reference: &[f64]) -> Option<Vec<f64>> {
    if reference.len() != study.config().n_objectives() {
        return None;
    }
    let reference: Vec<f64> = study
        .config()
        .signs()
        .zip(reference)
        .map(|(s, r)| s * r)
        .collect();
    let mut kept: Vec<Vec<f64>> = Vec::new();
    let mut volume = 0.0;
    let rows = study.observations().iter().zip(study.minimised());
    Some(
        rows.map(|(observation, values)| {
            if observation.is_feasible() {
                kept.push(values.clone());
                let on: Vec<Vec<f64>> = front(&kept).into_iter().map(|i| kept[i].clone()).collect();
                if on.contains(values) {
                    volume = hypervolume(&on, &reference);
                }
                kept = on;
            }
            volume
        })
        .collect(),
    )
}

/// Predictions made when trials were asked, beside what was told.
#[must_use]
pub fn calibration(study: &Study) -> Calibration {
    let told = |state: TrialState| match state {
        TrialState::Told(value) => Some(value),
        _ => None,
    };
    let pairs: Vec<(Prediction, f64)> = study
        .trials()
        .iter()
        .filter_map(|t| Some((t.predicted?, told(t.state)?)))
        .collect();
    let n = pairs.len();
    let inside = pairs.iter().filter(|(p, v)| p.lower <= *v && *v <= p.upper);
    let coverage = (n > 0).then(|| inside.count() as f64 / n as f64);
    let mut errors: Vec<f64> = pairs.iter().map(|(p, v)| (p.mean - v).abs()).collect();
    errors.sort_by(f64::total_cmp);
    let median_error = (n > 0).then(|| errors[n / 2]);
    Calibration {
        pairs,
        coverage,
        median_error,
    }
}
