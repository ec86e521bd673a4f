//! The segmentation of least cost, exactly, in linear time for most series: PELT.
//! In: a [`SegmentCost`], a penalty per change point, a least segment length. Out: where segments begin.
//! Called from: [`super::change_points`]. Notation: F(t) least cost of the first t samples; s last change before t.
//! Invariants: the result equals that of full dynamic programming (a test checks it); with a least length L a
//! candidate is dropped only L samples after it was beaten, since what beat it cannot be used before.
//! Reference: Killick, Fearnhead and Eckley (2012), <https://doi.org/10.1080/01621459.2012.737745>.

use super::cost::SegmentCost;

/// Start indices of all segments but the first, rising.
///
/// `penalty`: added per change point, in units of the cost. `segment_len_min`: at least 1.
/// # Cost
/// O(n) to O(n^2) time depending on how many changes there are, O(n) memory.
///
/// ```
/// use layer5_patterns::change_point::{MeanCost, pelt};
/// let values: Vec<f64> = (0..100).map(|i| if i < 60 { 0.0 } else { 5.0 }).collect();
/// assert_eq!(pelt(&MeanCost::new(&values, 1.0), 10.0, 2), [60]);
/// ```
pub fn pelt<C: SegmentCost>(cost: &C, penalty: f64, segment_len_min: usize) -> Vec<usize> {
    let n = cost.len();
    let least = segment_len_min.max(1);
    if n < 2 * least {
        return Vec::new();
    }
    let mut best = vec![f64::INFINITY; n + 1];
    let mut last_change = vec![0_usize; n + 1];
    best[0] = -penalty;
    let mut candidates: Vec<Candidate> = vec![Candidate {
        start: 0,
        leaves_at: usize::MAX,
    }];
    let mut totals: Vec<f64> = Vec::new();
    for t in least..=n {
        totals.clear();
        let (mut least_total, mut from) = (f64::INFINITY, 0);
        for candidate in &candidates {
            let total = best[candidate.start] + cost.cost(candidate.start..t);
            totals.push(total);
            if total < least_total {
                (least_total, from) = (total, candidate.start);
            }
        }
        best[t] = least_total + penalty;
        last_change[t] = from;
        for (candidate, total) in candidates.iter_mut().zip(&totals) {
            if *total >= best[t] && candidate.leaves_at == usize::MAX {
                candidate.leaves_at = t + least;
            }
        }
        candidates.retain(|c| c.leaves_at > t + 1);
        let joins = t + 1 - least;
        if joins >= least && best[joins].is_finite() {
            candidates.push(Candidate {
                start: joins,
                leaves_at: usize::MAX,
            });
        }
    }
    let mut starts = Vec::new();
    let mut t = last_change[n];
    while t > 0 {
        starts.push(t);
        t = last_change[t];
    }
    starts.reverse();
    starts
}

/// A possible last change point.
struct Candidate {
    start: usize,
    /// The end from which on it can no longer be the best.
    leaves_at: usize,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::cost::{MeanCost, MeanVarianceCost};
    use super::*;

    /// All segmentations by dynamic programming without pruning.
    fn full_search<C: SegmentCost>(cost: &C, penalty: f64, least: usize) -> f64 {
        let n = cost.len();
        let mut best = vec![f64::INFINITY; n + 1];
        best[0] = -penalty;
        for t in least..=n {
            for s in 0..=t - least {
                best[t] = best[t].min(best[s] + cost.cost(s..t) + penalty);
            }
        }
        best[n]
    }

    fn total<C: SegmentCost>(cost: &C, penalty: f64, starts: &[usize]) -> f64 {
        let mut bounds = vec![0];
        bounds.extend_from_slice(starts);
        bounds.push(cost.len());
        bounds
            .windows(2)
            .map(|b| cost.cost(b[0]..b[1]))
            .sum::<f64>()
            + penalty * starts.len() as f64
    }

    proptest! {
        #[test]
        fn pruning_never_loses_the_best(
            values in prop::collection::vec(-4.0..4.0_f64, 6..60),
            penalty in 0.1..8.0_f64,
            least in 1usize..5,
        ) {
            prop_assume!(values.len() >= 2 * least);
            let mean = MeanCost::new(&values, 1.0);
            let found = total(&mean, penalty, &pelt(&mean, penalty, least));
            prop_assert!((found - full_search(&mean, penalty, least)).abs() < 1e-8);
            let both = MeanVarianceCost::new(&values, 1e-2);
            let found = total(&both, penalty, &pelt(&both, penalty, least));
            prop_assert!((found - full_search(&both, penalty, least)).abs() < 1e-8);
        }
    }

    #[test]
    fn short_series_have_no_change() {
        assert!(pelt(&MeanCost::new(&[], 1.0), 1.0, 1).is_empty());
        assert!(pelt(&MeanCost::new(&[1.0, 9.0, 9.0], 1.0), 1.0, 2).is_empty());
    }
}
