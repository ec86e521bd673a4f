//! The parameter space of a study: named, typed, bounded parameters, checked once.
//! In: what a caller writes down. Out: a [`Space`] that cannot be wrong, and the check of a [`Point`] against it.
//! Called from: [`crate::study`], [`crate::unit_cube`], and every caller that defines a tuning problem.
//! Invariants: a `Space` has 1..=[`PARAMETERS_MAX`] parameters with distinct names, finite bounds, `low < high`, and
//! every `Point` handed out for it has one value per parameter, in the parameters' order.

use serde::{Deserialize, Serialize};

use crate::error::{PointError, SpaceError};

/// The most parameters a space may have.
pub const PARAMETERS_MAX: usize = 200;
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

/// A named domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// What the caller calls it; distinct within a space, not empty.
    pub name: String,
    /// The values it may take.
    pub domain: Domain,
    /// When it matters; `None` is always. Where it does not, every point holds it at the middle of its domain.
    #[serde(default)]
    pub when: Option<When>,
    /// The one value it keeps; `None` is free.
    #[serde(default)]
    pub fixed: Option<Value>,
}

impl Parameter {
    /// Names a domain.
    pub fn new(name: impl Into<String>, domain: Domain) -> Self {
        Self {
            name: name.into(),
            domain,
            when: None,
            fixed: None,
        }
    }

    /// The same parameter, mattering only where an earlier one takes one of these values.
    #[must_use]
    pub fn when(
        mut self,
        parameter: impl Into<String>,
        is_in: impl IntoIterator<Item = Value>,
    ) -> Self {
        self.when = Some(When {
            parameter: parameter.into(),
            is_in: is_in.into_iter().collect(),
        });
        self
    }

    /// The same parameter, held at this value.
    #[must_use]
    pub fn fixed_at(mut self, value: Value) -> Self {
        self.fixed = Some(value);
        self
    }
}

/// When a conditional parameter matters: its parent matters and has one of these values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct When {
    /// The parent: a parameter listed before, not a continuous one.
    pub parameter: String,
    /// Values of the parent, at least one.
    pub is_in: Vec<Value>,
}

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

fn check_condition(parameter: &Parameter, before: &[Parameter]) -> Result<(), SpaceError> {
    let Some(when) = &parameter.when else {
        return Ok(());
    };
    let (name, parent) = (parameter.name.clone(), when.parameter.clone());
    let Some(found) = before.iter().find(|p| p.name == parent) else {
        return Err(SpaceError::ParentUnknown { name, parent });
    };
    let is_countable = found.domain.n_values().is_some();
    let fits = |v: &Value| is_countable && found.domain.holds(*v);
    if when.is_in.is_empty() || !when.is_in.iter().all(fits) {
        return Err(SpaceError::ParentValues { name, parent });
    }
    Ok(())
}

