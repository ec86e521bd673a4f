//! The labelled series of the Numenta Anomaly Benchmark, and the default watch run over them.
//! In: a folder with `data/<category>/*.csv` and `windows.json`. Out: series with windows; alarm strengths and scores.
//! Called from: `quality/nab`, `quality/auc`.
//! Invariants: files are read in the order of their names; windows are inclusive row indices.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use layer5_core::Timestamp;
use layer5_patterns::{Watch, WatchConfig};

/// One labelled series.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// `category/file.csv`.
    pub name: String,
    /// Times of the rows.
    pub at: Vec<Timestamp>,
    /// Values of the rows.
    pub values: Vec<f64>,
    /// Inclusive row windows round each anomaly, in time order.
    pub windows: Vec<(usize, usize)>,
}

/// What the default watch made of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// Alarm strength of each row, 0 where there was none.
    pub alarms: Vec<f64>,
    /// Dense score of each row, 0 during warm-up.
    pub scores: Vec<f64>,
}

/// Reads every series that `windows.json` names.
///
/// # Errors
/// When a file is missing or a row, a time or a window can't be read; the message names it.
pub fn read(dir: &Path) -> io::Result<Vec<Labelled>> {
    let text = fs::read_to_string(dir.join("windows.json"))?;
    let windows: BTreeMap<String, Vec<(String, String)>> = serde_json::from_str(&text)?;
    windows
        .into_iter()
        .map(|(name, spans)| read_one(dir, name, &spans))
        .collect()
}

fn read_one(dir: &Path, name: String, spans: &[(String, String)]) -> io::Result<Labelled> {
    let text = fs::read_to_string(dir.join("data").join(&name))?;
    let (mut at, mut values) = (Vec::new(), Vec::new());
    for line in text.lines().skip(1) {
        let row = line
            .split_once(',')
            .and_then(|(time, value)| Some((time_of(time)?, value.trim().parse().ok()?)));
        let (time, value) = row.ok_or_else(|| bad(&name, line))?;
        at.push(time);
        values.push(value);
    }
    let row_of = |time: &str| {
        let time = time_of(time)?;
        at.iter().position(|&t| t == time)
    };
    let windows = spans
        .iter()
        .map(|(first, last)| {
            row_of(first)
                .zip(row_of(last))
                .ok_or_else(|| bad(&name, first))
        })
        .collect::<io::Result<_>>()?;
    Ok(Labelled {
        name,
        at,
        values,
        windows,
    })
}

/// Whole seconds of `2014-04-01 00:00:00[.000000]`, taken as UTC.
fn time_of(text: &str) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(&format!("{}Z", text.get(..19)?))
}

fn bad(name: &str, what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{name}: can't read {what:?}"),
    )
}

/// Runs the default watch over one series; what it reports is what users get.
pub fn watch(series: &Labelled) -> Watched {
    let config = WatchConfig::default();
    let mut state = Watch::new(&config);
    let mut watched = Watched {
        alarms: Vec::with_capacity(series.values.len()),
        scores: Vec::with_capacity(series.values.len()),
    };
    for (&value, &at) in series.values.iter().zip(&series.at) {
        let update = state.update(value, at, &config);
        watched
            .alarms
            .push(update.alarm.map_or(0.0, |a| a.strength));
        watched.scores.push(update.score.score().unwrap_or(0.0));
    }
    watched
}
