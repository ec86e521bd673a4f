//! The one way a detector can refuse to be built.
//! In: a configuration field out of its range. Out: the field, the value and what is allowed.
//! Called from: every `check` of a configuration in this crate.
//! Invariants: updates never fail; errors exist only before the first sample.

use thiserror::Error;

/// A configuration value outside its allowed range.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{field} is {value}, allowed is {allowed}")]
pub struct ConfigError {
    /// Name of the field, as written in the configuration.
    pub field: &'static str,
    /// The offending value.
    pub value: f64,
    /// The allowed range, in words.
    pub allowed: &'static str,
}

impl ConfigError {
    /// Checks that `value` lies in `low..=high`; not-a-number is refused.
    ///
    /// # Errors
    /// A [`ConfigError`] carrying `field`, `value` and `allowed` when it does not.
    ///
    /// # Example
    /// ```
    /// use layer5_patterns::ConfigError;
    /// assert!(ConfigError::check("clip", 3.0, 1.0, 10.0, "1 to 10").is_ok());
    /// assert!(ConfigError::check("clip", f64::NAN, 1.0, 10.0, "1 to 10").is_err());
    /// ```
    pub fn check(
        field: &'static str,
        value: f64,
        low: f64,
        high: f64,
        allowed: &'static str,
    ) -> Result<(), Self> {
        if value >= low && value <= high {
            Ok(())
        } else {
            Err(Self {
                field,
                value,
                allowed,
            })
        }
    }
}
