//! What the columns of a file are: which one holds the times, which ones values, and whether the first row names them.
//! In: the first rows and the caller's hints. Out: a [`Layout`], or a line number with what is missing and the way out.
//! Invariants: columns keep their order in the file; nothing is guessed where two readings are possible.

use super::time_form::DateOrder;
use super::{Hints, lines::Cells, time_form};

/// Columns of values that are read when none is named.
const COLUMNS_MAX: usize = 16;
/// Names by which a column of times is known.
const TIME_NAMES: [&str; 9] = [
    "timestamp",
    "time",
    "datetime",
    "date",
    "ds",
    "ts",
    "@timestamp",
    "recorded_at",
    "date_time",
];
/// Names by which the one column of values is known.
const VALUE_NAMES: [&str; 2] = ["value", "y"];
/// Words that stand for no value.
const GAPS: [&str; 9] = ["", "nan", "na", "n/a", "null", "none", "-", "?", "nil"];
/// Numbers from which a column without a telling name may be seconds since the epoch: the year 1973.
const EPOCH_MIN: f64 = 1e8;

/// A column of values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) index: usize,
}

/// Where times come from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TimeSource {
    /// A column.
    Column { name: String, index: usize },
    /// Rows are so many seconds apart.
    Every(f64),
}

/// What the columns are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    pub(super) has_header: bool,
    pub(super) time: TimeSource,
    pub(super) columns: Vec<Column>,
    pub(super) left_out: Vec<String>,
    pub(super) dates: Option<DateOrder>,
    pub(super) decimal_comma: bool,
}

/// The number in a cell; NaN for one of the words for a gap; `None` for any other text.
pub(super) fn value(text: &str, layout: &Layout) -> Option<f64> {
    number(text, layout.decimal_comma)
}

fn number(text: &str, decimal_comma: bool) -> Option<f64> {
    if let Ok(value) = text.parse::<f64>() {
        // Infinity and what does not fit count as text: such a cell is a mistake, not a gap.
        return (value.is_finite() || value.is_nan()).then_some(value);
    }
    if GAPS.contains(&text.to_ascii_lowercase().as_str()) {
        return Some(f64::NAN);
    }
    let commas = decimal_comma && text.contains(',') && !text.contains('.');
    let value = commas.then(|| text.replacen(',', ".", 1).parse::<f64>().ok())??;
    value.is_finite().then_some(value)
}

impl Layout {
    /// Tells the layout from the first rows, each with its line.
    pub(super) fn of(
        head: &[(u64, Cells)],
        hints: &Hints,
        decimal_comma: bool,
    ) -> Result<Self, String> {
        let (first_line, first) = &head[0];
        let has_header = !is_data(first, decimal_comma);
        let rows = &head[usize::from(has_header)..];
        let names: Vec<String> = if has_header {
            first.iter().map(str::to_owned).collect()
        } else {
            (1..=first.len()).map(|i| format!("column {i}")).collect()
        };
        let table = Table {
            names: &names,
            rows,
            line: *first_line,
            decimal_comma,
        };
        let time = table.time(hints)?;
        let time_index = match &time {
            TimeSource::Column { index, .. } => Some(*index),
            TimeSource::Every(_) => None,
        };
        let dates = match (hints.dates, time_index) {
            (None, Some(index)) => {
                let cells = rows.iter().filter_map(|(_, cells)| cells.get(index));
                time_form::order_shown(cells).map_err(|what| format!("{first_line}: {what}"))?
            }
            (order, _) => order,
        };
        let (columns, left_out) = table.values(hints, time_index)?;
        Ok(Self {
            has_header,
            time,
            columns,
            left_out,
            dates,
            decimal_comma,
        })
    }
}

/// Whether a first row is data rather than names: it holds a written date, or nothing but numbers.
fn is_data(cells: &Cells, decimal_comma: bool) -> bool {
    let is_number = |text: &str| number(text, decimal_comma).is_some();
    let is_date = |text: &str| {
        text.len() >= 8
            && text.starts_with(|c: char| c.is_ascii_digit())
            && !is_number(text)
            && (time_form::read(text, Some(DateOrder::DayFirst)).is_some()
                || time_form::read(text, Some(DateOrder::MonthFirst)).is_some())
    };
    cells.iter().any(is_date)
        || (cells.iter().all(is_number) && cells.iter().any(|c| c.parse::<f64>().is_ok()))
}

/// The first rows with their names.
struct Table<'a> {
    names: &'a [String],
    rows: &'a [(u64, Cells)],
    line: u64,
    decimal_comma: bool,
}

