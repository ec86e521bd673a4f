//! What happened, in the order in which it happened, in words a person would use.
//! In: a [`SeriesReport`]. Out: [`Event`]s. Called from: the report in the terminal and the page.
//! Invariants: events are in order of rows; at most [`EVENTS_MAX`], the strongest; changes are numbered, groups of
//! anomalies lettered, in that order.

use layer5_core::{Timestamp, event::Detail};
use layer5_patterns::change_point::{Change, ChangePoint};

use super::{Mark, SeriesReport};
use crate::report_page::number;

/// Events that are told of one series, the strongest.
const EVENTS_MAX: usize = 24;
/// Weaker events are shown as marks, and not told.
const WEIGHT_MIN: f64 = 0.5;
/// An anomaly this many rows or fewer from a change of level is that change.
const SAME_ROWS: u64 = 2;
/// A value closer to what is normal, in spreads, is not what is strange.
const NEAR_SPREADS: f64 = 2.0;
/// Anomalous rows fewer rows apart than this belong together, or a two-hundredth of the series.
const TOGETHER_ROWS: u64 = 12;

/// What sort of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// A new regime.
    Change,
    /// Values unlike their past.
    Anomaly,
    /// No values, or always the same one.
    Silence,
    /// A shape that was asked for.
    Template,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    /// What sort.
    pub(crate) kind: EventKind,
    /// `1`, `2` for changes, `A`, `B` for anomalies, `–` for silences, `≈` for shapes that were asked for.
    pub(crate) label: String,
    /// First row and last.
    pub(crate) rows: (u64, u64),
    /// When it began.
    pub(crate) at: Timestamp,
    /// How much it weighs, 0 to 1.
    pub(crate) weight: f64,
    /// In words.
    pub(crate) words: String,
}

/// The events of a series.
pub(crate) fn events(report: &SeriesReport) -> Vec<Event> {
    let mut all: Vec<Event> = report
        .analysis
        .change_points
        .iter()
        .map(|c| changed(report, c))
        .collect();
    let together = TOGETHER_ROWS.max(report.n / 200);
    let groups = report.marks.chunk_by(|a, b| b.row - a.row <= together);
    let is_a_change = |row: u64| {
        let levels = report
            .analysis
            .change_points
            .iter()
            .filter(|c| c.change == Change::Level);
        levels
            .into_iter()
            .any(|c| (c.index as u64).abs_diff(row) <= SAME_ROWS)
    };
    all.extend(groups.map(strange).filter(|e| !is_a_change(e.rows.0)));
    all.extend(silences(report));
    all.extend(came_again(report));
    all.retain(|event| event.weight >= WEIGHT_MIN);
    all.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    all.truncate(EVENTS_MAX);
    all.sort_by_key(|event| event.rows);
    let (mut n_changes, mut n_groups) = (0, 0);
    for event in &mut all {
        event.label = match event.kind {
            EventKind::Change => {
                n_changes += 1;
                n_changes.to_string()
            }
            EventKind::Anomaly => {
                n_groups += 1;
                letter(n_groups)
            }
            EventKind::Silence => "–".into(),
            EventKind::Template => "≈".into(),
        };
    }
    all
}

/// `A` to `Z` for 1 to 26.
fn letter(n: u8) -> String {
    char::from(b'A' + (n - 1) % 26).to_string()
}

fn way(step: f64) -> &'static str {
    if step >= 0.0 { "rose" } else { "fell" }
}

fn changed(report: &SeriesReport, found: &ChangePoint) -> Event {
    let (step, words) = match found.change {
        Change::Slope => {
            let step = found.slope_after - found.slope_before;
            let (per, factor) = match report.row_seconds() {
                Some(seconds) if seconds < 1800.0 => ("hour", 3600.0 / seconds),
                Some(seconds) => ("day", 86_400.0 / seconds),
                None => ("row", 1.0),
            };
            // A slope of a hundredth of the other one is flat beside it.
            let steeper = found.slope_before.abs().max(found.slope_after.abs());
            let shown = |slope: f64| match slope.abs() < 0.01 * steeper {
                true => "flat".to_owned(),
                false => number(slope * factor),
            };
            let (before, after) = (shown(found.slope_before), shown(found.slope_after));
            (
                step,
                format!("the slope {} from {before} to {after} per {per}", way(step)),
            )
        }
        Change::Variance => {
            let step = found.spread_after - found.spread_before;
            let (before, after) = (number(found.spread_before), number(found.spread_after));
            (
                step,
                format!("the spread {} from {before} to {after}", way(step)),
            )
        }
        _ => {
            let step = found.after - found.before;
            let (before, after) = (number(found.before), number(found.after));
            (
                step,
                format!(
                    "the level {} by {}, from {before} to {after}",
                    way(step),
                    number(step.abs())
                ),
            )
        }
    };
    let row = found.index as u64;
    let spread = found.spread_before.max(found.spread_after);
    let clear = (step / (step.abs() + spread).max(f64::MIN_POSITIVE)).abs();
    Event {
        kind: EventKind::Change,
        label: String::new(),
        rows: (row, row),
        at: report.time_of(row),
        weight: found.confidence * (0.5 + 0.5 * clear),
        words,
    }
}

fn strange(group: &[Mark]) -> Event {
    let strongest = group
        .iter()
        .max_by(|a, b| a.strength.total_cmp(&b.strength));
    let strongest = strongest.expect("chunks are not empty");
    let distance = strongest.value - strongest.baseline;
    let place = if distance >= 0.0 { "above" } else { "below" };
    let (value, by, normal) = (
        number(strongest.value),
        number(distance.abs()),
        number(strongest.baseline),
    );
    // An alarm is about the way the values go as well; then no single value is far from what is normal.
    let is_near = distance.abs() < NEAR_SPREADS * strongest.spread;
    let words = match group.len() {
        1 if is_near => {
            format!("an unusual course; the value itself, {value}, is near its normal {normal}")
        }
        1 => format!("the value {value} is {by} {place} its normal {normal}"),
        n => {
            format!("{n} strange rows; the strangest, {value}, is {by} {place} its normal {normal}")
        }
    };
    Event {
        kind: EventKind::Anomaly,
        label: String::new(),
        rows: (group[0].row, group[group.len() - 1].row),
        at: group[0].at,
        weight: strongest.strength,
        words,
    }
}

fn came_again(report: &SeriesReport) -> impl Iterator<Item = Event> + '_ {
    report.findings().iter().filter_map(|finding| {
        let Detail::Template { index, fit } = finding.detail else {
            return None;
        };
        let name = report.templates.get(index as usize)?;
        let (size, base) = (number(finding.magnitude), number(finding.baseline));
        Some(Event {
            kind: EventKind::Template,
            label: String::new(),
            rows: (report.row_at(finding.start), report.row_at(finding.end)),
            at: finding.start,
            weight: finding.score,
            words: format!("template `{name}` again, {size} high around {base}, fit {fit:.2}"),
        })
    })
}

fn silences(report: &SeriesReport) -> impl Iterator<Item = Event> + '_ {
    report.findings().iter().filter_map(|finding| {
        let words = match finding.detail {
            Detail::Missing { .. } => finding.explain("the series", ""),
            Detail::Flatline => format!(
                "stuck at {} where it used to vary",
                number(finding.baseline)
            ),
            _ => return None,
        };
        Some(Event {
            kind: EventKind::Silence,
            label: String::new(),
            rows: (report.row_at(finding.start), report.row_at(finding.end)),
            at: finding.start,
            weight: finding.score,
            words,
        })
    })
}
