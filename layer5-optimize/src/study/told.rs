//! What a study is told: outcomes, intermediate values, results that were not asked for, another study's.
//! In: values in the caller's units and directions. Out: a verdict, or why it is refused. Called from: callers of [`Study`].
//! Invariants: what is refused changes nothing; a trial is closed once; values that are kept are finite.

use std::cell::OnceCell;

use super::Study;
use super::config::StudyConfig;
use crate::error::{PointError, TellError};
use crate::pruning::Verdict;
use crate::space::{Point, Value};
use crate::trial::{Observation, Outcome, Trial, TrialId, TrialState};

/// Intermediate values of one trial, at most.
pub const STEPS_MAX: usize = 10_000;

impl Study {
    /// Closes a trial. The order of telling is free.
    ///
    /// # Errors
    /// [`TellError`]: the id was never asked, the trial was closed before, a value is missing or not finite, or the study
    /// is closed. The study is unchanged then; a trial whose values were refused stays pending.
    pub fn tell(&mut self, id: TrialId, outcome: Outcome) -> Result<(), TellError> {
        let (values, constraints, noise_sd) = match outcome {
            Outcome::Value(value) => (vec![value], Vec::new(), Vec::new()),
            Outcome::Values {
                objectives,
                constraints,
                noise_sd,
            } => (objectives, constraints, noise_sd),
            Outcome::Failed => return self.lose(id, TrialState::Failed),
            Outcome::Pruned => return self.lose(id, TrialState::Pruned),
        };
        let index = self.pending(id)?;
        let counts = (values.len(), constraints.len(), noise_sd.len());
        if let Some((what, found, expected)) = miscounted(&self.config, counts) {
            return Err(TellError::Count {
                id,
                what,
                found,
                expected,
            });
        }
        if let Some(&value) = values.iter().chain(&constraints).find(|v| !v.is_finite()) {
            let state = self.trials[index].state.name();
            return Err(TellError::NotFinite { id, value, state });
        }
        if let Some(&sd) = noise_sd.iter().find(|sd| !is_noise(**sd)) {
            return Err(TellError::Noise { id, sd });
        }
        self.trials[index].state = TrialState::Told(values[0]);
        let point = self.trials[index].point.clone();
        self.remember(Observation {
            trial: Some(id),
            point,
            value: values[0],
            others: values[1..].to_vec(),
            constraints,
            noise_sd,
        });
        Ok(())
    }

    /// Notes an intermediate value (of the first objective) of a pending trial, and says whether it is worth going on.
    /// A stopped run is told as [`Outcome::Pruned`].
    ///
    /// # Errors
    /// [`TellError`]: as [`Study::tell`], a step not above the one before, or more than [`STEPS_MAX`] of them.
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
        if self.trials[index].steps.len() >= STEPS_MAX {
            let limit = STEPS_MAX;
            return Err(TellError::TooManySteps { id, limit });
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
        self.observe_all(Observation::at(point, value))
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
        check_counts(&self.config, &observation)?;
        let values = std::iter::once(&observation.value)
            .chain(&observation.others)
            .chain(&observation.constraints);
        if let Some(&value) = values.into_iter().find(|v| !v.is_finite()) {
            return Err(PointError::NotFinite { value });
        }
        if let Some(&sd) = observation.noise_sd.iter().find(|sd| !is_noise(**sd)) {
            return Err(PointError::Noise { sd });
        }
        self.view.cube.settle(&mut observation.point);
        self.remember(observation);
        Ok(())
    }

    /// Takes over what another study was told, where it has every parameter of this one and its points fit: a warm start.
    /// Choices are the same where their names are. Returns how many observations were taken.
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
        let value = |here: usize, there: usize, o: &Observation| match o.point.0[there] {
            value @ Value::Choice(_) => {
                let name = theirs.choice_name(there, value)?;
                ours.parameters()[here].domain.choice(name)
            }
            value => Some(value),
        };
        let moved = |o: &Observation| {
            let values = places.iter().enumerate();
            let values: Option<Vec<Value>> = values.map(|(i, &j)| value(i, j, o)).collect();
            Some(Observation {
                trial: None,
                point: Point(values?),
                ..o.clone()
            })
        };
        let all: Vec<Observation> = other.observations.iter().filter_map(moved).collect();
        all.into_iter()
            .filter(|o| self.observe_all(o.clone()).is_ok())
            .count()
    }

    fn remember(&mut self, observation: Observation) {
        self.view.told(&observation, &self.config);
        self.observations.push(observation);
        self.model = OnceCell::new();
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
}

pub(super) fn check_counts(
    config: &StudyConfig,
    observation: &Observation,
) -> Result<(), PointError> {
    let counts = (
        1 + observation.others.len(),
        observation.constraints.len(),
        observation.noise_sd.len(),
    );
    match miscounted(config, counts) {
        None => Ok(()),
        Some((what, found, expected)) => Err(PointError::Count {
            what,
            found,
            expected,
        }),
    }
}

/// What there is not one of for each, how many were found, and how many should be.
fn miscounted(
    config: &StudyConfig,
    (objectives, constraints, noise): (usize, usize, usize),
) -> Option<(&'static str, usize, usize)> {
    let m = config.n_objectives();
    let counted = [
        ("objectives", objectives, m),
        ("constraints", constraints, config.n_constraints),
        ("noise_sd", noise, if noise == 0 { 0 } else { m }),
    ];
    counted
        .into_iter()
        .find(|(_, found, expected)| found != expected)
}

/// Whether this may be the standard deviation of a value.
fn is_noise(sd: f64) -> bool {
    sd >= 0.0 && sd.is_finite()
}
