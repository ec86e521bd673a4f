//! A series of any length as a bounded number of bins of equal row counts.
//! In: one row at a time. Out: bins with mean, extremes and what the watch held for normal.
//! Invariants: at most [`super::ROWS_HELD_MAX`] bins; each but the last holds `rows_per_bin` rows, a power of two; no row
//! is left out.

use layer5_core::Timestamp;

use super::ROWS_HELD_MAX;

/// Some rows in a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bin {
    /// Number of the first row, from 0.
    pub(crate) row: u64,
    /// Its time.
    pub(crate) at: Timestamp,
    /// How many of the rows have a value, and their mean, lowest and highest.
    pub(crate) n: u64,
    mean_part: f64,
    /// Lowest value.
    pub(crate) low: f64,
    /// Highest value.
    pub(crate) high: f64,
    n_normal: u64,
    baseline_part: f64,
    spread_part: f64,
    /// The highest score, 0 to 1.
    pub(crate) score: f32,
}

impl Bin {
    /// One row. `normal`: baseline and spread that the watch held for normal before the row came.
    pub(super) fn one(
        row: u64,
        at: Timestamp,
        value: f64,
        normal: Option<(f64, f64)>,
        score: f32,
    ) -> Self {
        let present = value.is_finite();
        let (baseline, spread) = normal.unwrap_or((0.0, 0.0));
        Self {
            row,
            at,
            n: u64::from(present),
            mean_part: if present { value } else { 0.0 },
            low: if present { value } else { f64::INFINITY },
            high: if present { value } else { f64::NEG_INFINITY },
            n_normal: u64::from(normal.is_some()),
            baseline_part: baseline,
            spread_part: spread,
            score,
        }
    }

    /// The mean; NaN without a value.
    pub(crate) fn mean(&self) -> f64 {
        if self.n == 0 {
            f64::NAN
        } else {
            self.mean_part
        }
    }

    /// What was held for normal, and its spread.
    pub(crate) fn normal(&self) -> Option<(f64, f64)> {
        (self.n_normal > 0).then_some((self.baseline_part, self.spread_part))
    }

    /// This bin and the one behind it as one.
    pub(crate) fn and(&self, next: &Self) -> Self {
        // Means are weighted rather than sums divided, so that values near the end of f64 do not overflow.
        let weighted = |a: f64, n: u64, b: f64, m: u64| {
            if n + m == 0 {
                return 0.0;
            }
            let w = m as f64 / (n + m) as f64;
            a * (1.0 - w) + b * w
        };
        Self {
            row: self.row,
            at: self.at,
            n: self.n + next.n,
            mean_part: weighted(self.mean_part, self.n, next.mean_part, next.n),
            low: self.low.min(next.low),
            high: self.high.max(next.high),
            n_normal: self.n_normal + next.n_normal,
            baseline_part: weighted(
                self.baseline_part,
                self.n_normal,
                next.baseline_part,
                next.n_normal,
            ),
            spread_part: weighted(
                self.spread_part,
                self.n_normal,
                next.spread_part,
                next.n_normal,
            ),
            score: self.score.max(next.score),
        }
    }
}

/// The bins of a series that is still growing.
#[derive(Clone, Debug)]
pub(super) struct Strip {
    bins: Vec<Bin>,
    rows_per_bin: u64,
    in_last: u64,
}

impl Strip {
    /// An empty strip.
    pub(super) fn new() -> Self {
        Self {
            bins: Vec::new(),
            rows_per_bin: 1,
            in_last: 0,
        }
    }

    /// Adds a row at the end.
    pub(super) fn push(&mut self, row: Bin) {
        if self.in_last > 0 && self.in_last < self.rows_per_bin {
            let last = self.bins.last_mut().expect("rows are in the last bin");
            *last = last.and(&row);
            self.in_last += 1;
            return;
        }
        if self.bins.len() == ROWS_HELD_MAX {
            self.bins = self.bins.chunks(2).map(joined).collect();
            self.rows_per_bin *= 2;
        }
        self.bins.push(row);
        self.in_last = 1;
    }

    /// The bins, and how many rows each holds.
    pub(super) fn finish(self) -> (Vec<Bin>, u64) {
        (self.bins, self.rows_per_bin)
    }
}

/// Bins in a line as one.
///
/// # Panics
/// Without a bin.
pub(crate) fn joined(bins: &[Bin]) -> Bin {
    let (first, rest) = bins.split_first().expect("at least one bin");
    rest.iter().fold(*first, |all, bin| all.and(bin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_keeps_every_row_in_bounded_bins() {
        let n = 5 * ROWS_HELD_MAX as u64 + 3;
        let mut strip = Strip::new();
        for row in 0..n {
            let value = if row % 10 == 0 { f64::NAN } else { row as f64 };
            strip.push(Bin::one(
                row,
                Timestamp::from_millis(row as i64),
                value,
                None,
                0.0,
            ));
        }
        let (bins, rows_per_bin) = strip.finish();
        assert!(bins.len() <= ROWS_HELD_MAX);
        assert_eq!(rows_per_bin, 8);
        assert_eq!(bins.iter().map(|b| b.n).sum::<u64>(), n - n.div_ceil(10));
        for (i, bin) in bins.iter().enumerate() {
            assert_eq!(bin.row, i as u64 * rows_per_bin);
        }
        let all = joined(&bins);
        assert_eq!((all.low, all.high), (1.0, (n - 1) as f64));
    }

    #[test]
    fn the_ends_of_f64_do_not_overflow_a_mean() {
        let bin = |value| Bin::one(0, Timestamp::EPOCH, value, None, 0.0);
        let both = bin(1.7e308).and(&bin(1.7e308));
        assert_eq!(both.mean(), 1.7e308);
        assert!(bin(f64::NAN).and(&bin(f64::NAN)).mean().is_nan());
        assert_eq!(bin(f64::NAN).and(&bin(3.0)).mean(), 3.0);
    }
}
