//! Reads JSON tokens from text, or says what was expected where. Knows nothing of reports.
//! In: text that is known to be UTF-8. Out: borrowed strings, numbers, skipped values. Called from: `report_json`.
//! Invariants: `pos` is on a character border and at most the text's length; no function recurses.
//! Reference: RFC 8259.

use std::borrow::Cow;

use super::number;

/// The text is not JSON; [`Scanner::fault`] says why and where. It carries nothing, so that results stay in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// What is wrong with the text, and where, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What had to stand there; `None` where brackets are nested too deep.
    pub(super) expected: Option<&'static str>,
    pub(super) offset: usize,
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
    /// In NDJSON a line feed ends a report and is no space within it.
    line_feed: u8,
    fault: Fault,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            pos: 0,
            line_feed: b'\n',
            fault: Fault {
                expected: None,
                offset: 0,
            },
        }
    }

    /// Reads text in which a line feed is never stepped over, except by [`Self::advance`].
    pub(super) fn within_lines(text: &'a str) -> Self {
        Self {
            line_feed: b' ',
            ..Self::new(text)
        }
    }

    /// What the last [`Broken`] was about.
    pub(super) fn fault(&self) -> Fault {
        self.fault
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

    #[inline(never)]
    fn skip_space_run(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\r') || self.peek() == self.line_feed {
            self.pos += 1;
        }
    }

    /// Steps over `byte` if it is next.
    #[inline(always)]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        // A branch, not an addition of the comparison: what follows need not wait for the byte.
        if self.peek() == byte {
            self.pos += 1;
            true
        } else {
            false
        }
    }

    #[inline(always)]
    pub(super) fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Broken> {
        if self.take(byte) {
            Ok(())
        } else {
            Err(self.broken(what))
        }
    }

    /// Notes that `what` was expected here.
    #[cold]
    pub(super) fn broken(&mut self, what: &'static str) -> Broken {
        self.fault = Fault {
            expected: Some(what),
            offset: self.pos,
        };
        Broken
    }

    /// Notes that the bracket here is nested too deep.
    #[cold]
    pub(super) fn too_deep(&mut self) -> Broken {
        self.fault = Fault {
            expected: None,
            offset: self.pos,
        };
        Broken
    }

    /// The depth left inside the bracket that is next.
    #[inline]
    pub(super) fn deeper(&mut self, depth: u32) -> Result<u32, Broken> {
        match depth.checked_sub(1) {
            Some(left) => Ok(left),
            None => Err(self.too_deep()),
        }
    }

    /// The kind of the value that starts here.
    #[inline]
    pub(super) fn kind(&mut self) -> Result<Kind, Broken> {
        Ok(match self.peek() {
            b'"' => Kind::String,
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'-' | b'0'..=b'9' => Kind::Number,
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            _ => return Err(self.broken("a value")),
        })
    }

    /// Reads a string, the opening quote being next; borrowed unless it has an escape.
    #[inline(always)]
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Broken> {
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
    fn string_with_escapes(&mut self, start: usize) -> Result<String, Broken> {
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
                _ => return Err(self.broken("a closing quote, no bare control character")),
            }
            let from = self.pos;
            self.pos = special_from(self.text.as_bytes(), from);
            out.push_str(&self.text[from..self.pos]);
        }
    }

    /// Reads an escape behind its backslash.
    fn escape(&mut self) -> Result<char, Broken> {
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
            _ => return Err(self.broken("an escape")),
        };
        self.pos += 1;
        Ok(escaped)
    }

    /// Reads `uXXXX`, and the second half of a surrogate pair with it.
    fn unicode_escape(&mut self) -> Result<char, Broken> {
        const WHAT: &str = "a Unicode escape of a character";
        let at = self.pos;
        self.pos += 1;
        let first = self.hex4()?;
        let code = match first {
            0xd800..=0xdbff => {
                let second = if self.take(b'\\') && self.take(b'u') {
                    self.hex4()?
                } else {
                    0
                };
                if !(0xdc00..=0xdfff).contains(&second) {
                    self.pos = at;
                    return Err(self.broken(WHAT));
                }
                0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            other => other,
        };
        char::from_u32(code).ok_or_else(|| {
            self.pos = at;
            self.broken(WHAT)
        })
    }

    fn hex4(&mut self) -> Result<u32, Broken> {
        let mut n = 0;
        for _ in 0..4 {
            let Some(digit) = char::from(self.peek()).to_digit(16) else {
                return Err(self.broken("a hexadecimal digit"));
            };
            n = n * 16 + digit;
            self.pos += 1;
        }
        Ok(n)
    }

    /// Steps over `literal` if it is next.
    #[inline(always)]
    pub(super) fn take_literal(&mut self, literal: &Literal) -> bool {
        let Some(text) = self
            .text
            .as_bytes()
            .get(self.pos..)
            .and_then(<[u8]>::first_chunk::<LITERAL_BYTES_MAX>)
        else {
            return false;
        };
        if literal.begins(text) {
            self.pos += literal.len;
            true
        } else {
            false
        }
    }

    /// As [`Self::string`]; `len` says how long the string in this place was in the report before, bytes.
    ///
    /// Where the string ends is then compared, not found, so that the processor goes on behind it before it has been
    /// read; otherwise each token waits for the one before.
    #[inline(always)]
    pub(super) fn string_like(&mut self, len: &mut usize) -> Result<Cow<'a, str>, Broken> {
        let bytes = self.text.as_bytes();
        let start = self.pos + 1;
        let end = start + *len;
        if self.peek() == b'"' && bytes.get(end) == Some(&b'"') && is_plain(&bytes[start..end]) {
            self.pos = end + 1;
            return Ok(Cow::Borrowed(&self.text[start..end]));
        }
        self.string_unlike(len)
    }

    #[inline(never)]
    fn string_unlike(&mut self, len: &mut usize) -> Result<Cow<'a, str>, Broken> {
        let text = self.string()?;
        *len = text.len();
        Ok(text)
    }

    /// Steps over a string, the opening quote being next; escapes are checked for their form.
    #[inline]
    fn skip_string(&mut self) -> Result<(), Broken> {
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
                        _ => return Err(self.broken("an escape")),
                    }
                }
                _ => return Err(self.broken("a closing quote, no bare control character")),
            }
        }
    }

    /// Reads a number; infinite when it is too large for a double.
    #[inline(always)]
    pub(super) fn number(&mut self) -> Result<f64, Broken> {
        let (value, end) = number::decimal(self.text, self.pos);
        self.pos = end;
        match value {
            Some(value) => Ok(value),
            None => Err(self.broken("a digit")),
        }
    }

    /// Steps over any value, nested at most `depth_left` deep.
    pub(super) fn skip_value(&mut self, depth_left: u32) -> Result<(), Broken> {
        match self.kind()? {
            Kind::Array | Kind::Object => self.skip_nested(depth_left),
            Kind::String => self.skip_string(),
            Kind::Number => self.number().map(|_| ()),
            Kind::Bool | Kind::Null => self.skip_word(),
        }
    }

    /// Steps over an array or object; `levels` has a bit per open bracket, the innermost lowest, 1 for an object.
    fn skip_nested(&mut self, depth_left: u32) -> Result<(), Broken> {
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
                        return Err(self.too_deep());
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
                _ => return Err(self.broken("a value")),
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
    pub(super) fn skip_word(&mut self) -> Result<(), Broken> {
        let rest = &self.text.as_bytes()[self.pos..];
        for word in [&b"null"[..], b"true", b"false"] {
            if rest.starts_with(word) {
                self.pos += word.len();
                return Ok(());
            }
        }
        Err(self.broken("true, false or null"))
    }
}

