//! Where a repository lies: a folder, or a bucket of an S3-compatible store.
//! In: names like `objects/ab/<id>` and bytes. Out: the same, or why not. Called from: [`super::repository`].
//! Invariants: a name appears whole or not at all; [`Place::settle`] returns when all that was written survives a power cut.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::BackupError;
use super::bucket::Bucket;
use super::folder::Folder;
use crate::config::BackupConfig;

/// Where a repository lies. A path is a folder.
#[derive(Debug)]
pub struct Place(Kind);

#[derive(Debug)]
enum Kind {
    Folder(Folder),
    Bucket(Bucket),
}

/// One thing in a place.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its name in the place.
    pub(super) name: String,
    /// Its size.
    pub(super) bytes: u64,
    /// When it was written.
    pub(super) written: SystemTime,
}

/// Holds a place for one use; dropped, it is free.
#[derive(Debug)]
pub(super) struct Hold {
    /// Its lock goes with it. A bucket has none.
    _lock: Option<File>,
}

impl Place {
    /// The place that the configuration names: `s3://bucket/prefix` or a folder; `None` when it names none.
    ///
    /// # Errors
    /// [`BackupError::Bucket`] when a bucket can't be reached like this; [`BackupError::Io`] of its credentials.
    pub fn of(config: &BackupConfig) -> Result<Option<Self>, BackupError> {
        let Some(name) = &config.repository else {
            return Ok(None);
        };
        if name.starts_with("s3://") {
            return Ok(Some(Self(Kind::Bucket(Bucket::open(name, config)?))));
        }
        Ok(Some(Self::from(Path::new(name))))
    }

    /// What a message calls `name`; the place itself without one.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        let root = match &self.0 {
            Kind::Folder(folder) => folder.path(),
            Kind::Bucket(bucket) => bucket.path(),
        };
        if name.is_empty() {
            root.to_owned()
        } else {
            root.join(name)
        }
    }

    /// The content of `name`; `None` when there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, BackupError> {
        let read = match &self.0 {
            Kind::Folder(folder) => folder.read(name),
            Kind::Bucket(bucket) => bucket.read(name),
        };
        match read {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(BackupError::io(self.path(name))),
        }
    }

    /// Whether `name` is there.
    pub(super) fn has(&self, name: &str) -> Result<bool, BackupError> {
        match &self.0 {
            Kind::Folder(folder) => folder.has(name),
            Kind::Bucket(bucket) => bucket.has(name),
        }
        .map_err(BackupError::io(self.path(name)))
    }

    /// Writes `name`, which is not there, whole.
    pub(super) fn write(&self, name: &str, bytes: Vec<u8>) -> Result<(), BackupError> {
        match &self.0 {
            Kind::Folder(folder) => folder.write(name, &bytes),
            Kind::Bucket(bucket) => bucket.write(name, bytes),
        }
        .map_err(BackupError::io(self.path(name)))
    }

    /// Removes `name`.
    pub(super) fn remove(&self, name: &str) -> Result<(), BackupError> {
        match &self.0 {
            Kind::Folder(folder) => folder.remove(name),
            Kind::Bucket(bucket) => bucket.remove(name),
        }
        .map_err(BackupError::io(self.path(name)))
    }

    /// All that lies under `part`, at any depth; nothing when there is no such part.
    pub(super) fn list(&self, part: &str) -> Result<Vec<Entry>, BackupError> {
        match &self.0 {
            Kind::Folder(folder) => folder.list(part),
            Kind::Bucket(bucket) => bucket.list(part),
        }
        .map_err(BackupError::io(self.path(part)))
    }

    /// Makes an empty or missing place ready to be written to.
    ///
    /// # Errors
    /// [`BackupError::NotEmpty`] when something else is there.
    pub(super) fn claim(&self) -> Result<(), BackupError> {
        let is_free = match &self.0 {
            Kind::Folder(folder) => folder.claim(),
            Kind::Bucket(bucket) => bucket.is_empty(),
        };
        if is_free.map_err(BackupError::io(self.path("")))? {
            return Ok(());
        }
        Err(BackupError::NotEmpty(self.path("")))
    }

    /// Waits until everything written so far is durable: one call for all, where one of each would cost a sync a chunk.
    pub(super) fn settle(&self) -> Result<(), BackupError> {
        match &self.0 {
            Kind::Folder(folder) => folder.settle(),
            // A store answers a write when it keeps it.
            Kind::Bucket(_) => Ok(()),
        }
        .map_err(BackupError::io(self.path("")))
    }

    /// Waits until nobody uses the place in a way that this use would harm: many may add, one alone may remove.
    pub(super) fn hold(&self, alone: bool) -> Result<Hold, BackupError> {
        let lock = match &self.0 {
            Kind::Folder(folder) => folder.lock(alone).map(Some),
            Kind::Bucket(_) => Ok(None),
        };
        let lock = lock.map_err(BackupError::io(self.path("")))?;
        Ok(Hold { _lock: lock })
    }
}

impl From<&Path> for Place {
    fn from(dir: &Path) -> Self {
        Self(Kind::Folder(Folder::new(dir)))
    }
}

impl From<&PathBuf> for Place {
    fn from(dir: &PathBuf) -> Self {
        dir.as_path().into()
    }
}
