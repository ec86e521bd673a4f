//! Mean and variance of all values seen, in one pass and without cancellation.
//! In: values, oldest first. Out: mean, variance. Called from: detectors that compare with all the past.
//! Invariants: `m2 >= 0`; `n` counts the values taken.
//! Reference: Welford (1962), Technometrics 4(3), 419-420, <https://doi.org/10.1080/00401706.1962.10490022>.

use serde::{Deserialize, Serialize};

/// Running mean and variance; every value has the same weight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Welford {
    n: u64,
    mean: f64,
    m2: f64,
}

impl Welford {
    /// Takes one value in. Values that are not finite are ignored.
    ///
    /// # Example
    /// ```
    /// use layer5_patterns::stats::welford::Welford;
    /// let mut w = Welford::default();
    /// for x in [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0] {
    ///     w.update(x);
    /// }
    /// assert_eq!(w.mean(), 5.0);
    /// assert!((w.variance().expect("eight values") - 32.0 / 7.0).abs() < 1e-12);
    /// ```
    pub fn update(&mut self, value: f64) {
        let delta = value - self.mean;
        let mean = self.mean + delta / (self.n + 1) as f64;
        let m2 = self.m2 + delta * (value - mean);
        if mean.is_finite() && m2.is_finite() {
            self.n += 1;
            self.mean = mean;
            self.m2 = m2;
        }
    }

    /// Number of values taken.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Mean, in the unit of the values; 0 before the first.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Unbiased variance, or `None` with fewer than two values.
    pub fn variance(&self) -> Option<f64> {
        (self.n > 1).then(|| self.m2 / (self.n - 1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_small_spread_on_a_large_offset() {
        let mut w = Welford::default();
        for i in 0..10_000 {
            w.update(1e9 + f64::from(i % 2));
        }
        // Half zeros, half ones: variance n/(4(n-1)). One ulp at 1e9 is 1e-7, squared noise far below 1e-6.
        let expected = 10_000.0 / (4.0 * 9_999.0);
        assert!((w.variance().expect("many values") - expected).abs() < 1e-6);
    }

    #[test]
    fn ignores_what_would_overflow() {
        let mut w = Welford::default();
        for x in [1.0, f64::NAN, f64::INFINITY, f64::MAX, -f64::MAX, 3.0] {
            w.update(x);
        }
        assert!(w.mean().is_finite());
        assert!(w.variance().is_some_and(f64::is_finite));
    }
}
