//! One tuning problem: asks for points, is told what came of them, recommends.
//! In: a [`StudyConfig`], then outcomes. Out: [`Trial`]s; what to use is in [`advice`]. Called from: the service's
//! refinery, the ask/tell protocol, any program that tunes something.
//! Invariants: inside, everything is minimised, and directions flip in this folder and nowhere else; a point on a discrete
//! space is not suggested twice while another is left; the complete state serializes, and a restored study suggests
//! what the saved one would have; the same seed and the same calls give the same suggestions at any thread count.

pub mod advice;
mod config;
mod safety;
mod suggest;
mod view;

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

pub use self::advice::StopReason;
pub use self::config::{Direction, Safe, StudyConfig};
use self::view::UnitView;
use crate::error::{ConfigError, PointError, TellError};
use crate::gp::Surrogate;
use crate::pruning::Verdict;
use crate::sampler::{AnySampler, Sampler, SamplerKind};
use crate::seed::stream;
use crate::space::Point;
use crate::trial::{Observation, Outcome, Trial, TrialId, TrialState, Why};

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
    model: OnceLock<Option<Surrogate>>,
}

/// What is written down of a study; the rest follows from it.
#[derive(Serialize, Deserialize)]
struct SavedStudy {
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
            check_counts(&config, &observation.others, &observation.constraints)?;
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
            model: OnceLock::new(),
        })
    }
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
            model: OnceLock::new(),
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

    /// Closes a trial. The order of telling is free.
    ///
    /// # Errors
    /// [`TellError`]: the id was never asked, the trial was closed before, a value is missing or not finite, or the study
    /// is closed. The study is unchanged then; a trial whose values were refused stays pending.
    pub fn tell(&mut self, id: TrialId, outcome: Outcome) -> Result<(), TellError> {
        let (values, constraints) = match outcome {
            Outcome::Value(value) => (vec![value], Vec::new()),
            Outcome::Values {
                objectives,
                constraints,
            } => (objectives, constraints),
            Outcome::Failed => return self.lose(id, TrialState::Failed),
            Outcome::Pruned => return self.lose(id, TrialState::Pruned),
        };
        let index = self.pending(id)?;
        let counted = [
            ("objectives", values.len(), self.config.n_objectives()),
            ("constraints", constraints.len(), self.config.n_constraints),
        ];
        for (what, found, expected) in counted {
            if found != expected {
                return Err(TellError::Count {
                    id,
                    what,
                    found,
                    expected,
                });
            }
        }
        if let Some(&value) = values.iter().chain(&constraints).find(|v| !v.is_finite()) {
            let state = self.trials[index].state.name();
            return Err(TellError::NotFinite { id, value, state });
        }
        self.trials[index].state = TrialState::Told(values[0]);
        let point = self.trials[index].point.clone();
        self.remember(Observation {
            trial: Some(id),
            point,
            value: values[0],
            others: values[1..].to_vec(),
            constraints,
        });
        Ok(())
    }

    /// Notes an intermediate value (of the first objective) of a pending trial, and says whether it is worth going on.
    /// A stopped run is told as [`Outcome::Pruned`].
    ///
    /// # Errors
    /// [`TellError`]: as [`Study::tell`], or a step not above the one before.
    pub fn report(&mut self, id: TrialId, step: u64, value: f64) -> Result<Verdict, TellError> {
        let index = self.pending(id)?;
        if !value.is_finite() {
            let state = self.trials[index].state.name();
            return Err(TellError::NotFinite { id, value, state });
        }
        if let Some(&(last, _)) = self.trials[index].steps.last()
            && step <= last
        {
            return Err(TellError::StepOrder { id, step, last });
        }
        self.trials[index].steps.push((step, value));
        let Some(pruner) = self.config.pruner else {
            return Ok(Verdict::Continue);
        };
        let sign = self.config.direction.sign();
        let signed = |t: &Trial| {
            t.steps
                .iter()
                .map(|(s, v)| (*s, sign * v))
                .collect::<Vec<_>>()
        };
        let all: Vec<Vec<(u64, f64)>> = self.trials.iter().map(signed).collect();
        let others: Vec<&[(u64, f64)]> = (0..all.len())
            .filter(|i| *i != index)
            .map(|i| all[i].as_slice())
            .collect();
        Ok(pruner.judge(&all[index], &others))
    }

    /// Adds an observation that was not asked for: feedback from outside, or a warm start from earlier runs.
    ///
    /// # Errors
    /// [`PointError`] if the point is not of this space, a value is missing or not finite, or the study is closed.
    pub fn observe(&mut self, point: Point, value: f64) -> Result<(), PointError> {
        self.observe_all(Observation {
            trial: None,
            point,
            value,
            others: Vec::new(),
            constraints: Vec::new(),
        })
    }

    /// [`Study::observe`] with several objectives or constraints. The observation's trial is not looked at.
    ///
    /// # Errors
    /// As [`Study::observe`].
    pub fn observe_all(&mut self, observation: Observation) -> Result<(), PointError> {
        if self.is_closed {
            return Err(PointError::StudyClosed);
        }
        let mut observation = Observation {
            trial: None,
            ..observation
        };
        self.config.space.check(&observation.point)?;
        check_counts(&self.config, &observation.others, &observation.constraints)?;
        let values = std::iter::once(&observation.value)
            .chain(&observation.others)
            .chain(&observation.constraints);
        if let Some(&value) = values.into_iter().find(|v| !v.is_finite()) {
            return Err(PointError::NotFinite { value });
        }
        self.view.cube.settle(&mut observation.point);
        self.remember(observation);
        Ok(())
    }

    /// Takes over what another study was told, where its parameters have the same names and its points fit: a warm
    /// start. Returns how many observations were taken.
    pub fn learn_from(&mut self, other: &Self) -> usize {
        let (ours, theirs) = (&self.config.space, &other.config.space);
        let places: Option<Vec<usize>> = ours
            .parameters()
            .iter()
            .map(|p| theirs.index_of(&p.name))
            .collect();
        let Some(places) = places.filter(|_| {
            other.config.direction == self.config.direction
                && other.config.other_directions == self.config.other_directions
        }) else {
            return 0;
        };
        let moved = |o: &Observation| Observation {
            trial: None,
            point: Point(places.iter().map(|j| o.point.0[*j]).collect()),
            ..o.clone()
        };
        let all: Vec<Observation> = other.observations.iter().map(moved).collect();
        all.into_iter()
            .filter(|o| self.observe_all(o.clone()).is_ok())
            .count()
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

    fn remember(&mut self, observation: Observation) {
        self.view.told(&observation, &self.config);
        self.observations.push(observation);
        self.model = OnceLock::new();
    }

    /// The place of a trial that may still be told.
    fn pending(&self, id: TrialId) -> Result<usize, TellError> {
        let trial = self.trial(id).ok_or(TellError::Unknown { id })?;
        if trial.state != TrialState::Pending {
            let state = trial.state.name();
            return Err(TellError::AlreadyTold { id, state });
        }
        if self.is_closed {
            return Err(TellError::StudyClosed { id });
        }
        Ok(usize::try_from(id.0).expect("it is the index of a trial"))
    }

    fn lose(&mut self, id: TrialId, state: TrialState) -> Result<(), TellError> {
        let index = self.pending(id)?;
        self.trials[index].state = state;
        self.view.failed(id.0);
        Ok(())
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
            steps: Vec::new(),
        }
    }
}

fn check_counts(
    config: &StudyConfig,
    others: &[f64],
    constraints: &[f64],
) -> Result<(), PointError> {
    let counted = [
        ("objectives", 1 + others.len(), config.n_objectives()),
        ("constraints", constraints.len(), config.n_constraints),
    ];
    for (what, found, expected) in counted {
        if found != expected {
            return Err(PointError::Count {
                what,
                found,
                expected,
            });
        }
    }
    Ok(())
}