fn check_domain(name: &str, domain: &Domain) -> Result<(), SpaceError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(domain: Domain) -> Result<Space, SpaceError> {
        Space::new(vec![Parameter::new("x", domain)])
    }

    #[test]
    fn every_broken_rule_has_its_own_variant() {
        assert!(matches!(Space::new(vec![]), Err(SpaceError::NoParameters)));
        let many = |n: usize| {
            Space::new(
                (0..n)
                    .map(|i| Parameter::new(i.to_string(), Domain::float(0.0, 1.0)))
                    .collect(),
            )
        };
        assert!(many(PARAMETERS_MAX).is_ok());
        assert!(matches!(
            many(PARAMETERS_MAX + 1),
            Err(SpaceError::TooManyParameters { .. })
        ));
        let two = |a: &str, b: &str| {
            Space::new(vec![
                Parameter::new(a, Domain::int(0, 1)),
                Parameter::new(b, Domain::int(0, 1)),
            ])
        };
        assert!(matches!(two("a", "a"), Err(SpaceError::NameTwice { .. })));
        assert!(matches!(
            two("a", ""),
            Err(SpaceError::NameEmpty { index: 1 })
        ));
        for (low, high) in [(f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            assert!(matches!(
                check(Domain::float(low, high)),
                Err(SpaceError::BoundNotFinite { .. })
            ));
        }
        for (low, high) in [(1.0, 1.0), (2.0, 1.0)] {
            assert!(matches!(
                check(Domain::float(low, high)),
                Err(SpaceError::BoundsNotOrdered { .. })
            ));
        }
        assert!(matches!(
            check(Domain::int(3, 3)),
            Err(SpaceError::BoundsNotOrdered { .. })
        ));
        assert!(matches!(
            check(Domain::log_float(0.0, 1.0)),
            Err(SpaceError::LogNeedsPositive { .. })
        ));
        assert!(matches!(
            check(Domain::float(-1e308, 1e308)),
            Err(SpaceError::TooWide { .. })
        ));
        assert!(matches!(
            check(Domain::int(i64::MIN, 0)),
            Err(SpaceError::TooWide { .. })
        ));
        for step in [0.0, -1.0, 2.0, f64::NAN] {
            let domain = Domain::Float {
                low: 0.0,
                high: 1.0,
                log: false,
                step: Some(step),
            };
            assert!(matches!(check(domain), Err(SpaceError::Step { .. })));
        }
        let both = Domain::Int {
            low: 1,
            high: 9,
            log: true,
            step: Some(2),
        };
        assert!(matches!(check(both), Err(SpaceError::LogWithStep { .. })));
        let none: [&str; 0] = [];
        assert!(matches!(
            check(Domain::categorical(none)),
            Err(SpaceError::NoChoices { .. })
        ));
        assert!(matches!(
            check(Domain::categorical(["a", "a"])),
            Err(SpaceError::ChoiceTwice { .. })
        ));
        let names = |n: usize| Domain::categorical((0..n).map(|i| i.to_string()));
        assert!(check(names(CHOICES_MAX)).is_ok());
        assert!(matches!(
            check(names(CHOICES_MAX + 1)),
            Err(SpaceError::TooManyChoices { .. })
        ));
    }

    #[test]
    fn counts_its_points() {
        let space = Space::new(vec![
            Parameter::new(
                "n",
                Domain::Int {
                    low: 1,
                    high: 10,
                    log: false,
                    step: Some(3),
                },
            ),
            Parameter::new("k", Domain::categorical(["a", "b", "c"])),
            Parameter::new(
                "f",
                Domain::Float {
                    low: 0.0,
                    high: 0.3,
                    log: false,
                    step: Some(0.1),
                },
            ),
        ])
        .expect("valid");
        assert_eq!(space.n_points(), Some(4 * 3 * 4));
        let wide = Domain::int(-INT_MAGNITUDE_MAX, INT_MAGNITUDE_MAX);
        let space = Space::new(["a", "b"].map(|n| Parameter::new(n, wide.clone())).to_vec())
            .expect("valid");
        assert_eq!(space.n_points(), None);
    }

    #[test]
    fn a_point_is_checked_by_length_kind_and_bounds() {
        let space = Space::new(vec![
            Parameter::new("x", Domain::float(0.0, 1.0)),
            Parameter::new("k", Domain::categorical(["a", "b"])),
        ])
        .expect("valid");
        let check = |values: &[Value]| space.check(&Point(values.to_vec()));
        assert!(check(&[Value::Float(1.0), Value::Choice(1)]).is_ok());
        assert!(matches!(
            check(&[Value::Float(1.0)]),
            Err(PointError::Length { .. })
        ));
        assert!(matches!(
            check(&[Value::Int(1), Value::Choice(1)]),
            Err(PointError::Kind { .. })
        ));
        for x in [1.1, f64::NAN] {
            let outside = check(&[Value::Float(x), Value::Choice(1)]);
            assert!(matches!(outside, Err(PointError::Outside { .. })));
        }
        assert!(check(&[Value::Float(0.5), Value::Choice(2)]).is_err());
    }
}
