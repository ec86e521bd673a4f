//! One tuning problem: asks for points, is told what came of them, recommends.
//! In: a [`StudyConfig`], then outcomes. Out: [`Trial`]s, [`Prediction`]s, a [`Recommendation`]. Called from: the service's
//! refinery, the ask/tell protocol, any program that tunes something.
//! Invariants: inside, everything is minimised, and the direction flips here and nowhere else; a point on a discrete
//! space is not suggested twice while another is left; the complete state serializes, and a restored study suggests
//! what the saved one would have; the same seed and the same calls give the same suggestions at any thread count.

use std::collections::BTreeSet;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::error::{ConfigError, PointError, TellError};
use crate::gp::Surrogate;
use crate::random::even_draw;
use crate::sampler::{AnySampler, Expected, Known, Sampler, SamplerKind};
use crate::seed::stream;
use crate::space::{Point, Space, Value};
use crate::trial::{
    Observation, Outcome, Prediction, Recommendation, Trial, TrialId, TrialState, Why,
};
use crate::unit_cube::UnitCube;

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
    fn sign(self) -> f64 {
        match self {
            Self::Minimize => 1.0,
            Self::Maximize => -1.0,
        }
    }
}

/// A tuning problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudyConfig {
    /// What may be tuned.
    pub space: Space,
    /// Which way is better.
    pub direction: Direction,
    /// Fixes every random choice.
    pub seed: u64,
    /// How many evaluations the caller means to spend, if known. It is kept with the study and handed to every sampler;
    /// none of them plans by it. Asking beyond it is allowed.
    pub budget: Option<usize>,
    /// What suggests points.
    pub sampler: SamplerKind,
}

impl StudyConfig {
    /// Minimises over `space` with the portfolio, seed 0 and no stated budget.
    #[must_use]
    pub fn new(space: Space) -> Self {
        Self {
            space,
            direction: Direction::Minimize,
            seed: 0,
            budget: None,
            sampler: SamplerKind::Auto,
        }
    }
}

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
#[serde(try_from = "SavedStudy")]
pub struct Study {
    config: StudyConfig,
    trials: Vec<Trial>,
    observations: Vec<Observation>,
    sampler: AnySampler,
    #[serde(skip)]
    unit: UnitView,
}

/// What is written down of a study; the rest follows from it.
#[derive(Deserialize)]
struct SavedStudy {
    config: StudyConfig,
    trials: Vec<Trial>,
    observations: Vec<Observation>,
    sampler: AnySampler,
}

impl TryFrom<SavedStudy> for Study {
    type Error = PointError;
    fn try_from(saved: SavedStudy) -> Result<Self, PointError> {
        let SavedStudy {
            config,
            trials,
            observations,
            sampler,
        } = saved;
        for point in trials
            .iter()
            .map(|t| &t.point)
            .chain(observations.iter().map(|o| &o.point))
        {
            config.space.check(point)?;
        }
        let mut unit = UnitView::new(&config.space);
        for trial in &trials {
            unit.asked(trial);
        }
        for observation in &observations {
            unit.told(observation, config.direction.sign());
        }
        for trial in trials.iter().filter(|t| t.state == TrialState::Failed) {
            unit.failed(trial.id.0);
        }
        Ok(Self {
            config,
            trials,
            observations,
            sampler,
            unit,
        })
    }
}

/// The same facts in the unit cube, to be minimised: derived, never saved.
#[derive(Debug, Clone, Default)]
struct UnitView {
    cube: Option<UnitCube>,
    x: Vec<Vec<f64>>,
    y: Vec<f64>,
    trial: Vec<Option<u64>>,
    pending: Vec<(u64, Vec<f64>)>,
    failed: Vec<(u64, Vec<f64>)>,
    seen: BTreeSet<Vec<u64>>,
}

impl UnitView {
    fn new(space: &Space) -> Self {
        Self {
            cube: Some(UnitCube::new(space)),
            ..Self::default()
        }
    }

    fn cube(&self) -> &UnitCube {
        self.cube
            .as_ref()
            .expect("every constructor of a study sets the cube")
    }

    fn asked(&mut self, trial: &Trial) {
        self.seen.insert(key(&trial.point));
        self.pending
            .push((trial.id.0, self.cube().to_unit(&trial.point)));
    }

