//! A folder that was restored and waits to be put in place of the one that is there.
//! In: a data folder. Out: the same with its content replaced. Called from: [`crate::backup`], and [`super::Store::open`],
//! which finishes what a crash left half done.
//!
//! ```text
//! data/restore.new/       being built
//! data/restore.ready/     whole: the next one to open the folder takes it
//! data/before-restore-N/  what was there before
//! ```
//! Invariants: only who holds the folder's lock takes it; every step can be done again after a crash, and the parts of
//! old and new are never mixed in an opened folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::medium;

const BUILDING: &str = "restore.new";
const READY: &str = "restore.ready";
/// In a ready folder: the number of the folder that takes what was there.
const ASIDE: &str = "aside";
/// What a store is made of; all of it is in every ready folder.
const PARTS: [&str; 7] = [
    "log",
    "views.redb",
    "snapshots",
    "history",
    "seen",
    "roll",
    "format",
];

/// An empty folder to build in; what an earlier try left is removed.
pub(crate) fn begin(dir: &Path) -> io::Result<PathBuf> {
    let building = dir.join(BUILDING);
    if building.exists() {
        fs::remove_dir_all(&building)?;
    }
    fs::create_dir_all(&building)?;
    Ok(building)
}

/// What was built is whole: whoever opens `dir` next takes it.
pub(crate) fn announce(dir: &Path) -> io::Result<()> {
    let (building, ready) = (dir.join(BUILDING), dir.join(READY));
    let number = (1..).find(|n| !aside(dir, *n).exists()).unwrap_or(u32::MAX);
    fs::write(building.join(ASIDE), number.to_string())?;
    fs::File::open(building.join(ASIDE))?.sync_all()?;
    medium::sync_dir(&building)?;
    if ready.exists() {
        // Announced before and never taken: this one is newer.
        fs::remove_dir_all(&ready)?;
    }
    fs::rename(&building, &ready)?;
    medium::sync_dir(dir)
}

/// Where the newest replaced content is.
pub(crate) fn newest_aside(dir: &Path) -> Option<PathBuf> {
    let there = (1..)
        .map(|n| aside(dir, n))
        .take_while(|path| path.exists());
    there.last()
}

/// Whether [`take`] has something to do.
pub(super) fn is_announced(dir: &Path) -> bool {
    dir.join(READY).exists()
}

/// Puts an announced folder in place. The caller holds the lock.
pub(super) fn take(dir: &Path) -> io::Result<()> {
    if !is_announced(dir) {
        return Ok(());
    }
    let ready = dir.join(READY);
    let number = fs::read_to_string(ready.join(ASIDE))?;
    let aside = dir.join(format!("before-restore-{number}"));
    for part in PARTS {
        let (new, place) = (ready.join(part), dir.join(part));
        if !new.exists() {
            continue;
        }
        if place.exists() {
            fs::create_dir_all(&aside)?;
            fs::rename(&place, aside.join(part))?;
        }
        fs::rename(&new, &place)?;
    }
    medium::sync_dir(dir)?;
    fs::remove_dir_all(&ready)?;
    medium::sync_dir(dir)
}

fn aside(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("before-restore-{number}"))
}
