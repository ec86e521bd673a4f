//! What comes back: one cycle, and the shapes that were seen more than once.

use std::fmt::Write;

use super::picture::Picture;
use crate::{
    report_page::{
        axis, escape,
        frame::{Frame, range},
    },
    series_report::SeriesReport,
};

/// The season and the shapes that come back.
pub(super) fn shapes(body: &mut String, report: &SeriesReport, picture: &Picture) {
    if report.season.is_empty() && report.motifs.is_empty() {
        return;
    }
    body.push_str("<h2>What comes back</h2>\n<div class=\"grid\">\n");
    if let Some(period) = report
        .analysis
        .periods
        .first()
        .filter(|_| !report.season.is_empty())
    {
        let y = range(report.season.iter().flatten().copied());
        let last = report.season.len().saturating_sub(1) as f64;
        let mut frame = Frame::new((530.0, 210.0), 8.0, (0.0, last), y);
        let (unit, per_row) = report.row_unit();
        let marks = axis::number_ticks(0.0, last * per_row, 6);
        let marks: Vec<axis::Tick> = marks
            .into_iter()
            .map(|(v, t)| (v / per_row, format!("{t} {unit}")))
            .collect();
        frame.axes(&marks, &axis::number_ticks(y.0, y.1, 4));
        frame.band(
            "normal",
            report
                .season
                .iter()
                .enumerate()
                .map(|(i, q)| (i as f64, q[0], q[2])),
        );
        frame.line(
            "series",
            report
                .season
                .iter()
                .enumerate()
                .map(|(i, q)| (i as f64, q[1])),
        );
        let others: Vec<String> = report
            .analysis
            .periods
            .iter()
            .skip(1)
            .map(|p| report.length_of(p.len_exact))
            .collect();
        let others = if others.is_empty() {
            String::new()
        } else {
            format!(" Also found: {}.", others.join(", "))
        };
        let _ = writeln!(
            body,
            "<div class=\"card\"><h3>One cycle of {}</h3>{}<figcaption>Median of all cycles, and the middle half of them. \
             It explains {:.0} % of the movement.{others}</figcaption></div>",
            report.length_of(period.len_exact),
            frame.finish("one cycle"),
            100.0 * period.strength
        );
    }
    for (i, motif) in report.motifs.iter().take(3).enumerate() {
        let y = range(motif.values.iter().flatten().copied());
        let mut frame = Frame::new(
            (530.0, 210.0),
            8.0,
            (0.0, motif.len.saturating_sub(1) as f64),
            y,
        );
        let (unit, per_row) = report.row_unit();
        let marks = axis::number_ticks(0.0, motif.len.saturating_sub(1) as f64 * per_row, 6);
        let marks: Vec<axis::Tick> = marks
            .into_iter()
            .map(|(v, t)| (v / per_row, format!("{t} {unit}")))
            .collect();
        frame.axes(&marks, &axis::number_ticks(y.0, y.1, 4));
        for values in &motif.values {
            let class = format!("thin motif{}", i + 1);
            frame.line(
                &class,
                values.iter().enumerate().map(|(k, v)| (k as f64, *v)),
            );
        }
        let first: Vec<String> = motif
            .rows
            .iter()
            .take(4)
            .map(|&row| picture.when(report.time_of(row), row))
            .collect();
        let _ = writeln!(
            body,
            "<div class=\"card\"><h3>Shape {}: {} times</h3>{}<figcaption>Clearest at {}.</figcaption></div>",
            i + 1,
            motif.rows.len(),
            frame.finish(&format!("shape {} in all its places", i + 1)),
            escape(&first.join(", ")),
        );
    }
    body.push_str("</div>\n");
}
