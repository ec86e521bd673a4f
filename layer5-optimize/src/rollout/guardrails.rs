//! The limits no change may pass, whoever proposed it.
//! In: when an agent was changed last, `now`; where a parameter is and where it should go. Out: permission, a shorter step.
//! Called from: [`super`], the server's refinery. Invariants: settings are checked in the positive, so that NaN is refused.

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::setting::{InvalidSetting, require};

/// The limits that every change keeps, whoever proposed it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guardrails {
    /// Largest step of one parameter, as a fraction of its range, in 0..=1 and above 0.
    pub step_fraction_max: f64,
    /// Seconds between two changes of the same agent, >= 0.
    pub cooldown_seconds: f64,
    /// Share of the agents that a change reaches first, inside 0..=0.5.
    pub canary_share: f64,
    /// Nothing goes out while this is set.
    pub kill_switch: bool,
    /// Recommendations are made, logged and measured, but not sent.
    pub dry_run: bool,
}

impl Default for Guardrails {
    /// A fifth of the range, five minutes (a few reporting intervals), a tenth of the agents.
    fn default() -> Self {
        Guardrails {
            step_fraction_max: 0.2,
            cooldown_seconds: 300.0,
            canary_share: 0.1,
            kill_switch: false,
            dry_run: false,
        }
    }
}

/// What to do with a change that may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Send it.
    Send,
    /// Keep it in the log: this is a dry run.
    LogOnly,
}

/// Why no change may be made now.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// An operator has stopped all changes.
    #[error("the kill switch is on")]
    KillSwitch,
    /// The agent was changed too recently.
    #[error("cooling down until {until}")]
    CoolingDown {
        /// When the next change may be made.
        until: Timestamp,
    },
}

impl Guardrails {
    /// Passes limits that make sense.
    ///
    /// # Errors
    /// [`InvalidSetting`] naming the field that is out of range.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let step = self.step_fraction_max;
        require(
            step > 0.0 && step <= 1.0,
            "step_fraction_max",
            step,
            "above 0 and at most 1",
        )?;
        let cooldown = self.cooldown_seconds;
        let waits = cooldown >= 0.0 && cooldown.is_finite();
        require(waits, "cooldown_seconds", cooldown, "0 or more, and finite")?;
        let share = self.canary_share;
        require(
            share > 0.0 && share <= 0.5,
            "canary_share",
            share,
            "above 0 and at most 0.5",
        )
    }

    /// Whether an agent last changed at `changed_at` (`None`: never) may be changed at `now`.
    ///
    /// # Errors
    /// [`Refusal`], which says why not and until when.
    pub fn permit(
        &self,
        changed_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Delivery, Refusal> {
        if self.kill_switch {
            return Err(Refusal::KillSwitch);
        }
        if let Some(until) = changed_at.map(|at| at.plus_seconds(self.cooldown_seconds))
            && now < until
        {
            return Err(Refusal::CoolingDown { until });
        }
        Ok(if self.dry_run {
            Delivery::LogOnly
        } else {
            Delivery::Send
        })
    }
}

/// The value nearest to `to` that lies in `low..=high` and within `fraction_max` of the range from
/// `from`. For a logarithmic parameter pass the logarithms.
/// `low` <= `high`; a `from` outside the range is taken as its nearest end; a `to` that is NaN
/// changes nothing.
///
/// # Example
/// ```
/// use layer5_optimize::rollout::limit_step;
/// assert_eq!(limit_step(10.0, 90.0, 0.0, 100.0, 0.25), 35.0);
/// assert_eq!(limit_step(10.0, -40.0, 0.0, 100.0, 0.25), 0.0);
/// assert_eq!(limit_step(10.0, 12.0, 0.0, 100.0, 0.25), 12.0);
/// ```
pub fn limit_step(from: f64, to: f64, low: f64, high: f64, fraction_max: f64) -> f64 {
    let from = from.max(low).min(high);
    if to.is_nan() {
        return from;
    }
    // Halving first keeps the width of the widest range finite.
    let reach = (0.5 * high - 0.5 * low) * fraction_max * 2.0;
    to.max(low.max(from - reach)).min(high.min(from + reach))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn limits() -> Guardrails {
        Guardrails {
            cooldown_seconds: 0.0,
            ..Guardrails::default()
        }
    }

    #[test]
    fn permission_knows_all_four_answers() {
        let waiting = Guardrails {
            cooldown_seconds: 10.0,
            ..limits()
        };
        assert_eq!(waiting.permit(None, at(0)), Ok(Delivery::Send));
        let refused = Err(Refusal::CoolingDown { until: at(15) });
        assert_eq!(waiting.permit(Some(at(5)), at(14)), refused);
        assert_eq!(waiting.permit(Some(at(5)), at(15)), Ok(Delivery::Send));
        let dry = Guardrails {
            dry_run: true,
            ..limits()
        };
        assert_eq!(dry.permit(None, at(0)), Ok(Delivery::LogOnly));
        let killed = Guardrails {
            kill_switch: true,
            ..dry
        };
        assert_eq!(killed.permit(None, at(0)), Err(Refusal::KillSwitch));
    }

    #[test]
    fn limits_are_checked_on_both_sides() {
        let fits = |change: fn(&mut Guardrails)| {
            let mut limits = Guardrails::default();
            change(&mut limits);
            limits.check().is_ok()
        };
        assert!(fits(|_| ()));
        assert!(fits(|l| l.step_fraction_max = 1.0) && !fits(|l| l.step_fraction_max = 1.01));
        assert!(!fits(|l| l.step_fraction_max = 0.0) && !fits(|l| l.step_fraction_max = f64::NAN));
        assert!(fits(|l| l.cooldown_seconds = 0.0) && !fits(|l| l.cooldown_seconds = -1.0));
        assert!(fits(|l| l.canary_share = 0.5) && !fits(|l| l.canary_share = 0.51));
        assert!(!fits(|l| l.canary_share = 0.0));
    }

    #[test]
    fn the_widest_range_has_a_finite_step() {
        assert_eq!(
            limit_step(0.0, f64::INFINITY, f64::MIN, f64::MAX, 0.5),
            f64::MAX
        );
        assert_eq!(limit_step(5.0, f64::NAN, 0.0, 10.0, 0.5), 5.0);
        assert_eq!(limit_step(50.0, 0.0, 0.0, 10.0, 0.1), 9.0);
    }

    proptest! {
        #[test]
        fn a_limited_step_stays_in_the_box_and_within_reach(
            from in -100.0..100.0f64,
            to in -1e6..1e6f64,
            low in -100.0..0.0f64,
            width in 0.0..100.0f64,
            fraction in 0.0..1.0f64,
        ) {
            let high = low + width;
            let start = from.clamp(low, high);
            let limited = limit_step(from, to, low, high, fraction);
            prop_assert!(limited >= low && limited <= high);
            prop_assert!((limited - start).abs() <= fraction * width * (1.0 + 1e-12) + 1e-12);
            let wanted = to.clamp(low, high);
            // It goes the wanted way, and all the way when that is near enough.
            prop_assert!((limited - start) * (wanted - start) >= 0.0);
            if (wanted - start).abs() < fraction * width * (1.0 - 1e-12) {
                prop_assert_eq!(limited, wanted);
            }
        }
    }
}
