//! How one series lies on the paper: along time or rows, in so many columns, with its normal range.
//! In: a [`SeriesReport`]. Out: places, marks of the axes, lines and bands. Called from: every chart of the page.
//! Invariants: at most [`COLUMNS_MAX`] points a line, whatever the length; a line breaks where no rows came.

use layer5_core::Timestamp;

use crate::{
    report_page::{
        axis,
        frame::{Frame, range},
    },
    series_report::{Bin, SeriesReport, joined},
};

/// Points of a drawn line.
pub(super) const COLUMNS_MAX: usize = 1100;

/// The normal range is drawn this many spreads to both sides.
const NORMAL_SPREADS: f64 = 3.0;

/// A picture shows all values unless that is this many times as high as where 98 % of them lie.
const SQUASHED: f64 = 12.0;

/// How a series lies on the paper.
pub(super) struct Picture {
    pub(super) along_time: bool,
    /// The bins, put together until they fit.
    pub(super) columns: Vec<Bin>,
    /// Whether a column is more than one row.
    pub(super) thinned: bool,
}

impl Picture {
    pub(super) fn of(report: &SeriesReport) -> Self {
        let each = report.bins.len().div_ceil(COLUMNS_MAX).max(1);
        let columns: Vec<Bin> = report.bins.chunks(each).map(joined).collect();
        let along_time = report.along_time();
        Self {
            along_time,
            columns,
            thinned: each > 1 || report.rows_per_bin > 1,
        }
    }

    /// Distance of two of these bins beyond which the line breaks: rows are missing between them.
    fn break_at(&self, bins: &[Bin]) -> f64 {
        if !self.along_time {
            return f64::INFINITY;
        }
        let steps = bins.windows(2).map(|w| self.x(&w[1]) - self.x(&w[0]));
        let mut steps: Vec<f64> = steps.collect();
        steps.sort_by(f64::total_cmp);
        let usual = steps.get(steps.len() / 2);
        usual.map_or(f64::INFINITY, |step| 5.0 * step)
    }

    pub(super) fn x(&self, bin: &Bin) -> f64 {
        self.place(bin.at, bin.row)
    }

    pub(super) fn place(&self, at: Timestamp, row: u64) -> f64 {
        if self.along_time {
            at.seconds()
        } else {
            row as f64
        }
    }

    pub(super) fn when(&self, at: Timestamp, row: u64) -> String {
        if self.along_time {
            axis::shown(at)
        } else {
            format!("row {row}")
        }
    }

    pub(super) fn ticks(&self, (from, to): (f64, f64), about: usize) -> Vec<axis::Tick> {
        if self.along_time {
            axis::time_ticks(from, to, about)
        } else {
            axis::number_ticks(from, to, about)
        }
    }

    /// Draws bins: the normal range, the extremes where a column is several rows, the mean. All of it breaks where no
    /// rows came.
    pub(super) fn draw(&self, frame: &mut Frame, bins: &[Bin], with_range: bool) {
        let break_at = self.break_at(bins);
        for part in bins.chunk_by(|a, b| self.x(b) - self.x(a) <= break_at) {
            let normal = part.iter().map(|bin| match bin.normal() {
                Some((baseline, spread)) => {
                    let half = NORMAL_SPREADS * spread;
                    (self.x(bin), baseline - half, baseline + half)
                }
                None => (f64::NAN, f64::NAN, f64::NAN),
            });
            frame.band("normal", normal);
            if with_range {
                frame.band("range", part.iter().map(|b| (self.x(b), b.low, b.high)));
            }
        }
        for part in bins.chunk_by(|a, b| self.x(b) - self.x(a) <= break_at) {
            frame.line("series", part.iter().map(|bin| (self.x(bin), bin.mean())));
        }
    }
}

/// The range of values that a picture shows, and how many columns reach beyond.
pub(super) fn heights(report: &SeriesReport, columns: &[Bin]) -> ((f64, f64), usize) {
    let extremes = columns
        .iter()
        .filter(|b| b.n > 0)
        .flat_map(|b| [b.low, b.high]);
    let next = &report.drawn;
    let future = next.lower.iter().chain(&next.upper).copied();
    let mut all: Vec<f64> = extremes.clone().collect();
    all.sort_by(f64::total_cmp);
    let at = |share: f64| {
        all.get((share * all.len().saturating_sub(1) as f64) as usize)
            .copied()
            .unwrap_or(0.0)
    };
    let (low, high) = (at(0.01), at(0.99));
    let whole = range(extremes);
    let usual = high - low;
    if usual > 0.0 && (0.5 * whole.1 - 0.5 * whole.0) * 2.0 > SQUASHED * usual {
        let shown = (low - 1.5 * usual, high + 1.5 * usual);
        let beyond = columns
            .iter()
            .filter(|b| b.n > 0 && (b.low < shown.0 || b.high > shown.1))
            .count();
        return (shown, beyond);
    }
    // A forecast whose interval is wider than the series must not squash what was.
    let (lowest, highest) = (
        whole.0 - 0.6 * (whole.1 - whole.0),
        whole.1 + 0.6 * (whole.1 - whole.0),
    );
    let with_future = range(
        [whole.0, whole.1]
            .into_iter()
            .chain(future.map(|v| v.clamp(lowest, highest))),
    );
    (
        if with_future.0.is_finite() {
            with_future
        } else {
            whole
        },
        0,
    )
}
