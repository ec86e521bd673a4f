//! Noise that the caller stated with each value, as variances in the units of the model.
//! In: [`Known`], the rows of a model, its warp. Out: how noisy each row is beside the average one, and how noisy that is.
//! Called from: [`super`]. Invariants: a row without a stated noise counts as an average one; nothing stated is `None`, and
//! the noise is learned from the values instead, as it is where several objectives are seen as one.

use super::fit::Hyper;
use super::posterior::Posterior;
use super::warp::Warp;
use crate::error::FitError;
use crate::sampler::Known;

/// Noise by row.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenNoise {
    /// Variance of each row in units of the average one, `[n]`.
    pub pattern: Vec<f64>,
    /// Average variance, model units.
    pub variance: f64,
}

impl GivenNoise {
    /// The noise stated for some rows of a single objective, seen through `warp`; `None` where none was stated.
    #[must_use]
    pub fn new(known: &Known<'_>, rows: &[usize], warp: &Warp) -> Option<Self> {
        let of = |row: &usize| -> Option<f64> {
            let &[sd] = known.noise_sd.get(*row)?.as_slice() else {
                return None;
            };
            let y = known.objective[*row];
            // Half the width of one standard deviation to both sides: the warp is not straight.
            let width = 0.5 * (warp.forward(y + sd) - warp.forward(y - sd));
            Some(width * width).filter(|v| v.is_finite())
        };
        let stated: Vec<Option<f64>> = rows.iter().map(of).collect();
        let known: Vec<f64> = stated.iter().copied().flatten().collect();
        if known.is_empty() {
            return None;
        }
        let variance = known.iter().sum::<f64>() / known.len() as f64;
        let share = |v: &Option<f64>| match v {
            Some(v) if variance > 0.0 => v / variance,
            _ => 1.0,
        };
        Some(Self {
            pattern: stated.iter().map(share).collect(),
            variance,
        })
    }

    /// `ln g` that makes the average noise what was stated, if the signal's variance is `s2`.
    #[must_use]
    pub fn ln_g(&self, s2: f64) -> f64 {
        (self.variance / s2).max(1e-12).ln()
    }

    /// Conditions on points and values with this noise; sets `ln g` of the hyperparameters to what was stated.
    ///
    /// # Errors
    /// As [`Posterior::new`].
    pub fn posterior(
        &self,
        hyper: &mut Hyper,
        ordered: &[bool],
        x: &[&[f64]],
        z: &[f64],
    ) -> Result<Posterior, FitError> {
        let pattern = Some(self.pattern.as_slice());
        let mut posterior = Posterior::with_noise(hyper, ordered, x, z, pattern)?;
        for _ in 0..ROUNDS {
            hyper.ln_g = self.ln_g(posterior.signal_variance());
            posterior = Posterior::with_noise(hyper, ordered, x, z, pattern)?;
        }
        Ok(posterior)
    }

    /// Bounds of `ln g` in a fit: the signal's variance, which is part of `g`, is about that of the data, which is 1.
    #[must_use]
    pub fn ln_g_range(&self) -> (f64, f64) {
        (self.ln_g(SIGNAL_MAX), self.ln_g(1.0 / SIGNAL_MAX))
    }
}

/// How far the signal's variance may be from that of the data while length scales are learned.
const SIGNAL_MAX: f64 = 10.0;

/// Rounds in which `g` and the signal's variance, each a function of the other, come to agree to a few percent.
const ROUNDS: usize = 4;

#[cfg(test)]
mod tests {
    use crate::{Domain, Outcome, Parameter, Space, Study, StudyConfig, Value};

    /// A line through `y = x`, measured exactly on the left and with noise 1 on the right.
    fn study(noise: impl Fn(f64) -> f64) -> Study {
        let space = Space::new(vec![Parameter::new("x", Domain::float(0.0, 1.0))]).expect("valid");
        let mut study = Study::new(StudyConfig::new(space)).expect("fits");
        for k in 0..24 {
            let x = (f64::from(k) + 0.5) / 24.0;
            let off = [0.9, -0.8, 0.3, -0.4][k as usize % 4];
            let mut seen = crate::Observation::at(crate::Point(vec![Value::Float(x)]), x);
            seen.value += noise(x) * off;
            seen.noise_sd = vec![noise(x)];
            study.observe_all(seen).expect("inside");
        }
        study
    }

    #[test]
    fn what_is_measured_exactly_is_believed_and_what_is_not_is_smoothed() {
        let study = study(|x| if x < 0.5 { 0.001 } else { 1.0 });
        let at = |x: f64| {
            let point = crate::Point(vec![Value::Float(x)]);
            study.predict(&point).expect("a model").mean
        };
        for k in 0..12 {
            let x = (f64::from(k) + 0.5) / 24.0;
            assert!((at(x) - x).abs() < 0.02, "{x}: {}", at(x));
        }
        // The noisy half scatters by .6 and says nothing of where it came from: the line goes on.
        assert!((at(0.8) - 0.8).abs() < 0.3, "{}", at(0.8));
    }

    #[test]
    fn noise_of_nothing_is_exact() {
        let mut study = study(|_| 0.0);
        let best = study.recommend().expect("told");
        assert_eq!(best.point, study.incumbent().expect("told").point);
        let trial = study.ask();
        study
            .tell(trial.id, Outcome::noisy(3.0, 0.0))
            .expect("pending");
    }
}
