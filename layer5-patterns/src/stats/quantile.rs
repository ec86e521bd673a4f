//! Rank of a value among all that came before, from a fixed number of counters.
//! In: non-negative values of any size. Out: the share of the past at or above a value. Called from: the score.
//! Notation: z the robust distance of `ln(1 + value)` from its usual place; bins of equal width in `asinh z`, that is
//! fine in the middle and ever wider outwards.
//! Invariants: ranks fall as the value grows; the counters are halved together before any can overflow, so the
//! past fades with a half-life of some 30 000 values.
//! Reference: conformal p-values, Vovk, Gammerman and Shafer (2005), ch. 2; log-spaced bins as in DDSketch,
//! Masson et al. (2019), <https://doi.org/10.14778/3352063.3352135>.

use serde::{Deserialize, Serialize};

use crate::stats::robust::Spread;

/// Number of counters.
const BINS: usize = 24;
/// Bins per unit of `asinh z`, and the bin where z = 0 begins: z from -2 to 60 is told apart.
const RESOLUTION: f32 = 3.75;
const MIDDLE: f32 = 6.0;
/// Memory of the usual place, in values.
const ALPHA: f32 = 1.0 / 4000.0;
const CLIP: f32 = 3.0;
const Z_MAX: f32 = 1e3;
/// A counter that reaches this halves all.
const COUNT_MAX: u16 = 32_768;

/// A rank sketch of one non-negative quantity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
pub struct RankSketch {
    counts: [u16; BINS],
    total: u32,
    usual: Spread,
}

impl RankSketch {
    /// Bin of a value by its logarithm, and how far into it.
    fn place(&self, log: f32) -> (usize, f32) {
        let z = self.usual.z(log, Z_MAX);
        // `asinh z`, to some 1e-7 of a bin's width; the library's is exact near 0 and takes twice as long.
        let height = (z.abs() + (z * z + 1.0).sqrt()).ln().copysign(z);
        let x = (MIDDLE + RESOLUTION * height).clamp(0.0, BINS as f32 - 1.001);
        let bin = x as usize;
        (bin, x - bin as f32)
    }

    /// Takes one value in (`>= 0`; not-a-number is ignored).
    pub fn update(&mut self, value: f32) {
        self.judge(value, 1.0);
    }

    fn count(&mut self, log: f32, bin: usize) {
        self.counts[bin] += 1;
        self.total += 1;
        self.usual.update(log, self.total, ALPHA, CLIP);
        if self.counts[bin] >= COUNT_MAX {
            self.total = 0;
            for count in &mut self.counts {
                *count /= 2;
                self.total += u32::from(*count);
            }
        }
    }

    /// Conformal p-value: share of the past (and the value itself) at or above `value`, in (0, 1].
    ///
    /// # Cost
    /// 32 additions.
    ///
    /// # Example
    /// ```
    /// use layer5_patterns::stats::quantile::RankSketch;
    /// let mut ranks = RankSketch::default();
    /// for i in 0..100 {
    ///     ranks.update(i as f32 / 100.0);
    /// }
    /// assert!(ranks.p(5.0) < 0.02);
    /// assert!(ranks.p(0.0) > 0.9);
    /// ```
    pub fn p(&self, value: f32) -> f32 {
        self.p_at(self.place(logarithm(value)), 1.0)
    }

    /// The p-value of a value, which then is one of the past. `alike`: neighbouring values that are as good as one, for
    /// which a value counts itself so many times; 1 where they are independent. Not-a-number is judged as 0 and ignored.
    pub fn judge(&mut self, value: f32, alike: f32) -> f32 {
        let log = logarithm(value);
        let place = self.place(log);
        let p = self.p_at(place, alike);
        if !value.is_nan() {
            self.count(log, place.0);
        }
        p
    }

    fn p_at(&self, (bin, within): (usize, f32), alike: f32) -> f32 {
        let above: u32 = self.counts[bin + 1..].iter().map(|&c| u32::from(c)).sum();
        let above = above as f32 + alike;
        let here = f32::from(self.counts[bin]);
        // Geometric between the borders of the bin: tails fall like that, and a wide bin holds a piece of one.
        let p = above * ((above + here) / above).powf(1.0 - within) / (self.total as f32 + alike);
        // The power is rounded, also upwards.
        p.min(1.0)
    }

    /// Number of values held.
    pub fn n(&self) -> u32 {
        self.total
    }
}

/// `ln(1 + value)` of what is at least 0, to 1e-7; not-a-number counts as 0.
fn logarithm(value: f32) -> f32 {
    (1.0 + value.max(0.0)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranks_of_known_values() {
        let mut ranks = RankSketch::default();
        for i in 0..1000 {
            ranks.update((i % 100) as f32 / 20.0);
        }
        // Half of 0 .. 5 lies above 2.5; a bin there is 0.9 wide.
        assert!((ranks.p(2.5) - 0.5).abs() < 0.1, "{}", ranks.p(2.5));
    }

    #[test]
    fn counters_never_overflow() {
        let mut ranks = RankSketch::default();
        for _ in 0..200_000 {
            ranks.update(1.0);
        }
        assert!(ranks.n() < 40_000);
    }

    proptest! {
        #[test]
        fn falls_with_the_value(values in prop::collection::vec(0.0f32..1e9, 0..200), a in 0.0f32..1e9, b in 0.0f32..1e9) {
            let mut ranks = RankSketch::default();
            for v in values { ranks.update(v); }
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            prop_assert!(ranks.p(low) >= ranks.p(high));
            prop_assert!(ranks.p(high) > 0.0 && ranks.p(low) <= 1.0);
        }
    }
}
