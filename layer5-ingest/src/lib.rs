//! Under construction.
pub mod ring;
