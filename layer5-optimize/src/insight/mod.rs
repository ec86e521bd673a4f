//! What a study has learned, as plain numbers for a page: which parameters matter, how, how it went, how well it predicted.
//! In: a [`Study`](crate::study::Study). Out: tables in the caller's units. Called from: reports.
//! Invariants: nothing here is drawn from the objective: all of it comes from what was told, and says so where it is a
//! model's view.

mod calibration;
mod curves;
mod importance;

pub use calibration::{Calibration, Predicted, calibration, warm_up};
pub use curves::{convergence, hypervolume_curve};
pub use importance::{Dependence, Importance, dependences, importances, partial_dependence};
