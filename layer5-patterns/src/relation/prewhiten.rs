//! A series without what it could be told from its own past.
//! In: a series with gaps. Out: one-step errors of its autoregression, gaps kept. Called from: [`super::relations`].
//! Reference: Levinson (1947) and Durbin (1960) for the recursion; order by the criterion of Akaike.

use crate::fourier::{autocorrelation, masked_autocorrelation};
use crate::gaps::unit_range;
use crate::order_statistics::{median, robust_sigma};

/// Highest order tried: half a day of hourly samples, a minute of five-second ones.
const ORDER_MAX: usize = 12;
/// Beyond this lag-1 autocorrelation a series is differenced first: a random walk has no level to return to.
const UNIT_ROOT: f64 = 0.95;

/// One-step errors of an autoregression of the order that the series asks for, in robust standard deviations, wild
/// ones held at 5.
///
/// `values`: shape `[n]`. Returns shape `[n]`; a gap where the value or one of its predecessors is a gap, and at the
/// beginning. A constant series has no errors: all gaps.
pub fn prewhitened(values: &[f64]) -> Vec<f64> {
    let n = values.len();
    let mut work = unit_range(values).values;
    let lag_one = present_autocorrelation(&work, 1)
        .get(1)
        .copied()
        .unwrap_or(0.0);
    if lag_one > UNIT_ROOT {
        for i in (1..n).rev() {
            work[i] -= work[i - 1];
        }
        if let Some(first) = work.first_mut() {
            *first = f64::NAN;
        }
    }
    let present: Vec<f64> = work.iter().copied().filter(|v| v.is_finite()).collect();
    let mean = present.iter().sum::<f64>() / present.len().max(1) as f64;
    let rho = present_autocorrelation(&work, ORDER_MAX.min(n / 10));
    let coefficients = autoregression(&rho, present.len());
    let mut errors = vec![f64::NAN; n];
    for i in coefficients.len()..n {
        let told: f64 = coefficients
            .iter()
            .enumerate()
            .map(|(k, c)| c * (work[i - 1 - k] - mean))
            .sum();
        errors[i] = work[i] - mean - told;
    }
    let known: Vec<f64> = errors.iter().copied().filter(|e| e.is_finite()).collect();
    let centre = median(&known);
    let sigma = robust_sigma(&known, centre);
    for e in &mut errors {
        *e = if sigma > 1e-12 {
            ((*e - centre) / sigma).clamp(-5.0, 5.0)
        } else {
            f64::NAN
        };
    }
    errors
}

fn present_autocorrelation(values: &[f64], lag_max: usize) -> Vec<f64> {
    if values.iter().all(|v| v.is_finite()) {
        return autocorrelation(values, lag_max);
    }
    let mask: Vec<f64> = values
        .iter()
        .map(|v| f64::from(u8::from(v.is_finite())))
        .collect();
    let n = mask.iter().sum::<f64>().max(1.0);
    let mean = values.iter().filter(|v| v.is_finite()).sum::<f64>() / n;
    let centred: Vec<f64> = values
        .iter()
        .map(|v| if v.is_finite() { v - mean } else { 0.0 })
        .collect();
    masked_autocorrelation(&centred, &mask, lag_max)
}

/// Levinson-Durbin over rising orders; the coefficients of the order of least AIC.
fn autoregression(rho: &[f64], n: usize) -> Vec<f64> {
    let mut current: Vec<f64> = Vec::new();
    let mut best = (0.0, Vec::new());
    let mut variance = 1.0_f64;
    for order in 1..rho.len() {
        let told: f64 = current
            .iter()
            .enumerate()
            .map(|(k, c)| c * rho[order - 1 - k])
            .sum();
        let reflection = (rho[order] - told) / variance;
        if reflection.is_nan() || reflection.abs() >= 1.0 {
            break;
        }
        let previous = current.clone();
        for (k, c) in current.iter_mut().enumerate() {
            *c -= reflection * previous[order - 2 - k];
        }
        current.push(reflection);
        variance *= 1.0 - reflection * reflection;
        let criterion = n as f64 * variance.ln() + 2.0 * order as f64;
        if criterion < best.0 {
            best = (criterion, current.clone());
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coefficient_of_a_first_order_process_is_found() {
        let rho = [1.0, 0.6, 0.36, 0.216];
        let coefficients = autoregression(&rho, 500);
        assert_eq!(coefficients.len(), 1);
        assert!((coefficients[0] - 0.6).abs() < 1e-12);
    }

    #[test]
    fn gaps_and_constants_stay_gaps() {
        assert!(prewhitened(&[3.0; 40]).iter().all(|e| e.is_nan()));
        assert!(prewhitened(&[]).is_empty());
        let mut values: Vec<f64> = (0..60).map(|i| f64::from(i * i % 13)).collect();
        values[30] = f64::NAN;
        assert!(prewhitened(&values)[30].is_nan());
    }
}
