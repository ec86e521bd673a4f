//! `layer5 replay`: a recording goes through the same pipeline again, as fast as it goes or at a chosen speed.
//! In: NDJSON of reports in either shape, or CSV with a time, perhaps an agent, and a column per metric. Out: progress,
//! and what was found.
//! Without `--url` a service of its own takes the recording, in a temporary folder, and accepts it however old it is.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use layer5_core::Timestamp;
use serde_json::{Value, json};

use super::{Failure, Output, finish, print, runtime, series_file};
use crate::{
    app, clock,
    config::{Config, LogFormat},
    logging,
};

/// Reports in one request.
const BATCH_LEN: usize = 500;
/// Tries at a request that is answered 429 or 503.
const TRIES_MAX: usize = 60;

/// Send a recording through the pipeline
///
/// FILE is NDJSON (`.ndjson`, `.jsonl`, `.json`: one report a line, either shape) or CSV (`timestamp`, perhaps
/// `agent_id` and `task_id`, and a column per metric).
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5 replay reports.ndjson                   as fast as it goes, then what was found\n  \
    layer5 replay fleet.csv --speed 10x            ten times as fast as it was recorded\n  \
    layer5 replay today.ndjson --url http://127.0.0.1:8080    into a running service")]
pub(super) struct ReplayArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How many times as fast as it was recorded, such as 10x; as fast as it goes unless given
    #[arg(long, value_name = "N", value_parser = speed)]
    speed: Option<f64>,
    /// A running service, instead of one for this replay
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Text for people, or one JSON object for programs
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

fn speed(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('x').unwrap_or(text).parse::<f64>();
    match number {
        Ok(speed) if speed > 0.0 && speed.is_finite() => Ok(speed),
        _ => Err(format!(
            "`{text}` is no speed, use a number above 0 such as 10x"
        )),
    }
}

pub(super) fn run(args: &ReplayArgs) -> ExitCode {
    finish(runtime().and_then(|runtime| runtime.block_on(replay(args))))
}

/// What became of the recording.
#[derive(Debug, Default, serde::Serialize)]
struct Sum {
    sent: u64,
    accepted: u64,
    duplicates: u64,
    rejected: u64,
    first_rejection: Option<Value>,
    seconds: f64,
}

async fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    let oldest = first_time(&args.file)?;
    let folder = tempfile::tempdir().map_err(|e| Failure::new(1, e))?;
    let running = match &args.url {
        Some(_) => None,
        None => Some(start(folder.path(), oldest).await?),
    };
    let url = match (&args.url, &running) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(running)) => format!("http://{}", running.api),
        (None, None) => return Err(Failure::new(1, "no service to send to")),
    };
    let began = Instant::now();
    let sent = send_all(args, &url).await;
    let mut sum = sent?;
    sum.seconds = began.elapsed().as_secs_f64();
    if running.is_some() {
        settle(&url).await?;
    }
    let status = get(&format!("{url}/api/v1/status")).await?;
    let patterns = get(&format!("{url}/api/v1/patterns?limit={LISTED_MAX}")).await?;
    match args.output {
        Output::Json => {
            let object =
                json!({ "replay": sum, "status": status, "patterns": patterns["patterns"] });
            print(&format!("{object:#}\n"));
        }
        Output::Text => print(&text(&sum, &status, &patterns)),
    }
    match running {
        Some(running) => running.stop().await.map_err(|e| Failure::new(74, e)),
        None => Ok(()),
    }
}

async fn start(folder: &Path, oldest: Timestamp) -> Result<app::Running, Failure> {
    let mut config = Config::default();
    config.http.listen.set_port(0);
    config.metrics.listen.set_port(0);
    config.store.data_dir = folder.to_owned();
    config.log.level = "warn".into();
    config.log.format = LogFormat::Text;
    // Text on standard error alone: nothing is left to be written at its end.
    let _log = logging::start(&config.log).map_err(|e| Failure::new(78, e))?;
    let age = clock::now().seconds_since(oldest);
    config.limits.max_age_seconds = age.max(0.0) + 86_400.0;
    // What a recording holds is old and is to be shown all the same.
    let days = config.limits.max_age_seconds / 86_400.0;
    config.store.raw_days = days.max(config.store.raw_days);
    config.store.aggregate_days = days.max(config.store.aggregate_days);
    app::start(config).await.map_err(|e| Failure::new(1, e))
}

/// One report of the recording, as a line of NDJSON, and its time if pace needs it.
struct Line {
    bytes: Vec<u8>,
    at: Option<Timestamp>,
}

type Lines = Box<dyn Iterator<Item = Result<Line, Failure>> + Send>;

