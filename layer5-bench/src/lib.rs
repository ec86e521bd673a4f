//! Benches beside named peers, quality suites and load tools for Layer5.
//!
//! The binary `layer5-bench` runs the suites of [`quality`]; `cargo bench -p layer5-bench` runs the benches.

pub mod dashboards;
pub mod quality;
pub mod tidy;
