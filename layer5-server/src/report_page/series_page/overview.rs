//! The large chart: the whole series with everything that was found in it, and the forecast behind it.
//! Invariants: the strongest anomalies are drawn, at most [`DOTS_MAX`]; labels that would touch stand in rows.

use std::fmt::Write;

use super::{
    WIDE,
    picture::{Picture, heights},
};
use crate::{
    report_page::{axis, frame::Frame, number},
    series_report::{Bin, Event, EventKind, SeriesReport},
};

/// Anomalies that are drawn.
const DOTS_MAX: usize = 400;

pub(super) fn overview(
    body: &mut String,
    report: &SeriesReport,
    story: &[Event],
    picture: &Picture,
) {
    let columns = &picture.columns;
    let (Some(first), Some(last)) = (columns.first(), report.bins.last()) else {
        return;
    };
    let next = &report.drawn;
    let future = |h: usize| match report.forecast_at.get(h) {
        Some(&at) => picture.place(at, report.n + h as u64),
        None => f64::NAN,
    };
    let now = picture.place(
        report.span.map_or(last.at, |(_, last)| last),
        report.n.saturating_sub(1),
    );
    let horizon = next.mean.len();
    // The future gets at most a tenth of the paper, so that what happened stays in sight.
    let end = if horizon > 0 {
        future(horizon - 1)
    } else {
        now
    };
    let x = (picture.x(first), end.max(now));
    let (y, beyond) = heights(report, columns);
    let mut frame = Frame::new((WIDE, 420.0), 72.0, x, y);
    frame.axes(&picture.ticks(x, 9), &axis::number_ticks(y.0, y.1, 6));
    for event in story.iter().filter(|e| e.kind == EventKind::Silence) {
        let to = picture.place(report.time_of(event.rows.1), event.rows.1);
        frame.span(
            "gap",
            (picture.place(event.at, event.rows.0), to),
            (0.0, 1.0),
            &event.words,
        );
    }
    for event in story.iter().filter(|e| e.kind == EventKind::Template) {
        let ends = [event.rows.0, event.rows.1].map(|row| picture.place(report.time_of(row), row));
        frame.span("template", (ends[0], ends[1]), (0.0, 1.0), &event.words);
    }
    picture.draw(&mut frame, columns, picture.thinned);
    levels(&mut frame, report, picture);
    frame.band(
        "future-band",
        (0..horizon).map(|h| (future(h), next.lower[h], next.upper[h])),
    );
    frame.line("future", (0..horizon).map(|h| (future(h), next.mean[h])));
    if horizon > 0 {
        frame.upright("now", now);
    }
    for (i, motif) in report.motifs.iter().take(3).enumerate() {
        for &row in &motif.rows {
            let from = picture.place(report.time_of(row), row);
            let end = row + motif.len as u64 - 1;
            let to = picture.place(report.time_of(end), end);
            let strip = 0.012 + 0.022 * i as f64;
            let words = format!(
                "shape {} at {}",
                i + 1,
                picture.when(report.time_of(row), row)
            );
            frame.span(
                &format!("motif{}", i + 1),
                (from, to),
                (strip, strip + 0.014),
                &words,
            );
        }
    }
    let mut strongest: Vec<_> = report
        .marks
        .iter()
        .filter(|m| m.value.is_finite())
        .collect();
    strongest.sort_by(|a, b| b.strength.total_cmp(&a.strength));
    for mark in strongest.iter().take(DOTS_MAX) {
        let words = format!(
            "{}: {}, normal {}",
            picture.when(mark.at, mark.row),
            number(mark.value),
            number(mark.baseline)
        );
        frame.dot(
            "anomaly",
            (picture.place(mark.at, mark.row), mark.value),
            3.5,
            &words,
        );
    }
    badges(&mut frame, story, picture);
    body.push_str("<figure>\n");
    body.push_str(&frame.finish(&format!("{} with everything found in it", report.name)));
    key(body, report, picture);
    if beyond > 0 || report.rows_per_bin > 1 {
        body.push_str("<figcaption>");
        if beyond > 0 {
            let _ = write!(
                body,
                "{beyond} places reach beyond the picture and are drawn at its edge. "
            );
        }
        if report.rows_per_bin > 1 {
            let _ = write!(
                body,
                "Long series: trend and changes are those of means of {} rows; cycle, forecast and shapes those of the \
                 newest {} rows; anomalies are of every row.",
                report.rows_per_bin,
                report.n - report.newest_from
            );
        }
        body.push_str("</figcaption>\n");
    }
    body.push_str("</figure>\n");
}

