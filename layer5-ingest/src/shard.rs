//! Which shard owns an agent.
//! In: an agent's number. Out: the number of its shard. Called from: `server`, where samples leave the committer.
//! Invariants: the same for every run and version, as shards are snapshotted one by one; all series of an agent are on
//! one shard.
//! Reference: the mix is the finaliser of MurmurHash3 (Appleby); the reduction is Lemire (2019), "Fast random integer
//! generation in an interval".

use layer5_core::AgentId;

use crate::mix::avalanche;

/// The shard, `0 .. n_shards`, that owns `agent`.
///
/// # Panics
/// When `n_shards` is 0.
#[must_use]
pub fn shard_of(agent: AgentId, n_shards: usize) -> usize {
    assert!(n_shards > 0, "there is at least one shard");
    // Numbers from 0 on would all avalanche to small values of the product without the offset: 0 is a fixed point.
    let hash = avalanche(u64::from(agent.0) + 1);
    ((u128::from(hash) * n_shards as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_spread_evenly() {
        for n_shards in [1, 2, 3, 7, 16] {
            let mut counts = vec![0_usize; n_shards];
            for agent in 0..10_000 {
                counts[shard_of(AgentId(agent), n_shards)] += 1;
            }
            // Binomial: 5 standard deviations around the mean.
            let mean = 10_000.0 / n_shards as f64;
            let slack = 5.0 * mean.sqrt() + 1.0;
            for count in counts {
                assert!((count as f64 - mean).abs() < slack, "{count} of {mean}");
            }
        }
    }

    #[test]
    fn an_agent_never_moves() {
        let shards = [0, 1, 2, 3, 1000, u32::MAX].map(|agent| shard_of(AgentId(agent), 16));
        assert_eq!(shards, GOLDEN);
    }

    /// What this function answered when the first data folder was written.
    const GOLDEN: [usize; 6] = [11, 3, 0, 4, 5, 11];
}
