//! The page of `layer5 analyze --html`: the series with everything that was found in it, so that a person sees at once
//! what happened when.
//! In: [`SeriesReport`]s. Out: one HTML page: facts, what happened in words, then one chart a file of this folder.
//! Invariants: bounded in size, whatever the length of the series.

mod ahead;
mod close_ups;
mod overview;
mod picture;
mod shapes;
mod surprise;

use std::fmt::Write;

use picture::Picture;

use super::{axis, escape, number, page};
use crate::series_report::{Event, EventKind, SeriesReport, events};

/// Rows of the table of findings.
const FINDINGS_MAX: usize = 60;

/// Width of the large pictures, SVG units.
const WIDE: f64 = 1120.0;

/// The page of one file's series. `notes`: what was noticed while reading.
pub(crate) fn series_page(file: &str, reports: &[SeriesReport], notes: &[String]) -> String {
    let mut body = String::new();
    if reports.len() > 1 {
        let _ = writeln!(
            body,
            "<h1>{}</h1>\n<p class=\"under\">{} series</p>",
            escape(file),
            reports.len()
        );
    }
    for (i, report) in reports.iter().enumerate() {
        if i > 0 {
            body.push_str("<hr>\n");
        }
        section(&mut body, file, report, reports.len() == 1);
    }
    if !notes.is_empty() {
        body.push_str("<h2>While reading the file</h2>\n<ul>\n");
        for note in notes {
            let _ = writeln!(body, "<li>{}</li>", escape(note));
        }
        body.push_str("</ul>\n");
    }
    let title = match reports {
        [one] => format!("{}: {file}", one.name),
        _ => file.to_owned(),
    };
    page(&title, &body)
}

fn section(body: &mut String, file: &str, report: &SeriesReport, alone: bool) {
    let level = if alone { 1 } else { 2 };
    let picture = Picture::of(report);
    let story = events(report);
    // A column that is called `value` says nothing; the file's name may.
    let title = match alone {
        true => format!("{}: {}", file.trim_end_matches(".csv"), report.name),
        false => report.name.clone(),
    };
    let _ = writeln!(body, "<h{level}>{}</h{level}>", escape(&title));
    let span = report
        .span
        .map_or(String::new(), |(first, last)| match picture.along_time {
            true => format!(", {} to {} (UTC)", axis::shown(first), axis::shown(last)),
            false => String::new(),
        });
    let _ = writeln!(body, "<p class=\"under\">{} rows{span}</p>", report.n);
    if report.n == report.n_gaps {
        body.push_str("<p>There is no value in it: every row is a gap.</p>\n");
        return;
    }
    facts(body, report, &story);
    // The picture first: what happened is seen before it is read.
    overview::overview(body, report, &story, &picture);
    surprise::surprise(body, report, &picture);
    telling(body, report, &story, &picture);
    close_ups::close_ups(body, report, &story, &picture);
    ahead::ahead(body, report, &picture);
    shapes::shapes(body, report, &picture);
    table(body, report);
}

/// The few numbers that sum a series up.
fn facts(body: &mut String, report: &SeriesReport, story: &[Event]) {
    let summary = &report.analysis.summary;
    let groups = story
        .iter()
        .filter(|e| e.kind == EventKind::Anomaly)
        .count();
    let cycle = report
        .analysis
        .periods
        .first()
        .map_or("none".into(), |p| report.length_of(p.len_exact));
    let trend = summary
        .trend
        .filter(|t| t.p_value < 0.01)
        .map_or("none".into(), |t| {
            let whole = t.slope * report.n as f64;
            format!(
                "{}{} overall",
                if whole >= 0.0 { "+" } else { "−" },
                number(whole.abs())
            )
        });
    let ranges = report.bins.iter().filter(|b| b.n > 0);
    let (low, high) = ranges.fold((f64::MAX, f64::MIN), |(l, h), b| {
        (l.min(b.low), h.max(b.high))
    });
    let items = [
        (summary.change_points.len().to_string(), "changes of regime"),
        (groups.to_string(), "strange moments"),
        (cycle, "cycle"),
        (trend, "trend"),
        (format!("{} to {}", number(low), number(high)), "values"),
        (report.n_gaps.to_string(), "gaps"),
    ];
    body.push_str(&super::facts(items));
}

/// What happened, one line each.
fn telling(body: &mut String, report: &SeriesReport, story: &[Event], picture: &Picture) {
    body.push_str("<h2>What happened</h2>\n");
    if story.is_empty() {
        body.push_str("<p>Nothing that stands out from what is normal for this series.</p>\n");
    }
    body.push_str("<ol class=\"story\">\n");
    for event in story {
        let class = match event.kind {
            EventKind::Change => "change",
            EventKind::Anomaly => "alarm",
            EventKind::Silence => "gap",
            EventKind::Template => "template",
        };
        let _ = writeln!(
            body,
            "<li><span class=\"tag {class}\">{}</span><time>{}</time><span>{}</span></li>",
            escape(&event.label),
            escape(&picture.when(event.at, event.rows.0)),
            escape(&event.words)
        );
    }
    let next = &report.drawn;
    if let (Some(mean), Some(low), Some(high)) =
        (next.mean.last(), next.lower.last(), next.upper.last())
    {
        let _ = writeln!(
            body,
            "<li><span class=\"tag future\">→</span><span>{} on, {} is expected, with 95 % between {} and {}</span></li>",
            report.length_of(next.mean.len() as f64),
            number(*mean),
            number(*low),
            number(*high)
        );
    }
    body.push_str("</ol>\n");
}

/// The strongest findings, in order of time.
fn table(body: &mut String, report: &SeriesReport) {
    let mut findings: Vec<_> = report.findings().iter().collect();
    let n = findings.len();
    if n == 0 {
        return;
    }
    findings.sort_by(|a, b| b.score.total_cmp(&a.score));
    findings.truncate(FINDINGS_MAX);
    findings.sort_by_key(|f| f.start);
    body.push_str("<h2>Every finding</h2>\n");
    if n > FINDINGS_MAX {
        let _ = writeln!(
            body,
            "<p class=\"under\">The strongest {FINDINGS_MAX} of {n}; --output json tells them all.</p>"
        );
    }
    body.push_str(
        "<div class=\"wide\"><table><thead><tr><th>kind</th><th>from</th><th>to</th><th class=\"number\">score</th>\
         <th>what</th></tr></thead><tbody>\n",
    );
    for finding in findings {
        let _ = writeln!(
            body,
            "<tr><td class=\"nowrap\">{}</td><td class=\"nowrap\">{}</td><td class=\"nowrap\">{}</td>\
             <td class=\"number\">{:.2}</td><td>{}</td></tr>",
            finding.kind.as_str().replace('_', " "),
            axis::shown(finding.start),
            axis::shown(finding.end),
            finding.score,
            escape(&report.explain(finding)),
        );
    }
    body.push_str("</tbody></table></div>\n");
}