    fn told(&mut self, observation: &Observation, sign: f64) {
        let id = observation.trial.map(|id| id.0);
        self.seen.insert(key(&observation.point));
        self.pending.retain(|(pending, _)| Some(*pending) != id);
        self.x.push(self.cube().to_unit(&observation.point));
        self.y.push(sign * observation.value);
        self.trial.push(id);
    }

    fn failed(&mut self, id: u64) {
        if let Some(at) = self.pending.iter().position(|(pending, _)| *pending == id) {
            // By number, not by time, so that a restored study lists them alike.
            let place = self.failed.partition_point(|(other, _)| *other < id);
            self.failed.insert(place, self.pending.remove(at));
        }
    }
}

impl Study {
    /// Starts a study.
    ///
    /// # Errors
    /// [`ConfigError`] for a budget of 0, or a sampler that cannot search the space.
    pub fn new(config: StudyConfig) -> Result<Self, ConfigError> {
        if config.budget == Some(0) {
            return Err(ConfigError::BudgetZero);
        }
        let unit = UnitView::new(&config.space);
        let sampler = AnySampler::new(config.sampler, unit.cube())?;
        Ok(Self {
            config,
            trials: Vec::new(),
            observations: Vec::new(),
            sampler,
            unit,
        })
    }

    /// Suggests the next point. Any number of trials may be pending: each is expected to come out as the model says
    /// until it is told, so that parallel workers get different points.
    pub fn ask(&mut self) -> Trial {
        let id = TrialId(self.trials.len() as u64);
        let mut rng = stream(self.config.seed, id.0);
        let known = known(&self.config, &self.unit, id.0);
        let proposal = self.sampler.propose(&known, &mut rng);
        let mut why = proposal.why;
        let mut predicted = proposal
            .expected
            .map(|expected| self.to_prediction(expected));
        let mut point = self.unit.cube().from_unit(&proposal.unit);
        if self.unit.seen.contains(&key(&point)) {
            predicted = None;
            match self.unseen_near(&proposal.unit, &mut rng) {
                Some(other) => point = other,
                None => why = Why::SpaceExhausted,
            }
        }
        let state = TrialState::Pending;
        let trial = Trial {
            id,
            point,
            state,
            proposed_by: proposal.by,
            why,
            predicted,
        };
        self.unit.asked(&trial);
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
    /// [`TellError`]: the id was never asked, the trial was closed before, or the value is not finite. The study is
    /// unchanged then; a trial whose value was not finite stays pending.
    pub fn tell(&mut self, id: TrialId, outcome: Outcome) -> Result<(), TellError> {
        let index = usize::try_from(id.0).unwrap_or(usize::MAX);
        let trial = self
            .trials
            .get_mut(index)
            .ok_or(TellError::Unknown { id })?;
        let state = trial.state.name();
        if trial.state != TrialState::Pending {
            return Err(TellError::AlreadyTold { id, state });
        }
        match outcome {
            Outcome::Value(value) if value.is_finite() => {
                trial.state = TrialState::Told(value);
                let point = trial.point.clone();
                self.remember(Observation {
                    trial: Some(id),
                    point,
                    value,
                });
            }
            Outcome::Value(value) => return Err(TellError::NotFinite { id, value, state }),
            Outcome::Failed => {
                trial.state = TrialState::Failed;
                self.unit.failed(id.0);
            }
        }
        Ok(())
    }

    /// Adds an observation that was not asked for: feedback from outside, or a warm start from earlier runs.
    ///
    /// # Errors
    /// [`PointError`] if the point is not of this space or the value is not finite.
    pub fn observe(&mut self, point: Point, value: f64) -> Result<(), PointError> {
        self.config.space.check(&point)?;
        if !value.is_finite() {
            return Err(PointError::NotFinite { value });
        }
        self.remember(Observation {
            trial: None,
            point,
            value,
        });
        Ok(())
    }

    /// The best observation, the earliest of equals; `None` before the first. Under noise it is biased: the luckiest of
    /// several good points wins. [`Study::recommend`] is not.
    #[must_use]
    pub fn incumbent(&self) -> Option<&Observation> {
        let best = known(&self.config, &self.unit, 0).best()?;
        Some(&self.observations[best])
    }

    /// The point to use, and what to expect of it: the incumbent where the observations look exact, the minimum of the
    /// posterior mean where they look noisy. `None` before the first observation.
    ///
    /// # Cost
    /// Fits a surrogate: milliseconds at 100 observations.
    #[must_use]
    pub fn recommend(&self) -> Option<Recommendation> {
        let known = known(&self.config, &self.unit, self.trials.len() as u64);
        let best = known.best()?;
        let surrogate = Surrogate::fit(&known);
        let (unit, expected) = match surrogate.as_ref().and_then(|s| s.advise(&known)) {
            Some(advised) => advised,
            None => {
                let value = known.y[best];
                (
                    None,
                    Expected {
                        mean: value,
                        lower: value,
                        upper: value,
                    },
                )
            }
        };
        let point = match unit {
            Some(unit) => self.unit.cube().from_unit(&unit),
            None => self.observations[best].point.clone(),
        };
        Some(Recommendation {
            point,
            predicted: self.to_prediction(expected),
        })
    }

    /// What the objective is expected to be at a point; `None` while there are fewer than two observations, or if the
    /// point is not of this space.
    ///
    /// # Cost
    /// Fits a surrogate: milliseconds at 100 observations.
    #[must_use]
    pub fn predict(&self, point: &Point) -> Option<Prediction> {
        self.config.space.check(point).ok()?;
        let known = known(&self.config, &self.unit, self.trials.len() as u64);
        let surrogate = Surrogate::fit(&known)?;
        Some(self.to_prediction(surrogate.expect_at(&self.unit.cube().to_unit(point))))
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
        self.unit.told(&observation, self.config.direction.sign());
        self.observations.push(observation);
    }

    fn to_prediction(&self, expected: Expected) -> Prediction {
        let Expected { mean, lower, upper } = expected;
        match self.config.direction {
            Direction::Minimize => Prediction { mean, lower, upper },
            Direction::Maximize => Prediction {
                mean: -mean,
                lower: -upper,
                upper: -lower,
            },
        }
    }

    /// A point not seen yet close to `unit`, or `None` if there is none.
    fn unseen_near(&self, unit: &[f64], rng: &mut rand_pcg::Pcg64) -> Option<Point> {
        let (cube, seen) = (self.unit.cube(), &self.unit.seen);
        let fresh = |point: &Point| !seen.contains(&key(point));
        // Ever wider draws round the wished point, each replacing a few axes by an even draw or a small move.
        let attempts = 64;
        for attempt in 0..attempts {
            let even = even_draw(cube, rng);
            let width = f64::from(attempt + 1) / f64::from(attempts);
            let mut candidate = unit.to_vec();
            let moved = rng.random_range(0..cube.len());
            for (j, (u, e)) in candidate.iter_mut().zip(&even).enumerate() {
                if j == moved || rng.random::<f64>() < width {
                    *u = if cube.is_ordered(j) {
                        *u + width * width * (e - 0.5)
                    } else {
                        *e
                    };
                }
            }
            let point = cube.from_unit(&candidate);
            if fresh(&point) {
                return Some(point);
            }
        }
        if self
            .config
            .space
            .n_points()
            .is_some_and(|n| n <= seen.len() as u64)
        {
            return None;
        }
        // Among `seen + 1` successive points one is unseen, unless an axis is a continuum, where an even draw is.
        let mut point = cube.from_unit(&even_draw(cube, rng));
        for _ in 0..=seen.len() {
            if fresh(&point) {
                return Some(point);
            }
            point = cube.successor(&point);
        }
        None
    }
}

fn known<'a>(config: &StudyConfig, unit: &'a UnitView, n_asked: u64) -> Known<'a> {
    Known {
        cube: unit.cube(),
        x: &unit.x,
        y: &unit.y,
        trial: &unit.trial,
        pending: &unit.pending,
        failed: &unit.failed,
        n_asked,
        budget: config.budget,
        seed: config.seed,
    }
}

/// A point as numbers that are equal exactly when the points are.
fn key(point: &Point) -> Vec<u64> {
    let bits = |value: &Value| match *value {
        // Minus zero and zero are one place.
        Value::Float(x) => (x + 0.0).to_bits(),
        Value::Int(x) => x.cast_unsigned(),
        Value::Choice(k) => k as u64,
    };
    point.values().iter().map(bits).collect()
}
