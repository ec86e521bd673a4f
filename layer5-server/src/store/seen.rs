//! What the dedup window has seen, written beside the log: to read it back from the log itself means to decode every sample
//! that came with it.
//! In: the entries of each group, from the committer. Out: the same by group, oldest first. Called from: [`super::Store`].
//! Layout: `seen/<last group>.l5`, a file for each snapshot with what was seen since the one before; of the form of
//! [`super::snapshot`], its parts named by their groups, an entry 24 bytes.
//! Invariants: a file is durable before the snapshot that it belongs to; the groups that no file has are still in the
//! log, so a file that is lost or damaged costs time and nothing else.

use std::path::Path;

use layer5_core::Timestamp;
use layer5_core::codec::{self, Format};
use layer5_ingest::{ReportKey, Seen};
use serde::{Deserialize, Serialize};

use super::error::ReadError;
use super::medium::Faults;
use super::record::Bytes;
use super::snapshot::{self, Snapshot, SnapshotWriter};

const PIECE: Format = Format {
    kind: 8,
    version: 1,
};
const ENTRY_BYTES: usize = 24;
/// Entries from which a piece is closed.
const PIECE_LEN: usize = 1 << 14;
/// Groups of one piece lie within so much time, s: they count as seen at the end of it.
const PIECE_SECONDS: f64 = 1.0;

/// What was admitted since the last snapshot.
#[derive(Debug, Default)]
pub struct SeenSince {
    pieces: Vec<SeenPiece>,
}

/// What was admitted with the groups `first_seq ..= last_seq`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeenPiece {
    /// The first group.
    pub first_seq: u64,
    /// The last one.
    pub last_seq: u64,
    /// When its first group became durable.
    pub from: Timestamp,
    /// When its last group became durable.
    pub at: Timestamp,
    /// What came with them.
    pub entries: Vec<Seen>,
}

impl SeenSince {
    /// Adds a group that is durable; `entries` is empty afterwards.
    pub fn push(&mut self, seq: u64, at: Timestamp, entries: &mut Vec<Seen>) {
        let last = self.pieces.last_mut();
        let fits = last.filter(|piece| {
            piece.last_seq + 1 == seq
                && piece.entries.len() < PIECE_LEN
                && at.seconds_since(piece.from) <= PIECE_SECONDS
        });
        match fits {
            Some(piece) => {
                piece.last_seq = seq;
                piece.at = at;
                piece.entries.append(entries);
            }
            None => self.pieces.push(SeenPiece {
                first_seq: seq,
                last_seq: seq,
                from: at,
                at,
                entries: std::mem::take(entries),
            }),
        }
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.entries.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes them into `dir`, durably.
    pub(super) fn write(&self, dir: &Path, faults: &Faults) -> Result<(), ReadError> {
        let Some(last) = self.pieces.last() else {
            return Ok(());
        };
        let mut writer = SnapshotWriter::create(dir, last.last_seq, faults)?;
        for piece in &self.pieces {
            writer.add("seen", codec::encode(PIECE, &PieceRecord::from(piece)))?;
        }
        writer.publish(usize::MAX)?;
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct PieceRecord {
    first_seq: u64,
    last_seq: u64,
    from: Timestamp,
    at: Timestamp,
    entries: Bytes,
}

impl From<&SeenPiece> for PieceRecord {
    fn from(piece: &SeenPiece) -> Self {
        let mut entries = Vec::with_capacity(piece.entries.len() * ENTRY_BYTES);
        for entry in &piece.entries {
            entries.extend_from_slice(&entry.key.to_u128().to_le_bytes());
            entries.extend_from_slice(&entry.metrics.to_le_bytes());
        }
        Self {
            first_seq: piece.first_seq,
            last_seq: piece.last_seq,
            from: piece.from,
            at: piece.at,
            entries: Bytes(entries),
        }
    }
}

impl From<PieceRecord> for SeenPiece {
    fn from(record: PieceRecord) -> Self {
        let entry = |bytes: &[u8]| Seen {
            key: ReportKey::from_u128(u128::from_le_bytes(
                bytes[..16].try_into().expect("sixteen bytes are sixteen"),
            )),
            metrics: u64::from_le_bytes(bytes[16..].try_into().expect("eight bytes are eight")),
        };
        Self {
            first_seq: record.first_seq,
            last_seq: record.last_seq,
            from: record.from,
            at: record.at,
            entries: record
                .entries
                .0
                .chunks_exact(ENTRY_BYTES)
                .map(entry)
                .collect(),
        }
    }
}

/// Shows `visit` the pieces in `dir`, oldest first; what can't be read is named by `damaged`, and left out.
pub(super) fn visit(
    dir: &Path,
    mut visit: impl FnMut(SeenPiece),
    mut damaged: impl FnMut(&ReadError),
) -> Result<(), ReadError> {
    for (seq, path) in snapshot::list(dir)?.into_iter().rev() {
        let wrong = |e| ReadError::damaged(&path, format!("up to group {seq}"), e);
        let file = match Snapshot::open(&path).map_err(wrong) {
            Ok(file) => file,
            Err(error) => {
                damaged(&error);
                continue;
            }
        };
        for part in file {
            let piece = part
                .and_then(|(_, bytes)| codec::decode::<PieceRecord>(PIECE, &bytes).map_err(wrong));
            match piece {
                Ok(record) => visit(record.into()),
                Err(error) => damaged(&error),
            }
        }
    }
    Ok(())
}

/// Removes the files whose groups are all before `first_seq`.
pub(super) fn drop_before(dir: &Path, first_seq: u64) -> Result<(), ReadError> {
    for (seq, path) in snapshot::list(dir)? {
        if seq < first_seq {
            let io = |source| ReadError::Io {
                file: path.clone(),
                source,
            };
            std::fs::remove_file(&path).map_err(io)?;
        }
    }
    Ok(())
}
