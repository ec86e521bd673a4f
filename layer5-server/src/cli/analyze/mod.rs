//! `layer5 analyze`: every pattern in the series of a file, for people, pages and programs.
//! In: a CSV file of any size. Out: a report with a picture, a page to open, or tables for scripts; with `--scores` one
//! row per input row, each from the past alone.
//! Invariants: a file is read once, in memory that does not grow with it; rows that are not in order of time are put in
//! order where the file is short enough, and counted otherwise.

mod progress;
mod sparkline;
mod tables;
mod text;

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use progress::Progress;

use super::{
    Failure, finish, print,
    series_file::{DateOrder, Hints, Row, SeriesFile},
};
use crate::{
    config::checked_templates as templates_of,
    report_page::series_page,
    series_report::{Gathering, Judged, ROWS_HELD_MAX, SeriesReport},
    store::TemplateSettings,
};

/// Values that are forecast when no number is asked for.
const HORIZON: usize = 24;
/// Most values that are forecast.
const HORIZON_MAX: usize = 100_000;

/// Find every pattern in the series of a CSV file
///
/// One column of times, one or more of values. Times may be RFC 3339, without zone (UTC is meant), dates, or seconds to
/// nanoseconds since the epoch; a value that is no number is a gap. A missing header, other delimiters, decimal commas
/// and .gz are understood. A file of any size is read once in bounded memory; `-` is standard input.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5 analyze cpu.csv\n  \
    layer5 analyze cpu.csv --html cpu.html               a page with everything drawn, to open in a browser\n  \
    layer5 analyze host.csv --column cpu --column mem    two of its columns\n  \
    layer5 analyze cpu.csv --output json | jq .summary\n  \
    layer5 analyze cpu.csv --change-points               CSV for scripts; also --periods, --forecast 48\n  \
    layer5 analyze cpu.csv --scores scores.csv           one row per input row, from the past alone")]
pub(super) struct AnalyzeArgs {
    /// The file, plain or .gz; `-` for standard input
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// Write a page that needs no network: the series with everything found in it
    #[arg(long, value_name = "OUT.html")]
    html: Option<PathBuf>,
    /// Write `timestamp,value,anomaly_score,alarm` for every row: one causal pass
    #[arg(long, value_name = "OUT.csv")]
    scores: Option<PathBuf>,
    /// Print the change points alone
    #[arg(long)]
    change_points: bool,
    /// Print the periods alone
    #[arg(long)]
    periods: bool,
    /// Print the next H values with their 95 % interval alone
    #[arg(long, value_name = "H")]
    forecast: Option<usize>,
    /// A report for people, or JSON or CSV for programs [default: text; csv for a table alone]
    #[arg(long, value_enum)]
    output: Option<Form>,
    /// A column of values, by name or number; may be given more than once, `all` takes all [default: `value`, else all]
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    column: Vec<String>,
    /// Shapes to look for in every column: `[[template]]` tables, as the service takes them (docs/formats.md)
    #[arg(long, value_name = "FILE.toml")]
    templates: Option<PathBuf>,
    /// The column of times, by name or number [default: told by its name or content]
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// The file has no times: its rows are so many seconds apart
    #[arg(
        long,
        value_name = "SECONDS",
        conflicts_with = "time",
        allow_negative_numbers = true
    )]
    every: Option<f64>,
    /// Whether 03/04/2026 is 3 April or March 4, where the file does not show it
    #[arg(long, value_enum, value_name = "ORDER")]
    dates: Option<DateOrder>,
}

/// How the result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    Text,
    /// One object, or a list of them for several series
    Json,
    /// Rows
    Csv,
}

pub(super) fn run(args: &AnalyzeArgs) -> ExitCode {
    finish(report(args))
}

