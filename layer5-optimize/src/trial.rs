//! A trial: one suggestion with a state; and what is known once it is told.
//! In: [`crate::study`] makes them. Out: plain data for callers, journals and pages.
//! Invariants: a trial is closed once; values are finite and in the caller's direction.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::sampler::SamplerKind;
use crate::space::Point;

/// The number of a trial within its study, counted from 0 in the order of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TrialId(pub u64);

impl fmt::Display for TrialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a trial is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TrialState {
    /// Asked, not told yet.
    Pending,
    /// Told with this value (of the first objective).
    Told(f64),
    /// Told as failed: no value exists, and the neighbourhood is avoided.
    Failed,
    /// Stopped on the way because it went badly; the neighbourhood is avoided.
    Pruned,
}

impl TrialState {
    /// The state as one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Told(_) => "told",
            Self::Failed => "failed",
            Self::Pruned => "pruned",
        }
    }
}

/// What came of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Outcome {
    /// The objective's value, finite, in the caller's units and direction.
    Value(f64),
    /// The values of every objective and of every constraint; a constraint is kept where it is at most 0.
    Values {
        /// One per objective, finite, in the caller's units and directions.
        objectives: Vec<f64>,
        /// One per constraint, finite.
        constraints: Vec<f64>,
        /// Standard deviation of the noise in each objective, 0 or above; empty where it is not known.
        noise_sd: Vec<f64>,
    },
    /// The run broke: there is no value.
    Failed,
    /// The run was stopped on the way, see [`crate::Study::report`].
    Pruned,
}

impl Outcome {
    /// A value whose noise is known to have this standard deviation.
    #[must_use]
    pub fn noisy(value: f64, sd: f64) -> Self {
        Self::Values {
            objectives: vec![value],
            constraints: Vec::new(),
            noise_sd: vec![sd],
        }
    }
}

/// Why a point was suggested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Why {
    /// Drawn without looking at results.
    Random,
    /// Part of the first, evenly spread points.
    InitialDesign,
    /// Where the surrogate expects the largest improvement.
    ExpectedImprovement,
    /// Where the volume that the front dominates is expected to grow most.
    HypervolumeGain,
    /// Where a local quadratic model has its minimum.
    ModelMinimum,
    /// Where a local quadratic model needs a value to be trusted.
    ModelGeometry,
    /// The first point of a new local search, away from the ones finished.
    Restart,
    /// Where good results are dense and bad ones are not.
    DensityRatio,
    /// Drawn from a generation of an evolution strategy.
    Generation,
    /// Beside the best place, to see how much values scatter.
    NoiseProbe,
    /// One of two probes on either side of the present place.
    GradientProbe,
    /// The sampler's wish broke a limit or the largest step, so this is the last place on the way to it that does not.
    BroughtBack,
    /// The sampler's wish was not safe enough, so this is the last place on the way to it that is.
    SafeStep,
    /// Every distinct point was evaluated, so one is repeated.
    SpaceExhausted,
    /// The study is closed: this is its best point, and there is nothing to tell.
    StudyClosed,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Random => "random",
            Self::InitialDesign => "initial design",
            Self::ExpectedImprovement => "expected improvement",
            Self::HypervolumeGain => "hypervolume gain",
            Self::ModelMinimum => "model minimum",
            Self::ModelGeometry => "model geometry",
            Self::Restart => "restart",
            Self::DensityRatio => "density ratio",
            Self::Generation => "generation",
            Self::NoiseProbe => "noise probe",
            Self::GradientProbe => "gradient probe",
            Self::BroughtBack => "brought back",
            Self::SafeStep => "safe step",
            Self::SpaceExhausted => "space exhausted",
            Self::StudyClosed => "study closed",
        })
    }
}

/// What the objective is expected to be at a point: the mean, and the interval that holds 95 % of observations there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Expected value (the median where outputs were warped), finite.
    pub mean: f64,
    /// 2.5 % quantile, at most `mean`.
    pub lower: f64,
    /// 97.5 % quantile, at least `mean`.
    pub upper: f64,
}

/// One suggestion with a state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Its number.
    pub id: TrialId,
    /// Where to evaluate.
    pub point: Point,
    /// Where it is in its life.
    pub state: TrialState,
    /// Which sampler suggested it; under `auto`, which part of the portfolio.
    pub proposed_by: SamplerKind,
    /// Why.
    pub why: Why,
    /// What the sampler expected, if it has a model that can say.
    pub predicted: Option<Prediction>,
    /// How many observations there were when it was asked.
    #[serde(default)]
    pub n_known: usize,
    /// Intermediate values reported so far: step and value, steps rising.
    #[serde(default)]
    pub steps: Vec<(u64, f64)>,
}

/// A told `(point, value)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The trial it closed; `None` if it was brought by the caller.
    pub trial: Option<TrialId>,
    /// Where.
    pub point: Point,
    /// The (first) objective's value, finite, in the caller's direction.
    pub value: f64,
    /// Values of the further objectives.
    #[serde(default)]
    pub others: Vec<f64>,
    /// Values of the constraints; kept where at most 0.
    #[serde(default)]
    pub constraints: Vec<f64>,
    /// Standard deviation of the noise in each objective; empty where it is not known.
    #[serde(default)]
    pub noise_sd: Vec<f64>,
}

impl Observation {
    /// A value of a single objective, brought from outside, nothing else known.
    #[must_use]
    pub fn at(point: Point, value: f64) -> Self {
        Self {
            trial: None,
            point,
            value,
            others: Vec::new(),
            constraints: Vec::new(),
            noise_sd: Vec::new(),
        }
    }

    /// The value of every objective, in the caller's directions.
    pub fn objectives(&self) -> impl Iterator<Item = f64> {
        std::iter::once(self.value).chain(self.others.iter().copied())
    }

    /// Whether every constraint is kept.
    #[must_use]
    pub fn is_feasible(&self) -> bool {
        self.constraints.iter().all(|c| *c <= 0.0)
    }
}

/// What a study advises to use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    /// Where.
    pub point: Point,
    /// What the objective is expected to be there.
    pub predicted: Prediction,
}