fn lines(path: &Path) -> Result<(Lines, u64), Failure> {
    let shown = path.display().to_string();
    let file =
        File::open(path).map_err(|e| Failure::new(66, format!("cannot open {shown}: {e}")))?;
    let size = file.metadata().map_or(0, |m| m.len());
    let csv = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("csv"));
    let lines: Lines = if csv {
        csv_lines(shown, file)?
    } else {
        ndjson_lines(shown, file)
    };
    Ok((lines, size))
}

fn ndjson_lines(shown: String, file: File) -> Lines {
    let lines = BufReader::new(file).split(b'\n');
    Box::new(
        lines
            .filter(|line| !line.as_ref().is_ok_and(|l| l.trim_ascii().is_empty()))
            .map(move |line| {
                let bytes = line.map_err(|e| Failure::new(66, format!("{shown}: {e}")))?;
                let report = serde_json::from_slice::<Value>(&bytes).unwrap_or(Value::Null);
                let time = ["recorded_at", "timestamp"]
                    .iter()
                    .find_map(|key| report.get(*key));
                let at = time.and_then(|time| serde_json::from_value(time.clone()).ok());
                Ok(Line { bytes, at })
            }),
    )
}

fn csv_lines(shown: String, file: File) -> Result<Lines, Failure> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(BufReader::new(file));
    let bad = |e: csv::Error| Failure::new(65, format!("{shown}: {e}"));
    let headers: Vec<String> = reader
        .headers()
        .map_err(bad)?
        .iter()
        .map(str::to_owned)
        .collect();
    let column = |name: &str| headers.iter().position(|h| h.eq_ignore_ascii_case(name));
    let time_column = column("timestamp")
        .or_else(|| column("recorded_at"))
        .or_else(|| column("time"));
    let Some(time_column) = time_column else {
        let detail = "the header must name `timestamp`, and may name `agent_id` and `task_id`";
        return Err(Failure::new(65, format!("{shown}:1: {detail}")));
    };
    let (agent_column, task_column) = (column("agent_id"), column("task_id"));
    Ok(Box::new(reader.into_records().enumerate().map(
        move |(row, record)| {
            let record = record.map_err(|e| Failure::new(65, format!("{shown}: {e}")))?;
            let stamp = record.get(time_column).unwrap_or("");
            let line = row + 2;
            let at = series_file::time(stamp)
                .ok_or_else(|| Failure::new(65, format!("{shown}:{line}: `{stamp}` is no time")))?;
            let text = |column: Option<usize>| column.and_then(|c| record.get(c));
            let metrics: serde_json::Map<String, Value> = headers
                .iter()
                .enumerate()
                .filter(|(c, _)| {
                    *c != time_column && Some(*c) != agent_column && Some(*c) != task_column
                })
                .filter_map(|(c, name)| {
                    let number: f64 = record.get(c)?.parse().ok()?;
                    number.is_finite().then(|| (name.clone(), json!(number)))
                })
                .collect();
            let report = json!({
                "agent_id": text(agent_column).unwrap_or("replay"),
                "task_id": text(task_column).map_or_else(|| format!("row-{line}"), str::to_owned),
                "timestamp": at,
                "metrics": metrics,
            });
            Ok(Line {
                bytes: report.to_string().into_bytes(),
                at: Some(at),
            })
        },
    )))
}

