//! A series as trend, seasons and remainder.
//! In: one series, oldest first, gaps as `NaN`; its periods. Out: the parts. Called from: change_point, forecast.
//! Invariants: the parts add up to the series wherever it is present.

mod loess;
mod mstl;
mod seasons;
mod stl;

pub use mstl::{Decomposition, mstl};
pub use seasons::without_seasons;
pub use stl::{StlConfig, StlParts, stl};
