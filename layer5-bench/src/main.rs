//! `layer5-bench`: the quality suites and the tools that drive a real service, on the command line.
//! In: a suite's or a tool's name and its arguments. Out: a table, or JSON. Called from: people and continuous integration.

mod optimize_suite;
mod patterns_suite;
mod tuning_suites;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use layer5_bench::Failure;
use layer5_bench::backup::{self, BackupArgs};
use layer5_bench::crash::{self, CrashArgs};
use layer5_bench::dashboards::{self, command::DashboardsArgs};
use layer5_bench::load::{self, LoadArgs};
use layer5_bench::ops_lab::{self, OpsLabArgs};
use layer5_bench::overload::{self, OverloadArgs};
use layer5_bench::powercut::{self, PowercutArgs};
use layer5_bench::quality::auc::{average_precision, rows_in};
use layer5_bench::quality::labelled::{self, Labelled, Watched};
use layer5_bench::quality::nab::{Corpus, NabScore, PROFILES};
use layer5_bench::quality::quiet::{self, CHANCES, Quiet};
use layer5_bench::recover::{self, RecoverArgs};
use layer5_bench::scale::{self, ScaleArgs};
use layer5_bench::scrapes::{self, ScrapesArgs};
use layer5_patterns::WatchConfig;
use serde_json::{Value, json};

#[derive(Debug, Parser)]
#[command(
    name = "layer5-bench",
    about = "Quality suites and load and fault tools for Layer5",
    version
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure how good the analyses are, on labelled data.
    Quality {
        #[command(subcommand)]
        suite: Suite,
    },
    /// Feed a service and say what it cost, beside a peer fed the same.
    Load(Tool<LoadArgs>),
    /// Kill a service at its k-th system call and at random, and audit what it promised.
    Crash(Tool<CrashArgs>),
    /// Cut the power of a service's disk, and audit what it promised.
    Powercut(Tool<PowercutArgs>),
    /// Give a service more than it can take, and watch it refuse.
    Overload(Tool<OverloadArgs>),
    /// Scrape the metrics page very often and see what it costs the senders.
    Scrapes(Tool<ScrapesArgs>),
    /// Draw the dashboards from what a Prometheus has.
    Dashboards(Tool<DashboardsArgs>),
    /// Prometheus, Alertmanager, a receiver, redis, Layer5 and its fleet on loopback.
    OpsLab(Tool<OpsLabArgs>),
    /// Back a busy service up, lose its disk, bring it back.
    Backup(Tool<BackupArgs>),
    /// Kill a service with a long log and time its return.
    Recover(Tool<RecoverArgs>),
    /// Feed a million series and a thousand, and compare memory and throughput.
    Scale(Tool<ScaleArgs>),
}

/// A tool's own arguments, and how it prints.
#[derive(Debug, clap::Args)]
struct Tool<A: clap::Args> {
    #[command(flatten)]
    args: A,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Suite {
    /// NAB scores of the alarms of the default watch, all three profiles.
    Alarms(Source),
    /// Area under the precision-recall curve of the dense score, mean over the labelled series.
    Scores(Source),
    /// What the default watch says of planted series in which nothing happens.
    FalseAlarms(Planted),
    /// Gains of the optimizer over random search on known functions, beside its peers.
    Optimize(optimize_suite::OptimizeArguments),
    #[command(flatten)]
    Tuning(tuning_suites::TuningSuite),
    #[command(flatten)]
    Patterns(patterns_suite::PatternsSuite),
}

#[derive(Debug, clap::Args)]
struct Planted {
    /// Series, over all kinds.
    #[arg(long, default_value_t = 10_000)]
    series: u64,
    /// Days of five-minute samples each.
    #[arg(long, default_value_t = 84)]
    days: usize,
    /// Seed of the first series.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct Source {
    /// Folder with `data/<category>/*.csv` and `windows.json`.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Quality { suite } => match &suite {
            Suite::Alarms(source) => run(source, alarms).map_err(Failure::new),
            Suite::Scores(source) => run(source, scores).map_err(Failure::new),
            Suite::FalseAlarms(planted) => {
                let (table, json) = false_alarms(planted);
                print(planted.output, &table, &json).map_err(Failure::new)
            }
            Suite::Optimize(arguments) => optimize_suite::run(arguments).map_err(Failure::new),
            Suite::Tuning(suite) => tuning_suites::run(suite).map_err(Failure::new),
            Suite::Patterns(suite) => patterns_suite::run(suite).map_err(Failure::new),
        },
        Command::Load(tool) => tool.run(load::run),
        Command::Crash(tool) => tool.run(crash::run),
        Command::Powercut(tool) => tool.run(powercut::run),
        Command::Scrapes(tool) => tool.run(scrapes::run),
        Command::Dashboards(tool) => tool.run(dashboards::command::run),
        Command::OpsLab(tool) => tool.run(ops_lab::run),
        Command::Overload(tool) => tool.run(overload::run),
        Command::Backup(tool) => tool.run(backup::run),
        Command::Recover(tool) => tool.run(recover::run),
        Command::Scale(tool) => tool.run(scale::run),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            let _ = writeln!(io::stderr(), "layer5-bench: {message}");
            code.into()
        }
    }
}

