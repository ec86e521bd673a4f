//! History: every sample that was stored, to be asked for by series and time; compressed on disk, the newest in memory.
//! In: durable groups from [`super::Store`]. Out: samples and [`Bucket`]s of one series. Called from: [`super::Store`].
//!
//! Groups enter the head, plain samples in memory. When it is large enough a block is written of it; blocks are merged
//! into larger ones, become aggregates when they are old, and go. The log needs to reach back to the head only.
//!
//! ```text
//! data/history/<first seq>-<last seq>.samples   chunks of samples by agent
//! data/history/<first seq>-<last seq>.buckets   their aggregates, when the samples are gone
//! ```
//! Invariants: every stored sample is in the head or in exactly one block; blocks cover the log without a gap and
//! without overlap; a block whose span lies in another's is what a crash left of a merge, and is removed at start.

mod aggregate;
mod bits;
mod block;
mod chunk;
mod deal;
mod integers;
mod plan;
mod rewrite;
mod values;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use layer5_core::{AgentId, Sample, SeriesId, SeriesKey, Timestamp};

use super::error::ReadError;
use super::group::Group;
use super::medium::Faults;
pub use aggregate::Bucket;
use aggregate::start_of;
pub(super) use block::Block;
use block::{BlockWriter, Kind};
use chunk::Chunk;
use deal::Dealt;
use plan::Job;
pub use plan::Retention;
pub use rewrite::Pace;

/// Samples of a piece of the head. The newest piece grows under the lock, so it is small.
const PIECE_LEN: usize = 1 << 16;
/// Most samples of a chunk that is written.
const CHUNK_SAMPLES: usize = 1 << 16;
/// The agent of a series that was never named: only damage or a test makes one.
const NOBODY: u32 = u32::MAX;

/// Sizes of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadLimits {
    /// Samples from which a block is written of it.
    pub(super) samples: usize,
    /// Bytes of the log that it keeps alive, from which a block is written of it.
    pub(super) log_bytes: u64,
    /// Most samples: beyond it the next group waits until a block is written.
    pub(super) samples_max: usize,
}

/// All of it.
#[derive(Debug)]
pub(super) struct History {
    dir: PathBuf,
    faults: Faults,
    limits: HeadLimits,
    state: RwLock<State>,
    /// The agent of each series, by its number.
    agents: RwLock<Vec<u32>>,
    /// Held by whoever writes the head out: blocks are only added at the end of the list.
    flushing: Mutex<()>,
    /// Held by whoever merges or removes blocks, which may take long and delays no flush.
    tidying: Mutex<()>,
}

#[derive(Debug)]
struct State {
    /// By rising span.
    blocks: Vec<Arc<Block>>,
    /// Full pieces of the head, oldest first.
    pieces: Vec<Arc<Vec<Sample>>>,
    /// The piece that grows.
    open: Vec<Sample>,
    /// The newest group in a block.
    flushed_seq: u64,
    /// The newest group in the head.
    last_seq: u64,
    /// Bytes of the log since `flushed_seq`.
    log_bytes: u64,
}

impl State {
    fn head_len(&self) -> usize {
        self.open.len() + self.pieces.iter().map(|piece| piece.len()).sum::<usize>()
    }
}

/// How large history is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistorySize {
    /// Samples in memory.
    pub head_samples: u64,
    /// Samples on disk.
    pub samples: u64,
    /// Bytes of their blocks.
    pub sample_bytes: u64,
    /// Aggregates on disk.
    pub buckets: u64,
    /// Bytes of their blocks.
    pub bucket_bytes: u64,
    /// Blocks of both kinds.
    pub blocks: u64,
}

/// What one round of tidying up did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Bytes of blocks written.
    pub written_bytes: u64,
    /// Blocks of samples that became aggregates, or went.
    pub expired_samples: u64,
    /// Blocks of aggregates that went.
    pub expired_buckets: u64,
    /// Whether there may be more to do at once.
    pub more: bool,
}