/// The longest [`Literal`].
const LITERAL_BYTES_MAX: usize = 32;

/// A short piece of text that is compared as two or four words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    words: [u64; 4],
    masks: [u64; 4],
    len: usize,
}

impl Literal {
    /// Begins no text.
    pub(super) const NEVER: Self = Self {
        words: [u64::MAX; 4],
        masks: [u64::MAX; 4],
        len: 0,
    };

    /// [`Self::NEVER`] when `text` is too long.
    pub(super) fn new(text: &str) -> Self {
        let len = text.len();
        if len > LITERAL_BYTES_MAX {
            return Self::NEVER;
        }
        let (mut bytes, mut mask) = ([0; LITERAL_BYTES_MAX], [0; LITERAL_BYTES_MAX]);
        bytes[..len].copy_from_slice(text.as_bytes());
        mask[..len].fill(0xff);
        Self {
            words: words(&bytes),
            masks: words(&mask),
            len,
        }
    }

    #[inline(always)]
    fn begins(&self, text: &[u8; LITERAL_BYTES_MAX]) -> bool {
        let text = words(text);
        let differs = |i: usize| (text[i] ^ self.words[i]) & self.masks[i];
        // The same for each place in an object, hence foreseen.
        differs(0) | differs(1) == 0 && (self.len <= 16 || differs(2) | differs(3) == 0)
    }
}

