//! Blocks made of blocks: several joined into one, or one turned into its aggregates.
//! In: blocks. Out: a finished block with the span of all. Called from: [`super::History`], [`crate::store::repair`].
//! Invariants: memory is that of one agent's small chunks, whatever the blocks hold; work is spread over time as the
//! [`Pace`] says.

use std::path::Path;
use std::time::{Duration, Instant};

use layer5_core::Sample;

use super::aggregate::{self, Bucket, Buckets, start_of};
use super::block::{Block, BlockWriter, Entry, Kind};
use super::{CHUNK_SAMPLES, Chunks};
use crate::store::error::ReadError;
use crate::store::medium::Faults;

/// A chunk of so many samples is copied as it is: joined to another it would hardly be smaller.
const FULL_CHUNK_SAMPLES: u32 = 8192;

/// What background work may take: a share of one core's time, and bytes a second.
#[derive(Debug)]
pub struct Pace {
    share: f64,
    bytes_per_second: f64,
    since: Instant,
    bytes: u64,
}

/// Work is paused after so much of it.
const STRETCH: Duration = Duration::from_millis(10);

impl Pace {
    /// At most `share` of the time, in `0 < share <= 1`, and `bytes_per_second` written.
    #[must_use]
    pub fn new(share: f64, bytes_per_second: u64) -> Self {
        Self {
            share: share.clamp(0.001, 1.0),
            bytes_per_second: bytes_per_second.max(1) as f64,
            since: Instant::now(),
            bytes: 0,
        }
    }

    /// Work begins again after something else.
    fn resume(&mut self) {
        self.since = Instant::now();
        self.bytes = 0;
    }

    /// So many bytes were written since the last call: rests as long as they cost.
    fn wrote(&mut self, n_bytes: u64) {
        self.bytes += n_bytes;
        let worked = self.since.elapsed();
        if worked < STRETCH {
            return;
        }
        let by_share = worked.as_secs_f64() * (1.0 / self.share - 1.0);
        let by_bytes = self.bytes as f64 / self.bytes_per_second - worked.as_secs_f64();
        std::thread::sleep(Duration::from_secs_f64(by_share.max(by_bytes).max(0.0)));
        self.resume();
    }
}

/// The samples of `block` as buckets of `width` ns.
pub(super) fn aggregate(
    dir: &Path,
    block: &Block,
    width: i64,
    faults: &Faults,
    pace: &mut Pace,
) -> Result<Block, ReadError> {
    let seqs = (block.span.first_seq, block.span.last_seq);
    let mut writer = BlockWriter::create(dir, Kind::Buckets, seqs, faults)?;
    pace.resume();
    for_each_agent(&[block], |agent, chunks| {
        let mut buckets = Buckets::new();
        for (block, entry) in chunks {
            for sample in block.chunk(entry)?.samples() {
                let start = start_of(sample.at.nanos(), width);
                aggregate::add(
                    &mut buckets,
                    sample.series.0,
                    start,
                    Bucket::of(sample.value),
                );
            }
        }
        write_buckets(&mut writer, agent, &buckets)?;
        pace.wrote(0);
        Ok(())
    })?;
    writer.finish()
}

/// One block of `blocks`, which follow each other and are of one kind.
pub(super) fn merge(
    dir: &Path,
    blocks: &[std::sync::Arc<Block>],
    faults: &Faults,
    pace: &mut Pace,
) -> Result<Block, ReadError> {
    let (first, last) = (&blocks[0], &blocks[blocks.len() - 1]);
    let seqs = (first.span.first_seq, last.span.last_seq);
    let mut writer = BlockWriter::create(dir, first.kind, seqs, faults)?;
    let inputs: Vec<&Block> = blocks.iter().map(|block| &**block).collect();
    pace.resume();
    for_each_agent(&inputs, |agent, chunks| {
        let before = writer.n_bytes();
        match first.kind {
            Kind::Samples => join_samples(&mut writer, agent, chunks)?,
            Kind::Buckets => {
                let mut buckets = Buckets::new();
                for (block, entry) in chunks {
                    for (series, start, bucket) in aggregate::buckets(&block.chunk(entry)?) {
                        aggregate::add(&mut buckets, series, start, bucket);
                    }
                }
                write_buckets(&mut writer, agent, &buckets)?;
            }
        }
        pace.wrote(writer.n_bytes() - before);
        Ok(())
    })?;
    writer.finish()
}

