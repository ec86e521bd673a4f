//! Backup and restore: the store's content, kept apart from the disk that it lives on.
//! In: an [`Image`](crate::store::Image) of the store. Out: a repository of backups, and from it a folder that opens.
//! Called from: `cli/backup`, and `app` for the service's own backups.
//!
//! ```text
//! repository.json          what this is: format, whether encrypted, how to tell the right key
//! objects/<aa>/<id>        chunks, each once, named by their content
//! backups/<time>-<check>   manifests: which chunks make which files; a backup exists when its manifest does
//! ```
//! Invariants: an object is written before the manifest that names it, and all of it is on the disk by then; nothing
//! that is read is believed before its content matches its name; a repository of a newer format is left alone.
//! Reference: docs/decisions/0012-backup.md.

mod bucket;
mod create;
mod desk;
mod folder;
mod key;
mod manifest;
mod object;
mod place;
mod prune;
mod repository;
mod restore;

use std::path::PathBuf;

pub use create::{Progress, create};
pub(crate) use desk::{BackupDesk, BackupState, BackupThread, Refused};
pub use key::Key;
pub use manifest::{FileEntry, Manifest};
pub use place::Place;
pub use prune::{Kept, Pruned, prune};
pub use repository::{Repository, Verified};
pub use restore::{Present, Restored, present, restore};

use crate::store::{OpenError, ReadError};

/// Why a backup can't be made, read or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of the repository is not what was written.
    #[error("{} is damaged: {detail}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Written by a newer program.
    #[error("{} has format {found}, this program knows up to {known}", path.display())]
    NewerFormat {
        /// Which file.
        path: PathBuf,
        /// What it says.
        found: u32,
        /// What this program can read.
        known: u32,
    },
    /// A bucket that can't be used like this.
    #[error("{name}: {detail}")]
    Bucket {
        /// How it was named.
        name: String,
        /// What is wrong, and the way out.
        detail: String,
    },
    /// The place is no repository.
    #[error("{} is no backup repository: it has no repository.json", .0.display())]
    NoRepository(PathBuf),
    /// The place holds something else.
    #[error("{} is not empty and no backup repository; choose another place", .0.display())]
    NotEmpty(PathBuf),
    /// The key does not fit.
    #[error("{path}: {detail}", path = path.display())]
    Key {
        /// The key file, or the repository.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// No backup has this name.
    #[error("there is no backup `{id}` in {}; `layer5 backup list` shows them", path.display())]
    Unknown {
        /// What was asked for.
        id: String,
        /// The repository.
        path: PathBuf,
    },
    /// Whoever wanted it changed their mind; no backup was made.
    #[error("the backup was given up")]
    GivenUp,
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// The folder can't be opened, or was not rebuilt.
    #[error(transparent)]
    Folder(#[from] OpenError),
    /// The folder holds data.
    #[error(
        "{} holds data; --dry-run shows what would change, --force sets it aside and restores", .0.display()
    )]
    HoldsData(PathBuf),
    /// The disk has no room for it.
    #[error("{needed} bytes are needed in {} and {free} are free", path.display())]
    NoRoom {
        /// Where.
        path: PathBuf,
        /// What is needed, bytes.
        needed: u64,
        /// What there is, bytes.
        free: u64,
    },
}

impl BackupError {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    fn damaged(path: impl Into<PathBuf>, detail: impl ToString) -> Self {
        Self::Damaged {
            path: path.into(),
            detail: detail.to_string(),
        }
    }
}
