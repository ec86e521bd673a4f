//! What can go wrong between Layer5 and its data folder.
//! Invariants: each variant names the file or the position; nothing here is retried by the store itself.

use std::path::{Path, PathBuf};

use layer5_core::codec::DecodeError;

/// Why a data folder could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it.
    #[error("data folder {} is in use by process {}", dir.display(), pid.map_or_else(|| "unknown".into(), |p| p.to_string()))]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// Who holds it, as far as the lock file says.
        pid: Option<u32>,
    },
    /// Written by a newer program.
    #[error("{} has format {found}, this program knows up to {known}", file.display())]
    NewerFormat {
        /// Which file.
        file: PathBuf,
        /// What it says.
        found: u32,
        /// What this program can read.
        known: u32,
    },
    /// A file is not what was written.
    #[error("{} is damaged: {detail}", file.display())]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl OpenError {
    pub(super) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn from_redb(file: &Path, error: redb::Error) -> Self {
        match error {
            redb::Error::Io(source) if source.kind() != std::io::ErrorKind::InvalidData => {
                Self::io(file, source)
            }
            redb::Error::UpgradeRequired(version) => Self::NewerFormat {
                file: file.to_owned(),
                found: version.into(),
                known: 3,
            },
            other => Self::Damaged {
                file: file.to_owned(),
                detail: other.to_string(),
            },
        }
    }

    pub(super) fn from_decode(file: &Path, error: &DecodeError) -> Self {
        match *error {
            DecodeError::NewerVersion { found, known } => Self::NewerFormat {
                file: file.to_owned(),
                found: found.into(),
                known: known.into(),
            },
            _ => Self::Damaged {
                file: file.to_owned(),
                detail: error.to_string(),
            },
        }
    }
}

/// Why a group is not durable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// A write or fsync failed. What is on disk is unknown until the store is opened again, so the store takes
    /// nothing more: be unready, exit, recover.
    #[error("write to the data folder failed, it takes no more data until restarted: {source}")]
    Failed {
        /// What failed first.
        #[source]
        source: Box<redb::Error>,
    },
    /// An earlier commit failed; see [`CommitError::Failed`].
    #[error("an earlier write to the data folder failed, it takes no more data until restarted")]
    Poisoned,
    /// Nothing was written: another process has opened the folder since, which is now its own.
    #[error(
        "the data folder was opened by another process: its epoch is {recorded}, ours is {ours}; this process may not write any more"
    )]
    Fenced {
        /// The epoch of this opening.
        ours: u64,
        /// The one that the folder has now.
        recorded: u64,
    },
    /// Nothing was written: the disk is too full. The same group may be committed later.
    #[error(
        "{free_bytes} bytes free on the disk of the data folder, at least {min_free_bytes} are kept free"
    )]
    DiskFull {
        /// What is left.
        free_bytes: u64,
        /// The limit that it fell below.
        min_free_bytes: u64,
    },
    /// Nothing was written: the store has reached its budget, though all that may go has gone. The same group may be
    /// committed later.
    #[error(
        "the data folder takes {bytes} bytes, at most {bytes_max} are allowed (store.disk_bytes_max)"
    )]
    OverBudget {
        /// What it takes.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// Nothing was written: history's newest samples fill their memory and can't be written out. The same group may be
    /// committed later.
    #[error("{samples_max} samples wait in memory and no block can be written of them: {source}")]
    HeadFull {
        /// The limit.
        samples_max: usize,
        /// Why not.
        #[source]
        source: ReadError,
    },
    /// Nothing was written: the group is not the next one, which is a bug of the caller.
    #[error("group {found} is not the next one, {expected}")]
    OutOfOrder {
        /// The next position of the log.
        expected: u64,
        /// The group's position.
        found: u64,
    },
    /// Nothing was written: the group encodes to more than can be read back.
    #[error("group of {bytes} bytes, at most {bytes_max} can be stored")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}

impl CommitError {
    /// Whether the same group may be committed later, when there is room again.
    #[must_use]
    pub const fn is_for_now(&self) -> bool {
        matches!(
            self,
            Self::DiskFull { .. } | Self::OverBudget { .. } | Self::HeadFull { .. }
        )
    }
}

/// Why a query could not be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A record is not what was written.
    #[error("{} is damaged at {at}: {detail}", file.display())]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// Where: the group's position in the log, or the table and key.
        at: String,
        /// What is wrong.
        detail: String,
    },
    /// The log holds no group of this position any more (retention), or not yet.
    #[error("group {seq} is missing from the log, the next one there is {next}")]
    Missing {
        /// The position looked for.
        seq: u64,
        /// The next one present.
        next: u64,
    },
    /// The engine refused.
    #[error("{}: {source}", file.display())]
    Engine {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// The operating system refused.
    #[error("{}: {source}", file.display())]
    Io {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl ReadError {
    pub(super) fn engine(file: &Path, error: impl Into<redb::Error>) -> Self {
        Self::Engine {
            file: file.to_owned(),
            source: Box::new(error.into()),
        }
    }

    pub(super) fn damaged(file: &Path, at: impl Into<String>, detail: impl ToString) -> Self {
        Self::Damaged {
            file: file.to_owned(),
            at: at.into(),
            detail: detail.to_string(),
        }
    }
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged { file, at, detail } => Self::Damaged {
                file,
                detail: format!("at {at}: {detail}"),
            },
            ReadError::Missing { .. } => Self::Damaged {
                file: PathBuf::from("log"),
                detail: error.to_string(),
            },
            ReadError::Engine { file, source } => Self::from_redb(&file, *source),
            ReadError::Io { file, source } => Self::Io { path: file, source },
        }
    }
}
