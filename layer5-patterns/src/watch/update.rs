//! What one sample brought, and what a watch believes.
//! In: what [`super::Watch`] found. Out: plain data for its callers.
//! Invariants: nothing here allocates; findings beyond the first few of one sample are left out.

use layer5_core::{Direction, Finding, Timestamp};
use serde::{Deserialize, Serialize};

use crate::alarm::Alarm;
use crate::detector::Outcome;

/// Findings of one update: one of each kind that can meet in one sample.
const FINDINGS_MAX: usize = 4;

/// What one sample brought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// Strangeness of the sample, how many samples are missing for one, or why it was refused.
    pub score: Outcome,
    /// Set at the first sight of something new.
    pub alarm: Option<Alarm>,
    /// Facts found with this sample, mostly none.
    pub findings: Findings,
}

/// A few findings, held in place.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Findings {
    items: [Option<Finding>; FINDINGS_MAX],
}

impl Findings {
    pub(super) fn push(&mut self, finding: Finding) {
        // Full means four facts in one sample; the first four are the ones told.
        if let Some(slot) = self.items.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(finding);
        }
    }

    /// The findings, in the order they were made.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.items.iter().flatten()
    }

    /// Number of findings.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items[0].is_none()
    }
}

/// What the watch believes of the series, for people.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WatchState {
    /// Samples taken; stays at four thousand million.
    pub n: u64,
    /// Newest value, in the series' unit.
    pub last_value: f64,
    /// Time of the newest sample; `None` before the first.
    pub last_at: Option<Timestamp>,
    /// Level of the current regime, without the daily cycle.
    pub level: f64,
    /// Usual spread round the level (a standard deviation without outliers).
    pub scale: f64,
    /// What would be normal at the newest sample's time: level and cycle.
    pub baseline: f64,
    /// Change per hour, in the series' unit; 0 where no slope is beyond chance.
    pub trend_per_hour: f64,
    /// Direction of that slope.
    pub trend: Direction,
    /// Length of the shortest confirmed cycle, s.
    pub period_seconds: Option<f64>,
    /// Usual seconds between samples.
    pub spacing_seconds: Option<f64>,
}
