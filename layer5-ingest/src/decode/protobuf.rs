//! The wire format of Protocol Buffers, as far as a reader needs it: fields one after the other, borrowed.
//! In: the bytes of a message. Out: its fields with their numbers. Called from: [`super::remote_write`], [`super::otlp`].
//! Invariants: no input panics, recurses or allocates; a length that lies is refused where it stands.
//! Reference: "Encoding", <https://protobuf.dev/programming-guides/encoding/>.

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// What had to stand there.
    pub(super) expected: &'static str,
    /// Bytes of the message that were left when it was found.
    pub(super) left: usize,
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// A varint: integers, booleans, enumerations.
    Varint(u64),
    /// Eight bytes: doubles and fixed integers.
    Fixed64(u64),
    /// Strings, bytes and messages.
    Bytes(&'a [u8]),
    /// Four bytes.
    Fixed32(u32),
}

/// The fields of a message that are still to be read.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `message`.
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field and its number; `None` at the end.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Broken> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|&n| n > 0);
        let number = number.ok_or(self.broken("the number of a field"))?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(*self.fixed()?)),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).ok();
                let bytes = length.and_then(|length| self.rest.split_at_checked(length));
                let (bytes, rest) = bytes.ok_or(self.broken("as many bytes as announced"))?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(u32::from_le_bytes(*self.fixed()?)),
            // Groups have been out of use since before these messages were made.
            _ => return Err(self.broken("a varint, bytes or a fixed number")),
        };
        Ok(Some((number, value)))
    }

    fn fixed<const N: usize>(&mut self) -> Result<&'a [u8; N], Broken> {
        let split = self.rest.split_first_chunk();
        let (bytes, rest) = split.ok_or(self.broken("a fixed number"))?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Broken> {
        let mut number = 0_u64;
        for (i, &byte) in self.rest.iter().take(10).enumerate() {
            // The tenth byte has room for the last bit only.
            if i == 9 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok(number);
            }
        }
        Err(self.broken("a varint"))
    }

    fn broken(&self, expected: &'static str) -> Broken {
        Broken {
            expected,
            left: self.rest.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Broken> {
        let mut fields = Fields::of(bytes);
        let mut all = Vec::new();
        while let Some(field) = fields.next()? {
            all.push(field);
        }
        Ok(all)
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        assert_eq!(read(&[0x08, 0x96, 0x01]), Ok(vec![(1, Value::Varint(150))]));
        let text = [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67];
        assert_eq!(read(&text), Ok(vec![(2, Value::Bytes(b"testing"))]));
        let double = [[0x09].as_slice(), &1.5_f64.to_le_bytes()].concat();
        assert_eq!(
            read(&double),
            Ok(vec![(1, Value::Fixed64(1.5_f64.to_bits()))])
        );
        assert_eq!(read(&[0x0d, 1, 0, 0, 0]), Ok(vec![(1, Value::Fixed32(1))]));
        let minus_one = [&[0x10][..], &[0xff; 9], &[1]].concat();
        assert_eq!(read(&minus_one), Ok(vec![(2, Value::Varint(u64::MAX))]));
    }

    #[test]
    fn what_is_cut_or_lies_is_refused() {
        let too_long = [&[0x10][..], &[0xff; 9], &[2]].concat();
        let lying = [0x12, 0xff, 0xff, 0xff, 0xff, 0x0f, 1];
        for broken in [
            &[0x08][..],
            &[0x12, 2, 1],
            &[0x09, 1],
            &[0x0d, 1],
            &[0x0b],
            &[0x00],
            &too_long,
            &lying,
        ] {
            assert!(read(broken).is_err(), "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _either = read(&bytes);
        }
    }
}
