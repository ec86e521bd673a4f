//! The log: every group, in order, in segment files of bounded size.
//! In: encoded groups from the committer. Out: groups for replay. Called from: [`super::Store`].
//! Layout: `log/<first seq>-<time of its first group, ms>.redb`, table `groups`: `(seq, piece) -> bytes`. The newest
//! file is written, the others are sealed. A group is cut into pieces that fill the engine's pages, whose sizes are
//! powers of two; one large value would leave up to half a page empty.
//! Invariants: positions are dense from the first kept to the last; a group is there in whole or not at all; a file
//! appears under its name only with its first group durable in it; recovery reads one segment, however long the log.
//! Old groups go by removing files, which gives the disk its space back.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use layer5_core::Timestamp;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::error::{OpenError, ReadError};
use super::group::{Group, Totals};
use super::medium::{self, Faults};
use super::record;

const GROUPS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("groups");
/// A leaf of 16 KiB holds one piece: 64 bytes are for its header, key and offset.
const PIECE_BYTES: usize = 16 * 1024 - 64;
/// Cache of a sealed segment while it is read, bytes.
const SEALED_CACHE_BYTES: usize = 4 << 20;

/// All segments.
#[derive(Debug)]
pub(super) struct Log {
    dir: PathBuf,
    segment_bytes: u64,
    cache_bytes: usize,
    faults: Faults,
    segments: RwLock<BTreeMap<u64, Segment>>,
    /// Sealed segments that somebody reads now; the engine opens a file once.
    open_sealed: Mutex<BTreeMap<u64, Weak<Database>>>,
}

#[derive(Clone, Debug)]
struct Segment {
    path: PathBuf,
    first_at: Timestamp,
    /// The one that is written.
    active: Option<Arc<Database>>,
}

impl Log {
    /// Opens the folder `dir`; removes what a crash left half made. Returns the totals after the newest group.
    pub(super) fn open(
        dir: PathBuf,
        segment_bytes: u64,
        cache_bytes: usize,
        faults: Faults,
    ) -> Result<(Self, Totals), OpenError> {
        std::fs::create_dir_all(&dir).map_err(|e| OpenError::io(&dir, e))?;
        let mut segments = BTreeMap::new();
        for entry in std::fs::read_dir(&dir).map_err(|e| OpenError::io(&dir, e))? {
            let path = entry.map_err(|e| OpenError::io(&dir, e))?.path();
            let name = path
                .file_name()
                .and_then(|n| n.to_str())
                .unwrap_or_default();
            if name.ends_with(".new") {
                std::fs::remove_file(&path).map_err(|e| OpenError::io(&path, e))?;
            } else if let Some((first_seq, first_at)) = parse_name(name) {
                let segment = Segment {
                    path,
                    first_at,
                    active: None,
                };
                segments.insert(first_seq, segment);
            }
        }
        let log = Self {
            dir,
            segment_bytes,
            cache_bytes,
            faults,
            segments: RwLock::new(segments),
            open_sealed: Mutex::default(),
        };
        let totals = log.open_newest()?;
        Ok((log, totals))
    }

    fn open_newest(&self) -> Result<Totals, OpenError> {
        let mut segments = self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(mut newest) = segments.last_entry() else {
            return Ok(Totals::default());
        };
        let path = newest.get().path.clone();
        let database = medium::open(&path, self.cache_bytes, true, &self.faults)
            .map_err(|e| OpenError::from_redb(&path, e))?;
        let last = last_seq(&database).map_err(|e| OpenError::from_redb(&path, e))?;
        let Some(last_seq) = last else {
            return Err(OpenError::Damaged {
                file: path,
                detail: "a segment without a group".into(),
            });
        };
        let bytes = read_group(&database, last_seq).map_err(|e| OpenError::from_redb(&path, e))?;
        let (_, totals) = record::decode(&bytes).map_err(|e| OpenError::from_decode(&path, &e))?;
        newest.get_mut().active = Some(Arc::new(database));
        Ok(totals)
    }

    /// Makes `bytes` durable as group `group.seq`; rotates first when the newest segment is full.
    pub(super) fn append(&self, group: &Group, bytes: &[u8]) -> Result<(), redb::Error> {
        let newest = {
            let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
            segments
                .last_key_value()
                .map(|(_, segment)| segment.clone())
        };
        if let Some(segment) = newest {
            let is_full = std::fs::metadata(&segment.path)?.len() >= self.segment_bytes;
            if let (Some(database), false) = (&segment.active, is_full) {
                return write_group(database, group.seq, bytes);
            }
        }
        self.append_to_new_segment(group, bytes)
    }

