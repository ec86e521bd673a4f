//! Rust source with everything but code blanked out, so that a rule can look for words in code alone.
//! In: the text of a file. Out: text of the same shape, line for line. Called from: `tests/tidy.rs`.
//! Invariants: newlines stay where they are, so line numbers hold; a comment, the inside of a string
//! or character literal and, for shipped code, what stands under `#[cfg(test)]` become blanks.
//! Reference: The Rust Reference, "Tokens" and "Comments".

/// The code of `source`: comments and the contents of literals are blanks.
///
/// # Example
/// ```
/// use layer5_bench::tidy::code;
/// assert_eq!(code("f(\"unsafe\"); // unsafe"), "f(\"      \");          ");
/// ```
pub fn code(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_or_comment_end(&chars, at);
        match end {
            Some(end) => {
                let quoted = chars[at] != '/';
                for (i, &c) in chars[at..end].iter().enumerate() {
                    let edge = quoted && (i == 0 || at + i + 1 == end);
                    out.push(if c == '\n' || edge { c } else { ' ' });
                }
                at = end;
            }
            None => {
                out.push(chars[at]);
                at += 1;
            }
        }
    }
    out
}

/// [`code`] without the items and statements that only tests and loom's models see.
pub fn shipped_code(source: &str) -> String {
    let mut text: Vec<u8> = code(source).into_bytes();
    for marker in ["#[cfg(test)]", "#[cfg(all(test", "#[cfg(loom)]"] {
        while let Some(start) = find(&text, marker.as_bytes(), 0) {
            let end = item_end(&text, start + marker.len());
            text[start..end]
                .iter_mut()
                .filter(|b| **b != b'\n')
                .for_each(|b| *b = b' ');
        }
    }
    // Blanks were put where whole characters began and ended, so nothing is lost here.
    String::from_utf8_lossy(&text).into_owned()
}

/// Whether `word` stands in `line` with no letter, digit or underscore on either side.
///
/// # Example
/// ```
/// use layer5_bench::tidy::has_word;
/// assert!(has_word("unsafe fn f()", "unsafe"));
/// assert!(!has_word("#![deny(unsafe_code)]", "unsafe"));
/// ```
pub fn has_word(line: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

fn find(text: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let found = text[from..]
        .windows(needle.len())
        .position(|window| window == needle);
    found.map(|at| from + at)
}

/// End of the item that starts behind an attribute: past its `;`, or past its closing brace.
fn item_end(text: &[u8], from: usize) -> usize {
    let mut depth = 0usize;
    for (at, byte) in text.iter().enumerate().skip(from) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return at + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Where the comment or literal that starts at `at` ends, if one does.
fn literal_or_comment_end(chars: &[char], at: usize) -> Option<usize> {
    let next = chars.get(at + 1).copied();
    match chars[at] {
        '/' if next == Some('/') => Some(position(chars, at, |c| c == '\n')),
        '/' if next == Some('*') => Some(block_comment_end(chars, at)),
        '"' => Some(string_end(chars, at)),
        'r' if !in_word(chars, at) => raw_string_end(chars, at),
        '\'' => char_end(chars, at),
        _ => None,
    }
}

/// First place at or after `from` that `stop` accepts, or the end.
fn position(chars: &[char], from: usize, stop: impl Fn(char) -> bool) -> usize {
    let end = chars.len();
    (from..end).find(|&i| stop(chars[i])).unwrap_or(end)
}

/// Whether the character before `at` continues a word; the `b` of `br"…"` does not.
fn in_word(chars: &[char], at: usize) -> bool {
    let word_before = |at: usize| {
        at.checked_sub(1)
            .is_some_and(|i| chars[i].is_alphanumeric() || chars[i] == '_')
    };
    let byte_string = at > 0 && chars[at - 1] == 'b' && !word_before(at - 1);
    word_before(at) && !byte_string
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let (mut i, mut depth) = (at, 0);
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (i, depth) = (i + 2, depth + 1),
            ('*', '/') => (i, depth) = (i + 2, depth - 1),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let quote = position(chars, at + 1, |c| c != '#');
    if chars.get(quote) != Some(&'"') {
        return None;
    }
    let n_hashes = quote - at - 1;
    let closes = |i: usize| {
        chars[i] == '"' && chars[i + 1..].iter().take_while(|c| **c == '#').count() >= n_hashes
    };
    let end = (quote + 1..chars.len()).find(|&i| closes(i));
    Some(end.map_or(chars.len(), |end| end + 1 + n_hashes))
}

/// A character literal; `None` for a lifetime or label, which has no closing quote where one would be.
fn char_end(chars: &[char], at: usize) -> Option<usize> {
    if chars.get(at + 1) == Some(&'\\') {
        return Some((position(chars, at + 3, |c| c == '\'') + 1).min(chars.len()));
    }
    (chars.get(at + 2) == Some(&'\'')).then_some(at + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `X` marks what must go, everything else must stay.
    fn check(source: &str) {
        let code = code(source);
        assert!(!code.contains('X'), "{source:?} became {code:?}");
        assert_eq!(
            code.matches("keep").count(),
            source.matches("keep").count(),
            "{code:?}"
        );
        assert_eq!(code.lines().count(), source.lines().count());
    }

    #[test]
    fn comments_and_literals_go_and_code_stays() {
        check("keep // X\nkeep");
        check("keep /* X /* X */ X\n X */ keep");
        check(r#"keep("X \" X // X"); keep"#);
        check("keep(r#\"X \" X\"#); keep");
        check("keep(br\"X\\\"); keep");
        check(r"keep('X', '\'', '\u{58}', b'X'); keep");
        check("keep<'keep>(&'keep str) // X");
        check("keep: loop { break 'keep } /// X");
        check("var\"X\" keep");
        check("keep \"X\n\nX\" keep");
    }

    #[test]
    fn unfinished_literals_end_with_the_file() {
        for source in [
            "\"abc",
            "'\\",
            "r#\"abc\"",
            "/* abc",
            "// abc",
            "'",
            "r",
            "r##",
        ] {
            assert_eq!(
                code(source).chars().count(),
                source.chars().count(),
                "{source:?}"
            );
        }
    }

    #[test]
    fn what_only_tests_see_is_not_shipped() {
        let source = "a();\n#[cfg(test)]\nmod tests {\n  fn f() { X }\n}\nb();\n\
                      #[cfg(test)]\nuse X::{X};\nc();\n#[cfg(all(test, loom))]\nmod X { X }\nd();";
        let code = shipped_code(source);
        let left: String = code.split_whitespace().collect();
        // A `use` with braces ends at its brace; the `;` it leaves behind is harmless.
        assert_eq!(left.replace(";;", ";"), "a();b();c();d();", "{code}");
        assert_eq!(code.lines().count(), source.lines().count());
    }
}
