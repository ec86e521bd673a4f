//! Order statistics of a slice: quantile, median, median absolute deviation, ranks.
//! In: finite values in any order. Out: one number, or one rank per value. Called from: the batch analyses.
//! Invariants: values are compared by `total_cmp`; the input is copied, never reordered.

/// Makes the median absolute deviation of a normal sample estimate its standard deviation (1 / Phi^-1(3/4)).
pub(crate) const MAD_TO_SIGMA: f64 = 1.482_602_218_505_602;

/// Median; `0` for an empty slice. O(n) time, one copy.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Quantile `q` in `0..=1` with linear interpolation between order statistics (type 7 of Hyndman and Fan 1996).
pub(crate) fn quantile(values: &[f64], q: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let mut copy = values.to_vec();
    let position = q.clamp(0.0, 1.0) * (copy.len() - 1) as f64;
    let below = position.floor() as usize;
    let weight = position - below as f64;
    let (_, &mut low, above) = copy.select_nth_unstable_by(below, f64::total_cmp);
    if weight == 0.0 {
        return low;
    }
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    low * (1.0 - weight) + high * weight
}

/// Robust standard deviation: the scaled median absolute deviation round `centre`.
///
/// When more than half of the values are equal it falls back to the plain root mean square, which is zero only
/// when all of them are equal.
pub(crate) fn robust_sigma(values: &[f64], centre: f64) -> f64 {
    let deviations: Vec<f64> = values.iter().map(|v| (v - centre).abs()).collect();
    let sigma = MAD_TO_SIGMA * median(&deviations);
    if sigma > 0.0 || values.is_empty() {
        return sigma;
    }
    (deviations.iter().map(|d| d * d).sum::<f64>() / values.len() as f64).sqrt()
}

/// Ranks from 1, ties share their mean rank. O(n log n).
pub(crate) fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let mut end = start + 1;
        while end < order.len() && values[order[end]] == values[order[start]] {
            end += 1;
        }
        let shared = (start + 1 + end) as f64 / 2.0;
        for &i in &order[start..end] {
            ranks[i] = shared;
        }
        start = end;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_between_neighbours() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(median(&values), 2.5);
        assert_eq!(quantile(&values, 0.0), 1.0);
        assert_eq!(quantile(&values, 1.0), 4.0);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn ties_share_their_mean_rank() {
        assert_eq!(ranks(&[10.0, 20.0, 10.0, 30.0]), [1.5, 3.0, 1.5, 4.0]);
    }

    #[test]
    fn sigma_of_mostly_equal_values_is_not_zero() {
        let sigma = robust_sigma(&[0.0, 0.0, 0.0, 2.0], 0.0);
        assert_eq!(sigma, 1.0);
        assert_eq!(robust_sigma(&[5.0; 4], 5.0), 0.0);
    }
}
