//! What a caller can do wrong with a study: one small enum per operation.
//! In: nothing. Out: errors whose message names the field, the value and the limit. Called from: [`crate::space`],
//! [`crate::study`].

use thiserror::Error;

use crate::sampler::SamplerKind;
use crate::space::Value;
use crate::trial::TrialId;

/// Why a list of parameters is not a space.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the messages print")]
pub enum SpaceError {
    /// The list is empty.
    #[error("a space needs at least 1 parameter")]
    NoParameters,
    /// Above the limit.
    #[error("{count} parameters are above the limit of {limit}")]
    TooManyParameters { count: usize, limit: usize },
    /// A parameter has no name.
    #[error("parameter {index} has an empty name")]
    NameEmpty { index: usize },
    /// Two parameters share a name.
    #[error("parameter `{name}` is defined twice")]
    NameTwice { name: String },
    /// A bound is NaN or infinite.
    #[error("parameter `{name}`: bound {value} is not finite")]
    BoundNotFinite { name: String, value: f64 },
    /// The bounds are equal or reversed.
    #[error("parameter `{name}`: low {low} is not below high {high}")]
    BoundsNotOrdered { name: String, low: f64, high: f64 },
    /// The width overflows, or an integer bound is not exact as a float.
    #[error("parameter `{name}`: {width} is beyond the limit of {limit}")]
    TooWide {
        name: String,
        width: f64,
        limit: f64,
    },
    /// A logarithmic parameter reaches zero or below.
    #[error("parameter `{name}`: log needs low above 0, found {low}")]
    LogNeedsPositive { name: String, low: f64 },
    /// Both log and step.
    #[error("parameter `{name}`: log and step exclude each other")]
    LogWithStep { name: String },
    /// The step is not positive, wider than the bounds, or finer than can be numbered.
    #[error("parameter `{name}`: step {step} does not fit into a width of {width}")]
    Step { name: String, step: f64, width: f64 },
    /// No choices.
    #[error("parameter `{name}` has no choices")]
    NoChoices { name: String },
    /// Too many choices.
    #[error("parameter `{name}`: {count} choices are above the limit of {limit}")]
    TooManyChoices {
        name: String,
        count: usize,
        limit: usize,
    },
    /// A choice is listed twice.
    #[error("parameter `{name}`: choice `{choice}` is listed twice")]
    ChoiceTwice { name: String, choice: String },
    /// The parameter a condition looks at does not come before.
    #[error("parameter `{name}` depends on `{parent}`, which is not listed before it")]
    ParentUnknown { name: String, parent: String },
    /// A condition without values, or with one its parent cannot take, or on a continuous parent.
    #[error("parameter `{name}`: its condition needs values that `{parent}` can take, one or more")]
    ParentValues { name: String, parent: String },
    /// A parameter is fixed where its domain has no value.
    #[error("parameter `{name}` is fixed at {value:?}, which is outside its bounds")]
    FixedOutside { name: String, value: Value },
}

/// Why a study cannot start.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the messages print")]
pub enum ConfigError {
    /// A budget of no evaluations.
    #[error("budget 0 is below the limit of 1")]
    BudgetZero,
    /// A limit names a parameter the space does not have, or one that is not a number.
    #[error("a limit names `{name}`, which is no float or int parameter of the space")]
    LimitName { name: String },
    /// A limit has a number that is not finite, or no parameter.
    #[error("a limit needs a parameter and finite numbers")]
    LimitNumber,
    /// No point was found that keeps all limits.
    #[error("no point of {n_tried} tried keeps all {n_limits} limits")]
    LimitsEmpty { n_tried: usize, n_limits: usize },
    /// A setting is outside its range.
    #[error("{field} is {value}, it must be {must_be}")]
    Setting {
        field: &'static str,
        value: f64,
        must_be: &'static str,
    },
    /// A feature that is defined for one objective alone.
    #[error("{feature} needs a single objective, found {n_objectives}")]
    OneObjective {
        feature: &'static str,
        n_objectives: usize,
    },
    /// The point safe mode should start from is not of the space.
    #[error("the safe start: {0}")]
    SafeStart(PointError),
    /// The sampler cannot look at so many objectives.
    #[error(
        "sampler `{sampler}` takes at most {limit} objectives, found {found}; `nsga2` and `auto` take any number"
    )]
    UnfitObjectives {
        sampler: SamplerKind,
        limit: usize,
        found: usize,
    },
    /// The sampler cannot search this space.
    #[error("sampler `{sampler}` needs {needs}")]
    UnfitSpace {
        sampler: SamplerKind,
        needs: &'static str,
    },
}

/// Why a point brought from outside is refused.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the messages print")]
pub enum PointError {
    /// Not one value per parameter.
    #[error("{found} values for {expected} parameters")]
    Length { found: usize, expected: usize },
    /// A value of another kind than its parameter.
    #[error("parameter `{name}` cannot take {value:?}")]
    Kind { name: String, value: Value },
    /// A value beyond the bounds of its parameter.
    #[error("parameter `{name}`: {value:?} is outside its bounds")]
    Outside { name: String, value: Value },
    /// The objective value that came with it is NaN or infinite.
    #[error("observed value {value} is not finite")]
    NotFinite { value: f64 },
    /// Not one value per objective, or not one per constraint.
    #[error("{found} {what} for {expected}")]
    Count {
        what: &'static str,
        found: usize,
        expected: usize,
    },
    /// The stated noise is no standard deviation.
    #[error("noise_sd {sd} is not finite and 0 or above")]
    Noise { sd: f64 },
    /// The study was closed.
    #[error("the study is closed")]
    StudyClosed,
}

/// Why an outcome is refused; the study is unchanged.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the messages print")]
pub enum TellError {
    /// No trial with this id was ever asked.
    #[error("trial {id} was never asked")]
    Unknown { id: TrialId },
    /// The trial was closed before.
    #[error("trial {id} was already told: {state}")]
    AlreadyTold { id: TrialId, state: &'static str },
    /// The value is NaN or infinite; the trial stays pending.
    #[error("trial {id}: value {value} is not finite, the trial stays {state}")]
    NotFinite {
        id: TrialId,
        value: f64,
        state: &'static str,
    },
    /// Not one value per objective, or not one per constraint.
    #[error("trial {id}: {found} {what} for {expected}, the trial stays pending")]
    Count {
        id: TrialId,
        what: &'static str,
        found: usize,
        expected: usize,
    },
    /// The stated noise is no standard deviation; the trial stays pending.
    #[error("trial {id}: noise_sd {sd} is not finite and 0 or above, the trial stays pending")]
    Noise { id: TrialId, sd: f64 },
    /// As many intermediate values as are kept.
    #[error("trial {id} has {limit} intermediate values, which is the limit; report fewer steps")]
    TooManySteps { id: TrialId, limit: usize },
    /// Intermediate values must come with rising steps.
    #[error("trial {id}: step {step} is not above the last one, {last}")]
    StepOrder { id: TrialId, step: u64, last: u64 },
    /// The study was closed.
    #[error("trial {id}: the study is closed")]
    StudyClosed { id: TrialId },
}

/// Why a model could not be fitted.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the messages print")]
pub enum FitError {
    /// The covariance stayed indefinite up to the last rung of the jitter ladder.
    #[error("matrix is not positive definite even with {jitter_tried:e} on its diagonal")]
    NotPositiveDefinite { jitter_tried: f64 },
    /// Fewer observations than the model needs.
    #[error("{found} observations are below the limit of {needed}")]
    TooFew { found: usize, needed: usize },
}