fn report(args: &AnalyzeArgs) -> Result<(), Failure> {
    let horizon = args.forecast.unwrap_or(HORIZON);
    if !(1..=HORIZON_MAX).contains(&horizon) {
        return Err(Failure::new(
            2,
            format!("--forecast {horizon}: 1 to {HORIZON_MAX} values can be forecast"),
        ));
    }
    if let Some(seconds) = args.every.filter(|s| !(*s > 0.0 && *s < 1e9)) {
        return Err(Failure::new(
            2,
            format!("--every {seconds}: more than 0 and less than 1e9 seconds"),
        ));
    }
    let hints = Hints {
        time: args.time.clone(),
        every: args.every,
        columns: args.column.clone(),
        dates: args.dates,
    };
    let mut file = SeriesFile::open(&args.file, &hints)?;
    let mut scores = args
        .scores
        .as_deref()
        .map(|path| Scores::create(path, &file, args))
        .transpose()?;
    let templates = templates(args.templates.as_deref())?;
    let (gathered, mut notes) = read(&mut file, &templates, scores.as_mut())?;
    if let Some(scores) = scores {
        scores.finish()?;
    }
    let tables = args.change_points || args.periods || args.forecast.is_some();
    if args.scores.is_some() && args.html.is_none() && args.output.is_none() && !tables {
        return Ok(());
    }
    let reports: Vec<SeriesReport> = gathered.into_iter().map(|g| g.finish(horizon)).collect();
    notes.extend(noticed(&reports));
    if let Some(path) = &args.html {
        let name = args
            .file
            .file_name()
            .unwrap_or(args.file.as_os_str())
            .to_string_lossy();
        let failed =
            |e: std::io::Error| Failure::new(1, format!("cannot write {}: {e}", path.display()));
        std::fs::write(path, series_page(&name, &reports, &notes)).map_err(failed)?;
        say(&format!("the page is in {}", path.display()));
    }
    let chosen = tables::Chosen {
        change_points: args.change_points,
        periods: args.periods,
        forecast: args.forecast.is_some(),
    };
    match (args.output, tables) {
        (Some(Form::Json), true) => print(&tables::json(&reports, chosen)),
        (Some(Form::Json), false) => print(&tables::everything(&reports, &notes)),
        (None | Some(Form::Csv), true) => print(&tables::csv(&reports, chosen)?),
        (Some(Form::Csv), false) => print(&tables::findings(&reports)),
        (Some(Form::Text), _) => print(&text::of(&reports, &notes)),
        (None, false) if args.html.is_none() => print(&text::of(&reports, &notes)),
        (None, false) => {}
    }
    Ok(())
}

/// The templates of a file, checked as the service checks them.
fn templates(path: Option<&Path>) -> Result<Vec<TemplateSettings>, Failure> {
    let Some(path) = path else {
        return Ok(Vec::new());
    };
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(66, format!("cannot read {name}: {error}")))?;
    let found = templates_of(&name.to_string(), &text).map_err(|e| Failure::new(65, e))?;
    if found.is_empty() {
        return Err(Failure::new(65, format!("{name}: no [[template]] in it")));
    }
    Ok(found.iter().map(TemplateSettings::from).collect())
}

fn say(words: &str) {
    let _closed = writeln!(std::io::stderr(), "layer5: {words}");
}

/// Reads the whole file: what was gathered of each column, and what was noticed on the way.
fn read(
    file: &mut SeriesFile,
    templates: &[TemplateSettings],
    mut scores: Option<&mut Scores>,
) -> Result<(Vec<Gathering>, Vec<String>), Failure> {
    let names = file.names();
    let mut gathered: Vec<Gathering> = names
        .iter()
        .map(|name| Gathering::new(name, templates))
        .collect();
    let mut notes = Vec::new();
    let mut progress = Progress::new(file.progress().0);
    let mut row = Row::default();
    let mut head: Vec<Row> = Vec::new();
    let mut whole = true;
    while whole && head.len() < ROWS_HELD_MAX {
        whole = file.next(&mut row)?;
        if whole {
            head.push(row.clone());
        }
    }
    let all_read = !whole;
    let mut order: Vec<usize> = (0..head.len()).collect();
    if let Some(i) = (1..head.len()).find(|&i| head[i].at < head[i - 1].at) {
        let line = head[i].line;
        if all_read {
            order.sort_by_key(|&i| head[i].at);
            notes.push(format!(
                "line {line} goes back in time: the rows were put in order"
            ));
        } else {
            notes.push(format!(
                "line {line} goes back in time, and the file is too long to be put in order here: rows older than the \
                 newest are not judged; sort the file by time first"
            ));
        }
    }
    let mut judged = vec![Judged::default(); names.len()];
    let mut judged_head = vec![Vec::new(); if scores.is_some() { head.len() } else { 0 }];
    for &i in &order {
        let each = gathered.iter_mut().zip(&head[i].values);
        let each = each.map(|(series, &value)| series.push(head[i].at, value));
        if scores.is_some() {
            judged_head[i] = each.collect();
        } else {
            each.for_each(drop);
        }
    }
    if let Some(scores) = scores.as_deref_mut() {
        for (row, judged) in head.iter().zip(&judged_head) {
            scores.write(row, judged)?;
        }
    }
    drop((head, judged_head));
    let mut n: u64 = order.len() as u64;
    while !all_read && file.next(&mut row)? {
        for ((series, &value), judged) in gathered.iter_mut().zip(&row.values).zip(&mut judged) {
            *judged = series.push(row.at, value);
        }
        if let Some(scores) = scores.as_deref_mut() {
            scores.write(&row, &judged)?;
        }
        n += 1;
        if n.is_multiple_of(8192) {
            progress.at(file.progress().1, n);
        }
    }
    progress.done();
    notes.extend(seen_in_file(file, &names));
    Ok((gathered, notes))
}

