//! The suites of the batch analyses on the command line.
//! In: arguments. Out: a table, or JSON. Called from: `main`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use layer5_bench::quality::{change_points, forecast, periods, speed};
use serde_json::Value;

#[derive(Debug, Subcommand)]
pub(crate) enum PatternsSuite {
    /// F1 and cover of change points on annotated series, and on planted ones.
    ChangePoints(Annotated),
    /// MASE, sMAPE, OWA and interval coverage of forecasts.
    Forecast(Families),
    /// Share of planted seasons that are told exactly.
    Periods(Planted),
    /// Time of each analysis, beside stored answers of peers.
    Speed(Print),
}

#[derive(Debug, Args)]
pub(crate) struct Annotated {
    /// Folder with `data/<name>.json` and `annotations.json`, as of the Turing Change Point Dataset.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct Families {
    /// Folder with `data/<category>/*.csv` and `windows.json`; without it only generated families.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Series of each generated family.
    #[arg(long, default_value_t = 50)]
    count: u64,
    #[command(flatten)]
    print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct Planted {
    /// Series of each cell of the table.
    #[arg(long, default_value_t = 20)]
    count: u64,
    #[command(flatten)]
    print: Print,
}

#[derive(Debug, Args)]
pub(crate) struct Print {
    /// How to print.
    #[arg(long, value_enum, default_value_t = Form::Table)]
    output: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

pub(crate) fn run(suite: &PatternsSuite) -> io::Result<()> {
    let (told, how) = match suite {
        PatternsSuite::ChangePoints(of) => (change_points::report(&of.data)?, &of.print),
        PatternsSuite::Forecast(of) => (forecast::report(of.data.as_deref(), of.count)?, &of.print),
        PatternsSuite::Periods(of) => (periods::report(of.count), &of.print),
        PatternsSuite::Speed(how) => (speed::report()?, how),
    };
    print(&told, how)
}

fn print((table, json): &(String, Value), how: &Print) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match how.output {
        Form::Table => out.write_all(table.as_bytes()),
        Form::Json => writeln!(out, "{json:#}"),
    }
}
