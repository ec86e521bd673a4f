//! What can be said to a study, one JSON object each: the lines of `layer5 optimize`, the bodies of `/api/v1/studies`, and
//! what the log keeps of them.
//! In: JSON. Out: a [`Command`]. Format: docs/formats.md. Invariants: unknown fields are refused; fields are only added.

use layer5_optimize::{Direction, Domain, Parameter, SamplerKind, Space, Study, StudyConfig};
use serde::Deserialize;
use serde_json::{Map, Value};

/// One thing said to a study.
#[derive(Debug, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Command {
    /// Begins a study.
    Init(Init),
    /// Asks for one trial, or for `n` to be run at the same time.
    Ask {
        /// How many.
        n: Option<usize>,
    },
    /// Tells what came of a trial.
    Tell {
        /// Which.
        id: u64,
        /// The objective's value; absent or null for a run that failed.
        value: Option<f64>,
    },
    /// Tells a result that was not asked for: an earlier run, or another program's.
    Observe {
        /// Every parameter's value.
        params: Map<String, Value>,
        /// The objective's value there.
        value: f64,
    },
    /// Asks for the best parameters known.
    Recommend {},
    /// Asks for every trial.
    Trials {},
    /// Ends the conversation.
    Quit {},
}

impl Command {
    /// Whether the study is another one afterwards.
    pub(crate) fn changes(&self) -> bool {
        !matches!(self, Self::Recommend {} | Self::Trials {} | Self::Quit {})
    }
}

/// How a study begins.
#[derive(Debug, Deserialize)]
pub(crate) struct Init {
    space: Vec<Declared>,
    #[serde(default)]
    direction: Way,
    #[serde(default)]
    seed: u64,
    budget: Option<usize>,
    sampler: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    #[default]
    Minimize,
    Maximize,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Declared {
    Float {
        name: String,
        low: f64,
        high: f64,
        #[serde(default)]
        log: bool,
        step: Option<f64>,
    },
    Int {
        name: String,
        low: i64,
        high: i64,
        #[serde(default)]
        log: bool,
        step: Option<i64>,
    },
    Categorical {
        name: String,
        choices: Vec<String>,
    },
    Ordinal {
        name: String,
        choices: Vec<String>,
    },
}

impl From<Declared> for Parameter {
    fn from(declared: Declared) -> Self {
        match declared {
            Declared::Float {
                name,
                low,
                high,
                log,
                step,
            } => Self::new(
                name,
                Domain::Float {
                    low,
                    high,
                    log,
                    step,
                },
            ),
            Declared::Int {
                name,
                low,
                high,
                log,
                step,
            } => Self::new(
                name,
                Domain::Int {
                    low,
                    high,
                    log,
                    step,
                },
            ),
            Declared::Categorical { name, choices } => {
                Self::new(name, Domain::Categorical { choices })
            }
            Declared::Ordinal { name, choices } => Self::new(name, Domain::Ordinal { choices }),
        }
    }
}

impl Init {
    /// The study, as yet without a trial.
    ///
    /// # Errors
    /// What is wrong with the space or the rest, in words.
    pub(super) fn begin(self) -> Result<Study, String> {
        let parameters = self.space.into_iter().map(Parameter::from).collect();
        let space = Space::new(parameters).map_err(|e| e.to_string())?;
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
        let direction = match self.direction {
            Way::Minimize => Direction::Minimize,
            Way::Maximize => Direction::Maximize,
        };
        let config = StudyConfig {
            direction,
            seed: self.seed,
            budget: self.budget,
            sampler,
            ..StudyConfig::new(space)
        };
        Study::new(config).map_err(|e| e.to_string())
    }
}
