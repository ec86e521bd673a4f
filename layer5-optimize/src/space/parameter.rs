//! A domain with a name, and when it matters.
//! In: what a caller writes down. Out: a [`Parameter`], its condition checked by [`check_condition`]. Called from:
//! [`super`].

use serde::{Deserialize, Serialize};

use super::{Domain, Value};
use crate::error::SpaceError;

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
pub(super) fn check_condition(
    parameter: &Parameter,
    before: &[Parameter],
) -> Result<(), SpaceError> {
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
