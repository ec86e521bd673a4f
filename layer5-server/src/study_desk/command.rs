//! What can be said to a study, one JSON object each: the lines of `layer5 optimize`, the bodies of `/api/v1/studies`, and
//! what the log keeps of them.
//! In: JSON. Out: a [`Command`]. Format: docs/formats.md. Invariants: unknown fields are refused; fields are only added.

use layer5_optimize::{Observation, Outcome, Point};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::{Map, Value};
use utoipa::ToSchema;

pub(crate) use super::init::Init;

/// One thing said to a study.
#[derive(Debug, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Command {
    /// Begins a study.
    Init(Box<Init>),
    /// Asks for one trial, or for several to be run at the same time.
    Ask(Ask),
    /// Tells what came of a trial.
    Tell(Tell),
    /// Tells what a trial that still runs has reached.
    Intermediate(Intermediate),
    /// Tells a result that was not asked for: an earlier run, or another program's.
    Observe(Observe),
    /// Takes over what another study of the service was told.
    Learn(Learn),
    /// Ends the study: what it knows can be asked for, nothing can be told.
    Close {},
    /// Asks for the best parameters known.
    Recommend {},
    /// Asks how much each parameter matters.
    Importances {},
    /// Asks for trials.
    Trials(Rows),
    /// Ends the conversation.
    Quit {},
}

impl Command {
    /// Whether the study is another one afterwards.
    pub(crate) fn changes(&self) -> bool {
        !matches!(
            self,
            Self::Recommend {} | Self::Importances {} | Self::Trials(_) | Self::Quit {}
        )
    }
}

/// `ask`
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    /// How many trials, to be run at the same time; absent: one, whose answer is no list.
    pub(super) n: Option<usize>,
}

/// `tell`: `value` or `values`, or neither for a run without a result.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tell {
    /// Which trial.
    pub(super) id: u64,
    /// The objective's value; null or absent: the run failed.
    value: Option<f64>,
    /// The values of several objectives, in the order of `directions`.
    values: Option<Vec<f64>>,
    /// One value per constraint, kept where at most 0.
    #[serde(default)]
    constraints: Vec<f64>,
    /// Standard deviation of the noise in the value, or in each of the values.
    #[serde(default)]
    #[schema(value_type = Vec<f64>)]
    noise_sd: Numbers,
    /// What came of a run without a result.
    state: Option<Lost>,
}

/// What came of a run without a result.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StudyLost)]
pub(crate) enum Lost {
    /// It broke.
    Failed,
    /// It was stopped on the way.
    Pruned,
}

impl Tell {
    /// What came of the trial.
    ///
    /// # Errors
    /// What does not go together, in words.
    pub(super) fn outcome(self) -> Result<Outcome, String> {
        let found = one_of(self.value, self.values)?;
        let extras = !self.constraints.is_empty() || !self.noise_sd.0.is_empty();
        match (found, self.state) {
            (Some(_), Some(_)) => {
                Err("`state` is of a run without a result, and there is one".into())
            }
            (None, _) if extras => {
                Err("`value` is missing beside `constraints` or `noise_sd`".into())
            }
            (None, None | Some(Lost::Failed)) => Ok(Outcome::Failed),
            (None, Some(Lost::Pruned)) => Ok(Outcome::Pruned),
            (Some(objectives), None) => Ok(Outcome::Values {
                objectives,
                constraints: self.constraints,
                noise_sd: self.noise_sd.0,
            }),
        }
    }
}

/// `intermediate`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Intermediate {
    /// Which trial.
    pub(super) id: u64,
    /// How far it is: each step above the one before.
    pub(super) step: u64,
    /// The (first) objective's value there.
    pub(super) value: f64,
}

/// `observe`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Observe {
    /// Every parameter's value.
    #[schema(value_type = Object)]
    pub(super) params: Map<String, Value>,
    /// The objective's value there.
    value: Option<f64>,
    /// The values of several objectives.
    values: Option<Vec<f64>>,
    /// One value per constraint, kept where at most 0.
    #[serde(default)]
    constraints: Vec<f64>,
    /// Standard deviation of the noise in the value, or in each of the values.
    #[serde(default)]
    #[schema(value_type = Vec<f64>)]
    noise_sd: Numbers,
}

impl Observe {
    /// The observation at `point`.
    ///
    /// # Errors
    /// What does not go together, in words.
    pub(super) fn observation(self, point: Point) -> Result<Observation, String> {
        let values = one_of(self.value, self.values)?;
        let values = values.ok_or("`value` is missing, or `values` of several objectives")?;
        let (&value, others) = values.split_first().ok_or("`values` is empty")?;
        Ok(Observation {
            others: others.to_vec(),
            constraints: self.constraints,
            noise_sd: self.noise_sd.0,
            ..Observation::at(point, value)
        })
    }
}

/// `learn`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Learn {
    /// The name of the other study.
    pub(super) from: String,
}

/// Which trials.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rows {
    /// Only those after this id.
    pub(crate) after: Option<u64>,
    /// At most this many.
    pub(crate) limit: Option<usize>,
    /// Only those in this state: pending, told, failed, pruned.
    pub(crate) state: Option<String>,
}

fn one_of(value: Option<f64>, values: Option<Vec<f64>>) -> Result<Option<Vec<f64>>, String> {
    match (value, values) {
        (Some(_), Some(_)) => Err("`value` and `values` exclude each other".into()),
        (Some(value), None) => Ok(Some(vec![value])),
        (None, values) => Ok(values),
    }
}

/// A number, or a list of them.
#[derive(Debug, Default)]
struct Numbers(Vec<f64>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = Value::deserialize(deserializer)?;
        let numbers = match &given {
            Value::Null => Some(Vec::new()),
            Value::Array(list) => list.iter().map(Value::as_f64).collect(),
            one => one.as_f64().map(|x| vec![x]),
        };
        let wrong =
            || D::Error::custom(format!("{given} is neither a number nor a list of numbers"));
        numbers.map(Self).ok_or_else(wrong)
    }
}
