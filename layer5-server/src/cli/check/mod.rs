//! `layer5 check`: the daily health check, and `layer5 probe`: the short one for containers.
//! In: the addresses of a running service. Out: one table of what was looked at, what was seen and what to do; exit 0 when
//! all is green, 1 when something is yellow, 2 when something is red.
//! [`look`] asks, [`judge`] decides, [`page`] shows; only the first has sockets.

mod certificate;
mod judge;
mod look;
mod page;
mod production;
mod verdict;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};

use self::verdict::{State, Verdict, worst};
use super::{Failure, finish, print, runtime};

/// Check a running service as the daily routine asks
#[derive(Args, Debug)]
#[command(after_long_help = "\
Exit codes: 0 all green, 1 something yellow, 2 something red.

Examples:
  layer5 check
  layer5 check --url http://layer5-service:8080 --metrics-url http://layer5-service:9090 --report today.md
  layer5 check --certificate /etc/layer5/tls/tls.crt
  layer5 check --production --config layer5.toml
  layer5 check --alertmanager http://localhost:9093 --output json | jq '.checks[] | select(.state != \"green\")'")]
pub(super) struct CheckArgs {
    /// Where the API listens
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Where the metrics are
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    metrics_url: String,
    /// Also ask Alertmanager what fires
    #[arg(long, value_name = "URL")]
    alertmanager: Option<String>,
    /// A certificate's file, PEM, to see how long it is still good for; may be given more than once
    #[arg(long, value_name = "FILE")]
    certificate: Vec<PathBuf>,
    /// A file with a reader's token, where tokens are set up
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How long to watch the flow of reports, s
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    watch: f64,
    /// Check instead whether a service may carry production here: its configuration and what this machine gives it
    #[arg(long)]
    production: bool,
    /// The configuration for --production, TOML
    #[arg(long, value_name = "FILE", env = "LAYER5_CONFIG")]
    config: Option<PathBuf>,
    /// Also write the result as Markdown
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// A table for people, JSON for programs, Markdown for a ticket
    #[arg(long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

/// How the result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A table.
    Text,
    /// One object.
    Json,
    /// A table in Markdown.
    Markdown,
}

/// Ask a service whether it lives or is ready, for container probes
///
/// Prints one line; exit 0 for yes, 1 for no.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5 probe\n  \
    layer5 probe ready --url http://127.0.0.1:8080")]
pub(super) struct ProbeArgs {
    /// Which question
    #[arg(value_enum, default_value_t = Question::Live)]
    question: Question,
    /// Where the API listens
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
}

/// What a container runtime asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Question {
    /// Would a restart help? `/health`
    Live,
    /// Can it take reports? `/ready`
    Ready,
}

pub(super) fn run(args: &CheckArgs) -> ExitCode {
    match check(args) {
        Ok(state) => state.exit_code().into(),
        Err(failure) => finish(Err(failure)),
    }
}

fn check(args: &CheckArgs) -> Result<State, Failure> {
    if args.production {
        let config = crate::config::load(args.config.as_deref(), std::env::vars());
        let config = config.map_err(|e| Failure::new(78, e))?;
        let machine = production::Machine::look(&config);
        return tell(args, &production::judge(&config, &machine));
    }
    let token = args.token_file.as_deref().map(|path| {
        std::fs::read_to_string(path)
            .map(|token| token.trim().to_owned())
            .map_err(|e| Failure::new(66, format!("cannot read {}: {e}", path.display())))
    });
    let places = look::Places {
        api: args.url.trim_end_matches('/').to_owned(),
        metrics: args.metrics_url.trim_end_matches('/').to_owned(),
        alertmanager: args
            .alertmanager
            .as_ref()
            .map(|url| url.trim_end_matches('/').to_owned()),
        token: token.transpose()?,
    };
    let mut seen = runtime()?.block_on(look::look(&places, args.watch));
    let now = crate::clock::now();
    let files = args.certificate.iter();
    seen.certificates = files
        .map(|path| certificate::Certificate::read(path, now))
        .collect();
    tell(args, &judge::judge(&seen))
}

fn tell(args: &CheckArgs, verdicts: &[Verdict]) -> Result<State, Failure> {
    print(&match args.output {
        Form::Text => page::table(verdicts),
        Form::Json => page::json(&args.url, verdicts),
        Form::Markdown => page::markdown(&args.url, verdicts),
    });
    if let Some(path) = &args.report {
        std::fs::write(path, page::markdown(&args.url, verdicts))
            .map_err(|e| Failure::new(73, format!("cannot write {}: {e}", path.display())))?;
    }
    Ok(worst(verdicts))
}

pub(super) fn run_probe(args: &ProbeArgs) -> ExitCode {
    finish(probe(args))
}

fn probe(args: &ProbeArgs) -> Result<(), Failure> {
    let path = match args.question {
        Question::Live => "/health",
        Question::Ready => "/ready",
    };
    let url = format!("{}{path}", args.url.trim_end_matches('/'));
    let answer = runtime()?.block_on(look::ask(&url, None));
    if answer.is_success() {
        print("ok\n");
        return Ok(());
    }
    Err(Failure::new(1, format!("{url}: {}", answer.words())))
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|s| (0.0..=60.0).contains(s))
        .ok_or_else(|| format!("{text:?} is not a number of seconds from 0 to 60"))
}
