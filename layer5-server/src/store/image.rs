//! An image: the whole store at one position of the log, as named files in chunks, and a folder made of one.
//! In: an open [`Store`], or the chunks of an image. Out: chunks for a backup, or a folder that opens. Called from:
//! [`crate::backup`].
//!
//! ```text
//! log/<first seq>-<time>.redb   groups: length (u32 LE) and record of each; a chunk holds whole ones of one segment
//! views/<table>                 rows, as `views/tables` has them
//! history/<name>                blocks, byte for byte
//! snapshots/<seq>.l5            the newest whole one, byte for byte
//! seen/, roll/<seq>.l5          all of them, byte for byte
//! ```
//! Invariants: all of it is of one moment, though the store goes on; the same store gives the same chunks, and one that
//! has grown gives the same chunks for what was there, so that a backup need not store them twice. Files of the engine
//! are not copied: an open one changes under the hand, and its bytes depend on more than its content.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};

use redb::Database;
use serde::{Deserialize, Serialize};

use super::error::{OpenError, ReadError};
use super::group::Totals;
use super::history::Block;
use super::medium::{self, Faults};
use super::views::{FrozenViews, Views};
use super::{Store, log, snapshot};

/// Bytes of a chunk, about: as much as one object of a backup.
pub const CHUNK_BYTES: usize = 4 << 20;
/// Cache of a database that is only written once, bytes.
const CACHE_BYTES: usize = 16 << 20;

/// The folders of a store.
const FOLDERS: [&str; 5] = ["log", "snapshots", "history", "seen", "roll"];

/// What an image holds, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// What was ever stored.
    pub totals: Totals,
    /// The oldest group in the log; 0 in an empty store.
    pub first_seq: u64,
    /// Agents known.
    pub agents: u64,
    /// Series known.
    pub series: u64,
    /// Recommendations ever issued.
    pub recommendations: u64,
    /// Those that wait in the outbox.
    pub outbox: u64,
    /// The id of the newest pattern.
    pub last_pattern_id: u64,
}

/// The store at one moment. While it lives, the log keeps what it needs.
#[derive(Debug)]
pub struct Image<'a> {
    store: &'a Store,
    contents: Contents,
    segment_starts: Vec<u64>,
    views: FrozenViews,
    /// Snapshot, seen and roll.
    files: Vec<(String, File)>,
    blocks: Vec<Arc<Block>>,
}

impl Store {
    /// Counts what there is.
    ///
    /// # Errors
    /// When the views can't be read.
    pub fn contents(&self) -> Result<Contents, ReadError> {
        let names = self.names()?;
        let (outbox, recommendations) = self.outbox_depth()?;
        Ok(Contents {
            totals: self.totals(),
            first_seq: self.first_seq().unwrap_or(0),
            agents: names.agents.len() as u64,
            series: names.series.len() as u64,
            recommendations,
            outbox,
            last_pattern_id: self.last_pattern_id()?,
        })
    }

    /// The store as it is now. One image at a time: a second one lets go of what the first still needs of the log.
    ///
    /// # Errors
    /// When the disk refuses.
    ///
    /// # Cost
    /// A commit waits for as long as files are opened, some microseconds each; nothing is copied yet.
    pub fn image(&self) -> Result<Image<'_>, ReadError> {
        let names = self.names()?;
        // Read back whole before anybody waits; it stays open, so it may be replaced meanwhile.
        let mut files = Vec::from_iter(self.newest_snapshot_file()?);
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let totals = writer.totals;
        let first_seq = {
            let mut needed_from = self.image_needs_from();
            let first_seq = self.log.first_seq();
            *needed_from = first_seq.unwrap_or(u64::MAX);
            first_seq
        };
        let views = self.views.freeze(totals.last_seq)?;
        let blocks = self.history.blocks();
        let segment_starts = self.log.segment_starts();
        for part in ["seen", "roll"] {
            for (seq, path) in snapshot::list(&self.dir.join(part))? {
                // One that is removed at this moment is no longer needed.
                let opened = File::open(path).ok();
                files.extend(opened.map(|f| (format!("{part}/{}", snapshot::file_name(seq)), f)));
            }
        }
        drop(writer);
        let (outbox, recommendations) = self.outbox_depth()?;
        Ok(Image {
            store: self,
            contents: Contents {
                totals,
                first_seq: first_seq.unwrap_or(0),
                agents: names.agents.len() as u64,
                series: names.series.len() as u64,
                recommendations,
                outbox,
                last_pattern_id: self.last_pattern_id()?,
            },
            segment_starts,
            views,
            files,
            blocks,
        })
    }

    pub(super) fn image_needs_from(&self) -> MutexGuard<'_, u64> {
        let locked = self.image_needs_from.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    fn newest_snapshot_file(&self) -> Result<Option<(String, File)>, ReadError> {
        for (seq, path) in snapshot::list(&self.snapshot_dir())? {
            if let Ok(file) = File::open(&path)
                && snapshot::verify(&path).is_ok()
            {
                let name = format!("snapshots/{}", snapshot::file_name(seq));
                return Ok(Some((name, file)));
            }
        }
        Ok(None)
    }
}

