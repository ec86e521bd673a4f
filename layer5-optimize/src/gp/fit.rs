//! Chooses the length scales, the noise and the shape of a Gaussian process by maximum a posteriori likelihood.
//! In: training points and warped values. Out: [`Hyper`]. Called from: [`super`].
//! Notation: `R` correlation matrix plus `g` on its diagonal, `g` noise variance over signal variance, `s2` signal
//! variance and `beta` mean, both profiled out; `b` weight of the quadratic trend; parameters of the search are `ln l_j`,
//! `ln g` and `ln b`.
//! Reference: profiled likelihood as in Santner, Williams and Notz (2003), section 3.3; the prior on length scales grows
//! with the square root of the dimension, Hvarfner, Hellsten and Nardi (2024), <https://arxiv.org/abs/2402.02229>.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::kernel::{Shape, delta2, scaled_distance2, trend};
use crate::linalg::cholesky::{Cholesky, packed};
use crate::linalg::dot;
use crate::linalg::lbfgs::minimize_in_box;

/// Bounds of `ln g`: below, rounding decides; above, there is no signal.
const LN_G_LOW: f64 = -23.0;
const LN_G_HIGH: f64 = 2.0;
/// Upper bound of `ln g` where the objective is known to answer the same twice: ripples must not pass for noise.
const LN_G_QUIET: f64 = -13.0;
/// Upper bound of `ln g` where the noise was stated: it may be all there is.
const LN_G_MAX: f64 = 6.0;
/// Bounds of `ln b`.
const LN_B_LOW: f64 = -16.0;
const LN_B_HIGH: f64 = 5.0;
/// Bounds of `ln l`.
const LN_L_LOW: f64 = -4.0;
const LN_L_HIGH: f64 = 6.0;

/// What is learned from data besides the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hyper {
    /// Shape of the kernel.
    pub shape: Shape,
    /// `ln` of the length scales.
    pub ln_l: Vec<f64>,
    /// `ln` of noise variance over signal variance.
    pub ln_g: f64,
    /// `ln` of the weight of the quadratic trend.
    pub ln_b: f64,
    /// Where the output bends, as a quantile; see [`super::warp::Warp::new`].
    pub bend: Option<f64>,
}

impl Hyper {
    /// Where a first fit starts: scales growing with the dimension, little noise.
    #[must_use]
    pub fn start(d: usize) -> Self {
        let ln_l = vec![(0.5 * (d as f64).sqrt()).ln(); d];
        Self {
            shape: Shape::Matern52,
            ln_l,
            ln_g: -12.0,
            ln_b: -1.0,
            bend: None,
        }
    }

    /// Inverse squared length scales.
    #[must_use]
    pub fn weights(&self) -> Vec<f64> {
        self.ln_l.iter().map(|l| (-2.0 * l).exp()).collect()
    }
}

/// Training data with everything about them that does not change during a fit.
#[derive(Debug)]
pub struct Training<'a> {
    /// Warped values, `[n]`.
    pub z: &'a [f64],
    /// Squared differences of every pair `i > k` along every axis, pair-major, `[n (n - 1) / 2 * d]`.
    delta2: Vec<f64>,
    /// Trend covariances, packed lower triangle, `[n (n + 1) / 2]`.
    trend: Vec<f64>,
    /// Variance of the noise of each row in units of `g`, `[n]`.
    noise: Vec<f64>,
    d: usize,
    /// Upper bound of `ln b`: where there are categories, each may move the bowl, so one bowl for all misleads.
    ln_b_high: f64,
}

impl<'a> Training<'a> {
    /// Prepares points `x` (`[n]` rows of `d`) and values `z` (`[n]`).
    #[must_use]
    pub fn new(ordered: &[bool], x: &[&[f64]], z: &'a [f64]) -> Self {
        let d = ordered.len();
        let mut delta = Vec::with_capacity(x.len() * x.len().saturating_sub(1) / 2 * d);
        for (i, a) in x.iter().enumerate() {
            for b in &x[..i] {
                delta.extend((0..d).map(|j| delta2(ordered[j], a[j], b[j])));
            }
        }
        let mut trends = Vec::with_capacity(packed(x.len()));
        for (i, a) in x.iter().enumerate() {
            trends.extend(x[..=i].iter().map(|b| trend(ordered, a, b)));
        }
        Self {
            z,
            delta2: delta,
            trend: trends,
            noise: vec![1.0; z.len()],
            d,
            ln_b_high: if ordered.iter().all(|o| *o) {
                LN_B_HIGH
            } else {
                LN_B_LOW
            },
        }
    }

    /// The same data, with noise that differs from row to row where `pattern` (`[n]`) says how.
    #[must_use]
    pub fn with_noise(mut self, pattern: Option<&[f64]>) -> Self {
        if let Some(pattern) = pattern {
            self.noise = pattern.to_vec();
        }
        self
    }

