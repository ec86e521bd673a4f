//! A repository: objects and manifests in a folder, on another disk than the store if it is to be worth anything.
//! In: content and manifests. Out: the same, checked. Called from: everywhere in [`super`], `cli/backup`.
//! Invariants: a file appears under its name whole; an object's content is hashed before it is believed, a manifest's
//! too; nothing is ever overwritten.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::BackupError;
use super::key::{Id, Key, name_of};
use super::manifest::{FORMAT, Manifest};
use super::object::{self, ObjectError};

/// Digits of a manifest's hash that stand in its name.
const CHECK_DIGITS: usize = 16;

/// What `repository.json` says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    format: u32,
    /// [`Key::check`] of its key; empty when it is not encrypted.
    key_check: String,
}

/// An open repository.
#[derive(Debug)]
pub struct Repository {
    dir: PathBuf,
    key: Option<Key>,
}

/// What [`Repository::verify`] read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Chunks, each counted once.
    pub objects: u64,
    /// Their content, bytes.
    pub bytes: u64,
}

impl Repository {
    /// Opens the repository in `dir`.
    ///
    /// # Errors
    /// [`BackupError::NoRepository`]; [`BackupError::Key`] when the key is missing, wrong or not wanted;
    /// [`BackupError::NewerFormat`]; [`BackupError::Damaged`]; [`BackupError::Io`].
    pub fn open(dir: &Path, key: Option<Key>) -> Result<Self, BackupError> {
        let path = dir.join("repository.json");
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(BackupError::NoRepository(dir.to_owned()));
            }
            read => read.map_err(BackupError::io(&path))?,
        };
        let about: serde_json::Value =
            serde_json::from_str(&text).map_err(|e| BackupError::damaged(&path, e))?;
        // The number first: a newer format may have other fields.
        if let Some(found) = about["format"].as_u64().filter(|n| *n > u64::from(FORMAT)) {
            return Err(BackupError::NewerFormat {
                path,
                found: u32::try_from(found).unwrap_or(u32::MAX),
                known: FORMAT,
            });
        }
        let about: About =
            serde_json::from_value(about).map_err(|e| BackupError::damaged(&path, e))?;
        if about.format != FORMAT {
            let detail = format!("format {} never was", about.format);
            return Err(BackupError::damaged(path, detail));
        }
        let wrong = |detail: &str| {
            Err(BackupError::Key {
                path: dir.to_owned(),
                detail: detail.to_owned(),
            })
        };
        match &key {
            None if !about.key_check.is_empty() => {
                wrong("the repository is encrypted; name its key file (backup.key_file)")
            }
            Some(_) if about.key_check.is_empty() => {
                wrong("the repository is not encrypted; leave the key file out")
            }
            Some(key) if key.check() != about.key_check => {
                wrong("the repository was made with another key")
            }
            _ => Ok(Self {
                dir: dir.to_owned(),
                key,
            }),
        }
    }

    /// Opens the repository in `dir`, or makes one of an empty or missing folder.
    ///
    /// # Errors
    /// As [`Repository::open`]; [`BackupError::NotEmpty`].
    pub fn open_or_make(dir: &Path, key: Option<Key>) -> Result<Self, BackupError> {
        fs::create_dir_all(dir).map_err(BackupError::io(dir))?;
        let path = dir.join("repository.json");
        if path.exists() {
            return Self::open(dir, key);
        }
        let mut there = fs::read_dir(dir).map_err(BackupError::io(dir))?;
        // A file system of its own has this folder at its root.
        if there.any(|entry| entry.is_ok_and(|entry| entry.file_name() != "lost+found")) {
            return Err(BackupError::NotEmpty(dir.to_owned()));
        }
        for part in ["objects", "backups"] {
            let part = dir.join(part);
            fs::create_dir_all(&part).map_err(BackupError::io(&part))?;
        }
        let about = About {
            format: FORMAT,
            key_check: key.as_ref().map(Key::check).unwrap_or_default(),
        };
        let text = serde_json::to_string(&about).map_err(|e| BackupError::damaged(&path, e))?;
        let made = Self {
            dir: dir.to_owned(),
            key,
        };
        made.write_whole(&path, text.as_bytes())?;
        made.sync()?;
        Ok(made)
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps `content`, unless it is there. Returns its name and the bytes that it takes more than before. Not durable
    /// before [`Repository::publish`].
    pub(super) fn keep(&self, content: &[u8]) -> Result<(Id, u64), BackupError> {
        let id = name_of(self.key.as_ref(), content);
        let path = self.object_path(&id);
        if path.exists() {
            return Ok((id, 0));
        }
        let bytes = object::encode(self.key.as_ref(), content)
            .map_err(|detail| BackupError::damaged(&path, detail))?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(BackupError::io(folder))?;
        }
        self.write_whole(&path, &bytes)?;
        Ok((id, bytes.len() as u64))
    }

    /// The content that `id` names, checked.
    pub(super) fn content(&self, id: &str) -> Result<Vec<u8>, BackupError> {
        let path = self.object_path(id);
        let content = self.decoded(&path)?;
        if name_of(self.key.as_ref(), &content) != id {
            return Err(BackupError::damaged(path, "it is not what its name says"));
        }
        Ok(content)
    }

    /// Makes a backup of what was kept: durable, objects first. Returns its name.
    pub(super) fn publish(&self, manifest: &Manifest) -> Result<String, BackupError> {
        self.sync()?;
        let json = serde_json::to_vec(manifest)
            .map_err(|e| BackupError::damaged(self.dir.join("backups"), e))?;
        let check = name_of(self.key.as_ref(), &json);
        let second = Timestamp::from_millis(manifest.created_at.millis() / 1000 * 1000);
        let time = second.to_string().replace(':', "-");
        let id = format!("{time}-{}", &check[..CHECK_DIGITS]);
        let path = self.manifest_path(&id);
        let bytes = object::encode(self.key.as_ref(), &json)
            .map_err(|detail| BackupError::damaged(&path, detail))?;
        self.write_whole(&path, &bytes)?;
        self.sync()?;
        Ok(id)
    }

    /// The names of all backups, oldest first.
    ///
    /// # Errors
    /// [`BackupError::Io`].
    pub fn ids(&self) -> Result<Vec<String>, BackupError> {
        let dir = self.dir.join("backups");
        let mut ids = Vec::new();
        for entry in fs::read_dir(&dir).map_err(BackupError::io(&dir))? {
            let name = entry.map_err(BackupError::io(&dir))?.file_name();
            ids.extend(name.into_string().ok().filter(|name| is_id(name)));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// The full name of a backup: `id` itself, a beginning that only one has, or `latest`.
    ///
    /// # Errors
    /// [`BackupError::Unknown`] when none or several fit; [`BackupError::Io`].
    pub fn find(&self, id: &str) -> Result<String, BackupError> {
        let ids = self.ids()?;
        let found = if id == "latest" {
            ids.last()
        } else {
            let mut fitting = ids.iter().filter(|known| known.starts_with(id));
            fitting.next().filter(|_| fitting.next().is_none())
        };
        found.cloned().ok_or_else(|| BackupError::Unknown {
            id: id.to_owned(),
            path: self.dir.clone(),
        })
    }

    /// One backup.
    ///
    /// # Errors
    /// [`BackupError::Damaged`], [`BackupError::NewerFormat`], [`BackupError::Io`].
    pub fn manifest(&self, id: &str) -> Result<Manifest, BackupError> {
        let path = self.manifest_path(id);
        let json = self.decoded(&path)?;
        if !id.ends_with(&name_of(self.key.as_ref(), &json)[..CHECK_DIGITS]) {
            return Err(BackupError::damaged(path, "it is not what its name says"));
        }
        let manifest: serde_json::Value =
            serde_json::from_slice(&json).map_err(|e| BackupError::damaged(&path, e))?;
        if let Some(found) = manifest["format"]
            .as_u64()
            .filter(|n| *n > u64::from(FORMAT))
        {
            return Err(BackupError::NewerFormat {
                path,
                found: u32::try_from(found).unwrap_or(u32::MAX),
                known: FORMAT,
            });
        }
        serde_json::from_value(manifest).map_err(|e| BackupError::damaged(path, e))
    }

    /// Reads every object of `manifests` once and checks it. `read` is told of the bytes of each.
    ///
    /// # Errors
    /// The first object that is damaged or missing.
    ///
    /// # Cost
    /// Reads all of it, about 5 s a gigabyte of content.
    pub fn verify(
        &self,
        manifests: &[Manifest],
        mut read: impl FnMut(u64),
    ) -> Result<Verified, BackupError> {
        let mut seen = HashSet::new();
        let mut verified = Verified::default();
        for file in manifests.iter().flat_map(|manifest| &manifest.files) {
            let mut n_bytes = 0;
            let mut all_new = true;
            for id in &file.chunks {
                if !seen.insert(id.as_str()) {
                    all_new = false;
                    continue;
                }
                let content = self.content(id)?;
                n_bytes += content.len() as u64;
                verified.objects += 1;
                verified.bytes += content.len() as u64;
                read(content.len() as u64);
            }
            if all_new && n_bytes != file.bytes {
                let detail = format!("its chunks are {n_bytes} bytes, not {}", file.bytes);
                return Err(BackupError::damaged(&file.name, detail));
            }
        }
        Ok(verified)
    }

    /// Removes a manifest; what it named stays.
    pub(super) fn forget(&self, id: &str) -> Result<(), BackupError> {
        let path = self.manifest_path(id);
        fs::remove_file(&path).map_err(BackupError::io(path))
    }

    /// The files of all objects, and what unfinished writes have left.
    pub(super) fn object_files(&self) -> Result<Vec<PathBuf>, BackupError> {
        let root = self.dir.join("objects");
        let mut files = Vec::new();
        for folder in fs::read_dir(&root).map_err(BackupError::io(&root))? {
            let folder = folder.map_err(BackupError::io(&root))?.path();
            for file in fs::read_dir(&folder).map_err(BackupError::io(&folder))? {
                files.push(file.map_err(BackupError::io(&folder))?.path());
            }
        }
        Ok(files)
    }

    fn decoded(&self, path: &Path) -> Result<Vec<u8>, BackupError> {
        let bytes = fs::read(path).map_err(BackupError::io(path))?;
        object::decode(self.key.as_ref(), &bytes).map_err(|error| match error {
            ObjectError::Newer(version) => BackupError::NewerFormat {
                path: path.to_owned(),
                found: version.into(),
                known: object::VERSION.into(),
            },
            ObjectError::NoKey => BackupError::Key {
                path: path.to_owned(),
                detail: "it is encrypted, the repository says it is not".into(),
            },
            ObjectError::Damaged(detail) => BackupError::damaged(path, detail),
        })
    }

    fn object_path(&self, id: &str) -> PathBuf {
        let folder = id.get(..2).unwrap_or("xx");
        self.dir.join("objects").join(folder).join(id)
    }

    fn manifest_path(&self, id: &str) -> PathBuf {
        self.dir.join("backups").join(id)
    }

    fn write_whole(&self, path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
        let unnamed = path.with_extension(format!("new-{}", std::process::id()));
        let write = || {
            File::create(&unnamed)?.write_all(bytes)?;
            fs::rename(&unnamed, path)
        };
        write().map_err(|source| {
            // Best effort: on a full disk every byte counts.
            let _gone = fs::remove_file(&unnamed);
            BackupError::Io {
                path: path.to_owned(),
                source,
            }
        })
    }

    /// Everything written so far is on the disk: one call for all files, where a sync of each would cost one a chunk.
    fn sync(&self) -> Result<(), BackupError> {
        let sync = || {
            let dir = File::open(&self.dir)?;
            rustix::fs::syncfs(&dir)?;
            Ok(())
        };
        sync().map_err(BackupError::io(&self.dir))
    }
}

/// `2026-11-28T02-11-42Z-0123456789abcdef`, and not what an unfinished write has left.
fn is_id(name: &str) -> bool {
    let check = name.rsplit('-').next().unwrap_or_default();
    check.len() == CHECK_DIGITS && check.bytes().all(|b| b.is_ascii_hexdigit())
}
