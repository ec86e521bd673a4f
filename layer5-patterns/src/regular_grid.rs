//! Timestamps as they came, put on an even grid, so that batch analyses may count in samples.
//! In: times and values of equal length. Out: values by grid place, gaps as `NaN`, and the way back to input indices.
//! Called from: [`crate::analyze()`].
//! Invariants: the grid is at most [`GRID_GROWTH_MAX`] times as long as the input, whatever the times are.

use layer5_core::Timestamp;

use crate::order_statistics::median;

/// A grid this many times longer than the series is not a series with gaps but several series: no grid is made.
pub(crate) const GRID_GROWTH_MAX: usize = 4;

/// A series at even steps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RegularGrid {
    /// Shape `[grid]`, `NaN` where no sample came.
    pub(crate) values: Vec<f64>,
    /// For each place of the grid the index of the input sample there, or of the last one before it.
    pub(crate) index: Vec<usize>,
    /// Seconds between places; 0 when there are fewer than two times.
    pub(crate) step_seconds: f64,
    start: Timestamp,
    /// Times of the samples, where the grid is only their order.
    irregular: Option<Vec<Timestamp>>,
}

impl RegularGrid {
    /// Puts samples on a grid whose step is the median of the steps between them.
    ///
    /// When times go backwards, stand still, or leave gaps beyond [`GRID_GROWTH_MAX`], the samples' own order is the
    /// grid. Of two samples at one place the later stays.
    pub(crate) fn new(at: &[Timestamp], values: &[f64]) -> Self {
        let n = at.len().min(values.len());
        let steps: Vec<f64> = at[..n]
            .windows(2)
            .map(|w| w[1].seconds_since(w[0]))
            .collect();
        let step = median(&steps);
        let start = at.first().copied().unwrap_or_default();
        let in_order = steps.iter().all(|s| *s > 0.0);
        let grid_len = if in_order && step > 0.0 {
            (at[n - 1].seconds_since(start) / step).round() + 1.0
        } else {
            f64::INFINITY
        };
        if grid_len.is_nan() || grid_len > (GRID_GROWTH_MAX * n) as f64 {
            return Self {
                values: values[..n].to_vec(),
                index: (0..n).collect(),
                step_seconds: step.max(0.0),
                start,
                irregular: Some(at[..n].to_vec()),
            };
        }
        let grid_len = grid_len as usize;
        let mut grid = vec![f64::NAN; grid_len];
        let mut index = vec![usize::MAX; grid_len];
        for i in 0..n {
            let place = (at[i].seconds_since(start) / step).round() as usize;
            let place = place.min(grid_len - 1);
            grid[place] = values[i];
            index[place] = i;
        }
        let mut last = 0;
        for slot in &mut index {
            if *slot == usize::MAX {
                *slot = last;
            }
            last = *slot;
        }
        Self {
            values: grid,
            index,
            step_seconds: step,
            start,
            irregular: None,
        }
    }

    /// The time of a place; places behind the end are extrapolated.
    pub(crate) fn time(&self, place: usize) -> Timestamp {
        match &self.irregular {
            Some(at) if !at.is_empty() => {
                let last = at.len() - 1;
                let beyond = place.saturating_sub(last) as f64;
                at[place.min(last)].plus_seconds(beyond * self.step_seconds)
            }
            _ => self.start.plus_seconds(place as f64 * self.step_seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(seconds: &[i64]) -> Vec<Timestamp> {
        seconds
            .iter()
            .map(|s| Timestamp::from_millis(s * 1000))
            .collect()
    }

    #[test]
    fn missing_samples_become_gaps() {
        let grid = RegularGrid::new(&times(&[0, 10, 21, 50, 60]), &[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(grid.step_seconds, 10.5);
        let grid = RegularGrid::new(&times(&[0, 10, 20, 50, 60]), &[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(grid.values.len(), 7);
        assert!(grid.values[3].is_nan() && grid.values[4].is_nan());
        assert_eq!(grid.index, [0, 1, 2, 2, 2, 3, 4]);
        assert_eq!(grid.time(8), times(&[80])[0]);
    }

    #[test]
    fn times_that_make_no_grid_keep_their_order() {
        for bad in [&[0, 0, 0][..], &[5, 3, 1], &[0, 1, 2, 1_000_000]] {
            let values: Vec<f64> = (0..bad.len()).map(|i| i as f64).collect();
            let grid = RegularGrid::new(&times(bad), &values);
            assert_eq!(grid.values, values);
            assert_eq!(grid.time(1), times(bad)[1]);
        }
        assert!(RegularGrid::new(&[], &[]).values.is_empty());
    }
}
