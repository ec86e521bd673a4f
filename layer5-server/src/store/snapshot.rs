//! Snapshots: the state of shards and tuner at a position of the log, so that a start need not replay all of it.
//! In: named parts as bytes. Out: the newest good one. Called from: [`super::Store`].
//! Layout: `snapshots/<seq>.l5`: a frame for the header and one per part; a frame is its length (u64 LE) and an
//! envelope of the codec.
//! Invariants: a file appears under its name only when all of it is durable; the two newest are kept, so that a
//! damaged one costs a longer replay and nothing else.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use layer5_core::codec::{self, DecodeError, Format};
use serde::{Deserialize, Serialize};

use super::error::ReadError;
use super::medium;
use super::record::Bytes;

const HEADER: Format = Format {
    kind: 5,
    version: 1,
};
const PART: Format = Format {
    kind: 6,
    version: 1,
};
/// The newest one, and one to fall back on.
const KEPT: usize = 2;

#[derive(Serialize, Deserialize)]
struct Header {
    seq: u64,
    n_parts: u64,
}

#[derive(Serialize, Deserialize)]
struct Part {
    name: String,
    bytes: Bytes,
}

/// A snapshot as it was written.
pub type Snapshot = (u64, Vec<(String, Vec<u8>)>);

/// Writes the snapshot of position `seq`, then removes all but the newest.
pub(super) fn write(dir: &Path, seq: u64, parts: &[(String, Vec<u8>)]) -> Result<(), ReadError> {
    let path = path_of(dir, seq);
    let unnamed = path.with_extension("new");
    let io = |source| ReadError::Io {
        file: path.clone(),
        source,
    };
    fs::create_dir_all(dir).map_err(io)?;
    write_file(&unnamed, seq, parts).map_err(io)?;
    fs::rename(&unnamed, &path).map_err(io)?;
    medium::sync_dir(dir).map_err(io)?;
    for (_, old) in list(dir)?.into_iter().skip(KEPT) {
        fs::remove_file(&old).map_err(|source| ReadError::Io {
            file: old.clone(),
            source,
        })?;
    }
    Ok(())
}

fn write_file(path: &Path, seq: u64, parts: &[(String, Vec<u8>)]) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut frame = |bytes: &[u8]| {
        file.write_all(&(bytes.len() as u64).to_le_bytes())?;
        file.write_all(bytes)
    };
    frame(&codec::encode(
        HEADER,
        &Header {
            seq,
            n_parts: parts.len() as u64,
        },
    ))?;
    for (name, bytes) in parts {
        let part = Part {
            name: name.clone(),
            bytes: Bytes(bytes.clone()),
        };
        frame(&codec::encode(PART, &part))?;
    }
    file.into_inner()
        .map_err(std::io::IntoInnerError::into_error)?
        .sync_all()
}

/// The newest snapshot that reads back whole and is not past `last_seq`; damaged ones are skipped, and named in the
/// second value.
pub(super) fn latest(
    dir: &Path,
    last_seq: u64,
) -> Result<(Option<Snapshot>, Vec<ReadError>), ReadError> {
    let mut damaged = vec![];
    for (seq, path) in list(dir)? {
        let bytes = fs::read(&path).map_err(|source| ReadError::Io {
            file: path.clone(),
            source,
        })?;
        match parse(&bytes) {
            Ok((found, parts)) if found == seq && seq <= last_seq => {
                return Ok((Some((seq, parts)), damaged));
            }
            Ok((found, _)) => {
                let detail = format!("holds position {found}, the log ends at {last_seq}");
                damaged.push(ReadError::damaged(&path, format!("group {seq}"), detail));
            }
            Err(e) => damaged.push(ReadError::damaged(&path, format!("group {seq}"), e)),
        }
    }
    Ok((None, damaged))
}

/// The position of the oldest snapshot kept, which the log must still reach back to.
pub(super) fn oldest_seq(dir: &Path) -> Result<Option<u64>, ReadError> {
    Ok(list(dir)?.last().map(|&(seq, _)| seq))
}

/// Newest first.
fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, ReadError> {
    let io = |source| ReadError::Io {
        file: dir.to_owned(),
        source,
    };
    let mut found = vec![];
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        entries => entries.map_err(io)?,
    };
    for entry in entries {
        let path = entry.map_err(io)?.path();
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        if let Some(seq) = name.strip_suffix(".l5").and_then(|seq| seq.parse().ok()) {
            found.push((seq, path));
        }
    }
    found.sort_unstable_by_key(|&(seq, _)| std::cmp::Reverse(seq));
    Ok(found)
}

fn path_of(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("{seq:020}.l5"))
}

fn parse(bytes: &[u8]) -> Result<Snapshot, DecodeError> {
    let mut rest = bytes;
    let header: Header = codec::decode(HEADER, next_frame(&mut rest)?)?;
    let mut parts = vec![];
    for _ in 0..header.n_parts {
        let part: Part = codec::decode(PART, next_frame(&mut rest)?)?;
        parts.push((part.name, part.bytes.0));
    }
    if !rest.is_empty() {
        return Err(DecodeError::Payload(format!(
            "{} bytes left over",
            rest.len()
        )));
    }
    Ok((header.seq, parts))
}

fn next_frame<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let cut = || DecodeError::Payload("the file ends early".into());
    let (length, after) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
    let n_bytes = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| cut())?;
    let (frame, after) = after.split_at_checked(n_bytes).ok_or_else(cut)?;
    *rest = after;
    Ok(frame)
}
