//! A block: an immutable file with the chunks of all agents for a span of the log.
//! In: chunks by rising agent. Out: the chunks of one agent, or all in order. Called from: [`super`].
//! Layout: chunks one after another; the index, an entry for each chunk by rising agent; the footer, at a fixed distance
//! from the end. An entry and the footer are fixed-width little-endian numbers with a CRC-32 of their own; an entry holds
//! the CRC-32 of its chunk. The name says what it holds: `<first seq>-<last seq>.samples` or `.buckets`.
//! Invariants: a file appears under its name only when all of it is durable; nothing is read that its checksum does not
//! cover; an agent is found by halving the index on disk, so an open block costs a file handle and no memory to speak of.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::aggregate;
use super::chunk::Chunk;
use crate::store::error::ReadError;
use crate::store::medium::{self, Faults};

const MAGIC: u64 = u64::from_le_bytes(*b"L5block\x01");
const ENTRY_BYTES: usize = 44;
const FOOTER_BYTES: usize = 72;
/// Written bytes after which they are pushed to the disk, so that the last sync, and whoever else syncs meanwhile, has
/// little to wait for.
const SYNC_BYTES: u64 = 4 << 20;

/// What the chunks of a block are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Samples as they came.
    Samples,
    /// Aggregates of them.
    Buckets,
}

impl Kind {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Buckets => "buckets",
        }
    }

    const fn n_columns(self) -> usize {
        match self {
            Self::Samples => 1,
            Self::Buckets => aggregate::N_COLUMNS,
        }
    }
}

/// What stands in a footer, besides where the index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// The first group of the log whose samples are here.
    pub(super) first_seq: u64,
    /// The last one.
    pub(super) last_seq: u64,
    /// The oldest time, ns.
    pub(super) from: i64,
    /// The newest time, ns.
    pub(super) to: i64,
    /// Samples, or buckets.
    pub(super) n: u64,
}

/// Where a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) agent: u32,
    pub(super) n_bytes: u32,
    pub(super) offset: u64,
    /// Oldest and newest time, ns.
    pub(super) from: i64,
    pub(super) to: i64,
    /// Samples, or buckets.
    pub(super) n: u32,
    crc: u32,
}

impl Entry {
    fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[0..4].copy_from_slice(&self.agent.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.n_bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.from.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.to.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.n.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.crc.to_le_bytes());
        seal(&mut bytes);
        bytes
    }

    fn from_bytes(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        is_sealed(bytes).then(|| Self {
            agent: u32_at(bytes, 0),
            n_bytes: u32_at(bytes, 4),
            offset: u64_at(bytes, 8),
            from: u64_at(bytes, 16).cast_signed(),
            to: u64_at(bytes, 24).cast_signed(),
            n: u32_at(bytes, 32),
            crc: u32_at(bytes, 36),
        })
    }
}

/// Puts the checksum of all before them into the last four bytes.
fn seal(bytes: &mut [u8]) {
    let end = bytes.len() - 4;
    let crc = crc32(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
}

fn is_sealed(bytes: &[u8]) -> bool {
    let end = bytes.len() - 4;
    u32_at(bytes, end) == crc32(&bytes[..end])
}

fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes are four"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes are eight"))
}

/// A finished block, open for reading.
#[derive(Debug)]
pub(in crate::store) struct Block {
    pub(in crate::store) path: PathBuf,
    pub(super) kind: Kind,
    pub(super) span: Span,
    /// Of the file.
    pub(super) n_bytes: u64,
    n_chunks: u64,
    index_at: u64,
    file: File,
}

