//! Whether a version is worse than the one before: figures over a span, and the limits of what may differ.
//! In: [`Counts`] at two moments, the figures of the version before. Out: the reasons to go back; none is good.
//! Pure. Called from: [`super::watch`] and the exercise.

use serde::{Deserialize, Serialize};

use super::service::Counts;

/// Errors in reports that may be more than before: a hundredth, or as many again.
const ERRORS_MORE: f64 = 0.01;
/// Accuracy that may be lost.
const ACCURACY_LESS: f64 = 0.02;
/// Reports from which a share of errors is judged.
const REPORTS_MIN: u64 = 20;

/// How a version did over a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Figures {
    /// Reports seen in the span.
    pub(super) received: u64,
    /// Refused reports and errors among them, as a share.
    pub(super) error_ratio: f64,
    /// Accuracy at its end; absent before 20 evaluations.
    pub(super) accuracy: Option<f64>,
}

impl Figures {
    /// What happened from `before` to `after`, of one process.
    pub(super) fn between(before: &Counts, after: &Counts) -> Self {
        let received = after.received.saturating_sub(before.received);
        let wrong = after.wrong.saturating_sub(before.wrong);
        Self {
            received,
            error_ratio: wrong as f64 / received.max(1) as f64,
            accuracy: after.accuracy,
        }
    }

    /// What is worse here than in `baseline`.
    pub(super) fn worse_than(&self, baseline: &Self) -> Vec<String> {
        let mut reasons = Vec::new();
        let most = (baseline.error_ratio * 2.0).max(baseline.error_ratio + ERRORS_MORE);
        if self.received >= REPORTS_MIN && self.error_ratio > most {
            reasons.push(format!(
                "errors: {:.2} % of {} reports, {:.2} % before",
                100.0 * self.error_ratio,
                self.received,
                100.0 * baseline.error_ratio
            ));
        }
        if self.received == 0 && baseline.received > 0 {
            reasons.push("no report has come since the switch".to_owned());
        }
        if let (Some(now), Some(before)) = (self.accuracy, baseline.accuracy)
            && !(now >= before - ACCURACY_LESS)
        {
            reasons.push(format!("accuracy: {now:.3}, {before:.3} before"));
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(received: u64, error_ratio: f64, accuracy: Option<f64>) -> Figures {
        Figures {
            received,
            error_ratio,
            accuracy,
        }
    }

    #[test]
    fn a_span_counts_what_came_in_it() {
        let at = |received, wrong| Counts {
            received,
            wrong,
            ..Counts::default()
        };
        let span = Figures::between(&at(100, 10), &at(200, 15));
        assert_eq!(span, figures(100, 0.05, None));
        let nothing = Figures::between(&at(100, 10), &at(100, 10));
        assert_eq!(nothing, figures(0, 0.0, None));
    }

    #[test]
    fn each_limit_is_judged_on_both_sides() {
        let before = figures(1000, 0.01, Some(0.9));
        let worse = |now: Figures| now.worse_than(&before).len();
        assert_eq!(worse(figures(1000, 0.02, Some(0.88))), 0);
        assert_eq!(worse(figures(1000, 0.021, Some(0.9))), 1);
        assert_eq!(
            worse(figures(REPORTS_MIN - 1, 1.0, Some(0.9))),
            0,
            "too few"
        );
        assert_eq!(worse(figures(1000, 0.01, Some(0.879))), 1);
        assert_eq!(worse(figures(1000, 0.01, Some(f64::NAN))), 1);
        assert_eq!(worse(figures(1000, 0.01, None)), 0, "not known yet");
        assert_eq!(worse(figures(0, 0.0, Some(0.9))), 1);
        let clean = figures(1000, 0.0, None);
        assert_eq!(figures(1000, 0.01, None).worse_than(&clean).len(), 0);
        assert_eq!(figures(1000, 0.011, None).worse_than(&clean).len(), 1);
    }
}