impl History {
    /// Opens the folder `dir` and removes what a crash left over.
    pub(super) fn open(
        dir: PathBuf,
        limits: HeadLimits,
        faults: Faults,
    ) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io {
            file: dir.clone(),
            source,
        };
        fs::create_dir_all(&dir).map_err(io)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|e| e == "new") {
                fs::remove_file(&path).map_err(io)?;
            } else if let Some((first, last, kind)) = block::parse_name(&path) {
                found.push((first, last, kind, path));
            }
        }
        // The widest first, and aggregates before the samples that they were made of.
        found.sort_unstable_by_key(|&(first, last, kind, _)| {
            (first, !last, std::cmp::Reverse(kind))
        });
        let mut blocks: Vec<Arc<Block>> = Vec::new();
        for (first, last, _, path) in found {
            let covered = blocks.last().map_or(0, |block| block.span.last_seq);
            if last <= covered {
                fs::remove_file(&path).map_err(io)?;
                continue;
            }
            if first <= covered {
                let detail =
                    format!("its groups from {first} are in another block up to {covered}");
                return Err(ReadError::damaged(&path, "its name", detail));
            }
            blocks.push(Arc::new(Block::open(&path)?));
        }
        let flushed_seq = blocks.last().map_or(0, |block| block.span.last_seq);
        let state = State {
            blocks,
            pieces: Vec::new(),
            open: Vec::new(),
            flushed_seq,
            last_seq: flushed_seq,
            log_bytes: 0,
        };
        Ok(Self {
            dir,
            faults,
            limits,
            state: RwLock::new(state),
            agents: RwLock::default(),
            flushing: Mutex::default(),
            tidying: Mutex::default(),
        })
    }

    /// Learns whose series are whose.
    pub(super) fn learn(&self, series: &[(SeriesId, SeriesKey)]) {
        if series.is_empty() {
            return;
        }
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        for (id, key) in series {
            if agents.len() <= id.index() {
                agents.resize(id.index() + 1, NOBODY);
            }
            agents[id.index()] = key.agent.0;
        }
    }

    /// Takes a group that the log has, in `n_log_bytes`.
    pub(super) fn append(&self, group: &Group, n_log_bytes: u64) {
        self.learn(&group.new_series);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if group.seq <= state.flushed_seq {
            return;
        }
        state.last_seq = group.seq;
        state.log_bytes += n_log_bytes;
        let mut rest = &group.samples[..];
        while !rest.is_empty() {
            let room = PIECE_LEN - state.open.len();
            state.open.reserve_exact(room);
            let (now, later) = rest.split_at(rest.len().min(room));
            state.open.extend_from_slice(now);
            rest = later;
            if state.open.len() == PIECE_LEN {
                let full = std::mem::take(&mut state.open);
                state.pieces.push(Arc::new(full));
            }
        }
    }

    /// The blocks there are; their files stay readable for as long as these are held.
    pub(super) fn blocks(&self) -> Vec<Arc<Block>> {
        self.read_state().blocks.clone()
    }

    /// The newest group that is in a block: the log must go on from there.
    pub(super) fn flushed_seq(&self) -> u64 {
        self.read_state().flushed_seq
    }

    fn read_state(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a block should be written of the head.
    pub(super) fn is_flush_due(&self) -> bool {
        let state = self.read_state();
        state.head_len() >= self.limits.samples || state.log_bytes >= self.limits.log_bytes
    }

    /// Whether the head takes no more until a block is written of it.
    pub(super) fn is_head_full(&self) -> bool {
        self.read_state().head_len() >= self.limits.samples_max
    }

    /// Writes a block of the head. Returns its bytes; 0 when there was nothing to write.
    pub(super) fn flush(&self) -> Result<u64, ReadError> {
        let _flushing = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let (pieces, seqs, log_bytes) = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            if !state.open.is_empty() {
                let open = std::mem::take(&mut state.open);
                state.pieces.push(Arc::new(open));
            }
            let seqs = (state.flushed_seq + 1, state.last_seq);
            (state.pieces.clone(), seqs, state.log_bytes)
        };
        if seqs.0 > seqs.1 {
            return Ok(0);
        }
        let dealt = {
            let agents = self.agents.read().unwrap_or_else(PoisonError::into_inner);
            Dealt::out(&pieces, &agents)
        };
        let mut writer = BlockWriter::create(&self.dir, Kind::Samples, seqs, &self.faults)?;
        let (mut of_agent, mut chunks) = (Vec::new(), Chunks::default());
        for (agent, places) in dealt.by_agent() {
            of_agent.clear();
            let samples = places.iter().map(|place| place.of(&pieces));
            of_agent.extend(samples);
            of_agent.sort_by_key(|sample| sample.at);
            for part in of_agent.chunks(CHUNK_SAMPLES) {
                chunks.add(&mut writer, agent, part)?;
            }
        }
        drop(dealt);
        let block = writer.finish()?;
        let n_bytes = block.n_bytes;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.blocks.push(Arc::new(block));
        state.pieces.drain(..pieces.len());
        state.flushed_seq = seqs.1;
        state.log_bytes -= log_bytes;
        Ok(n_bytes)
    }

    /// Does the most urgent thing that there is to do with blocks: what is too old or too much goes, small ones are
    /// merged. `store_bytes` is what the whole store takes on disk.
    pub(super) fn tidy(
        &self,
        retention: &Retention,
        now: Timestamp,
        store_bytes: u64,
        pace: &mut Pace,
    ) -> Result<Tidied, ReadError> {
        let _tidying = self.tidying.lock().unwrap_or_else(PoisonError::into_inner);
        let blocks = self.read_state().blocks.clone();
        let Some(job) = plan::next(
            &blocks,
            retention,
            now.nanos(),
            store_bytes,
            self.limits.samples,
        ) else {
            return Ok(Tidied::default());
        };
        let mut tidied = Tidied {
            more: true,
            ..Tidied::default()
        };
        let (range, replacement) = match job {
            Job::Drop(at) => {
                match blocks[at].kind {
                    Kind::Samples => tidied.expired_samples += 1,
                    Kind::Buckets => tidied.expired_buckets += 1,
                }
                (at..at + 1, None)
            }
            Job::Aggregate(at) => {
                tidied.expired_samples += 1;
                let width = retention.bucket_nanos;
                let block = rewrite::aggregate(&self.dir, &blocks[at], width, &self.faults, pace)?;
                (at..at + 1, Some(block))
            }
            Job::Merge(range) => {
                let block = rewrite::merge(&self.dir, &blocks[range.clone()], &self.faults, pace)?;
                (range, Some(block))
            }
        };
        tidied.written_bytes = replacement.as_ref().map_or(0, |block| block.n_bytes);
        let old = &blocks[range.clone()];
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            // Only who holds `tidying` takes from the list, and a flush adds at its end.
            state.blocks.splice(range, replacement.map(Arc::new));
        }
        for block in old {
            fs::remove_file(&block.path).map_err(|source| ReadError::Io {
                file: block.path.clone(),
                source,
            })?;
        }
        Ok(tidied)
    }

    /// How large it is.
    pub(super) fn size(&self) -> HistorySize {
        let state = self.read_state();
        let mut size = HistorySize {
            head_samples: state.head_len() as u64,
            blocks: state.blocks.len() as u64,
            ..HistorySize::default()
        };
        for block in &state.blocks {
            let (n, bytes) = match block.kind {
                Kind::Samples => (&mut size.samples, &mut size.sample_bytes),
                Kind::Buckets => (&mut size.buckets, &mut size.bucket_bytes),
            };
            *n += block.span.n;
            *bytes += block.n_bytes;
        }
        size
    }

    /// Shows `visit` the samples of a series from `from` to before `to`, block by block and so not in the order of time.
    pub(super) fn samples(
        &self,
        key: (AgentId, SeriesId),
        from: Timestamp,
        to: Timestamp,
        mut visit: impl FnMut(Sample),
    ) -> Result<(), ReadError> {
        self.visit(key, from, to, |visited| {
            if let Visited::Sample(sample) = visited {
                visit(sample);
            }
        })
    }

    /// What is known of a series from `from` to before `to`, in buckets of `width_nanos` by their starts. Where samples
    /// have become aggregates, a bucket is no finer than those.
    pub(super) fn buckets(
        &self,
        key: (AgentId, SeriesId),
        from: Timestamp,
        to: Timestamp,
        width_nanos: i64,
    ) -> Result<BTreeMap<Timestamp, Bucket>, ReadError> {
        let mut buckets: BTreeMap<Timestamp, Bucket> = BTreeMap::new();
        self.visit(key, from, to, |visited| {
            let (at, bucket) = match visited {
                Visited::Sample(sample) => (sample.at.nanos(), Bucket::of(sample.value)),
                Visited::Bucket(at, bucket) => (at, bucket),
            };
            let start = Timestamp::from_nanos(start_of(at, width_nanos));
            let place = buckets.entry(start);
            place.and_modify(|b| *b = b.plus(bucket)).or_insert(bucket);
        })?;
        Ok(buckets)
    }

    fn visit(
        &self,
        (agent, series): (AgentId, SeriesId),
        from: Timestamp,
        to: Timestamp,
        mut visit: impl FnMut(Visited),
    ) -> Result<(), ReadError> {
        let wanted =
            |sample: &&Sample| sample.series == series && from <= sample.at && sample.at < to;
        let (blocks, pieces, newest) = {
            let state = self.read_state();
            let newest: Vec<Sample> = state.open.iter().filter(wanted).copied().collect();
            (state.blocks.clone(), state.pieces.clone(), newest)
        };
        let (from_nanos, to_nanos) = (from.nanos(), to.nanos());
        for block in blocks {
            if block.span.to < from_nanos || block.span.from >= to_nanos {
                continue;
            }
            for entry in block.entries_of(agent.0)? {
                if entry.to < from_nanos || entry.from >= to_nanos {
                    continue;
                }
                let chunk = block.chunk_of_series(&entry, series.0)?;
                match block.kind {
                    Kind::Samples => chunk
                        .samples()
                        .filter(|sample| wanted(&sample))
                        .for_each(|sample| visit(Visited::Sample(sample))),
                    Kind::Buckets => aggregate::buckets(&chunk)
                        .filter(|(_, start, _)| (from_nanos..to_nanos).contains(start))
                        .for_each(|(_, start, bucket)| visit(Visited::Bucket(start, bucket))),
                }
            }
        }
        let head = pieces.iter().flat_map(|piece| piece.iter()).filter(wanted);
        head.copied()
            .chain(newest)
            .for_each(|sample| visit(Visited::Sample(sample)));
        Ok(())
    }
}