impl Block {
    /// Opens the block at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io {
            file: path.to_owned(),
            source,
        };
        let kind = [Kind::Samples, Kind::Buckets]
            .into_iter()
            .find(|kind| path.extension().is_some_and(|e| e == kind.suffix()))
            .ok_or_else(|| ReadError::damaged(path, "its name", "neither samples nor buckets"))?;
        let file = File::open(path).map_err(io)?;
        let n_bytes = file.metadata().map_err(io)?.len();
        let footer_at = n_bytes.saturating_sub(FOOTER_BYTES as u64);
        let wrong = |detail: &str| ReadError::damaged(path, format!("byte {footer_at}"), detail);
        if n_bytes < FOOTER_BYTES as u64 {
            return Err(wrong("the file ends early"));
        }
        let mut footer = [0; FOOTER_BYTES];
        file.read_exact_at(&mut footer, footer_at).map_err(io)?;
        if !is_sealed(&footer) || u64_at(&footer, 0) != MAGIC {
            return Err(wrong("the footer is not what was written"));
        }
        let span = Span {
            first_seq: u64_at(&footer, 8),
            last_seq: u64_at(&footer, 16),
            from: u64_at(&footer, 24).cast_signed(),
            to: u64_at(&footer, 32).cast_signed(),
            n: u64_at(&footer, 40),
        };
        let (n_chunks, index_at) = (u64_at(&footer, 48), u64_at(&footer, 56));
        let index_bytes = n_chunks.checked_mul(ENTRY_BYTES as u64);
        if index_bytes.and_then(|n| n.checked_add(index_at)) != Some(footer_at) {
            return Err(wrong("the footer does not fit the file"));
        }
        Ok(Self {
            path: path.to_owned(),
            kind,
            span,
            n_bytes,
            n_chunks,
            index_at,
            file,
        })
    }

    /// The file, whole.
    pub(in crate::store) fn file(&self) -> &File {
        &self.file
    }

    /// How many chunks there are.
    pub(super) fn n_chunks(&self) -> u64 {
        self.n_chunks
    }

    /// The entry of chunk `i`.
    pub(super) fn entry(&self, i: u64) -> Result<Entry, ReadError> {
        let at = self.index_at + i * ENTRY_BYTES as u64;
        let mut bytes = [0; ENTRY_BYTES];
        self.read_at(&mut bytes, at)?;
        Entry::from_bytes(&bytes)
            .ok_or_else(|| self.damaged(at, "an index entry does not match its checksum"))
    }

    /// The entries of `agent`.
    pub(super) fn entries_of(&self, agent: u32) -> Result<Vec<Entry>, ReadError> {
        let (mut low, mut high) = (0, self.n_chunks);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle)?.agent < agent {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let mut found = Vec::new();
        for i in low..self.n_chunks {
            let entry = self.entry(i)?;
            if entry.agent != agent {
                break;
            }
            found.push(entry);
        }
        Ok(found)
    }

    /// The bytes of a chunk, checked.
    pub(super) fn bytes_of(&self, entry: &Entry) -> Result<Vec<u8>, ReadError> {
        if entry.offset + u64::from(entry.n_bytes) > self.index_at {
            return Err(self.damaged(entry.offset, "a chunk reaches beyond the chunks"));
        }
        let mut bytes = vec![0; entry.n_bytes as usize];
        self.read_at(&mut bytes, entry.offset)?;
        if crc32(&bytes) != entry.crc {
            return Err(self.damaged(entry.offset, "a chunk does not match its checksum"));
        }
        Ok(bytes)
    }

    /// A chunk with all its series.
    pub(super) fn chunk(&self, entry: &Entry) -> Result<Chunk, ReadError> {
        Chunk::decode(&self.bytes_of(entry)?, self.kind.n_columns())
            .ok_or_else(|| self.damaged(entry.offset, "a chunk can't be decoded"))
    }

    /// A chunk with one of its series.
    pub(super) fn chunk_of_series(&self, entry: &Entry, series: u32) -> Result<Chunk, ReadError> {
        Chunk::decode_series(&self.bytes_of(entry)?, self.kind.n_columns(), series)
            .ok_or_else(|| self.damaged(entry.offset, "a chunk can't be decoded"))
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> Result<(), ReadError> {
        let read = self.file.read_exact_at(bytes, at);
        read.map_err(|source| ReadError::Io {
            file: self.path.clone(),
            source,
        })
    }

    fn damaged(&self, at: u64, detail: &str) -> ReadError {
        ReadError::damaged(&self.path, format!("byte {at}"), detail)
    }
}

/// A block being written.
#[derive(Debug)]
pub(super) struct BlockWriter {
    dir: PathBuf,
    kind: Kind,
    seqs: (u64, u64),
    unnamed: PathBuf,
    file: BufWriter<File>,
    faults: Faults,
    index: Vec<Entry>,
    offset: u64,
    unsynced: u64,
    done: bool,
}

