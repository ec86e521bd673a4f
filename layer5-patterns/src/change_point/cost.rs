//! What a segment costs: how badly one law describes the samples in it.
//! In: a series, once; then half-open ranges. Out: costs in units of twice the negative log likelihood.
//! Called from: [`super::pelt`]. Invariants: splitting a segment never raises the sum of the costs, which PELT's
//! pruning needs; every query is O(1), from sums kept up to each index.
//! Notation: v samples, brought to order one by the caller; n length of the segment.

use std::ops::Range;

/// A cost that answers for any segment in constant time.
pub trait SegmentCost {
    /// Number of samples.
    fn len(&self) -> usize;
    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Cost of `segment`, which is not empty and lies within `0..len()`.
    fn cost(&self, segment: Range<usize>) -> f64;
}

/// Changes of level under a known variance: squared distance to the segment's mean, over that variance.
#[derive(Debug, Clone)]
pub struct MeanCost {
    /// `(sum, sum of squares)` before each index; shape `[n + 1]`.
    sums: Vec<(f64, f64)>,
    inverse_variance: f64,
}

impl MeanCost {
    /// `values`: shape `[n]`, finite. `variance`: of the noise, in the unit of `values` squared; positive.
    pub fn new(values: &[f64], variance: f64) -> Self {
        Self {
            sums: running_sums(values),
            inverse_variance: 1.0 / variance.max(f64::MIN_POSITIVE),
        }
    }
}

impl SegmentCost for MeanCost {
    fn len(&self) -> usize {
        self.sums.len() - 1
    }

    #[inline]
    fn cost(&self, segment: Range<usize>) -> f64 {
        let (a, b) = (self.sums[segment.start], self.sums[segment.end]);
        let n = (segment.end - segment.start) as f64;
        let sum = b.0 - a.0;
        (b.1 - a.1 - sum * sum / n).max(0.0) * self.inverse_variance
    }
}

/// Changes of level or variance: `n ln(sigma2 + floor)` of the segment's own normal law.
///
/// The floor is added, not taken as a maximum: the logarithm of a sum stays concave, so that splitting a segment
/// never costs more.
#[derive(Debug, Clone)]
pub struct MeanVarianceCost {
    sums: Vec<(f64, f64)>,
    floor: f64,
}

impl MeanVarianceCost {
    /// `values`: shape `[n]`, finite. `floor`: variance below which nothing is told apart, such as that of rounding.
    pub fn new(values: &[f64], floor: f64) -> Self {
        Self {
            sums: running_sums(values),
            floor: floor.max(f64::MIN_POSITIVE),
        }
    }
}

impl SegmentCost for MeanVarianceCost {
    fn len(&self) -> usize {
        self.sums.len() - 1
    }

    #[inline]
    fn cost(&self, segment: Range<usize>) -> f64 {
        let (a, b) = (self.sums[segment.start], self.sums[segment.end]);
        let n = (segment.end - segment.start) as f64;
        let mean = (b.0 - a.0) / n;
        let variance = ((b.1 - a.1) / n - mean * mean).max(0.0);
        n * (variance + self.floor).ln()
    }
}

/// Changes of level or slope under a known variance: squared distance to the segment's own line, over that variance.
#[derive(Debug, Clone)]
pub struct LineCost {
    /// Sums of `t, t^2, v, t v, v^2` before each index, `t` from the middle of the series; shape `[n + 1]`.
    sums: Vec<[f64; 5]>,
    inverse_variance: f64,
}

impl LineCost {
    /// `values`: shape `[n]`, finite. `variance`: of the noise, in the unit of `values` squared; positive.
    pub fn new(values: &[f64], variance: f64) -> Self {
        let middle = values.len() as f64 / 2.0;
        let mut sums = Vec::with_capacity(values.len() + 1);
        let mut last = [0.0; 5];
        sums.push(last);
        for (i, v) in values.iter().enumerate() {
            let t = i as f64 - middle;
            for (sum, term) in last.iter_mut().zip([t, t * t, *v, t * v, v * v]) {
                *sum += term;
            }
            sums.push(last);
        }
        Self {
            sums,
            inverse_variance: 1.0 / variance.max(f64::MIN_POSITIVE),
        }
    }
}

impl SegmentCost for LineCost {
    fn len(&self) -> usize {
        self.sums.len() - 1
    }

    #[inline]
    fn cost(&self, segment: Range<usize>) -> f64 {
        let (a, b) = (&self.sums[segment.start], &self.sums[segment.end]);
        let n = (segment.end - segment.start) as f64;
        let (t, v) = (b[0] - a[0], b[2] - a[2]);
        let tt = b[1] - a[1] - t * t / n;
        let tv = b[3] - a[3] - t * v / n;
        let vv = b[4] - a[4] - v * v / n;
        let rest = if n > 1.0 { vv - tv * tv / tt } else { vv };
        rest.max(0.0) * self.inverse_variance
    }
}

fn running_sums(values: &[f64]) -> Vec<(f64, f64)> {
    let mut sums = Vec::with_capacity(values.len() + 1);
    let (mut sum, mut squares) = (0.0, 0.0);
    sums.push((0.0, 0.0));
    for v in values {
        sum += v;
        squares += v * v;
        sums.push((sum, squares));
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn splitting_never_costs_more(values in prop::collection::vec(-3.0..3.0_f64, 2..40), at in 1usize..39) {
            let n = values.len();
            let at = at.min(n - 1);
            let mean = MeanCost::new(&values, 0.5);
            let both = MeanVarianceCost::new(&values, 1e-3);
            let line = LineCost::new(&values, 0.5);
            prop_assert!(line.cost(0..at) + line.cost(at..n) <= line.cost(0..n) + 1e-9);
            prop_assert!(mean.cost(0..at) + mean.cost(at..n) <= mean.cost(0..n) + 1e-9);
            prop_assert!(both.cost(0..at) + both.cost(at..n) <= both.cost(0..n) + 1e-9);
        }
    }
}
