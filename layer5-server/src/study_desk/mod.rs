//! Studies that anyone may tune with: commands in, answers out. `layer5 optimize` holds one, the service any number.
//! In: [`Command`]s. Out: JSON answers. Called from: `cli/optimize`, `pipeline/studies`.
//! Invariants: an answer depends on the commands before it alone, so a study is the list of its commands: the log of the
//! service and the journal of the command line rebuild it; a command that is refused changes nothing; every limit has a
//! name here.

mod command;

use std::collections::BTreeMap;

pub(crate) use command::Command;
use layer5_optimize::{
    Domain, Outcome, Point, Space, Study, Trial, TrialId, TrialState, Value as ParameterValue,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Trials asked for at once, at most.
const ASKED_MAX: usize = 256;
/// Trials of one study, at most.
const TRIALS_MAX: usize = 20_000;
/// Studies that the service holds, at most.
pub(crate) const STUDIES_MAX: usize = 1000;

/// Answers a command; `study` is `None` until `init`.
///
/// # Errors
/// Why it is refused, in words; nothing has changed then.
pub(crate) fn answer(study: &mut Option<Study>, command: Command) -> Result<Value, String> {
    if let Command::Init(init) = command {
        *study = Some(init.begin()?);
        return Ok(json!({ "ok": true }));
    }
    let study = study.as_mut().ok_or(r#"send {"cmd":"init",...} first"#)?;
    match command {
        Command::Ask { n: None } => {
            room(study, 1)?;
            let trial = study.ask();
            Ok(asked(&study.config().space, &trial))
        }
        Command::Ask { n: Some(n) } => {
            if !(1..=ASKED_MAX).contains(&n) {
                return Err(format!(
                    "n = {n}: 1 to {ASKED_MAX} trials can be asked for at once"
                ));
            }
            room(study, n)?;
            let trials = study.ask_n(n);
            let space = &study.config().space;
            Ok(json!({ "trials": trials.iter().map(|t| asked(space, t)).collect::<Vec<_>>() }))
        }
        Command::Tell { id, value } => {
            let outcome = value.map_or(Outcome::Failed, Outcome::Value);
            study
                .tell(TrialId(id), outcome)
                .map_err(|e| e.to_string())?;
            Ok(json!({ "ok": true }))
        }
        Command::Observe { params, value } => {
            let point = point(&study.config().space, &params)?;
            study.observe(point, value).map_err(|e| e.to_string())?;
            Ok(json!({ "ok": true }))
        }
        Command::Recommend {} => recommended(study),
        Command::Trials {} => Ok(json!({ "trials": trials(study) })),
        Command::Init(_) | Command::Quit {} => Ok(json!({ "ok": true })),
    }
}

fn room(study: &Study, n: usize) -> Result<(), String> {
    match study.trials().len() + n <= TRIALS_MAX {
        true => Ok(()),
        false => Err(format!(
            "a study has at most {TRIALS_MAX} trials; begin another with what this one found"
        )),
    }
}

fn asked(space: &Space, trial: &Trial) -> Value {
    json!({
        "id": trial.id.0,
        "params": params(space, &trial.point),
        "proposed_by": trial.proposed_by.name(),
        "why": trial.why.to_string(),
    })
}

fn recommended(study: &Study) -> Result<Value, String> {
    let best = study.recommend().ok_or("nothing was told yet")?;
    Ok(json!({
        "params": params(&study.config().space, &best.point),
        "predicted": best.predicted.mean,
        "interval": [best.predicted.lower, best.predicted.upper],
    }))
}

/// Every trial with its state.
pub(crate) fn trials(study: &Study) -> Vec<Value> {
    let row = |trial: &Trial| {
        let mut row = asked(&study.config().space, trial);
        row["state"] = json!(trial.state.name());
        if let TrialState::Told(value) = trial.state {
            row["value"] = json!(value);
        }
        row
    };
    study.trials().iter().map(row).collect()
}

/// A point as the names and values that a caller knows.
pub(crate) fn params(space: &Space, point: &Point) -> Map<String, Value> {
    let each = space.parameters().iter().zip(point.values()).enumerate();
    each.map(|(index, (parameter, &value))| {
        let value = match value {
            ParameterValue::Float(x) => json!(x),
            ParameterValue::Int(x) => json!(x),
            other => json!(space.choice_name(index, other)),
        };
        (parameter.name.clone(), value)
    })
    .collect()
}

/// The point that a caller's names and values mean.
fn point(space: &Space, params: &Map<String, Value>) -> Result<Point, String> {
    let unknown = params
        .keys()
        .find(|name| space.parameters().iter().all(|p| p.name != **name));
    if let Some(name) = unknown {
        return Err(format!("no parameter `{name}` in this study"));
    }
    let value = |parameter: &layer5_optimize::Parameter| {
        let name = &parameter.name;
        let given = params
            .get(name)
            .ok_or_else(|| format!("params: `{name}` is missing"))?;
        let read = match &parameter.domain {
            Domain::Float { .. } => given.as_f64().map(ParameterValue::Float),
            Domain::Int { .. } => given.as_i64().map(ParameterValue::Int),
            Domain::Categorical { choices } | Domain::Ordinal { choices } => given
                .as_str()
                .and_then(|given| choices.iter().position(|choice| choice == given))
                .map(ParameterValue::Choice),
            _ => None,
        };
        read.ok_or_else(|| format!("params: {given} is no value of `{name}`"))
    };
    let values: Result<Vec<ParameterValue>, String> =
        space.parameters().iter().map(value).collect();
    Ok(Point(values?))
}

/// Why the service refuses a command for a study.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// There is no such study.
    #[error("there is no study `{0}`; POST /api/v1/studies makes one")]
    NoSuchStudy(String),
    /// The name is taken.
    #[error("there is a study `{0}` already; DELETE it first, or take another name")]
    Exists(String),
    /// No room for another.
    #[error("{STUDIES_MAX} studies are there, which is the most; DELETE one first")]
    Full,
    /// The command itself.
    #[error("{0}")]
    Command(String),
}

/// The studies of a service, by name.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Desks {
    studies: BTreeMap<String, Study>,
}