/// Labels above the picture, in a second or third row where they would touch.
pub(super) fn badges(frame: &mut Frame, story: &[Event], picture: &Picture) {
    let mut ends = [f64::NEG_INFINITY; 3];
    for event in story {
        let (class, x) = match event.kind {
            EventKind::Change => ("", picture.place(event.at, event.rows.0)),
            EventKind::Anomaly => ("alarm", picture.place(event.at, event.rows.0)),
            EventKind::Template => ("template", picture.place(event.at, event.rows.0)),
            EventKind::Silence => continue,
        };
        if event.kind == EventKind::Change {
            frame.upright("change", x);
        }
        let px = frame.px(x);
        let row = ends.iter().position(|end| px - end > 24.0).unwrap_or(2);
        ends[row] = px;
        frame.badge(class, x, row, &event.label, &event.words);
    }
}

/// The median between two changes, where levels changed.
fn levels(frame: &mut Frame, report: &SeriesReport, picture: &Picture) {
    use layer5_patterns::change_point::Change;
    let changes = &report.analysis.change_points;
    if !changes.iter().any(|c| c.change == Change::Level) {
        return;
    }
    let mut borders: Vec<u64> = vec![0];
    borders.extend(changes.iter().map(|c| c.index as u64));
    borders.push(report.n);
    for pair in borders.windows(2) {
        let inside = report
            .bins
            .iter()
            .filter(|b| (pair[0]..pair[1]).contains(&b.row) && b.n > 0);
        let mut means: Vec<f64> = inside.map(Bin::mean).collect();
        means.sort_by(f64::total_cmp);
        let Some(&median) = means.get(means.len() / 2) else {
            continue;
        };
        let last = pair[1].saturating_sub(1);
        let ends = [pair[0], last].map(|row| picture.place(report.time_of(row), row));
        frame.line("level", ends.into_iter().map(|x| (x, median)));
    }
}

fn key(body: &mut String, report: &SeriesReport, picture: &Picture) {
    let mean = if picture.thinned {
        "mean of neighbouring rows"
    } else {
        "the series"
    };
    let mut items = vec![("k-series", mean)];
    if picture.thinned {
        items.push(("k-range", "their lowest to highest"));
    }
    items.push(("k-normal", "what was normal then, from the past alone"));
    if !report.marks.is_empty() {
        items.push(("k-anomaly", "strange rows (A, B, …)"));
    }
    if !report.analysis.change_points.is_empty() {
        items.push(("k-change", "changes (1, 2, …) and the level between them"));
    }
    let shapes = ["shape 1 comes back", "shape 2", "shape 3"];
    let classes = ["k-motif1", "k-motif2", "k-motif3"];
    items.extend(classes.into_iter().zip(shapes).take(report.motifs.len()));
    if !report.templates.is_empty() {
        items.push(("k-template", "templates (≈)"));
    }
    if !report.analysis.forecast.mean.is_empty() {
        items.push(("k-future", "forecast with its 95 % interval"));
    }
    body.push_str("<ul class=\"key\">");
    for (class, words) in items {
        let _ = write!(body, "<li><i class=\"{class}\"></i>{words}</li>");
    }
    body.push_str("</ul>\n");
}
