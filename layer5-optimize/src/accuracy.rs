//! How well recommendations kept their promises: accuracy, direction, coverage, improvement, drift.
//! In: evaluated recommendations (predicted and observed improvement, interval) and `now`. Out: one
//! number per question, or `None` while there is too little to answer it.
//! Called from: the server's metrics. Reference: CONTRACTS.md, section 7.
//! Notation: p predicted, o observed improvement (ratios); a = 1 - min(1, |p - o| / max(|o|, 0.05)).
//! Invariants: evaluations are in order of time, at most `EVALUATIONS_MAX`, none older than two
//! windows before the newest. A window is `(now - 24 h, now]`.

use std::collections::VecDeque;

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Length of a window in seconds: 24 h.
pub const WINDOW_SECONDS: f64 = 86_400.0;

/// Evaluations below which a window has no accuracy.
pub const EVALUATIONS_MIN: usize = 20;

/// Most evaluations kept, 5 MB. When more arrive within two days the oldest leave early, so the
/// windows get shorter; they never get wrong.
pub const EVALUATIONS_MAX: usize = 100_000;

/// Observed improvements smaller than this are compared as if they were this large.
const OBSERVED_MIN: f64 = 0.05;

/// A recommendation whose outcome is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// When the outcome became known.
    pub at: Timestamp,
    /// Improvement that was predicted, ratio; positive is better.
    pub predicted: f64,
    /// Improvement that was observed, ratio.
    pub observed: f64,
    /// Lower end of the predicted 95 % interval.
    pub lower: f64,
    /// Upper end of the predicted 95 % interval.
    pub upper: f64,
}

impl Evaluation {
    /// Accuracy of this one prediction, 0..=1.
    ///
    /// # Example
    /// ```
    /// # use layer5_core::Timestamp;
    /// # use layer5_optimize::accuracy::Evaluation;
    /// let e = Evaluation {
    ///     at: Timestamp::EPOCH,
    ///     predicted: 0.15,
    ///     observed: 0.20,
    ///     lower: 0.1,
    ///     upper: 0.3,
    /// };
    /// assert!((e.accuracy() - 0.75).abs() < 1e-12);
    /// ```
    pub fn accuracy(&self) -> f64 {
        let miss = (self.predicted - self.observed).abs();
        1.0 - (miss / self.observed.abs().max(OBSERVED_MIN)).min(1.0)
    }

    /// Whether improvement and its prediction have the same sign; zero only agrees with zero.
    pub fn direction_hit(&self) -> bool {
        self.predicted.partial_cmp(&0.0) == self.observed.partial_cmp(&0.0)
    }

    /// Whether the observed improvement lies inside the interval, ends included.
    pub fn covered(&self) -> bool {
        self.observed >= self.lower && self.observed <= self.upper
    }
}

/// Why an evaluation was refused.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// A number is NaN or infinite.
    #[error("{field} is {value}, it must be finite")]
    NotFinite {
        /// Which number.
        field: &'static str,
        /// The value found.
        value: f64,
    },
    /// The interval is empty.
    #[error("interval {lower}..={upper} is empty")]
    IntervalReversed {
        /// Lower end.
        lower: f64,
        /// Upper end.
        upper: f64,
    },
}

/// The evaluations of the last two windows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AccuracyWindow {
    evaluations: VecDeque<Evaluation>,
}

impl AccuracyWindow {
    /// A window without evaluations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an evaluation in; they may arrive out of order.
    ///
    /// # Errors
    /// [`EvaluationError`]; nothing has changed then.
    /// # Cost O(1) in order, O(n) for one that is late.
    pub fn add(&mut self, evaluation: Evaluation) -> Result<(), EvaluationError> {
        let Evaluation {
            predicted,
            observed,
            lower,
            upper,
            at,
        } = evaluation;
        let numbers = [
            ("predicted", predicted),
            ("observed", observed),
            ("lower", lower),
            ("upper", upper),
        ];
        if let Some(&(field, value)) = numbers.iter().find(|(_, value)| !value.is_finite()) {
            return Err(EvaluationError::NotFinite { field, value });
        }
        if lower > upper {
            return Err(EvaluationError::IntervalReversed { lower, upper });
        }
        let later = self
            .evaluations
            .iter()
            .rev()
            .take_while(|e| e.at > at)
            .count();
        self.evaluations
            .insert(self.evaluations.len() - later, evaluation);
        let newest = self.evaluations.back().map_or(at, |e| e.at);
        let horizon = newest.plus_seconds(-2.0 * WINDOW_SECONDS);
        while self.evaluations.len() > EVALUATIONS_MAX
            || self.evaluations.front().is_some_and(|e| e.at <= horizon)
        {
            self.evaluations.pop_front();
        }
        Ok(())
    }