    fn append_to_new_segment(&self, group: &Group, bytes: &[u8]) -> Result<(), redb::Error> {
        let name = segment_name(group.seq, group.at);
        let path = self.dir.join(&name);
        let unnamed = self.dir.join(format!("{name}.new"));
        let database = medium::open(&unnamed, self.cache_bytes, false, &self.faults)?;
        write_group(&database, group.seq, bytes)?;
        std::fs::rename(&unnamed, &path)?;
        medium::sync_dir(&self.dir)?;
        let mut segments = self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut open_sealed = self
            .open_sealed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (&first_seq, sealed) in segments.iter_mut() {
            if let Some(database) = sealed.active.take() {
                // Somebody may be reading it and keep it open.
                open_sealed.insert(first_seq, Arc::downgrade(&database));
            }
        }
        drop(open_sealed);
        let segment = Segment {
            path,
            first_at: group.at,
            active: Some(Arc::new(database)),
        };
        segments.insert(group.seq, segment);
        Ok(())
    }

    /// Whether [`Log::drop_before`] has something to remove.
    pub(super) fn has_before(&self, at: Timestamp, keep_from: u64) -> bool {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let next = segments.iter().nth(1);
        next.is_some_and(|(&next_seq, next)| next.first_at <= at && next_seq <= keep_from)
    }

    /// Removes the segments whose groups are all older than `at` and not after `keep_from`; the newest stays.
    /// Returns how many files went.
    pub(super) fn drop_before(&self, at: Timestamp, keep_from: u64) -> Result<usize, ReadError> {
        let mut segments = self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut n_dropped = 0;
        while let Some((&next_seq, next)) = segments.iter().nth(1) {
            if next.first_at > at || next_seq > keep_from {
                break;
            }
            let Some((_, oldest)) = segments.pop_first() else {
                break;
            };
            std::fs::remove_file(&oldest.path).map_err(|source| ReadError::Io {
                file: oldest.path.clone(),
                source,
            })?;
            n_dropped += 1;
        }
        Ok(n_dropped)
    }

    /// The first position that is still there, if any.
    pub(super) fn first_seq(&self) -> Option<u64> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.first_key_value().map(|(&seq, _)| seq)
    }

    /// The groups `seq ..= last_seq`, one in memory at a time.
    pub(super) fn groups(self: &Arc<Self>, seq: u64, last_seq: u64) -> Groups {
        Groups {
            log: Arc::clone(self),
            next_seq: seq.max(1),
            last_seq,
            reading: None,
            failed: false,
        }
    }

    /// The same groups, each with the bytes that it is in the log.
    pub(super) fn records(
        self: &Arc<Self>,
        seq: u64,
        last_seq: u64,
    ) -> impl Iterator<Item = Result<(Group, Vec<u8>), ReadError>> {
        let mut groups = self.groups(seq, last_seq);
        std::iter::from_fn(move || groups.next_record())
    }

    /// Where each segment begins, oldest first.
    pub(super) fn segment_starts(&self) -> Vec<u64> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.keys().copied().collect()
    }

    /// The database that holds `seq`, the file it is in, and the first position of the segment after it.
    fn segment_of(&self, seq: u64) -> Result<Reading, ReadError> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let missing = |next| ReadError::Missing { seq, next };
        let Some((&first_seq, segment)) = segments.range(..=seq).next_back() else {
            return Err(missing(
                segments.first_key_value().map_or(0, |(&first, _)| first),
            ));
        };
        let end_seq = segments
            .range(seq + 1..)
            .next()
            .map_or(u64::MAX, |(&next_seq, _)| next_seq);
        let file = segment.path.clone();
        if let Some(database) = &segment.active {
            let database = Arc::clone(database);
            return Ok(Reading {
                database,
                file,
                end_seq,
            });
        }
        drop(segments);
        let mut open = self
            .open_sealed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, database| database.strong_count() > 0);
        let database = match open.get(&first_seq).and_then(Weak::upgrade) {
            Some(database) => database,
            None => {
                let database = self.open_sealed_file(&file).map_err(|e| match e {
                    redb::Error::Io(source) if source.kind() != io::ErrorKind::InvalidData => {
                        ReadError::Io {
                            file: file.clone(),
                            source,
                        }
                    }
                    e => ReadError::damaged(&file, format!("group {seq}"), e),
                })?;
                let database = Arc::new(database);
                open.insert(first_seq, Arc::downgrade(&database));
                database
            }
        };
        Ok(Reading {
            database,
            file,
            end_seq,
        })
    }

    fn open_sealed_file(&self, file: &Path) -> Result<Database, redb::Error> {
        for _ in 1..CLOSING_TRIES {
            match medium::open(file, SEALED_CACHE_BYTES, true, &self.faults) {
                Err(redb::Error::DatabaseAlreadyOpen) => std::thread::sleep(CLOSING_PAUSE),
                opened => return opened,
            }
        }
        medium::open(file, SEALED_CACHE_BYTES, true, &self.faults)
    }
}

