//! Series in a CSV file: times and values, row by row, in any of the forms that people have.
//! In: a path and what the caller knows of the columns. Out: [`Row`]s one at a time, so that a file of any size can be
//! read in the memory of a small one.
//! Invariants: rows keep their order and number, so that scores can stand beside them; a value that is no number is a
//! gap (NaN) and counted; a time that can't be read is an error with its line.

mod layout;
mod lines;
mod time_form;

use std::{
    cell::Cell,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    rc::Rc,
};

use layer5_core::Timestamp;
use layout::{Layout, TimeSource};
use lines::{Cells, Lines};
pub(super) use time_form::{DateOrder, time};

use super::Failure;

/// Rows that are looked at to tell what the columns are.
const PEEKED_ROWS: usize = 1000;
/// Bytes of cells after which no more rows are looked at.
const PEEKED_BYTES: usize = 4 << 20;
/// Bytes read from the file at once.
const READ_BYTES: usize = 1 << 18;

/// What the caller knows of a file.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// The column of times, by name or number from 1.
    pub(super) time: Option<String>,
    /// Seconds between rows of a file without times.
    pub(super) every: Option<f64>,
    /// The columns of values, by name or number; `all`; empty: `value`, otherwise all.
    pub(super) columns: Vec<String>,
    /// Which of day and month comes first.
    pub(super) dates: Option<DateOrder>,
}

/// One row.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    /// Its line in the file.
    pub(super) line: u64,
    /// The time as it stands in the file, for scripts that join by it.
    pub(super) stamp: String,
    /// The time.
    pub(super) at: Timestamp,
    /// A value for each of the columns; NaN is a gap.
    pub(super) values: Vec<f64>,
}

/// Cells that were no numbers, of one column.
#[derive(Clone, Debug, Default)]
pub(super) struct NotNumbers {
    /// How many.
    pub(super) n: u64,
    /// The first: line and text.
    pub(super) first: Option<(u64, String)>,
}

/// A file that is being read.
pub(super) struct SeriesFile {
    shown: String,
    lines: Lines,
    layout: Layout,
    peeked: std::collections::VecDeque<(u64, Cells)>,
    cells: Cells,
    n_rows: u64,
    n_bytes: Option<u64>,
    read_bytes: Rc<Cell<u64>>,
    /// Per column: cells that are neither a number nor one of the words for a gap.
    pub(super) not_numbers: Vec<NotNumbers>,
    /// Rows with fewer cells than columns are needed, and the first of them.
    pub(super) short_rows: (u64, u64),
}

impl SeriesFile {
    /// Opens a file and tells what its columns are; `-` is standard input.
    ///
    /// # Errors
    /// 66 for no file, 65 for a file that holds no series or leaves open which: with line and way out.
    pub(super) fn open(path: &Path, hints: &Hints) -> Result<Self, Failure> {
        let shown = path.display().to_string();
        let bad = |what: String| Failure::new(65, format!("{shown}:{what}"));
        let (input, n_bytes, read_bytes) = input(path)?;
        let mut lines = Lines::new(input);
        let mut head = Vec::new();
        let mut cells = Cells::default();
        let mut n_cell_bytes = 0;
        while head.len() <= PEEKED_ROWS
            && n_cell_bytes <= PEEKED_BYTES
            && lines.next(&mut cells).map_err(bad)?
        {
            n_cell_bytes += cells.n_bytes();
            head.push((lines.number(), cells.clone()));
        }
        if head.is_empty() {
            return Err(bad(" the file is empty".into()));
        }
        let layout = Layout::of(&head, hints, lines.decimal_comma()).map_err(bad)?;
        let mut peeked = std::collections::VecDeque::from(head);
        if layout.has_header {
            peeked.pop_front();
        }
        if peeked.is_empty() {
            return Err(bad("1: no rows behind the header".into()));
        }
        Ok(Self {
            shown,
            lines,
            not_numbers: vec![NotNumbers::default(); layout.columns.len()],
            layout,
            peeked,
            cells,
            n_rows: 0,
            n_bytes,
            read_bytes,
            short_rows: (0, 0),
        })
    }

    /// Names of the columns of values.
    pub(super) fn names(&self) -> Vec<String> {
        let columns = self.layout.columns.iter();
        columns.map(|column| column.name.clone()).collect()
    }

