//! `layer5 logs analyze`: what went wrong, how often, since when; which requests were slow; what happened around a moment.
//! In: the JSON lines of the log, from files (rotated `.gz` too) or standard input. Out: tables, or one JSON object.
//! Invariants: a line that is not of the log is counted and passed over; nothing of a line reaches the terminal raw; memory
//! is bounded by the number of different messages and of the lines around the moment that is asked for.

mod gather;
mod told;

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use flate2::read::MultiGzDecoder;
use layer5_core::Timestamp;

use self::gather::{Around, Gathered};
use super::{Failure, Output, alertmanager, finish, print};

/// Longest line that is read, bytes; what is longer is no line of the log.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Read the log of a service
#[derive(Args, Debug)]
pub(super) struct LogsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Group what went wrong, list slow requests, tell what happened around a moment
    ///
    /// FILES are logs in JSON, `.gz` too; without any, or with `-`, standard input is read.
    #[command(after_long_help = "Examples:\n  \
        layer5 logs analyze /var/log/layer5/layer5.log*\n  \
        kubectl logs deployment/layer5-refinement -n project-chimera | layer5 logs analyze\n  \
        layer5 logs analyze layer5.log --around 14:05\n  \
        layer5 logs analyze layer5.log --around 2026-11-28T14:05:00Z --within 30s --output json")]
    Analyze(AnalyzeArgs),
}

#[derive(Args, Debug)]
struct AnalyzeArgs {
    /// Logs, oldest first or not
    files: Vec<PathBuf>,
    /// What happened around this moment: 14:05, 14:05:30 (its last time in the log), or a whole time in UTC
    #[arg(long, value_name = "TIME")]
    around: Option<String>,
    /// How far before and after, as 30s, 5m or 1h
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = alertmanager::maintenance::duration)]
    within: f64,
    /// Tables for people, or one JSON object for programs
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) fn run(args: &LogsArgs) -> ExitCode {
    let What::Analyze(args) = &args.what;
    finish(analyze(args))
}

fn analyze(args: &AnalyzeArgs) -> Result<(), Failure> {
    let around = args.around.as_deref().map(|text| {
        Around::parse(text).ok_or_else(|| {
            let said =
                format!("--around {text:?} is no time as 14:05, 14:05:30 or 2026-11-28T14:05:00Z");
            Failure::new(2, said)
        })
    });
    let around = around.transpose()?;
    let mut gathered = Gathered::default();
    // A time of day means its last one in the log, which is known when all of it was read: hence twice.
    let stdin = args.files.is_empty() || args.files.iter().any(|f| f == Path::new("-"));
    let mut piped = Vec::new();
    if stdin {
        let read = std::io::stdin().read_to_end(&mut piped);
        read.map_err(|e| Failure::new(66, format!("cannot read standard input: {e}")))?;
    }
    let each = |take: &mut dyn FnMut(&str)| -> Result<(), Failure> {
        if stdin {
            lines(&mut &piped[..], take);
        }
        for path in args.files.iter().filter(|f| *f != Path::new("-")) {
            lines(&mut open(path)?, take);
        }
        Ok(())
    };
    each(&mut |line| gathered.take(line))?;
    if gathered.lines == 0 {
        let said = format!(
            "no line of these {} is one of layer5's JSON log; log.format = \"json\" writes them",
            gathered.not_understood
        );
        return Err(Failure::new(65, said));
    }
    let moment: Option<(Timestamp, f64)> = match (&around, gathered.last) {
        (Some(around), Some(last)) => Some((around.last_before(last), args.within)),
        _ => None,
    };
    if let Some((at, within)) = moment {
        each(&mut |line| gathered.take_around(line, at, within))?;
    }
    print(&match args.output {
        Output::Json => told::json(&gathered, moment),
        Output::Text => told::text(&gathered, moment),
    });
    Ok(())
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    let unreadable = |e| Failure::new(66, format!("cannot read {}: {e}", path.display()));
    let file = File::open(path).map_err(unreadable)?;
    Ok(match path.extension().is_some_and(|e| e == "gz") {
        true => Box::new(BufReader::new(MultiGzDecoder::new(file))),
        false => Box::new(BufReader::new(file)),
    })
}

/// Every line, as far as it can be read: a piece that was cut off ends where it ends.
fn lines(from: &mut dyn BufRead, take: &mut dyn FnMut(&str)) {
    let mut line = Vec::new();
    loop {
        line.clear();
        match Read::take(&mut *from, LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => take(String::from_utf8_lossy(&line).trim_end()),
        }
    }
}
