//! How improbable a large value is, learnt from the largest values of the past.
//! In: magnitudes (unit-free, mostly below 2). Out: the probability that a magnitude is at least as large.
//! Called from: spike and shift detection, whose thresholds are probabilities instead of multiples of a scale.
//! Notation: u the tracked upper quantile, q its level, excess y = magnitude - u, xi the tail index.
//! Invariants: `p` falls with the magnitude and lies in (0, 1]; a heavy tail is believed only as far as seen.
//! The probability is a geometric mean of two laws, weighted by how heavy the tail is: a generalised Pareto fitted by
//! moments, which is sharp for light tails, and a Pareto by Hill's estimate, which stays honest for heavy ones.
//! Reference: Siffer et al. (2017), SPOT, KDD, <https://doi.org/10.1145/3097983.3098144>; moment estimate of the
//! generalised Pareto law after Hosking and Wallis (1987), Technometrics 29(3), 339-349.

use serde::{Deserialize, Serialize};

/// Share of values beyond `u`. Siffer et al. take 2 %.
const Q: f32 = 0.02;
const LN_Q: f32 = -3.912_023;
/// Excesses that the prior (a tail a little heavier than exponential) is worth.
const PRIOR_EXCESSES: f32 = 25.0;
/// Mean excess of a Gaussian magnitude over its 98 % quantile (2.33), in scales.
const PRIOR_MEAN: f32 = 0.36;
/// Second moment of the excess for the prior, `2 m^2 (1 - xi) / (1 - 2 xi)` at `xi = 0.05`.
const PRIOR_SQUARE: f32 = 0.2736;
/// Mean of `ln(magnitude / u)` beyond `u`, for a Gaussian.
const PRIOR_LOG: f32 = 0.14;
/// Tail index, at least and at most: a Gaussian's at this threshold is about -0.1, a bounded value's is lower.
const XI: (f32, f32) = (-0.12, 0.45);
/// Mean logarithm of the excess, in Gaussian ones, from which on the tail is all Pareto; from one less it is not at all.
const PARETO_FROM: f32 = 2.2;
/// Excesses that tell as much of the tail as one would were its shape given: the shape is estimated too.
const EXCESSES_A_SHAPE: f32 = 2.0;
/// Weight of the newest excess once the tail is well known: a memory of some 10 000 samples.
const ALPHA: f32 = 1.0 / 200.0;

/// A peaks-over-threshold model of one magnitude.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    u: f32,
    mean: f32,
    square: f32,
    log_excess: f32,
    /// Both stand still where one more would change nothing.
    n: u16,
    excesses: u16,
}

impl Default for Tail {
    /// The prior: a Gaussian magnitude with a tail a little heavier than its own.
    fn default() -> Self {
        Self {
            u: 2.33,
            mean: PRIOR_MEAN,
            square: PRIOR_SQUARE,
            log_excess: PRIOR_LOG,
            n: 0,
            excesses: 0,
        }
    }
}

impl Tail {
    /// Takes one magnitude in (`>= 0`, finite; others are ignored).
    pub fn update(&mut self, magnitude: f32) {
        if !(magnitude >= 0.0 && magnitude.is_finite()) {
            return;
        }
        self.n = self.n.saturating_add(1);
        let excess = magnitude - self.u;
        // Robbins-Monro step towards the quantile; the first steps are larger.
        let step = (8.0 / (f32::from(self.n) + 40.0)).max(0.01);
        if excess > 0.0 {
            self.excesses = self.excesses.saturating_add(1);
            let weight = ALPHA.max(1.0 / (f32::from(self.excesses) + PRIOR_EXCESSES));
            // One excess counts as at most thirty mean excesses: an outage is not a heavy tail.
            let y = excess.min(30.0 * self.mean);
            self.mean += weight * (y - self.mean);
            self.square += weight * (y * y - self.square);
            self.log_excess += weight * ((1.0 + y / self.u).ln() - self.log_excess);
            self.u += step * (1.0 - Q);
        } else {
            self.u -= step * Q;
        }
        self.u = self.u.max(0.5);
    }

    /// Probability of a magnitude at least this large, in (0, 1].
    ///
    /// # Example
    /// ```
    /// use layer5_patterns::stats::tail::Tail;
    /// let tail = Tail::default();
    /// assert!(tail.p(3.0) < tail.p(2.5));
    /// assert!(tail.p(8.0) < 1e-5);
    /// ```
    pub fn p(&self, magnitude: f32) -> f32 {
        match self.depth(magnitude) {
            Some(depth) => (Q * (-depth).exp()).max(1e-30),
            None => self.body(magnitude),
        }
    }