impl Desks {
    /// Carries out one command of the log: JSON as [`Command`], or `{"cmd":"delete"}`.
    ///
    /// # Errors
    /// Why it is refused; nothing has changed then.
    pub(crate) fn apply(&mut self, name: &str, command: &str) -> Result<Value, Refusal> {
        let no_such = || Refusal::NoSuchStudy(name.to_owned());
        if command == DELETE {
            self.studies.remove(name).ok_or_else(no_such)?;
            return Ok(json!({ "ok": true }));
        }
        let command: Command =
            serde_json::from_str(command).map_err(|e| Refusal::Command(e.to_string()))?;
        if let Command::Init(init) = command {
            if self.studies.contains_key(name) {
                return Err(Refusal::Exists(name.to_owned()));
            }
            if self.studies.len() >= STUDIES_MAX {
                return Err(Refusal::Full);
            }
            let study = init.begin().map_err(Refusal::Command)?;
            self.studies.insert(name.to_owned(), study);
            return Ok(json!({ "ok": true, "study": name }));
        }
        // Taken out and put back, so that a study is never half there.
        let mut study = Some(self.studies.remove(name).ok_or_else(no_such)?);
        let answered = answer(&mut study, command);
        self.studies
            .extend(study.map(|study| (name.to_owned(), study)));
        answered.map_err(Refusal::Command)
    }

    /// One study.
    pub(crate) fn get(&self, name: &str) -> Result<&Study, Refusal> {
        self.studies
            .get(name)
            .ok_or_else(|| Refusal::NoSuchStudy(name.to_owned()))
    }

    /// Every study in a few numbers.
    pub(crate) fn list(&self) -> Vec<Value> {
        self.studies
            .iter()
            .map(|(name, study)| in_short(name, study))
            .collect()
    }
}

/// The command that ends a study of the service.
pub(crate) const DELETE: &str = r#"{"cmd":"delete"}"#;

