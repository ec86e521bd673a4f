//! The fencing epoch: a number in the data folder that every opening raises, so that an opening made earlier knows that
//! it is over.
//! In: the folder, locked. Out: the epoch that is ours, and whether it is still the newest. Called from: [`super::Store`].
//! The kernel's lock keeps a second process out on one machine. A network file system may take that lock away from a
//! process that was cut off for a while and give it to another; the first then finds a newer epoch here before it
//! writes or delivers anything.
//! Invariants: the number only rises; it is written in place, in one block, so a full disk or a crash leaves the old
//! number or the new one.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{error::OpenError, medium};

/// Digits of the number in the file: all that a `u64` may need, so that its length never changes.
const DIGITS: usize = 20;

/// The epoch of one opening.
#[derive(Debug)]
pub(super) struct Epoch {
    path: PathBuf,
    ours: u64,
}

impl Epoch {
    /// Raises the epoch of `dir`, whose lock is held.
    pub(super) fn claim(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("epoch");
        let io = |e| OpenError::io(&path, e);
        let before = match fs::read_to_string(&path) {
            Ok(text) => parse(&text).ok_or_else(|| OpenError::Damaged {
                file: path.clone(),
                detail: format!("{text:?} is no epoch; write a number above every earlier one"),
            })?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => 0,
            Err(e) => return Err(io(e)),
        };
        let ours = before + 1;
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        file.write_all_at(format!("{ours:0DIGITS$}\n").as_bytes(), 0)
            .map_err(io)?;
        file.sync_data().map_err(io)?;
        if before == 0 {
            medium::sync_dir(dir).map_err(io)?;
        }
        Ok(Self { path, ours })
    }

    /// The number of this opening.
    pub(super) fn ours(&self) -> u64 {
        self.ours
    }

    /// The number of a later opening, if there was one. What can't be read proves nothing, and the lock still holds.
    pub(super) fn newer(&self) -> Option<u64> {
        let recorded = parse(&fs::read_to_string(&self.path).ok()?)?;
        (recorded > self.ours).then_some(recorded)
    }
}

/// The number in `text`; none was written before the first opening was over.
fn parse(text: &str) -> Option<u64> {
    match text.trim() {
        "" => Some(0),
        digits => digits.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_opening_is_newer_than_the_one_before() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = Epoch::claim(dir.path()).expect("claimed");
        assert_eq!((first.ours(), first.newer()), (1, None));
        let second = Epoch::claim(dir.path()).expect("claimed");
        assert_eq!((second.ours(), second.newer()), (2, None));
        assert_eq!(first.newer(), Some(2));
    }

    #[test]
    fn an_interrupted_first_opening_is_none_and_nonsense_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("epoch"), "").expect("written");
        assert_eq!(Epoch::claim(dir.path()).expect("claimed").ours(), 1);
        fs::write(dir.path().join("epoch"), "seven").expect("written");
        let error = Epoch::claim(dir.path()).expect_err("no number");
        assert!(error.to_string().contains("no epoch"), "{error}");
    }
}
