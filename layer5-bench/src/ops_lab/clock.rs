//! A clock that the lab can put forward while Layer5 runs, so that a day passes in a moment.
//! In: how far. Out: an environment for a process (libfaketime, from Debian's package `faketime`). Called from:
//! `parts`, [`super::drill`].
//! Invariants: only the time of day is moved; what measures how long something takes is left alone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use layer5_core::Timestamp;

use crate::Failure;

/// Where Debian puts the library, seen from the program's own folder.
const LIBRARY: &str = "faketime/libfaketime.so.1";

/// The lab's clock.
#[derive(Debug)]
pub struct Clock {
    library: Option<PathBuf>,
    file: PathBuf,
    ahead_seconds: f64,
}

impl Clock {
    /// A clock that is right. Without the library it stays so.
    ///
    /// # Errors
    /// When its file can't be written.
    pub fn new(folder: &Path) -> Result<Self, Failure> {
        let clock = Self {
            library: library(),
            file: folder.join("clock"),
            ahead_seconds: 0.0,
        };
        clock.write()?;
        Ok(clock)
    }

    /// Whether it can be put forward.
    #[must_use]
    pub fn can_move(&self) -> bool {
        self.library.is_some()
    }

    /// Puts it forward for every process that runs by it; they notice within a second.
    ///
    /// # Errors
    /// When its file can't be written.
    pub fn forward(&mut self, seconds: f64) -> Result<(), Failure> {
        self.ahead_seconds += seconds;
        self.write()
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        layer5_server::clock::now().plus_seconds(self.ahead_seconds)
    }

    /// Makes `command` run by it.
    pub(super) fn wind(&self, command: &mut Command) {
        if let Some(library) = &self.library {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", &self.file)
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1");
        }
    }

    fn write(&self) -> Result<(), Failure> {
        let text = format!("+{}s\n", self.ahead_seconds);
        fs::write(&self.file, text).map_err(Failure::new)
    }
}

/// The library beside the program `faketime`, wherever that was installed or unpacked.
fn library() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let program = std::env::split_paths(&path)
        .map(|folder| folder.join("faketime"))
        .find(|program| program.is_file())?;
    let lib = program.parent()?.parent()?.join("lib");
    let folders = fs::read_dir(lib)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    folders
        .map(|folder| folder.join(LIBRARY))
        .find(|library| library.is_file())
}
