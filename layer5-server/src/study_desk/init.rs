//! How a study begins: the space and everything else that is declared once.
//! In: JSON. Out: a [`Study`], as yet without a trial. Called from: [`super`]. Format: docs/formats.md.
//! Invariants: unknown fields are refused; whatever is absent has a default, so older senders go on.

use std::collections::BTreeMap;

use layer5_optimize::{
    Direction, Domain, Limit, Parameter, Pruner, Safe, SamplerKind, Space, Study, StudyConfig,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::params::{point, value};

/// `init`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Init {
    /// The parameters, at most 200.
    space: Vec<Declared>,
    /// Which way is better; minimize unless told.
    direction: Option<Way>,
    /// Which way is better in each of several objectives, instead of `direction`.
    directions: Option<Vec<Way>>,
    /// How many constraint values come with each outcome; each is kept where it is at most 0.
    #[serde(default)]
    constraints: usize,
    /// Where no suggestion may be.
    #[serde(default)]
    limits: Vec<Bound>,
    /// How far a suggestion may be from the best known along any ordered axis, as a share of it.
    step_max: Option<f64>,
    /// What every suggestion must be expected to keep.
    safe: Option<Kept>,
    /// How bad runs are found from their intermediate values.
    pruner: Option<Judge>,
    /// The improvement below which it is not worth going on.
    stop_below: Option<f64>,
    /// Fixes every random choice; 0 unless told.
    #[serde(default)]
    seed: u64,
    /// How many trials are meant to be spent.
    budget: Option<usize>,
    /// What suggests points; `auto` unless told.
    sampler: Option<String>,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StudyDirection)]
enum Way {
    Minimize,
    Maximize,
}

impl From<Way> for Direction {
    fn from(way: Way) -> Self {
        match way {
            Way::Minimize => Self::Minimize,
            Way::Maximize => Self::Maximize,
        }
    }
}

/// A parameter.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = StudyParameter)]
enum Declared {
    Float {
        name: String,
        low: f64,
        high: f64,
        #[serde(default)]
        log: bool,
        step: Option<f64>,
        fixed: Option<Value>,
        when: Option<Condition>,
    },
    Int {
        name: String,
        low: i64,
        high: i64,
        #[serde(default)]
        log: bool,
        step: Option<i64>,
        fixed: Option<Value>,
        when: Option<Condition>,
    },
    Categorical {
        name: String,
        choices: Vec<String>,
        fixed: Option<Value>,
        when: Option<Condition>,
    },
    Ordinal {
        name: String,
        choices: Vec<String>,
        fixed: Option<Value>,
        when: Option<Condition>,
    },
}

/// When a parameter matters: an earlier one has one of these values.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StudyCondition)]
struct Condition {
    name: String,
    is: Vec<Value>,
}

/// Where no suggestion may be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = StudyLimit)]
enum Bound {
    /// The weighted sum of parameters is at most this.
    Linear {
        weights: BTreeMap<String, f64>,
        at_most: f64,
    },
    /// Not all of these parameters within their ranges, lowest and highest value.
    Forbidden(BTreeMap<String, (f64, f64)>),
}

/// What every suggestion must be expected to keep.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StudySafe)]
struct Kept {
    /// No value may be worse than this.
    worst: f64,
    /// With which probability, inside 0.5..1.
    probability: f64,
    /// Parameters known to be safe.
    #[schema(value_type = Object)]
    start: Map<String, Value>,
}

/// How bad runs are found.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = StudyPruner)]
enum Judge {
    /// Worse than the median of the others at that step.
    Median {
        #[serde(default = "five")]
        startup: usize,
        #[serde(default)]
        warmup_steps: u64,
    },
    /// At steps `first`, `first * factor`, ... only the best part goes on.
    Asha {
        #[serde(default = "one")]
        first: u64,
        #[serde(default = "three")]
        factor: u64,
    },
}

fn one() -> u64 {
    1
}

fn three() -> u64 {
    3
}

fn five() -> usize {
    5
}