impl BlockWriter {
    /// A block in `dir` for the groups `seqs.0 ..= seqs.1`.
    pub(super) fn create(
        dir: &Path,
        kind: Kind,
        seqs: (u64, u64),
        faults: &Faults,
    ) -> Result<Self, ReadError> {
        let unnamed = dir.join(format!("{:020}-{:020}.new", seqs.0, seqs.1));
        let file = File::create(&unnamed).map_err(|source| ReadError::Io {
            file: unnamed.clone(),
            source,
        })?;
        Ok(Self {
            dir: dir.to_owned(),
            kind,
            seqs,
            unnamed,
            file: BufWriter::with_capacity(1 << 18, file),
            faults: faults.clone(),
            index: Vec::new(),
            offset: 0,
            unsynced: 0,
            done: false,
        })
    }

    /// Adds a chunk of `agent`, which is not before that of the last one: `n` samples or buckets from `from` to `to`.
    pub(super) fn add(
        &mut self,
        agent: u32,
        (from, to): (i64, i64),
        n: u32,
        bytes: &[u8],
    ) -> Result<(), ReadError> {
        debug_assert!(self.index.last().is_none_or(|last| last.agent <= agent));
        self.index.push(Entry {
            agent,
            n_bytes: u32::try_from(bytes.len()).expect("a chunk has at most some megabytes"),
            offset: self.offset,
            from,
            to,
            n,
            crc: crc32(bytes),
        });
        self.offset += bytes.len() as u64;
        self.write(bytes).map_err(|e| self.failed(e))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.faults.before_write()?;
        self.file.write_all(bytes)?;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.unsynced = 0;
        self.file.flush()?;
        self.faults.before_sync()?;
        self.file.get_ref().sync_data()
    }

    fn failed(&self, source: io::Error) -> ReadError {
        ReadError::Io {
            file: self.unnamed.clone(),
            source,
        }
    }

    /// Bytes of chunks so far.
    pub(super) fn n_bytes(&self) -> u64 {
        self.offset
    }

    /// Makes the block durable under its name; `None` when there is nothing in it, and then there is no file.
    pub(super) fn finish(mut self) -> Result<Block, ReadError> {
        let span = Span {
            first_seq: self.seqs.0,
            last_seq: self.seqs.1,
            from: self.index.iter().map(|e| e.from).min().unwrap_or(i64::MAX),
            to: self.index.iter().map(|e| e.to).max().unwrap_or(i64::MIN),
            n: self.index.iter().map(|e| u64::from(e.n)).sum(),
        };
        let mut footer = [0; FOOTER_BYTES];
        let numbers = [
            MAGIC,
            span.first_seq,
            span.last_seq,
            span.from.cast_unsigned(),
            span.to.cast_unsigned(),
            span.n,
            self.index.len() as u64,
            self.offset,
        ];
        for (place, number) in footer.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        seal(&mut footer);
        let index = std::mem::take(&mut self.index);
        let name = format!(
            "{:020}-{:020}.{}",
            self.seqs.0,
            self.seqs.1,
            self.kind.suffix()
        );
        let path = self.dir.join(name);
        let mut write_rest = || {
            for entry in &index {
                self.write(&entry.to_bytes())?;
            }
            self.write(&footer)?;
            self.sync()?;
            fs::rename(&self.unnamed, &path)?;
            medium::sync_dir(&self.dir)
        };
        write_rest().map_err(|e| self.failed(e))?;
        self.done = true;
        Block::open(&path)
    }
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        if !self.done {
            // What is left of a block that could not be finished is in nobody's way.
            let _gone = fs::remove_file(&self.unnamed);
        }
    }
}

/// The span of the log in a block's name, and its kind; `None` for other files.
pub(super) fn parse_name(path: &Path) -> Option<(u64, u64, Kind)> {
    let (stem, suffix) = path.file_name()?.to_str()?.split_once('.')?;
    let kind = match suffix {
        "samples" => Kind::Samples,
        "buckets" => Kind::Buckets,
        _ => return None,
    };
    let (first, last) = stem.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, kind))
}