impl Drop for Image<'_> {
    fn drop(&mut self) {
        *self.store.image_needs_from() = u64::MAX;
    }
}

impl Image<'_> {
    /// What is in it. Names, patterns and recommendations are counted a moment before or after the rest.
    #[must_use]
    pub fn contents(&self) -> Contents {
        self.contents
    }

    /// Shows `visit` all chunks, those of a file one after another in order, with the file's name.
    ///
    /// # Errors
    /// Those of `visit`, and when something can't be read or is damaged.
    pub fn chunks<E: From<ReadError>>(
        &self,
        mut visit: impl FnMut(&str, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.log_chunks(&mut visit)?;
        let file = self.store.dir.join("views.redb");
        self.views
            .chunks(CHUNK_BYTES, &mut |table, bytes| {
                visit(&format!("views/{table}"), bytes).map_err(Refused::ByVisitor)
            })
            .map_err(|refused| match refused {
                Refused::ByVisitor(error) => error,
                Refused::ByEngine(error) => ReadError::engine(&file, error).into(),
            })?;
        for block in &self.blocks {
            let name = block.path.file_name().unwrap_or_default();
            let name = format!("history/{}", name.to_string_lossy());
            whole_file(block.file(), &block.path, |bytes| visit(&name, bytes))?;
        }
        for (name, file) in &self.files {
            whole_file(file, Path::new(name), |bytes| visit(name, bytes))?;
        }
        Ok(())
    }

    fn log_chunks<E: From<ReadError>>(
        &self,
        visit: &mut impl FnMut(&str, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Contents {
            totals, first_seq, ..
        } = self.contents;
        if first_seq == 0 {
            return Ok(());
        }
        let mut segment = String::new();
        let mut chunk = Vec::new();
        for record in self.store.log.records(first_seq, totals.last_seq) {
            let (group, bytes) = record?;
            let begins = self.segment_starts.binary_search(&group.seq).is_ok();
            if begins || chunk.len() >= CHUNK_BYTES {
                if !chunk.is_empty() {
                    visit(&segment, &chunk)?;
                    chunk.clear();
                }
                if begins {
                    segment = format!("log/{}", log::segment_name(group.seq, group.at));
                }
            }
            let len = u32::try_from(bytes.len()).expect("a record is far below 4 GiB");
            chunk.extend_from_slice(&len.to_le_bytes());
            chunk.extend_from_slice(&bytes);
        }
        if !chunk.is_empty() {
            visit(&segment, &chunk)?;
        }
        Ok(())
    }
}

enum Refused<E> {
    ByVisitor(E),
    ByEngine(redb::Error),
}

impl<E> From<redb::Error> for Refused<E> {
    fn from(error: redb::Error) -> Self {
        Self::ByEngine(error)
    }
}

fn whole_file<E: From<ReadError>>(
    file: &File,
    path: &Path,
    mut visit: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let io = |source| ReadError::Io {
        file: path.to_owned(),
        source,
    };
    let end = file.metadata().map_err(io)?.len();
    let mut chunk = vec![0; CHUNK_BYTES.min(end as usize)];
    let mut at = 0;
    while at < end {
        let len = (end - at).min(CHUNK_BYTES as u64);
        let part = &mut chunk[..len as usize];
        file.read_exact_at(part, at).map_err(io)?;
        visit(part)?;
        at += len;
    }
    Ok(())
}

/// A folder that is made of an image's chunks.
#[derive(Debug)]
pub struct Rebuild {
    dir: PathBuf,
    views: Views,
    /// The log segment that is being written.
    segment: Option<(PathBuf, Database)>,
}

impl Rebuild {
    /// Begins in `dir`, which must be empty or not there.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn begin(dir: &Path) -> Result<Self, OpenError> {
        for part in FOLDERS {
            let part = dir.join(part);
            fs::create_dir_all(&part).map_err(|e| OpenError::io(&part, e))?;
        }
        let (views, _) = Views::open(dir, CACHE_BYTES, &Faults::default())?;
        Ok(Self {
            dir: dir.to_owned(),
            views,
            segment: None,
        })
    }

    /// Adds the next chunk of `file`.
    ///
    /// # Errors
    /// When the disk refuses, or the chunk is none that [`Image::chunks`] gave.
    pub fn chunk(&mut self, file: &str, bytes: &[u8]) -> Result<(), OpenError> {
        let strange = |detail: &str| OpenError::Damaged {
            file: file.into(),
            detail: detail.to_owned(),
        };
        let (part, name) = file.split_once('/').unwrap_or_default();
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return Err(strange("no name of a file of the store"));
        }
        let path = self.dir.join(part).join(name);
        match part {
            "log" if log::parse_name(name).is_some() => self.log_chunk(path, bytes),
            "views" => match self.views.put_back(name, bytes)? {
                true => Ok(()),
                false => Err(strange("this program has no such table")),
            },
            "snapshots" | "history" | "seen" | "roll" => {
                let mut options = OpenOptions::new();
                let mut opened = options
                    .append(true)
                    .create(true)
                    .open(&path)
                    .map_err(|e| OpenError::io(&path, e))?;
                let written = opened.write_all(bytes).and_then(|()| opened.sync_data());
                written.map_err(|e| OpenError::io(&path, e))
            }
            _ => Err(strange("the store has no such part")),
        }
    }

    fn log_chunk(&mut self, path: PathBuf, bytes: &[u8]) -> Result<(), OpenError> {
        let wrong = |e| OpenError::from_redb(&path, e);
        if self.segment.as_ref().is_none_or(|(open, _)| *open != path) {
            self.segment = None;
            let database = medium::open(&path, CACHE_BYTES, false, &Faults::default());
            self.segment = Some((path.clone(), database.map_err(wrong)?));
        }
        let Some((_, database)) = &self.segment else {
            return Ok(());
        };
        let mut next_seq = match log::last_seq(database).map_err(wrong)? {
            Some(last) => last + 1,
            None => {
                let name = path.file_name().and_then(|name| name.to_str());
                let first = name.and_then(log::parse_name);
                first.map_or(0, |(seq, _)| seq)
            }
        };
        let mut rest = bytes;
        let mut groups = Vec::new();
        while !rest.is_empty() {
            let record;
            (record, rest) = record_of(rest).ok_or_else(|| OpenError::Damaged {
                file: path.clone(),
                detail: "a record ends early".into(),
            })?;
            groups.push((next_seq, record));
            next_seq += 1;
        }
        log::write_groups(database, groups).map_err(wrong)
    }

    /// All chunks are there: makes them durable and opens the folder once, as a start would.
    ///
    /// # Errors
    /// As [`Store::open`]; also when it does not amount to `totals`.
    pub fn finish(self, totals: Totals) -> Result<(), OpenError> {
        let Self {
            dir,
            views,
            segment,
        } = self;
        drop(segment);
        let file = dir.join("views.redb");
        let wrong = |e| OpenError::from_redb(&file, e);
        views.checkpoint(totals.last_seq).map_err(wrong)?;
        drop(views);
        for part in FOLDERS.into_iter().chain(["."]) {
            let part = dir.join(part);
            medium::sync_dir(&part).map_err(|e| OpenError::io(&part, e))?;
        }
        let found = Store::open(&dir, &super::StoreConfig::default())?.totals();
        if found != totals {
            return Err(OpenError::Damaged {
                file: dir,
                detail: format!("amounts to {found:?}, not to {totals:?}"),
            });
        }
        Ok(())
    }
}

fn record_of(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}
