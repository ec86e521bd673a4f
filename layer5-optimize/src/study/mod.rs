//! One tuning problem: asks for points, is told what came of them, recommends.
//! In: a [`StudyConfig`], then outcomes (`told`). Out: [`Trial`]s; what to use is in [`advice`]. Called from: the service's
//! refinery, the ask/tell protocol, any program that tunes something.
//! Invariants: inside, everything is minimised, and directions flip in this folder and nowhere else; a point on a discrete
//! space is not suggested twice while another is left; the complete state serializes, and a restored study suggests
//! what the saved one would have; the same seed and the same calls give the same suggestions at any thread count.

pub mod advice;
mod config;
mod safety;
mod saved;
mod suggest;
mod told;
mod view;

use std::cell::OnceCell;

use serde::{Deserialize, Serialize};

pub use self::advice::StopReason;
pub use self::config::{Direction, Safe, StudyConfig};
pub use self::saved::RestoreError;
use self::saved::SavedStudy;
pub use self::told::STEPS_MAX;
use self::view::UnitView;
use crate::error::ConfigError;
use crate::gp::Surrogate;
use crate::sampler::{AnySampler, Sampler, SamplerKind};
use crate::seed::stream;
use crate::trial::{Observation, Trial, TrialId, TrialState, Why};

/// One tuning problem and everything told about it.
///
/// # Example
/// ```
/// use layer5_optimize::{Domain, Outcome, Parameter, Space, Study, StudyConfig, Value};
/// let space = Space::new(vec![Parameter::new("x", Domain::float(-5.0, 5.0))])?;
/// let mut study = Study::new(StudyConfig::new(space))?;
/// for _ in 0..15 {
///     let trial = study.ask();
///     let Value::Float(x) = trial.point.values()[0] else { unreachable!() };
///     study.tell(trial.id, Outcome::Value((x - 1.0).powi(2)))?;
/// }
/// let best = study.recommend().expect("something was told");
/// assert!(best.predicted.mean < 0.01);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "SavedStudy", into = "SavedStudy")]
pub struct Study {
    config: StudyConfig,
    trials: Vec<Trial>,
    observations: Vec<Observation>,
    sampler: AnySampler,
    is_closed: bool,
    view: UnitView,
    /// What advice rests on: fitted when it is first asked for after something was told.
    model: OnceCell<Option<Surrogate>>,
}

impl Study {
    /// Starts a study. With several objectives `auto` looks at them from another side in every trial (ParEGO, Knowles
    /// 2006), by the Gaussian process.
    ///
    /// # Errors
    /// [`ConfigError`] for a setting outside its range, limits that leave nothing, or a sampler that cannot search the
    /// space.
    pub fn new(config: StudyConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let view = UnitView::new(&config)?;
        let kind = match config.sampler {
            SamplerKind::Auto if config.n_objectives() > 1 => SamplerKind::Gp,
            kind => kind,
        };
        let sampler = AnySampler::new(kind, &view.cube)?;
        Ok(Self {
            config,
            trials: Vec::new(),
            observations: Vec::new(),
            sampler,
            is_closed: false,
            view,
            model: OnceCell::new(),
        })
    }

    /// Suggests the next point. Any number of trials may be pending: each is expected to come out as the model says
    /// until it is told, so that parallel workers get different points. A closed study gives its best point, marked
    /// [`Why::StudyClosed`], which is no trial.
    pub fn ask(&mut self) -> Trial {
        let id = TrialId(self.trials.len() as u64);
        if self.is_closed {
            return self.last_word(id);
        }
        let mut rng = stream(self.config.seed, id.0);
        let look = self.view.look(&self.config, id.0);
        let known = self.view.known(&self.config, look.as_ref(), id.0);
        let proposal = self.sampler.propose(&known, &mut rng);
        let (point, moved) =
            suggest::admitted(&self.config, &self.view, &known, &proposal.unit, &mut rng);
        let is_wish = point == self.view.cube.from_unit(&proposal.unit);
        let expected = proposal.expected.filter(|_| is_wish && look.is_none());
        let trial = Trial {
            id,
            point,
            state: TrialState::Pending,
            proposed_by: proposal.by,
            why: moved.unwrap_or(proposal.why),
            predicted: expected.map(|expected| self.to_prediction(expected)),
            n_known: self.observations.len(),
            steps: Vec::new(),
        };
        self.view.asked(&trial);
        self.trials.push(trial.clone());
        trial
    }

    /// Suggests `n` points to be evaluated at the same time.
    pub fn ask_n(&mut self, n: usize) -> Vec<Trial> {
        (0..n).map(|_| self.ask()).collect()
    }

    /// Ends the study: nothing can be told any more, and pending trials stay pending for good.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether [`Study::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Every trial, in the order of asking.
    #[must_use]
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }

    /// The trial with this id.
    #[must_use]
    pub fn trial(&self, id: TrialId) -> Option<&Trial> {
        self.trials.get(usize::try_from(id.0).ok()?)
    }

    /// Every observation, in the order of telling.
    #[must_use]
    pub fn observations(&self) -> &[Observation] {
        &self.observations
    }

    /// What the study was started with.
    #[must_use]
    pub fn config(&self) -> &StudyConfig {
        &self.config
    }

    fn last_word(&self, id: TrialId) -> Trial {
        let middle = || self.view.cube.from_unit(&vec![0.5; self.view.cube.len()]);
        Trial {
            id,
            point: self.incumbent().map_or_else(middle, |o| o.point.clone()),
            state: TrialState::Failed,
            proposed_by: self.config.sampler,
            why: Why::StudyClosed,
            predicted: None,
            n_known: self.observations.len(),
            steps: Vec::new(),
        }
    }
}
