//! What a knob of a bandit, an experiment or a rollout must satisfy, and the error when it does not.
//! In: one number and its name. Out: nothing, or [`InvalidSetting`]. Called from: the constructors
//! of [`crate::bandit`], [`crate::experiment`] and [`crate::rollout`].
//! Invariants: every check is written in the positive, so NaN never passes.

use thiserror::Error;

/// A setting that cannot be used: which one, what it was, and what it must be.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{field} is {value}, it must be {must_be}")]
pub struct InvalidSetting {
    /// Name of the setting, as written in code and config.
    pub field: &'static str,
    /// The value that was refused.
    pub value: f64,
    /// The range that would have been taken.
    pub must_be: &'static str,
}

/// Passes when `holds`; otherwise says that `field` may not be `value`.
pub(crate) fn require(
    holds: bool,
    field: &'static str,
    value: f64,
    must_be: &'static str,
) -> Result<(), InvalidSetting> {
    if holds {
        Ok(())
    } else {
        Err(InvalidSetting {
            field,
            value,
            must_be,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_field_value_and_limit() {
        let refused = require(false, "alpha", 1.5, "inside 0..1").unwrap_err();
        assert_eq!(refused.to_string(), "alpha is 1.5, it must be inside 0..1");
        assert_eq!(require(true, "alpha", 0.5, "inside 0..1"), Ok(()));
    }
}
