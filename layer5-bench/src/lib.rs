//! Benches beside named peers, quality suites and load tools for Layer5.
//!
//! The binary `layer5-bench` runs the suites of [`quality`] and the tools that drive a real service: [`load`] measures,
//! [`crash`], [`powercut`] and [`overload`] try to break its promises, [`recover`] and [`backup`] time its return.
//! [`cluster`] stands in for Kubernetes in the tests of the deployment.
//! `cargo bench -p layer5-bench` runs the benches.

pub mod backup;
pub mod cluster;
pub mod crash;
pub mod dashboards;
pub mod load;
pub mod ops_lab;
pub mod overload;
pub mod powercut;
mod progress;
pub mod quality;
pub mod recover;
pub mod scale;
pub mod scrapes;
pub mod service;
pub mod tidy;

pub use progress::{Failure, LEFT_OUT};
