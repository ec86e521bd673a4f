//! Is there a monotone trend, and how steep: Mann-Kendall with the Hamed-Rao correction, and the Theil-Sen line.
//! In: one series, oldest first, equally spaced; gaps (`NaN`, infinity) are dropped but keep their place on the
//! time axis. Out: a [`Trend`]. Called from: [`crate::analyze()`], [`crate::seasonality`], [`crate::forecast`].
//! Notation: n samples present; S the Kendall score; tau = S / (n (n-1) / 2); slope per sample.
//! Reference: Mann (1945); Kendall (1975); Hamed and Rao (1998), <https://doi.org/10.1016/S0022-1694(97)00125-X>;
//! Sen (1968); Theil (1950).

use serde::Serialize;

use crate::fourier::autocorrelation;
use crate::gaps::{rescale, unit_range};
use crate::normal;
use crate::order_statistics::{median, ranks};

/// Up to this many values the slopes of all pairs are listed; beyond, the median slope is found by bisection.
const LISTED_SLOPES_LEN: usize = 600;
/// Lags whose rank autocorrelation exceeds this many standard errors enter the Hamed-Rao correction.
const SIGNIFICANT_Z: f64 = 1.96;

/// A monotone tendency of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Trend {
    /// Median slope (Theil-Sen), the series' unit per sample.
    pub slope: f64,
    /// Value of the line at index 0, the series' unit.
    pub intercept: f64,
    /// Kendall's tau, -1..=1: the share of rising pairs minus the share of falling ones.
    pub tau: f64,
    /// Probability of so large a tau without any trend, with autocorrelation taken into account, 0..=1.
    pub p_value: f64,
}

/// The score of Mann and Kendall and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MannKendall {
    /// Rising pairs minus falling pairs.
    pub score: f64,
    /// Variance of the score under no trend; corrected for ties and, by Hamed and Rao, for autocorrelation.
    pub variance: f64,
    /// Kendall's tau-a, -1..=1.
    pub tau: f64,
    /// Two-sided probability of such a score without a trend, 0..=1.
    pub p_value: f64,
}

/// A straight line over sample indices.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// The series' unit per sample.
    pub slope: f64,
    /// Value at index 0, the series' unit.
    pub intercept: f64,
}

impl Line {
    /// Value of the line at `index`.
    pub fn at(&self, index: f64) -> f64 {
        self.intercept + self.slope * index
    }
}

/// Tests for a trend and measures it.
///
/// Returns `None` when fewer than four values are present. A constant series has slope 0 and p-value 1.
///
/// # Cost
/// O(n log n) for the test, O(n log n) times about 60 bisection steps for the slope of a long series.
///
/// ```
/// use layer5_patterns::trend::trend;
/// let rising: Vec<f64> = (0..50).map(|i| 2.0 + 0.5 * f64::from(i) + f64::from(i % 3)).collect();
/// let found = trend(&rising).expect("fifty values are enough");
/// assert!((found.slope - 0.5).abs() < 0.01 && found.p_value < 0.001);
/// ```
pub fn trend(values: &[f64]) -> Option<Trend> {
    let test = mann_kendall(values)?;
    let line = theil_sen(values)?;
    Some(Trend {
        slope: line.slope,
        intercept: line.intercept,
        tau: test.tau,
        p_value: test.p_value,
    })
}

/// Mann-Kendall test with the variance correction of Hamed and Rao.
///
/// The correction uses the ranks of the detrended series and only lags whose autocorrelation is significant at
/// 5 %; it never makes the variance smaller, so that alternating noise cannot pass for a trend.
/// Returns `None` below four values.
pub fn mann_kendall(values: &[f64]) -> Option<MannKendall> {
    let (index, present) = present_values(values);
    let n = present.len();
    if n < 4 {
        return None;
    }
    let score = kendall_score(&present);
    let nf = n as f64;
    let mut variance = nf * (nf - 1.0) * (2.0 * nf + 5.0);
    let mut sorted = present.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    for group in sorted.chunk_by(|a, b| a == b) {
        let t = group.len() as f64;
        variance -= t * (t - 1.0) * (2.0 * t + 5.0);
    }
    variance /= 18.0;
    variance *= hamed_rao_factor(&index, &present);
    let z = if variance > 0.0 {
        // The continuity correction of Kendall: the score moves in steps of two.
        (score - score.signum()) / variance.sqrt()
    } else {
        0.0
    };
    Some(MannKendall {
        score,
        variance,
        tau: score / (nf * (nf - 1.0) / 2.0),
        p_value: if score == 0.0 {
            1.0
        } else {
            normal::two_sided_p(z)
        },
    })
}

