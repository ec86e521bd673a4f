//! How values look on disk: bincode inside a versioned, checksummed envelope. The only module that knows bincode.
//! In: any serde value and the number of its format. Out: bytes, or the value they held. Called from: `server/store`.
//! Layout: magic `L5` (2 bytes), kind (u8), version (u8), CRC-32 of the payload (u32 LE), payload.
//! Invariants: `decode(kind, version, encode(kind, version, v)) == v`; no input makes `decode` panic or allocate more
//! than [`PAYLOAD_BYTES_MAX`].
//! Reference: docs/decisions/0003-bincode.md.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

const MAGIC: [u8; 2] = *b"L5";
const HEADER_BYTES: usize = 8;

/// The largest payload that is read back, bytes: 256 MiB.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 20;

/// What an envelope holds: `kind` tells the record types of the store apart, `version` their formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Which type of record.
    pub kind: u8,
    /// Which version of its format this program writes; older ones are read by whoever knows them.
    pub version: u8,
}

/// Why bytes could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Fewer bytes than a header, or another magic.
    #[error("not a layer5 record: {bytes} bytes")]
    NotOurs {
        /// How many bytes there were.
        bytes: usize,
    },
    /// Another kind of record than was asked for.
    #[error("record of kind {found}, expected kind {expected}")]
    WrongKind {
        /// The kind that stands in the header.
        found: u8,
        /// The kind that was asked for.
        expected: u8,
    },
    /// Written by a newer program.
    #[error("record of format version {found}, this program knows up to {known}")]
    NewerVersion {
        /// The version that stands in the header.
        found: u8,
        /// The version that was asked for.
        known: u8,
    },
    /// The checksum does not match: the bytes were damaged.
    #[error("checksum {found:08x} does not match the stored {stored:08x}: damaged record")]
    Checksum {
        /// What the header says.
        stored: u32,
        /// What the payload gives.
        found: u32,
    },
    /// The payload is not a value of the type asked for.
    #[error("undecodable payload: {0}")]
    Payload(String),
}

fn configuration() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<PAYLOAD_BYTES_MAX>()
}

