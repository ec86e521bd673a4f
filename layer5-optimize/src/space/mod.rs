//! The parameter space of a study: named, typed, bounded parameters, checked once.
//! In: what a caller writes down. Out: a [`Space`] that cannot be wrong, and the check of a [`Point`] against it.
//! Called from: [`crate::study`], [`crate::unit_cube`], and every caller that defines a tuning problem.
//! Invariants: a `Space` has 1..=[`PARAMETERS_MAX`] parameters with distinct names, finite bounds, `low < high`, and
//! every `Point` handed out for it has one value per parameter, in the parameters' order.

mod domain;
mod parameter;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub(crate) use self::domain::grid_steps;
use self::{domain::check_domain, parameter::check_condition};
pub use self::{
    domain::{CHOICES_MAX, Domain, INT_MAGNITUDE_MAX},
    parameter::{Parameter, When},
};
use crate::error::{PointError, SpaceError};

/// The most parameters a space may have.
pub const PARAMETERS_MAX: usize = 200;

/// The value of one parameter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Value {
    /// Of a float parameter.
    Float(f64),
    /// Of an integer parameter.
    Int(i64),
    /// Of a categorical or ordinal parameter: the index into its choices.
    Choice(usize),
}

/// One value per parameter, in the order of the space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point(pub Vec<Value>);

impl Point {
    /// The values, in the order of the space.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.0
    }
}

/// A checked list of parameters.
///
/// # Example
/// ```
/// use layer5_optimize::{Domain, Parameter, Space};
/// let space = Space::new(vec![
///     Parameter::new("rate", Domain::log_float(1e-4, 1.0)),
///     Parameter::new("workers", Domain::int(1, 16)),
/// ])?;
/// assert_eq!(space.len(), 2);
/// assert!(Space::new(vec![Parameter::new("x", Domain::float(1.0, 1.0))]).is_err());
/// # Ok::<(), layer5_optimize::SpaceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Parameter>", into = "Vec<Parameter>")]
pub struct Space {
    parameters: Vec<Parameter>,
}

impl TryFrom<Vec<Parameter>> for Space {
    type Error = SpaceError;
    fn try_from(parameters: Vec<Parameter>) -> Result<Self, SpaceError> {
        Self::new(parameters)
    }
}

impl From<Space> for Vec<Parameter> {
    fn from(space: Space) -> Self {
        space.parameters
    }
}

impl Space {
    /// Checks every parameter and keeps them in the given order.
    ///
    /// # Errors
    /// The first broken rule, naming the parameter, the value and the limit; see [`SpaceError`].
    pub fn new(parameters: Vec<Parameter>) -> Result<Self, SpaceError> {
        if parameters.is_empty() {
            return Err(SpaceError::NoParameters);
        }
        if parameters.len() > PARAMETERS_MAX {
            let count = parameters.len();
            return Err(SpaceError::TooManyParameters {
                count,
                limit: PARAMETERS_MAX,
            });
        }
        let mut names = std::collections::BTreeSet::new();
        for (index, parameter) in parameters.iter().enumerate() {
            if parameter.name.is_empty() {
                return Err(SpaceError::NameEmpty { index });
            }
            if !names.insert(parameter.name.as_str()) {
                return Err(SpaceError::NameTwice {
                    name: parameter.name.clone(),
                });
            }
            check_domain(&parameter.name, &parameter.domain)?;
            check_condition(parameter, &parameters[..index])?;
            if let Some(value) = parameter.fixed.filter(|v| !parameter.domain.holds(*v)) {
                let name = parameter.name.clone();
                return Err(SpaceError::FixedOutside { name, value });
            }
        }
        Ok(Self { parameters })
    }

    /// The place of a parameter in every point, by name.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.parameters.iter().position(|p| p.name == name)
    }

    /// Whether parameter `index` matters at a point of this space.
    #[must_use]
    pub fn is_active(&self, index: usize, point: &Point) -> bool {
        let Some(when) = self.parameters.get(index).and_then(|p| p.when.as_ref()) else {
            return index < self.len();
        };
        self.index_of(&when.parameter).is_some_and(|parent| {
            self.is_active(parent, point)
                && point.0.get(parent).is_some_and(|v| when.is_in.contains(v))
        })
    }

    /// Whether any parameter depends on another.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        self.parameters.iter().any(|p| p.when.is_some())
    }

    /// The parameters, in order.
    #[must_use]
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The number of parameters, at least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a space is never empty")]
    pub fn len(&self) -> usize {
        self.parameters.len()
    }

    /// The number of distinct points, those that differ in values that do not matter counted apart; `None` if it is infinite
    /// or above `u64::MAX`.
    #[must_use]
    pub fn n_points(&self) -> Option<u64> {
        self.parameters
            .iter()
            .filter(|p| p.fixed.is_none())
            .try_fold(1u64, |n, p| n.checked_mul(p.domain.n_values()?))
    }

    /// The chosen name, where parameter `index` is categorical or ordinal and `value` is one of its choices.
    #[must_use]
    pub fn choice_name(&self, index: usize, value: Value) -> Option<&str> {
        match (&self.parameters.get(index)?.domain, value) {
            (
                Domain::Categorical { choices } | Domain::Ordinal { choices },
                Value::Choice(choice),
            ) => choices.get(choice).map(String::as_str),
            _ => None,
        }
    }

    /// Checks that a point brought from outside has one value per parameter, of its kind and inside its bounds.
    /// A value off a parameter's grid is accepted: it is data about a place that will not be asked for.
    ///
    /// # Errors
    /// [`PointError`] naming the first parameter that does not fit.
    pub fn check(&self, point: &Point) -> Result<(), PointError> {
        if point.0.len() != self.len() {
            return Err(PointError::Length {
                found: point.0.len(),
                expected: self.len(),
            });
        }
        for (parameter, value) in self.parameters.iter().zip(&point.0) {
            let same_kind = matches!(
                (&parameter.domain, *value),
                (Domain::Float { .. }, Value::Float(_))
                    | (Domain::Int { .. }, Value::Int(_))
                    | (
                        Domain::Categorical { .. } | Domain::Ordinal { .. },
                        Value::Choice(_)
                    )
            );
            if !same_kind {
                return Err(PointError::Kind {
                    name: parameter.name.clone(),
                    value: *value,
                });
            }
            if !parameter.domain.holds(*value) {
                return Err(PointError::Outside {
                    name: parameter.name.clone(),
                    value: *value,
                });
            }
        }
        Ok(())
    }
}
