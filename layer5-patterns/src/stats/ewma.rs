//! Exponentially weighted mean that starts as a plain mean.
//! In: values, oldest first, and the weight of the newest. Out: the mean. Called from: levels, features.
//! Invariants: the first `1/alpha` values have equal weight, so the start is not favoured.
//! Reference: Roberts (1959), Technometrics 1(3), 239-250.

use serde::{Deserialize, Serialize};

/// Exponentially weighted mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Ewma {
    mean: f32,
    n: u32,
}

impl Ewma {
    /// Takes one value in; `alpha` in (0, 1] is the weight of the newest value once `n > 1/alpha`.
    /// Returns the mean after the update.
    ///
    /// # Example
    /// ```
    /// use layer5_patterns::stats::ewma::Ewma;
    /// let mut level = Ewma::default();
    /// level.update(1.0, 0.1);
    /// assert_eq!(level.update(3.0, 0.1), 2.0); // still the plain mean of two values
    /// ```
    pub fn update(&mut self, value: f32, alpha: f32) -> f32 {
        self.n = self.n.saturating_add(1);
        let weight = alpha.max(1.0 / self.n as f32);
        let next = self.mean + weight * (value - self.mean);
        if next.is_finite() {
            self.mean = next;
        }
        self.mean
    }

    /// The mean; 0 before the first value.
    pub fn mean(&self) -> f32 {
        self.mean
    }

    /// Number of values taken, saturating.
    pub fn n(&self) -> u32 {
        self.n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_at_the_stated_rate() {
        let mut level = Ewma::default();
        for _ in 0..1000 {
            level.update(0.0, 0.01);
        }
        for _ in 0..69 {
            level.update(1.0, 0.01);
        }
        // 69 steps of 0.99: 1 - 0.99^69 = 0.5002.
        assert!((level.mean() - 0.5002).abs() < 1e-3);
    }
}