/// The bytes of `value` in its envelope.
///
/// # Panics
/// When `value` can't be represented (a map of unknown length, say), which is a bug in the type's `Serialize`.
#[must_use]
pub fn encode<T: Serialize>(format: Format, value: &T) -> Vec<u8> {
    let mut payload = Payload::behind(HEADER_BYTES);
    bincode::serde::encode_into_writer(value, &mut payload, configuration())
        .expect("plain data encodes into memory");
    let mut bytes = payload.finish();
    let checksum = crc32fast::hash(&bytes[HEADER_BYTES..]);
    bytes[0..2].copy_from_slice(&MAGIC);
    bytes[2] = format.kind;
    bytes[3] = format.version;
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Where a payload is written, a few bytes at a time: into memory that is there already, as values that are some hundred
/// numbers of a few bytes each want it.
struct Payload {
    /// The part before `len` is written.
    bytes: Vec<u8>,
    len: usize,
}

impl Payload {
    fn behind(header_bytes: usize) -> Self {
        Self {
            bytes: vec![0; 256],
            len: header_bytes,
        }
    }

    #[cold]
    fn grow(&mut self, n: usize) {
        self.bytes.resize(2 * (self.len + n), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes.truncate(self.len);
        self.bytes.shrink_to_fit();
        self.bytes
    }
}

impl bincode::enc::write::Writer for Payload {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        let end = self.len + bytes.len();
        if end > self.bytes.len() {
            self.grow(bytes.len());
        }
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}

/// The value that `bytes` hold.
///
/// # Errors
/// One variant per way in which `bytes` can be wrong; nothing is returned in part. A version older than
/// `format.version` is [`DecodeError::Payload`] unless its layout still fits.
pub fn decode<T: DeserializeOwned>(format: Format, bytes: &[u8]) -> Result<T, DecodeError> {
    let payload = payload(format, bytes)?;
    whole(
        bincode::serde::decode_from_slice(payload, configuration()),
        payload,
    )
}

/// As [`decode`], for a value that borrows its text from `bytes`.
///
/// # Errors
/// As [`decode`].
pub fn decode_borrowed<'a, T: Deserialize<'a>>(
    format: Format,
    bytes: &'a [u8],
) -> Result<T, DecodeError> {
    let payload = payload(format, bytes)?;
    whole(
        bincode::serde::borrow_decode_from_slice(payload, configuration()),
        payload,
    )
}

/// What lies in an envelope of the right kind, undamaged.
fn payload(format: Format, bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let (header, payload) = bytes
        .split_at_checked(HEADER_BYTES)
        .ok_or(DecodeError::NotOurs { bytes: bytes.len() })?;
    if header[0..2] != MAGIC {
        return Err(DecodeError::NotOurs { bytes: bytes.len() });
    }
    if header[2] != format.kind {
        return Err(DecodeError::WrongKind {
            found: header[2],
            expected: format.kind,
        });
    }
    if header[3] > format.version {
        return Err(DecodeError::NewerVersion {
            found: header[3],
            known: format.version,
        });
    }
    let stored = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    let found = crc32fast::hash(payload);
    if stored != found {
        return Err(DecodeError::Checksum { stored, found });
    }
    Ok(payload)
}

/// The value, if it took all of the payload.
fn whole<T>(
    decoded: Result<(T, usize), bincode::error::DecodeError>,
    payload: &[u8],
) -> Result<T, DecodeError> {
    let (value, used) = decoded.map_err(|e| DecodeError::Payload(e.to_string()))?;
    if used != payload.len() {
        return Err(DecodeError::Payload(format!(
            "{} bytes left over",
            payload.len() - used
        )));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORMAT: Format = Format {
        kind: 7,
        version: 2,
    };

    #[test]
    fn every_kind_of_damage_is_named() {
        let good = encode(FORMAT, &("x".to_owned(), 1.5_f64));
        type T = (String, f64);
        assert_eq!(decode::<T>(FORMAT, &good), Ok(("x".to_owned(), 1.5)));
        assert_eq!(
            decode::<T>(FORMAT, &good[..5]),
            Err(DecodeError::NotOurs { bytes: 5 })
        );
        let other = Format {
            kind: 8,
            version: 2,
        };
        assert_eq!(
            decode::<T>(other, &good),
            Err(DecodeError::WrongKind {
                found: 7,
                expected: 8
            })
        );
        let older = Format {
            kind: 7,
            version: 1,
        };
        assert_eq!(
            decode::<T>(older, &good),
            Err(DecodeError::NewerVersion { found: 2, known: 1 })
        );
        for i in HEADER_BYTES..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1;
            assert!(matches!(
                decode::<T>(FORMAT, &bad),
                Err(DecodeError::Checksum { .. })
            ));
        }
        let short = encode(FORMAT, &3_u8);
        assert!(matches!(
            decode::<T>(FORMAT, &short),
            Err(DecodeError::Payload(_))
        ));
    }

    proptest! {
        #[test]
        fn there_and_back(v in any::<Vec<(u64, String, Option<i32>)>>()) {
            prop_assert_eq!(decode::<Vec<(u64, String, Option<i32>)>>(FORMAT, &encode(FORMAT, &v)), Ok(v));
        }

        #[test]
        fn borrowed_text_is_the_same_text(v in any::<Vec<(String, f64)>>()) {
            let bytes = encode(FORMAT, &v);
            let borrowed: Vec<(&str, f64)> = v.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            prop_assert_eq!(decode_borrowed::<Vec<(&str, f64)>>(FORMAT, &bytes), Ok(borrowed));
        }

        #[test]
        fn any_bytes_are_answered(bytes in any::<Vec<u8>>()) {
            let _ = decode::<Vec<String>>(FORMAT, &bytes);
            let _ = decode::<Vec<String>>(FORMAT, &encode(FORMAT, &bytes));
        }
    }
}
