//! `layer5 optimize`: ask and tell over standard input and output, one JSON object a line, so that any program in any
//! language can be tuned; and `layer5 optimize report`, the page of a study.
//! In: `init`, `ask`, `tell`, `observe`, `recommend`, `trials`, `quit`. Out: one line per line. A bad line is answered with
//! `{"error":...}` and changes nothing. Format: docs/formats.md.
//! Invariants: with `--journal`, what changes the study is in the file before it is answered; the file alone is the study.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use layer5_optimize::Study;
use serde_json::json;

use super::{Failure, finish};
use crate::{
    report_page::study_page,
    study_desk::{self, Command},
};

/// Longest line that is read, bytes.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Tune any program: ask and tell, one JSON object a line
///
/// Reads commands from standard input and answers each with one line on standard output.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = r#"Commands:
  {"cmd":"init","space":[{"name":"x","type":"float","low":-5,"high":5,"log":false},
                         {"name":"n","type":"int","low":1,"high":9},
                         {"name":"k","type":"categorical","choices":["a","b"]}],
   "direction":"minimize","seed":1,"budget":50,"sampler":"auto"}      budget and sampler may be absent
  {"cmd":"ask"}                          -> {"id":0,"params":{"x":0.3,"n":4,"k":"a"}}
  {"cmd":"ask","n":4}                    -> {"trials":[...]}, to be run at the same time
  {"cmd":"tell","id":0,"value":1.5}      -> {"ok":true};  "value":null tells that the run failed
  {"cmd":"observe","params":{...},"value":1.5}   a result from elsewhere
  {"cmd":"intermediate","id":0,"step":3,"value":2.1}   -> {"ok":true,"stop":false}: whether a run is worth finishing
  {"cmd":"recommend"}                    -> the best parameters, their predicted value, and whether to stop
  {"cmd":"importances"}                  -> how much each parameter matters
  {"cmd":"trials"}                       -> every trial with its state
  {"cmd":"close"}, {"cmd":"quit"}

More of init: "directions":["minimize","maximize"], "constraints":1, "limits":[...], "pruner":{"type":"median"},
"stop_below":0.01, "step_max":0.2, "safe":{...}; of a parameter: "fixed":3, "when":{"name":"k","is":["a"]}; of tell:
"values":[1,2], "constraints":[-0.5], "noise_sd":0.1, "state":"pruned". docs/formats.md has them all.

Samplers: auto, random, sobol, trust_region, gp, tpe, cma_es, forest, spsa, nsga2, ehvi

Examples:
  printf '%s\n' '{"cmd":"init","space":[{"name":"x","type":"float","low":0,"high":1}]}' '{"cmd":"ask"}' | layer5 optimize
  layer5 optimize --journal tune.jsonl         goes on where it stopped, also after a kill
  layer5 optimize report tune.jsonl --html tune.html"#
)]
pub(super) struct OptimizeArgs {
    /// Keep what changes the study in this file, and begin with what it holds already
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<OptimizeCommand>,
}

#[derive(Debug, Subcommand)]
enum OptimizeCommand {
    /// Draw a study as a page that needs no network
    ///
    /// Example: layer5 optimize report tune.jsonl --html tune.html
    Report {
        /// The journal of the study
        #[arg(value_name = "STUDY")]
        study: PathBuf,
        /// Where the page goes
        #[arg(long, value_name = "OUT.html")]
        html: PathBuf,
    },
}

pub(super) fn run(args: &OptimizeArgs) -> ExitCode {
    finish(match &args.command {
        Some(OptimizeCommand::Report { study, html }) => report(study, html),
        None => talk(args.journal.as_deref()),
    })
}

fn talk(journal: Option<&Path>) -> Result<(), Failure> {
    let (study, journal) = match journal {
        None => (None, None),
        Some(path) => {
            let (study, file) = Journal::open(path)?;
            (study, Some(file))
        }
    };
    let input = std::io::stdin().lock();
    let output = std::io::stdout().lock();
    converse(input, output, study, journal)
}

fn report(path: &Path, html: &Path) -> Result<(), Failure> {
    let file = File::open(path)
        .map_err(|e| Failure::new(66, format!("cannot open {}: {e}", path.display())))?;
    let (study, _) = replayed(path, &mut BufReader::new(file))?;
    let study = study.ok_or_else(|| {
        Failure::new(
            65,
            format!(
                "{}: no study begins here; a journal's first line is `init`",
                path.display()
            ),
        )
    })?;
    let name = path
        .file_stem()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    std::fs::write(html, study_page(&name, &study))
        .map_err(|e| Failure::new(1, format!("cannot write {}: {e}", html.display())))?;
    let _closed = writeln!(
        std::io::stderr(),
        "layer5: the page is in {}",
        html.display()
    );
    Ok(())
}

/// The file that a study is kept in: the lines that changed it.
struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    fn open(path: &Path) -> Result<(Option<Study>, Self), Failure> {
        let failed =
            |e: std::io::Error| Failure::new(66, format!("cannot open {}: {e}", path.display()));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let (study, end) = replayed(path, &mut BufReader::new(&file))?;
        // A line that a kill cut off was never answered.
        file.set_len(end).map_err(failed)?;
        file.seek(SeekFrom::Start(end)).map_err(failed)?;
        Ok((
            study,
            Self {
                file,
                path: path.to_owned(),
            },
        ))
    }

    fn keep(&mut self, line: &[u8]) -> Result<(), Failure> {
        let mut whole = line.trim_ascii().to_vec();
        whole.push(b'\n');
        let kept = self
            .file
            .write_all(&whole)
            .and_then(|()| self.file.sync_data());
        kept.map_err(|e| Failure::new(1, format!("cannot write {}: {e}", self.path.display())))
    }
}

