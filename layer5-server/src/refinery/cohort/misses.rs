//! How wide an interval must be so that 95 % of the outcomes lie inside.
//! In: outcomes and what was predicted of them. Out: a half width in standard deviations. Called from: [`super`].

use std::collections::VecDeque;

use layer5_optimize::Prediction;
use serde::{Deserialize, Serialize};

/// Half the width of a 95 % interval in standard deviations.
pub(super) const Z95: f64 = 1.96;

/// How far outcomes were from their predictions, in the model's own standard deviations: what widens the next
/// intervals until 95 % of the outcomes lie inside (split conformal prediction, Lei et al. 2018).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Misses(VecDeque<f64>);

impl Misses {
    /// Outcomes remembered, and those needed before they are believed.
    const LEN_MAX: usize = 200;
    const LEN_MIN: usize = 20;

    pub(super) fn add(&mut self, miss: f64) {
        self.0.push_back(miss);
        if self.0.len() > Self::LEN_MAX {
            self.0.pop_front();
        }
    }

    /// Half the width of a 95 % interval in the model's standard deviations.
    pub(super) fn half_width(&self) -> f64 {
        if self.0.len() < Self::LEN_MIN {
            return Z95;
        }
        let mut sorted: Vec<f64> = self.0.iter().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let rank = ((sorted.len() + 1) as f64 * 0.95).ceil() as usize;
        sorted[rank.min(sorted.len()) - 1]
    }
}

/// The standard deviation of a prediction; a thousandth at least, which no measured outcome undercuts.
pub(super) fn deviation(p: &Prediction) -> f64 {
    ((p.upper - p.lower) / (2.0 * Z95)).max(1e-3)
}
