//! How far a long file has been read, on standard error where a person looks at it.
//! Invariants: nothing is written where standard error is no terminal, or before a second's worth of rows.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// Rows before anything is shown: about a second.
const SHOWN_FROM_ROWS: u64 = 500_000;

/// A bar that appears when reading takes long.
pub(super) struct Progress {
    n_bytes: Option<u64>,
    bar: Option<ProgressBar>,
    wanted: bool,
}

impl Progress {
    /// Nothing is shown yet.
    pub(super) fn new(n_bytes: Option<u64>) -> Self {
        Self {
            n_bytes,
            bar: None,
            wanted: std::io::stderr().is_terminal(),
        }
    }

    /// So many bytes and rows have been read.
    pub(super) fn at(&mut self, bytes: u64, rows: u64) {
        if !self.wanted || rows < SHOWN_FROM_ROWS {
            return;
        }
        let n_bytes = self.n_bytes;
        let bar = self.bar.get_or_insert_with(|| match n_bytes {
            Some(n) => {
                let template =
                    "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left, {msg}";
                ProgressBar::new(n).with_style(style(template))
            }
            None => {
                ProgressBar::new_spinner().with_style(style("{bytes} read, {bytes_per_sec}, {msg}"))
            }
        });
        bar.set_position(bytes);
        bar.set_message(format!("{rows} rows"));
    }

    /// The file is read.
    pub(super) fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant")
}
