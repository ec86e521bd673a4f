//! KL-UCB: UCB with the confidence bound that Bernoulli rewards really have.
//! In: rewards 0..=1. Out: an arm. Called from: anyone who wants decisions without chance.
//! Notation: kl(p, q) relative entropy of Bernoulli(p) to Bernoulli(q); index of an arm = the
//! greatest q with n kl(mean, q) <= ln t. Invariants: mean <= index <= 1.
//! Reference: Garivier and Cappe (2011), arXiv:1102.2490, with c = 0 as they advise in practice.

use serde::{Deserialize, Serialize};

use super::{Arm, Bandit, Memory, RewardError, Tally, best_arm, check_reward};
use crate::setting::InvalidSetting;

/// KL-UCB over arms with rewards in 0..=1. The seed only breaks ties.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KlUcb {
    tally: Tally,
}

impl KlUcb {
    /// A policy over `n_arms` arms of which nothing is known.
    ///
    /// # Errors
    /// [`InvalidSetting`] as [`Tally::new`].
    pub fn new(n_arms: usize, memory: Memory) -> Result<Self, InvalidSetting> {
        Ok(KlUcb {
            tally: Tally::new(n_arms, memory)?,
        })
    }

    /// What it has learned so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Bandit for KlUcb {
    fn n_arms(&self) -> usize {
        self.tally.n_arms()
    }

    fn choose(&self, seed: u64) -> Arm {
        let log_t = self.tally.total().max(1.0).ln();
        let mut best = f64::NEG_INFINITY;
        best_arm(self.n_arms(), seed, |arm| {
            let Some(mean) = self.tally.mean(arm) else {
                return f64::INFINITY;
            };
            let budget = log_t / self.tally.weight(arm);
            // Pinsker: kl(p, q) >= 2 (q - p)^2, so an arm whose cheap bound is already beaten
            // needs no root to be found.
            if mean + (0.5 * budget).sqrt() <= best {
                return f64::NEG_INFINITY;
            }
            let bound = kl_upper_bound(mean, budget);
            best = best.max(bound);
            bound
        })
    }

    fn reward(&mut self, arm: Arm, value: f64) -> Result<(), RewardError> {
        check_reward(arm, self.n_arms(), value, 0.0, 1.0)?;
        self.tally.add(arm, value);
        Ok(())
    }
}

/// Relative entropy of Bernoulli(p) to Bernoulli(q), with 0 ln 0 = 0.
fn kl_bernoulli(p: f64, q: f64) -> f64 {
    let term = |a: f64, b: f64| if a > 0.0 { a * (a / b).ln() } else { 0.0 };
    term(p, q) + term(1.0 - p, 1.0 - q)
}

/// The greatest q in `mean..=1` with `kl(mean, q) <= budget`, to 1e-10 from above.
///
/// kl is convex in q, so Newton started to the right of the root comes down to it monotonically:
/// every iterate is a valid upper bound. Pinsker gives a start; next to 1, where kl has a pole and
/// Newton crawls, `kl >= -(1-p) ln(1-q) - H(p)`, H the entropy of p, gives a better one.
fn kl_upper_bound(mean: f64, budget: f64) -> f64 {
    if mean >= 1.0 {
        return 1.0;
    }
    let pinsker = mean + (0.5 * budget).sqrt();
    let entropy = -(mean * mean.max(f64::MIN_POSITIVE).ln() + (1.0 - mean) * (-mean).ln_1p());
    let off_pole = -(-(budget + entropy) / (1.0 - mean)).exp_m1();
    let mut q = pinsker.min(off_pole).min(1.0 - f64::EPSILON / 2.0);
    for _ in 0..50 {
        let slope = (q - mean) / (q * (1.0 - q));
        let step = (kl_bernoulli(mean, q) - budget) / slope;
        // No step at a slope of 0, where mean, bound and budget have met.
        if slope > 0.0 {
            q -= step;
        }
        if slope <= 0.0 || step <= 1e-10 {
            break;
        }
    }
    q.clamp(mean, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same bound by bisection, which needs no start and no slope.
    fn bisected(mean: f64, budget: f64) -> f64 {
        let (mut low, mut high) = (mean, 1.0);
        for _ in 0..200 {
            let mid = 0.5 * (low + high);
            if kl_bernoulli(mean, mid) <= budget {
                low = mid
            } else {
                high = mid
            }
        }
        0.5 * (low + high)
    }

    #[test]
    fn the_bound_is_the_root_that_bisection_finds() {
        for mean in [0.0, 1e-9, 0.01, 0.3, 0.5, 0.9, 0.999, 1.0] {
            for budget in [0.0, 1e-12, 1e-6, 1e-3, 0.05, 0.7, 5.0, 40.0, 800.0] {
                let (found, expected) = (kl_upper_bound(mean, budget), bisected(mean, budget));
                // Near mean = q the root is ill-conditioned: kl ~ (q-p)^2 / 2pq, so rounding of
                // 1e-16 in kl moves q by 1e-8.
                let gap = (found - expected).abs();
                assert!(
                    gap < 3e-8,
                    "mean {mean} budget {budget}: {found} not {expected}"
                );
            }
        }
    }

    #[test]
    fn the_bound_of_certain_failure_is_known_in_closed_form() {
        // kl(0, q) = -ln(1 - q), so the bound is 1 - e^-budget.
        assert!((kl_upper_bound(0.0, 0.1) - (1.0 - (-0.1f64).exp())).abs() < 1e-10);
    }
}
