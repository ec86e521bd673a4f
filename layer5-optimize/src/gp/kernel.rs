//! Covariance of two points: stationary, one length scale per axis, categories at distance one from each other.
//! In: unit coordinates. Out: correlations in `[0, 1]` and their derivatives. Called from: [`super::fit`],
//! [`super::posterior`]. Notation: `w` inverse squared length scales, `r2 = sum_j w_j delta_j^2`, where `delta_j` is the
//! difference of coordinates, or 1 for unlike categories. To this a random quadratic may be added: many objectives are a
//! wide bowl with ripples, and a stationary process alone learns the bowl slowly.
//! Reference: Rasmussen and Williams (2006), section 4.2.

use serde::{Deserialize, Serialize};

use crate::unit_cube::UnitCube;

/// The shape of the correlation's decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Shape {
    /// Twice differentiable functions; the safe choice.
    #[default]
    Matern52,
    /// Infinitely differentiable functions; far better where it is true.
    SquaredExponential,
}

impl Shape {
    /// Correlation at squared scaled distance `r2`, and its derivative by `r2`.
    #[must_use]
    #[inline]
    pub fn correlation(self, r2: f64) -> (f64, f64) {
        match self {
            Self::Matern52 => {
                let a = (5.0 * r2).sqrt();
                let decay = (-a).exp();
                (
                    (1.0 + a + a * a / 3.0) * decay,
                    -5.0 / 6.0 * (1.0 + a) * decay,
                )
            }
            Self::SquaredExponential => {
                let k = (-0.5 * r2).exp();
                (k, -0.5 * k)
            }
        }
    }
}

/// Which axes have an order; decides how a difference is measured.
#[must_use]
pub fn ordered_axes(cube: &UnitCube) -> Vec<bool> {
    (0..cube.len()).map(|j| cube.is_ordered(j)).collect()
}

/// Squared difference along one axis.
#[must_use]
#[inline]
pub fn delta2(ordered: bool, a: f64, b: f64) -> f64 {
    if ordered {
        (a - b) * (a - b)
    } else {
        f64::from(a != b)
    }
}

/// Squared scaled distance.
#[must_use]
#[inline]
pub fn scaled_distance2(ordered: &[bool], w: &[f64], a: &[f64], b: &[f64]) -> f64 {
    let mut r2 = 0.0;
    for j in 0..w.len() {
        r2 += w[j] * delta2(ordered[j], a[j], b[j]);
    }
    r2
}

/// Covariance of a random quadratic, less its constant: `(1 + rho)^2 - 1`, with [`rho`].
#[must_use]
#[inline]
pub fn trend(ordered: &[bool], a: &[f64], b: &[f64]) -> f64 {
    let rho = rho(ordered, a, b);
    rho * (2.0 + rho)
}

/// Inner product of two points as seen from the middle of the cube in half widths, ordered axes alone, divided by the
/// number of axes: a corner is at one, so that in many dimensions corners are not the most promising of all places.
#[must_use]
#[inline]
pub fn rho(ordered: &[bool], a: &[f64], b: &[f64]) -> f64 {
    let mut rho = 0.0;
    for j in 0..a.len() {
        if ordered[j] {
            rho += (2.0 * a[j] - 1.0) * (2.0 * b[j] - 1.0);
        }
    }
    rho / a.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivative_matches_differences() {
        for shape in [Shape::Matern52, Shape::SquaredExponential] {
            assert_eq!(shape.correlation(0.0).0, 1.0);
            for r2 in [0.01, 0.3, 2.0, 9.0] {
                let h = 1e-6;
                let difference =
                    (shape.correlation(r2 + h).0 - shape.correlation(r2 - h).0) / (2.0 * h);
                // Central differences err by h^2 times the third derivative, below 1e-8 here.
                assert!((difference - shape.correlation(r2).1).abs() < 1e-8);
            }
        }
    }

    #[test]
    fn unlike_categories_are_one_apart() {
        assert_eq!(delta2(false, 0.1, 0.9), 1.0);
        assert_eq!(delta2(false, 0.1, 0.1), 0.0);
        assert_eq!(
            scaled_distance2(&[true, false], &[4.0, 2.0], &[0.0, 0.1], &[0.5, 0.3]),
            3.0
        );
    }
}
