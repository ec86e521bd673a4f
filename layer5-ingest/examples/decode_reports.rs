//! Reads a body of KPI reports as a program would that uses this crate alone: decode, validate, name, collect.
//!
//! `cargo run -p layer5-ingest --example decode_reports [FILE.ndjson]`; without a file it reads three lines of its own,
//! one of each report shape and one broken.

use std::process::ExitCode;

use layer5_core::{ReportLimits, Timestamp, validate};
use layer5_ingest::{
    Arrival, BodyError, BodyFormat, CardinalityLimits, DecodeLimits, Names, Resolved, arrivals,
    decode_reports,
};

const BODY: &str = r#"{"agent_id":"agent_17","task_id":"t-1","recorded_at":"2026-11-23T12:18:18Z","latency_ms":45.2,"accuracy":0.97,"cpu_usage":0.41,"memory_mb":512,"execution_context":{"hostname":"node-3"}}
{"agent_id":"agent_18","task_id":"t-2","timestamp":1795436299,"metrics":{"latency_ms":51.8,"queue_depth":3}}
{"agent_id":"agent_19","task_id":"t-3","timestamp":1795436299,"metrics":{"queue_depth":NaN}}
"#;

/// When the lines above were sent; a service would ask its clock.
const NOW: &str = "2026-11-23T12:18:20Z";

fn samples(body: &[u8], now: Timestamp, names: &mut Names) -> Result<Vec<Arrival>, BodyError> {
    let (decode, report_limits) = (DecodeLimits::default(), ReportLimits::default());
    let cardinality = CardinalityLimits::default();
    let (mut resolved, mut out) = (Resolved::default(), Vec::new());
    decode_reports(body, BodyFormat::Ndjson, &decode, &mut |i, report, raw| {
        let taken = report.and_then(|report| {
            validate(report, &report_limits, now)?;
            names.intern_report(report, &cardinality, &mut resolved)?;
            arrivals(report, &resolved, 0, &mut out);
            Ok(())
        });
        if let Err(rejection) = taken {
            eprintln!("report {i}: {rejection} ({} bytes)", raw.len());
        }
    })?;
    Ok(out)
}

#[expect(
    clippy::print_stdout,
    reason = "showing samples is what this program is for"
)]
fn main() -> ExitCode {
    let now = Timestamp::parse_rfc3339(NOW).expect("a valid time");
    let body = match std::env::args().nth(1) {
        None => Ok(BODY.as_bytes().to_vec()),
        Some(file) => std::fs::read(&file).map_err(|e| format!("{file}: {e}")),
    };
    let mut names = Names::new(1);
    let taken = body.and_then(|body| samples(&body, now, &mut names).map_err(|e| e.to_string()));
    match taken {
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
        Ok(taken) => {
            for arrival in taken {
                let (agent, metric) = (
                    names.agent_name(arrival.agent),
                    names.metric_name(arrival.metric),
                );
                println!(
                    "{} {agent} {metric} = {}",
                    arrival.sample.at, arrival.sample.value
                );
            }
            ExitCode::SUCCESS
        }
    }
}
