//! Location and scale that a few wild values can't move far.
//! In: values, oldest first. Out: location, scale, and how many scales a value lies off. Called from:
//! every detector that standardises.
//! Notation: r the residual to the location, c the clip in scales, a the weight of the newest value.
//! Invariants: after a first spread is known one value moves the location by at most `a * c` scales.
//! Reference: Huber (1964), Ann. Math. Statist. 35(1), 73-101; exponential weights as in Gelper,
//! Fried and Croux (2010), J. Forecasting 29, 285-300.

use serde::{Deserialize, Serialize};

/// Values taken before the clip applies: fewer give no scale worth clipping at.
const CLIP_AFTER: u32 = 8;

/// Exponentially weighted, Huberised location and scale, of a series whose values are counted elsewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    location: f32,
    variance: f32,
}

impl Spread {
    /// Takes the `n`-th value in, `n` from 1. `alpha` in (0, 1]: weight of the newest value once `n > 1/alpha`.
    /// `clip`: residuals count at most this many scales.
    pub fn update(&mut self, value: f32, n: u32, alpha: f32, clip: f32) {
        if n <= 1 {
            self.location = value;
            return;
        }
        let weight = alpha.max(1.0 / n as f32);
        let mut residual = value - self.location;
        if n > CLIP_AFTER && self.variance > 0.0 {
            let limit = clip * self.variance.sqrt();
            residual = residual.clamp(-limit, limit);
        }
        let location = self.location + weight * residual;
        let variance = (1.0 - weight) * (self.variance + weight * residual * residual);
        if location.is_finite() && variance.is_finite() {
            self.location = location;
            self.variance = variance;
        }
    }

    /// Location, in the unit of the values.
    pub fn location(&self) -> f32 {
        self.location
    }

    /// Scale (a standard deviation of the clipped residuals), in the unit of the values.
    pub fn scale(&self) -> f32 {
        self.variance.sqrt()
    }

    /// Moves the location: what was unusual is usual from now on.
    pub(crate) fn shift(&mut self, by: f32) {
        self.location += by;
    }

    /// Keeps `share` of the variance, in 0 ..= 1: the rest is explained by now.
    pub(crate) fn narrow(&mut self, share: f32) {
        self.variance *= share.clamp(0.0, 1.0);
    }

    /// Scales that `value` lies off the location, signed, within `±limit`. A constant past has no
    /// scale; then any other value is `±limit` off.
    pub fn z(&self, value: f32, limit: f32) -> f32 {
        let residual = value - self.location;
        // A few rounding errors of the location are no deviation.
        let floor = 4.0 * f32::EPSILON * self.location.abs() + f32::MIN_POSITIVE;
        if residual.abs() <= floor {
            return 0.0;
        }
        (residual / self.scale().max(floor)).clamp(-limit, limit)
    }
}

/// A [`Spread`] that counts its values itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct RobustScale {
    spread: Spread,
    n: u32,
}

impl RobustScale {
    /// Takes one value in. `alpha` in (0, 1]: weight of the newest value once `n > 1/alpha`.
    /// `clip`: residuals count at most this many scales.
    ///
    /// # Example
    /// ```
    /// use layer5_patterns::stats::robust::RobustScale;
    /// let mut r = RobustScale::default();
    /// for i in 0..1000 {
    ///     r.update((i % 3) as f32, 0.01, 3.0);
    /// }
    /// let before = r.location();
    /// r.update(1e6, 0.01, 3.0);
    /// assert!((r.location() - before).abs() <= 0.01 * 3.0 * r.scale() * 1.01);
    /// ```
    pub fn update(&mut self, value: f32, alpha: f32, clip: f32) {
        self.n = self.n.saturating_add(1);
        self.spread.update(value, self.n, alpha, clip);
    }

    /// Location, in the unit of the values.
    pub fn location(&self) -> f32 {
        self.spread.location()
    }

    /// Scale (a standard deviation of the clipped residuals), in the unit of the values.
    pub fn scale(&self) -> f32 {
        self.spread.scale()
    }

    /// Scales that `value` lies off the location, as [`Spread::z`].
    pub fn z(&self, value: f32, limit: f32) -> f32 {
        self.spread.z(value, limit)
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
    fn scale_of_a_known_spread() {
        let mut r = RobustScale::default();
        for i in 0..20_000 {
            r.update(if i % 2 == 0 { 1.0 } else { 3.0 }, 1.0 / 4000.0, 3.0);
        }
        // Two values one off the mean: scale 1; the weighted mean wanders by less than a weight.
        assert!((r.location() - 2.0).abs() < 1e-3);
        assert!((r.scale() - 1.0).abs() < 1e-3);
    }

    #[test]
    fn constant_past_makes_any_change_extreme() {
        let mut r = RobustScale::default();
        for _ in 0..100 {
            r.update(0.1, 0.01, 3.0);
        }
        assert_eq!(r.z(0.1, 50.0), 0.0);
        assert_eq!(r.z(0.2, 50.0), 50.0);
        assert_eq!(r.z(0.0, 50.0), -50.0);
    }

    #[test]
    fn leaves_a_constant_past() {
        let mut r = RobustScale::default();
        for _ in 0..100 {
            r.update(5.0, 0.01, 3.0);
        }
        for i in 0..2000 {
            r.update((i % 10) as f32, 0.01, 3.0);
        }
        // Uniform on 0..=9: deviation 2.87; clip and weights cost a little of it.
        assert!((r.scale() - 2.87).abs() < 0.3, "{}", r.scale());
    }

    #[test]
    fn extreme_values_leave_it_finite() {
        let mut r = RobustScale::default();
        for x in [f32::MAX, f32::MIN, f32::MIN_POSITIVE, 0.0, f32::MAX] {
            r.update(x, 0.5, 3.0);
            assert!(r.location().is_finite() && r.scale().is_finite());
        }
    }
}