    /// Evaluations in the 24 h up to `now`.
    pub fn len(&self, now: Timestamp) -> usize {
        self.window(now).count()
    }

    /// Whether the 24 h up to `now` hold no evaluation.
    pub fn is_empty(&self, now: Timestamp) -> bool {
        self.window(now).next().is_none()
    }

    /// Mean accuracy over the 24 h up to `now`, 0..=1; `None` below [`EVALUATIONS_MIN`].
    /// # Cost O(n), as for all questions here.
    pub fn accuracy(&self, now: Timestamp) -> Option<f64> {
        mean(self.window(now).map(Evaluation::accuracy), EVALUATIONS_MIN)
    }

    /// Share whose improvement had the predicted sign; `None` below [`EVALUATIONS_MIN`].
    pub fn direction_hit_ratio(&self, now: Timestamp) -> Option<f64> {
        let hits = self
            .window(now)
            .map(|e| f64::from(u8::from(e.direction_hit())));
        mean(hits, EVALUATIONS_MIN)
    }

    /// Share whose improvement lay inside its 95 % interval; `None` below [`EVALUATIONS_MIN`].
    pub fn interval_coverage(&self, now: Timestamp) -> Option<f64> {
        let hits = self.window(now).map(|e| f64::from(u8::from(e.covered())));
        mean(hits, EVALUATIONS_MIN)
    }

    /// Mean observed improvement, ratio; `None` only when there is no evaluation to average.
    pub fn mean_improvement(&self, now: Timestamp) -> Option<f64> {
        mean(self.window(now).map(|e| e.observed), 1)
    }

    /// Relative loss of accuracy against the 24 h before: 0.1 when it fell from 0.9 to 0.81,
    /// negative when it rose. `None` while either window has too few evaluations, or when the
    /// earlier accuracy was 0, from which nothing can be lost.
    pub fn drift(&self, now: Timestamp) -> Option<f64> {
        let before = self.accuracy(now.plus_seconds(-WINDOW_SECONDS))?;
        let lately = self.accuracy(now)?;
        (before > 0.0).then(|| (before - lately) / before)
    }

    /// The evaluations in `(now - 24 h, now]`, oldest first.
    fn window(&self, now: Timestamp) -> impl Iterator<Item = &Evaluation> {
        let start = now.plus_seconds(-WINDOW_SECONDS);
        let from = self.evaluations.partition_point(|e| e.at <= start);
        let to = self.evaluations.partition_point(|e| e.at <= now);
        self.evaluations.range(from..to.max(from))
    }
}

