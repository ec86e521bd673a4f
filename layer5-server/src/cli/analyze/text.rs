//! The report for people, in a terminal.
//! In: reports. Out: text with a picture of each series. Invariants: bounded length, whatever was found.

use std::fmt::Write;

use comfy_table::{Table, presets};
use layer5_core::event::Detail;

use super::sparkline::sparkline;
use crate::{
    report_page::number,
    series_report::{EventKind, SeriesReport, events},
};

/// Columns of the picture.
const PICTURE_WIDTH: usize = 100;
/// Forecast values that are shown.
const NEXT_SHOWN: usize = 5;

/// The report of all series, and what was noticed while reading.
pub(super) fn of(reports: &[SeriesReport], notes: &[String]) -> String {
    let parts: Vec<String> = reports.iter().map(one).collect();
    let mut out = parts.join("\n\n");
    for note in notes {
        let _ = writeln!(out, "note: {note}");
    }
    out
}

fn one(report: &SeriesReport) -> String {
    let summary = &report.analysis.summary;
    let story = events(report);
    let span = report
        .span
        .map_or(String::new(), |(first, last)| format!("{first} to {last}"));
    let mut out = format!(
        "{}: {} samples, {} gaps, {span}\n\n",
        report.name, report.n, report.n_gaps
    );
    if report.n == report.n_gaps {
        out.push_str("There is no value in it: every row is a gap.\n");
        return out;
    }
    let values: Vec<f64> = report
        .bins
        .iter()
        .map(crate::series_report::Bin::mean)
        .collect();
    let per_bin = report.rows_per_bin.max(1);
    let mark = |i: usize| {
        let rows = i as u64 * per_bin..(i as u64 + 1) * per_bin;
        let is = |kind: EventKind, mark: char| {
            story
                .iter()
                .any(|e| e.kind == kind && rows.contains(&e.rows.0))
                .then_some(mark)
        };
        is(EventKind::Change, '|')
            .or_else(|| is(EventKind::Anomaly, '!'))
            .or_else(|| is(EventKind::Template, '~'))
    };
    let (line, marks) = sparkline(&values, PICTURE_WIDTH, mark);
    let trend = summary.trend.map_or_else(
        || "too short to tell".to_owned(),
        |t| format!("{} per sample (p = {:.3})", number(t.slope), t.p_value),
    );
    let periods: Vec<String> = report
        .analysis
        .periods
        .iter()
        .map(|p| match report.length_of(p.len_exact) {
            rows if rows.ends_with("rows") => format!("{} samples", p.len),
            time => format!("{} samples ({time})", p.len),
        })
        .collect();
    let periods = if periods.is_empty() {
        "none".to_owned()
    } else {
        periods.join(", ")
    };
    let next: Vec<String> = summary
        .forecast
        .iter()
        .take(NEXT_SHOWN)
        .map(|v| number(*v))
        .collect();
    let _ = write!(
        out,
        "{line}\n{marks}\n\n\
         trend          {trend}\n\
         period         {periods}\n\
         change points  {}   (| in the picture)\n\
         anomalies      {}   (! in the picture)\n\
         next values    {}\n",
        summary.change_points.len(),
        report.n_anomalies,
        next.join(", "),
    );
    if !report.templates.is_empty() {
        let again = report.findings().iter();
        let n = again
            .filter(|f| matches!(f.detail, Detail::Template { .. }))
            .count();
        let _ = writeln!(out, "templates      {n}   (~ in the picture)");
    }
    if report.rows_per_bin > 1 {
        let _ = writeln!(
            out,
            "long series    trend and change points of means of {per_bin} rows; period and forecast of the newest {}",
            report.n - report.newest_from
        );
    }
    if story.is_empty() {
        out.push_str("\nNothing stands out from what is normal for this series.\n");
        return out;
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["", "when", "what"]);
    for event in &story {
        let when = if report.along_time() {
            event.at.to_string()
        } else {
            format!("row {}", event.rows.0)
        };
        table.add_row([event.label.clone(), when, event.words.clone()]);
    }
    let _ = writeln!(out, "\n{table}");
    out
}