/// Theil-Sen line: the median of the slopes of all pairs, and the median of what is left as intercept.
///
/// Breaks down only when 29 % of the values are wild. Returns `None` below two values.
pub fn theil_sen(values: &[f64]) -> Option<Line> {
    let (index, present) = present_values(values);
    if present.len() < 2 {
        return None;
    }
    let unit = unit_range(&present);
    let slope = if present.len() <= LISTED_SLOPES_LEN {
        median_of_listed_slopes(&index, &unit.values)
    } else {
        median_slope_by_bisection(&index, &unit.values)
    };
    let rest: Vec<f64> = index
        .iter()
        .zip(&unit.values)
        .map(|(t, v)| v - slope * t)
        .collect();
    Some(Line {
        slope: rescale(slope, unit.scale),
        intercept: rescale(median(&rest), unit.scale),
    })
}

fn present_values(values: &[f64]) -> (Vec<f64>, Vec<f64>) {
    values
        .iter()
        .enumerate()
        .filter(|(_, v)| v.is_finite())
        .map(|(i, &v)| (i as f64, v))
        .unzip()
}

/// Rising minus falling pairs, by counting inversions in a merge sort. O(n log n).
fn kendall_score(values: &[f64]) -> f64 {
    let n = values.len();
    let mut work = values.to_vec();
    let falling = count_inversions(&mut work, &mut vec![0.0; n]) as f64;
    let mut tied = 0.0;
    for group in work.chunk_by(|a, b| a == b) {
        tied += (group.len() * (group.len() - 1)) as f64 / 2.0;
    }
    let pairs = n as f64 * (n as f64 - 1.0) / 2.0;
    pairs - tied - 2.0 * falling
}

/// Sorts `values` and returns how many pairs stood in falling order.
fn count_inversions(values: &mut [f64], buffer: &mut [f64]) -> u64 {
    let n = values.len();
    if n <= 16 {
        let mut count = 0;
        for i in 1..n {
            let mut j = i;
            while j > 0 && values[j - 1] > values[j] {
                values.swap(j - 1, j);
                count += 1;
                j -= 1;
            }
        }
        return count;
    }
    let middle = n / 2;
    let mut count = {
        let (left, right) = values.split_at_mut(middle);
        let (buffer_left, buffer_right) = buffer.split_at_mut(middle);
        count_inversions(left, buffer_left) + count_inversions(right, buffer_right)
    };
    let (mut i, mut j) = (0, middle);
    for slot in buffer.iter_mut() {
        if j >= n || (i < middle && values[i] <= values[j]) {
            *slot = values[i];
            i += 1;
        } else {
            *slot = values[j];
            j += 1;
            count += (middle - i) as u64;
        }
    }
    values.copy_from_slice(buffer);
    count
}

/// n / n* of Hamed and Rao (1998, eq. 11), at least 1.
fn hamed_rao_factor(index: &[f64], values: &[f64]) -> f64 {
    let n = values.len();
    if n < 10 {
        return 1.0;
    }
    let Some(line) = theil_sen(values) else {
        return 1.0;
    };
    let unit = unit_range(values);
    let detrended: Vec<f64> = (0..n)
        .map(|i| unit.values[i] - line.slope / unit.scale * i as f64)
        .collect();
    debug_assert_eq!(index.len(), n);
    let rho = autocorrelation(&ranks(&detrended), n - 1);
    let nf = n as f64;
    let limit = SIGNIFICANT_Z / nf.sqrt();
    let sum: f64 = rho
        .iter()
        .enumerate()
        .skip(1)
        .take(n.saturating_sub(4))
        .filter(|(_, r)| r.abs() > limit)
        .map(|(k, r)| {
            let k = k as f64;
            (nf - k) * (nf - k - 1.0) * (nf - k - 2.0) * r
        })
        .sum();
    (1.0 + 2.0 / (nf * (nf - 1.0) * (nf - 2.0)) * sum).max(1.0)
}

