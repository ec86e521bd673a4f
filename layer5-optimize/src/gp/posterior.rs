//! A Gaussian process conditioned on data: mean and variance anywhere, with gradients, growing row by row.
//! In: hyperparameters, points, warped values. Out: predictions in warped units. Called from: [`super`],
//! [`crate::acquisition`]. Notation: `k` correlations with the data `[n]`, `alpha = R^-1 (z - beta)`, `s2` signal variance.
//! Invariants: variances are at least `s2 * 1e-12`. Reference: Rasmussen and Williams (2006), algorithm 2.1.

use super::fit::{Hyper, profile, variance_of};
use super::kernel::{Shape, rho, scaled_distance2, trend};
use crate::error::FitError;
use crate::linalg::cholesky::{Cholesky, packed};
use crate::linalg::dot;

/// A conditioned process.
#[derive(Debug, Clone)]
pub struct Posterior {
    shape: Shape,
    ordered: Vec<bool>,
    w: Vec<f64>,
    g: f64,
    b: f64,
    x: Vec<f64>,
    z: Vec<f64>,
    factor: Cholesky,
    beta: f64,
    s2: f64,
    alpha: Vec<f64>,
}

impl Posterior {
    /// Conditions on points `x` (`[n]` rows of `d`) and values `z` (`[n]`).
    ///
    /// # Errors
    /// [`FitError`] if there is no data or the covariance cannot be factored with any jitter.
    pub fn new(hyper: &Hyper, ordered: &[bool], x: &[&[f64]], z: &[f64]) -> Result<Self, FitError> {
        Self::with_noise(hyper, ordered, x, z, None)
    }

    /// The same with noise that differs from row to row: `pattern` has the variance of each (`[n]`) in units of the average.
    ///
    /// # Errors
    /// As [`Posterior::new`].
    pub fn with_noise(
        hyper: &Hyper,
        ordered: &[bool],
        x: &[&[f64]],
        z: &[f64],
        pattern: Option<&[f64]>,
    ) -> Result<Self, FitError> {
        if x.is_empty() {
            return Err(FitError::TooFew {
                found: 0,
                needed: 1,
            });
        }
        let (w, g, b) = (hyper.weights(), hyper.ln_g.exp(), hyper.ln_b.exp());
        let mut r = Vec::with_capacity(packed(x.len()));
        for (i, a) in x.iter().enumerate() {
            r.extend(x[..i].iter().map(|other| {
                let r2 = scaled_distance2(ordered, &w, a, other);
                hyper.shape.correlation(r2).0 + b * trend(ordered, a, other)
            }));
            let share = pattern.map_or(1.0, |pattern| pattern[i]);
            r.push(1.0 + g * share + b * trend(ordered, a, a));
        }
        let (factor, jitter) = Cholesky::with_jitter(x.len(), &r)?;
        let (beta, alpha, quadratic) = profile(&factor, z);
        Ok(Self {
            shape: hyper.shape,
            ordered: ordered.to_vec(),
            w,
            g: g + jitter,
            b,
            x: x.concat(),
            z: z.to_vec(),
            factor,
            beta,
            s2: variance_of(quadratic, x.len()),
            alpha,
        })
    }

