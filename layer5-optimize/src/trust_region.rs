//! The sampler `trust_region`.

use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::gp::GpSampler;
use crate::sampler::{Known, Proposal, Sampler};

/// Expected improvement over a Gaussian process.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TrustRegion(GpSampler);

impl Sampler for TrustRegion {
    fn propose(&mut self, known: &Known<'_>, rng: &mut Pcg64) -> Proposal {
        self.0.propose(known, rng)
    }
}
