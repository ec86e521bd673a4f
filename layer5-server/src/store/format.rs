//! The layout of a data folder, in a file of its own: `format`, one number, read before anything else is touched.
//! In: the folder. Out: refusal of what a newer program has written. Called from: [`super::Store`], [`super::Repair`].
//! Invariants: a folder of a newer format is left as it is, to the byte: not even its lock is taken. The views hold the
//! number too, for folders that were made before this file was.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::error::OpenError;
use super::medium;

/// The format of the whole folder; raised when an older program must not open it.
pub(super) const FOLDER_FORMAT: u64 = 1;

/// Refuses `dir` when a newer program has written it.
pub(super) fn check(dir: &Path) -> Result<(), OpenError> {
    let file = dir.join("format");
    let text = match std::fs::read_to_string(&file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(|e| OpenError::io(&file, e))?,
    };
    match text.trim().parse::<u64>() {
        // A crash before its only write was durable.
        _ if text.is_empty() => Ok(()),
        Ok(found) if found > FOLDER_FORMAT => Err(OpenError::NewerFormat {
            file,
            found: u32::try_from(found).unwrap_or(u32::MAX),
            known: FOLDER_FORMAT as u32,
        }),
        Ok(_) => Ok(()),
        Err(_) => Err(OpenError::Damaged {
            detail: format!("{text:?} is no format; this program writes {FOLDER_FORMAT}"),
            file,
        }),
    }
}

/// Notes in `dir`, which was opened, that this program has written it.
pub(super) fn note(dir: &Path) -> Result<(), OpenError> {
    let file = dir.join("format");
    let ours = format!("{FOLDER_FORMAT}\n");
    if std::fs::read_to_string(&file).is_ok_and(|text| text == ours) {
        return Ok(());
    }
    let write = || {
        let mut open = File::create(&file)?;
        open.write_all(ours.as_bytes())?;
        open.sync_data()?;
        medium::sync_dir(dir)
    };
    write().map_err(|e| OpenError::io(&file, e))
}
