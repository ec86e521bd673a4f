//! A repository in a folder, on another disk than the store if it is to be worth anything.
//! In: names and bytes. Out: files. Called from: [`super::place`].
//! Invariants: a file appears under its name whole; a name that an unfinished write has left holds no other's bytes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::place::Entry;

/// A repository's folder.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
}

impl Folder {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.dir
    }

    pub(super) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.dir.join(name))
    }

    pub(super) fn has(&self, name: &str) -> io::Result<bool> {
        self.dir.join(name).try_exists()
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.dir.join(name);
        let unnamed = path.with_extension(format!("new-{}", std::process::id()));
        let write = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            File::create(&unnamed)?.write_all(bytes)?;
            fs::rename(&unnamed, &path)
        };
        write().inspect_err(|_| {
            // Best effort: on a full disk every byte counts.
            let _gone = fs::remove_file(&unnamed);
        })
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(name))
    }

    pub(super) fn list(&self, part: &str) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut open = vec![part.to_owned()];
        while let Some(folder) = open.pop() {
            let read = match fs::read_dir(self.dir.join(&folder)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                read => read?,
            };
            for entry in read {
                let entry = entry?;
                let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
                let metadata = entry.metadata()?;
                if metadata.is_dir() {
                    open.push(name);
                    continue;
                }
                entries.push(Entry {
                    name,
                    bytes: metadata.len(),
                    written: metadata.modified()?,
                });
            }
        }
        Ok(entries)
    }

    /// Makes the folder; whether nothing else is in it.
    pub(super) fn claim(&self) -> io::Result<bool> {
        fs::create_dir_all(&self.dir)?;
        // A file system of its own has this folder at its root.
        let foreign = |entry: io::Result<fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.file_name() != "lost+found")
        };
        Ok(!fs::read_dir(&self.dir)?.any(foreign))
    }

    pub(super) fn settle(&self) -> io::Result<()> {
        let dir = File::open(&self.dir)?;
        rustix::fs::syncfs(&dir)?;
        Ok(())
    }

    /// A lock of the folder, which goes with the file.
    pub(super) fn lock(&self, alone: bool) -> io::Result<File> {
        let dir = File::open(&self.dir)?;
        let locked = if alone { dir.lock() } else { dir.lock_shared() };
        match locked {
            // A file system without locks is used by one machine's backups, whose service prunes after it has made one.
            Err(e) if e.kind() == io::ErrorKind::Unsupported => Ok(dir),
            locked => locked.map(|()| dir),
        }
    }
}
