//! What a study is started with, checked once.
//! In: what a caller writes down. Out: [`StudyConfig`]. Called from: [`super`].

use serde::{Deserialize, Serialize};

use crate::acquisition::hypervolume::OBJECTIVES_MAX;
use crate::error::ConfigError;
use crate::limit::Limit;
use crate::pruning::Pruner;
use crate::sampler::SamplerKind;
use crate::space::{Point, Space};

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Lower values are better.
    #[default]
    Minimize,
    /// Higher values are better.
    Maximize,
}

impl Direction {
    pub(crate) fn sign(self) -> f64 {
        match self {
            Self::Minimize => 1.0,
            Self::Maximize => -1.0,
        }
    }
}

/// Suggest only what is expected to stay on the right side of a value, as often as stated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Safe {
    /// No value may be worse than this, in the caller's units and direction.
    pub worst: f64,
    /// With which probability a suggestion keeps that, by the model; inside 0.5..1.
    pub probability: f64,
    /// A point known to be safe: the first suggestion, from which the search spreads.
    pub start: Point,
}

/// A tuning problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudyConfig {
    /// What may be tuned.
    pub space: Space,
    /// Which way is better.
    pub direction: Direction,
    /// Which way is better for each further objective; empty where there is one.
    #[serde(default)]
    pub other_directions: Vec<Direction>,
    /// How many constraint values come with each outcome; each is kept where it is at most 0.
    #[serde(default)]
    pub n_constraints: usize,
    /// Where no suggestion may be.
    #[serde(default)]
    pub limits: Vec<Limit>,
    /// How far a suggestion may be from the incumbent along any ordered axis, as a share of the axis; above 0.
    #[serde(default)]
    pub step_max: Option<f64>,
    /// What every suggestion must be expected to keep; one objective only.
    #[serde(default)]
    pub safe: Option<Safe>,
    /// How bad runs are found from intermediate values (of the first objective).
    #[serde(default)]
    pub pruner: Option<Pruner>,
    /// Stop where the expected improvement is below this, in the objective's units, not negative; one objective only.
    #[serde(default)]
    pub stop_below: Option<f64>,
    /// Fixes every random choice.
    pub seed: u64,
    /// How many evaluations the caller means to spend, if known. Asking beyond it is allowed;
    /// [`super::Study::stop_reason`] says when it is spent.
    pub budget: Option<usize>,
    /// What suggests points.
    pub sampler: SamplerKind,
}

impl StudyConfig {
    /// Minimises over `space` with the portfolio, seed 0, and nothing else stated.
    #[must_use]
    pub fn new(space: Space) -> Self {
        Self {
            space,
            direction: Direction::Minimize,
            other_directions: Vec::new(),
            n_constraints: 0,
            limits: Vec::new(),
            step_max: None,
            safe: None,
            pruner: None,
            stop_below: None,
            seed: 0,
            budget: None,
            sampler: SamplerKind::Auto,
        }
    }

    /// How many objectives there are.
    #[must_use]
    pub fn n_objectives(&self) -> usize {
        1 + self.other_directions.len()
    }

    /// Sign that makes each objective one to be minimised.
    pub(crate) fn signs(&self) -> impl Iterator<Item = f64> {
        let others = self.other_directions.iter().map(|d| d.sign());
        std::iter::once(self.direction.sign()).chain(others)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.budget == Some(0) {
            return Err(ConfigError::BudgetZero);
        }
        let one = |feature| {
            let n_objectives = self.n_objectives();
            if n_objectives == 1 {
                Ok(())
            } else {
                Err(ConfigError::OneObjective {
                    feature,
                    n_objectives,
                })
            }
        };
        let (found, limit) = (self.n_objectives(), OBJECTIVES_MAX);
        if self.sampler == SamplerKind::Ehvi && found > limit {
            let sampler = self.sampler;
            return Err(ConfigError::UnfitObjectives {
                sampler,
                limit,
                found,
            });
        }
        if let Some(step) = self.step_max {
            setting(step > 0.0 && step.is_finite(), "step_max", step, "above 0")?;
        }
        if let Some(stop) = self.stop_below {
            one("stop_below")?;
            setting(
                stop >= 0.0 && stop.is_finite(),
                "stop_below",
                stop,
                "0 or above",
            )?;
        }
        if let Some(safe) = &self.safe {
            one("safe mode")?;
            let p = safe.probability;
            setting(p > 0.5 && p < 1.0, "probability", p, "inside 0.5..1")?;
            setting(safe.worst.is_finite(), "worst", safe.worst, "finite")?;
            self.space
                .check(&safe.start)
                .map_err(ConfigError::SafeStart)?;
        }
        Ok(())
    }
}

fn setting(
    holds: bool,
    field: &'static str,
    value: f64,
    must_be: &'static str,
) -> Result<(), ConfigError> {
    if holds {
        Ok(())
    } else {
        Err(ConfigError::Setting {
            field,
            value,
            must_be,
        })
    }
}
