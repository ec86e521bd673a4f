//! What is to be done next with the blocks: nothing here touches one.
//! In: what blocks there are, the limits, the time. Out: a [`Job`]. Called from: [`super::History::tidy`].
//! Invariants: what is too old or too much comes before merging; of what has to go, the oldest goes first, samples
//! before aggregates.

use std::ops::Range;
use std::sync::Arc;

use super::block::{Block, Kind};

/// Blocks of one size that are merged into one.
const FAN_IN: usize = 8;
/// Longest span of a merged block of samples: they go by whole blocks.
const SAMPLES_SPAN_NANOS: i64 = 86_400_000_000_000;
/// The same of aggregates.
const BUCKETS_SPAN_NANOS: i64 = 7 * SAMPLES_SPAN_NANOS;
/// Largest merged block, bytes.
const BLOCK_BYTES_MAX: u64 = 1 << 30;

/// How long what is kept, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retention {
    /// Age at which samples become aggregates, s.
    pub raw_seconds: f64,
    /// Age at which aggregates go, s.
    pub aggregate_seconds: f64,
    /// Width of an aggregate, ns.
    pub bucket_nanos: i64,
    /// Most bytes of the whole store.
    pub disk_bytes_max: u64,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// Remove this block.
    Drop(usize),
    /// Replace this block of samples by its aggregates.
    Aggregate(usize),
    /// Replace these blocks by one.
    Merge(Range<usize>),
}

/// The next thing to do. `unit_len`: samples of the smallest blocks.
pub(super) fn next(
    blocks: &[Arc<Block>],
    retention: &Retention,
    now: i64,
    store_bytes: u64,
    unit_len: usize,
) -> Option<Job> {
    let facts: Vec<Facts> = blocks
        .iter()
        .map(|block| Facts {
            kind: block.kind,
            from: block.span.from,
            to: block.span.to,
            n: block.span.n,
            n_bytes: block.n_bytes,
        })
        .collect();
    let nanos = |seconds: f64| (seconds * 1e9) as i64;
    let aggregates_go = now.saturating_sub(nanos(retention.aggregate_seconds));
    let samples_go = now.saturating_sub(nanos(retention.raw_seconds));
    let is_over = store_bytes > retention.disk_bytes_max;
    too_old(&facts, samples_go, aggregates_go)
        .or_else(|| is_over.then(|| too_much(&facts)).flatten())
        .or_else(|| to_merge(&facts, unit_len as u64))
}

/// What of a block the decision depends on.
#[derive(Clone, Copy, Debug)]
struct Facts {
    kind: Kind,
    from: i64,
    to: i64,
    n: u64,
    n_bytes: u64,
}

fn too_old(blocks: &[Facts], samples_go: i64, aggregates_go: i64) -> Option<Job> {
    let gone = blocks.iter().position(|block| block.to < aggregates_go);
    let aged = || {
        let is_aged = |block: &Facts| block.kind == Kind::Samples && block.to < samples_go;
        blocks.iter().position(is_aged)
    };
    gone.map(Job::Drop).or_else(|| aged().map(Job::Aggregate))
}

fn too_much(blocks: &[Facts]) -> Option<Job> {
    let oldest = |kind| blocks.iter().position(|block| block.kind == kind);
    let samples = oldest(Kind::Samples).map(Job::Aggregate);
    samples.or_else(|| oldest(Kind::Buckets).map(Job::Drop))
}

