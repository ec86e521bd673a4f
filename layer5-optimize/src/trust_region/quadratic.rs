//! A quadratic model of the objective round a centre, from whatever observations lie near.
//! In: displacements from the centre, in radii, and differences of values. Out: gradient, Hessian, and how uncertain
//! the model is elsewhere. Called from: [`super`].
//! Notation: `p` axes, `m` rows; `s` displacement divided by the radius; model `q(s) = g^T s + s^T H s / 2`, zero at the
//! centre. The Hessian with the least Frobenius norm that explains the rows is the mean of a Gaussian process with the
//! kernel `(s^T t)^2 / 2`; a row at distance `r` may miss by the cubic terms the model does not have, so its variance is
//! `(kappa r^3)^2`: near rows are interpolated, far ones only lean on it.
//! Reference: minimum Frobenius norm models, Powell (2004), <https://doi.org/10.1007/s10107-003-0490-7>, and Conn,
//! Scheinberg and Vicente (2009), chapter 5; the weighting by a cubic error is ours.

use crate::linalg::cholesky::{Cholesky, packed};
use crate::linalg::lbfgs::minimize_in_box;
use crate::linalg::{axpy, dot};

/// Variance allowed to each gradient entry, relative to the Hessian's: practically free, but defined where no row says
/// anything.
const GRADIENT_VARIANCE: f64 = 1e8;

/// Share of a row's value difference, in typical ones, by which it may miss: a value far above its neighbours says that
/// higher powers rule there, not what the curvature is here.
const STEEP_ERROR: f64 = 0.3;

/// A fitted model.
#[derive(Debug)]
pub struct Quadratic {
    p: usize,
    /// Gradient at the centre, `[p]`.
    pub gradient: Vec<f64>,
    hessian: Vec<f64>,
    rows: Vec<Vec<f64>>,
    factor: Cholesky,
    /// `A^-1 S`, columns of length `m`.
    leverage: Vec<Vec<f64>>,
    gradient_factor: Cholesky,
    /// Minus the logarithm of the rows' likelihood, the curvature's size profiled out, up to a constant.
    loss: f64,
}

impl Quadratic {
    /// Fits with that of the errors `kappas` which makes the rows most likely: rows of a true quadratic are interpolated
    /// however far they are, rows of anything else count where they are near.
    #[must_use]
    pub fn most_likely(p: usize, rows: &[Vec<f64>], f: &[f64], kappas: &[f64]) -> Option<Self> {
        kappas
            .iter()
            .filter_map(|kappa| Self::fit(p, rows.to_vec(), f, *kappa))
            .min_by(|a, b| a.loss.total_cmp(&b.loss))
    }

    /// Fits rows `s` (`[m]` of `p`) with value differences `f` (`[m]`). `kappa`: error at one radius, relative to the
    /// curvature. `None` if the rows cannot be factored.
    ///
    /// # Cost
    /// `m^3 / 6 + m^2 p` multiplications.
    #[must_use]
    pub fn fit(p: usize, rows: Vec<Vec<f64>>, f: &[f64], kappa: f64) -> Option<Self> {
        let m = rows.len();
        let typical = typical_size(&rows, f);
        let mut a = Vec::with_capacity(packed(m));
        for (i, s) in rows.iter().enumerate() {
            a.extend(rows[..i].iter().map(|t| 0.5 * dot(s, t).powi(2)));
            let r2 = dot(s, s);
            let steep = STEEP_ERROR * f[i] / typical;
            let slack = kappa * kappa * (r2 * r2 * r2 + steep * steep);
            a.push(0.5 * r2 * r2 + slack.max(1e-14));
        }
        let (factor, _) = Cholesky::with_jitter(m, &a).ok()?;
        let leverage: Vec<Vec<f64>> = (0..p)
            .map(|j| {
                let mut column: Vec<f64> = rows.iter().map(|s| s[j]).collect();
                factor.solve(&mut column);
                column
            })
            .collect();
        let mut normal = Vec::with_capacity(packed(p));
        let column = |j: usize| rows.iter().map(move |s| s[j]);
        for (j, by) in leverage.iter().enumerate() {
            for k in 0..=j {
                let sum: f64 = column(k).zip(by).map(|(s, l)| s * l).sum();
                normal.push(sum + if k == j { 1.0 / GRADIENT_VARIANCE } else { 0.0 });
            }
        }
        let (gradient_factor, _) = Cholesky::with_jitter(p, &normal).ok()?;
        let mut gradient: Vec<f64> = leverage.iter().map(|l| dot(l, f)).collect();
        gradient_factor.solve(&mut gradient);
        let mut alpha: Vec<f64> = rows
            .iter()
            .zip(f)
            .map(|(s, f)| f - dot(s, &gradient))
            .collect();
        factor.solve(&mut alpha);
        let quadratic: f64 = rows
            .iter()
            .zip(f)
            .zip(&alpha)
            .map(|((s, f), alpha)| alpha * (f - dot(s, &gradient)))
            .sum();
        let loss = 0.5 * m as f64 * quadratic.max(1e-26).ln()
            + 0.5 * (factor.log_determinant() + gradient_factor.log_determinant());
        let mut hessian = vec![0.0; p * p];
        for (s, alpha) in rows.iter().zip(&alpha) {
            for j in 0..p {
                axpy(alpha * s[j], s, &mut hessian[j * p..(j + 1) * p]);
            }
        }
        let finite = gradient.iter().chain(&hessian).all(|v| v.is_finite());
        finite.then_some(Self {
            p,
            gradient,
            hessian,
            rows,
            factor,
            leverage,
            gradient_factor,
            loss,
        })
    }

