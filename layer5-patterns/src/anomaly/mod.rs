//! Detectors of samples and ranges unlike their past: one file each.
//! In: samples of one series. Out: scores, runs, gaps. Called from: `watch`.
//! Invariants: every detector works alone and is one row in `tests/contract.rs`.

pub mod flatline;
pub mod gap;
pub mod novelty;
pub mod spike;
