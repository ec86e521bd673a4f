//! What a surrogate's prediction is worth, and where it is worth most.
//! In: a [`crate::gp::Posterior`]. Out: the next point. Called from: [`crate::gp`], [`crate::auto`].

pub(crate) mod feasibility;
pub mod hypervolume;
pub mod log_ei;
pub mod maximize;

pub use log_ei::log_ei;
pub use maximize::{Search, maximize_log_ei, minimize_cautiously};
pub(crate) use maximize::{candidates, minimize_loss};
