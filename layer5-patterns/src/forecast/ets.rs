//! Exponential smoothing: level, damped trend and additive season, the form chosen by the data.
//! In: a filled series, perhaps a period. Out: a [`Fitted`] continuation with its variances. Called from:
//! [`super::forecast`]. Notation: alpha, beta, gamma weights of level, trend and season; phi damping; m period.
//! Invariants: alpha in (0,1), beta in (0,alpha), gamma in (0,1-alpha), phi in [.8,.98]: the usual admissible region.
//! Reference: Hyndman, Koehler, Ord and Snyder (2008), "Forecasting with Exponential Smoothing", chapters 3, 5 and 6.

/// A continuation and how far it strays.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// Expected values, shape `[horizon]`.
    pub mean: Vec<f64>,
    /// Variance of the error `h` steps ahead, shape `[horizon]`.
    pub variance: Vec<f64>,
}

/// Fits the forms (no trend, damped trend) with or without the season and takes the one of least corrected AIC.
///
/// `values`: shape `[n]`, finite. `period` below 2, or that fits fewer than twice: no season. Fewer than four values
/// repeat the last.
/// # Cost
/// O(n) per trial of the weights, of which there are at most 240 per form.
pub fn exponential_smoothing(values: &[f64], period: usize, horizon: usize) -> Fitted {
    let n = values.len();
    if n < 4 {
        let last = values.last().copied().unwrap_or(0.0);
        let steps = n.saturating_sub(1).max(1) as f64;
        let spread = values
            .windows(2)
            .map(|w| (w[1] - w[0]).powi(2))
            .sum::<f64>()
            / steps;
        let variance = (1..=horizon).map(|h| spread * h as f64).collect();
        return Fitted {
            mean: vec![last; horizon],
            variance,
        };
    }
    let seasonal = period >= 2 && 2 * period <= n;
    let m = if seasonal { period } else { 1 };
    let fitted = [false, true].map(|trend| {
        let form = Form { trend, m };
        let (weights, loss) = fitted_weights(values, form);
        let parameters =
            2.0 + if trend { 3.0 } else { 0.0 } + if m > 1 { 1.0 + m as f64 } else { 0.0 };
        let nf = n as f64;
        let correction = 2.0 * parameters * (parameters + 1.0) / (nf - parameters - 1.0).max(1.0);
        let criterion = nf * (loss / nf).max(1e-300).ln() + 2.0 * parameters + correction;
        (criterion, form, weights)
    });
    let (_, form, weights) = if fitted[1].0 < fitted[0].0 {
        fitted[1]
    } else {
        fitted[0]
    };
    continued(values, form, weights, horizon)
}

/// Which parts there are.
#[derive(Debug, Clone, Copy)]
struct Form {
    trend: bool,
    /// Period; 1 without a season.
    m: usize,
}

#[derive(Debug, Clone, Copy)]
struct Weights {
    alpha: f64,
    beta: f64,
    phi: f64,
    gamma: f64,
}

impl Weights {
    /// From unbounded coordinates into the admissible region.
    fn from_free(free: &[f64; 4]) -> Self {
        let unit = |x: f64| 1.0 / (1.0 + (-x).exp());
        let alpha = 0.001 + 0.998 * unit(free[0]);
        Self {
            alpha,
            beta: alpha * unit(free[1]),
            phi: 0.8 + 0.18 * unit(free[2]),
            gamma: (1.0 - alpha) * unit(free[3]),
        }
    }
}

struct State {
    level: f64,
    slope: f64,
    season: Vec<f64>,
    loss: f64,
}

fn run(values: &[f64], form: Form, w: Weights) -> State {
    let m = form.m;
    let mut state = beginning(values, form);
    let mut phase = 0;
    for v in values {
        let damped = w.phi * state.slope;
        let error = v - state.level - damped - state.season[phase];
        state.loss += error * error;
        state.level += damped + w.alpha * error;
        if form.trend {
            state.slope = damped + w.beta * error;
        }
        if m > 1 {
            state.season[phase] += w.gamma * error;
            phase = if phase + 1 == m { 0 } else { phase + 1 };
        }
    }
    state
}

/// First states: phase means of the first cycles round their own mean, level and slope of what is left.
fn beginning(values: &[f64], form: Form) -> State {
    let m = form.m;
    if m == 1 {
        let k = values.len().min(10);
        let slope = if form.trend {
            (values[k - 1] - values[0]) / (k - 1).max(1) as f64
        } else {
            0.0
        };
        return State {
            level: values[0] - slope,
            slope,
            season: vec![0.0],
            loss: 0.0,
        };
    }
    let mean = |from: usize| values[from..from + m].iter().sum::<f64>() / m as f64;
    let (first, second) = (mean(0), mean(m));
    let slope = (second - first) / m as f64;
    let middle = (m as f64 - 1.0) / 2.0;
    let season = (0..m)
        .map(|p| {
            let drift = slope * (p as f64 - middle);
            0.5 * (values[p] - first + values[p + m] - second) - drift
        })
        .collect();
    let (level, slope) = if form.trend {
        (first - slope * (middle + 1.0), slope)
    } else {
        (first, 0.0)
    };
    State {
        level,
        slope,
        season,
        loss: 0.0,
    }
}

