//! The objective: what "better" means, as one number per agent that Layer5 minimises.
//! In: the mean KPIs of one agent over a window. Out: a cost, lower is better. Called from: the refinery's tuner.
//! Invariants: the cost of finite KPIs is finite; direction is decided here and nowhere else.

use serde::{Deserialize, Serialize};

use crate::catalogue::Better;

/// Minimise (or maximise) `metric` while `guard` keeps its level. Default: minimise `latency_ms` subject to
/// `accuracy` at no less than 98 % of its recent level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Objective {
    /// The metric to improve.
    pub metric: String,
    /// Which way it gets better.
    pub better: Better,
    /// A metric that must not suffer, higher is better; empty for none.
    pub guard: String,
    /// The share of its recent level that the guard must keep, `0 ..= 1`.
    pub guard_keep: f64,
}

impl Default for Objective {
    fn default() -> Self {
        Self {
            metric: "latency_ms".into(),
            better: Better::Lower,
            guard: "accuracy".into(),
            guard_keep: 0.98,
        }
    }
}

impl Objective {
    /// The improvement of `after` over `before` as a ratio of `before`: 0.2 means 20 % better, negative means worse.
    /// `None` when `before` is zero or either value is not finite.
    #[must_use]
    pub fn improvement(&self, before: f64, after: f64) -> Option<f64> {
        let change = (after - before) / before.abs();
        let improvement = match self.better {
            Better::Lower => -change,
            Better::Higher => change,
        };
        improvement.is_finite().then_some(improvement)
    }

    /// Whether the guard metric kept its level.
    #[must_use]
    pub fn guard_holds(&self, before: f64, after: f64) -> bool {
        after >= before - before.abs() * (1.0 - self.guard_keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn improvement_follows_the_direction() {
        let mut objective = Objective::default();
        assert_eq!(objective.improvement(100.0, 80.0), Some(0.2));
        assert_eq!(objective.improvement(100.0, 150.0), Some(-0.5));
        assert_eq!(objective.improvement(0.0, 1.0), None);
        objective.better = Better::Higher;
        assert_eq!(objective.improvement(-10.0, -5.0), Some(0.5));
    }

    #[test]
    fn the_guard_has_two_sides() {
        let objective = Objective::default();
        assert!(objective.guard_holds(0.9, 0.883));
        assert!(!objective.guard_holds(0.9, 0.881));
        assert!(!objective.guard_holds(0.9, f64::NAN));
    }
}
