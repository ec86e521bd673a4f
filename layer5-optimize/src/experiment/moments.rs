//! Count, mean and spread of the values of one group.
//! In: finite values. Out: moments. Called from: [`super::Experiment`].
//! Invariants: `m2 >= 0`; memory is constant. Reference: Welford (1962), Technometrics 4.

use serde::{Deserialize, Serialize};

/// Running count, mean and sum of squared deviations.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Moments {
    len: u64,
    mean: f64,
    m2: f64,
}

impl Moments {
    /// Takes in a finite value; a value that is not finite changes nothing.
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.len += 1;
        let delta = value - self.mean;
        self.mean += delta / self.len as f64;
        self.m2 += delta * (value - self.mean);
    }

    /// Values taken in.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Their mean; 0 without values.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Their sample variance (divisor n - 1); `None` below two values.
    pub fn variance(&self) -> Option<f64> {
        (self.len >= 2).then(|| self.m2 / (self.len - 1) as f64)
    }
}

impl Extend<f64> for Moments {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, values: I) {
        values.into_iter().for_each(|value| self.add(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_a_few_values_are_exact() {
        let mut moments = Moments::default();
        assert_eq!(moments.variance(), None);
        moments.extend([2.0, 4.0, 9.0]);
        assert_eq!(
            (moments.len(), moments.mean(), moments.variance()),
            (3, 5.0, Some(13.0))
        );
        moments.add(f64::NAN);
        assert_eq!(moments.len(), 3);
    }

    #[test]
    fn a_large_offset_does_not_swallow_the_spread() {
        let mut moments = Moments::default();
        moments.extend([0.0, 1.0, 2.0].map(|x| 1e9 + x));
        // One ulp at 1e9 is 1.2e-7.
        assert!((moments.variance().unwrap() - 1.0).abs() < 1e-6);
    }
}
