//! What values one parameter may take: kinds, bounds, grids, and the rules that they keep.
//! In: what a caller writes down. Out: a [`Domain`], checked by [`check_domain`]. Called from: [`super`].

use serde::{Deserialize, Serialize};

use super::Value;
use crate::error::SpaceError;

/// The most choices one categorical or ordinal parameter may have.
pub const CHOICES_MAX: usize = 10_000;
/// The largest magnitude of an integer bound: every integer up to here is exact in an `f64`.
pub const INT_MAGNITUDE_MAX: i64 = 1 << 53;

/// What values one parameter may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Domain {
    /// A real number in `low..=high`; on a grid `low, low + step, ...` when `step` is given.
    Float {
        /// Smallest value, finite.
        low: f64,
        /// Largest value, finite, above `low`.
        high: f64,
        /// Search evenly over the logarithm; needs `low > 0` and no `step`.
        log: bool,
        /// Distance of neighbouring values, positive and at most `high - low`.
        step: Option<f64>,
    },
    /// A whole number in `low..=high`; on a grid `low, low + step, ...` when `step` is given.
    Int {
        /// Smallest value.
        low: i64,
        /// Largest value, above `low`.
        high: i64,
        /// Search evenly over the logarithm; needs `low > 0` and no `step`.
        log: bool,
        /// Distance of neighbouring values, positive and at most `high - low`.
        step: Option<i64>,
    },
    /// One of several names without an order.
    Categorical {
        /// Distinct names, 1..=[`CHOICES_MAX`].
        choices: Vec<String>,
    },
    /// One of several names whose order means something (small, medium, large).
    Ordinal {
        /// Distinct names in their order, 1..=[`CHOICES_MAX`].
        choices: Vec<String>,
    },
}

impl Domain {
    /// A real number in `low..=high`, searched evenly.
    #[must_use]
    pub fn float(low: f64, high: f64) -> Self {
        Self::Float {
            low,
            high,
            log: false,
            step: None,
        }
    }

    /// A positive real number in `low..=high`, searched evenly over its logarithm.
    #[must_use]
    pub fn log_float(low: f64, high: f64) -> Self {
        Self::Float {
            low,
            high,
            log: true,
            step: None,
        }
    }

    /// A whole number in `low..=high`.
    #[must_use]
    pub fn int(low: i64, high: i64) -> Self {
        Self::Int {
            low,
            high,
            log: false,
            step: None,
        }
    }

    /// One of several names without an order.
    pub fn categorical<S: Into<String>>(choices: impl IntoIterator<Item = S>) -> Self {
        Self::Categorical {
            choices: choices.into_iter().map(Into::into).collect(),
        }
    }

    /// Whether this is one of the domain's values, or one off its grid but inside its bounds.
    #[must_use]
    pub fn holds(&self, value: Value) -> bool {
        match (self, value) {
            (Self::Float { low, high, .. }, Value::Float(x)) => x >= *low && x <= *high,
            (Self::Int { low, high, .. }, Value::Int(x)) => x >= *low && x <= *high,
            (Self::Categorical { choices } | Self::Ordinal { choices }, Value::Choice(choice)) => {
                choice < choices.len()
            }
            _ => false,
        }
    }

    /// The value of that name, if this is a choice that has it.
    #[must_use]
    pub fn choice(&self, name: &str) -> Option<Value> {
        match self {
            Self::Categorical { choices } | Self::Ordinal { choices } => choices
                .iter()
                .position(|choice| choice == name)
                .map(Value::Choice),
            _ => None,
        }
    }

    /// The number of values, or `None` for a continuum.
    #[must_use]
    pub fn n_values(&self) -> Option<u64> {
        match self {
            Self::Float { step: None, .. } => None,
            Self::Float {
                low,
                high,
                step: Some(step),
                ..
            } => Some(grid_steps(*low, *high, *step) + 1),
            Self::Int {
                low, high, step, ..
            } => Some(((high - low) / step.unwrap_or(1)).unsigned_abs() + 1),
            Self::Categorical { choices } | Self::Ordinal { choices } => Some(choices.len() as u64),
        }
    }
}

/// Whole steps that fit between the bounds; a step that misses `high` by rounding alone still counts.
pub(crate) fn grid_steps(low: f64, high: f64, step: f64) -> u64 {
    ((high - low) / step + 1e-9).floor() as u64
}
pub(super) fn check_domain(name: &str, domain: &Domain) -> Result<(), SpaceError> {
    let name = || name.to_owned();
    match domain {
        Domain::Float {
            low,
            high,
            log,
            step,
        } => {
            for value in [*low, *high] {
                if !value.is_finite() {
                    return Err(SpaceError::BoundNotFinite {
                        name: name(),
                        value,
                    });
                }
            }
            check_order(name, *low, *high, *log, step.is_some())?;
            if !(high - low).is_finite() {
                return Err(SpaceError::TooWide {
                    name: name(),
                    width: *high,
                    limit: f64::MAX,
                });
            }
            match step {
                // A finer grid than an f64 can number is a continuum.
                Some(step)
                    if !(*step > 0.0 && *step <= high - low && (high - low) / step < 1e15) =>
                {
                    Err(SpaceError::Step {
                        name: name(),
                        step: *step,
                        width: high - low,
                    })
                }
                _ => Ok(()),
            }
        }
        Domain::Int {
            low,
            high,
            log,
            step,
        } => {
            for value in [*low, *high] {
                if value.unsigned_abs() > INT_MAGNITUDE_MAX.unsigned_abs() {
                    let limit = INT_MAGNITUDE_MAX as f64;
                    return Err(SpaceError::TooWide {
                        name: name(),
                        width: value as f64,
                        limit,
                    });
                }
            }
            check_order(name, *low as f64, *high as f64, *log, step.is_some())?;
            match step {
                Some(step) if !(*step > 0 && *step <= high - low) => Err(SpaceError::Step {
                    name: name(),
                    step: *step as f64,
                    width: (high - low) as f64,
                }),
                _ => Ok(()),
            }
        }
        Domain::Categorical { choices } | Domain::Ordinal { choices } => {
            if choices.is_empty() {
                return Err(SpaceError::NoChoices { name: name() });
            }
            if choices.len() > CHOICES_MAX {
                let count = choices.len();
                return Err(SpaceError::TooManyChoices {
                    name: name(),
                    count,
                    limit: CHOICES_MAX,
                });
            }
            let mut seen = std::collections::BTreeSet::new();
            match choices.iter().find(|choice| !seen.insert(choice.as_str())) {
                Some(choice) => Err(SpaceError::ChoiceTwice {
                    name: name(),
                    choice: choice.clone(),
                }),
                None => Ok(()),
            }
        }
    }
}

fn check_order(
    name: impl Fn() -> String,
    low: f64,
    high: f64,
    log: bool,
    stepped: bool,
) -> Result<(), SpaceError> {
    if !(low < high) {
        return Err(SpaceError::BoundsNotOrdered {
            name: name(),
            low,
            high,
        });
    }
    if log && !(low > 0.0) {
        return Err(SpaceError::LogNeedsPositive { name: name(), low });
    }
    if log && stepped {
        return Err(SpaceError::LogWithStep { name: name() });
    }
    Ok(())
}
