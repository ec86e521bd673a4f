//! What batch analyses do before they compute: gaps are found, filled or masked, and values are brought to unit range.
//! In: a slice as it was read, `NaN` or infinity where a sample is missing. Out: finite values of order one.
//! Called from: every batch analysis of this crate.
//! Invariants: the result of [`unit_range`] lies in `[-1, 1]` or is a gap, so that squares and sums of any
//! `f64` input (1e308 beside 1e-308) neither overflow nor need care in the algorithms.

/// Values divided by their largest magnitude.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UnitRange {
    /// Shape `[n]`, each in `[-1, 1]`; gaps are `NaN`.
    pub(crate) values: Vec<f64>,
    /// What to multiply by to come back to the series' unit; positive and finite.
    pub(crate) scale: f64,
    /// How many of the values are no gap.
    pub(crate) n_present: usize,
}

/// Divides by the largest finite magnitude; whatever is not finite becomes a gap (`NaN`).
pub(crate) fn unit_range(values: &[f64]) -> UnitRange {
    let largest = values
        .iter()
        .copied()
        .filter(|v| v.is_finite())
        .fold(0.0_f64, |a, v| a.max(v.abs()));
    let scale = if largest > 0.0 { largest } else { 1.0 };
    let mut n_present = 0;
    let values = values
        .iter()
        .map(|&v| {
            if v.is_finite() {
                n_present += 1;
                v / scale
            } else {
                f64::NAN
            }
        })
        .collect();
    UnitRange {
        values,
        scale,
        n_present,
    }
}

/// Comes back from unit range; what would leave `f64` is held at its largest finite value.
pub(crate) fn rescale(value: f64, scale: f64) -> f64 {
    (value * scale).clamp(-f64::MAX, f64::MAX)
}

/// Fills gaps by the straight line between their neighbours; gaps at an end repeat the nearest value.
///
/// `values`: shape `[n]`, `NaN` or infinity is a gap. Returns shape `[n]`, finite, or `None` when every value
/// is a gap.
///
/// ```
/// use layer5_patterns::fill_gaps;
/// assert_eq!(fill_gaps(&[f64::NAN, 1.0, f64::NAN, 3.0]), Some(vec![1.0, 1.0, 2.0, 3.0]));
/// assert_eq!(fill_gaps(&[f64::NAN]), None);
/// ```
pub fn fill_gaps(values: &[f64]) -> Option<Vec<f64>> {
    let first = values.iter().position(|v| v.is_finite())?;
    let mut filled = values.to_vec();
    filled[..first].fill(values[first]);
    let mut last = first;
    for i in first + 1..values.len() {
        if !values[i].is_finite() {
            continue;
        }
        let gap_len = (i - last) as f64;
        let (from, to) = (values[last], values[i]);
        for (k, slot) in filled[last + 1..i].iter_mut().enumerate() {
            let w = (k + 1) as f64 / gap_len;
            *slot = from * (1.0 - w) + to * w;
        }
        last = i;
    }
    filled[last + 1..].fill(values[last]);
    Some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_of_f64_come_into_unit_range_and_back() {
        let unit = unit_range(&[1e308, -1.7e308, 1e-308, f64::INFINITY]);
        assert_eq!(unit.n_present, 3);
        assert!(unit.values[..3].iter().all(|v| v.abs() <= 1.0));
        assert!(unit.values[3].is_nan());
        assert_eq!(rescale(unit.values[1], unit.scale), -1.7e308);
        assert_eq!(rescale(2.0, unit.scale), f64::MAX);
    }

    #[test]
    fn all_zero_and_empty_keep_a_usable_scale() {
        assert_eq!(unit_range(&[0.0, 0.0]).scale, 1.0);
        assert_eq!(unit_range(&[]).n_present, 0);
    }

    #[test]
    fn gaps_between_extremes_do_not_overflow() {
        let filled = fill_gaps(&[-1.7e308, f64::NAN, 1.7e308]).expect("two values are finite");
        assert_eq!(filled[1], 0.0);
    }
}
