//! A manifest: one backup, as the files of an image and the chunks that they are made of.
//! Called from: everywhere in [`super`].

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::key::{Id, name_of};
use crate::store::Contents;

/// The newest format that is known.
pub(super) const FORMAT: u32 = 1;

/// One backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its layout.
    pub format: u32,
    /// When the store looked like this.
    pub created_at: Timestamp,
    /// The program that made it.
    pub version: String,
    /// What is in it.
    pub contents: Contents,
    /// The files of the image.
    pub files: Vec<FileEntry>,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes that this backup added to the repository.
    pub new_bytes: u64,
    /// How long it took, s.
    pub seconds: f64,
}

/// One file of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name in the image.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// The objects that make it up, in order.
    pub chunks: Vec<Id>,
}

impl Manifest {
    /// What tells one content from another, whenever and with whatever compression it was saved: a hash of the names of
    /// files and chunks. In an encrypted repository it depends on the key.
    #[must_use]
    pub fn content_hash(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            text.push_str(&file.name);
            text.push('\n');
            for chunk in &file.chunks {
                text.push_str(chunk);
                text.push('\n');
            }
        }
        name_of(None, text.as_bytes())
    }

    /// Adds the next chunk of the file `name`.
    pub(super) fn add(&mut self, name: &str, bytes: u64, chunk: Id) {
        self.bytes += bytes;
        match self.files.last_mut() {
            Some(file) if file.name == name => {
                file.bytes += bytes;
                file.chunks.push(chunk);
            }
            _ => self.files.push(FileEntry {
                name: name.to_owned(),
                bytes,
                chunks: vec![chunk],
            }),
        }
    }
}