/// What the reader noticed.
fn seen_in_file(file: &SeriesFile, names: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, not_numbers) in names.iter().zip(&file.not_numbers) {
        if let Some((line, text)) = &not_numbers.first {
            let n = not_numbers.n;
            notes.push(format!(
                "column `{name}`: {n} cells are no finite numbers and count as gaps; the first is `{text}` in line {line}"
            ));
        }
    }
    let (n, first) = file.short_rows;
    if n > 0 {
        notes.push(format!(
            "{n} rows are short, the first in line {first}: what is missing counts as a gap"
        ));
    }
    if !file.left_out().is_empty() {
        notes.push(format!(
            "columns left out: {}; choose with --column",
            file.left_out().join(", ")
        ));
    }
    notes
}

/// What the series themselves are worth noting for.
fn noticed(reports: &[SeriesReport]) -> Vec<String> {
    let Some(report) = reports.first() else {
        return Vec::new();
    };
    let mut notes = Vec::new();
    if report.n_same_time > 0 {
        notes.push(format!(
            "{} rows have the time of the row before them",
            report.n_same_time
        ));
    }
    if report.n_late > 0 {
        notes.push(format!(
            "{} rows are older than the newest before them and were not judged",
            report.n_late
        ));
    }
    notes
}

/// The file of `--scores`, written while the rows come.
struct Scores {
    path: PathBuf,
    out: BufWriter<File>,
    /// Names of the columns, where there are several: they stand in the rows then.
    names: Vec<String>,
    n: u64,
}

impl Scores {
    fn create(path: &Path, file: &SeriesFile, args: &AnalyzeArgs) -> Result<Self, Failure> {
        let names = file.names();
        if names.len() > 1 && args.column.is_empty() {
            return Err(Failure::new(
                65,
                format!(
                    "{}: columns {}: choose one with --column for --scores, or --column all for rows that name their \
                     series",
                    args.file.display(),
                    names.join(", ")
                ),
            ));
        }
        let created = File::create(path);
        let out = created
            .map_err(|e| Failure::new(1, format!("cannot write {}: {e}", path.display())))?;
        let mut scores = Self {
            path: path.to_owned(),
            out: BufWriter::new(out),
            names,
            n: 0,
        };
        let series = if scores.names.len() > 1 {
            "series,"
        } else {
            ""
        };
        let written = writeln!(scores.out, "timestamp,{series}value,anomaly_score,alarm");
        scores.check(written)?;
        Ok(scores)
    }

    fn write(&mut self, row: &Row, judged: &[Judged]) -> Result<(), Failure> {
        let stamp = tables::cell(&row.stamp);
        for (i, (value, Judged { score, alarm })) in row.values.iter().zip(judged).enumerate() {
            let written = match self.names.len() {
                1 => writeln!(self.out, "{stamp},{value},{score},{alarm}"),
                _ => writeln!(
                    self.out,
                    "{stamp},{},{value},{score},{alarm}",
                    tables::cell(&self.names[i])
                ),
            };
            self.check(written)?;
            self.n += 1;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Failure> {
        let flushed = self.out.flush();
        self.check(flushed)?;
        say(&format!(
            "{} rows written to {}",
            self.n,
            self.path.display()
        ));
        Ok(())
    }

    fn check(&self, written: std::io::Result<()>) -> Result<(), Failure> {
        written.map_err(|e| Failure::new(1, format!("cannot write {}: {e}", self.path.display())))
    }
}
