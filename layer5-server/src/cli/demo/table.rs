//! The demo's closing tables, and where to look further.
//! In: the results. Out: text for standard output.
//! Invariants: every number here is one of the results; a value that nobody measured is shown as `-`.

use std::fmt::Write;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::{
    progress::grouped,
    results::{Addresses, FleetResults, HostResults, IngestMs, Reports},
};

/// Columns of names and of values, with a blank on both sides of the text.
const SECTION_WIDTHS: [u16; 2] = [47, 44];

/// The fleet's tables.
pub(super) fn fleet(results: &FleetResults) -> String {
    let mut text = format!(
        "Layer5 demo: {} agents, {:.1} simulated days in {:.0} s, seed {}\n",
        results.agents, results.simulated_days, results.wall_seconds, results.seed
    );
    if results.steps < results.steps_planned {
        let (sent, planned) = (results.steps, results.steps_planned);
        let _ = writeln!(
            text,
            "Time ran out after {sent} of {planned} steps: fewer --agents fit this machine"
        );
    }
    text.push('\n');
    section(
        &mut text,
        "Reports",
        &report_rows(&results.reports, &results.ingest_ms),
    );
    incidents(&mut text, results);
    let r = &results.recommendations;
    let failed = "failed on purpose by the Layer7 stand-in";
    section(
        &mut text,
        "The loop",
        &[
            ("recommendations issued", optional(r.issued.map(grouped))),
            ("delivered to Layer7", count(r.delivered)),
            (
                failed,
                format!(
                    "{}, repeats seen {}",
                    count(r.failed_on_purpose),
                    r.repeats_seen
                ),
            ),
            ("applied by the agents", count(r.applied)),
            ("evaluated", optional(r.evaluated.map(grouped))),
            ("prediction accuracy", percent(r.accuracy)),
            (
                "outcomes inside the 95 % interval",
                percent(r.interval_coverage),
            ),
            (
                "latency improved by",
                percent(Some(results.improvement.reached)),
            ),
            (
                "best possible",
                percent(Some(results.improvement.best_possible)),
            ),
            (
                "share of the best possible",
                percent(Some(results.improvement.share)),
            ),
        ],
    );
    text
}

/// The host's tables.
pub(super) fn host(results: &HostResults) -> String {
    let mut text = format!(
        "Layer5 demo: {} readings of this machine's processes in {:.0} s\n\n",
        results.readings, results.wall_seconds
    );
    section(
        &mut text,
        "Reports",
        &report_rows(&results.reports, &results.ingest_ms),
    );
    let mut table = plain(&[
        "Busiest processes",
        "CPU s",
        "peak of all cores",
        "MB",
        "findings",
    ]);
    for row in &results.processes {
        table.add_row([
            row.agent_id.clone(),
            format!("{:.2}", row.cpu_seconds),
            percent(Some(row.cpu_usage_peak)),
            format!("{:.1}", row.memory_mb),
            count(row.findings),
        ]);
    }
    let _ = writeln!(text, "{table}\n");
    let _ = writeln!(text, "Noticed");
    if results.noticed.is_empty() {
        let _ = writeln!(
            text,
            "  nothing out of the ordinary: a longer run knows the machine better"
        );
    }
    for line in &results.noticed {
        let _ = writeln!(text, "  {line}");
    }
    text.push('\n');
    text
}

/// How to look further, while the service runs or with a longer-lived one.
pub(super) fn look_further(at: &Addresses, keep: bool) -> String {
    let Addresses { api, metrics } = at;
    let when = if keep {
        "The service keeps running until Ctrl-C. In another terminal:"
    } else {
        "The service ends with the demo; `layer5 demo --keep` leaves it running for these:"
    };
    format!(
        "{when}\n  \
         curl {api}/api/v1/status\n  \
         curl '{api}/api/v1/patterns?kind=change_point&limit=5'\n  \
         curl '{api}/api/v1/recommendations?limit=5'\n  \
         curl {metrics}/metrics | grep optimization\n  \
         curl {api}/openapi.json\n"
    )
}

