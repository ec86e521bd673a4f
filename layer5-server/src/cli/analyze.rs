//! `layer5 analyze`: every pattern in a series, for people or programs.
//! In: a CSV file. Out: a report with a picture, or JSON; with `--scores` one row per input row, each from the past
//! alone.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::Args;
use comfy_table::{Table, presets};
use layer5_core::{Finding, PatternEvent};
use layer5_patterns::{Analysis, AnalysisConfig, Outcome, Watch, WatchConfig, analyze};
use serde_json::json;

use super::{
    Failure, Output, finish, print,
    series_file::{self, SeriesFile},
    sparkline::sparkline,
};

/// Columns of the picture.
const PICTURE_WIDTH: usize = 100;

/// Find every pattern in a series: `timestamp,value` CSV
///
/// Times may be RFC 3339, without zone (UTC is meant), dates, or seconds since the epoch; a value that is no number is
/// a gap.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5 analyze cpu.csv\n  \
    layer5 analyze cpu.csv --output json | jq .summary\n  \
    layer5 analyze cpu.csv --scores scores.csv    one row per input row, from the past alone")]
pub(super) struct AnalyzeArgs {
    /// The series
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// Write `timestamp,value,anomaly_score,alarm` for every row: one causal pass
    #[arg(long, value_name = "OUT.csv")]
    scores: Option<PathBuf>,
    /// A report for people, or one JSON object for programs
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) fn run(args: &AnalyzeArgs) -> ExitCode {
    finish(report(args))
}

fn report(args: &AnalyzeArgs) -> Result<(), Failure> {
    let series = series_file::read(&args.file)?;
    if let Some(path) = &args.scores {
        let failed =
            |e: std::io::Error| Failure::new(1, format!("cannot write {}: {e}", path.display()));
        std::fs::write(path, scores(&series)).map_err(failed)?;
        let _closed = writeln!(
            std::io::stderr(),
            "layer5: {} rows written to {}",
            series.at.len(),
            path.display()
        );
        return Ok(());
    }
    let analysis = analyze(&series.at, &series.values, &AnalysisConfig::default());
    match args.output {
        Output::Json => print(&json_of(&series, &analysis)),
        Output::Text => print(&text_of(&series, &analysis)),
    }
    Ok(())
}

/// One causal pass: the dense score in `0 ..= 1`, and the strength of an alarm raised at the row, else 0.
fn scores(series: &SeriesFile) -> String {
    let config = WatchConfig::default();
    let mut watch = Watch::new(&config);
    let mut out = String::from("timestamp,value,anomaly_score,alarm\n");
    for ((stamp, &at), &value) in series.stamps.iter().zip(&series.at).zip(&series.values) {
        let update = watch.update(value, at, &config);
        let score = match update.score {
            Outcome::Score(score) => score,
            _ => 0.0,
        };
        let alarm = update.alarm.map_or(0.0, |alarm| alarm.strength);
        out.push_str(&format!("{stamp},{value},{score},{alarm}\n"));
    }
    out
}

fn json_of(series: &SeriesFile, analysis: &Analysis) -> String {
    let patterns = analysis
        .findings
        .iter()
        .zip(1..)
        .map(|(finding, id)| PatternEvent {
            id,
            agent_id: String::new(),
            metric: series.name.clone(),
            explanation: finding.explain(&series.name, ""),
            finding: *finding,
        });
    let object = json!({
        "series": series.name,
        "from": series.at.first(),
        "to": series.at.last(),
        "summary": analysis.summary,
        "patterns": patterns.collect::<Vec<_>>(),
    });
    format!("{object:#}\n")
}

fn text_of(series: &SeriesFile, analysis: &Analysis) -> String {
    let summary = &analysis.summary;
    let mark = |i: usize| {
        let is = |list: &[usize], mark: char| list.binary_search(&i).is_ok().then_some(mark);
        is(&summary.change_points, '|').or_else(|| is(&summary.anomalies, '!'))
    };
    let (line, marks) = sparkline(&series.values, PICTURE_WIDTH, mark);
    let (first, last) = (series.at.first(), series.at.last());
    let span = first
        .zip(last)
        .map_or(String::new(), |(a, b)| format!("{a} to {b}"));
    let gaps = series.values.iter().filter(|v| v.is_nan()).count();
    let trend = summary.trend.map_or_else(
        || "too short to tell".to_owned(),
        |t| format!("{:+.4} per sample (p = {:.3})", t.slope, t.p_value),
    );
    let periods = match summary.periods.as_slice() {
        [] => "none".to_owned(),
        periods => {
            let each: Vec<String> = periods.iter().map(|p| format!("{p} samples")).collect();
            each.join(", ")
        }
    };
    let forecast: Vec<String> = summary
        .forecast
        .iter()
        .take(5)
        .map(|v| format!("{v:.4}"))
        .collect();
    format!(
        "{name}: {n} samples, {gaps} gaps, {span}\n\n{line}\n{marks}\n\n\
         trend          {trend}\n\
         period         {periods}\n\
         change points  {changes}   (| in the picture)\n\
         anomalies      {anomalies}   (! in the picture)\n\
         next values    {forecast}\n\n{table}\n",
        name = series.name,
        n = series.at.len(),
        changes = summary.change_points.len(),
        anomalies = summary.anomalies.len(),
        forecast = forecast.join(", "),
        table = findings_table(&series.name, &analysis.findings),
    )
}

fn findings_table(name: &str, findings: &[Finding]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["kind", "start", "end", "score", "what"]);
    for finding in findings {
        table.add_row([
            finding.kind.to_string(),
            finding.start.to_string(),
            finding.end.to_string(),
            format!("{:.2}", finding.score),
            finding.explain(name, ""),
        ]);
    }
    table
}