#[inline(always)]
fn words(bytes: &[u8; LITERAL_BYTES_MAX]) -> [u64; 4] {
    let (words, _) = bytes.as_chunks::<8>();
    [0, 1, 2, 3].map(|i| u64::from_le_bytes(words[i]))
}

/// The index of the first quote, backslash or control character from `i` on, or the length.
///
/// Blocks of 16 bytes are asked whether they hold any, which compilers make a few vector instructions of; where in a
/// block is then looked for in words. (From a vector to an index takes an instruction that safe code can't name.)
#[inline(always)]
fn special_from(bytes: &[u8], mut i: usize) -> usize {
    for block in bytes[i..].as_chunks::<16>().0 {
        if has_special(block) {
            let (words, _) = block.as_chunks();
            let before = special_in(words[0]);
            return i + if before < 8 {
                before
            } else {
                8 + special_in(words[1])
            };
        }
        i += 16;
    }
    for eight in bytes[i..].as_chunks().0 {
        let at = special_in(*eight);
        if at < 8 {
            return i + at;
        }
        i += 8;
    }
    while i < bytes.len() && !is_special(bytes[i]) {
        i += 1;
    }
    i
}

/// Whether there is no quote, backslash or control character.
#[inline(always)]
fn is_plain(bytes: &[u8]) -> bool {
    // The last block overlaps the one before it.
    if let Some(last) = bytes.last_chunk::<16>() {
        for block in bytes.as_chunks::<16>().0 {
            if has_special(block) {
                return false;
            }
        }
        !has_special(last)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        special_in(*first) == 8 && special_in(*last) == 8
    } else {
        bytes.iter().fold(true, |plain, &b| plain & !is_special(b))
    }
}

#[inline(always)]
fn is_special(b: u8) -> bool {
    (b == b'"') | (b == b'\\') | (b < b' ')
}

/// A few vector instructions.
#[inline(always)]
fn has_special(block: &[u8; 16]) -> bool {
    block.iter().fold(false, |any, &b| any | is_special(b))
}

/// The index of the first quote, backslash or control character, or 8.
///
/// `(x - 0x01..) & !x & 0x80..` marks the zero bytes of `x`, exactly up to and including the first one; a borrow only
/// spoils bytes behind it. `x` is the text with one of the characters taken out by `^`, which leaves the high bits
/// alone, so all three tests share `!text`.
/// Reference: Warren, "Hacker's Delight", 6-1.
#[inline(always)]
fn special_in(eight: [u8; 8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    let text = u64::from_le_bytes(eight);
    let quote = (text ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (text ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    let control = text.wrapping_sub(ONES * b' ' as u64);
    let hits = (quote | backslash | control) & !text & HIGHS;
    (hits.trailing_zeros() / 8) as usize
}
