//! Snapshots: the state of shards and tuner at a position of the log, so that a start need not replay all of it.
//! In: named parts, one after another from several threads. Out: the newest good one, part by part. Called from:
//! [`super::Store`]; [`super::seen`] and [`super::roll`] keep their pieces in files of the same form.
//! Layout: `snapshots/<seq>.l5`: a frame for the header, one per part, and one that says how many there were; a frame is
//! its length (u64 LE) and an envelope of the codec.
//! Invariants: a file appears under its name only when all of it is durable; the two newest are kept, so that a
//! damaged one costs a longer replay and nothing else; when both are, a part that can't be read costs that part; no more
//! than one part is in memory, writing or reading.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use layer5_core::codec::{self, DecodeError, Format, PAYLOAD_BYTES_MAX};
use serde::{Deserialize, Serialize};

use super::error::ReadError;
use super::medium::{self, Faults};
use super::record::Bytes;

const HEADER: Format = Format {
    kind: 5,
    version: 2,
};
const PART: Format = Format {
    kind: 6,
    version: 1,
};
const END: Format = Format {
    kind: 7,
    version: 1,
};
/// The newest one, and one to fall back on.
pub(super) const KEPT: usize = 2;
/// Written bytes after which they are pushed to the disk: the last sync has little left to do.
const SYNC_BYTES: usize = 4 << 20;

#[derive(Serialize, Deserialize)]
struct Header {
    seq: u64,
}

#[derive(Serialize, Deserialize)]
struct Part {
    name: String,
    bytes: Bytes,
}

#[derive(Serialize, Deserialize)]
struct End {
    n_parts: u64,
}

/// A snapshot that is being written.
#[derive(Debug)]
pub(super) struct SnapshotWriter {
    dir: PathBuf,
    seq: u64,
    unnamed: PathBuf,
    file: BufWriter<File>,
    faults: Faults,
    n_parts: u64,
    unsynced: usize,
}

impl SnapshotWriter {
    /// The snapshot of position `seq` in `dir`.
    pub(super) fn create(dir: &Path, seq: u64, faults: &Faults) -> Result<Self, ReadError> {
        let unnamed = path_of(dir, seq).with_extension("new");
        let io = |source| ReadError::Io {
            file: unnamed.clone(),
            source,
        };
        fs::create_dir_all(dir).map_err(io)?;
        for entry in fs::read_dir(dir).map_err(io)? {
            // Left by a crash, or given up: there is one writer at a time.
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|e| e == "new") {
                fs::remove_file(&path).map_err(io)?;
            }
        }
        let file = BufWriter::with_capacity(1 << 18, File::create(&unnamed).map_err(io)?);
        let mut writer = Self {
            dir: dir.to_owned(),
            seq,
            unnamed,
            file,
            faults: faults.clone(),
            n_parts: 0,
            unsynced: 0,
        };
        writer.frame(&codec::encode(HEADER, &Header { seq }))?;
        Ok(writer)
    }

    /// The position that it is of.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// Adds a part; several may have one name.
    pub(super) fn add(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), ReadError> {
        let part = Part {
            name: name.to_owned(),
            bytes: Bytes(bytes),
        };
        self.n_parts += 1;
        self.frame(&codec::encode(PART, &part))
    }

    fn frame(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        self.write_frame(bytes).map_err(|source| ReadError::Io {
            file: self.unnamed.clone(),
            source,
        })
    }

    fn write_frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.faults.before_write()?;
        self.file.write_all(&(bytes.len() as u64).to_le_bytes())?;
        self.file.write_all(bytes)?;
        self.unsynced += bytes.len();
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

    /// Makes it durable under its name, then removes all but the `kept` newest.
    pub(super) fn publish(mut self, kept: usize) -> Result<u64, ReadError> {
        let n_parts = self.n_parts;
        self.frame(&codec::encode(END, &End { n_parts }))?;
        let path = path_of(&self.dir, self.seq);
        let mut name_it = || {
            self.sync()?;
            fs::rename(&self.unnamed, &path)?;
            medium::sync_dir(&self.dir)
        };
        let io = |file: &Path| {
            let file = file.to_owned();
            move |source| ReadError::Io { file, source }
        };
        name_it().map_err(io(&path))?;
        for (_, old) in list(&self.dir)?.into_iter().skip(kept) {
            fs::remove_file(&old).map_err(io(&old))?;
        }
        Ok(self.seq)
    }
}

/// A snapshot that was found whole, to be read part by part.
#[derive(Debug)]
pub struct Snapshot {
    /// The position that it is of.
    pub seq: u64,
    path: PathBuf,
    file: BufReader<File>,
    n_read: u64,
    ended: bool,
}

