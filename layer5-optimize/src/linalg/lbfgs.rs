//! Minimises a smooth function in a box: limited-memory BFGS on the variables that are free to move.
//! In: a function giving value and gradient. Out: the best place seen. Called from: [`crate::gp::fit`],
//! [`crate::acquisition`]. Invariants: every place evaluated is inside the box; the result is never worse than the
//! start; a value that is not finite is treated as too high.
//! Reference: Nocedal and Wright (2006), algorithm 7.4; projection as in Bertsekas (1982), <https://doi.org/10.1137/0320018>.

use crate::linalg::dot;

/// Steps remembered: curvature of a dozen variables fits into a few.
const MEMORY: usize = 8;

/// Minimises `f` from `x` (which is replaced by the best place), inside `low..=high`, with at most `evaluations_max`
/// calls. `f` writes the gradient into its second argument and returns the value. Returns the best value.
pub fn minimize_in_box(
    x: &mut [f64],
    low: &[f64],
    high: &[f64],
    evaluations_max: usize,
    tolerance: f64,
    mut f: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> f64 {
    let d = x.len();
    let mut gradient = vec![0.0; d];
    let mut value = f(x, &mut gradient);
    let mut evaluations = 1;
    let mut pairs: Vec<(Vec<f64>, Vec<f64>, f64)> = Vec::new();
    let (mut trial, mut trial_gradient) = (vec![0.0; d], vec![0.0; d]);
    while value.is_finite() && evaluations < evaluations_max {
        let free: Vec<bool> = (0..d)
            .map(|j| {
                !((x[j] <= low[j] && gradient[j] > 0.0) || (x[j] >= high[j] && gradient[j] < 0.0))
            })
            .collect();
        let mut direction = descent(&gradient, &free, &pairs);
        let mut slope = dot(&direction, &gradient);
        if !(slope < 0.0) {
            pairs.clear();
            direction = descent(&gradient, &free, &pairs);
            slope = dot(&direction, &gradient);
        }
        if !(slope < -tolerance * tolerance) {
            break;
        }
        let mut step = if pairs.is_empty() {
            first_step(&direction, low, high)
        } else {
            1.0
        };
        let before = value;
        let mut moved = false;
        while evaluations < evaluations_max && step > 1e-12 {
            for j in 0..d {
                trial[j] = (x[j] + step * direction[j]).clamp(low[j], high[j]);
            }
            let trial_value = f(&trial, &mut trial_gradient);
            evaluations += 1;
            let decrease: f64 = (0..d).map(|j| gradient[j] * (trial[j] - x[j])).sum();
            if trial_value.is_finite() && trial_value <= value + 1e-4 * decrease.min(0.0) {
                let s: Vec<f64> = (0..d).map(|j| trial[j] - x[j]).collect();
                let y: Vec<f64> = (0..d).map(|j| trial_gradient[j] - gradient[j]).collect();
                let curvature = dot(&s, &y);
                if curvature > 1e-10 * dot(&y, &y).sqrt() * dot(&s, &s).sqrt() {
                    if pairs.len() == MEMORY {
                        pairs.remove(0);
                    }
                    pairs.push((s, y, curvature));
                }
                x.copy_from_slice(&trial);
                gradient.copy_from_slice(&trial_gradient);
                value = trial_value;
                moved = true;
                break;
            }
            // The minimum of the parabola through value, slope and trial value, kept within a tenth and a half.
            let curved = trial_value - value - step * slope;
            let parabola = if curved.is_finite() {
                -slope * step / (2.0 * curved)
            } else {
                0.0
            };
            step *= if parabola > 0.1 && parabola < 0.5 {
                parabola
            } else {
                0.25
            };
        }
        if !moved || before - value <= tolerance * (1.0 + value.abs()) * 1e-3 {
            break;
        }
    }
    value
}

/// Steepest descent must not leap across the box before anything is known of the curvature.
fn first_step(direction: &[f64], low: &[f64], high: &[f64]) -> f64 {
    let widest = direction
        .iter()
        .zip(low.iter().zip(high))
        .map(|(d, (l, h))| d.abs() / (h - l).max(1e-12))
        .fold(0.0, f64::max);
    (0.1 / widest).min(1.0)
}

/// The two-loop recursion on the free variables.
fn descent(gradient: &[f64], free: &[bool], pairs: &[(Vec<f64>, Vec<f64>, f64)]) -> Vec<f64> {
    let mask = |v: &mut [f64]| {
        for (v, free) in v.iter_mut().zip(free) {
            if !free {
                *v = 0.0;
            }
        }
    };
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    mask(&mut q);
    let mut weights = Vec::with_capacity(pairs.len());
    for (s, y, curvature) in pairs.iter().rev() {
        let weight = dot(s, &q) / curvature;
        crate::linalg::axpy(-weight, y, &mut q);
        weights.push(weight);
    }
    if let Some((_, y, curvature)) = pairs.last() {
        let scale = curvature / dot(y, y);
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for ((s, y, curvature), weight) in pairs.iter().zip(weights.iter().rev()) {
        let correction = weight - dot(y, &q) / curvature;
        crate::linalg::axpy(correction, s, &mut q);
    }
    mask(&mut q);
    q
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rosenbrock(x: &[f64], g: &mut [f64]) -> f64 {
        let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
        g[0] = -2.0 * a - 400.0 * x[0] * b;
        g[1] = 200.0 * b;
        a * a + 100.0 * b * b
    }

    #[test]
    fn finds_the_bottom_of_a_curved_valley() {
        let mut x = [-1.2, 1.0];
        let value = minimize_in_box(&mut x, &[-2.0; 2], &[2.0; 2], 200, 1e-8, rosenbrock);
        assert!(value < 1e-10, "{value}");
    }

    #[test]
    fn stops_at_the_wall() {
        // With x0 <= 0.5 the best point is (0.5, 0.25) with value 0.25.
        let mut x = [-1.0, -1.0];
        let value = minimize_in_box(&mut x, &[-2.0; 2], &[0.5, 2.0], 200, 1e-8, rosenbrock);
        assert!((value - 0.25).abs() < 1e-6, "{value} at {x:?}");
    }

    #[test]
    fn survives_values_that_are_not_finite() {
        let mut x = [0.9];
        let value = minimize_in_box(&mut x, &[0.0], &[1.0], 50, 1e-8, |x, g| {
            g[0] = 1.0;
            if x[0] < 0.5 { f64::NAN } else { x[0] }
        });
        assert!(value < 0.9 && x[0] >= 0.5);
    }
}
