//! Reads JSON tokens from text, or says what was expected where. Knows nothing of reports.
//! In: text that is known to be UTF-8. Out: borrowed strings, numbers, skipped values. Called from: `report_json`.
//! Invariants: `pos` is on a character border and at most the text's length; no function recurses.
//! Reference: RFC 8259.

use std::borrow::Cow;

use super::number;

/// What is wrong with the text, and where, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Expected { what: &'static str, offset: usize },
    TooDeep { offset: usize },
}

/// The kind of a value, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    pub(super) fn with_article(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    pos: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, pos: 0 }
    }

    pub(super) fn offset(&self) -> usize {
        self.pos
    }

    pub(super) fn at_end(&self) -> bool {
        self.pos >= self.text.len()
    }

    /// The next byte; 0, which no token starts with, at the end.
    #[inline(always)]
    pub(super) fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.pos).copied().unwrap_or(0)
    }

    #[inline(always)]
    pub(super) fn advance(&mut self, n: usize) {
        self.pos += n;
    }

    /// The text from `start` to here.
    pub(super) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.pos]
    }

    #[inline(always)]
    pub(super) fn skip_space(&mut self) {
        if self.peek() <= b' ' {
            self.skip_space_run();
        }
    }

    fn skip_space_run(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\t' | b'\r') {
            self.pos += 1;
        }
    }

    /// Steps over `byte` if it is next.
    #[inline(always)]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.pos += usize::from(found);
        found
    }

    #[inline(always)]
    pub(super) fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Fault> {
        if self.take(byte) {
            Ok(())
        } else {
            Err(self.fault(what))
        }
    }

    #[cold]
    pub(super) fn fault(&self, what: &'static str) -> Fault {
        Fault::Expected {
            what,
            offset: self.pos,
        }
    }

    /// The kind of the value that starts here.
    pub(super) fn kind(&self) -> Result<Kind, Fault> {
        Ok(match self.peek() {
            b'"' => Kind::String,
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'-' | b'0'..=b'9' => Kind::Number,
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            _ => return Err(self.fault("a value")),
        })
    }

    /// Reads a string, the opening quote being next; borrowed unless it has an escape.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.expect(b'"', "a string")?;
        let start = self.pos;
        self.pos = special_from(self.text.as_bytes(), start);
        if self.peek() == b'"' {
            let text = &self.text[start..self.pos];
            self.pos += 1;
            return Ok(Cow::Borrowed(text));
        }
        self.string_with_escapes(start).map(Cow::Owned)
    }

    #[cold]
    fn string_with_escapes(&mut self, start: usize) -> Result<String, Fault> {
        let mut out = String::from(&self.text[start..self.pos]);
        loop {
            match self.peek() {
                b'"' => {
                    self.pos += 1;
                    return Ok(out);
                }
                b'\\' => {
                    self.pos += 1;
                    out.push(self.escape()?);
                }
                _ => return Err(self.fault("a closing quote, no bare control character")),
            }
            let from = self.pos;
            self.pos = special_from(self.text.as_bytes(), from);
            out.push_str(&self.text[from..self.pos]);
        }
    }

    /// Reads an escape behind its backslash.
    fn escape(&mut self) -> Result<char, Fault> {
        let escaped = match self.peek() {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(self.fault("an escape")),
        };
        self.pos += 1;
        Ok(escaped)
    }

    /// Reads `uXXXX`, and the second half of a surrogate pair with it.
    fn unicode_escape(&mut self) -> Result<char, Fault> {
        const WHAT: &str = "a Unicode escape of a character";
        let at = self.clone();
        self.pos += 1;
        let first = self.hex4()?;
        let code = match first {
            0xd800..=0xdbff => {
                if !(self.take(b'\\') && self.take(b'u')) {
                    return Err(at.fault(WHAT));
                }
                let second = self.hex4()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(at.fault(WHAT));
                }
                0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            other => other,
        };
        char::from_u32(code).ok_or_else(|| at.fault(WHAT))
    }

    fn hex4(&mut self) -> Result<u32, Fault> {
        let mut n = 0;
        for _ in 0..4 {
            let Some(digit) = char::from(self.peek()).to_digit(16) else {
                return Err(self.fault("a hexadecimal digit"));
            };
            n = n * 16 + digit;
            self.pos += 1;
        }
        Ok(n)
    }

    /// Steps over a string, the opening quote being next; escapes are checked for their form.
    #[inline]
    fn skip_string(&mut self) -> Result<(), Fault> {
        self.expect(b'"', "a string")?;
        loop {
            self.pos = special_from(self.text.as_bytes(), self.pos);
            match self.peek() {
                b'"' => {
                    self.pos += 1;
                    return Ok(());
                }
                b'\\' => {
                    self.pos += 1;
                    match self.peek() {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.pos += 1,
                        b'u' => {
                            self.pos += 1;
                            self.hex4()?;
                        }
                        _ => return Err(self.fault("an escape")),
                    }
                }
                _ => return Err(self.fault("a closing quote, no bare control character")),
            }
        }
    }

    /// Reads a number; infinite when it is too large for a double.
    #[inline]
    pub(super) fn number(&mut self) -> Result<f64, Fault> {
        match number::decimal(self.text, self.pos) {
            Ok((value, end)) => {
                self.pos = end;
                Ok(value)
            }
            Err(at) => {
                self.pos = at;
                Err(self.fault("a digit"))
            }
        }
    }

    /// Steps over any value, nested at most `depth_left` deep.
    pub(super) fn skip_value(&mut self, depth_left: u32) -> Result<(), Fault> {
        match self.kind()? {
            Kind::Array | Kind::Object => self.skip_nested(depth_left),
            Kind::String => self.skip_string(),
            Kind::Number => self.number().map(|_| ()),
            Kind::Bool | Kind::Null => self.skip_word(),
        }
    }

    /// Steps over an array or object; `levels` has a bit per open bracket, the innermost lowest, 1 for an object.
    fn skip_nested(&mut self, depth_left: u32) -> Result<(), Fault> {
        debug_assert!(depth_left <= u64::BITS);
        let (mut levels, mut depth) = (0_u64, 0);
        'value: loop {
            let opened = match self.peek() {
                b'"' => {
                    self.skip_string()?;
                    false
                }
                open @ (b'{' | b'[') => {
                    if depth == depth_left {
                        return Err(Fault::TooDeep { offset: self.pos });
                    }
                    depth += 1;
                    levels = levels << 1 | u64::from(open == b'{');
                    self.pos += 1;
                    true
                }
                b'-' | b'0'..=b'9' => {
                    self.number()?;
                    false
                }
                b't' | b'f' | b'n' => {
                    self.skip_word()?;
                    false
                }
                _ => return Err(self.fault("a value")),
            };
            let mut first = opened;
            loop {
                self.skip_space();
                let in_object = levels & 1 == 1;
                let close = if in_object { b'}' } else { b']' };
                if self.take(close) {
                    levels >>= 1;
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                    first = false;
                    continue;
                }
                if !first {
                    let what = if in_object {
                        "',' or '}'"
                    } else {
                        "',' or ']'"
                    };
                    self.expect(b',', what)?;
                    self.skip_space();
                }
                if in_object {
                    self.skip_string()?;
                    self.skip_space();
                    self.expect(b':', "':'")?;
                    self.skip_space();
                }
                continue 'value;
            }
        }
    }

    /// Steps over `true`, `false` or `null`.
    pub(super) fn skip_word(&mut self) -> Result<(), Fault> {
        let rest = &self.text.as_bytes()[self.pos..];
        for word in [&b"null"[..], b"true", b"false"] {
            if rest.starts_with(word) {
                self.pos += word.len();
                return Ok(());
            }
        }
        Err(self.fault("true, false or null"))
    }
}

/// The index of the first quote, backslash or control character from `i` on, or the length.
///
/// Eight bytes at a time: `(x - 0x01..) & !x & 0x80..` marks the zero bytes of `x`, exactly up to and including the
/// first one; a borrow only spoils bytes behind it. Reference: Warren, "Hacker's Delight", 6-1.
#[inline(always)]
fn special_from(bytes: &[u8], mut i: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    while let Some(chunk) = bytes.get(i..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let control = word.wrapping_sub(ONES * b' ' as u64) & !word;
        let hit = (quote.wrapping_sub(ONES) & !quote
            | backslash.wrapping_sub(ONES) & !backslash
            | control)
            & HIGHS;
        if hit != 0 {
            return i + (hit.trailing_zeros() / 8) as usize;
        }
        i += 8;
    }
    while i < bytes.len() && !matches!(bytes[i], b'"' | b'\\' | 0..b' ') {
        i += 1;
    }
    i
}
