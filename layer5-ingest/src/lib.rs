//! Bytes in, samples out: the border of Layer5, behind which nothing is unchecked and nothing is stringly typed.
//!
//! In the order of a report's way:
//! - [`decode`] reads a body (NDJSON, JSON array, single object, framed bincode, Prometheus remote write, OTLP) into borrowed
//!   [`Report`](layer5_core::Report)s; [`layer5_core::validate()`] checks each.
//! - [`intern`] gives agents, metrics and series their dense numbers, once, within limits.
//! - [`arrival`] makes one plain [`Arrival`] per value, the element of the intake.
//! - [`ring`] carries arrivals from many handlers to one committer, and samples from there to the shards.
//! - [`dedup`] tells the committer what it has seen in the last ten minutes.
//! - [`shard`] says which shard owns an agent.
//!
//! No sockets, no clock, no files: time comes in as [`Timestamp`](layer5_core::Timestamp), seeds as numbers.
//!
//! # Example
//! ```
//! use layer5_core::{ReportLimits, Timestamp, validate};
//! use layer5_ingest::{
//!     BodyFormat, CardinalityLimits, DecodeLimits, Names, Resolved, arrivals, decode_reports,
//! };
//!
//! let body = br#"[{"agent_id":"agent_17","task_id":"t-1","timestamp":"2026-11-23T12:18:18Z",
//!                  "metrics":{"latency_ms":45.2,"queue_depth":3}}]"#;
//! let now = Timestamp::parse_rfc3339("2026-11-23T12:18:20Z").expect("a valid time");
//! let (mut names, mut resolved, mut out) = (Names::new(1), Resolved::default(), Vec::new());
//! decode_reports(body, BodyFormat::Json, &DecodeLimits::default(), &mut |_, report, _| {
//!     let report = report.expect("a sound report");
//!     validate(report, &ReportLimits::default(), now).expect("a good report");
//!     if !names.resolve_report(report, &mut resolved) {
//!         names.intern_report(report, &CardinalityLimits::default(), &mut resolved).expect("room");
//!     }
//!     arrivals(report, &resolved, 0, &mut out);
//! })
//! .expect("a readable body");
//! assert_eq!(out.len(), 2);
//! assert_eq!(names.metric_name(out[1].metric), "queue_depth");
//! ```

pub mod arrival;
pub mod decode;
pub mod dedup;
pub mod intern;
mod mix;
pub mod ring;
pub mod shard;

pub use arrival::{Arrival, arrivals, close_request};
pub use decode::wire::WireReport;
pub use decode::{
    BodyError, BodyFormat, DecodeLimits, ReportSink, decode_otlp, decode_otlp_json,
    decode_remote_write, decode_reports,
};
pub use dedup::{Admission, DedupWindow, ReportKey, Seen, report_key};
pub use intern::{CardinalityError, CardinalityLimits, Names, Resolved, RestoreError};
pub use shard::shard_of;