/// Mean of `values`; `None` for fewer than `len_min`.
fn mean(values: impl Iterator<Item = f64>, len_min: usize) -> Option<f64> {
    let (len, sum) = values.fold((0, 0.0), |(len, sum), value| (len + 1, sum + value));
    (len >= len_min).then(|| sum / len as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn evaluation(second: i64, predicted: f64, observed: f64) -> Evaluation {
        let at = Timestamp::from_millis(second * 1000);
        Evaluation {
            at,
            predicted,
            observed,
            lower: observed - 0.1,
            upper: observed + 0.1,
        }
    }

    fn window(evaluations: impl IntoIterator<Item = Evaluation>) -> AccuracyWindow {
        let mut window = AccuracyWindow::new();
        evaluations.into_iter().for_each(|e| window.add(e).unwrap());
        window
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    #[test]
    fn accuracy_follows_the_contract_formula() {
        let check = |predicted, observed, expected: f64| {
            let found = evaluation(0, predicted, observed).accuracy();
            assert!(
                (found - expected).abs() < 1e-12,
                "p {predicted} o {observed}: {found}"
            );
        };
        check(0.2, 0.2, 1.0);
        check(0.1, 0.2, 0.5);
        check(0.3, 0.2, 0.5);
        check(-0.2, 0.2, 0.0);
        check(9.0, 0.2, 0.0);
        // Below 5 % the denominator stays 0.05.
        check(0.03, 0.01, 0.6);
        check(0.0, 0.0, 1.0);
    }

    #[test]
    fn nineteen_evaluations_are_too_few_and_twenty_are_enough() {
        let some = |n: i64| window((0..n).map(|i| evaluation(i, 0.1, 0.2)));
        let (few, enough) = (some(19), some(20));
        assert_eq!(few.accuracy(at(30)), None);
        assert_eq!(few.direction_hit_ratio(at(30)), None);
        assert_eq!(few.interval_coverage(at(30)), None);
        assert_eq!(few.len(at(30)), 19);
        assert!((enough.accuracy(at(30)).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(enough.direction_hit_ratio(at(30)), Some(1.0));
        assert_eq!(enough.interval_coverage(at(30)), Some(1.0));
        assert!((few.mean_improvement(at(30)).unwrap() - 0.2).abs() < 1e-12);
        assert_eq!(AccuracyWindow::new().mean_improvement(at(30)), None);
    }

    #[test]
    fn the_window_is_open_at_its_start_and_closed_at_now() {
        let w = window((0..20).map(|_| evaluation(100, 0.2, 0.2)));
        assert_eq!(w.len(at(99)), 0);
        assert_eq!(w.len(at(100)), 20);
        assert_eq!(w.len(at(100 + DAY - 1)), 20);
        assert_eq!(w.len(at(100 + DAY)), 0);
        assert!(w.is_empty(at(100 + DAY)));
    }

    #[test]
    fn drift_is_the_relative_loss_between_the_two_windows() {
        let before = (0..20).map(|i| evaluation(i, 0.18, 0.2));
        let lately = (0..20).map(|i| evaluation(DAY + i, 0.12, 0.2));
        let w = window(before.chain(lately));
        let now = at(DAY + 19);
        // Second 0 .. 19 are in the window before only at `now` = DAY + 19: accuracies 0.9, 0.6.
        assert!((w.drift(now).unwrap() - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(w.drift(at(19)), None);
    }

    #[test]
    fn the_order_of_arrival_does_not_matter() {
        let in_order = window((0..40).map(|i| evaluation(i, 0.1, 0.2)));
        let shuffled = window((0..40).map(|i| evaluation((i * 7) % 40, 0.1, 0.2)));
        assert_eq!(in_order, shuffled);
    }

    #[test]
    fn what_two_windows_cannot_reach_is_let_go() {
        let mut w = window((0..50).map(|i| evaluation(i, 0.1, 0.2)));
        w.add(evaluation(2 * DAY, 0.1, 0.2)).unwrap();
        assert_eq!(w.evaluations.len(), 50);
        w.add(evaluation(2 * DAY + 49, 0.1, 0.2)).unwrap();
        assert_eq!(w.evaluations.len(), 2);
        let full = window((0..EVALUATIONS_MAX as i64 + 5).map(|_| evaluation(0, 0.1, 0.2)));
        assert_eq!(full.evaluations.len(), EVALUATIONS_MAX);
    }

    #[test]
    fn unusable_numbers_are_refused_by_name() {
        let mut w = AccuracyWindow::new();
        let nan = Evaluation {
            observed: f64::NAN,
            ..evaluation(0, 0.1, 0.2)
        };
        let error = w.add(nan).unwrap_err();
        assert_eq!(error.to_string(), "observed is NaN, it must be finite");
        let reversed = Evaluation {
            lower: 1.0,
            upper: 0.5,
            ..evaluation(0, 0.1, 0.2)
        };
        assert!(matches!(
            w.add(reversed),
            Err(EvaluationError::IntervalReversed { .. })
        ));
        assert_eq!(w, AccuracyWindow::new());
    }
}