    /// The number of axes.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.w.len()
    }

    /// The number of points conditioned on.
    #[must_use]
    pub fn len(&self) -> usize {
        self.z.len()
    }

    /// Whether there are no points; never true.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.z.is_empty()
    }

    /// Noise variance of an average row, warped units.
    #[must_use]
    pub fn noise_variance(&self) -> f64 {
        self.g * self.s2
    }

    /// Signal variance, warped units.
    #[must_use]
    pub fn signal_variance(&self) -> f64 {
        self.s2
    }

    /// The weight of each axis: inverse squared length scale.
    #[must_use]
    pub fn axis_weights(&self) -> &[f64] {
        &self.w
    }

    /// Mean alone.
    ///
    /// # Cost
    /// `n d` multiplications.
    #[must_use]
    pub fn mean(&self, u: &[f64]) -> f64 {
        self.beta + dot(&self.covariances(u), &self.alpha)
    }

    /// Mean and variance of the noise-free value.
    ///
    /// # Cost
    /// `n^2 / 2` multiplications.
    #[must_use]
    pub fn predict(&self, u: &[f64]) -> (f64, f64) {
        let mut k = self.covariances(u);
        let mean = self.beta + dot(&k, &self.alpha);
        self.factor.solve_lower(&mut k);
        (
            mean,
            self.s2 * (self.variance_before(u) - dot(&k, &k)).max(1e-12),
        )
    }

    /// Mean and variance with their gradients by the coordinates (zero along categories).
    ///
    /// # Cost
    /// `n^2` multiplications.
    pub fn predict_with_gradient(
        &self,
        u: &[f64],
        mean_gradient: &mut [f64],
        variance_gradient: &mut [f64],
    ) -> (f64, f64) {
        let d = self.w.len();
        let (mut k, mut slopes) = (
            Vec::with_capacity(self.len()),
            Vec::with_capacity(self.len()),
        );
        for row in self.x.chunks_exact(d) {
            let r2 = scaled_distance2(&self.ordered, &self.w, row, u);
            let (correlation, slope) = self.shape.correlation(r2);
            k.push(correlation + self.b * trend(&self.ordered, row, u));
            slopes.push(slope);
        }
        let mean = self.beta + dot(&k, &self.alpha);
        self.factor.solve_lower(&mut k);
        let explained = dot(&k, &k);
        self.factor.solve_upper(&mut k);
        mean_gradient.fill(0.0);
        variance_gradient.fill(0.0);
        for (i, row) in self.x.chunks_exact(d).enumerate() {
            let (by_mean, by_variance) = (self.alpha[i] * slopes[i], -2.0 * k[i] * slopes[i]);
            for j in 0..d {
                let turn = 2.0 * self.w[j] * (u[j] - row[j]);
                mean_gradient[j] += by_mean * turn;
                variance_gradient[j] += by_variance * turn;
            }
            // d/du of rho (2 + rho) is 2 (1 + rho) times d rho / d u = 2 (2 x - 1) / d.
            let along = 4.0 * self.b / d as f64 * (1.0 + rho(&self.ordered, row, u));
            let (by_mean, by_variance) = (self.alpha[i] * along, -2.0 * k[i] * along);
            for j in 0..d {
                mean_gradient[j] += by_mean * (2.0 * row[j] - 1.0);
                variance_gradient[j] += by_variance * (2.0 * row[j] - 1.0);
            }
        }
        let along = 8.0 * self.b / d as f64 * (1.0 + rho(&self.ordered, u, u));
        for j in 0..d {
            variance_gradient[j] += along * (2.0 * u[j] - 1.0);
        }
        for j in 0..d {
            mean_gradient[j] *= f64::from(self.ordered[j]);
            variance_gradient[j] *= self.s2 * f64::from(self.ordered[j]);
        }
        (
            mean,
            self.s2 * (self.variance_before(u) - explained).max(1e-12),
        )
    }

    /// Conditions on one more value, keeping hyperparameters, mean and variance; without effect if the point is too close
    /// to one that is there already.
    ///
    /// # Cost
    /// `3 n^2 / 2` multiplications.
    pub fn append(&mut self, u: &[f64], z: f64) {
        let k = self.covariances(u);
        if self
            .factor
            .append(&k, self.variance_before(u) + self.g)
            .is_some()
        {
            self.x.extend_from_slice(u);
            self.z.push(z);
            self.alpha = self.z.iter().map(|z| z - self.beta).collect();
            self.factor.solve(&mut self.alpha);
        }
    }

    /// Variance before any data, in units of the signal's.
    fn variance_before(&self, u: &[f64]) -> f64 {
        1.0 + self.b * trend(&self.ordered, u, u)
    }

    fn covariances(&self, u: &[f64]) -> Vec<f64> {
        let rows = self.x.chunks_exact(self.w.len());
        rows.map(|row| {
            let r2 = scaled_distance2(&self.ordered, &self.w, row, u);
            self.shape.correlation(r2).0 + self.b * trend(&self.ordered, row, u)
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posterior() -> Posterior {
        let x = [[0.1, 0.2], [0.5, 0.9], [0.8, 0.3], [0.3, 0.6]];
        let rows: Vec<&[f64]> = x.iter().map(|r| r.as_slice()).collect();
        let hyper = Hyper {
            shape: Shape::Matern52,
            ln_l: vec![-0.7, -0.3],
            ln_g: -20.0,
            ln_b: -0.5,
            bend: None,
        };
        Posterior::new(&hyper, &[true; 2], &rows, &[1.0, -0.5, 0.3, 0.2]).expect("fits")
    }

    #[test]
    fn goes_through_its_data() {
        let (mean, variance) = posterior().predict(&[0.5, 0.9]);
        assert!((mean + 0.5).abs() < 1e-7 && variance < 1e-7);
        assert_eq!(posterior().mean(&[0.5, 0.9]), mean);
        let (_, far) = posterior().predict(&[1.0, 1.0]);
        assert!(far > 0.01);
    }

    #[test]
    fn gradients_match_differences() {
        let posterior = posterior();
        let u = [0.42, 0.33];
        let (mut by_mean, mut by_variance) = ([0.0; 2], [0.0; 2]);
        let (mean, variance) = posterior.predict_with_gradient(&u, &mut by_mean, &mut by_variance);
        assert_eq!((mean, variance), posterior.predict(&u));
        for j in 0..2 {
            let at = |step: f64| {
                let mut moved = u;
                moved[j] += step;
                posterior.predict(&moved)
            };
            let (up, down) = (at(1e-5), at(-1e-5));
            assert!(((up.0 - down.0) / 2e-5 - by_mean[j]).abs() < 1e-7);
            assert!(((up.1 - down.1) / 2e-5 - by_variance[j]).abs() < 1e-7);
        }
    }

    #[test]
    fn appending_is_conditioning() {
        let mut grown = posterior();
        grown.append(&[0.7, 0.7], 0.4);
        let (mean, variance) = grown.predict(&[0.7, 0.7]);
        assert!((mean - 0.4).abs() < 1e-7 && variance < 1e-7);
        grown.append(&[0.7, 0.7], 9.0);
        assert!(grown.predict(&[0.7, 0.7]).0.is_finite());
    }
}
