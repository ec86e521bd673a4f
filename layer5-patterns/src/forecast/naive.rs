//! The forecast that every other must beat: the last season again, or the last value.
//! In: a filled series. Out: a continuation. Called from: [`super::forecast`].

/// Repeats the last `period` values; with period 0 or 1, or more than there is, the last value.
///
/// `values`: shape `[n]`, finite, n >= 1. Returns shape `[horizon]`.
///
/// ```
/// use layer5_patterns::forecast::seasonal_naive;
/// assert_eq!(seasonal_naive(&[1.0, 2.0, 3.0, 1.5, 2.5, 3.5], 3, 4), [1.5, 2.5, 3.5, 1.5]);
/// ```
pub fn seasonal_naive(values: &[f64], period: usize, horizon: usize) -> Vec<f64> {
    let n = values.len();
    let Some(&last) = values.last() else {
        return vec![0.0; horizon];
    };
    if period < 2 || period > n {
        return vec![last; horizon];
    }
    (0..horizon)
        .map(|h| values[n - period + h % period])
        .collect()
}
