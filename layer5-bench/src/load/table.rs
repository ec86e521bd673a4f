//! The table of a load run.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{LoadArgs, Measured, Rate};
use crate::service::latency::Percentiles;

/// CPU time of each row beside each other: `a / b`, below 1 when `a` costs less.
pub(super) fn ratios(rows: &[Measured]) -> Vec<Value> {
    let (ours, peers): (Vec<&Measured>, Vec<&Measured>) =
        rows.iter().partition(|row| row.name.starts_with("layer5"));
    let mut ratios = Vec::new();
    for row in ours {
        for peer in &peers {
            let ratio = row.cpu_seconds_per_million / peer.cpu_seconds_per_million;
            ratios.push(json!({ "row": row.name, "peer": peer.name, "cpu_ratio": ratio }));
        }
    }
    ratios
}

/// For people.
pub(super) fn draw(rows: &[Measured], disk: &Percentiles, args: &LoadArgs) -> String {
    let mut text = format!(
        "{:<31} {:>10} {:>10} {:>8} {:>9} {:>9} {:>9} {:>8}\n",
        "server", "samples", "samples/s", "CPU s/M", "p50 ms", "p99 ms", "RSS MiB", "refused"
    );
    for row in rows {
        let _memory = writeln!(
            text,
            "{:<31} {:>10} {:>10.0} {:>8.3} {:>9.1} {:>9.1} {:>9.0} {:>8}",
            row.name,
            row.stored,
            row.samples_per_second,
            row.cpu_seconds_per_million,
            row.ack_ms.p50,
            row.ack_ms.p99,
            row.rss_bytes as f64 / (1 << 20) as f64,
            row.refused,
        );
    }
    let _memory = writeln!(
        text,
        "{:<31} {:>10} {:>10} {:>8} {:>9.1} {:>9.1}",
        "this disk, write + fdatasync", "", "", "", disk.p50, disk.p99
    );
    for ratio in ratios(rows) {
        let word = |field: &str| ratio[field].as_str().unwrap_or_default().to_owned();
        let number = ratio["cpu_ratio"].as_f64().unwrap_or(f64::NAN);
        let _memory = writeln!(
            text,
            "CPU per sample, {} : {} = {number:.2}",
            word("row"),
            word("peer")
        );
    }
    let how = match args.rate {
        Rate::Max => "each connection sends when it was answered".to_owned(),
        Rate::PerSecond(rate) => {
            format!("{rate} samples/s on a schedule, times from when a body was due")
        }
    };
    let _memory = writeln!(
        text,
        "{} agents x {} metrics, {} reports a body, {} connections, {} s; {how}.\n\
         layer5 answers when a body is durable, victoria-metrics when it is in memory.",
        args.agents, args.metrics, args.reports, args.connections, args.seconds
    );
    text
}