/// The study of a journal, and where its last whole line ends.
fn replayed(path: &Path, input: &mut impl BufRead) -> Result<(Option<Study>, u64), Failure> {
    let (mut study, mut line, mut end) = (None, Vec::new(), 0);
    for number in 1.. {
        line.clear();
        let n = input
            .read_until(b'\n', &mut line)
            .map_err(|e| Failure::new(66, format!("cannot read {}: {e}", path.display())))?;
        if n == 0 || line.last() != Some(&b'\n') {
            break;
        }
        let command = serde_json::from_slice::<Command>(&line).map_err(|e| e.to_string());
        let carried_out = command.and_then(|command| study_desk::answer(&mut study, command));
        if let Err(what) = carried_out {
            return Err(Failure::new(
                65,
                format!("{}:{number}: {what}", path.display()),
            ));
        }
        end += n as u64;
    }
    Ok((study, end))
}

/// Answers every line of `input` with one line, until `quit` or the end.
fn converse(
    mut input: impl BufRead,
    mut output: impl Write,
    mut study: Option<Study>,
    mut journal: Option<Journal>,
) -> Result<(), Failure> {
    let broken = |e: std::io::Error| Failure::new(1, format!("standard input or output: {e}"));
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = std::io::Read::take(&mut input, LINE_BYTES_MAX as u64 + 1)
            .read_until(b'\n', &mut line)
            .map_err(broken)?;
        if n == 0 {
            return Ok(());
        }
        if n > LINE_BYTES_MAX {
            skip_line(&mut input).map_err(broken)?;
            let too_long = format!("a line of more than {LINE_BYTES_MAX} bytes");
            writeln!(output, "{}", error(too_long)).map_err(broken)?;
            continue;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let command = serde_json::from_slice::<Command>(&line).map_err(|e| e.to_string());
        if matches!(command, Ok(Command::Quit {})) {
            return Ok(());
        }
        let changes = command.as_ref().is_ok_and(Command::changes);
        let begins = matches!(command, Ok(Command::Init(_)));
        let answer = command.and_then(|command| study_desk::answer(&mut study, command));
        if let (Some(journal), true, true) = (&mut journal, changes, answer.is_ok()) {
            if begins {
                journal
                    .file
                    .set_len(0)
                    .and_then(|()| journal.file.rewind())
                    .map_err(broken)?;
            }
            journal.keep(&line)?;
        }
        writeln!(output, "{}", answer.unwrap_or_else(error)).map_err(broken)?;
        output.flush().map_err(broken)?;
    }
}

fn skip_line(input: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        match buffer.iter().position(|&b| b == b'\n') {
            Some(end) => {
                input.consume(end + 1);
                return Ok(());
            }
            None => {
                let n = buffer.len();
                input.consume(n);
            }
        }
    }
}

fn error(message: String) -> serde_json::Value {
    json!({ "error": message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(lines: &str) -> Vec<serde_json::Value> {
        let mut out = Vec::new();
        converse(lines.as_bytes(), &mut out, None, None).expect("memory does not fail");
        let text = String::from_utf8(out).expect("JSON is UTF-8");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("one object a line"))
            .collect()
    }

    const INIT: &str = r#"{"cmd":"init","space":[{"name":"x","type":"float","low":-5,"high":5,"log":false},{"name":"n","type":"int","low":1,"high":9},{"name":"k","type":"categorical","choices":["a","b"]}],"direction":"minimize","seed":1,"budget":50,"sampler":"auto"}"#;

    #[test]
    fn a_conversation() {
        let tell = "{\"cmd\":\"ask\"}\n{\"cmd\":\"tell\",\"id\":0,\"value\":1.5}\n{\"cmd\":\"recommend\"}\n{\"cmd\":\"quit\"}\n{\"cmd\":\"ask\"}\n";
        let answers = talk(&format!("{INIT}\n{tell}"));
        assert_eq!(answers.len(), 4);
        assert_eq!(answers[0]["ok"], true);
        assert_eq!(answers[1]["id"], 0);
        let params = &answers[1]["params"];
        assert!(
            params["x"]
                .as_f64()
                .is_some_and(|x| (-5.0..=5.0).contains(&x))
        );
        assert!(params["n"].as_i64().is_some_and(|n| (1..=9).contains(&n)));
        assert!(["a", "b"].contains(&params["k"].as_str().expect("a name")));
        assert_eq!(answers[3]["params"], *params);
    }

    #[test]
    fn a_bad_line_is_answered_and_changes_nothing() {
        let bad = [
            "not json",
            r#"{"cmd":"dance"}"#,
            r#"{"cmd":"tell","id":99,"value":1}"#,
            r#"{"cmd":"tell","id":0,"value":1e999}"#,
            r#"{"cmd":"init","space":[]}"#,
            r#"{"cmd":"init","space":[{"name":"x","type":"float","low":5,"high":-5}]}"#,
            r#"{"cmd":"ask","n":"many"}"#,
        ];
        let plain = talk(&format!(
            "{INIT}\n{{\"cmd\":\"ask\"}}\n{{\"cmd\":\"ask\"}}\n"
        ));
        let disturbed = talk(&format!(
            "{INIT}\n{{\"cmd\":\"ask\"}}\n{}\n{{\"cmd\":\"ask\"}}\n",
            bad.join("\n")
        ));
        assert_eq!(disturbed.len(), 3 + bad.len());
        for (line, answer) in bad.iter().zip(&disturbed[2..]) {
            assert!(answer["error"].is_string(), "{line}: {answer}");
        }
        assert_eq!(disturbed.last(), plain.last());
        assert!(talk("{\"cmd\":\"ask\"}\n")[0]["error"].is_string());
    }
}
