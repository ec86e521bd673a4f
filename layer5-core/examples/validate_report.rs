//! Checks reports by the contracts before they are sent, as an agent's own program would: no server, no socket.
//!
//! `cargo run -p layer5-core --example validate_report [METRIC VALUE]`; without arguments it checks three reports of its
//! own, one good, one out of its metric's range, one older than an hour.

use std::process::ExitCode;

use layer5_core::{Kpi, MetricName, Report, ReportLimits, Shape, Timestamp, Value, validate};

/// When the reports are sent; an agent would ask its clock.
const NOW: &str = "2026-11-23T12:18:20Z";

/// A report of one value, read `seconds_ago`.
fn report<'a>(metric: &'a str, value: f64, seconds_ago: f64, now: Timestamp) -> Report<'a> {
    let metric = MetricName::from(metric);
    Report {
        agent_id: "agent_17".into(),
        task_id: "t-1".into(),
        recorded_at: now.plus_seconds(-seconds_ago),
        shape: Shape::Task,
        hostname: None,
        values: vec![Value { metric, value }],
    }
}

/// What the contracts say of a report, in one line.
fn verdict(report: &Report<'_>, now: Timestamp) -> String {
    let [value] = &report.values[..] else {
        return "not a report of one value".into();
    };
    let name = value.metric.as_str();
    let unit = Kpi::from_name(name).map_or("", Kpi::unit);
    let checked = validate(report, &ReportLimits::default(), now);
    let said = checked.map_or_else(
        |rejection| format!("refused, {rejection}"),
        |()| "accepted".into(),
    );
    format!("{name} {} {unit}: {said}", value.value)
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "showing verdicts is what this program is for"
)]
fn main() -> ExitCode {
    let now = Timestamp::parse_rfc3339(NOW).expect("a valid time");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let reports = match &arguments[..] {
        [] => vec![
            report("latency_ms", 45.2, 2.0, now),
            report("accuracy", 1.7, 2.0, now),
            report("latency_ms", 45.2, 3601.0, now),
        ],
        [metric, value] => match value.parse() {
            Ok(value) => vec![report(metric, value, 0.0, now)],
            Err(error) => {
                eprintln!("{value}: {error}");
                return ExitCode::FAILURE;
            }
        },
        _ => {
            eprintln!("a metric and a value, or nothing");
            return ExitCode::FAILURE;
        }
    };
    for report in &reports {
        println!("{}", verdict(report, now));
    }
    ExitCode::SUCCESS
}
