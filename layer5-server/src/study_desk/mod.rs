//! Studies that anyone may tune with: commands in, answers out. `layer5 optimize` holds one, the service any number.
//! In: [`Command`]s. Out: JSON answers. Called from: `cli/optimize`, `pipeline/studies`.
//! Invariants: an answer depends on the commands before it alone, so a study is the list of its commands: the log of the
//! service and the journal of the command line rebuild it; a command that is refused changes nothing; every limit has a
//! name here.

mod answer;
mod command;
mod init;
mod params;

use std::collections::BTreeMap;

pub(crate) use answer::{importances, in_short, recommendation, trials};
pub(crate) use command::{Ask, Command, Init, Intermediate, Learn, Observe, Rows, Tell};
use layer5_optimize::{Study, TrialId, Verdict};
pub(crate) use params::params;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Trials asked for at once, at most.
const ASKED_MAX: usize = 256;
/// Trials of one study, at most; and results brought to it, at most.
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
        Command::Ask(Ask { n: None }) => {
            room(study, 1)?;
            let trial = study.ask();
            Ok(answer::asked(study, &trial))
        }
        Command::Ask(Ask { n: Some(n) }) => {
            if !(1..=ASKED_MAX).contains(&n) {
                return Err(format!(
                    "n = {n}: 1 to {ASKED_MAX} trials can be asked for at once"
                ));
            }
            room(study, n)?;
            let trials = study.ask_n(n);
            let rows = trials.iter().map(|trial| answer::asked(study, trial));
            Ok(json!({ "trials": rows.collect::<Vec<_>>() }))
        }
        Command::Tell(tell) => {
            let id = TrialId(tell.id);
            let outcome = tell.outcome()?;
            study.tell(id, outcome).map_err(|e| e.to_string())?;
            Ok(json!({ "ok": true }))
        }
        Command::Intermediate(Intermediate { id, step, value }) => {
            let verdict = study.report(TrialId(id), step, value);
            let verdict = verdict.map_err(|e| e.to_string())?;
            Ok(json!({ "ok": true, "stop": verdict == Verdict::Stop }))
        }
        Command::Observe(observe) => {
            let brought = study.observations().iter().filter(|o| o.trial.is_none());
            if brought.count() >= TRIALS_MAX {
                return Err(format!(
                    "a study takes at most {TRIALS_MAX} results from elsewhere"
                ));
            }
            let point = params::point(&study.config().space, &observe.params)?;
            let observation = observe.observation(point)?;
            study.observe_all(observation).map_err(|e| e.to_string())?;
            Ok(json!({ "ok": true }))
        }
        Command::Learn(_) => {
            Err("there is no other study here; send its results by `observe`".into())
        }
        Command::Close {} => {
            study.close();
            Ok(json!({ "ok": true }))
        }
        Command::Recommend {} => recommendation(study),
        Command::Importances {} => importances(study),
        Command::Trials(rows) => trials(study, &rows),
        Command::Init(_) | Command::Quit {} => Ok(json!({ "ok": true })),
    }
}

fn room(study: &Study, n: usize) -> Result<(), String> {
    if study.is_closed() {
        return Err("the study is closed: nothing can be asked or told any more".into());
    }
    match study.trials().len() + n <= TRIALS_MAX {
        true => Ok(()),
        false => Err(format!(
            "a study has at most {TRIALS_MAX} trials; begin another with what this one found"
        )),
    }
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
        if let Command::Learn(Learn { from }) = command {
            return self.learn(name, &from);
        }
        // Taken out and put back, so that a study is never half there.
        let mut study = Some(self.studies.remove(name).ok_or_else(no_such)?);
        let answered = answer(&mut study, command);
        self.studies
            .extend(study.map(|study| (name.to_owned(), study)));
        answered.map_err(Refusal::Command)
    }

    /// A warm start: what `from` was told is taken over where it fits.
    fn learn(&mut self, name: &str, from: &str) -> Result<Value, Refusal> {
        self.get(name)?;
        let other = self.get(from)?.clone();
        let study = self.studies.get_mut(name).expect("looked up above");
        let refused = |why: &str| Err(Refusal::Command(why.into()));
        if name == from {
            return refused("a study can't learn from itself");
        }
        if study.is_closed() {
            return refused("the study is closed: nothing can be asked or told any more");
        }
        if study.observations().len() + other.observations().len() > 2 * TRIALS_MAX {
            return refused("together they have more results than a study takes");
        }
        let taken = study.learn_from(&other);
        Ok(json!({ "ok": true, "taken": taken, "of": other.observations().len() }))
    }

    /// One study.
    pub(crate) fn get(&self, name: &str) -> Result<&Study, Refusal> {
        self.studies
            .get(name)
            .ok_or_else(|| Refusal::NoSuchStudy(name.to_owned()))
    }

    /// Studies in a few numbers, in the order of their names: a page of at most `limit` after the name `after`.
    pub(crate) fn list(&self, after: Option<&str>, limit: usize) -> (Vec<Value>, Option<&str>) {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let mut rows = self.studies.range::<str, _>((from, Unbounded));
        let page: Vec<(&String, &Study)> = rows.by_ref().take(limit).collect();
        let next = rows.next().and(page.last()).map(|(name, _)| name.as_str());
        (
            page.iter()
                .map(|(name, study)| in_short(name, study))
                .collect(),
            next,
        )
    }
}

/// The command that ends a study of the service.
pub(crate) const DELETE: &str = r#"{"cmd":"delete"}"#;

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
        let short = &desks.list(None, 9).0[0];
        assert_eq!(
            (&short["trials"], &short["pending"], &short["failed"]),
            (&json!(5), &json!(3), &json!(1))
        );
        assert_eq!(short["best"]["value"], 0.5);
        let rows = trials(desks.get("s").expect("it is there"), &Rows::default())
            .expect("no state")["trials"]
            .clone();
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
        let before = desks.list(None, 9).0;
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
        assert_eq!(desks.list(None, 9).0, before);
        say(&mut desks, DELETE).expect("it is there");
        assert!(desks.list(None, 9).0.is_empty());
    }
}