/// Least squares by the simplex of Nelder and Mead (1965) over the free coordinates of the form.
fn fitted_weights(values: &[f64], form: Form) -> (Weights, f64) {
    let mut active = vec![0];
    if form.trend {
        active.extend([1, 2]);
    }
    if form.m > 1 {
        active.push(3);
    }
    let base = [-0.5, -2.0, 1.0, -2.0];
    let loss = |free: &[f64; 4]| {
        let loss = run(values, form, Weights::from_free(free)).loss;
        if loss.is_finite() { loss } else { f64::MAX }
    };
    let mut simplex: Vec<([f64; 4], f64)> = vec![(base, loss(&base))];
    for &k in &active {
        let mut corner = base;
        corner[k] += 2.0;
        simplex.push((corner, loss(&corner)));
    }
    let d = active.len();
    for _ in 0..40 + 25 * d {
        simplex.sort_by(|a, b| a.1.total_cmp(&b.1));
        if simplex[d].1 - simplex[0].1 <= 1e-7 * simplex[0].1.abs() {
            break;
        }
        let mut centre = [0.0; 4];
        for corner in &simplex[..d] {
            for (c, x) in centre.iter_mut().zip(&corner.0) {
                *c += x / d as f64;
            }
        }
        let worst = simplex[d];
        // Beyond about 6 the logistic curve is flat: holding there keeps the simplex from running away.
        let along = |t: f64| {
            let mut x = centre;
            for (x, w) in x.iter_mut().zip(&worst.0) {
                *x = (*x + t * (w - *x)).clamp(-7.0, 7.0);
            }
            (x, loss(&x))
        };
        let reflected = along(-1.0);
        let better = if reflected.1 < simplex[0].1 {
            let expanded = along(-2.0);
            if expanded.1 < reflected.1 {
                Some(expanded)
            } else {
                Some(reflected)
            }
        } else if reflected.1 < simplex[d - 1].1 {
            Some(reflected)
        } else {
            let inside = along(0.5);
            (inside.1 < worst.1).then_some(inside)
        };
        match better {
            Some(corner) => simplex[d] = corner,
            None => {
                let best = simplex[0].0;
                for corner in &mut simplex[1..] {
                    for (x, b) in corner.0.iter_mut().zip(&best) {
                        *x = b + 0.5 * (*x - b);
                    }
                    corner.1 = loss(&corner.0);
                }
            }
        }
    }
    simplex.sort_by(|a, b| a.1.total_cmp(&b.1));
    (Weights::from_free(&simplex[0].0), simplex[0].1)
}

/// Continues from the last states; variances from the weights an error has on later values (chapter 6).
fn continued(values: &[f64], form: Form, w: Weights, horizon: usize) -> Fitted {
    let n = values.len();
    let state = run(values, form, w);
    let sigma2 = state.loss / (n as f64 - 2.0).max(1.0);
    let (mut mean, mut variance) = (Vec::with_capacity(horizon), Vec::with_capacity(horizon));
    let (mut damped_sum, mut damping, mut spread) = (0.0, 1.0, 1.0);
    for h in 1..=horizon {
        variance.push(sigma2 * spread);
        damping *= w.phi;
        damped_sum += damping;
        let slope = if form.trend {
            damped_sum * state.slope
        } else {
            0.0
        };
        mean.push(state.level + slope + state.season[(n + h - 1) % form.m]);
        let trend_weight = if form.trend { w.beta * damped_sum } else { 0.0 };
        let season_weight = if form.m > 1 && h % form.m == 0 {
            w.gamma
        } else {
            0.0
        };
        spread += (w.alpha + trend_weight + season_weight).powi(2);
    }
    Fitted { mean, variance }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_season_on_a_line_goes_on() {
        let value = |t: usize| 0.2 * t as f64 + [4.0, 0.0, -1.0, -3.0][t % 4];
        let values: Vec<f64> = (0..80).map(value).collect();
        let fitted = exponential_smoothing(&values, 4, 4);
        for (h, mean) in fitted.mean.iter().enumerate() {
            // Damping loses at most a tenth of the slope per step here.
            assert!(
                (mean - value(80 + h)).abs() < 0.3,
                "{h}: {mean} {}",
                value(80 + h)
            );
        }
    }

    #[test]
    fn variance_of_a_random_walk_grows_with_the_horizon() {
        let mut level = 0.0;
        let values: Vec<f64> = (0..300_u64)
            .map(|i| {
                level += ((i * i * 2_654_435_761) >> 7 & 1023) as f64 / 512.0 - 1.0;
                level
            })
            .collect();
        let fitted = exponential_smoothing(&values, 1, 10);
        assert!(fitted.variance[9] > 5.0 * fitted.variance[0]);
    }

    #[test]
    fn too_few_values_repeat_the_last() {
        assert_eq!(exponential_smoothing(&[], 4, 2).mean, [0.0, 0.0]);
        assert_eq!(exponential_smoothing(&[1.0, 3.0], 4, 2).mean, [3.0, 3.0]);
    }
}
