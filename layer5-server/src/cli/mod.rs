//! The `layer5` command: one file per subcommand.
//! In: arguments. Out: results on standard output, progress and errors on standard error, an exit code.
//! Exit codes: 0 done, 1 failed, 2 wrong arguments, 65 bad data, 66 no such input, 69 service unreachable, 74 the store
//! failed, 75 the data folder is in use, 78 bad configuration, 130 interrupted (after `sysexits.h`).

mod alertmanager;
mod analyze;
mod bluegreen;
mod check;
mod deadletter;
pub mod demo;
mod log;
mod optimize;
mod repair;
mod replay;
mod series_file;
mod serve;
mod service;
mod status;

use std::{io::Write, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
pub use demo::Output;

/// Layer5, the refinement layer: KPIs in, patterns found, recommendations out, and proof whether they helped.
///
/// Try `layer5 demo` first: it needs nothing but this binary and shows the whole way in half a minute.
#[derive(Debug, Parser)]
#[command(name = "layer5", version, max_term_width = 100, after_long_help = AFTER)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = "\
Exit codes:
  0 done   1 failed   2 wrong arguments   65 bad data   66 no such input   69 service unreachable
  74 store failed   75 data folder in use   78 bad configuration   130 interrupted

Environment:
  NO_COLOR         no colours
  RUST_LOG         what the service logs, such as info or layer5_server=debug,warn
  LAYER7_API_URL   where recommendations go    LAYER8_API_URL   where resource advice goes
  LAYER5_<SECTION>__<KEY>   any key of the configuration, such as LAYER5_HTTP__LISTEN=127.0.0.1:8080";

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Serve(serve::ServeArgs),
    Replay(replay::ReplayArgs),
    Analyze(analyze::AnalyzeArgs),
    Optimize(optimize::OptimizeArgs),
    Status(status::StatusArgs),
    Check(check::CheckArgs),
    Probe(check::ProbeArgs),
    Bluegreen(bluegreen::BluegreenArgs),
    Alert(alertmanager::alert::AlertArgs),
    Maintenance(alertmanager::maintenance::MaintenanceArgs),
    Deadletter(deadletter::DeadletterArgs),
    Repair(repair::RepairArgs),
    /// Print a completion script for your shell
    ///
    /// Example: layer5 completions bash > ~/.local/share/bash-completion/completions/layer5
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Runs the command that the arguments name.
#[must_use]
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Analyze(args) => analyze::run(&args),
        Command::Optimize(args) => optimize::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Probe(args) => check::run_probe(&args),
        Command::Bluegreen(args) => bluegreen::run(&args),
        Command::Alert(args) => alertmanager::alert::run(&args),
        Command::Maintenance(args) => alertmanager::maintenance::run(&args),
        Command::Deadletter(args) => deadletter::run(&args),
        Command::Repair(args) => repair::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "layer5", &mut script);
            // A pipe that closed early, as `| head` does, is no failure.
            let _closed = std::io::stdout().write_all(&script);
            ExitCode::SUCCESS
        }
    }
}

/// A failure with the exit code that it ends in.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn new(code: u8, message: impl ToString) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }
}

/// Tells a failure on standard error.
fn finish(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            let _closed = writeln!(std::io::stderr(), "layer5: {message}");
            code.into()
        }
    }
}

/// Writes to standard output. A reader that went away, as `| head` does, is no failure.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _closed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A runtime for the commands that need sockets.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Runtime::new().map_err(|error| Failure::new(1, format!("no runtime: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