fn report_rows(reports: &Reports, ingest: &IngestMs) -> Vec<(&'static str, String)> {
    let rejected: usize = reports.rejected.values().sum();
    let reasons: Vec<String> = reports
        .rejected
        .iter()
        .map(|(reason, n)| format!("{reason} {n}"))
        .collect();
    let reasons = if reasons.is_empty() {
        String::new()
    } else {
        format!(": {}", reasons.join(", "))
    };
    let between = |p50: Option<f64>, p99: Option<f64>| format!("{} / {}", ms(p50), ms(p99));
    vec![
        ("sent", count(reports.sent)),
        ("accepted", count(reports.accepted)),
        ("duplicates", count(reports.duplicates)),
        ("rejected", format!("{}{reasons}", count(rejected))),
        (
            "posts told to wait, and sent again",
            count(reports.posts_refused),
        ),
        ("stored", optional(reports.stored.map(grouped))),
        ("lost", optional(reports.lost.map(grouped))),
        (
            "durable answer p50 / p99, seen by the fleet",
            between(ingest.client_p50, ingest.client_p99),
        ),
        (
            "durable answer p50 / p99, seen by the service",
            between(ingest.server_p50, ingest.server_p99),
        ),
    ]
}

fn incidents(text: &mut String, results: &FleetResults) {
    let head = [
        "Planted incidents",
        "planted",
        "found",
        "recall",
        "delay, samples",
        "delay, simulated",
    ];
    let mut table = plain(&head);
    for row in &results.incidents {
        table.add_row([
            row.label.to_owned(),
            count(row.planted),
            count(row.found),
            percent(row.recall),
            row.delay_samples.map_or_else(dash, |x| format!("{x:.1}")),
            row.delay_minutes
                .map_or_else(dash, |x| format!("{x:.0} min")),
        ]);
    }
    let _ = writeln!(text, "{table}\n");
    let alarms = &results.alarms;
    let strict = percent(alarms.precision_on_incidents);
    section(
        text,
        "Alarms",
        &[
            (
                "grouped into incidents of several series",
                optional(results.grouped.map(grouped)),
            ),
            ("on planted incidents", count(alarms.on_incidents)),
            (
                "on changes Layer5 itself brought about",
                count(alarms.on_own_changes),
            ),
            ("false", count(alarms.r#false)),
            (
                "precision",
                format!(
                    "{} ({strict} without its own changes)",
                    percent(alarms.precision)
                ),
            ),
        ],
    );
}

/// Names and values; every section has the same widths, so that they stand below one another.
fn section(text: &mut String, title: &str, rows: &[(&str, String)]) {
    let mut table = plain(&[title, ""]);
    table.set_constraints(SECTION_WIDTHS.map(|w| ColumnConstraint::Absolute(Width::Fixed(w))));
    for (name, value) in rows {
        table.add_row([(*name).to_owned(), value.clone()]);
    }
    let _ = writeln!(text, "{table}\n");
}

/// A table no wider than the terminal; the first column reads from the left, the others are numbers unless there is only one.
fn plain(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(head.iter().copied());
    if head.len() > 2 {
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn count(n: usize) -> String {
    grouped(n as u64)
}

fn optional(value: Option<String>) -> String {
    value.unwrap_or_else(dash)
}

fn dash() -> String {
    "-".to_owned()
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(dash, |share| format!("{:.1} %", 100.0 * share))
}

fn ms(value: Option<f64>) -> String {
    value.map_or_else(dash, |value| format!("{value:.1} ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_measured_is_a_dash() {
        assert_eq!(percent(None), "-");
        assert_eq!(percent(Some(0.5)), "50.0 %");
        assert_eq!(ms(None), "-");
        let rows = report_rows(&Reports::default(), &IngestMs::default());
        let lost = rows
            .iter()
            .find(|(name, _)| *name == "lost")
            .expect("always a row");
        assert_eq!(lost.1, "-");
    }

    #[test]
    fn rejections_are_listed_by_reason() {
        let mut reports = Reports::default();
        reports.rejected.insert("malformed".into(), 3);
        reports.rejected.insert("out_of_range".into(), 2);
        let rows = report_rows(&reports, &IngestMs::default());
        let rejected = rows
            .iter()
            .find(|(name, _)| *name == "rejected")
            .expect("always a row");
        assert_eq!(rejected.1, "5: malformed 3, out_of_range 2");
    }
}