impl Init {
    /// The study, as yet without a trial.
    ///
    /// # Errors
    /// What is wrong with the space or the rest, in words.
    pub(super) fn begin(self) -> Result<Study, String> {
        let space = space(self.space)?;
        let sampler = match self.sampler.as_deref() {
            None => SamplerKind::Auto,
            Some(name) => SamplerKind::from_name(name).ok_or_else(|| {
                let known: Vec<&str> = SamplerKind::ALL.iter().map(|kind| kind.name()).collect();
                format!(
                    "sampler `{name}` is not known, use one of {}",
                    known.join(", ")
                )
            })?,
        };
        let ways = match (self.direction, self.directions) {
            (Some(_), Some(_)) => {
                return Err("`direction` and `directions` exclude each other".into());
            }
            (one, None) => vec![one.unwrap_or(Way::Minimize)],
            (None, Some(several)) => several,
        };
        if !(1..=OBJECTIVES_MAX).contains(&ways.len()) {
            return Err(format!(
                "{} directions; a study has 1 to {OBJECTIVES_MAX} objectives",
                ways.len()
            ));
        }
        for (what, n, limit) in [
            ("constraints", self.constraints, CONSTRAINTS_MAX),
            ("limits", self.limits.len(), LIMITS_MAX),
        ] {
            if n > limit {
                return Err(format!("{n} {what} are above the limit of {limit}"));
            }
        }
        let safe = self.safe.map(|kept| {
            let start = point(&space, &kept.start).map_err(|e| format!("the safe start: {e}"))?;
            Ok::<_, String>(Safe {
                worst: kept.worst,
                probability: kept.probability,
                start,
            })
        });
        let config = StudyConfig {
            direction: ways[0].into(),
            other_directions: ways[1..].iter().map(|way| (*way).into()).collect(),
            n_constraints: self.constraints,
            limits: self.limits.into_iter().map(Limit::from).collect(),
            step_max: self.step_max,
            safe: safe.transpose()?,
            pruner: self.pruner.map(Judge::pruner).transpose()?,
            stop_below: self.stop_below,
            seed: self.seed,
            budget: self.budget,
            sampler,
            ..StudyConfig::new(space)
        };
        Study::new(config).map_err(|e| e.to_string())
    }
}

/// Objectives of one study, at most.
const OBJECTIVES_MAX: usize = 8;
/// Constraints told with each outcome, at most.
const CONSTRAINTS_MAX: usize = 16;
/// Linear and forbidden limits, at most.
const LIMITS_MAX: usize = 256;

fn space(declared: Vec<Declared>) -> Result<Space, String> {
    let mut parameters: Vec<Parameter> = Vec::new();
    for one in declared {
        let (mut parameter, fixed, when) = one.parts();
        if let Some(given) = fixed {
            let fixed = value(&parameter.domain, &given);
            let wrong = || format!("parameter `{}` can't be fixed at {given}", parameter.name);
            parameter.fixed = Some(fixed.ok_or_else(wrong)?);
        }
        if let Some(when) = when {
            let parent = parameters.iter().find(|p| p.name == when.name);
            let parent = parent.ok_or_else(|| {
                format!(
                    "parameter `{}` depends on `{}`, which is not listed before it",
                    parameter.name, when.name
                )
            })?;
            let read = |given: &Value| {
                let wrong = || format!("`{}` can't be {given}", when.name);
                value(&parent.domain, given).ok_or_else(wrong)
            };
            let is_in: Result<Vec<_>, String> = when.is.iter().map(read).collect();
            parameter = parameter.when(when.name.clone(), is_in?);
        }
        parameters.push(parameter);
    }
    Space::new(parameters).map_err(|e| e.to_string())
}

impl Declared {
    /// The parameter, what it is fixed at, and when it matters.
    fn parts(self) -> (Parameter, Option<Value>, Option<Condition>) {
        match self {
            Self::Float {
                name,
                low,
                high,
                log,
                step,
                fixed,
                when,
            } => {
                let domain = Domain::Float {
                    low,
                    high,
                    log,
                    step,
                };
                (Parameter::new(name, domain), fixed, when)
            }
            Self::Int {
                name,
                low,
                high,
                log,
                step,
                fixed,
                when,
            } => {
                let domain = Domain::Int {
                    low,
                    high,
                    log,
                    step,
                };
                (Parameter::new(name, domain), fixed, when)
            }
            Self::Categorical {
                name,
                choices,
                fixed,
                when,
            } => {
                let domain = Domain::Categorical { choices };
                (Parameter::new(name, domain), fixed, when)
            }
            Self::Ordinal {
                name,
                choices,
                fixed,
                when,
            } => {
                let domain = Domain::Ordinal { choices };
                (Parameter::new(name, domain), fixed, when)
            }
        }
    }
}

impl From<Bound> for Limit {
    fn from(bound: Bound) -> Self {
        match bound {
            Bound::Linear { weights, at_most } => Self::Linear {
                terms: weights.into_iter().collect(),
                at_most,
            },
            Bound::Forbidden(ranges) => {
                let ranges = ranges.into_iter();
                Self::Forbidden {
                    ranges: ranges
                        .map(|(name, (low, high))| (name, low, high))
                        .collect(),
                }
            }
        }
    }
}

impl Judge {
    fn pruner(self) -> Result<Pruner, String> {
        match self {
            Self::Median {
                startup,
                warmup_steps,
            } => Ok(Pruner::Median {
                n_startup: startup,
                n_warmup_steps: warmup_steps,
            }),
            Self::Asha { first, factor } if first >= 1 && factor >= 2 => {
                Ok(Pruner::Asha { first, factor })
            }
            Self::Asha { first, factor } => Err(format!(
                "pruner: first {first} must be 1 or more and factor {factor} 2 or more"
            )),
        }
    }
}