    /// As [`p`](Self::p), as far as the tail is known: a law learnt from few excesses is wrong by a random factor, and this
    /// is the mean over what it may be. Larger, the fewer they are; a bound on how often it falls below a level.
    ///
    /// # Example
    /// ```
    /// use layer5_patterns::stats::tail::Tail;
    /// let tail = Tail::default();
    /// assert!((1e-5..1e-4).contains(&tail.p_as_known(8.0)) && tail.p(8.0) < 1e-5);
    /// ```
    pub fn p_as_known(&self, magnitude: f32) -> f32 {
        let Some(depth) = self.depth(magnitude) else {
            return self.body(magnitude);
        };
        let known = f32::from(self.excesses).min(2.0 / ALPHA) + PRIOR_EXCESSES;
        // The predictive law of an exponential one.
        let n = known / EXCESSES_A_SHAPE;
        (Q * (-n * (depth / n).ln_1p()).exp()).max(1e-30)
    }

    /// Below the threshold the body is taken as Gaussian in shape, scaled to meet the tail.
    fn body(&self, magnitude: f32) -> f32 {
        let share = (magnitude / self.u).max(0.0);
        (LN_Q * share * share).exp().min(1.0)
    }

    /// How deep in the tail a magnitude lies, `-ln` of the chance that an excess is as large; `None` in the body.
    fn depth(&self, magnitude: f32) -> Option<f32> {
        let excess = magnitude - self.u;
        if excess <= 0.0 {
            return None;
        }
        let variance = (self.square - self.mean * self.mean).max(1e-6);
        let ratio = self.mean * self.mean / variance;
        let xi = (0.5 * (1.0 - ratio)).clamp(XI.0, XI.1);
        // At xi = 0 the law is exponential; near it the formula loses its digits.
        let xi = if xi.abs() < 1e-3 { 1e-3 } else { xi };
        let sigma = (self.mean * (1.0 - xi)).max(1e-6);
        let light = -(1.0 + xi * excess / sigma).max(1e-30).ln() / xi;
        let heavy = -(magnitude / self.u).ln() / self.log_excess.max(1e-3);
        let seen = f32::from(self.excesses) / (f32::from(self.excesses) + PRIOR_EXCESSES);
        let weight = seen * (PARETO_FROM - self.log_excess / PRIOR_LOG).clamp(0.0, 1.0);
        Some(-(weight * light + (1.0 - weight) * heavy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    /// A standard normal by Box and Muller.
    fn normal(rng: &mut Pcg64Mcg) -> f32 {
        let (a, b): (f64, f64) = (rng.random(), rng.random());
        ((-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()) as f32
    }

    fn share_below(p: f32, draw: impl Fn(&mut Pcg64Mcg) -> f32) -> f32 {
        let mut rng = Pcg64Mcg::seed_from_u64(7);
        let mut tail = Tail::default();
        let (mut hits, n) = (0, 200_000);
        for i in 0..n {
            let z = draw(&mut rng).abs();
            if i > 1000 && tail.p(z) < p {
                hits += 1;
            }
            tail.update(z);
        }
        hits as f32 / n as f32
    }

    #[test]
    fn gaussian_rate_is_kept() {
        // At p = 1e-3, 200 are expected of 200 000: within a factor of two either way.
        let share = share_below(1e-3, normal);
        assert!((5e-4..2e-3).contains(&share), "{share}");
    }

    #[test]
    fn the_less_is_known_the_larger_is_the_chance() {
        let ratio = |tail: &Tail| tail.p_as_known(5.0) / tail.p(5.0);
        let mut tail = Tail::default();
        // Depth 5.5, as from 12.5 excesses: exp(5.5 - 12.5 ln(1 + 5.5 / 12.5)) is 2.5.
        assert!((2.3..2.8).contains(&ratio(&tail)), "{}", ratio(&tail));
        let mut rng = Pcg64Mcg::seed_from_u64(3);
        (0..100_000).for_each(|_| tail.update(normal(&mut rng).abs()));
        // Depth some 10, as from 212: 1.3.
        assert!((1.1..1.6).contains(&ratio(&tail)), "{}", ratio(&tail));
        assert_eq!(tail.p_as_known(1.0), tail.p(1.0));
    }

    #[test]
    fn heavy_tail_rate_is_kept() {
        // Student t with 3 degrees of freedom.
        let share = share_below(1e-4, |rng| {
            let chi2: f32 = (0..3).map(|_| normal(rng).powi(2)).sum();
            normal(rng) / (chi2 / 3.0).sqrt()
        });
        assert!(share < 4e-4, "{share}");
    }
}