/// A study in a few numbers.
pub(crate) fn in_short(name: &str, study: &Study) -> Value {
    let pending = study
        .trials()
        .iter()
        .filter(|t| t.state == TrialState::Pending)
        .count();
    let failed = study
        .trials()
        .iter()
        .filter(|t| t.state == TrialState::Failed)
        .count();
    let best = study.incumbent();
    json!({
        "name": name,
        "trials": study.trials().len(),
        "pending": pending,
        "failed": failed,
        "observations": study.observations().len(),
        "best": best.map(|best| json!({
            "value": best.value,
            "params": params(&study.config().space, &best.point),
        })),
    })
}

/// What a study is asked that changes nothing.
///
/// # Errors
/// Why there is no answer yet, in words.
pub(crate) fn recommendation(study: &Study) -> Result<Value, String> {
    recommended(study)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INIT: &str = r#"{"cmd":"init","space":[{"name":"x","type":"float","low":-5,"high":5},
        {"name":"k","type":"categorical","choices":["a","b"]}],"seed":3}"#;

    fn say(desks: &mut Desks, command: &str) -> Result<Value, Refusal> {
        desks.apply("s", command)
    }

    #[test]
    fn a_study_is_the_list_of_its_commands() {
        let commands = [
            INIT,
            r#"{"cmd":"ask","n":4}"#,
            r#"{"cmd":"tell","id":2,"value":1.5}"#,
            r#"{"cmd":"tell","id":0,"value":null}"#,
            r#"{"cmd":"observe","params":{"x":1.0,"k":"b"},"value":0.5}"#,
            r#"{"cmd":"ask"}"#,
        ];
        let run = || {
            let mut desks = Desks::default();
            let answers = commands.map(|c| say(&mut desks, c).expect("a legal command"));
            (answers, desks)
        };
        let (first, desks) = run();
        assert_eq!(first, run().0);
        assert_eq!(first[1]["trials"].as_array().map(Vec::len), Some(4));
        assert_eq!(first[5]["id"], 4);
        let short = &desks.list()[0];
        assert_eq!(
            (&short["trials"], &short["pending"], &short["failed"]),
            (&json!(5), &json!(3), &json!(1))
        );
        assert_eq!(short["best"]["value"], 0.5);
        let rows = trials(desks.get("s").expect("it is there"));
        assert_eq!(
            (&rows[2]["state"], &rows[2]["value"]),
            (&json!("told"), &json!(1.5))
        );
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let mut desks = Desks::default();
        assert!(matches!(
            say(&mut desks, r#"{"cmd":"ask"}"#),
            Err(Refusal::NoSuchStudy(_))
        ));
        say(&mut desks, INIT).expect("a legal study");
        assert!(matches!(say(&mut desks, INIT), Err(Refusal::Exists(_))));
        say(&mut desks, r#"{"cmd":"ask"}"#).expect("one trial");
        say(&mut desks, r#"{"cmd":"tell","id":0,"value":1}"#).expect("its outcome");
        let before = desks.list();
        for bad in [
            "not json",
            r#"{"cmd":"ask","n":0}"#,
            r#"{"cmd":"ask","n":257}"#,
            r#"{"cmd":"tell","id":7,"value":1}"#,
            r#"{"cmd":"tell","id":0,"value":1}"#,
            r#"{"cmd":"observe","params":{"x":1.0},"value":1}"#,
            r#"{"cmd":"observe","params":{"x":9.0,"k":"a"},"value":1}"#,
            r#"{"cmd":"observe","params":{"x":1.0,"k":"c"},"value":1}"#,
            r#"{"cmd":"observe","params":{"x":1.0,"k":"a","y":1},"value":1}"#,
            r#"{"cmd":"tell","id":0,"value":1,"colour":"red"}"#,
        ] {
            assert!(
                matches!(say(&mut desks, bad), Err(Refusal::Command(_))),
                "{bad}"
            );
        }
        assert_eq!(desks.list(), before);
        say(&mut desks, DELETE).expect("it is there");
        assert!(desks.list().is_empty());
    }
}