enum Visited {
    Sample(Sample),
    Bucket(i64, Bucket),
}

/// Writes chunks of samples, each into the memory of the one before.
#[derive(Debug, Default)]
struct Chunks {
    chunk: Chunk,
    bytes: Vec<u8>,
}

impl Chunks {
    /// Adds the chunk of `samples`, which are of one agent and sorted by time.
    fn add(
        &mut self,
        writer: &mut BlockWriter,
        agent: u32,
        samples: &[Sample],
    ) -> Result<(), ReadError> {
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
            return Ok(());
        };
        let span = (first.at.nanos(), last.at.nanos());
        self.chunk.fill(samples);
        self.bytes.clear();
        self.chunk.write(&mut self.bytes);
        writer.add(agent, span, samples.len() as u32, &self.bytes)
    }
}

/// The paths of the blocks in `dir`.
pub(super) fn block_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| block::parse_name(path).is_some());
    paths.sort();
    paths
}

/// What a block's file holds.
#[derive(Debug)]
pub(super) struct BlockExamined {
    /// The newest group that it covers.
    pub(super) last_seq: u64,
    /// How many.
    pub(super) n: u64,
    /// Samples or buckets.
    pub(super) what: &'static str,
    /// The first chunk that can't be read.
    pub(super) damage: Option<ReadError>,
}

/// Reads all of the block at `path`.
pub(super) fn examine_block(path: &Path) -> Result<BlockExamined, ReadError> {
    let block = Block::open(path)?;
    Ok(BlockExamined {
        last_seq: block.span.last_seq,
        n: block.span.n,
        what: match block.kind {
            Kind::Samples => "samples",
            Kind::Buckets => "buckets",
        },
        damage: rewrite::verify(&block).err(),
    })
}

/// Writes the block at `damaged` anew into `dir` without the chunks that can't be read. Returns how many samples or
/// buckets were left out.
pub(super) fn salvage_block(dir: &Path, damaged: &Path) -> Result<u64, ReadError> {
    rewrite::salvage(dir, &Block::open(damaged)?)
}
