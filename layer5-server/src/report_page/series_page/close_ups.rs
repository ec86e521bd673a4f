//! The strongest events from nearby, one card each.
//! Invariants: events that share a picture share a card; at most [`CLOSE_UPS_MAX`].

use std::fmt::Write;

use super::{
    overview::badges,
    picture::{COLUMNS_MAX, Picture},
};
use crate::{
    report_page::{
        axis, escape,
        frame::{Frame, range},
        number,
    },
    series_report::{Bin, Event, SeriesReport, joined},
};

/// Close-ups of one series.
const CLOSE_UPS_MAX: usize = 6;

/// The strongest events from nearby.
pub(super) fn close_ups(
    body: &mut String,
    report: &SeriesReport,
    story: &[Event],
    picture: &Picture,
) {
    if report.bins.len() < 60 || story.is_empty() {
        return;
    }
    let per_bin = report.rows_per_bin.max(1);
    let around = report
        .analysis
        .summary
        .period
        .filter(|p| *p <= 600)
        .map_or(60, |p| p.max(40) as u64)
        / per_bin;
    let around = (around.max(40) as usize).min(report.bins.len() / 6).max(12);
    let mut by_weight: Vec<&Event> = story.iter().collect();
    by_weight.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    let mut strongest: Vec<&Event> = Vec::new();
    for event in by_weight {
        // Two events in one picture are one close-up.
        let near = |other: &&Event| other.rows.0.abs_diff(event.rows.0) <= around as u64 * per_bin;
        if strongest.len() < CLOSE_UPS_MAX && !strongest.iter().any(near) {
            strongest.push(event);
        }
    }
    strongest.sort_by_key(|event| event.rows);
    body.push_str("<h2>From nearby</h2>\n<div class=\"grid\">\n");
    for event in strongest {
        let from = (event.rows.0 / per_bin) as usize;
        let to = (event.rows.1 / per_bin) as usize;
        let bins =
            &report.bins[from.saturating_sub(around)..(to + around + 1).min(report.bins.len())];
        let each = bins.len().div_ceil(COLUMNS_MAX / 2).max(1);
        let bins: Vec<Bin> = bins.chunks(each).map(joined).collect();
        let (Some(first), Some(last)) = (bins.first(), bins.last()) else {
            continue;
        };
        let x = (picture.x(first), picture.x(last));
        let y = range(
            bins.iter()
                .filter(|b| b.n > 0)
                .flat_map(|b| [b.low, b.high]),
        );
        let mut frame = Frame::new((530.0, 220.0), 50.0, x, y);
        frame.axes(&picture.ticks(x, 4), &axis::number_ticks(y.0, y.1, 4));
        picture.draw(&mut frame, &bins, each > 1 || per_bin > 1);
        for mark in report
            .marks
            .iter()
            .filter(|m| (first.row..=last.row).contains(&m.row) && m.value.is_finite())
        {
            let words = format!(
                "{}: {}",
                picture.when(mark.at, mark.row),
                number(mark.value)
            );
            frame.dot(
                "anomaly",
                (picture.place(mark.at, mark.row), mark.value),
                3.5,
                &words,
            );
        }
        let inside: Vec<Event> = story
            .iter()
            .filter(|e| (first.row..=last.row).contains(&e.rows.0))
            .cloned()
            .collect();
        badges(&mut frame, &inside, picture);
        let _ = writeln!(
            body,
            "<div class=\"card\"><h3>{} · {}</h3>{}<figcaption>{}</figcaption></div>",
            escape(&event.label),
            escape(&picture.when(event.at, event.rows.0)),
            frame.finish(&format!("close-up of {}", event.label)),
            escape(&event.words),
        );
    }
    body.push_str("</div>\n");
}
