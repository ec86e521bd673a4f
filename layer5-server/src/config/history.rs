//! The configurations that were applied, newest last: what `layer5 config history`, `diff` and `rollback` read.
//! In: the files of a configuration in force. Out: numbered entries in `config-history` of the data folder.
//! Called from: `layer5 serve` at its start and at every reload; the commands, while it runs or not.
//! Invariants: bounded; an entry is written whole or not at all; no entry holds a password, because no file may.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Environment, FileRead};

/// Entries kept; the oldest go.
pub const ENTRIES_MAX: usize = 32;

/// How a configuration came into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// With the process.
    Start,
    /// By a reload.
    Reload,
}

/// One configuration that was applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, rising by one.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// How.
    pub how: How,
    /// The environment whose overlay it had.
    pub environment: Option<Environment>,
    /// The files it was read from.
    pub files: Vec<FileRead>,
    /// Keys of it that wait for a restart.
    pub needs_restart: Vec<String>,
}

/// The history of one data folder.
#[derive(Clone, Debug)]
pub struct History {
    dir: PathBuf,
}

impl History {
    /// The history in this data folder, which need not have one yet.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Self {
            dir: data_dir.join("config-history"),
        }
    }

    /// Every entry that can be read, oldest first.
    ///
    /// # Errors
    /// When the folder is there and can't be read. Without a folder there is no entry.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let names = match fs::read_dir(&self.dir) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut entries: Vec<Entry> = names
            .filter_map(Result::ok)
            .filter(|name| name.path().extension().is_some_and(|end| end == "json"))
            .filter_map(|name| serde_json::from_slice(&fs::read(name.path()).ok()?).ok())
            .collect();
        entries.sort_by_key(|entry| entry.number);
        Ok(entries)
    }

    /// Adds what was applied just now, unless the newest entry says the same.
    ///
    /// # Errors
    /// When it can't be written; the entries before are as they were.
    pub fn add(
        &self,
        how: How,
        at: Timestamp,
        environment: Option<Environment>,
        files: &[FileRead],
        needs_restart: Vec<String>,
    ) -> io::Result<()> {
        let entries = self.entries()?;
        let newest = entries.last();
        if newest.is_some_and(|entry| entry.files == files && entry.needs_restart == needs_restart)
        {
            return Ok(());
        }
        let entry = Entry {
            number: newest.map_or(1, |entry| entry.number + 1),
            at,
            how,
            environment,
            files: files.to_vec(),
            needs_restart,
        };
        fs::create_dir_all(&self.dir)?;
        let text = serde_json::to_string_pretty(&entry).map_err(io::Error::other)?;
        replace_file(&self.path(entry.number), &text)?;
        let n_old = (entries.len() + 1).saturating_sub(ENTRIES_MAX);
        for old in &entries[..n_old] {
            fs::remove_file(self.path(old.number))?;
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:06}.json"))
    }
}

/// Writes a file so that whoever looks sees the old text or the new one, and that a power cut leaves one of them. A link
/// stays a link: what it leads to is replaced.
///
/// # Errors
/// When it can't be written; it is as it was then.
pub fn replace_file(path: &Path, text: &str) -> io::Result<()> {
    use io::Write as _;
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    if let Ok(old) = fs::metadata(&path) {
        file.as_file().set_permissions(old.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_numbered_bounded_and_not_repeated() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let history = History::of(folder.path());
        assert_eq!(history.entries().expect("none"), []);
        let file = |text: &str| FileRead {
            path: "layer5.toml".into(),
            text: text.into(),
        };
        let add = |text: &str| {
            let files = [file(text)];
            history
                .add(How::Reload, Timestamp::EPOCH, None, &files, Vec::new())
                .expect("writable");
        };
        add("a");
        add("a");
        assert_eq!(history.entries().expect("one").len(), 1);
        for i in 0..ENTRIES_MAX + 3 {
            add(&i.to_string());
        }
        let entries = history.entries().expect("many");
        assert_eq!(entries.len(), ENTRIES_MAX);
        assert_eq!(entries[0].number, 5);
        assert_eq!(
            entries[ENTRIES_MAX - 1].files[0].text,
            (ENTRIES_MAX + 2).to_string()
        );
    }
}
