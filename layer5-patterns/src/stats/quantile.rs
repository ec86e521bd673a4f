//! Rank of a value among all that came before, from a fixed number of counters.
//! In: non-negative values of any size. Out: the share of the past at or above a value. Called from: the score.
//! Notation: bins of equal width in `ln(1 + value / unit)`.
//! Invariants: ranks fall as the value grows; the counters are halved together before any can overflow, so the
//! past fades with a half-life of some 30 000 values.
//! Reference: conformal p-values, Vovk, Gammerman and Shafer (2005), ch. 2; log-spaced bins as in DDSketch,
//! Masson et al. (2019), <https://doi.org/10.14778/3352063.3352135>.

use serde::{Deserialize, Serialize};

/// Number of counters.
const BINS: usize = 32;
/// Bins per factor e.
const RESOLUTION: f32 = 4.0;
/// A counter that reaches this halves all.
const COUNT_MAX: u16 = 32_768;

/// A rank sketch of one non-negative quantity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
pub struct RankSketch {
    counts: [u16; BINS],
    total: u32,
}

impl RankSketch {
    fn place(value: f32) -> (usize, f32) {
        let x = (RESOLUTION * value.max(0.0).ln_1p()).min(BINS as f32 - 1.001);
        (x as usize, x.fract())
    }

    /// Takes one value in (`>= 0`; not-a-number is ignored).
    pub fn update(&mut self, value: f32) {
        if value.is_nan() {
            return;
        }
        let (bin, _) = Self::place(value);
        self.counts[bin] += 1;
        self.total += 1;
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
        let (bin, within) = Self::place(value);
        let above: u32 = self.counts[bin + 1..].iter().map(|&c| u32::from(c)).sum();
        let here = f32::from(self.counts[bin]) * (1.0 - within);
        (above as f32 + here + 1.0) / (self.total as f32 + 1.0)
    }

    /// Number of values held.
    pub fn n(&self) -> u32 {
        self.total
    }
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
