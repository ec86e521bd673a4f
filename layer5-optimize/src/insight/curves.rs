//! How a study went: the best value, or the volume that its front dominates, after each observation.
//! In: a [`Study`]. Out: one number per observation, in the caller's units. Called from: reports.

use crate::pareto::{front, hypervolume};
use crate::study::Study;

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
