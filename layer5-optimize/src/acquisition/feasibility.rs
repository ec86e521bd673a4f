//! How likely a place keeps every black-box constraint, by a process of each.
//! In: processes and the highest values that keep them. Out: the logarithm of the probability, and its gradient. Called
//! from: [`super::maximize`], [`super::hypervolume`]. Invariants: no constraint, no effect.

use super::log_ei::ln_normal_cdf;
use crate::gp::Posterior;

/// Adds to `loss` minus the logarithm of the probability that all constraints are kept at `u`.
pub(crate) fn add_loss(constraints: &[(Posterior, f64)], u: &[f64], loss: &mut f64) {
    for (process, highest) in constraints {
        let (mean, variance) = process.predict(u);
        *loss -= ln_normal_cdf((highest - mean) / variance.sqrt()).0;
    }
}

/// The same, and its gradient to `gradient`.
pub(crate) fn add_loss_and_gradient(
    constraints: &[(Posterior, f64)],
    u: &[f64],
    loss: &mut f64,
    gradient: &mut [f64],
) {
    let n = if constraints.is_empty() { 0 } else { u.len() };
    let (mut by_mean, mut by_variance) = (vec![0.0; n], vec![0.0; n]);
    for (process, highest) in constraints {
        let (mean, variance) = process.predict_with_gradient(u, &mut by_mean, &mut by_variance);
        let sd = variance.sqrt();
        let t = (highest - mean) / sd;
        let (ln, slope) = ln_normal_cdf(t);
        for ((g, m), v) in gradient.iter_mut().zip(&by_mean).zip(&by_variance) {
            *g += slope * (m / sd + t * v / (2.0 * variance));
        }
        *loss -= ln;
    }
}
