//! The key of an encrypted repository, and what names an object.
//! In: a key file of 64 hexadecimal digits (`openssl rand -hex 32`). Out: names of content, sealed bytes. Called from:
//! [`super::object`].
//! With a key, content is sealed by XChaCha20-Poly1305 under a fresh random nonce, and named by HMAC-SHA-256, so that a
//! name tells nobody what it stands for; without one it is named by SHA-256. The keys of both uses are derived apart.
//! Invariants: key material appears in no message and no `Debug`.

use std::path::Path;

use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce, aead::Aead as _};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

use super::BackupError;

/// Bytes of a nonce.
const NONCE_BYTES: usize = 24;

/// What names content: 64 hexadecimal digits.
pub(super) type Id = String;

/// The key of a repository.
#[derive(Clone)]
pub struct Key {
    naming: [u8; 32],
    sealing: [u8; 32],
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Reads a key file: 64 hexadecimal digits, and nothing else but white space round them.
    ///
    /// # Errors
    /// [`BackupError::Io`]; [`BackupError::Key`] when it holds something else.
    pub fn read(path: &Path) -> Result<Self, BackupError> {
        let text = std::fs::read_to_string(path).map_err(BackupError::io(path))?;
        let master = from_hex(text.trim()).ok_or_else(|| BackupError::Key {
            path: path.to_owned(),
            detail: "a key is 64 hexadecimal digits, as `openssl rand -hex 32` prints them".into(),
        })?;
        Ok(Self {
            naming: mac(&master, b"layer5 backup: names"),
            sealing: mac(&master, b"layer5 backup: content"),
        })
    }

    /// What tells this key from another without giving it away.
    pub(super) fn check(&self) -> String {
        hex(&mac(&self.naming, b"layer5 backup: check"))
    }

    /// `plain`, sealed: the nonce, then what only this key opens.
    pub(super) fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, String> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|e| format!("no randomness: {e}"))?;
        let sealed = self
            .cipher()
            .encrypt(&XNonce::from(nonce), plain)
            .map_err(|_| "too large to seal".to_owned())?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// What [`Key::seal`] sealed; `None` when it is anything else.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        self.cipher().decrypt(&XNonce::from(*nonce), sealed).ok()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.sealing.into())
    }
}

/// The name of `content`.
pub(super) fn name_of(key: Option<&Key>, content: &[u8]) -> Id {
    match key {
        Some(key) => hex(&mac(&key.naming, content)),
        None => hex(&Sha256::digest(content)),
    }
}

fn mac(key: &[u8; 32], content: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length of key is accepted");
    mac.update(content);
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(digit: char) -> Key {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("key");
        std::fs::write(&path, format!("{}\n", digit.to_string().repeat(64))).expect("written");
        Key::read(&path).expect("a key")
    }

    #[test]
    fn names_are_those_of_sha_256() {
        // FIPS 180-4, the message "abc".
        let name = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(name_of(None, b"abc"), name);
    }

    #[test]
    fn only_the_key_opens_and_only_what_was_sealed() {
        let (ours, other) = (key('a'), key('b'));
        let sealed = ours.seal(b"content").expect("sealed");
        assert_eq!(ours.open(&sealed).as_deref(), Some(&b"content"[..]));
        assert_eq!(other.open(&sealed), None);
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert_eq!(ours.open(&changed), None, "byte {i}");
        }
        assert_eq!(ours.open(b"short"), None);
        assert_ne!(ours.check(), other.check());
        assert_ne!(name_of(Some(&ours), b"x"), name_of(Some(&other), b"x"));
    }

    #[test]
    fn what_is_no_key_is_told_so_without_showing_it() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("key");
        for text in ["", "abc", &"g".repeat(64), &"a".repeat(65), &"é".repeat(32)] {
            std::fs::write(&path, text).expect("written");
            let error = Key::read(&path).expect_err("no key").to_string();
            assert!(error.contains("64 hexadecimal digits"), "{error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
        assert_eq!(format!("{:?}", key('c')), "Key");
    }
}
