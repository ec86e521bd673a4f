//! Linear contextual bandits: the reward of each arm is a linear function of the context plus noise.
//! In: contexts and rewards. Out: an arm, by upper confidence bound or by a draw from the posterior.
//! Called from: studies that tune per workload. Neighbour: `draw`.
//! Notation: x context `[d]`; per arm theta ~ N(theta_hat, sigma^2 C), C = (ridge I + sum x x')^-1
//! `[d, d]` row-major, symmetric; sigma^2 ~ InvGamma(a, b), shared by the arms.
//! Invariants: C stays symmetric with positive diagonal; the width of an arm never grows by learning.
//! Reference: Li, Chu, Langford and Schapire (2010), arXiv:1003.0146 (LinUCB, disjoint arms);
//! Agrawal and Goyal (2013), arXiv:1209.3352 (linear Thompson sampling); Plackett (1950) (recursive
//! least squares). The widths scale with the noise that was seen, so no unit has to be set.

use serde::{Deserialize, Serialize};

use super::draw::{generator, normal};
use super::tally::ARMS_MAX;
use super::{Arm, ContextualBandit, RewardError, best_arm, check_reward};
use crate::setting::{InvalidSetting, require};

/// Most features of a context: the state is `n_arms * d^2` numbers.
pub const FEATURES_MAX: usize = 512;

/// Most numbers that the matrices of all arms may hold together, 512 MB.
const STATE_LEN_MAX: usize = 64_000_000;

/// The knobs of a linear bandit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RidgeSettings {
    /// Prior precision of each coefficient in units of the noise, > 0. 1 (Li et al.) says that
    /// coefficients are of the size of the noise; smaller learns freer and explores wider.
    pub ridge: f64,
    /// Standard deviations of optimism, > 0: the `alpha` of LinUCB, the `v` of linear Thompson
    /// sampling. 1 by default, for both are calibrated by the noise seen.
    pub exploration: f64,
    /// Standard deviation of the noise expected before any reward, > 0, in the reward's unit. It
    /// counts as one reward, so it is soon outweighed.
    pub noise: f64,
}

impl Default for RidgeSettings {
    fn default() -> Self {
        RidgeSettings {
            ridge: 1.0,
            exploration: 1.0,
            noise: 1.0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ArmModel {
    theta_hat: Vec<f64>,
    covariance: Vec<f64>,
}

/// The least-squares models of all arms and the noise they share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct RidgeArms {
    settings: RidgeSettings,
    n_features: usize,
    arms: Vec<ArmModel>,
    /// Shape and rate of the noise variance's posterior.
    a: f64,
    b: f64,
}

impl RidgeArms {
    fn new(
        n_arms: usize,
        n_features: usize,
        settings: RidgeSettings,
    ) -> Result<Self, InvalidSetting> {
        require(
            (1..=ARMS_MAX).contains(&n_arms),
            "n_arms",
            n_arms as f64,
            "in 1..=100000",
        )?;
        let features_fit = (1..=FEATURES_MAX).contains(&n_features);
        require(features_fit, "n_features", n_features as f64, "in 1..=512")?;
        let state_len = n_arms * n_features * n_features;
        let state_fits = state_len <= STATE_LEN_MAX;
        require(
            state_fits,
            "n_arms * n_features^2",
            state_len as f64,
            "at most 64000000",
        )?;
        let RidgeSettings {
            ridge,
            exploration,
            noise,
        } = settings;
        for (field, value) in [
            ("ridge", ridge),
            ("exploration", exploration),
            ("noise", noise),
        ] {
            require(
                value > 0.0 && value < f64::INFINITY,
                field,
                value,
                "positive and finite",
            )?;
        }
        let mut covariance = vec![0.0; n_features * n_features];
        covariance
            .iter_mut()
            .step_by(n_features + 1)
            .for_each(|c| *c = 1.0 / ridge);
        let arm = ArmModel {
            theta_hat: vec![0.0; n_features],
            covariance,
        };
        let (a, b) = (0.5, 0.5 * noise * noise);
        Ok(RidgeArms {
            settings,
            n_features,
            arms: vec![arm; n_arms],
            a,
            b,
        })
    }

    fn check_context(&self, context: &[f64]) -> Result<(), RewardError> {
        if context.len() != self.n_features {
            return Err(RewardError::ContextLen {
                len: context.len(),
                expected: self.n_features,
            });
        }
        match context.iter().position(|x| !x.is_finite()) {
            Some(feature_idx) => Err(RewardError::ContextNotFinite {
                feature_idx,
                value: context[feature_idx],
            }),
            None => Ok(()),
        }
    }

    /// Mean of the reward and how far exploration may move it, in the reward's unit.
    fn predict(&self, arm: Arm, context: &[f64]) -> (f64, f64) {
        let model = &self.arms[arm];
        let spread = quadratic_form(&model.covariance, context).max(0.0);
        let step = self.settings.exploration * (spread * self.b / self.a).sqrt();
        (dot(&model.theta_hat, context), step)
    }

    fn learn(&mut self, arm: Arm, context: &[f64], value: f64) -> Result<(), RewardError> {
        check_reward(arm, self.arms.len(), value, f64::MIN, f64::MAX)?;
        self.check_context(context)?;
        let model = &mut self.arms[arm];
        let d = self.n_features;
        let gain: Vec<f64> = model
            .covariance
            .chunks_exact(d)
            .map(|row| dot(row, context))
            .collect();
        let q = 1.0 + dot(&gain, context).max(0.0);
        let surprise = value - dot(&model.theta_hat, context);
        let scaled = surprise / q;
        for (row, &g) in model.covariance.chunks_exact_mut(d).zip(&gain) {
            let factor = g / q;
            row.iter_mut()
                .zip(&gain)
                .for_each(|(c, &h)| *c -= factor * h);
        }
        model
            .theta_hat
            .iter_mut()
            .zip(&gain)
            .for_each(|(t, &g)| *t += scaled * g);
        self.a += 0.5;
        self.b = (self.b + 0.5 * scaled * surprise).min(f64::MAX);
        Ok(())
    }
}

/// LinUCB with one model per arm: mean plus `exploration` posterior deviations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinUcb {
    models: RidgeArms,
}

impl LinUcb {
    /// A policy over `n_arms` arms and contexts of `n_features` numbers.
    ///
    /// # Errors
    /// [`InvalidSetting`] for sizes or settings outside their ranges.
    pub fn new(
        n_arms: usize,
        n_features: usize,
        settings: RidgeSettings,
    ) -> Result<Self, InvalidSetting> {
        Ok(LinUcb {
            models: RidgeArms::new(n_arms, n_features, settings)?,
        })
    }

