//! Whether two windows of a series are of one kind, and in what they differ.
//! In: two slices, gaps as `NaN`. Out: a [`WindowDrift`]. Called from: users who compare this week with the last.
//! Notation: D the largest distance of the two empirical distribution functions; n_e what independent samples would be as
//! telling as both windows together.
//! Invariants: symmetric but for the sign of the shift; nothing depends on the unit. Autocorrelation makes fewer of the
//! samples, so a slow wave does not pass for drift; a season that the windows hold unlike parts of does, take it off first.
//! Reference: Kolmogorov (1933) and Smirnov (1948); Stephens (1970), <https://doi.org/10.1111/j.2517-6161.1970.tb00821.x>, for
//! small samples.

use crate::fourier::autocorrelation;
use crate::gaps::{rescale, unit_range};
use crate::order_statistics::{median, robust_sigma};

/// Fewest present samples in each window.
const SAMPLES_MIN: usize = 8;
/// Autocorrelation is taken for no more than this: a window always holds a few independent samples.
const PHI_MAX: f64 = 0.95;

/// How the later of two windows differs from the earlier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowDrift {
    /// Largest distance between the distribution functions, 0..=1.
    pub distance: f64,
    /// Probability of such a distance between windows of one kind, 0..=1, autocorrelation taken into account.
    pub p_value: f64,
    /// Median of the later window minus that of the earlier, the series' unit.
    pub shift: f64,
    /// Robust spread of the later window over that of the earlier; 1 where both are constant, infinite where only the
    /// earlier is.
    pub spread_ratio: f64,
    /// Mean distance that samples would have to be moved to make one window of the other (Wasserstein), the series' unit.
    pub transport: f64,
}

/// Compares two windows of one series. `None` when either has fewer than 8 finite values.
///
/// # Cost
/// O(n log n) for the windows together.
///
/// ```
/// use layer5_patterns::relation::compare_windows;
/// let noise = |i: u64| ((i * i * 2_654_435_761) >> 9 & 1023) as f64 / 1024.0;
/// let before: Vec<f64> = (0..200).map(noise).collect();
/// let after: Vec<f64> = (200..400).map(|i| noise(i) + 0.5).collect();
/// let drift = compare_windows(&before, &after).expect("enough samples");
/// assert!(drift.p_value < 1e-6 && (drift.shift - 0.5).abs() < 0.1);
/// assert!(compare_windows(&before[..100], &before[100..]).expect("enough samples").p_value > 0.01);
/// ```
pub fn compare_windows(before: &[f64], after: &[f64]) -> Option<WindowDrift> {
    // One scale for both: squares and differences then stay finite.
    let both = unit_range(&[before, after].concat());
    let (a, b) = both.values.split_at(before.len());
    let (a, b) = (present(a), present(b));
    if a.len() < SAMPLES_MIN || b.len() < SAMPLES_MIN {
        return None;
    }
    let n_e = {
        let (a, b) = (independent(&a), independent(&b));
        a * b / (a + b)
    };
    let (centre_a, centre_b) = (median(&a), median(&b));
    let (spread_a, spread_b) = (robust_sigma(&a, centre_a), robust_sigma(&b, centre_b));
    let (distance, transport) = distances(sorted(a), sorted(b));
    Some(WindowDrift {
        distance,
        p_value: kolmogorov((n_e.sqrt() + 0.12 + 0.11 / n_e.sqrt()) * distance),
        shift: rescale(centre_b - centre_a, both.scale),
        spread_ratio: if spread_a == spread_b {
            1.0
        } else {
            spread_b / spread_a
        },
        transport: rescale(transport, both.scale),
    })
}

fn present(values: &[f64]) -> Vec<f64> {
    values.iter().copied().filter(|v| v.is_finite()).collect()
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// Independent samples that tell as much about the mean, by the lag-1 autocorrelation.
fn independent(values: &[f64]) -> f64 {
    let phi = autocorrelation(values, 1)[1].clamp(0.0, PHI_MAX);
    values.len() as f64 * (1.0 - phi) / (1.0 + phi)
}

/// Largest and integrated distance of two empirical distribution functions, from sorted samples.
fn distances(a: Vec<f64>, b: Vec<f64>) -> (f64, f64) {
    let (mut i, mut j) = (0, 0);
    let (mut largest, mut area) = (0.0_f64, 0.0);
    let mut last = a[0].min(b[0]);
    while i < a.len() || j < b.len() {
        let next = match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) => x.min(*y),
            (Some(x), None) | (None, Some(x)) => *x,
            (None, None) => break,
        };
        let apart = (i as f64 / a.len() as f64 - j as f64 / b.len() as f64).abs();
        largest = largest.max(apart);
        area += apart * (next - last);
        last = next;
        while a.get(i) == Some(&next) {
            i += 1;
        }
        while b.get(j) == Some(&next) {
            j += 1;
        }
    }
    (largest, area)
}

/// Probability that the limit of Kolmogorov's statistic exceeds `lambda`.
fn kolmogorov(lambda: f64) -> f64 {
    if lambda < 0.2 {
        return 1.0;
    }
    let term = |k: i32| {
        let sign = if k % 2 == 1 { 2.0 } else { -2.0 };
        sign * (-2.0 * f64::from(k * k) * lambda * lambda).exp()
    };
    (1..=20).map(term).sum::<f64>().clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(i: u64) -> f64 {
        let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64 - 0.5
    }

    #[test]
    fn windows_of_one_kind_differ_as_often_as_said() {
        // Of 400 pairs about 20 lie below 0.05; four standard deviations of that are 17. The lag-1 estimate costs a little.
        for phi in [0.0, 0.6] {
            let below = (0..400_u64)
                .filter(|pair| {
                    let mut rest = 0.0;
                    let values: Vec<f64> = (0..300)
                        .map(|t| {
                            rest = phi * rest + noise(pair * 1000 + t);
                            rest
                        })
                        .collect();
                    let drift = compare_windows(&values[..150], &values[150..]);
                    drift.expect("enough samples").p_value < 0.05
                })
                .count();
            assert!(below <= 37, "{phi}: {below}");
        }
    }

    #[test]
    fn table_values_of_kolmogorov() {
        // Smirnov (1948): Q(1.36) = 0.049, Q(1.63) = 0.010.
        assert!((kolmogorov(1.358) - 0.05).abs() < 1e-3);
        assert!((kolmogorov(1.628) - 0.01).abs() < 1e-3);
    }

    #[test]
    fn bad_windows_are_answered() {
        assert_eq!(compare_windows(&[], &[1.0; 20]), None);
        assert_eq!(compare_windows(&[f64::NAN; 50], &[1.0; 50]), None);
        let equal = compare_windows(&[4.0; 20], &[4.0; 30]).expect("enough samples");
        assert_eq!(
            (equal.distance, equal.p_value, equal.spread_ratio),
            (0.0, 1.0, 1.0)
        );
        let far = compare_windows(&[1e308; 20], &[-1e308; 20]).expect("enough samples");
        assert!(far.shift.is_finite() && far.distance == 1.0 && far.transport.is_finite());
    }
}
