//! A series in a CSV file: `timestamp,value`, in any of the forms that people have.
//! In: a path. Out: times and values, row by row; a value that is no number is a gap (NaN).
//! Invariants: rows keep their order and number, so that scores can stand beside them.

use std::{fs::File, io::BufReader, path::Path};

use layer5_core::Timestamp;

use super::Failure;

/// One series of a file.
#[derive(Debug, Default)]
pub(super) struct SeriesFile {
    /// The first column as it stands in the file, for scripts that join by it.
    pub(super) stamps: Vec<String>,
    /// The times.
    pub(super) at: Vec<Timestamp>,
    /// The values; NaN is a gap.
    pub(super) values: Vec<f64>,
    /// The name of the value's column.
    pub(super) name: String,
}

/// Reads `timestamp,value`; other columns are passed over.
pub(super) fn read(path: &Path) -> Result<SeriesFile, Failure> {
    let shown = path.display();
    let file =
        File::open(path).map_err(|e| Failure::new(66, format!("cannot open {shown}: {e}")))?;
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(BufReader::new(file));
    let headers = reader
        .headers()
        .map_err(|e| Failure::new(65, format!("{shown}: {e}")))?
        .clone();
    let column = |names: &[&str], otherwise: usize| {
        headers
            .iter()
            .position(|h| names.contains(&h.to_ascii_lowercase().as_str()))
            .unwrap_or(otherwise)
    };
    let time_column = column(&["timestamp", "time", "date", "ds"], 0);
    let value_column = column(&["value", "y"], usize::from(time_column == 0));
    if headers.len() < 2 {
        let detail = "the header must name a time and a value, such as `timestamp,value`";
        return Err(Failure::new(65, format!("{shown}:1: {detail}")));
    }
    let mut series = SeriesFile {
        name: headers.get(value_column).unwrap_or("value").to_owned(),
        ..SeriesFile::default()
    };
    for record in reader.records() {
        let record = record.map_err(|e| Failure::new(65, format!("{shown}: {e}")))?;
        let line = record.position().map_or(0, csv::Position::line);
        let stamp = record.get(time_column).unwrap_or("");
        let at = time(stamp).ok_or_else(|| {
            let forms = "RFC 3339, `2026-11-23 12:00:00`, `2026-11-23`, or seconds since the epoch";
            Failure::new(
                65,
                format!("{shown}:{line}: `{stamp}` is no time; use {forms}"),
            )
        })?;
        let value = record
            .get(value_column)
            .and_then(|text| text.parse::<f64>().ok());
        series.stamps.push(stamp.to_owned());
        series.at.push(at);
        series
            .values
            .push(value.filter(|v| v.is_finite()).unwrap_or(f64::NAN));
    }
    if series.at.is_empty() {
        return Err(Failure::new(
            65,
            format!("{shown}: no rows behind the header"),
        ));
    }
    Ok(series)
}

/// A time in any of the forms of files: RFC 3339, the same without zone (UTC), a date, seconds or milliseconds.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    if let Some(at) = Timestamp::parse_rfc3339(text) {
        return Some(at);
    }
    if let Ok(number) = text.parse::<f64>() {
        // Seconds stay below 10^11 until the year 5138; what is larger is milliseconds.
        let seconds = if number.abs() >= 1e11 {
            number / 1e3
        } else {
            number
        };
        return Timestamp::from_seconds(seconds);
    }
    let full = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        _ => format!("{text}Z"),
    };
    Timestamp::parse_rfc3339(&full.replace('/', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_many_forms() {
        let noon = Timestamp::from_millis(1_795_435_200_000);
        for text in [
            "2026-11-23T12:00:00Z",
            "2026-11-23 12:00:00",
            "2026-11-23 12:00",
            "2026/11/23 12:00:00",
            "1795435200",
            "1795435200000",
        ] {
            assert_eq!(time(text), Some(noon), "{text}");
        }
        assert_eq!(
            time("2026-11-23").map(|t| t.millis()),
            Some(1_795_392_000_000)
        );
        assert_eq!(time("yesterday"), None);
        assert_eq!(time(""), None);
    }
}
