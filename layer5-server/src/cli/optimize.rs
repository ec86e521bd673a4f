//! `layer5 optimize`: ask and tell over standard input and output, one JSON object a line, so that any program in any
//! language can be tuned.
//! In: `init`, `ask`, `tell`, `recommend`, `quit`. Out: one line per line. A bad line is answered with `{"error":...}`
//! and changes nothing. Format: docs/formats.md.

use std::{
    io::{BufRead, Write},
    process::ExitCode,
};

use clap::Args;
use layer5_optimize::{
    Direction, Domain, Outcome, Parameter, Point, SamplerKind, Space, Study, StudyConfig, TrialId,
    Value,
};
use serde::Deserialize;
use serde_json::{Map, json};

use super::{Failure, finish};

/// Longest line that is read, bytes.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Tune any program: ask and tell, one JSON object a line
///
/// Reads commands from standard input and answers each with one line on standard output.
#[derive(Args, Debug)]
#[command(after_long_help = r#"Commands:
  {"cmd":"init","space":[{"name":"x","type":"float","low":-5,"high":5,"log":false},
                         {"name":"n","type":"int","low":1,"high":9},
                         {"name":"k","type":"categorical","choices":["a","b"]}],
   "direction":"minimize","seed":1,"budget":50,"sampler":"auto"}      budget and sampler may be absent
  {"cmd":"ask"}                          -> {"id":0,"params":{"x":0.3,"n":4,"k":"a"}}
  {"cmd":"tell","id":0,"value":1.5}      -> {"ok":true};  "value":null tells that the run failed
  {"cmd":"recommend"}                    -> the best parameters and their predicted value
  {"cmd":"quit"}

Samplers: auto, random, sobol, trust_region, gp, tpe, cma_es

Example:
  printf '%s\n' '{"cmd":"init","space":[{"name":"x","type":"float","low":0,"high":1}]}' '{"cmd":"ask"}' | layer5 optimize"#)]
pub(super) struct OptimizeArgs {}

#[derive(Debug, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    Init(Init),
    Ask {},
    Tell { id: u64, value: Option<f64> },
    Recommend {},
    Quit {},
}

#[derive(Debug, Deserialize)]
struct Init {
    space: Vec<Declared>,
    #[serde(default)]
    direction: Way,
    #[serde(default)]
    seed: u64,
    budget: Option<usize>,
    sampler: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    #[default]
    Minimize,
    Maximize,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Declared {
    Float {
        name: String,
        low: f64,
        high: f64,
        #[serde(default)]
        log: bool,
        step: Option<f64>,
    },
    Int {
        name: String,
        low: i64,
        high: i64,
        #[serde(default)]
        log: bool,
        step: Option<i64>,
    },
    Categorical {
        name: String,
        choices: Vec<String>,
    },
    Ordinal {
        name: String,
        choices: Vec<String>,
    },
}

impl From<Declared> for Parameter {
    fn from(declared: Declared) -> Self {
        match declared {
            Declared::Float {
                name,
                low,
                high,
                log,
                step,
            } => Self::new(
                name,
                Domain::Float {
                    low,
                    high,
                    log,
                    step,
                },
            ),
            Declared::Int {
                name,
                low,
                high,
                log,
                step,
            } => Self::new(
                name,
                Domain::Int {
                    low,
                    high,
                    log,
                    step,
                },
            ),
            Declared::Categorical { name, choices } => {
                Self::new(name, Domain::Categorical { choices })
            }
            Declared::Ordinal { name, choices } => Self::new(name, Domain::Ordinal { choices }),
        }
    }
}

pub(super) fn run(_args: &OptimizeArgs) -> ExitCode {
    let input = std::io::stdin().lock();
    let output = std::io::stdout().lock();
    finish(converse(input, output).map_err(|e| Failure::new(1, format!("standard input: {e}"))))
}

/// Answers every line of `input` with one line, until `quit` or the end.
fn converse(mut input: impl BufRead, mut output: impl Write) -> std::io::Result<()> {
    let mut study = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = std::io::Read::take(&mut input, LINE_BYTES_MAX as u64 + 1)
            .read_until(b'\n', &mut line)?;
        if n == 0 {
            return Ok(());
        }
        if n > LINE_BYTES_MAX {
            skip_line(&mut input)?;
            writeln!(
                output,
                "{}",
                error(format!("a line of more than {LINE_BYTES_MAX} bytes"))
            )?;
            continue;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let request = serde_json::from_slice::<Request>(&line).map_err(|e| e.to_string());
        if matches!(request, Ok(Request::Quit {})) {
            return Ok(());
        }
        let answer = request.and_then(|request| answer(&mut study, request));
        writeln!(output, "{}", answer.unwrap_or_else(error))?;
        output.flush()?;
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

fn answer(study: &mut Option<Study>, request: Request) -> Result<serde_json::Value, String> {
    if let Request::Init(init) = request {
        *study = Some(begin(init)?);
        return Ok(json!({ "ok": true }));
    }
    let study = study.as_mut().ok_or(r#"send {"cmd":"init",...} first"#)?;
    match request {
        Request::Ask {} => {
            let trial = study.ask();
            Ok(json!({
                "id": trial.id.0,
                "params": params(&study.config().space, &trial.point),
                "proposed_by": trial.proposed_by.name(),
                "why": trial.why.to_string(),
            }))
        }
        Request::Tell { id, value } => {
            let outcome = value.map_or(Outcome::Failed, Outcome::Value);
            study
                .tell(TrialId(id), outcome)
                .map_err(|e| e.to_string())?;
            Ok(json!({ "ok": true }))
        }
        Request::Recommend {} => {
            let best = study.recommend().ok_or("nothing was told yet")?;
            Ok(json!({
                "params": params(&study.config().space, &best.point),
                "predicted": best.predicted.mean,
                "interval": [best.predicted.lower, best.predicted.upper],
            }))
        }
        Request::Init(_) | Request::Quit {} => Ok(json!({ "ok": true })),
    }
}

fn begin(init: Init) -> Result<Study, String> {
    let parameters = init.space.into_iter().map(Parameter::from).collect();
    let space = Space::new(parameters).map_err(|e| e.to_string())?;
    let sampler = match init.sampler.as_deref() {
        None => SamplerKind::Auto,
        Some(name) => SamplerKind::from_name(name).ok_or_else(|| {
            let known: Vec<&str> = SamplerKind::ALL.iter().map(|kind| kind.name()).collect();
            format!(
                "sampler `{name}` is not known, use one of {}",
                known.join(", ")
            )
        })?,
    };
    let direction = match init.direction {
        Way::Minimize => Direction::Minimize,
        Way::Maximize => Direction::Maximize,
    };
    let config = StudyConfig {
        direction,
        seed: init.seed,
        budget: init.budget,
        sampler,
        ..StudyConfig::new(space)
    };
    Study::new(config).map_err(|e| e.to_string())
}

fn params(space: &Space, point: &Point) -> Map<String, serde_json::Value> {
    let each = space.parameters().iter().zip(point.values()).enumerate();
    each.map(|(index, (parameter, &value))| {
        let value = match value {
            Value::Float(x) => json!(x),
            Value::Int(x) => json!(x),
            other => json!(space.choice_name(index, other)),
        };
        (parameter.name.clone(), value)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(lines: &str) -> Vec<serde_json::Value> {
        let mut out = Vec::new();
        converse(lines.as_bytes(), &mut out).expect("memory does not fail");
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
