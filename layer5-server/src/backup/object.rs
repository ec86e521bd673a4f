//! An object: content as the bytes of a file, compressed where that pays, sealed where there is a key.
//! In: content. Out: bytes, and back. Called from: [`super::repository`].
//! Layout: `L5bk`, a version, flags (1 compressed, 2 sealed), two zeros, the CRC-32 of what follows (u32 LE); then the
//! content, deflated if so flagged, then sealed if so flagged. The CRC finds what a hash of the content can't: bits
//! that a decompressor ignores.
//! Invariants: what `decode` returns is checked against the name by its caller; a damaged length can't make it allocate
//! more than [`CONTENT_BYTES_MAX`].

use std::borrow::Cow;
use std::io::Read;

use flate2::{Compression, read::DeflateDecoder, read::DeflateEncoder};
use layer5_core::codec::PAYLOAD_BYTES_MAX;

use super::key::Key;
use crate::store::CHUNK_BYTES;

const MAGIC: &[u8; 4] = b"L5bk";
/// The newest layout that is known.
pub(super) const VERSION: u8 = 1;
const HEADER_BYTES: usize = 12;
const COMPRESSED: u8 = 1;
const SEALED: u8 = 2;
/// A chunk ends with the record that fills it, and a record is bounded.
const CONTENT_BYTES_MAX: u64 = (CHUNK_BYTES + PAYLOAD_BYTES_MAX) as u64 + 4;
/// Bytes from which the rest is judged: blocks of history are dense already.
const PROBE_BYTES: usize = 64 << 10;

/// Why bytes are no object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ObjectError {
    /// Another layout.
    Newer(u8),
    /// Anything else, in words.
    Damaged(&'static str),
    /// It is sealed, and there is no key.
    NoKey,
}

/// The bytes that keep `content`.
pub(super) fn encode(key: Option<&Key>, content: &[u8]) -> Result<Vec<u8>, String> {
    let probe = &content[..content.len().min(PROBE_BYTES)];
    let pays = deflated(probe)?.len() < probe.len() / 16 * 15;
    let mut flags = 0;
    let mut body = if pays {
        flags |= COMPRESSED;
        deflated(content)?
    } else {
        content.to_vec()
    };
    if let Some(key) = key {
        flags |= SEALED;
        body = key.seal(&body)?;
    }
    let crc = crc32fast::hash(&body).to_le_bytes();
    Ok([&MAGIC[..], &[VERSION, flags, 0, 0], &crc, &body].concat())
}

/// The content that `bytes` keep.
pub(super) fn decode(key: Option<&Key>, bytes: &[u8]) -> Result<Vec<u8>, ObjectError> {
    use ObjectError::{Damaged, Newer, NoKey};
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(Damaged("it ends early"));
    };
    let (magic, rest) = header.split_at(MAGIC.len());
    let &[version, flags, zero, nought, ref crc @ ..] = rest else {
        return Err(Damaged("it ends early"));
    };
    if magic != MAGIC || version == 0 || (zero, nought) != (0, 0) {
        return Err(Damaged("its beginning is not what was written"));
    }
    if version > VERSION {
        return Err(Newer(version));
    }
    if crc != crc32fast::hash(body).to_le_bytes() {
        return Err(Damaged("it does not match its checksum"));
    }
    let body = match (flags & SEALED != 0, key) {
        (false, _) => Cow::Borrowed(body),
        (true, None) => return Err(NoKey),
        (true, Some(key)) => Cow::Owned(key.open(body).ok_or(Damaged("the key does not open it"))?),
    };
    match flags & !SEALED {
        0 => Ok(body.into_owned()),
        COMPRESSED => {
            let mut content = Vec::new();
            let mut inflate = DeflateDecoder::new(&body[..]).take(CONTENT_BYTES_MAX + 1);
            let inflated = inflate.read_to_end(&mut content);
            inflated.map_err(|_| Damaged("it can't be decompressed"))?;
            if content.len() as u64 > CONTENT_BYTES_MAX {
                return Err(Damaged("it holds more than any chunk"));
            }
            Ok(content)
        }
        _ => Err(Damaged("its beginning is not what was written")),
    }
}

fn deflated(content: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(content.len() / 2);
    DeflateEncoder::new(content, Compression::fast())
        .read_to_end(&mut out)
        .map_err(|e| e.to_string())?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_content_comes_back(content: Vec<u8>, n in 0_usize..3000) {
            let content = [content, vec![7; n]].concat();
            let bytes = encode(None, &content).expect("encoded");
            prop_assert_eq!(decode(None, &bytes), Ok(content));
        }

        #[test]
        fn any_bytes_are_an_answer(bytes: Vec<u8>) {
            let _answered = decode(None, &bytes);
            let crc = crc32fast::hash(&bytes).to_le_bytes();
            let _answered = decode(None, &[&b"L5bk\x01\x01\0\0"[..], &crc, &bytes].concat());
        }
    }

    #[test]
    fn a_newer_layout_is_named() {
        let mut bytes = encode(None, b"content").expect("encoded");
        bytes[4] = 2;
        assert_eq!(decode(None, &bytes), Err(ObjectError::Newer(2)));
        bytes[4] = 0;
        assert!(matches!(decode(None, &bytes), Err(ObjectError::Damaged(_))));
    }

    #[test]
    fn what_inflates_without_end_is_refused() {
        let bomb = vec![0; CONTENT_BYTES_MAX as usize + 1];
        let bytes = encode(None, &bomb).expect("encoded");
        assert!(bytes.len() < bomb.len() / 50);
        assert!(matches!(decode(None, &bytes), Err(ObjectError::Damaged(_))));
    }
}