/// The smallest blocks that are enough to be merged. Neighbours are compared by their tier: the power of [`FAN_IN`] that
/// their size is of, so each sample is rewritten about once in each tier. One smaller block is taken along: it would keep
/// its neighbours apart for ever.
fn to_merge(blocks: &[Facts], unit_len: u64) -> Option<Job> {
    let tier = |block: &Facts| {
        (block.n.max(1) / unit_len.max(1))
            .max(1)
            .ilog(FAN_IN as u64)
    };
    let mut found: Option<(u32, Range<usize>)> = None;
    let mut start = 0;
    while start < blocks.len() {
        let first = &blocks[start];
        let mut end = start;
        let (mut from, mut to, mut n_bytes, mut n_smaller) = (i64::MAX, i64::MIN, 0, 0);
        while let Some(block) = blocks.get(end).filter(|_| end - start < FAN_IN) {
            (from, to) = (from.min(block.from), to.max(block.to));
            n_bytes += block.n_bytes;
            n_smaller += usize::from(tier(block) < tier(first));
            let span_max = match first.kind {
                Kind::Samples => SAMPLES_SPAN_NANOS,
                Kind::Buckets => BUCKETS_SPAN_NANOS,
            };
            let fits = block.kind == first.kind
                && tier(block) <= tier(first)
                && n_smaller <= 1
                && to.saturating_sub(from) <= span_max
                && n_bytes <= BLOCK_BYTES_MAX;
            if !fits {
                break;
            }
            end += 1;
        }
        if end - start == FAN_IN && found.as_ref().is_none_or(|(least, _)| tier(first) < *least) {
            found = Some((tier(first), start..end));
        }
        start += 1;
    }
    found.map(|(_, range)| Job::Merge(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    fn block(kind: Kind, hour: i64, n: u64) -> Facts {
        Facts {
            kind,
            from: hour * HOUR,
            to: (hour + 1) * HOUR,
            n,
            n_bytes: n * 2,
        }
    }

    #[test]
    fn old_samples_become_aggregates_and_old_aggregates_go() {
        let blocks = [
            block(Kind::Buckets, 0, 9),
            block(Kind::Samples, 50, 9),
            block(Kind::Samples, 51, 9),
        ];
        assert_eq!(
            too_old(&blocks, 51 * HOUR + 1, 1 + HOUR),
            Some(Job::Drop(0))
        );
        assert_eq!(
            too_old(&blocks, 51 * HOUR + 1, HOUR),
            Some(Job::Aggregate(1))
        );
        assert_eq!(too_old(&blocks, 51 * HOUR, HOUR), None);
        assert_eq!(too_old(&blocks, 60 * HOUR, 60 * HOUR), Some(Job::Drop(0)));
    }

    #[test]
    fn samples_go_before_aggregates_when_there_is_too_much() {
        let blocks = [block(Kind::Buckets, 0, 9), block(Kind::Samples, 50, 9)];
        assert_eq!(too_much(&blocks), Some(Job::Aggregate(1)));
        assert_eq!(too_much(&blocks[..1]), Some(Job::Drop(0)));
        assert_eq!(too_much(&[]), None);
    }

    #[test]
    fn eight_of_a_tier_are_merged_the_smallest_first() {
        let small = |hour| block(Kind::Samples, hour, 100);
        let mut blocks: Vec<Facts> = (0..7).map(small).collect();
        assert_eq!(to_merge(&blocks, 100), None);
        blocks.push(small(7));
        assert_eq!(to_merge(&blocks, 100), Some(Job::Merge(0..8)));
        let mut mixed: Vec<Facts> = (0..8).map(|h| block(Kind::Samples, h, 800)).collect();
        assert_eq!(to_merge(&mixed, 100), Some(Job::Merge(0..8)));
        mixed.extend((8..16).map(small));
        assert_eq!(to_merge(&mixed, 100), Some(Job::Merge(8..16)));
        mixed.truncate(9);
        mixed.swap(4, 8);
        assert_eq!(to_merge(&mixed, 100), Some(Job::Merge(0..8)));
        let waiting: Vec<Facts> = mixed
            .iter()
            .copied()
            .filter(|b| b.n == 800)
            .take(3)
            .collect();
        let waiting: Vec<Facts> = waiting.into_iter().chain((8..14).map(small)).collect();
        assert_eq!(
            to_merge(&waiting, 100),
            None,
            "large ones wait for their like"
        );
    }

    #[test]
    fn a_merged_block_is_not_longer_than_a_day() {
        let days: Vec<Facts> = (0..8)
            .map(|day| block(Kind::Samples, 23 * day, 100))
            .collect();
        assert_eq!(to_merge(&days, 100), None);
    }
}