impl<A: clap::Args> Tool<A> {
    fn run(&self, tool: fn(&A) -> Result<(String, Value), Failure>) -> Result<(), Failure> {
        let (table, json) = tool(&self.args)?;
        print(self.output, &table, &json).map_err(Failure::new)
    }
}

fn print(output: Output, table: &str, json: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Output::Table => out.write_all(table.as_bytes()),
        Output::Json => writeln!(out, "{json:#}"),
    }
}

type Report = fn(&[(Labelled, Watched)]) -> (String, Value);

fn run(source: &Source, report: Report) -> io::Result<()> {
    let (table, json) = report(&watch_all(&source.data)?);
    print(source.output, &table, &json)
}

fn watch_all(dir: &Path) -> io::Result<Vec<(Labelled, Watched)>> {
    let series = labelled::read(dir)
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", dir.display())))?;
    Ok(series
        .into_iter()
        .map(|s| {
            let watched = labelled::watch(&s);
            (s, watched)
        })
        .collect())
}

/// NAB at the default threshold and at the best one, and with each category left out of the choice.
fn alarms(all: &[(Labelled, Watched)]) -> (String, Value) {
    let corpus = corpus_of(all, |_| true);
    // Every alarm of the default watch counts; rows without one have strength 0.
    let fixed: Vec<NabScore> = PROFILES
        .iter()
        .map(|p| corpus.at(p, f64::MIN_POSITIVE))
        .collect();
    let swept: Vec<NabScore> = PROFILES.iter().map(|p| corpus.sweep(p)).collect();

    let mut categories: Vec<&str> = all.iter().map(|(s, _)| category(s)).collect();
    categories.dedup();
    let left_out: Vec<Value> = categories
        .iter()
        .map(|&c| {
            let chosen = corpus_of(all, |s| category(s) != c).sweep(&PROFILES[0]);
            let held = corpus_of(all, |s| category(s) == c).at(&PROFILES[0], chosen.threshold);
            // A category without windows has no scale.
            let score = held.score.is_finite().then_some(held.score);
            json!({"category": c, "threshold": chosen.threshold, "score": score})
        })
        .collect();

    let mut table = format!(
        "{:<10} {:>12} {:>12} {:>12}\n",
        "profile", "default", "swept", "threshold"
    );
    for (at, best) in fixed.iter().zip(&swept) {
        table += &format!(
            "{:<10} {:>12.2} {:>12.2} {:>12.4}\n",
            at.profile, at.score, best.score, best.threshold
        );
    }
    table += "standard score of a category, threshold from the others:\n";
    for row in &left_out {
        table += &format!("  {row}\n");
    }
    (
        table,
        json!({"suite": "alarms", "series": all.len(), "default": fixed, "swept": swept, "left_out": left_out}),
    )
}

