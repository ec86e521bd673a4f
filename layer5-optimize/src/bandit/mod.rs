//! Bandits: choose one of K arms again and again, learn from the rewards, lose little on the way.
//! In: a seed per decision (and a context), rewards as they arrive. Out: an arm.
//! Called from: a study whose parameters are few and discrete, and any program with K options.
//! Invariants: `choose` is a pure function of state and seed, so a decision can be replayed; all
//! state is plain data; rewards may come late, in any order or never; nothing not finite enters.
//! Reference: Lattimore and Szepesvari, *Bandit Algorithms* (2020).
//!
//! | policy | rewards | when |
//! |---|---|---|
//! | [`BernoulliThompson`] | 0..=1 | the default for shares and successes |
//! | [`GaussianThompson`] | any finite | latencies, costs: mean and variance both unknown |
//! | [`KlUcb`], [`Ucb1`] | 0..=1 | decisions without chance, with a guarantee |
//! | [`LinUcb`], [`LinThompson`] | any finite | the best arm depends on a context |
//! | [`NonlinearThompson`] | any finite | it does so, but not linearly |
//! | [`BestArm`] | 0..=1 | one answer with a stated confidence, no earning on the way |
//!
//! Every policy without a context takes a [`Memory`]: all rewards, the last ones, or fading ones.
//!
//! # Example
//! ```
//! use layer5_optimize::bandit::{Bandit, BernoulliThompson, Memory};
//!
//! let mut policy = BernoulliThompson::new(2, Memory::Forever)?;
//! for seed in 0..200 {
//!     let arm = policy.choose(seed);
//!     policy.reward(arm, if arm == 1 { 1.0 } else { 0.0 })?;
//! }
//! assert!(policy.tally().weight(1) > 150.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bernoulli;
mod best_arm;
mod draw;
mod gaussian;
mod kl_ucb;
mod linear;
mod nonlinear;
mod off_policy;
mod tally;
mod ucb;

pub use bernoulli::BernoulliThompson;
pub use best_arm::BestArm;
pub use gaussian::{GaussianPrior, GaussianThompson};
pub use kl_ucb::KlUcb;
pub use linear::{FEATURES_MAX, LinThompson, LinUcb, RidgeSettings};
pub use nonlinear::{NonlinearThompson, PRODUCTS_MAX, WaveSettings};
pub use off_policy::{LogError, LoggedDecision, PolicyValue, doubly_robust, inverse_propensity};
pub use tally::{ARMS_MAX, Memory, Tally, WINDOW_LEN_MAX};
pub use ucb::Ucb1;

use thiserror::Error;

/// Index of an arm, `0..n_arms`.
pub type Arm = usize;

/// A policy over arms that look the same at every decision.
pub trait Bandit {
    /// Number of arms, at least 1.
    fn n_arms(&self) -> usize;

    /// The arm to pull now. The same state and seed always give the same arm; use a fresh seed for
    /// every decision. Several decisions may be taken before any reward is known.
    fn choose(&self, seed: u64) -> Arm;

    /// Learns that `arm` earned `value` (higher is better). Rewards may arrive late and in any order.
    ///
    /// # Errors
    /// [`RewardError`] when the arm does not exist or the value is outside what the policy takes;
    /// nothing has changed then.
    fn reward(&mut self, arm: Arm, value: f64) -> Result<(), RewardError>;

    /// Share of `n_draws` decisions from this state that fall on each arm, shape `[n_arms]`, sum 1:
    /// the propensities that [`inverse_propensity`] needs.
    /// # Cost `n_draws` decisions.
    fn propensities(&self, n_draws: u32, seed: u64) -> Vec<f64> {
        let mut shares = vec![0.0; self.n_arms()];
        let n_draws = n_draws.max(1);
        for draw in 0..u64::from(n_draws) {
            shares[self.choose(draw::mix(seed, draw))] += 1.0 / f64::from(n_draws);
        }
        shares
    }
}

/// A policy whose arms pay differently in different contexts.
pub trait ContextualBandit {
    /// Number of arms, at least 1.
    fn n_arms(&self) -> usize;

    /// Length of every context.
    fn n_features(&self) -> usize;

    /// The arm to pull in `context` (shape `[n_features]`, finite, of order 1; put a 1 in it for an
    /// intercept). The same state, context and seed always give the same arm.
    ///
    /// # Errors
    /// [`RewardError::ContextLen`] or [`RewardError::ContextNotFinite`].
    fn choose(&self, context: &[f64], seed: u64) -> Result<Arm, RewardError>;

    /// Learns that `arm`, pulled in `context`, earned `value` (higher is better).
    ///
    /// # Errors
    /// Any [`RewardError`]; nothing has changed then.
    fn reward(&mut self, arm: Arm, context: &[f64], value: f64) -> Result<(), RewardError>;
}

/// Why a reward or a context was refused.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum RewardError {
    /// The arm does not exist.
    #[error("arm {arm} does not exist, there are {n_arms}")]
    UnknownArm {
        /// The arm that was named.
        arm: Arm,
        /// Arms of this policy.
        n_arms: usize,
    },
    /// The reward is NaN or outside the range that the policy takes.
    #[error("reward {value} is outside {low}..={high}")]
    OutOfRange {
        /// The reward that was told.
        value: f64,
        /// Least reward taken.
        low: f64,
        /// Greatest reward taken.
        high: f64,
    },
    /// The context has the wrong number of features.
    #[error("context has {len} features, the policy was made for {expected}")]
    ContextLen {
        /// Features in the context.
        len: usize,
        /// Features of the policy.
        expected: usize,
    },
    /// A feature of the context is NaN or infinite.
    #[error("feature {feature_idx} of the context is {value}, it must be finite")]
    ContextNotFinite {
        /// Position in the context.
        feature_idx: usize,
        /// The value found there.
        value: f64,
    },
}

fn check_reward(
    arm: Arm,
    n_arms: usize,
    value: f64,
    low: f64,
    high: f64,
) -> Result<(), RewardError> {
    if arm >= n_arms {
        return Err(RewardError::UnknownArm { arm, n_arms });
    }
    if !(value >= low && value <= high) {
        return Err(RewardError::OutOfRange { value, low, high });
    }
    Ok(())
}

/// The arm with the greatest score. Ties go to the first met from a place that the seed chooses, so
/// that decisions taken before any reward do not all fall on arm 0.
fn best_arm(n_arms: usize, seed: u64, mut score: impl FnMut(Arm) -> f64) -> Arm {
    let start = (draw::mix(seed, 0) % n_arms as u64) as usize;
    let mut best = (start, f64::NEG_INFINITY);
    for arm in (start..n_arms).chain(0..start) {
        let value = score(arm);
        if value > best.1 {
            best = (arm, value);
        }
    }
    best.0
}