impl Table<'_> {
    /// The column that a person means by a name, or a number from 1.
    fn find(&self, asked: &str) -> Result<usize, String> {
        let same = |name: &String| name.eq_ignore_ascii_case(asked);
        let by_name = self.names.iter().position(same);
        let by_number = || {
            let number: usize = asked.parse().ok()?;
            (1..=self.names.len()).contains(&number).then(|| number - 1)
        };
        by_name.or_else(by_number).ok_or_else(|| {
            let (line, names) = (self.line, self.names.join("`, `"));
            format!("{line}: no column `{asked}`; there are `{names}`")
        })
    }

    fn time(&self, hints: &Hints) -> Result<TimeSource, String> {
        let column = |index: usize| TimeSource::Column {
            name: self.names[index].clone(),
            index,
        };
        if let Some(asked) = &hints.time {
            return self.find(asked).map(column);
        }
        if let Some(seconds) = hints.every {
            return Ok(TimeSource::Every(seconds));
        }
        let known = |name: &String| TIME_NAMES.contains(&name.to_ascii_lowercase().as_str());
        let by_name = self.names.iter().position(known);
        let alone = self.names.len() == 1;
        let by_content =
            || (0..self.names.len()).find(|&index| !alone && self.looks_like_times(index));
        by_name.or_else(by_content).map(column).ok_or_else(|| {
            format!(
                "{}: no column of times, such as `timestamp,value`; name it with --time COLUMN, \
                 or say with --every SECONDS how far the rows are apart",
                self.line
            )
        })
    }

    /// Whether every cell is a time, and not just any number.
    fn looks_like_times(&self, index: usize) -> bool {
        let cells = || self.rows.iter().filter_map(|(_, cells)| cells.get(index));
        let numbers: Vec<f64> = cells().filter_map(|c| c.parse().ok()).collect();
        if !numbers.is_empty() {
            let counts = numbers.len() > 1
                && numbers.windows(2).all(|w| w[1] > w[0])
                && numbers.iter().all(|x| x.fract() == 0.0);
            let epoch = numbers.iter().all(|x| *x >= EPOCH_MIN);
            return numbers.len() == cells().count() && (epoch || counts);
        }
        let is_time = |text: &str| {
            time_form::read(text, Some(DateOrder::DayFirst)).is_some()
                || time_form::read(text, Some(DateOrder::MonthFirst)).is_some()
        };
        cells().next().is_some() && cells().all(is_time)
    }

    fn values(
        &self,
        hints: &Hints,
        time: Option<usize>,
    ) -> Result<(Vec<Column>, Vec<String>), String> {
        let named = |index: usize| Column {
            name: self.names[index].clone(),
            index,
        };
        let all: Vec<usize> = (0..self.names.len())
            .filter(|&index| Some(index) != time && self.holds_numbers(index))
            .collect();
        let every = hints.columns.iter().any(|c| c.eq_ignore_ascii_case("all"));
        let mut chosen = if !hints.columns.is_empty() && !every {
            let found = hints.columns.iter().map(|asked| self.find(asked));
            found.collect::<Result<Vec<usize>, String>>()?
        } else {
            let usual =
                |i: &&usize| VALUE_NAMES.contains(&self.names[**i].to_ascii_lowercase().as_str());
            match all.iter().find(usual) {
                Some(&index) if !every => vec![index],
                _ => all.clone(),
            }
        };
        chosen.truncate(COLUMNS_MAX);
        if chosen.is_empty() {
            let (line, names) = (self.line, self.names.join("`, `"));
            return Err(format!(
                "{line}: no column of numbers beside the times (columns: `{names}`); \
                 a header and rows such as `timestamp,value` are wanted"
            ));
        }
        let left_out = all.iter().filter(|index| !chosen.contains(index));
        let left_out = left_out.map(|&index| self.names[index].clone()).collect();
        Ok((chosen.into_iter().map(named).collect(), left_out))
    }

    /// Whether most of the cells with any text are numbers. A column without rows or of gaps alone may be one.
    fn holds_numbers(&self, index: usize) -> bool {
        let cells = self.rows.iter().filter_map(|(_, cells)| cells.get(index));
        let (mut numbers, mut texts) = (0, 0);
        for cell in cells {
            match number(cell, self.decimal_comma) {
                Some(_) => numbers += 1,
                None => texts += 1,
            }
        }
        // A name that says so is believed as long as anything bears it out.
        let name = self.names[index].to_ascii_lowercase();
        numbers >= texts || (numbers > 0 && VALUE_NAMES.contains(&name.as_str()))
    }
}