    /// Minus the log posterior density of `hyper` (up to a constant), and its gradient by `ln l_j`, `ln g`, `ln b`.
    /// Infinite where the matrix cannot be factored.
    ///
    /// # Cost
    /// `n^3` multiplications.
    pub fn loss(&self, shape: Shape, theta: &[f64], gradient: &mut [f64]) -> f64 {
        let (n, d) = (self.z.len(), self.d);
        let w: Vec<f64> = theta[..d].iter().map(|l| (-2.0 * l).exp()).collect();
        let (g, b) = (theta[d].exp(), theta[d + 1].exp());
        let mut r = Vec::with_capacity(packed(n));
        let mut slopes = Vec::with_capacity(packed(n));
        let mut pairs = self.delta2.chunks_exact(d);
        for i in 0..n {
            for delta in pairs.by_ref().take(i) {
                let (k, slope) = shape.correlation(dot(&w, delta));
                r.push(k + b * self.trend[r.len()]);
                slopes.push(slope);
            }
            r.push(1.0 + g * self.noise[i] + b * self.trend[r.len()]);
        }
        let Some(factor) = Cholesky::new(n, &r, 0.0) else {
            gradient.fill(0.0);
            return f64::INFINITY;
        };
        let (_, alpha, quadratic) = profile(&factor, self.z);
        let s2 = signal_variance(quadratic, n);
        let inverse = factor.inverse();
        let mut by_w = vec![0.0; d];
        let (mut trace, mut by_b) = (0.0, 0.0);
        let mut pair = 0;
        for i in 0..n {
            let row = &inverse[packed(i)..];
            let trends = &self.trend[packed(i)..];
            let scaled = alpha[i] / s2;
            for k in 0..i {
                let weight = row[k] - scaled * alpha[k];
                by_b += weight * trends[k];
                let weight = weight * slopes[pair];
                for (sum, delta) in by_w.iter_mut().zip(&self.delta2[pair * d..(pair + 1) * d]) {
                    *sum += weight * delta;
                }
                pair += 1;
            }
            let weight = row[i] - scaled * alpha[i];
            trace += self.noise[i] * weight;
            by_b += 0.5 * weight * trends[i];
        }
        for j in 0..d {
            gradient[j] = -2.0 * w[j] * by_w[j];
        }
        gradient[d] = 0.5 * g * trace;
        gradient[d + 1] = b * by_b;
        let likelihood =
            0.5 * ((n as f64 + 2.0 * PRIOR_SHAPE) * s2.ln() + factor.log_determinant());
        likelihood + prior(d, theta, gradient)
    }
}

/// Minus the log likelihood of values at given hyperparameters, up to a constant; infinite where the matrix cannot be
/// factored.
///
/// # Cost
/// `n^3 / 6` multiplications.
#[must_use]
pub fn loss_at(hyper: &Hyper, ordered: &[bool], x: &[&[f64]], z: &[f64]) -> f64 {
    let (w, g, b) = (hyper.weights(), hyper.ln_g.exp(), hyper.ln_b.exp());
    let mut r = Vec::with_capacity(packed(x.len()));
    for (i, a) in x.iter().enumerate() {
        r.extend(x[..i].iter().map(|other| {
            let r2 = scaled_distance2(ordered, &w, a, other);
            hyper.shape.correlation(r2).0 + b * trend(ordered, a, other)
        }));
        r.push(1.0 + g + b * trend(ordered, a, a));
    }
    let Some(factor) = Cholesky::new(x.len(), &r, 0.0) else {
        return f64::INFINITY;
    };
    let (_, _, quadratic) = profile(&factor, z);
    let n = x.len();
    let s2 = signal_variance(quadratic, n);
    0.5 * ((n as f64 + 2.0 * PRIOR_SHAPE) * s2.ln() + factor.log_determinant())
}

/// Weight of the prior on the signal variance, in observations, and its scale: enough to keep a constant objective from
/// a variance of zero.
const PRIOR_SHAPE: f64 = 0.5;
const PRIOR_SCALE: f64 = 0.05;

fn signal_variance(quadratic: f64, n: usize) -> f64 {
    (quadratic + 2.0 * PRIOR_SCALE) / (n as f64 + 2.0 * PRIOR_SHAPE)
}

/// The mean by generalised least squares, `R^-1 (z - beta)`, and `(z - beta)^T R^-1 (z - beta)`.
pub(crate) fn profile(factor: &Cholesky, z: &[f64]) -> (f64, Vec<f64>, f64) {
    let mut ones = vec![1.0; z.len()];
    factor.solve(&mut ones);
    let beta = dot(&ones, z) / ones.iter().sum::<f64>().max(1e-300);
    let mut alpha: Vec<f64> = z.iter().map(|z| z - beta).collect();
    let residual = alpha.clone();
    factor.solve(&mut alpha);
    let quadratic = dot(&alpha, &residual).max(0.0);
    (beta, alpha, quadratic)
}

/// Signal variance that goes with a factor and values.
pub(crate) fn variance_of(quadratic: f64, n: usize) -> f64 {
    signal_variance(quadratic, n)
}

