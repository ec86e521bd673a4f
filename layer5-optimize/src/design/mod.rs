//! Points spread evenly over the unit cube, before there is anything to learn from.
//! In: a seed. Out: coordinates. Called from: the samplers.

pub mod latin_hypercube;
pub mod sobol;

pub use latin_hypercube::latin_hypercube;
pub use sobol::Sobol;
