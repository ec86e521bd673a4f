//! A repository: objects and manifests in a place apart from the store.
//! In: content and manifests. Out: the same, checked. Called from: everywhere in [`super`], `cli/backup`.
//! Invariants: an object's content is hashed before it is believed, a manifest's too; nothing is ever overwritten.

use std::collections::HashSet;

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::BackupError;
use super::key::{Id, Key, name_of};
use super::manifest::{FORMAT, Manifest};
use super::object::{self, ObjectError};
use super::place::{Entry, Hold, Place};

/// Digits of a manifest's hash that stand in its name.
const CHECK_DIGITS: usize = 16;
/// What says that a place is a repository, and of which kind.
const ABOUT: &str = "repository.json";
const OBJECTS: &str = "objects";
const BACKUPS: &str = "backups";

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
    place: Place,
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
    /// Opens the repository in `place`.
    ///
    /// # Errors
    /// [`BackupError::NoRepository`]; [`BackupError::Key`] when the key is missing, wrong or not wanted;
    /// [`BackupError::NewerFormat`]; [`BackupError::Damaged`]; [`BackupError::Io`].
    pub fn open(place: impl Into<Place>, key: Option<Key>) -> Result<Self, BackupError> {
        let place = place.into();
        let path = place.path(ABOUT);
        let text = place
            .read(ABOUT)?
            .ok_or_else(|| BackupError::NoRepository(place.path("")))?;
        let about: serde_json::Value =
            serde_json::from_slice(&text).map_err(|e| BackupError::damaged(&path, e))?;
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
                path: place.path(""),
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
            _ => Ok(Self { place, key }),
        }
    }

    /// Opens the repository in `place`, or makes one of an empty or missing place. A bucket has to be there.
    ///
    /// # Errors
    /// As [`Repository::open`]; [`BackupError::NotEmpty`].
    pub fn open_or_make(place: impl Into<Place>, key: Option<Key>) -> Result<Self, BackupError> {
        let place = place.into();
        if place.has(ABOUT)? {
            return Self::open(place, key);
        }
        place.claim()?;
        let about = About {
            format: FORMAT,
            key_check: key.as_ref().map(Key::check).unwrap_or_default(),
        };
        let text =
            serde_json::to_vec(&about).map_err(|e| BackupError::damaged(place.path(ABOUT), e))?;
        place.write(ABOUT, text)?;
        place.settle()?;
        Ok(Self { place, key })
    }

    /// Holds it for adding, or `alone` for removing.
    pub(super) fn hold(&self, alone: bool) -> Result<Hold, BackupError> {
        self.place.hold(alone)
    }

    /// Keeps `content`, unless it is there. Returns its name and the bytes that it takes more than before. Not durable
    /// before [`Repository::publish`].
    pub(super) fn keep(&self, content: &[u8]) -> Result<(Id, u64), BackupError> {
        let id = name_of(self.key.as_ref(), content);
        let name = object_name(&id);
        if self.place.has(&name)? {
            return Ok((id, 0));
        }
        let bytes = object::encode(self.key.as_ref(), content)
            .map_err(|detail| BackupError::damaged(self.place.path(&name), detail))?;
        let n_bytes = bytes.len() as u64;
        self.place.write(&name, bytes)?;
        Ok((id, n_bytes))
    }

    /// The content that `id` names, checked.
    pub(super) fn content(&self, id: &str) -> Result<Vec<u8>, BackupError> {
        let name = object_name(id);
        let content = self.decoded(&name)?;
        if name_of(self.key.as_ref(), &content) != id {
            return Err(self.not_its_name(&name));
        }
        Ok(content)
    }

    /// Makes a backup of what was kept: durable, objects first. Returns its name.
    pub(super) fn publish(&self, manifest: &Manifest) -> Result<String, BackupError> {
        self.place.settle()?;
        let json = serde_json::to_vec(manifest)
            .map_err(|e| BackupError::damaged(self.place.path(BACKUPS), e))?;
        let check = name_of(self.key.as_ref(), &json);
        let millis = manifest.created_at.millis();
        let second = Timestamp::from_millis(millis.div_euclid(1000) * 1000).to_string();
        let time = second.trim_end_matches('Z').replace(':', "-");
        let thousandth = millis.rem_euclid(1000);
        let id = format!("{time}.{thousandth:03}Z-{}", &check[..CHECK_DIGITS]);
        let name = manifest_name(&id);
        let bytes = object::encode(self.key.as_ref(), &json)
            .map_err(|detail| BackupError::damaged(self.place.path(&name), detail))?;
        self.place.write(&name, bytes)?;
        self.place.settle()?;
        Ok(id)
    }

    /// The names of all backups, oldest first.
    ///
    /// # Errors
    /// [`BackupError::Io`].
    pub fn ids(&self) -> Result<Vec<String>, BackupError> {
        let mut ids = Vec::new();
        for entry in self.place.list(BACKUPS)? {
            let id = entry.name.rsplit('/').next().unwrap_or_default();
            ids.extend(is_id(id).then(|| id.to_owned()));
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
            path: self.place.path(""),
        })
    }

    /// One backup.
    ///
    /// # Errors
    /// [`BackupError::Damaged`], [`BackupError::NewerFormat`], [`BackupError::Io`].
    pub fn manifest(&self, id: &str) -> Result<Manifest, BackupError> {
        let name = manifest_name(id);
        let json = self.decoded(&name)?;
        if !id.ends_with(&name_of(self.key.as_ref(), &json)[..CHECK_DIGITS]) {
            return Err(self.not_its_name(&name));
        }
        let path = self.place.path(&name);
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
        self.place.remove(&manifest_name(id))
    }

    /// All objects, and what unfinished writes have left.
    pub(super) fn objects(&self) -> Result<Vec<Entry>, BackupError> {
        self.place.list(OBJECTS)
    }

    /// Removes one of them.
    pub(super) fn remove(&self, object: &Entry) -> Result<(), BackupError> {
        self.place.remove(&object.name)
    }

    fn decoded(&self, name: &str) -> Result<Vec<u8>, BackupError> {
        let path = self.place.path(name);
        let bytes = self.place.read(name)?;
        let bytes = bytes.ok_or_else(|| BackupError::damaged(&path, "it is missing"))?;
        object::decode(self.key.as_ref(), &bytes).map_err(|error| match error {
            ObjectError::Newer(version) => BackupError::NewerFormat {
                path,
                found: version.into(),
                known: object::VERSION.into(),
            },
            ObjectError::NoKey => BackupError::Key {
                path,
                detail: "it is encrypted, the repository says it is not".into(),
            },
            ObjectError::Damaged(detail) => BackupError::damaged(path, detail),
        })
    }

    fn not_its_name(&self, name: &str) -> BackupError {
        BackupError::damaged(self.place.path(name), "it is not what its name says")
    }
}

fn object_name(id: &str) -> String {
    let folder = id.get(..2).unwrap_or("xx");
    format!("{OBJECTS}/{folder}/{id}")
}

fn manifest_name(id: &str) -> String {
    format!("{BACKUPS}/{id}")
}

/// `2026-11-28T02-11-42.007Z-0123456789abcdef`, and not what an unfinished write has left.
fn is_id(name: &str) -> bool {
    let check = name.rsplit('-').next().unwrap_or_default();
    check.len() == CHECK_DIGITS && check.bytes().all(|b| b.is_ascii_hexdigit())
}
