//! The one trait of everything that can suggest a point, and the closed list of those.
//! In: what is known of a study, in the unit cube, to be minimised. Out: a [`Proposal`]. Called from: [`crate::study`].
//! Invariants: a sampler sees only [`Known`] and its own state, so that suggestions follow from the observations, the
//! order in which they were told, and the seed; it never fails: what it cannot model it explores.

use std::fmt;

use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::auto::Portfolio;
use crate::cma_es::CmaEs;
use crate::design::Sobol;
use crate::ehvi::Ehvi;
use crate::error::ConfigError;
use crate::forest::Forest;
use crate::gp::GpSampler;
use crate::limit::Limits;
use crate::nsga2::Nsga2;
use crate::random::Random;
use crate::spsa::Spsa;
use crate::tpe::Tpe;
use crate::trial::Why;
use crate::trust_region::TrustRegion;
use crate::unit_cube::UnitCube;

/// Which sampler a study uses, or which one suggested a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SamplerKind {
    /// The portfolio: picks among the others by what the data look like.
    #[default]
    Auto,
    /// Independent even draws.
    Random,
    /// A scrambled low-discrepancy sequence.
    Sobol,
    /// A local quadratic model in a trust region; needs an ordered parameter.
    TrustRegion,
    /// A Gaussian process with expected improvement.
    Gp,
    /// Tree-structured Parzen estimator.
    Tpe,
    /// Covariance matrix adaptation; needs an ordered parameter.
    CmaEs,
    /// A random forest with expected improvement.
    Forest,
    /// Simultaneous perturbation: follows an optimum that moves; needs an ordered parameter.
    Spsa,
    /// A genetic algorithm that spreads over the front of several objectives.
    Nsga2,
    /// Gaussian processes with expected hypervolume improvement, exact for one to three objectives.
    Ehvi,
}

impl SamplerKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::Auto,
        Self::Random,
        Self::Sobol,
        Self::TrustRegion,
        Self::Gp,
        Self::Tpe,
        Self::CmaEs,
        Self::Forest,
        Self::Spsa,
        Self::Nsga2,
        Self::Ehvi,
    ];

    /// The name in configuration and protocols.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Random => "random",
            Self::Sobol => "sobol",
            Self::TrustRegion => "trust_region",
            Self::Gp => "gp",
            Self::Tpe => "tpe",
            Self::CmaEs => "cma_es",
            Self::Forest => "forest",
            Self::Spsa => "spsa",
            Self::Nsga2 => "nsga2",
            Self::Ehvi => "ehvi",
        }
    }

    /// The kind of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a sampler may look at: the study in the unit cube, to be minimised.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The axes.
    pub cube: &'a UnitCube,
    /// Coordinates of the observations, in the order of telling.
    pub x: &'a [Vec<f64>],
    /// What no suggestion may break.
    pub limits: &'a Limits,
    /// Their values, lower is better, finite; those that break a constraint are behind all that do not. With several
    /// objectives, seen from one direction.
    pub y: &'a [f64],
    /// The same without regard to constraints.
    pub objective: &'a [f64],
    /// Every objective of every observation, lower is better.
    pub values: &'a [Vec<f64>],
    /// Standard deviation of the noise in every objective of every observation; empty where it was not told.
    pub noise_sd: &'a [Vec<f64>],
    /// Every constraint of every observation, kept where at most 0; empty where there are none.
    pub constraints: &'a [Vec<f64>],
    /// How far constraints are broken in all, 0 where they are kept.
    pub violation: &'a [f64],
    /// The trial each observation closed, `None` for those brought by the caller.
    pub trial: &'a [Option<u64>],
    /// Coordinates of trials not told yet.
    pub pending: &'a [(u64, Vec<f64>)],
    /// Coordinates of trials that failed.
    pub failed: &'a [(u64, Vec<f64>)],
    /// How many trials were asked before this one; its own number.
    pub n_asked: u64,
    /// The study's seed.
    pub seed: u64,
}