fn join_samples(
    writer: &mut BlockWriter,
    agent: u32,
    chunks: &[(&Block, Entry)],
) -> Result<(), ReadError> {
    let mut small: Vec<Sample> = Vec::new();
    for (block, entry) in chunks {
        let is_full = entry.n >= FULL_CHUNK_SAMPLES;
        if is_full || small.len() + entry.n as usize > CHUNK_SAMPLES {
            write_sorted(writer, agent, &mut small)?;
        }
        if is_full {
            writer.add(
                agent,
                (entry.from, entry.to),
                entry.n,
                &block.bytes_of(entry)?,
            )?;
        } else {
            small.extend(block.chunk(entry)?.samples());
        }
    }
    write_sorted(writer, agent, &mut small)
}

fn write_sorted(
    writer: &mut BlockWriter,
    agent: u32,
    samples: &mut Vec<Sample>,
) -> Result<(), ReadError> {
    // The order of samples of one series and time is kept.
    samples.sort_by_key(|sample| sample.at);
    Chunks::default().add(writer, agent, samples)?;
    samples.clear();
    Ok(())
}

fn write_buckets(writer: &mut BlockWriter, agent: u32, buckets: &Buckets) -> Result<(), ReadError> {
    let starts = || buckets.keys().map(|&(_, start)| start);
    let (Some(from), Some(to)) = (starts().min(), starts().max()) else {
        return Ok(());
    };
    let bytes = aggregate::to_chunk(buckets).encode();
    writer.add(agent, (from, to), buckets.len() as u32, &bytes)
}

/// Shows `visit` the chunks of each agent, agents rising, chunks in the order of the blocks.
fn for_each_agent(
    blocks: &[&Block],
    mut visit: impl FnMut(u32, &[(&Block, Entry)]) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let entry_at = |block: &Block, i: u64| match i < block.n_chunks() {
        true => block.entry(i).map(Some),
        false => Ok(None),
    };
    let mut heads: Vec<(u64, Option<Entry>)> = Vec::with_capacity(blocks.len());
    for block in blocks {
        heads.push((0, entry_at(block, 0)?));
    }
    let mut chunks = Vec::new();
    while let Some(agent) = heads.iter().filter_map(|(_, e)| e.map(|e| e.agent)).min() {
        chunks.clear();
        for (block, (i, head)) in blocks.iter().zip(&mut heads) {
            while let Some(entry) = head.filter(|entry| entry.agent == agent) {
                chunks.push((*block, entry));
                *i += 1;
                *head = entry_at(block, *i)?;
            }
        }
        visit(agent, &chunks)?;
    }
    Ok(())
}

/// Reads all of `block`.
pub(super) fn verify(block: &Block) -> Result<(), ReadError> {
    for i in 0..block.n_chunks() {
        block.chunk(&block.entry(i)?)?;
    }
    Ok(())
}

/// Writes `block` anew into `dir` without the chunks that can't be read; returns how many samples or buckets were left
/// out. The file must have been moved out of the way.
pub(super) fn salvage(dir: &Path, block: &Block) -> Result<u64, ReadError> {
    let seqs = (block.span.first_seq, block.span.last_seq);
    let mut writer = BlockWriter::create(dir, block.kind, seqs, &Faults::default())?;
    let mut n_kept = 0;
    for i in 0..block.n_chunks() {
        let Ok(entry) = block.entry(i) else { continue };
        let (Ok(bytes), Ok(_)) = (block.bytes_of(&entry), block.chunk(&entry)) else {
            continue;
        };
        writer.add(entry.agent, (entry.from, entry.to), entry.n, &bytes)?;
        n_kept += u64::from(entry.n);
    }
    writer.finish()?;
    Ok(block.span.n.saturating_sub(n_kept))
}
