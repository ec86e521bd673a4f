//! A contextual bandit whose arms may pay in any smooth way: linear Thompson sampling over products and random waves of
//! the context.
//! In: contexts and rewards. Out: an arm. Called from: programs whose best arm depends on a context, and not linearly.
//! Notation: context `x` `[d]`; features: 1, `x`, every product `x_i x_j` while there are at most [`PRODUCTS_MAX`], and
//! waves `cos(w . x + b)` with normal `w / scale` and even `b`.
//! Invariants: the waves follow from the seed given at the start, so a saved policy goes on as it was.
//! Reference: Rahimi and Recht (2007), "Random features for large-scale kernel machines".

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::draw::{generator, normal};
use super::{Arm, ContextualBandit, LinThompson, RewardError, RidgeSettings};
use crate::setting::{InvalidSetting, require};
use rand::RngExt;

/// Products of two context features are used up to so many.
pub const PRODUCTS_MAX: usize = 66;

/// What the features of a [`NonlinearThompson`] are made of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WaveSettings {
    /// Random waves, 0..=256: more follow finer shapes and cost their square per decision.
    pub n_waves: usize,
    /// Distance of contexts over which rewards change, above 0, in the context's unit.
    pub scale: f64,
    /// Fixes the waves.
    pub seed: u64,
}

impl Default for WaveSettings {
    fn default() -> Self {
        Self {
            n_waves: 32,
            scale: 1.0,
            seed: 0,
        }
    }
}

/// The policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NonlinearThompson {
    n_features: usize,
    /// Wave vectors, row by row, and phases.
    waves: Vec<f64>,
    phases: Vec<f64>,
    linear: LinThompson,
}

impl NonlinearThompson {
    /// A policy over `n_arms` with contexts of `n_features`.
    ///
    /// # Errors
    /// [`InvalidSetting`] naming the one that does not fit.
    pub fn new(
        n_arms: usize,
        n_features: usize,
        ridge: RidgeSettings,
        waves: WaveSettings,
    ) -> Result<Self, InvalidSetting> {
        let WaveSettings {
            n_waves,
            scale,
            seed,
        } = waves;
        require(n_waves <= 256, "n_waves", n_waves as f64, "at most 256")?;
        require(scale > 0.0 && scale.is_finite(), "scale", scale, "above 0")?;
        require(n_features > 0, "n_features", 0.0, "1 or more")?;
        let mut rng = generator(seed);
        let vectors = (0..n_waves * n_features)
            .map(|_| normal(&mut rng) / scale)
            .collect();
        let phases = (0..n_waves)
            .map(|_| rng.random_range(0.0..2.0 * PI))
            .collect();
        let n_mapped = 1 + n_features + n_products(n_features) + n_waves;
        Ok(Self {
            n_features,
            waves: vectors,
            phases,
            linear: LinThompson::new(n_arms, n_mapped, ridge)?,
        })
    }

    fn map(&self, x: &[f64]) -> Result<Vec<f64>, RewardError> {
        if x.len() != self.n_features {
            return Err(RewardError::ContextLen {
                len: x.len(),
                expected: self.n_features,
            });
        }
        if let Some(feature_idx) = x.iter().position(|v| !v.is_finite()) {
            return Err(RewardError::ContextNotFinite {
                feature_idx,
                value: x[feature_idx],
            });
        }
        let mut mapped = vec![1.0];
        mapped.extend_from_slice(x);
        if n_products(self.n_features) > 0 {
            for i in 0..x.len() {
                mapped.extend(x[..=i].iter().map(|v| v * x[i]));
            }
        }
        // Together the waves are as large as one feature.
        let height = (2.0 / self.phases.len().max(1) as f64).sqrt();
        for (wave, phase) in self.waves.chunks_exact(self.n_features).zip(&self.phases) {
            mapped.push(height * (crate::linalg::dot(wave, x) + phase).cos());
        }
        Ok(mapped)
    }
}

fn n_products(n_features: usize) -> usize {
    let n = n_features * (n_features + 1) / 2;
    if n <= PRODUCTS_MAX { n } else { 0 }
}

impl ContextualBandit for NonlinearThompson {
    fn n_arms(&self) -> usize {
        self.linear.n_arms()
    }

    fn n_features(&self) -> usize {
        self.n_features
    }

    fn choose(&self, context: &[f64], seed: u64) -> Result<Arm, RewardError> {
        self.linear.choose(&self.map(context)?, seed)
    }

    fn reward(&mut self, arm: Arm, context: &[f64], value: f64) -> Result<(), RewardError> {
        self.linear.reward(arm, &self.map(context)?, value)
    }
}