fn median_of_listed_slopes(index: &[f64], values: &[f64]) -> f64 {
    let n = values.len();
    let mut slopes = Vec::with_capacity(n * (n - 1) / 2);
    for i in 0..n {
        for j in i + 1..n {
            slopes.push((values[j] - values[i]) / (index[j] - index[i]));
        }
    }
    median(&slopes)
}

/// Finds the slope at which as many pairs lie above as below, by bisection on the number of pairs that a line
/// of that slope puts in falling order. Exact to the width of the last interval (1e-15 of the first).
fn median_slope_by_bisection(index: &[f64], values: &[f64]) -> f64 {
    let n = values.len();
    let pairs = n as f64 * (n as f64 - 1.0) / 2.0;
    let steepest = index
        .windows(2)
        .zip(values.windows(2))
        .map(|(t, v)| ((v[1] - v[0]) / (t[1] - t[0])).abs())
        .fold(0.0_f64, f64::max);
    let (mut low, mut high) = (-steepest, steepest);
    let mut buffer = vec![0.0; n];
    let mut rest = vec![0.0; n];
    for _ in 0..52 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        for (slot, (t, v)) in rest.iter_mut().zip(index.iter().zip(values)) {
            *slot = v - middle * t;
        }
        let smaller = count_inversions(&mut rest, &mut buffer) as f64;
        if smaller > pairs / 2.0 {
            high = middle;
        } else {
            low = middle;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_values_have_no_trend() {
        assert_eq!(trend(&[]), None);
        assert_eq!(trend(&[1.0, 2.0, f64::NAN, 3.0]), None);
    }

    #[test]
    fn a_constant_series_has_slope_zero_and_p_one() {
        let found = trend(&[7.0; 40]).expect("forty values are enough");
        assert_eq!(
            (found.slope, found.intercept, found.p_value),
            (0.0, 7.0, 1.0)
        );
    }

    #[test]
    fn bisection_agrees_with_the_list_of_all_slopes() {
        let n = 301;
        let index: Vec<f64> = (0..n).map(f64::from).collect();
        let values: Vec<f64> = (0..n)
            .map(|i| 0.001 * f64::from(i) + 0.3 * f64::from(i * 7919 % 101) / 101.0)
            .collect();
        let listed = median_of_listed_slopes(&index, &values);
        let bisected = median_slope_by_bisection(&index, &values);
        assert!((listed - bisected).abs() < 1e-9, "{listed} {bisected}");
    }

    #[test]
    fn gaps_keep_their_place_on_the_time_axis() {
        let line =
            theil_sen(&[0.0, f64::NAN, f64::NAN, 3.0, 4.0]).expect("three values are enough");
        assert_eq!((line.slope, line.intercept), (1.0, 0.0));
    }

    #[test]
    fn a_random_walk_is_not_called_a_trend_as_readily_as_by_the_plain_test() {
        let walk: Vec<f64> = (0..200)
            .scan((1_u32, 0.0), |(state, sum), _| {
                *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *sum += f64::from(*state >> 16) / 32_768.0 - 1.0;
                Some(*sum)
            })
            .collect();
        let n = 200.0;
        let plain_variance = n * (n - 1.0) * (2.0 * n + 5.0) / 18.0;
        let test = mann_kendall(&walk).expect("two hundred values are enough");
        assert!(test.variance > 5.0 * plain_variance);
    }

    #[test]
    fn extreme_magnitudes_do_not_overflow() {
        let found = trend(&[-1e308, 1e-308, 1e308, -1e308, 1e308]).expect("five values are enough");
        assert!(found.slope.is_finite() && found.intercept.is_finite());
    }
}
