//! Experiments: did the agents that changed do better than those that did not?
//! In: relative changes of treated and control agents, as they come. Out: a [`Verdict`] that may be
//! read after every value without spoiling its error rate.
//! Called from: [`crate::rollout`], the server's refinery. Neighbours: `moments`, `e_value`.
//! Invariants: a verdict once reached stays; memory is constant; the chance that two equal groups
//! are ever told apart is at most `alpha`, however often and however long one looks.
//!
//! The values of a group must be independent of each other: one per agent and window, not the same
//! agent's every minute. The bound is exact for normal values of equal variance. In simulation
//! (tests/experiment_error_rates.rs, alpha 5 %) unequal variances and heavy tails stay at 3 %, and
//! the worst case tried, exponential values with one in ten treated, is at 6 %. While neither group
//! has any spread, nothing is said.

mod e_value;
mod moments;

pub use e_value::{Interval, difference_e_value, difference_interval, mean_interval};
pub use moments::Moments;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::setting::{InvalidSetting, require};

/// What an experiment decides by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExperimentSettings {
    /// Chance of telling equal groups apart, inside 0..1; intervals have confidence `1 - alpha`.
    pub alpha: f64,
    /// Least improvement worth having, ratio, >= 0. When no such improvement is left possible the
    /// experiment ends in [`Verdict::NoDifference`].
    pub smallest_effect: f64,
    /// Difference expected, in standard deviations, > 0: where the test is most sensitive. It
    /// holds its error rate for any.
    pub effect_size: f64,
    /// Values needed from each group before anything is said, >= 2.
    pub group_len_min: u64,
    /// Values of both groups together after which an undecided experiment ends, >= 4.
    pub len_max: u64,
}

impl Default for ExperimentSettings {
    /// 5 %; 1 % improvement; 0.4 standard deviations, which makes the interval narrowest at about
    /// 100 values a group (n tau^2 = -2 ln alpha + ln(1 - 2 ln alpha) with n half of that,
    /// Waudby-Smith et al. 2021, arXiv:2103.06476); ten values a group, below which strongly skewed
    /// values break the rate; 100 000 values.
    fn default() -> Self {
        ExperimentSettings {
            alpha: 0.05,
            smallest_effect: 0.01,
            effect_size: 0.4,
            group_len_min: 10,
            len_max: 100_000,
        }
    }
}

impl ExperimentSettings {
    fn check(&self) -> Result<(), InvalidSetting> {
        let Self {
            alpha,
            smallest_effect,
            effect_size,
            group_len_min,
            len_max,
        } = *self;
        require(alpha > 0.0 && alpha < 1.0, "alpha", alpha, "inside 0..1")?;
        let effect_fits = smallest_effect >= 0.0 && smallest_effect.is_finite();
        require(
            effect_fits,
            "smallest_effect",
            smallest_effect,
            "0 or more, and finite",
        )?;
        let size_fits = effect_size > 0.0 && effect_size.is_finite();
        require(size_fits, "effect_size", effect_size, "positive and finite")?;
        require(
            group_len_min >= 2,
            "group_len_min",
            group_len_min as f64,
            "at least 2",
        )?;
        require(len_max >= 4, "len_max", len_max as f64, "at least 4")
    }
}

/// Which agents a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Those that were changed.
    Treated,
    /// Those that were not.
    Control,
}

/// What is known by now of the difference treated minus control; positive is better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// Too little to say.
    Running,
    /// The difference is above 0.
    Better {
        /// Lower end of the confidence interval, above 0.
        lower: f64,
        /// Upper end.
        upper: f64,
    },
    /// The difference is below 0.
    Worse {
        /// Lower end of the confidence interval.
        lower: f64,
        /// Upper end, below 0.
        upper: f64,
    },
    /// An improvement worth having is ruled out, or `len_max` values did not decide.
    NoDifference {
        /// Lower end of the confidence interval.
        lower: f64,
        /// Upper end.
        upper: f64,
    },
}

/// A value that was refused.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("relative change {value} is not finite")]
pub struct NotFinite {
    /// The value.
    pub value: f64,
}

/// A comparison of two groups that may be looked at after every value.
///
/// # Example
/// ```
/// use layer5_optimize::experiment::{Experiment, ExperimentSettings, Group, Verdict};
///
/// let mut experiment = Experiment::new(ExperimentSettings::default())?;
/// let mut verdict = Verdict::Running;
/// for i in 0..40 {
///     let noise = f64::from(i * 7 % 11) * 0.01;
///     experiment.add(Group::Control, noise)?;
///     verdict = experiment.add(Group::Treated, 0.10 + noise)?;
/// }
/// assert!(matches!(verdict, Verdict::Better { lower, upper } if lower > 0.0 && upper > 0.10));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    settings: ExperimentSettings,
    treated: Moments,
    control: Moments,
    verdict: Verdict,
}

impl Experiment {
    /// An experiment without values.
    ///
    /// # Errors
    /// [`InvalidSetting`] naming the setting that is out of range.
    pub fn new(settings: ExperimentSettings) -> Result<Self, InvalidSetting> {
        settings.check()?;
        let (treated, control) = (Moments::default(), Moments::default());
        Ok(Experiment {
            settings,
            treated,
            control,
            verdict: Verdict::Running,
        })
    }

    /// Takes in one agent's relative change of the objective (positive is better) and says what is
    /// known now. After a verdict other than [`Verdict::Running`], values change nothing.
    ///
    /// # Errors
    /// [`NotFinite`]; nothing has changed then.
    /// # Cost O(1), no allocation.
    pub fn add(&mut self, group: Group, value: f64) -> Result<Verdict, NotFinite> {
        if !value.is_finite() {
            return Err(NotFinite { value });
        }
        if self.verdict != Verdict::Running {
            return Ok(self.verdict);
        }
        match group {
            Group::Treated => self.treated.add(value),
            Group::Control => self.control.add(value),
        }
        self.verdict = self.judge();
        Ok(self.verdict)
    }

    /// What was known after the last value.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Confidence interval of the difference treated minus control, valid at every look; `None`
    /// while it would be unbounded.
    pub fn interval(&self) -> Option<Interval> {
        let Self {
            settings,
            treated,
            control,
            ..
        } = self;
        if treated.len().min(control.len()) < settings.group_len_min {
            return None;
        }
        difference_interval(treated, control, settings.alpha, settings.effect_size)
    }

    /// Evidence against equal groups: reject when it reaches `1 / alpha`, at any time; `None` while
    /// a group has too few values.
    pub fn e_value(&self) -> Option<f64> {
        let Self {
            settings,
            treated,
            control,
            ..
        } = self;
        if treated.len().min(control.len()) < settings.group_len_min {
            return None;
        }
        difference_e_value(treated, control, settings.effect_size)
    }

    /// Moments of the treated values.
    pub fn treated(&self) -> &Moments {
        &self.treated
    }

    /// Moments of the control values.
    pub fn control(&self) -> &Moments {
        &self.control
    }

    fn judge(&self) -> Verdict {
        let Some(Interval { lower, upper }) = self.interval() else {
            return Verdict::Running;
        };
        let exhausted = self.treated.len() + self.control.len() >= self.settings.len_max;
        if lower > 0.0 {
            Verdict::Better { lower, upper }
        } else if upper < 0.0 {
            Verdict::Worse { lower, upper }
        } else if upper < self.settings.smallest_effect || exhausted {
            Verdict::NoDifference { lower, upper }
        } else {
            Verdict::Running
        }
    }
}