/// How often, and after which pause, a file is tried that its last reader is just closing.
const CLOSING_TRIES: usize = 200;
const CLOSING_PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug)]
struct Reading {
    database: Arc<Database>,
    file: PathBuf,
    /// First position after this segment.
    end_seq: u64,
}

/// Groups of the log in order; ends after the last one asked for, or after the first error.
#[derive(Debug)]
pub struct Groups {
    log: Arc<Log>,
    next_seq: u64,
    last_seq: u64,
    reading: Option<Reading>,
    failed: bool,
}

impl Groups {
    fn next_record(&mut self) -> Option<Result<(Group, Vec<u8>), ReadError>> {
        if self.failed || self.next_seq > self.last_seq {
            return None;
        }
        let record = self.read_next();
        self.failed = record.is_err();
        Some(record)
    }

    fn read_next(&mut self) -> Result<(Group, Vec<u8>), ReadError> {
        let seq = self.next_seq;
        if self
            .reading
            .as_ref()
            .is_none_or(|reading| seq >= reading.end_seq)
        {
            self.reading = None;
            self.reading = Some(self.log.segment_of(seq)?);
        }
        let Some(reading) = &self.reading else {
            return Err(ReadError::Missing { seq, next: 0 });
        };
        let place = || format!("group {seq}");
        let bytes = read_group(&reading.database, seq)
            .map_err(|e| ReadError::damaged(&reading.file, place(), e))?;
        if bytes.is_empty() {
            return Err(ReadError::damaged(
                &reading.file,
                place(),
                "the group is missing",
            ));
        }
        let (group, _) =
            record::decode(&bytes).map_err(|e| ReadError::damaged(&reading.file, place(), e))?;
        if group.seq != seq {
            let detail = format!("holds group {}", group.seq);
            return Err(ReadError::damaged(&reading.file, place(), detail));
        }
        self.next_seq += 1;
        Ok((group, bytes))
    }
}

impl Iterator for Groups {
    type Item = Result<Group, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.next_record()?;
        Some(record.map(|(group, _bytes)| group))
    }
}

/// The name of the segment that begins with group `seq` of the time `at`.
pub(super) fn segment_name(seq: u64, at: Timestamp) -> String {
    format!("{seq:020}-{}.redb", at.millis())
}

pub(super) fn parse_name(name: &str) -> Option<(u64, Timestamp)> {
    let (seq, millis) = name.strip_suffix(".redb")?.split_once('-')?;
    Some((
        seq.parse().ok()?,
        Timestamp::from_millis(millis.parse().ok()?),
    ))
}

/// The segments in `dir` by their first positions.
pub(super) fn segment_files(dir: &Path) -> Vec<(u64, PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<(u64, PathBuf)> = entries
        .map(|entry| entry.path())
        .filter_map(|path| {
            let (seq, _) = parse_name(path.file_name()?.to_str()?)?;
            Some((seq, path))
        })
        .collect();
    found.sort_unstable();
    found
}

/// The time of a segment's first group, by its name.
pub(super) fn first_at(file: &Path) -> Timestamp {
    let name = file.file_name().and_then(|name| name.to_str());
    name.and_then(parse_name)
        .map_or(Timestamp::EPOCH, |(_, at)| at)
}

/// Adds the pieces of a group, durably.
pub(super) fn write_group(database: &Database, seq: u64, bytes: &[u8]) -> Result<(), redb::Error> {
    write_groups(database, [(seq, bytes)])
}

/// Adds the pieces of several groups, durably and together.
pub(super) fn write_groups<'a>(
    database: &Database,
    groups: impl IntoIterator<Item = (u64, &'a [u8])>,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(GROUPS)?;
        for (seq, bytes) in groups {
            for (piece, bytes) in (0_u32..).zip(bytes.chunks(PIECE_BYTES)) {
                table.insert((seq, piece), bytes)?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

/// The bytes of group `seq`, empty when it is not there.
pub(super) fn read_group(database: &Database, seq: u64) -> Result<Vec<u8>, redb::Error> {
    let transaction = database.begin_read()?;
    let groups = transaction.open_table(GROUPS)?;
    let mut bytes = vec![];
    for piece in groups.range((seq, 0)..=(seq, u32::MAX))? {
        bytes.extend_from_slice(piece?.1.value());
    }
    Ok(bytes)
}

pub(super) fn last_seq(database: &Database) -> Result<Option<u64>, redb::Error> {
    let transaction = database.begin_read()?;
    let groups = match transaction.open_table(GROUPS) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        groups => groups?,
    };
    Ok(groups.last()?.map(|(key, _)| key.value().0))
}

/// The size of all files under `dir`, bytes.
pub(super) fn bytes_under(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_under(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
