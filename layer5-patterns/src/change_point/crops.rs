//! Every segmentation that is best for some penalty in a range, with few searches: CROPS.
//! In: a [`SegmentCost`], a range of penalties. Out: [`BestOver`] ranges. Called from: users who want to see how the number
//! of changes depends on the penalty.
//! Invariants: the number of changes falls as the penalty rises; neighbouring answers differ in their number of changes.
//! Reference: Haynes, Eckley and Fearnhead (2017), <https://doi.org/10.1080/10618600.2015.1116445>.

use super::cost::SegmentCost;
use super::pelt::pelt;

/// A segmentation and from which penalty on it is the best.
#[derive(Debug, Clone, PartialEq)]
pub struct BestOver {
    /// Best from this penalty to that of the next answer.
    pub penalty: f64,
    /// Cost without penalties.
    pub cost: f64,
    /// First samples of all segments but the first, rising.
    pub starts: Vec<usize>,
}

/// The segmentations that are best for penalties in `low..=high`, most changes first.
///
/// `searches_max`: [`pelt`] runs at most so often; where it ends the search, answers between are missing and the penalties
/// given are still those for which the answers are best. Empty when `low > high` or either is not a positive number.
/// # Cost
/// About two [`pelt`] searches per answer.
///
/// ```
/// use layer5_patterns::change_point::{MeanCost, crops};
/// let values: Vec<f64> = (0..90).map(|i| f64::from(i / 30 * (i / 30))).collect();
/// let found = crops(&MeanCost::new(&values, 1.0), (1.0, 1e4), 5, 20);
/// let counts: Vec<usize> = found.iter().map(|s| s.starts.len()).collect();
/// assert_eq!(counts, [2, 1, 0]);
/// ```
pub fn crops<C: SegmentCost>(
    cost: &C,
    (low, high): (f64, f64),
    segment_len_min: usize,
    searches_max: usize,
) -> Vec<BestOver> {
    if !(low > 0.0 && low <= high && high.is_finite()) || cost.is_empty() {
        return Vec::new();
    }
    let n = cost.len();
    let search = |penalty: f64| {
        let starts = pelt(cost, penalty, segment_len_min);
        let bounds = [0].into_iter().chain(starts.iter().copied());
        let ends = starts.iter().copied().chain([n]);
        BestOver {
            penalty,
            cost: bounds.zip(ends).map(|(a, b)| cost.cost(a..b)).sum(),
            starts,
        }
    };
    let mut found = vec![search(low), search(high)];
    let mut searches = 2;
    let mut open = vec![0];
    // Between two answers with m and k < m - 1 changes, the penalty at which both cost the same is tried.
    while let Some(at) = open.pop() {
        let (left, right) = (&found[at], &found[at + 1]);
        let (m, k) = (left.starts.len(), right.starts.len());
        if m <= k + 1 || searches >= searches_max {
            continue;
        }
        let middle = search((right.cost - left.cost) / (m - k) as f64);
        searches += 1;
        if (k + 1..m).contains(&middle.starts.len()) {
            found.insert(at + 1, middle);
            for place in &mut open {
                *place += usize::from(*place > at);
            }
            open.extend([at, at + 1]);
        }
    }
    // Costs that are no numbers (of values far from order one) may come in any order.
    found.dedup_by(|later, earlier| later.starts.len() >= earlier.starts.len());
    for i in 1..found.len() {
        let (more, fewer) = (&found[i - 1], &found[i]);
        let changes = more.starts.len() - fewer.starts.len();
        found[i].penalty = (fewer.cost - more.cost) / changes as f64;
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::change_point::MeanCost;

    proptest! {
        #[test]
        fn every_penalty_finds_its_answer_among_them(
            values in prop::collection::vec(-4.0..4.0_f64, 10..60),
            penalty in 0.3..40.0_f64,
        ) {
            let cost = MeanCost::new(&values, 1.0);
            let all = crops(&cost, (0.2, 50.0), 2, 1000);
            let in_order = |w: &[BestOver]| {
                w[0].starts.len() > w[1].starts.len() && w[0].penalty <= w[1].penalty + 1e-9
            };
            prop_assert!(all.windows(2).all(in_order));
            let told = all.iter().rev().find(|s| s.penalty <= penalty).expect("the range covers it");
            let own = pelt(&cost, penalty, 2);
            let mut bounds = vec![0];
            bounds.extend_from_slice(&own);
            bounds.push(values.len());
            let direct: f64 = bounds.windows(2).map(|b| cost.cost(b[0]..b[1])).sum();
            let of = |cost: f64, count: usize| cost + penalty * count as f64;
            let difference = of(told.cost, told.starts.len()) - of(direct, own.len());
            prop_assert!(difference.abs() < 1e-7, "{difference}");
        }
    }

    #[test]
    fn bad_ranges_have_no_answer() {
        let cost = MeanCost::new(&[1.0, 2.0, 9.0], 1.0);
        assert!(crops(&cost, (2.0, 1.0), 1, 10).is_empty());
        assert!(crops(&cost, (f64::NAN, 1.0), 1, 10).is_empty());
        assert!(crops(&MeanCost::new(&[], 1.0), (1.0, 2.0), 1, 10).is_empty());
        assert_eq!(crops(&cost, (1e9, 1e9), 1, 10).len(), 1);
    }
}
