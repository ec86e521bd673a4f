//! How well trials were predicted before they were told.
//! In: a [`Study`]. Out: pairs and shares. Called from: reports.
//! Invariants: only predictions that were made before the trial ran; those of a model that had seen too little to judge
//! itself are marked and counted apart.

use serde::{Deserialize, Serialize};

use crate::study::Study;
use crate::trial::{Prediction, TrialId, TrialState};

/// What was predicted and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// Which trial.
    pub trial: TrialId,
    /// What its sampler expected.
    pub prediction: Prediction,
    /// What was told.
    pub value: f64,
    /// Whether the model was in warm-up: it had seen fewer than [`warm_up`] observations.
    pub is_early: bool,
}

impl Predicted {
    /// Whether the value came inside the 95 % interval.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.prediction.lower <= self.value && self.value <= self.prediction.upper
    }
}

/// How well trials were predicted before they were told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Every prediction that has an outcome, in the order of asking.
    pub pairs: Vec<Predicted>,
    /// Share of outcomes inside their 95 % interval, those of the warm-up left out; `None` without any.
    pub coverage: Option<f64>,
    /// Median distance of prediction and outcome, in the objective's units, those of the warm-up left out; `None` without any.
    pub median_error: Option<f64>,
}

/// Observations that a model needs before its intervals mean what they say: it learns a length per parameter, a noise, a
/// trend and a shape, and from fewer rows than twice that it can't tell.
#[must_use]
pub fn warm_up(n_parameters: usize) -> usize {
    2 * (n_parameters + 3)
}

/// Predictions of the single objective made when trials were asked, beside what was told.
#[must_use]
pub fn calibration(study: &Study) -> Calibration {
    let least = warm_up(study.config().space.len());
    let pairs: Vec<Predicted> = study
        .trials()
        .iter()
        .filter_map(|trial| {
            let TrialState::Told(value) = trial.state else {
                return None;
            };
            Some(Predicted {
                trial: trial.id,
                prediction: trial.predicted?,
                value,
                is_early: trial.n_known < least,
            })
        })
        .collect();
    let judged: Vec<&Predicted> = pairs.iter().filter(|pair| !pair.is_early).collect();
    let n = judged.len();
    let inside = judged.iter().filter(|pair| pair.is_inside()).count();
    let distance = |pair: &&Predicted| (pair.prediction.mean - pair.value).abs();
    let mut errors: Vec<f64> = judged.iter().map(distance).collect();
    errors.sort_by(f64::total_cmp);
    Calibration {
        coverage: (n > 0).then(|| inside as f64 / n as f64),
        median_error: errors.get(n / 2).copied(),
        pairs,
    }
}
