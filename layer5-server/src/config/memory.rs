//! What a process with little memory gets: every limit that holds memory, with its share of what there is.
//! In: a configuration, the bytes that the process may have. Out: the same with what is too much cut. Called from: `app`.
//! Invariants: all shares together are under two thirds; the rest is for series, the program itself and what the
//! allocator can't use. A limit that was asked for smaller stays as it is.
//!
//! | holds | share | what one unit takes |
//! |---|---|---|
//! | dedup window | 1/4 | [`DEDUP_PLACE_BYTES`] a place of two tables, whose places are a power of two |
//! | bodies under way | 1/8 | a byte a byte; a single body may have a quarter of that, decoded a half |
//! | read ahead on connections | 1/16 | [`HttpConfig::read_ahead_bytes`] each, no less than [`READ_AHEAD_BYTES`] when there are fewer connections for it |
//! | history's head | 1/16 | [`HEAD_SAMPLE_BYTES`] a sample |
//! | a group on its way | 1/16 | [`GROUP_SAMPLE_BYTES`] a sample |
//! | page caches of the store | 1/16 | a byte a byte |
//! | intake ring | 1/32 | [`RING_SAMPLE_BYTES`] a sample |
//! | rings of the shards | 1/32 | the same |

use super::{Config, HttpConfig};

/// Of a place in a table of the dedup window: key, mask, control byte.
const DEDUP_PLACE_BYTES: usize = 25;
/// Of a sample in history's head: itself, and its place while a block is written.
const HEAD_SAMPLE_BYTES: usize = 24 + 8;
/// Of a sample in a group: drained, admitted, stored, fed to a shard, encoded.
const GROUP_SAMPLE_BYTES: usize = 64 + 64 + 24 + 64 + 32;
/// Of a sample in a ring.
const RING_SAMPLE_BYTES: usize = 64;
/// Least that a connection reads ahead: the HTTP engine takes no less.
pub(super) const READ_AHEAD_BYTES_MIN: usize = 8 << 10;
/// What a connection reads ahead before fewer connections are let in: to read a body of 400 kB by 8 KiB costs as much
/// again as copying it, and what is refused is read too.
const READ_AHEAD_BYTES: usize = 32 << 10;

impl Config {
    /// This configuration in a process that may have `bytes` of memory; the log names what is cut.
    #[must_use]
    pub fn fitted_to(mut self, bytes: usize) -> Self {
        let n_shards = self.pipeline.n_shards();
        let http: &mut HttpConfig = &mut self.http;
        let connections = http
            .connections_max
            .min((bytes / 16 / http.read_ahead_bytes.min(READ_AHEAD_BYTES)).max(1));
        let store = &mut self.store;
        let fitted = [
            (
                "limits.dedup_entries_max",
                &mut self.limits.dedup_entries_max,
                dedup_entries_in(bytes / 4),
            ),
            (
                "http.bodies_bytes_max",
                &mut http.bodies_bytes_max,
                bytes / 8,
            ),
            ("http.body_bytes_max", &mut http.body_bytes_max, bytes / 32),
            (
                "http.decoded_bytes_max",
                &mut http.decoded_bytes_max,
                bytes / 16,
            ),
            (
                "http.read_ahead_bytes",
                &mut http.read_ahead_bytes,
                (bytes / 16 / connections).max(READ_AHEAD_BYTES_MIN),
            ),
            (
                "http.connections_max",
                &mut http.connections_max,
                connections,
            ),
            (
                "store.head_samples_max",
                &mut store.head_samples_max,
                bytes / 16 / HEAD_SAMPLE_BYTES,
            ),
            ("store.cache_bytes", &mut store.cache_bytes, bytes / 16),
            (
                "pipeline.group_samples_max",
                &mut self.pipeline.group_samples_max,
                bytes / 16 / GROUP_SAMPLE_BYTES,
            ),
            (
                "pipeline.intake_capacity",
                &mut self.pipeline.intake_capacity,
                bytes / 32 / RING_SAMPLE_BYTES,
            ),
            (
                "pipeline.shard_capacity",
                &mut self.pipeline.shard_capacity,
                bytes / 32 / RING_SAMPLE_BYTES / n_shards,
            ),
        ];
        for (key, value, at_most) in fitted {
            if *value > at_most {
                tracing::warn!(key, asked = *value, given = at_most, "memory is limited");
                *value = at_most;
            }
        }
        self
    }
}

/// The entries that two tables of `bytes` hold together when they are full, at seven eighths of their places.
fn dedup_entries_in(bytes: usize) -> usize {
    let places = (bytes / 2 / DEDUP_PLACE_BYTES).max(64);
    let of_a_table = 1_usize << places.ilog2();
    of_a_table / 8 * 7 * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the limits of `config` hold at most, by the table above.
    fn held(config: &Config) -> usize {
        let places = (config.limits.dedup_entries_max / 2 * 8).div_ceil(7);
        2 * places.next_power_of_two() * DEDUP_PLACE_BYTES
            + config.http.bodies_bytes_max
            + config.http.connections_max * config.http.read_ahead_bytes
            + config.store.head_samples_max * HEAD_SAMPLE_BYTES
            + config.store.cache_bytes
            + config.pipeline.group_samples_max * GROUP_SAMPLE_BYTES
            + config.pipeline.intake_capacity * RING_SAMPLE_BYTES
            + config.pipeline.n_shards() * config.pipeline.shard_capacity * RING_SAMPLE_BYTES
    }

    #[test]
    fn limits_take_less_than_two_thirds_of_what_there_is_and_can_still_be_run() {
        for mib in [128, 256, 512, 1024, 4096] {
            let bytes = mib << 20;
            let fitted = Config::default().fitted_to(bytes);
            assert!(
                held(&fitted) < bytes / 3 * 2,
                "{mib} MiB: {}",
                held(&fitted)
            );
            fitted.check().expect("what was cut is in range");
        }
    }

    #[test]
    fn what_was_asked_smaller_stays_and_plenty_changes_nothing() {
        let mut small = Config::default();
        small.limits.dedup_entries_max = 5000;
        small.http.read_ahead_bytes = 10_000;
        let fitted = small.clone().fitted_to(256 << 20);
        assert_eq!(fitted.limits.dedup_entries_max, 5000);
        assert_eq!(fitted.http.read_ahead_bytes, 10_000);
        assert_eq!(Config::default().fitted_to(1 << 40), Config::default());
    }
}