    /// Mean reward expected of `arm` in `context`, and its posterior deviation times `exploration`.
    ///
    /// # Errors
    /// [`RewardError`] for an unknown arm or an unusable context.
    pub fn predict(&self, arm: Arm, context: &[f64]) -> Result<(f64, f64), RewardError> {
        check_reward(arm, self.models.arms.len(), 0.0, 0.0, 0.0)?;
        self.models.check_context(context)?;
        Ok(self.models.predict(arm, context))
    }
}

impl ContextualBandit for LinUcb {
    fn n_arms(&self) -> usize {
        self.models.arms.len()
    }

    fn n_features(&self) -> usize {
        self.models.n_features
    }

    fn choose(&self, context: &[f64], seed: u64) -> Result<Arm, RewardError> {
        self.models.check_context(context)?;
        Ok(best_arm(self.n_arms(), seed, |arm| {
            let (mean, step) = self.models.predict(arm, context);
            mean + step
        }))
    }

    fn reward(&mut self, arm: Arm, context: &[f64], value: f64) -> Result<(), RewardError> {
        self.models.learn(arm, context, value)
    }
}

/// Linear Thompson sampling with one model per arm.
///
/// The arms' posteriors are independent, so drawing each arm's reward from `N(x theta_hat, x C x)`
/// is drawing theta itself, for one normal instead of a factorisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinThompson {
    models: RidgeArms,
}

impl LinThompson {
    /// A policy over `n_arms` arms and contexts of `n_features` numbers.
    ///
    /// # Errors
    /// [`InvalidSetting`] for sizes or settings outside their ranges.
    pub fn new(
        n_arms: usize,
        n_features: usize,
        settings: RidgeSettings,
    ) -> Result<Self, InvalidSetting> {
        Ok(LinThompson {
            models: RidgeArms::new(n_arms, n_features, settings)?,
        })
    }
}

impl ContextualBandit for LinThompson {
    fn n_arms(&self) -> usize {
        self.models.arms.len()
    }

    fn n_features(&self) -> usize {
        self.models.n_features
    }

    fn choose(&self, context: &[f64], seed: u64) -> Result<Arm, RewardError> {
        self.models.check_context(context)?;
        let mut rng = generator(seed);
        Ok(best_arm(self.n_arms(), seed, |arm| {
            let (mean, step) = self.models.predict(arm, context);
            mean + (step * normal(&mut rng)).max(0.0)
        }))
    }

    fn reward(&mut self, arm: Arm, context: &[f64], value: f64) -> Result<(), RewardError> {
        self.models.learn(arm, context, value)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `x' M x` for row-major `m` of shape `[d, d]`.
fn quadratic_form(m: &[f64], x: &[f64]) -> f64 {
    m.chunks_exact(x.len())
        .zip(x)
        .map(|(row, &xi)| xi * dot(row, x))
        .sum()
}