/// Minus the log prior; adds its gradient.
fn prior(d: usize, theta: &[f64], gradient: &mut [f64]) -> f64 {
    let (centre, variance) = (std::f64::consts::SQRT_2 + 0.5 * (d as f64).ln(), 3.0);
    let mut loss = 0.0;
    for j in 0..d {
        let off = theta[j] - centre;
        loss += 0.5 * off * off / variance;
        gradient[j] += off / variance;
    }
    // Little noise is expected; three standard deviations reach from rounding to mostly noise.
    let (centre, variance) = (-12.0, 25.0);
    let off = theta[d] - centre;
    gradient[d] += off / variance;
    loss += 0.5 * off * off / variance;
    // A trend about as strong as the rest, give or take.
    let (centre, variance) = (-1.0, 9.0);
    let off = theta[d + 1] - centre;
    gradient[d + 1] += off / variance;
    loss + 0.5 * off * off / variance
}

/// What is known of the noise before a fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NoiseBounds {
    /// Nothing.
    Free,
    /// There is none: the objective answers the same twice.
    Quiet,
    /// It was stated: `ln g` is between these.
    Given((f64, f64)),
}

impl NoiseBounds {
    fn ln_g(self) -> (f64, f64) {
        match self {
            Self::Free => (LN_G_LOW, LN_G_HIGH),
            Self::Quiet => (LN_G_LOW, LN_G_QUIET),
            Self::Given((low, high)) => (low.max(LN_G_LOW), high.clamp(LN_G_QUIET, LN_G_MAX)),
        }
    }
}

/// The best hyperparameters found from the starts, and their loss; the earliest of equals.
/// `None` only if no start could be evaluated.
#[must_use]
pub fn fit(
    training: &Training<'_>,
    starts: &[Hyper],
    noise: NoiseBounds,
    evaluations_max: usize,
) -> Option<(Hyper, f64)> {
    let d = training.d;
    let mut low = vec![LN_L_LOW; d];
    let mut high = vec![LN_L_HIGH; d];
    let (ln_g_low, ln_g_high) = noise.ln_g();
    low.extend([ln_g_low.min(ln_g_high), LN_B_LOW]);
    high.extend([ln_g_high, training.ln_b_high]);
    let ends: Vec<(Hyper, f64)> = starts
        .par_iter()
        .map(|start| {
            let mut theta = start.ln_l.clone();
            theta.extend([
                start.ln_g.clamp(low[d], high[d]),
                start.ln_b.min(high[d + 1]),
            ]);
            let shape = start.shape;
            let loss = minimize_in_box(&mut theta, &low, &high, evaluations_max, 1e-3, |t, g| {
                training.loss(shape, t, g)
            });
            let (ln_g, ln_b) = (theta[d], theta[d + 1]);
            theta.truncate(d);
            (
                Hyper {
                    shape,
                    ln_l: theta,
                    ln_g,
                    ln_b,
                    bend: None,
                },
                loss,
            )
        })
        .collect();
    let finite = ends.into_iter().filter(|(_, loss)| loss.is_finite());
    finite.min_by(|a, b| a.1.total_cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::seed::stream;

    fn data(n: usize, d: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
        let mut rng = stream(2, 0);
        let x: Vec<Vec<f64>> = (0..n)
            .map(|_| (0..d).map(|_| rng.random()).collect())
            .collect();
        let z = x
            .iter()
            .map(|x| (3.0 * x[0]).sin() + 0.1 * x[d - 1])
            .collect();
        (x, z)
    }

    #[test]
    fn gradient_matches_differences() {
        let (x, z) = data(12, 3);
        let rows: Vec<&[f64]> = x.iter().map(Vec::as_slice).collect();
        let training = Training::new(&[true, false, true], &rows, &z);
        for shape in [Shape::Matern52, Shape::SquaredExponential] {
            let theta = [-0.5, 0.3, 0.2, -5.0, -2.0];
            let mut gradient = [0.0; 5];
            training.loss(shape, &theta, &mut gradient);
            for j in 0..5 {
                let at = |step: f64| {
                    let mut moved = theta;
                    moved[j] += step;
                    training.loss(shape, &moved, &mut [0.0; 5])
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                // Losses are near 10, so differences carry 1e-15 * 10 / 2e-5 of rounding.
                assert!(
                    (difference - gradient[j]).abs() < 1e-6,
                    "{j}: {difference} {gradient:?}"
                );
            }
        }
    }

    #[test]
    fn finds_which_axis_matters() {
        let (x, z) = data(30, 3);
        let rows: Vec<&[f64]> = x.iter().map(Vec::as_slice).collect();
        let training = Training::new(&[true; 3], &rows, &z);
        let (hyper, _) = fit(&training, &[Hyper::start(3)], NoiseBounds::Free, 100).expect("fits");
        assert!(hyper.ln_l[0] + 1.0 < hyper.ln_l[1], "{hyper:?}");
        assert!(hyper.ln_g < -8.0, "{hyper:?}");
    }
}
