//! What was found as CSV and JSON, for scripts.
//! In: reports. Out: text. Formats: docs/formats.md. Invariants: several series add a first column `series`, or make a
//! list of the object that one series is.

use std::fmt::Write;

use layer5_core::PatternEvent;
use layer5_patterns::change_point::Change;
use serde_json::{Value, json};

use super::Failure;
use crate::series_report::SeriesReport;

/// The tables that were asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub(super) change_points: bool,
    pub(super) periods: bool,
    pub(super) forecast: bool,
}

/// A cell as CSV writes it.
pub(super) fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Everything, with what was noticed while reading.
pub(super) fn everything(reports: &[SeriesReport], notes: &[String]) -> String {
    let object = |report: &SeriesReport| {
        let patterns = report
            .findings()
            .iter()
            .zip(1..)
            .map(|(finding, id)| PatternEvent {
                id,
                agent_id: String::new(),
                metric: report.name.clone(),
                explanation: report.explain(finding),
                finding: *finding,
            });
        let mut summary = json!(report.analysis.summary);
        summary["n_anomalies"] = json!(report.n_anomalies);
        json!({
            "series": report.name,
            "from": report.span.map(|(first, _)| first),
            "to": report.span.map(|(_, last)| last),
            "gaps": report.n_gaps,
            "rows_per_bin": report.rows_per_bin,
            "summary": summary,
            "patterns": patterns.collect::<Vec<_>>(),
            "notes": notes,
        })
    };
    one_or_all(reports, object)
}

/// The chosen tables.
pub(super) fn json(reports: &[SeriesReport], chosen: Chosen) -> String {
    one_or_all(reports, |report| {
        let mut object = json!({ "series": report.name });
        if chosen.change_points {
            object["change_points"] = change_points(report).collect();
        }
        if chosen.periods {
            object["periods"] = periods(report).collect();
        }
        if chosen.forecast {
            object["forecast"] = forecast(report).collect();
        }
        object
    })
}

/// The chosen table.
///
/// # Errors
/// 2 for more than one table.
pub(super) fn csv(reports: &[SeriesReport], chosen: Chosen) -> Result<String, Failure> {
    match (chosen.change_points, chosen.periods, chosen.forecast) {
        (true, false, false) => Ok(rows(reports, &CHANGE_POINT_KEYS, |r| {
            change_points(r).collect()
        })),
        (false, true, false) => Ok(rows(reports, &PERIOD_KEYS, |r| periods(r).collect())),
        (false, false, true) => Ok(rows(reports, &FORECAST_KEYS, |r| forecast(r).collect())),
        _ => Err(Failure::new(
            2,
            "more than one table: ask for one, or for all of them with --output json",
        )),
    }
}

/// Every finding as a row.
pub(super) fn findings(reports: &[SeriesReport]) -> String {
    let keys = [
        "kind",
        "start",
        "end",
        "score",
        "confidence",
        "direction",
        "magnitude",
        "baseline",
        "explanation",
    ];
    rows(reports, &keys, |report| {
        let object = |finding: &layer5_core::Finding| {
            let mut object = json!(finding);
            object["explanation"] = json!(report.explain(finding));
            object
        };
        report.findings().iter().map(object).collect()
    })
}

fn one_or_all(reports: &[SeriesReport], object: impl Fn(&SeriesReport) -> Value) -> String {
    match reports {
        [one] => format!("{:#}\n", object(one)),
        all => format!("{:#}\n", all.iter().map(object).collect::<Value>()),
    }
}

fn rows(
    reports: &[SeriesReport],
    keys: &[&str],
    objects: impl Fn(&SeriesReport) -> Vec<Value>,
) -> String {
    let several = reports.len() > 1;
    let mut out = if several {
        "series,".to_owned()
    } else {
        String::new()
    };
    let _ = writeln!(out, "{}", keys.join(","));
    for report in reports {
        for object in objects(report) {
            let cells = keys.iter().map(|key| match &object[*key] {
                Value::String(text) => cell(text),
                Value::Null => String::new(),
                other => other.to_string(),
            });
            let cells: Vec<String> = cells.collect();
            let series = if several {
                format!("{},", cell(&report.name))
            } else {
                String::new()
            };
            let _ = writeln!(out, "{series}{}", cells.join(","));
        }
    }
    out
}

const CHANGE_POINT_KEYS: [&str; 6] = [
    "index",
    "timestamp",
    "change",
    "before",
    "after",
    "confidence",
];

fn change_points(report: &SeriesReport) -> impl Iterator<Item = Value> + '_ {
    report.analysis.change_points.iter().map(|found| {
        let (change, before, after) = match found.change {
            Change::Slope => ("slope", found.slope_before, found.slope_after),
            Change::Variance => ("variance", found.spread_before, found.spread_after),
            _ => ("level", found.before, found.after),
        };
        json!({
            "index": found.index,
            "timestamp": report.time_of(found.index as u64),
            "change": change,
            "before": before,
            "after": after,
            "confidence": found.confidence,
        })
    })
}

const PERIOD_KEYS: [&str; 6] = [
    "period",
    "period_exact",
    "seconds",
    "strength",
    "amplitude",
    "confidence",
];

fn periods(report: &SeriesReport) -> impl Iterator<Item = Value> + '_ {
    report.analysis.periods.iter().map(|period| {
        json!({
            "period": period.len,
            "period_exact": period.len_exact,
            "seconds": report.row_seconds().map(|s| s * period.len_exact),
            "strength": period.strength,
            "amplitude": period.amplitude,
            "confidence": period.confidence,
        })
    })
}

const FORECAST_KEYS: [&str; 5] = ["step", "timestamp", "value", "lower", "upper"];

fn forecast(report: &SeriesReport) -> impl Iterator<Item = Value> + '_ {
    let next = &report.analysis.forecast;
    (0..next.mean.len()).map(|h| {
        json!({
            "step": h + 1,
            "timestamp": report.forecast_at.get(h),
            "value": next.mean[h],
            "lower": next.lower[h],
            "upper": next.upper[h],
        })
    })
}
