//! What one series of a file tells, gathered in one pass and bounded memory: for a person, a page or a script.
//! In: rows, in order. Out: a [`SeriesReport`]. Called from: `layer5 analyze`; drawn by [`crate::report_page`].
//! How a series of any length fits: up to [`ROWS_HELD_MAX`] rows everything is exact. Beyond, every row still passes the
//! watch, so scores and anomalies are exact; trend and change points are those of the means of so many rows each
//! ([`SeriesReport::rows_per_bin`], a power of two), and periods, forecast and motifs those of the newest rows.

mod gather;
mod story;
mod strip;

pub(crate) use gather::{Gathering, Judged};
use layer5_core::{Finding, Timestamp, event::Detail};
use layer5_patterns::{Analysis, forecast::Forecast};
pub(crate) use story::{Event, EventKind, events};
pub(crate) use strip::{Bin, joined};

/// Most rows of which everything is exact.
pub(crate) const ROWS_HELD_MAX: usize = 1 << 16;
/// Anomalous rows that are kept, the strongest.
const MARKS_MAX: usize = 10_000;

/// A row unlike its past.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mark {
    /// Its number among the rows, from 0.
    pub(crate) row: u64,
    /// Its time.
    pub(crate) at: Timestamp,
    /// Its value.
    pub(crate) value: f64,
    /// How strange, 0 to 1.
    pub(crate) strength: f64,
    /// What would have been normal.
    pub(crate) baseline: f64,
    /// Usual spread round that.
    pub(crate) spread: f64,
}

/// A shape that comes back, and where.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MotifPlaces {
    /// Length, rows.
    pub(crate) len: usize,
    /// First rows of its occurrences, the clearest first.
    pub(crate) rows: Vec<u64>,
    /// The values of each.
    pub(crate) values: Vec<Vec<f64>>,
}

/// Everything that one series tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeriesReport {
    /// Its name.
    pub(crate) name: String,
    /// Rows.
    pub(crate) n: u64,
    /// Rows without a value.
    pub(crate) n_gaps: u64,
    /// Rows that repeat the time of the one before, and rows that go back in time and were not judged.
    pub(crate) n_same_time: u64,
    /// See [`SeriesReport::n_same_time`].
    pub(crate) n_late: u64,
    /// Time of the first row and of the last.
    pub(crate) span: Option<(Timestamp, Timestamp)>,
    /// The series for drawing, in order.
    pub(crate) bins: Vec<Bin>,
    /// Rows in each bin; 1: everything is exact.
    pub(crate) rows_per_bin: u64,
    /// The analyses. Indices are numbers of rows.
    pub(crate) analysis: Analysis,
    /// How many rows were anomalous; the strongest of them are in `marks`.
    pub(crate) n_anomalies: u64,
    /// Anomalous rows, rising.
    pub(crate) marks: Vec<Mark>,
    /// Shapes that come back.
    pub(crate) motifs: Vec<MotifPlaces>,
    /// One season: for each phase the lower quartile, median and upper quartile of the newest rows.
    pub(crate) season: Vec<[f64; 3]>,
    /// The times of the drawn forecast.
    pub(crate) forecast_at: Vec<Timestamp>,
    /// The forecast for drawing: at least what was asked for, one cycle where there is one.
    pub(crate) drawn: Forecast,
    /// Names of the templates that were looked for, in the order of their numbers in findings.
    pub(crate) templates: Vec<String>,
    /// Number of the first of the newest rows, of which periods, forecast and motifs are told.
    pub(crate) newest_from: u64,
}

impl SeriesReport {
    /// Every finding, by start.
    pub(crate) fn findings(&self) -> &[Finding] {
        &self.analysis.findings
    }

    /// A finding in plain words.
    pub(crate) fn explain(&self, finding: &Finding) -> String {
        let words = finding.explain(&self.name, "");
        let template = match finding.detail {
            Detail::Template { index, .. } => self.templates.get(index as usize),
            _ => None,
        };
        template.map_or(words.clone(), |name| format!("template `{name}`: {words}"))
    }

    /// Time of a row, to within its bin; of a row behind the end, that of the last.
    pub(crate) fn time_of(&self, row: u64) -> Timestamp {
        let idx = (row / self.rows_per_bin.max(1)) as usize;
        self.bins
            .get(idx)
            .or(self.bins.last())
            .map_or(Timestamp::EPOCH, |bin| bin.at)
    }

    /// The last row at or before a time, to within its bin.
    pub(crate) fn row_at(&self, at: Timestamp) -> u64 {
        let idx = self.bins.partition_point(|bin| bin.at <= at);
        self.bins
            .get(idx.saturating_sub(1))
            .map_or(0, |bin| bin.row)
    }

    /// Usual seconds between two rows; `None` where rows have no usable times.
    pub(crate) fn row_seconds(&self) -> Option<f64> {
        let mut steps: Vec<f64> = self
            .bins
            .windows(2)
            .map(|w| w[1].at.seconds_since(w[0].at))
            .collect();
        steps.sort_by(f64::total_cmp);
        let step =
            steps.get(steps.len() / 2).copied().unwrap_or(0.0) / self.rows_per_bin.max(1) as f64;
        (self.along_time() && step > 0.0).then_some(step)
    }

    /// The unit in which a few dozen rows are best told, and how many of it one row is.
    pub(crate) fn row_unit(&self) -> (&'static str, f64) {
        match self.row_seconds() {
            None => ("rows", 1.0),
            Some(s) if s < 1.0 => ("s", s),
            Some(s) if s < 20.0 => ("min", s / 60.0),
            Some(s) if s < 7200.0 => ("h", s / 3600.0),
            Some(s) => ("d", s / 86_400.0),
        }
    }

    /// A number of rows as a person tells it.
    pub(crate) fn length_of(&self, rows: f64) -> String {
        // Three digits: a season of 24.02 h is a day.
        let number = |x: f64| {
            let digit = 10_f64.powf(2.0 - x.abs().max(1e-300).log10().floor());
            crate::report_page::number((x * digit).round() / digit)
        };
        match self.row_seconds().map(|s| s * rows) {
            None => format!("{} rows", number(rows)),
            Some(s) if s < 120.0 => format!("{} s", number(s)),
            Some(s) if s < 7200.0 => format!("{} min", number(s / 60.0)),
            Some(s) if s < 172_800.0 => format!("{} h", number(s / 3600.0)),
            Some(s) => format!("{} d", number(s / 86_400.0)),
        }
    }

    /// Whether the rows have times that a picture can be drawn along: in order, and not mostly the same.
    pub(crate) fn along_time(&self) -> bool {
        let rises = self.span.is_some_and(|(first, last)| first < last);
        rises && 2 * self.n_same_time < self.n && self.bins.is_sorted_by_key(|bin| bin.at)
    }
}
