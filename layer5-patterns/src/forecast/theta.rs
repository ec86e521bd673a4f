//! The Theta method: half the trend and an exponentially smoothed level.
//! In: a filled series without season. Out: a continuation with its variances. Called from: [`super::forecast`].
//! Reference: Assimakopoulos and Nikolopoulos (2000); Hyndman and Billah (2003) show it is smoothing with drift.

use super::ets::Fitted;

/// Theta with the smoothing weight that made the least squared one-step errors.
///
/// `values`: shape `[n]`, finite, n >= 1. O(n) time per weight tried, of which there are 20.
pub fn theta(values: &[f64], horizon: usize) -> Fitted {
    let n = values.len();
    if n < 4 {
        let last = values.last().copied().unwrap_or(0.0);
        return Fitted {
            mean: vec![last; horizon],
            variance: vec![0.0; horizon],
        };
    }
    let middle = (n - 1) as f64 / 2.0;
    let mean = values.iter().sum::<f64>() / n as f64;
    let (mut covariance, mut spread) = (0.0, 0.0);
    for (i, v) in values.iter().enumerate() {
        let t = i as f64 - middle;
        covariance += t * (v - mean);
        spread += t * t;
    }
    let drift = 0.5 * covariance / spread;
    let mut best = (f64::INFINITY, 0.0);
    for step in 1..=20 {
        let alpha = f64::from(step) / 20.0;
        let loss = smooth(values, alpha, drift).0;
        if loss < best.0 {
            best = (loss, alpha);
        }
    }
    let alpha = best.1;
    let (loss, level) = smooth(values, alpha, drift);
    let sigma2 = loss / (n as f64 - 2.0);
    let warm = (1.0 - (1.0 - alpha).powi(n as i32)) / alpha;
    let mean = (0..horizon)
        .map(|h| level + drift * (h as f64 + warm))
        .collect();
    let variance = (0..horizon)
        .map(|h| sigma2 * (1.0 + h as f64 * alpha * alpha))
        .collect();
    Fitted { mean, variance }
}

/// Simple exponential smoothing plus drift: sum of squared one-step errors, and the last level.
fn smooth(values: &[f64], alpha: f64, drift: f64) -> (f64, f64) {
    let mut level = values[0];
    let mut loss = 0.0;
    let mut decay = 1.0;
    for v in &values[1..] {
        decay *= 1.0 - alpha;
        let error = v - level - drift * (1.0 - decay) / alpha;
        loss += error * error;
        level += alpha * (v - level);
    }
    (loss, level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_on_with_half_its_slope_at_least() {
        let values: Vec<f64> = (0..50).map(f64::from).collect();
        let fitted = theta(&values, 3);
        assert!(fitted.mean[2] > fitted.mean[0] && fitted.mean[0] > 48.0 && fitted.mean[2] < 53.0);
    }

    #[test]
    fn short_series_repeat_their_last_value() {
        assert_eq!(theta(&[], 2).mean, [0.0, 0.0]);
        assert_eq!(theta(&[3.0, 4.0], 2).mean, [4.0, 4.0]);
    }
}