fn scores(all: &[(Labelled, Watched)]) -> (String, Value) {
    let mut areas = Vec::new();
    let mut table = String::new();
    for (series, watched) in all {
        let positive = rows_in(series.values.len(), &series.windows);
        if let Some(area) = average_precision(&watched.scores, &positive) {
            table += &format!("{:<64} {area:.3}\n", series.name);
            areas.push((series.name.as_str(), area));
        }
    }
    let mean = areas.iter().map(|a| a.1).sum::<f64>() / areas.len().max(1) as f64;
    table += &format!("{:<64} {mean:.4}\n", "mean AUC-PR");
    let rows: Vec<Value> = areas
        .iter()
        .map(|(name, area)| json!({"series": name, "auc_pr": area}))
        .collect();
    (
        table,
        json!({"suite": "scores", "mean_auc_pr": mean, "series": rows}),
    )
}

/// Rates on quiet series, by kind, beside what is stated; the chance of a score beyond its promise is given as a ratio to
/// the promise.
fn false_alarms(planted: &Planted) -> (String, Value) {
    let each = planted.series.div_ceil(Quiet::ALL.len() as u64);
    let stated = quiet::Stated::of(&WatchConfig::default());
    let head = format!(
        "{:<16} {:>8} {:>5} {:>10} {:>5} {:>14} {:>8} {:>10} {:>8}   score beyond 0.9, 0.99, 0.999 (ratio to the promise)\n",
        "per day",
        "alarms",
        "ratio",
        "anomalies",
        "ratio",
        "change points",
        "trends",
        "flatlines",
        "cycles"
    );
    let mut tables = quiet::PHASES.map(|(name, day)| format!("{name}, from day {day} on:\n{head}"));
    let mut rows = Vec::new();
    for kind in Quiet::ALL {
        let phases = quiet::watch(kind, each, planted.days, planted.seed);
        for (phase, said) in phases.iter().enumerate().filter(|(_, said)| said.days > 0) {
            let (line, row) = quiet_row(kind, said, &stated);
            tables[phase] += &line;
            rows.push(json!({"phase": quiet::PHASES[phase].0, "row": row}));
        }
    }
    let table = format!(
        "stated per series and day: {} alarms, {:.5} anomalies\n{}",
        stated.alarms,
        stated.anomalies,
        tables.concat()
    );
    let json = json!({"suite": "false-alarms", "series": each * Quiet::ALL.len() as u64,
        "days": planted.days, "seed": planted.seed, "stated": stated, "kinds": rows});
    (table, json)
}

fn quiet_row(kind: Quiet, said: &quiet::Said, stated: &quiet::Stated) -> (String, Value) {
    let name = json!(kind);
    let [alarms, anomalies, changes, trends, flatlines, cycles] = [
        said.alarms,
        said.anomalies,
        said.change_points,
        said.trends,
        said.flatlines,
        said.cycles,
    ]
    .map(|count| said.per_day(count));
    let (of_alarms, of_anomalies) = (alarms / stated.alarms, anomalies / stated.anomalies);
    let ratios: Vec<f64> = said
        .beyond
        .iter()
        .zip(CHANCES)
        .map(|(&count, chance)| count as f64 / said.scored.max(1) as f64 / chance)
        .collect();
    let line = format!(
        "{:<16} {alarms:>8.4} {of_alarms:>5.2} {anomalies:>10.5} {of_anomalies:>5.2} {changes:>14.5} {trends:>8.5} {flatlines:>10.5} {cycles:>8.5}   {ratios:.2?}\n",
        name.as_str().unwrap_or_default(),
    );
    let row = json!({"kind": name, "counts": said, "score_ratios": ratios,
        "of_stated": {"alarms": of_alarms, "anomalies": of_anomalies},
        "per_series_per_day": {"alarms": alarms, "anomalies": anomalies, "change_points": changes,
        "trends": trends, "flatlines": flatlines, "cycles": cycles}});
    (line, row)
}

fn corpus_of(all: &[(Labelled, Watched)], keep: impl Fn(&Labelled) -> bool) -> Corpus {
    let mut corpus = Corpus::default();
    for (series, watched) in all.iter().filter(|(s, _)| keep(s)) {
        corpus.push(&watched.alarms, &series.windows);
    }
    corpus
}

fn category(series: &Labelled) -> &str {
    series.name.split('/').next().unwrap_or_default()
}
