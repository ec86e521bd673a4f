//! Restoring: a backup becomes a folder that a service starts from.
//! In: a repository, a backup, the data folder. Out: the folder as it was, with what was there set aside. Called from:
//! `cli/backup`.
//! The new folder is built beside the old one, inside the data folder, opened once to see that it holds what the
//! manifest says, and put in its place in one step; see [`crate::store::restored`]. A service that runs goes on with the old
//! one until it is started again.
//! Invariants: nothing of the old data is touched before the new is whole; nothing of it is deleted.

use std::fs;
use std::path::{Path, PathBuf};

use super::BackupError;
use super::manifest::Manifest;
use super::repository::Repository;
use crate::store::{Contents, OpenError, Rebuild, Store, StoreConfig, restored};

/// What a data folder holds before a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// Nothing.
    Empty,
    /// A stopped service's data.
    Data(Contents),
    /// The data of the service that runs as this process.
    InUse(Option<u32>),
    /// Data that can't be opened.
    Unreadable,
}

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Where the data that was there is now; `None` when there was none, or when it is still in use.
    pub aside: Option<PathBuf>,
    /// Whether a service has to be started again to take it.
    pub waits_for_restart: bool,
}

/// Looks at what `dir` holds.
#[must_use]
pub fn present(dir: &Path) -> Present {
    if !dir.join("views.redb").exists() && !dir.join("log").exists() {
        return Present::Empty;
    }
    match Store::open(dir, &StoreConfig::default()) {
        Ok(store) => store.contents().map_or(Present::Unreadable, Present::Data),
        Err(OpenError::InUse { pid, .. }) => Present::InUse(pid),
        Err(_) => Present::Unreadable,
    }
}

/// Puts the backup `manifest` into `dir`. With `force` it replaces what is there, which is set aside. `told` hears of
/// the bytes of every chunk.
///
/// # Errors
/// [`BackupError::HoldsData`] without `force`; when the backup or the disk fails. The data that was there is in place
/// then.
///
/// # Cost
/// About 10 s a gigabyte of content; as much disk as the backup has, beside what is there.
pub fn restore(
    repository: &Repository,
    manifest: &Manifest,
    dir: &Path,
    force: bool,
    mut told: impl FnMut(u64),
) -> Result<Restored, BackupError> {
    let before = present(dir);
    if before != Present::Empty && !force {
        return Err(BackupError::HoldsData(dir.to_owned()));
    }
    fs::create_dir_all(dir).map_err(BackupError::io(dir))?;
    check_room(dir, manifest.bytes)?;
    let staged = restored::begin(dir).map_err(BackupError::io(dir))?;
    let mut rebuild = Rebuild::begin(&staged)?;
    for file in &manifest.files {
        for id in &file.chunks {
            let content = repository.content(id)?;
            rebuild.chunk(&file.name, &content)?;
            told(content.len() as u64);
        }
    }
    rebuild.finish(manifest.contents.totals)?;
    restored::announce(dir).map_err(BackupError::io(dir))?;
    // Whoever opens the folder next puts it in place; when nobody has it, that is this.
    match Store::open(dir, &StoreConfig::default()) {
        Ok(_) => Ok(Restored {
            aside: (before != Present::Empty)
                .then(|| restored::newest_aside(dir))
                .flatten(),
            waits_for_restart: false,
        }),
        Err(OpenError::InUse { .. }) => Ok(Restored {
            aside: None,
            waits_for_restart: true,
        }),
        Err(error) => Err(error.into()),
    }
}

/// The engine rounds up, so a quarter is added.
fn check_room(dir: &Path, bytes: u64) -> Result<(), BackupError> {
    let needed = bytes + bytes / 4;
    let stat = rustix::fs::statvfs(dir).map_err(|e| BackupError::Io {
        path: dir.to_owned(),
        source: e.into(),
    })?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < needed {
        let path = dir.to_owned();
        return Err(BackupError::NoRoom { path, needed, free });
    }
    Ok(())
}
