//! Making a backup: an image of the store into a repository.
//! In: an open store, a repository. Out: the manifest and its name. Called from: [`super::desk`], `cli/backup`.
//! Invariants: the store goes on meanwhile; what the repository has already is not stored again.

use std::time::Instant;

use layer5_core::Timestamp;

use super::BackupError;
use super::manifest::{FORMAT, Manifest};
use super::repository::Repository;
use crate::store::Store;

/// How far a backup has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the image that were read.
    pub bytes: u64,
    /// Bytes that the repository has grown by.
    pub new_bytes: u64,
}

/// Saves `store` as it is now, of the time `now`. `told` hears after every chunk, and
/// ends it by `false`.
///
/// # Errors
/// When the store can't be read or the repository can't be written; what was written stays for the next try, or for
/// [`prune`](super::prune()).
///
/// # Cost
/// Reads the log, history, views and newest snapshot once; about 10 s of one core a gigabyte that is new.
pub fn create(
    store: &Store,
    repository: &Repository,
    now: Timestamp,
    mut told: impl FnMut(Progress) -> bool,
) -> Result<(String, Manifest), BackupError> {
    let began = Instant::now();
    let _shared = repository.hold(false)?;
    let image = store.image()?;
    let mut manifest = Manifest {
        format: FORMAT,
        created_at: now,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        contents: image.contents(),
        files: Vec::new(),
        bytes: 0,
        new_bytes: 0,
        seconds: 0.0,
    };
    image.chunks(|name, bytes| {
        let (id, new_bytes) = repository.keep(bytes)?;
        manifest.add(name, bytes.len() as u64, id);
        manifest.new_bytes += new_bytes;
        let goes_on = told(Progress {
            bytes: manifest.bytes,
            new_bytes: manifest.new_bytes,
        });
        if goes_on {
            Ok(())
        } else {
            Err(BackupError::GivenUp)
        }
    })?;
    drop(image);
    manifest.seconds = began.elapsed().as_secs_f64();
    let id = repository.publish(&manifest)?;
    Ok((id, manifest))
}
