//! Ask/tell optimization: which parameters to try next, what to expect of them, and whether they helped.
//!
//! A [`Study`] is one tuning problem: a [`Space`] of typed, bounded parameters, and the trials so far. [`Study::ask`]
//! suggests a point, [`Study::tell`] closes it, [`Study::recommend`] says what to use. The default sampler, `auto`, is
//! a portfolio over one shared set of observations.
//!
//! This crate has no clock, file, socket or hidden randomness: the same seed and the same calls give the same
//! suggestions at any thread count, and a saved study goes on as if it had not stopped.

#![allow(
    clippy::neg_cmp_op_on_partial_ord,
    reason = "checks are written in the positive and negated, so that NaN is refused"
)]

pub mod accuracy;
pub mod acquisition;
pub mod auto;
pub mod bandit;
pub mod cma_es;
pub mod design;
pub mod ehvi;
pub mod error;
pub mod experiment;
pub mod forest;
pub mod gp;
pub mod insight;
pub mod limit;
pub mod linalg;
pub mod noise;
pub mod nsga2;
pub mod pareto;
pub mod pruning;
pub mod random;
pub mod rollout;
pub mod sampler;
pub mod seed;
mod setting;
pub mod space;
pub mod spsa;
pub mod study;
pub mod tpe;
pub mod trial;
pub mod trust_region;
pub mod unit_cube;

pub use error::{ConfigError, FitError, PointError, SpaceError, TellError};
pub use limit::Limit;
pub use pruning::{Pruner, Verdict};
pub use sampler::SamplerKind;
pub use setting::InvalidSetting;
pub use space::{
    CHOICES_MAX, Domain, INT_MAGNITUDE_MAX, PARAMETERS_MAX, Parameter, Point, Space, Value, When,
};
pub use study::{Direction, RestoreError, STEPS_MAX, Safe, StopReason, Study, StudyConfig};
pub use trial::{
    Observation, Outcome, Prediction, Recommendation, Trial, TrialId, TrialState, Why,
};
pub use unit_cube::UnitCube;
