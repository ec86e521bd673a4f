//! A study as it is written down, and taken up again.
//! In: a [`Study`], or what was saved of one. Out: the other. Called from: serde. Invariants: everything that decides the
//! next suggestion is written; the rest is derived in the order in which it was told, so a restored study goes on alike.

use std::cell::OnceCell;

use serde::{Deserialize, Serialize};

use super::Study;
use super::config::StudyConfig;
use super::told::check_counts;
use super::view::UnitView;
use crate::error::{ConfigError, PointError};
use crate::sampler::AnySampler;
use crate::trial::{Observation, Trial, TrialState};

/// What is written down of a study; the rest follows from it.
#[derive(Serialize, Deserialize)]
pub(super) struct SavedStudy {
    config: StudyConfig,
    trials: Vec<Trial>,
    observations: Vec<Observation>,
    sampler: AnySampler,
    #[serde(default)]
    is_closed: bool,
}

/// Why a saved study cannot be taken up again.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// Its configuration is not valid.
    #[error("saved study: {0}")]
    Config(#[from] ConfigError),
    /// One of its points or values is not of its space.
    #[error("saved study: {0}")]
    Point(#[from] PointError),
}

impl From<Study> for SavedStudy {
    fn from(study: Study) -> Self {
        let Study {
            config,
            trials,
            observations,
            sampler,
            is_closed,
            view: _,
            model: _,
        } = study;
        Self {
            config,
            trials,
            observations,
            sampler,
            is_closed,
        }
    }
}

impl TryFrom<SavedStudy> for Study {
    type Error = RestoreError;
    fn try_from(saved: SavedStudy) -> Result<Self, RestoreError> {
        let SavedStudy {
            config,
            trials,
            observations,
            sampler,
            is_closed,
        } = saved;
        config.check()?;
        let mut view = UnitView::new(&config)?;
        for trial in &trials {
            config.space.check(&trial.point)?;
            view.asked(trial);
        }
        for observation in &observations {
            config.space.check(&observation.point)?;
            check_counts(&config, observation)?;
            view.told(observation, &config);
        }
        let lost = |t: &&Trial| matches!(t.state, TrialState::Failed | TrialState::Pruned);
        for trial in trials.iter().filter(lost) {
            view.failed(trial.id.0);
        }
        Ok(Self {
            config,
            trials,
            observations,
            sampler,
            is_closed,
            view,
            model: OnceCell::new(),
        })
    }
}
