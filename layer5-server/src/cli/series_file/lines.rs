//! The lines of a file as cells, in bounded memory whatever the file is.
//! In: any reader. Out: one line's cells at a time. A cell may be quoted; a quoted cell ends on its own line.
//! Invariants: no line of more than [`LINE_BYTES_MAX`] bytes is held; a byte order mark and a carriage return are no part
//! of a cell.

use std::io::{BufRead, Read};

/// Longest line that is read, bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Splits a text into lines and lines into cells.
pub(super) struct Lines {
    input: Box<dyn BufRead>,
    delimiter: u8,
    number: u64,
    line: Vec<u8>,
    first: bool,
}

impl Lines {
    /// The lines of `input`. The delimiter is what stands most often in the first line: `,`, `;`, a tab or `|`.
    pub(super) fn new(input: Box<dyn BufRead>) -> Self {
        Self {
            input,
            delimiter: b',',
            number: 0,
            line: Vec::new(),
            first: true,
        }
    }

    /// Whether `,` marks the decimals of a number.
    pub(super) fn decimal_comma(&self) -> bool {
        self.delimiter != b','
    }

    /// Number of the line last read, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Reads the next line that is neither empty nor a comment (`#`) before the first row.
    ///
    /// # Errors
    /// What stands in the way of reading, with the line.
    pub(super) fn next(&mut self, cells: &mut Cells) -> Result<bool, String> {
        loop {
            self.line.clear();
            let mut part = (&mut self.input).take(LINE_BYTES_MAX + 1);
            let n = part
                .read_until(b'\n', &mut self.line)
                .map_err(|e| format!("{}: {e}", self.number + 1))?;
            if n == 0 {
                return Ok(false);
            }
            self.number += 1;
            if self.line.len() as u64 > LINE_BYTES_MAX {
                return Err(format!(
                    "{}: the line is longer than {LINE_BYTES_MAX} bytes; is this a CSV file?",
                    self.number
                ));
            }
            if self.number == 1 {
                self.mark()?;
            }
            let line = self.line.trim_ascii();
            if line.is_empty() || (self.first && line.starts_with(b"#")) {
                continue;
            }
            if std::mem::take(&mut self.first) {
                self.delimiter = delimiter_of(line);
            }
            // A delimiter at an end is a cell too, so a tab there must stay.
            let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            return match cells.fill(line, self.delimiter) {
                Ok(()) => Ok(true),
                Err(what) => Err(format!("{}: {what}", self.number)),
            };
        }
    }

    /// Takes a byte order mark off, and refuses what is no text of bytes.
    fn mark(&mut self) -> Result<(), String> {
        if self.line.starts_with(&[0xff, 0xfe]) || self.line.starts_with(&[0xfe, 0xff]) {
            return Err("1: the file is UTF-16; save it as UTF-8".into());
        }
        if self.line.starts_with(b"\xef\xbb\xbf") {
            self.line.drain(..3);
        }
        if self.line.contains(&0) {
            return Err("1: this is no text; a CSV file is wanted".into());
        }
        Ok(())
    }
}

fn delimiter_of(line: &[u8]) -> u8 {
    let count = |d: u8| line.iter().filter(|b| **b == d).count();
    // A decimal comma stands beside `;`, so `;` wins over any number of commas.
    if count(b';') > 0 {
        return b';';
    }
    let most = [b'|', b'\t', b','].into_iter().max_by_key(|d| count(*d));
    most.unwrap_or(b',')
}

/// The cells of one line.
#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    text: String,
    ends: Vec<usize>,
}

impl Cells {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of their text.
    pub(super) fn n_bytes(&self) -> usize {
        self.text.len()
    }

    /// The cell at `index` without white space round it; `None` where the line has ended.
    pub(super) fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(self.text[start..end].trim())
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|i| self.get(i))
    }

    fn fill(&mut self, line: &[u8], delimiter: u8) -> Result<(), String> {
        self.text.clear();
        self.ends.clear();
        let text = String::from_utf8_lossy(line);
        let delimiter = char::from(delimiter);
        if !text.contains('"') {
            for cell in text.split(delimiter) {
                self.push(cell);
            }
            return Ok(());
        }
        let mut rest = Some(text.as_ref());
        while let Some(text) = rest {
            let start = text.trim_start_matches(' ');
            if !start.starts_with('"') {
                let end = text.find(delimiter).unwrap_or(text.len());
                self.push(&text[..end]);
                rest = text.get(end + 1..);
                continue;
            }
            let mut cell = String::new();
            let mut inside = &start[1..];
            let after = loop {
                let Some(end) = inside.find('"') else {
                    return Err("a quote is opened and never closed".into());
                };
                cell.push_str(&inside[..end]);
                inside = &inside[end + 1..];
                match inside.strip_prefix('"') {
                    Some(more) => {
                        cell.push('"');
                        inside = more;
                    }
                    None => break inside,
                }
            };
            self.push(&cell);
            let end = after.find(delimiter);
            rest = end.map(|end| &after[end + 1..]);
        }
        Ok(())
    }

    fn push(&mut self, cell: &str) {
        self.text.push_str(cell);
        self.ends.push(self.text.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &'static [u8]) -> Result<Vec<Vec<String>>, String> {
        let mut lines = Lines::new(Box::new(text));
        let (mut cells, mut rows) = (Cells::default(), Vec::new());
        while lines.next(&mut cells)? {
            rows.push(cells.iter().map(str::to_owned).collect());
        }
        Ok(rows)
    }

    fn check(text: &'static [u8], expected: &[&[&str]]) {
        let rows = all(text).expect("a readable text");
        assert_eq!(rows, expected, "{}", String::from_utf8_lossy(text));
    }

    #[test]
    fn lines_become_cells() {
        check(b"a,b\r\n1,2\n\n3,", &[&["a", "b"], &["1", "2"], &["3", ""]]);
        check(b"\xef\xbb\xbfa;b\n1,5;2\n", &[&["a", "b"], &["1,5", "2"]]);
        check(b"a\tb\n\t2\n", &[&["a", "b"], &["", "2"]]);
        check(b"# by hand\na,b\n#1,2\n", &[&["a", "b"], &["#1", "2"]]);
        check(
            b"\"a, b\",\"say \"\"hi\"\"\" , c\n",
            &[&["a, b", "say \"hi\"", "c"]],
        );
        check(b"", &[]);
        check(b"\n\n", &[]);
    }

    #[test]
    fn what_is_no_csv_is_refused_with_its_line() {
        for (text, part) in [
            (&b"a,b\n\"1,2\n3,4\n"[..], "2: a quote"),
            (b"\xff\xfea\0,\0", "UTF-16"),
            (b"\x7fELF\0\0\n", "1: this is no text"),
        ] {
            assert!(all(text).is_err_and(|e| e.contains(part)), "{part}");
        }
        let long = vec![b'x'; 3 << 20].leak();
        assert!(all(long).is_err_and(|e| e.contains("longer than")));
    }
}
