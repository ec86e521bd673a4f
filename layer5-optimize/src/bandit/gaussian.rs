//! Thompson sampling for rewards of any size: mean and variance of every arm are unknown.
//! In: finite rewards. Out: an arm. Called from: studies over latencies, costs and other unbounded
//! KPIs. Neighbours: `tally`, `draw`.
//! Notation: Normal-Inverse-Gamma prior (m0, kappa0, a0, b0): sigma^2 ~ InvGamma(a0, b0), mu given
//! sigma^2 ~ N(m0, sigma^2 / kappa0). After n rewards with mean x and squared deviations S:
//! kappa = kappa0 + n, m = (kappa0 m0 + n x) / kappa, a = a0 + n/2,
//! b = b0 + S/2 + kappa0 n (x - m0)^2 / (2 kappa); then mu ~ m + t_{2a} sqrt(b / (a kappa)).
//! Reference: Murphy (2007), "Conjugate Bayesian analysis of the Gaussian distribution";
//! Honda and Takemura (2014), arXiv:1311.1894 (which flat priors work, and how many first pulls).

use serde::{Deserialize, Serialize};

use super::draw::{generator, student_t};
use super::{Arm, Bandit, Memory, RewardError, Tally, best_arm, check_reward};
use crate::setting::{InvalidSetting, require};

/// Pulls of each arm before its posterior is used under the flat prior: Honda and Takemura's
/// `max(2, 3 - floor(2 alpha))` at their alpha = -1/2.
const FLAT_FIRST_PULLS: f64 = 4.0;

/// What is believed of an arm before its first reward.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum GaussianPrior {
    /// Nothing, in any unit: each arm is pulled four times first, and again when a memory that
    /// forgets leaves it less. Regret is asymptotically optimal.
    #[default]
    Flat,
    /// A Normal-Inverse-Gamma belief in the reward's unit; no first pulls are forced.
    NormalInverseGamma {
        /// Expected reward, finite.
        mean: f64,
        /// Pulls that the mean is worth, > 0.
        kappa: f64,
        /// Half the pulls that the variance is worth, > 0.
        alpha: f64,
        /// `alpha` times the expected variance, > 0.
        beta: f64,
    },
}

/// Thompson sampling over arms with normal rewards.
///
/// Under the flat prior an arm whose first rewards are all exactly equal has no doubt left; add
/// noise or give a prior when rewards are that coarse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GaussianThompson {
    tally: Tally,
    prior: GaussianPrior,
}

impl GaussianThompson {
    /// A policy over `n_arms` arms.
    ///
    /// # Errors
    /// [`InvalidSetting`] as [`Tally::new`], or for a prior outside its ranges.
    pub fn new(
        n_arms: usize,
        memory: Memory,
        prior: GaussianPrior,
    ) -> Result<Self, InvalidSetting> {
        if let GaussianPrior::NormalInverseGamma {
            mean,
            kappa,
            alpha,
            beta,
        } = prior
        {
            require(mean.is_finite(), "mean", mean, "finite")?;
            for (field, value) in [("kappa", kappa), ("alpha", alpha), ("beta", beta)] {
                let usable = value > 0.0 && value < f64::INFINITY;
                require(usable, field, value, "positive and finite")?;
            }
        }
        Ok(GaussianThompson {
            tally: Tally::new(n_arms, memory)?,
            prior,
        })
    }

    /// What it has learned so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Location, scale and degrees of freedom of an arm's mean, or `None` while it has too few
    /// rewards for the flat prior.
    fn posterior(&self, arm: Arm) -> Option<(f64, f64, f64)> {
        let n = self.tally.weight(arm);
        let mean = self.tally.mean(arm);
        let half_deviations = 0.5 * self.tally.squared_deviations(arm);
        let (m, kappa, a, b) = match self.prior {
            // The limit kappa0 = 0, a0 = -1, b0 = 0. The margin lets rounding of a faded weight by.
            GaussianPrior::Flat => {
                if n < FLAT_FIRST_PULLS - 1e-9 {
                    return None;
                }
                (mean?, n, 0.5 * n - 1.0, half_deviations)
            }
            GaussianPrior::NormalInverseGamma {
                mean: m0,
                kappa: kappa0,
                alpha,
                beta,
            } => {
                let x = mean.unwrap_or(m0);
                let kappa = kappa0 + n;
                let shift = kappa0 * n * (x - m0) * (x - m0) / (2.0 * kappa);
                let m = m0 + (x - m0) * n / kappa;
                (m, kappa, alpha + 0.5 * n, beta + half_deviations + shift)
            }
        };
        Some((m, (b / (a * kappa)).sqrt(), 2.0 * a))
    }
}

impl Bandit for GaussianThompson {
    fn n_arms(&self) -> usize {
        self.tally.n_arms()
    }

    fn choose(&self, seed: u64) -> Arm {
        let mut rng = generator(seed);
        best_arm(self.n_arms(), seed, |arm| match self.posterior(arm) {
            Some((location, scale, nu)) => location + (scale * student_t(&mut rng, nu)).max(0.0),
            None => f64::INFINITY,
        })
    }

    fn reward(&mut self, arm: Arm, value: f64) -> Result<(), RewardError> {
        check_reward(arm, self.n_arms(), value, f64::MIN, f64::MAX)?;
        self.tally.add(arm, value);
        Ok(())
    }
}