    /// `q(s)`; writes the gradient.
    pub fn value(&self, s: &[f64], gradient: &mut [f64]) -> f64 {
        let mut curved = 0.0;
        for j in 0..self.p {
            let turn = dot(&self.hessian[j * self.p..(j + 1) * self.p], s);
            gradient[j] = self.gradient[j] + turn;
            curved += s[j] * turn;
        }
        dot(&self.gradient, s) + 0.5 * curved
    }

    /// Variance of the model at `s`, in units of the Hessian's.
    #[must_use]
    pub fn uncertainty(&self, s: &[f64]) -> f64 {
        let mut k: Vec<f64> = self.rows.iter().map(|t| 0.5 * dot(s, t).powi(2)).collect();
        let mut rest: Vec<f64> = (0..self.p)
            .map(|j| s[j] - dot(&self.leverage[j], &k))
            .collect();
        self.factor.solve_lower(&mut k);
        self.gradient_factor.solve_lower(&mut rest);
        0.5 * dot(s, s).powi(2) - dot(&k, &k) + dot(&rest, &rest)
    }

    /// The lowest place of the model in the box `low..=high`, which contains 0, and how far the model falls to it.
    #[must_use]
    pub fn minimum(&self, low: &[f64], high: &[f64]) -> (Vec<f64>, f64) {
        let steepest = self.gradient.iter().fold(1e-300f64, |m, g| m.max(g.abs()));
        let downhill: Vec<f64> = (0..self.p)
            .map(|j| (-self.gradient[j] / steepest).clamp(low[j], high[j]))
            .collect();
        let inside = self.rows.iter().filter(|s| {
            s.iter()
                .zip(low.iter().zip(high))
                .all(|(s, (l, h))| s >= l && s <= h)
        });
        let scale = steepest
            .max(self.hessian.iter().fold(0.0, |m, h| h.abs().max(m)))
            .max(1e-300);
        let starts = [vec![0.0; self.p], downhill]
            .into_iter()
            .chain(inside.take(3).cloned());
        let mut best = (vec![0.0; self.p], 0.0);
        for mut s in starts {
            let evaluations_max = 30 + 10 * self.p.min(20);
            let value =
                minimize_in_box(&mut s, low, high, evaluations_max, 1e-11, |s, gradient| {
                    let value = self.value(s, gradient) / scale;
                    gradient.iter_mut().for_each(|g| *g /= scale);
                    value
                }) * scale;
            if value < best.1 {
                best = (s, value);
            }
        }
        (best.0, -best.1)
    }
}

/// The middle size of the rows' value differences, each divided by how much a slope and a curvature of one make of its
/// distance.
fn typical_size(rows: &[Vec<f64>], f: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = rows
        .iter()
        .zip(f)
        .map(|(s, f)| {
            let r2 = dot(s, s);
            f.abs() / (r2.sqrt() + 0.5 * r2)
        })
        .collect();
    sizes.sort_by(f64::total_cmp);
    sizes
        .get(sizes.len() / 2)
        .copied()
        .unwrap_or(1.0)
        .max(1e-12)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::seed::stream;

    /// `2 a^2 + b^2 - a b + a - 3 b`.
    fn quadratic(s: &[f64]) -> f64 {
        2.0 * s[0] * s[0] + s[1] * s[1] - s[0] * s[1] + s[0] - 3.0 * s[1]
    }

    fn rows(m: usize) -> Vec<Vec<f64>> {
        let mut rng = stream(3, 0);
        (0..m)
            .map(|_| (0..2).map(|_| rng.random_range(-1.0..1.0)).collect())
            .collect()
    }

    #[test]
    fn enough_rows_give_the_quadratic_itself() {
        let rows = rows(5);
        let f: Vec<f64> = rows.iter().map(|s| quadratic(s)).collect();
        let model = Quadratic::fit(2, rows, &f, 1e-9).expect("fits");
        let mut gradient = [0.0; 2];
        let s = [0.3, -0.7];
        assert!((model.value(&s, &mut gradient) - quadratic(&s)).abs() < 1e-4);
        // Gradient of the minimum is zero: 4 a - b = -1, 2 b - a = 3, so a = 1/7, b = 11/7.
        let (s, fall) = model.minimum(&[-2.0; 2], &[2.0; 2]);
        assert!(
            (s[0] - 1.0 / 7.0).abs() < 1e-3 && (s[1] - 11.0 / 7.0).abs() < 1e-3,
            "{s:?}"
        );
        assert!((fall + quadratic(&s)).abs() < 1e-3);
    }

    #[test]
    fn few_rows_are_interpolated_and_unseen_directions_are_uncertain() {
        let rows = vec![vec![1.0, 0.0], vec![-1.0, 0.0]];
        let model = Quadratic::fit(2, rows, &[3.0, 1.0], 1e-6).expect("fits");
        let mut gradient = [0.0; 2];
        assert!((model.value(&[1.0, 0.0], &mut gradient) - 3.0).abs() < 1e-6);
        assert!((model.gradient[0] - 1.0).abs() < 1e-6 && model.gradient[1].abs() < 1e-6);
        assert!(model.uncertainty(&[0.0, 1.0]) > 1e3 * model.uncertainty(&[0.5, 0.0]).max(1e-9));
    }

    #[test]
    fn the_minimum_respects_the_box() {
        let rows = rows(5);
        let f: Vec<f64> = rows.iter().map(|s| quadratic(s)).collect();
        let model = Quadratic::fit(2, rows, &f, 1e-9).expect("fits");
        let (s, fall) = model.minimum(&[-0.5; 2], &[0.5; 2]);
        assert!(s[1] == 0.5 && s[0].abs() <= 0.5 && fall > 0.0);
    }
}
