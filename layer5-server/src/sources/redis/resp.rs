//! Redis' wire protocol, version 2, as far as a reader of streams needs it: commands out, replies in, nothing copied.
//! In: the bytes of a socket as they come. Out: whole replies, walked over from front to back.
//! Called from: [`super::connection`].
//! Invariants: nothing is allocated for a reply beyond its bytes; a reply that claims more than its limit is refused
//! when its claim is read; nothing recurses.
//! Reference: Redis serialization protocol specification, RESP2.

/// Appends a command to `out`.
pub(super) fn command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    begin(out, parts.len());
    for part in parts {
        argument(out, part);
    }
}

/// Appends the head of a command of `n` parts to `out`; they follow.
pub(super) fn begin(out: &mut Vec<u8>, n: usize) {
    out.push(b'*');
    number(out, n);
}

/// Appends one part of a command.
pub(super) fn argument(out: &mut Vec<u8>, part: &[u8]) {
    out.push(b'$');
    number(out, part.len());
    out.extend_from_slice(part);
    out.extend_from_slice(b"\r\n");
}

fn number(out: &mut Vec<u8>, n: usize) {
    let (mut digits, mut at, mut rest) = ([0_u8; 20], 20, n);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// Why bytes are no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// Not the protocol.
    #[error("this is not Redis' protocol: {0}")]
    Protocol(&'static str),
    /// A reply that is larger than it may be.
    #[error("a reply of more than {limit} bytes (sources.redis.reply_bytes_max)")]
    TooLarge {
        /// How large it may be.
        limit: usize,
    },
    /// Redis says no.
    #[error("redis answers: {0}")]
    Refused(String),
    /// Another reply than the command has.
    #[error("redis answers something else than {0}")]
    Unexpected(&'static str),
}

/// Finds the end of a reply while its bytes come in; every byte is looked at once.
#[derive(Debug)]
pub(super) struct Frame {
    /// Bytes that belong to values which are there.
    at: usize,
    /// Values that are still to come.
    values: usize,
}

impl Frame {
    /// At the start of a reply.
    pub(super) const fn new() -> Self {
        Self { at: 0, values: 1 }
    }

    /// Looks at `bytes`, which begin with the reply; `true` once all of it is there, and [`Frame::len`] is its length.
    pub(super) fn is_whole(&mut self, bytes: &[u8], bytes_max: usize) -> Result<bool, ReplyError> {
        let too_large = ReplyError::TooLarge { limit: bytes_max };
        while self.values > 0 {
            let Some((kind, n, next)) = head(bytes, self.at)? else {
                if bytes.len() - self.at > LINE_BYTES_MAX {
                    return Err(ReplyError::Protocol("a line without an end"));
                }
                return Ok(false);
            };
            let end = match kind {
                b'$' if n >= 0 => {
                    let end = usize::try_from(n)
                        .ok()
                        .and_then(|n| next.checked_add(n + 2));
                    end.filter(|&end| end <= bytes_max)
                        .ok_or(too_large.clone())?
                }
                b'*' if n > 0 => {
                    // An element takes four bytes at least.
                    let n = usize::try_from(n).ok().filter(|&n| n <= bytes_max / 4);
                    self.values += n.ok_or(too_large.clone())?;
                    next
                }
                _ => next,
            };
            if end > bytes.len() {
                return Ok(false);
            }
            self.at = end;
            self.values -= 1;
        }
        Ok(true)
    }

    /// The length of a whole reply.
    pub(super) fn len(&self) -> usize {
        self.at
    }
}

/// Longest line of a simple string, an error or a number.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The value at `at`: what it is, its number (0 for text), where it goes on behind its line. `None`: the line has no end yet.
fn head(bytes: &[u8], at: usize) -> Result<Option<(u8, i64, usize)>, ReplyError> {
    let Some(&kind) = bytes.get(at) else {
        return Ok(None);
    };
    if matches!(kind, b'$' | b'*' | b':') {
        return number_line(bytes, at + 1).map(|line| line.map(|(n, next)| (kind, n, next)));
    }
    if !matches!(kind, b'+' | b'-') {
        return Err(ReplyError::Protocol("a value of an unknown kind"));
    }
    let line = &bytes[at..bytes.len().min(at + LINE_BYTES_MAX)];
    let end = line.windows(2).position(|pair| pair == b"\r\n");
    Ok(end.map(|end| (kind, 0, at + end + 2)))
}

/// The number at `at`, and where its line ends.
fn number_line(bytes: &[u8], at: usize) -> Result<Option<(i64, usize)>, ReplyError> {
    let not_a_number = ReplyError::Protocol("a length that is no number");
    let (mut n, mut i) = (0_i64, at);
    let negative = bytes.get(i) == Some(&b'-');
    i += usize::from(negative);
    let first = i;
    loop {
        match bytes.get(i) {
            // 18 digits can't overflow.
            Some(digit @ b'0'..=b'9') if i - first < 18 => n = n * 10 + i64::from(digit - b'0'),
            Some(b'\r') if i > first => match bytes.get(i + 1) {
                Some(b'\n') => return Ok(Some((if negative { -n } else { n }, i + 2))),
                Some(_) => return Err(not_a_number),
                None => return Ok(None),
            },
            None => return Ok(None),
            Some(_) => return Err(not_a_number),
        }
        i += 1;
    }
}

/// Walks over a whole reply.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// One value of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A bulk string, or a simple one.
    Text(&'a [u8]),
    /// An error.
    Error(&'a [u8]),
    /// A number.
    Number(i64),
    /// So many values follow.
    Array(usize),
    /// Nothing.
    Nil,
}

impl<'a> Walk<'a> {
    /// At the start of `reply`, which is whole.
    pub(super) fn new(reply: &'a [u8]) -> Self {
        Self {
            bytes: reply,
            at: 0,
        }
    }

    /// The next value.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Value<'a>, ReplyError> {
        let cut = ReplyError::Protocol("a reply that ends early");
        let start = self.at + 1;
        let (kind, n, next) = head(self.bytes, self.at)?.ok_or(cut.clone())?;
        self.at = next;
        Ok(match kind {
            b'+' => Value::Text(&self.bytes[start..next - 2]),
            b'-' => Value::Error(&self.bytes[start..next - 2]),
            b':' => Value::Number(n),
            _ if n < 0 => Value::Nil,
            b'*' => Value::Array(usize::try_from(n).map_err(|_| cut)?),
            _ => {
                let end = usize::try_from(n).ok().and_then(|n| next.checked_add(n));
                let text = end.and_then(|end| self.bytes.get(next..end)).ok_or(cut)?;
                self.at = next + text.len() + 2;
                Value::Text(text)
            }
        })
    }

    /// The length of the array that must come here; `None` for nil.
    pub(super) fn array(&mut self, what: &'static str) -> Result<Option<usize>, ReplyError> {
        match self.next()? {
            Value::Array(n) => Ok(Some(n)),
            Value::Nil => Ok(None),
            Value::Error(error) => Err(refused(error)),
            Value::Text(_) | Value::Number(_) => Err(ReplyError::Unexpected(what)),
        }
    }

    /// The text that must come here.
    #[inline]
    pub(super) fn text(&mut self, what: &'static str) -> Result<&'a [u8], ReplyError> {
        match self.next()? {
            Value::Text(text) => Ok(text),
            Value::Error(error) => Err(refused(error)),
            _ => Err(ReplyError::Unexpected(what)),
        }
    }

    /// Fails when the reply is an error.
    pub(super) fn accepted(mut self) -> Result<(), ReplyError> {
        match self.next()? {
            Value::Error(error) => Err(refused(error)),
            _ => Ok(()),
        }
    }
}

fn refused(error: &[u8]) -> ReplyError {
    ReplyError::Refused(String::from_utf8_lossy(error).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REPLY: &[u8] = b"*3\r\n$2\r\nab\r\n*2\r\n:-7\r\n$-1\r\n+OK\r\n";

    /// Steps over one value with all that is in it.
    fn skip(walk: &mut Walk<'_>) -> Result<(), ReplyError> {
        let mut values = 1_usize;
        while values > 0 {
            values -= 1;
            if let Value::Array(n) = walk.next()? {
                values += n;
            }
        }
        Ok(())
    }

    #[test]
    fn a_command_is_an_array_of_bulk_strings() {
        let mut out = Vec::new();
        command(&mut out, &[b"XACK", b"s", b""]);
        assert_eq!(out, b"*3\r\n$4\r\nXACK\r\n$1\r\ns\r\n$0\r\n\r\n");
    }

    #[test]
    fn a_reply_is_walked_over() {
        let mut walk = Walk::new(REPLY);
        let values: Vec<_> = std::iter::from_fn(|| walk.next().ok()).collect();
        let expected = [
            Value::Array(3),
            Value::Text(b"ab"),
            Value::Array(2),
            Value::Number(-7),
            Value::Nil,
            Value::Text(b"OK"),
        ];
        assert_eq!(values, expected);
        assert!(skip(&mut Walk::new(REPLY)).is_ok());
    }

    #[test]
    fn an_error_is_a_refusal_and_not_data() {
        let expected = ReplyError::Refused("READONLY no".into());
        assert_eq!(
            Walk::new(b"-READONLY no\r\n").accepted(),
            Err(expected.clone())
        );
        assert_eq!(Walk::new(b"-READONLY no\r\n").array("x"), Err(expected));
    }

    #[test]
    fn lying_lengths_are_refused_when_they_are_read() {
        let whole = |bytes: &[u8]| Frame::new().is_whole(bytes, 1000);
        let too_large = Err(ReplyError::TooLarge { limit: 1000 });
        assert_eq!(whole(b"$4294967296\r\n"), too_large);
        assert_eq!(whole(b"$999999999999999999\r\n"), too_large);
        assert_eq!(whole(b"*1000000000\r\n"), too_large);
        for broken in [
            &b"$99999999999999999999\r\n"[..],
            b"$x\r\n",
            b"?\r\n",
            b"$\r\n",
            b"$1\rx",
        ] {
            assert!(
                matches!(whole(broken), Err(ReplyError::Protocol(_))),
                "{broken:?}"
            );
        }
        assert!(whole(&[b'+'; LINE_BYTES_MAX + 2]).is_err());
    }

    proptest! {
        #[test]
        fn a_reply_is_whole_at_its_last_byte_however_it_is_cut(cuts in prop::collection::vec(0..=REPLY.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut frame = Frame::new();
            for cut in cuts {
                prop_assert_eq!(frame.is_whole(&REPLY[..cut], 1000), Ok(cut == REPLY.len()));
            }
            prop_assert_eq!(frame.is_whole(REPLY, 1000), Ok(true));
            prop_assert_eq!(frame.len(), REPLY.len());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(prop::sample::select(b"*$+-:0129\r\nx".to_vec()), 0..60)) {
            let mut frame = Frame::new();
            if frame.is_whole(&bytes, 50) == Ok(true) {
                prop_assert!(skip(&mut Walk::new(&bytes[..frame.len()])).is_ok());
            }
            let mut walk = Walk::new(&bytes);
            while walk.next().is_ok() {}
        }
    }
}
