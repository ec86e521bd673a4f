//! How good the analyses are, measured on labelled data and beside published results.
//! In: a folder of labelled series. Out: a report that prints as a table and as JSON. Called from: `main`.
//! Invariants: nothing here is tuned; thresholds are swept exactly as the published rules do.

pub mod auc;
pub mod bandits;
pub mod change_points;
pub mod forecast;
pub mod labelled;
pub mod nab;
pub mod optimize;
pub mod periods;
pub mod quiet;
pub mod safety;
pub mod speed;