/// The oldest time among the first thousand reports: recordings are in order, more or less.
fn first_time(path: &Path) -> Result<Timestamp, Failure> {
    let (lines, _) = lines(path)?;
    let mut oldest: Option<Timestamp> = None;
    for line in lines.take(1000) {
        let at = line?.at;
        oldest = match (oldest, at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    oldest.ok_or_else(|| {
        Failure::new(
            65,
            format!("{}: no report with a time in it", path.display()),
        )
    })
}

async fn send_all(args: &ReplayArgs, url: &str) -> Result<Sum, Failure> {
    let (lines, size) = lines(&args.file)?;
    let bar = ProgressBar::new(size);
    bar.set_style(
        ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}  {msg}  {eta} left")
            .expect("a legal template"),
    );
    let client = reqwest::Client::new();
    let target = format!("{url}/kpi");
    let mut sum = Sum::default();
    let mut batch = Vec::new();
    let mut n_batch = 0;
    let mut pace: Option<(Instant, Timestamp)> = None;
    for line in lines {
        let line = line?;
        if let (Some(speed), Some(at)) = (args.speed, line.at) {
            let (began, first) = *pace.get_or_insert((Instant::now(), at));
            let due = began + Duration::from_secs_f64((at.seconds_since(first) / speed).max(0.0));
            if due > Instant::now() {
                send(&client, &target, &mut batch, &mut n_batch, &mut sum).await?;
                tokio::time::sleep_until(due.into()).await;
            }
        }
        bar.inc(line.bytes.len() as u64 + 1);
        batch.extend_from_slice(&line.bytes);
        batch.push(b'\n');
        n_batch += 1;
        if n_batch >= BATCH_LEN {
            send(&client, &target, &mut batch, &mut n_batch, &mut sum).await?;
            bar.set_message(format!("{} reports", sum.sent));
        }
    }
    send(&client, &target, &mut batch, &mut n_batch, &mut sum).await?;
    bar.finish_and_clear();
    Ok(sum)
}

/// Sends what has gathered, again and again while the service says that it is full.
async fn send(
    client: &reqwest::Client,
    target: &str,
    batch: &mut Vec<u8>,
    n_batch: &mut usize,
    sum: &mut Sum,
) -> Result<(), Failure> {
    if batch.is_empty() {
        return Ok(());
    }
    for _ in 0..TRIES_MAX {
        let request = client
            .post(target)
            .header("content-type", "application/x-ndjson");
        let response = request
            .body(batch.clone())
            .send()
            .await
            .map_err(|e| Failure::new(69, format!("{target} does not answer: {e}")))?;
        let status = response.status();
        if status == 429 || status == 503 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            continue;
        }
        let answer: Value = response.json().await.map_err(|e| {
            Failure::new(69, format!("{target} answered {status} and no JSON: {e}"))
        })?;
        if !status.is_success() {
            return Err(Failure::new(
                69,
                format!("{target} answered {status}: {}", answer["detail"]),
            ));
        }
        sum.sent += *n_batch as u64;
        sum.accepted += answer["accepted"].as_u64().unwrap_or(0);
        sum.duplicates += answer["duplicates"].as_u64().unwrap_or(0);
        let rejected = answer["rejected"].as_array().map_or(&[][..], Vec::as_slice);
        sum.rejected += rejected.len() as u64;
        if sum.first_rejection.is_none() {
            sum.first_rejection = rejected.first().cloned();
        }
        batch.clear();
        *n_batch = 0;
        return Ok(());
    }
    Err(Failure::new(
        69,
        format!("{target} stayed full for {TRIES_MAX} tries"),
    ))
}

async fn get(url: &str) -> Result<Value, Failure> {
    let failed = |e: reqwest::Error| Failure::new(69, format!("{url} does not answer: {e}"));
    let response = reqwest::get(url).await.map_err(failed)?;
    response.json().await.map_err(failed)
}

/// Patterns in one page of the list.
const LISTED_MAX: u64 = 1000;

/// Waits until what was accepted has been through its watches, and their findings are stored.
async fn settle(url: &str) -> Result<(), Failure> {
    let status_url = format!("{url}/api/v1/status");
    let list_url = format!("{url}/api/v1/patterns?limit={LISTED_MAX}");
    let mut last_seq = Value::Null;
    for _ in 0..600 {
        let status = get(&status_url).await?;
        let done = status["samples"]["processed"] == status["samples"]["stored"];
        if done && status["log_seq"] == last_seq {
            // What was found and counted is stored with the next group.
            let counts = status["patterns"].as_object().into_iter().flatten();
            let counted: u64 = counts.filter_map(|(_, n)| n.as_u64()).sum();
            let listed = get(&list_url).await?["patterns"]
                .as_array()
                .map_or(0, Vec::len);
            if listed as u64 >= counted.min(LISTED_MAX) {
                return Ok(());
            }
        }
        last_seq = status["log_seq"].clone();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

fn text(sum: &Sum, status: &Value, patterns: &Value) -> String {
    let rate = sum.sent as f64 / sum.seconds.max(1e-9);
    let mut out = format!(
        "{} reports in {:.1} s ({rate:.0} a second): {} accepted, {} duplicates, {} rejected\n",
        sum.sent, sum.seconds, sum.accepted, sum.duplicates, sum.rejected
    );
    if let Some(rejection) = &sum.first_rejection {
        out += &format!(
            "first rejection: {}: {}\n",
            rejection["field"], rejection["detail"]
        );
    }
    out += &format!(
        "{} agents, {} series\n\n",
        status["agents"], status["series"]
    );
    for event in patterns["patterns"]
        .as_array()
        .map_or(&[][..], Vec::as_slice)
    {
        let field = |key: &str| event[key].as_str().unwrap_or("").to_owned();
        out += &format!(
            "{}  {}  {}\n",
            field("detected_at"),
            field("agent_id"),
            field("explanation")
        );
    }
    out
}