    /// Columns of numbers that are not read, because the caller chose others or there are too many.
    pub(super) fn left_out(&self) -> &[String] {
        &self.layout.left_out
    }

    /// Bytes of the file, where known, and how many of them were read.
    pub(super) fn progress(&self) -> (Option<u64>, u64) {
        (self.n_bytes, self.read_bytes.get())
    }

    /// Reads the next row into `row`; `false` at the end.
    ///
    /// # Errors
    /// 65 with line, column and value of what can't be read.
    pub(super) fn next(&mut self, row: &mut Row) -> Result<bool, Failure> {
        row.line = match self.peeked.pop_front() {
            Some((line, cells)) => {
                self.cells = cells;
                line
            }
            None => {
                let more = self.lines.next(&mut self.cells);
                if !more.map_err(|what| Failure::new(65, format!("{}:{what}", self.shown)))? {
                    return Ok(false);
                }
                self.lines.number()
            }
        };
        row.stamp.clear();
        match &self.layout.time {
            TimeSource::Every(seconds) => {
                row.at = Timestamp::EPOCH.plus_seconds(self.n_rows as f64 * seconds);
                row.stamp.push_str(&self.n_rows.to_string());
            }
            TimeSource::Column { index, name } => {
                let stamp = self.cells.get(*index).unwrap_or("");
                row.at = time_form::read(stamp, self.layout.dates).ok_or_else(|| {
                    let (shown, line, forms) = (&self.shown, row.line, time_form::FORMS);
                    let what = format!("{shown}:{line}: `{stamp}` in column `{name}` is no time");
                    Failure::new(65, format!("{what}; use {forms}"))
                })?;
                row.stamp.push_str(stamp);
            }
        }
        self.n_rows += 1;
        row.values.clear();
        let mut short = false;
        for (column, not_numbers) in self.layout.columns.iter().zip(&mut self.not_numbers) {
            let text = self.cells.get(column.index);
            short |= text.is_none();
            let value = text.map_or(Some(f64::NAN), |text| layout::value(text, &self.layout));
            if value.is_none() {
                not_numbers.n += 1;
                let first = || (row.line, text.unwrap_or("").to_owned());
                not_numbers.first.get_or_insert_with(first);
            }
            row.values.push(value.unwrap_or(f64::NAN));
        }
        if short {
            let first = if self.short_rows.0 == 0 {
                row.line
            } else {
                self.short_rows.1
            };
            self.short_rows = (self.short_rows.0 + 1, first);
        }
        Ok(true)
    }
}

/// A reader that tells how far it is.
struct Counted<R> {
    inner: R,
    n: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.n.set(self.n.get() + n as u64);
        Ok(n)
    }
}

type Input = (Box<dyn BufRead>, Option<u64>, Rc<Cell<u64>>);

fn input(path: &Path) -> Result<Input, Failure> {
    let shown = path.display();
    let read_bytes = Rc::new(Cell::new(0));
    let n = Rc::clone(&read_bytes);
    if path == Path::new("-") {
        let inner = std::io::stdin();
        let input = BufReader::with_capacity(READ_BYTES, Counted { inner, n });
        return Ok((Box::new(input), None, read_bytes));
    }
    let inner =
        File::open(path).map_err(|e| Failure::new(66, format!("cannot open {shown}: {e}")))?;
    let meta = inner.metadata().ok();
    if meta.as_ref().is_some_and(std::fs::Metadata::is_dir) {
        return Err(Failure::new(
            66,
            format!("{shown} is a folder; name a CSV file"),
        ));
    }
    let mut input = BufReader::with_capacity(READ_BYTES, Counted { inner, n });
    let head = input
        .fill_buf()
        .map_err(|e| Failure::new(66, format!("cannot read {shown}: {e}")))?;
    let input: Box<dyn BufRead> = if head.starts_with(&[0x1f, 0x8b]) {
        let unpacked = flate2::bufread::MultiGzDecoder::new(input);
        Box::new(BufReader::with_capacity(READ_BYTES, unpacked))
    } else {
        Box::new(input)
    };
    Ok((input, meta.map(|m| m.len()), read_bytes))
}
