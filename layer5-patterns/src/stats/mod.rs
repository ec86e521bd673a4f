//! Running statistics of one stream, each a few plain numbers wide.
//! In: finite values, oldest first. Out: location, scale, quantiles. Called from: the detectors.
//! Invariants: no statistic allocates, and each is finite after any finite input.

pub(crate) mod compact;
pub mod ewma;
pub mod quantile;
pub mod robust;
pub mod tail;
pub mod welford;