impl Known<'_> {
    /// The best observation's row, the earliest of equals; `None` before the first.
    #[must_use]
    pub fn best(&self) -> Option<usize> {
        (0..self.y.len()).min_by(|&a, &b| self.y[a].total_cmp(&self.y[b]))
    }

    /// Looks at objective `k` alone, whether constraints are kept or not.
    pub fn one_objective<T>(&self, k: usize, look: impl FnOnce(&Known<'_>) -> T) -> T {
        let values: Vec<f64> = self.values.iter().map(|row| row[k]).collect();
        let noise_sd: Vec<Vec<f64>> = (self.noise_sd.iter())
            .map(|row| row.get(k).copied().into_iter().collect())
            .collect();
        look(&Known {
            y: &values,
            objective: &values,
            noise_sd: &noise_sd,
            ..*self
        })
    }

    /// Trials closed or open so far, observations brought by the caller included.
    #[must_use]
    pub fn n_used(&self) -> usize {
        self.y.len() + self.pending.len() + self.failed.len()
    }
}

/// Mean and 95 % interval of the objective, in the sampler's (minimised) direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// Expected value.
    pub mean: f64,
    /// 2.5 % quantile.
    pub lower: f64,
    /// 97.5 % quantile.
    pub upper: f64,
}

/// A suggested point.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Unit coordinates; the study rounds them to the nearest point.
    pub unit: Vec<f64>,
    /// Which sampler suggests it.
    pub by: SamplerKind,
    /// Why.
    pub why: Why,
    /// What it expects, if it has a model that can say.
    pub expected: Option<Expected>,
}

/// Suggests points.
pub trait Sampler {
    /// The point to evaluate next. `rng` is this trial's own stream.
    fn propose(&mut self, known: &Known<'_>, rng: &mut Pcg64) -> Proposal;
}

/// The state of a study's sampler: plain data, saved with the study.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum AnySampler {
    Auto(Box<Portfolio>),
    Random(Random),
    Sobol(Sobol),
    TrustRegion(Box<TrustRegion>),
    Gp(Box<GpSampler>),
    Tpe(Tpe),
    CmaEs(Box<CmaEs>),
    Forest(Forest),
    Spsa(Box<Spsa>),
    Nsga2(Nsga2),
    Ehvi(Ehvi),
}

impl AnySampler {
    /// A new sampler, if it can search this cube.
    pub(crate) fn new(kind: SamplerKind, cube: &UnitCube) -> Result<Self, ConfigError> {
        let has_order = (0..cube.len()).any(|j| cube.is_ordered(j));
        if !has_order
            && matches!(
                kind,
                SamplerKind::TrustRegion | SamplerKind::CmaEs | SamplerKind::Spsa
            )
        {
            let needs = "a float, int or ordinal parameter";
            return Err(ConfigError::UnfitSpace {
                sampler: kind,
                needs,
            });
        }
        Ok(match kind {
            SamplerKind::Auto => Self::Auto(Box::default()),
            SamplerKind::Random => Self::Random(Random),
            SamplerKind::Sobol => Self::Sobol(Sobol),
            SamplerKind::TrustRegion => Self::TrustRegion(Box::default()),
            SamplerKind::Gp => Self::Gp(Box::default()),
            SamplerKind::Tpe => Self::Tpe(Tpe),
            SamplerKind::CmaEs => Self::CmaEs(Box::default()),
            SamplerKind::Forest => Self::Forest(Forest),
            SamplerKind::Spsa => Self::Spsa(Box::default()),
            SamplerKind::Nsga2 => Self::Nsga2(Nsga2),
            SamplerKind::Ehvi => Self::Ehvi(Ehvi::default()),
        })
    }
}

impl Sampler for AnySampler {
    fn propose(&mut self, known: &Known<'_>, rng: &mut Pcg64) -> Proposal {
        match self {
            Self::Auto(sampler) => sampler.propose(known, rng),
            Self::Random(sampler) => sampler.propose(known, rng),
            Self::Sobol(sampler) => sampler.propose(known, rng),
            Self::TrustRegion(sampler) => sampler.propose(known, rng),
            Self::Gp(sampler) => sampler.propose(known, rng),
            Self::Tpe(sampler) => sampler.propose(known, rng),
            Self::CmaEs(sampler) => sampler.propose(known, rng),
            Self::Forest(sampler) => sampler.propose(known, rng),
            Self::Spsa(sampler) => sampler.propose(known, rng),
            Self::Nsga2(sampler) => sampler.propose(known, rng),
            Self::Ehvi(sampler) => sampler.propose(known, rng),
        }
    }
}
