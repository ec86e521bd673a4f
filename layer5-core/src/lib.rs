//! The words every room of Layer5 shares: what a report, a sample, a finding and a recommendation are.
//!
//! Read in the order of a report's way: [`report`] is what a sender wrote, [`validate()`] turns it into readings or a
//! [`Rejection`], [`sample`] is what the rest of the house works on, [`event`] is what was found in samples,
//! [`objective`] turns KPIs into one number, [`recommendation`] is the advice that leaves, and [`codec`] is the only
//! module that knows how any of it looks on disk.
//!
//! Core has no algorithms, no I/O, no clock and no global state: [`Timestamp`]s are passed in.
//!
//! ```
//! use layer5_core::{MetricName, Report, ReportLimits, Shape, Timestamp, Value, validate};
//!
//! let now = Timestamp::parse_rfc3339("2026-11-23T12:00:00Z").expect("a valid time");
//! let report = Report {
//!     agent_id: "agent_17".into(),
//!     task_id: "t-1".into(),
//!     recorded_at: now,
//!     shape: Shape::Batch,
//!     hostname: None,
//!     values: vec![Value { metric: MetricName::from("queue_depth"), value: 12.0 }],
//! };
//! assert!(validate(&report, &ReportLimits::default(), now).is_ok());
//! ```

pub mod catalogue;
pub mod codec;
pub mod event;
pub mod objective;
pub mod recommendation;
pub mod report;
pub mod sample;
pub mod series;
pub mod time;
pub mod validate;

pub use catalogue::Kpi;
pub use event::{Direction, Finding, PatternEvent, PatternKind};
pub use objective::Objective;
pub use recommendation::{Outcome, Parameters, Recommendation};
pub use report::{MetricName, Report, Shape, Value};
pub use sample::{Quality, Sample};
pub use series::{AgentId, MetricId, SeriesId, SeriesKey};
pub use time::Timestamp;
pub use validate::{Reason, Rejection, ReportLimits, validate};
