//! What a policy would have earned, from decisions that another policy took and logged.
//! In: logged decisions with the probability they were taken with. Out: value, standard error, interval.
//! Called from: whoever compares policies before letting one decide.
//! Notation: p propensity of the logged arm under the policy that logged, pi(a) probability of arm a
//! under the policy judged, r reward, q(a) predicted reward.
//! Intervals: what a rarely chosen arm earned is known from few decisions of large weight, whose scatter looks small until
//! the first bad one among them. So the interval is that of the log with two decisions added, as Agresti and Coull (1998)
//! add successes and failures: both of the heaviest weight seen, one with the best reward seen and one with the worst.
//! Reference: Horvitz and Thompson (1952); Dudik, Langford and Li (2011), arXiv:1103.4601.

use thiserror::Error;

use super::Arm;

/// One decision that was taken and rewarded.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedDecision {
    /// The arm pulled.
    pub arm: Arm,
    /// What it earned, finite.
    pub reward: f64,
    /// Probability, in 0..=1 and above 0, with which it was chosen then.
    pub propensity: f64,
    /// Probability of each arm under the policy judged, shape `[n_arms]`, sum 1.
    pub target: Vec<f64>,
}

/// A policy's estimated mean reward.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PolicyValue {
    /// Mean reward per decision.
    pub mean: f64,
    /// Standard error of `mean`; where few decisions carry the weight it is too small, and `lower` and `upper` say more.
    pub standard_error: f64,
    /// Lower end of the 95 % interval.
    pub lower: f64,
    /// Upper end of the 95 % interval.
    pub upper: f64,
    /// Decisions that the weighted log is worth, Kish's `(sum w)^2 / sum w^2`; far below the number
    /// logged means that the two policies hardly overlap and the error is not to be trusted.
    pub effective_len: f64,
}

/// Why a log cannot be used.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum LogError {
    /// A standard error needs two decisions.
    #[error("{len} logged decisions are below the limit of 2")]
    TooShort {
        /// Decisions in the log.
        len: usize,
    },
    /// A propensity outside 0..=1 or 0, a reward not finite, or an arm without target probability.
    #[error("decision {index}: {field} is {value}")]
    Unusable {
        /// Position in the log.
        index: usize,
        /// What is wrong.
        field: &'static str,
        /// The value found.
        value: f64,
    },
    /// One list of predictions per decision, each as long as the decision's target.
    #[error("decision {index} has {found} predictions for {expected} arms")]
    Predictions {
        /// Position in the log.
        index: usize,
        /// Predictions found.
        found: usize,
        /// Arms of that decision.
        expected: usize,
    },
}

/// Inverse propensity scoring: mean of `r pi(a) / p`. Unbiased when the propensities are right.
///
/// # Errors
/// [`LogError`] when the log is too short or holds something unusable.
///
/// # Example
/// ```
/// use layer5_optimize::bandit::{LoggedDecision, inverse_propensity};
/// // Arm 1 always earns 2, arm 0 nothing; a coin chose; how good is always arm 1?
/// let log: Vec<_> = [0, 1, 1, 0]
///     .map(|arm| LoggedDecision {
///         arm,
///         reward: if arm == 1 { 2.0 } else { 0.0 },
///         propensity: 0.5,
///         target: vec![0.0, 1.0],
///     })
///     .into();
/// assert_eq!(inverse_propensity(&log)?.mean, 2.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn inverse_propensity(log: &[LoggedDecision]) -> Result<PolicyValue, LogError> {
    check(log)?;
    Ok(summarize(log, |_, _, reward, weight| weight * reward))
}

/// Doubly robust: mean of `sum_a pi(a) q(a) + (r - q(arm)) pi(arm) / p`. Unbiased when either the
/// propensities or the predictions are right, and steadier than [`inverse_propensity`] when the
/// predictions are any good.
/// `predicted`: one list per decision, shape `[n_arms]`, made without looking at that decision.
///
/// # Errors
/// [`LogError`] when the log is unusable or the predictions do not fit it.
pub fn doubly_robust(
    log: &[LoggedDecision],
    predicted: &[Vec<f64>],
) -> Result<PolicyValue, LogError> {
    check(log)?;
    for (index, logged) in log.iter().enumerate() {
        let q = predicted.get(index).map_or(&[][..], Vec::as_slice);
        if q.len() != logged.target.len() {
            let expected = logged.target.len();
            return Err(LogError::Predictions {
                index,
                found: q.len(),
                expected,
            });
        }
        if let Some(&value) = q.iter().find(|q| !q.is_finite()) {
            return Err(LogError::Unusable {
                index,
                field: "prediction",
                value,
            });
        }
    }
    Ok(summarize(log, |index, logged, reward, weight| {
        let q = &predicted[index];
        let direct: f64 = logged.target.iter().zip(q).map(|(pi, q)| pi * q).sum();
        direct + (reward - q[logged.arm]) * weight
    }))
}

fn check(log: &[LoggedDecision]) -> Result<(), LogError> {
    if log.len() < 2 {
        return Err(LogError::TooShort { len: log.len() });
    }
    for (index, logged) in log.iter().enumerate() {
        let unusable = |field, value| {
            Err(LogError::Unusable {
                index,
                field,
                value,
            })
        };
        if !(logged.propensity > 0.0 && logged.propensity <= 1.0) {
            return unusable("propensity", logged.propensity);
        }
        if !logged.reward.is_finite() {
            return unusable("reward", logged.reward);
        }
        if logged.arm >= logged.target.len() {
            return unusable("arm", logged.arm as f64);
        }
        if let Some(&pi) = logged
            .target
            .iter()
            .find(|pi| !(**pi >= 0.0 && **pi <= 1.0))
        {
            return unusable("target probability", pi);
        }
    }
    Ok(())
}

/// Mean, error and interval of `score(index, decision, reward, weight)` over the log.
fn summarize(
    log: &[LoggedDecision],
    score: impl Fn(usize, &LoggedDecision, f64, f64) -> f64,
) -> PolicyValue {
    let weight = |logged: &LoggedDecision| logged.target[logged.arm] / logged.propensity;
    let (mut sum, mut squares, mut heaviest) = (0.0, 0.0, (0, 0.0));
    let (mut worst, mut best) = (f64::INFINITY, f64::NEG_INFINITY);
    let mut scores = Vec::with_capacity(log.len() + 2);
    for (index, logged) in log.iter().enumerate() {
        let w = weight(logged);
        sum += w;
        squares += w * w;
        if w > heaviest.1 {
            heaviest = (index, w);
        }
        worst = worst.min(logged.reward);
        best = best.max(logged.reward);
        scores.push(score(index, logged, logged.reward, w));
    }
    let (mean, standard_error) = mean_and_error(&scores);
    let (index, w) = heaviest;
    scores.extend([worst, best].map(|reward| score(index, &log[index], reward, w)));
    let (middle, error) = mean_and_error(&scores);
    PolicyValue {
        mean,
        standard_error,
        // 95 % of a normal distribution is within 1.96 standard deviations.
        lower: middle - 1.96 * error,
        upper: middle + 1.96 * error,
        effective_len: if squares > 0.0 {
            sum * sum / squares
        } else {
            0.0
        },
    }
}

fn mean_and_error(scores: &[f64]) -> (f64, f64) {
    let n = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / n;
    let variance = scores.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}