impl Snapshot {
    pub(super) fn open(path: &Path) -> Result<Self, DecodeError> {
        let file = File::open(path).map_err(|e| DecodeError::Payload(e.to_string()))?;
        let mut file = BufReader::with_capacity(1 << 18, file);
        let header: Header = codec::decode(HEADER, &next_frame(&mut file)?)?;
        Ok(Self {
            seq: header.seq,
            path: path.to_owned(),
            file,
            n_read: 0,
            ended: false,
        })
    }

    /// The next part; `None` behind the last. A frame that is damaged costs itself: the next call reads the one behind it,
    /// unless the file ends early.
    fn next_part(&mut self) -> Result<Option<(String, Vec<u8>)>, DecodeError> {
        // Until the frame has been read there is no knowing where the next one begins.
        self.ended = true;
        let frame = next_frame(&mut self.file)?;
        match codec::decode::<Part>(PART, &frame) {
            Ok(part) => {
                self.ended = false;
                self.n_read += 1;
                Ok(Some((part.name, part.bytes.0)))
            }
            Err(DecodeError::WrongKind { .. }) => {
                let end: End = codec::decode(END, &frame)?;
                let more = self.file.read(&mut [0]).map_or(1, |n| n);
                if end.n_parts != self.n_read || more > 0 {
                    return Err(DecodeError::Payload(
                        "parts are missing or left over".into(),
                    ));
                }
                Ok(None)
            }
            Err(error) => {
                self.ended = false;
                self.n_read += 1;
                Err(error)
            }
        }
    }
}

impl Iterator for Snapshot {
    type Item = Result<(String, Vec<u8>), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let place = format!("part {}", self.n_read);
        let part = self.next_part().transpose()?;
        Some(part.map_err(|e| ReadError::damaged(&self.path, place, e)))
    }
}

/// Reads the snapshot at `path` to its end. Returns its position.
pub(super) fn verify(path: &Path) -> Result<u64, ReadError> {
    let wrong = |e: DecodeError| ReadError::damaged(path, "the file", e);
    let mut snapshot = Snapshot::open(path).map_err(wrong)?;
    while snapshot.next_part().map_err(wrong)?.is_some() {}
    Ok(snapshot.seq)
}

/// The newest snapshot that reads back whole and is not past `last_seq`, else the newest of which there is anything to
/// read. Damaged ones are named in the second value.
pub(super) fn latest(
    dir: &Path,
    last_seq: u64,
) -> Result<(Option<Snapshot>, Vec<ReadError>), ReadError> {
    let mut damaged = vec![];
    let mut in_parts = None;
    for (seq, path) in list(dir)? {
        match verify(&path) {
            Ok(found) if found == seq && seq <= last_seq => match Snapshot::open(&path) {
                Ok(snapshot) => return Ok((Some(snapshot), damaged)),
                Err(e) => damaged.push(ReadError::damaged(&path, "the header", e)),
            },
            Ok(found) => {
                let detail = format!("holds position {found}, the log ends at {last_seq}");
                damaged.push(ReadError::damaged(&path, format!("group {seq}"), detail));
            }
            Err(e) => {
                damaged.push(e);
                let readable = Snapshot::open(&path).ok();
                let readable = readable.filter(|found| found.seq == seq && seq <= last_seq);
                in_parts = in_parts.or(readable);
            }
        }
    }
    Ok((in_parts, damaged))
}

/// The position of the oldest snapshot kept, which the log must still reach back to.
pub(super) fn oldest_seq(dir: &Path) -> Result<Option<u64>, ReadError> {
    Ok(list(dir)?.last().map(|&(seq, _)| seq))
}

/// Newest first.
pub(super) fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, ReadError> {
    let io = |source| ReadError::Io {
        file: dir.to_owned(),
        source,
    };
    let mut found = vec![];
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
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
    dir.join(file_name(seq))
}

/// The name of the snapshot of position `seq`.
pub(super) fn file_name(seq: u64) -> String {
    format!("{seq:020}.l5")
}

fn next_frame(file: &mut impl Read) -> Result<Vec<u8>, DecodeError> {
    let cut = |e: io::Error| DecodeError::Payload(format!("the file ends early: {e}"));
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(cut)?;
    let n_bytes = u64::from_le_bytes(length);
    if n_bytes > PAYLOAD_BYTES_MAX as u64 + 8 {
        return Err(DecodeError::Payload(format!("a part of {n_bytes} bytes")));
    }
    // As it comes, so that a lying length takes no memory.
    let mut frame = Vec::new();
    file.take(n_bytes).read_to_end(&mut frame).map_err(cut)?;
    if frame.len() as u64 != n_bytes {
        return Err(DecodeError::Payload("the file ends early".into()));
    }
    Ok(frame)
}
