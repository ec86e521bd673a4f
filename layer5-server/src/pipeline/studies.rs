//! The studies thread: carries out the commands that the log holds for anyone's studies, in log order, and answers what
//! changes nothing in between. It stands beside the tuner so that a slow model delays no tick.
//! In: [`StudiesFeed`]s from committer and handlers. Out: answers to whoever asked, a piece of each snapshot.
//! Invariants: the state is the studies of the log's commands; a command is carried out only after it is durable, so
//! what was answered is never forgotten.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Instant,
};

use crossbeam::channel::{Receiver, Sender};
use layer5_core::codec::{self, Format};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

use super::{Inbox, Part};
use crate::{
    counters::Counters,
    report_page::study_page,
    study_desk::{self, Desks, Refusal, Rows},
};

/// How the studies are written into a snapshot.
pub(crate) const STUDIES_FORMAT: Format = Format {
    kind: 23,
    version: 2,
};

/// The answer to a command or a question.
pub(crate) type StudyAnswer = Result<Value, Refusal>;

/// Who waits for the answer to a command, by its ticket, and the place that the command takes until then.
pub(crate) type StudyAskers =
    Arc<Mutex<HashMap<Uuid, (oneshot::Sender<StudyAnswer>, OwnedSemaphorePermit)>>>;

/// Committer and handlers to the studies.
#[derive(Debug)]
pub(crate) enum StudiesFeed {
    /// A durable command.
    Command {
        /// By which the asker is found.
        ticket: Uuid,
        /// Which study.
        study: String,
        /// JSON, as [`study_desk::Command`].
        command: String,
    },
    /// A question that changes nothing.
    Look(Look, oneshot::Sender<StudyAnswer>),
    /// Hand out a snapshot as of this position.
    Snapshot {
        /// The log position.
        seq: u64,
    },
    /// No more will come.
    Stop,
}

/// What can be asked without changing anything.
#[derive(Debug)]
pub(crate) enum Look {
    /// Studies in a few numbers: the names after this one, at most so many.
    List(Option<String>, usize),
    /// One study with some of its trials.
    Study(String, Rows),
    /// The best parameters known.
    Recommend(String),
    /// How much each parameter matters.
    Importances(String),
    /// The report page, as a JSON string.
    Report(String),
}

/// Starts the thread.
///
/// # Errors
/// When the machine gives no thread.
pub(crate) fn spawn_studies(
    desks: Desks,
    feed: Receiver<StudiesFeed>,
    askers: StudyAskers,
    inbox: Sender<Inbox>,
    counters: Arc<Counters>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("studies".into())
        .spawn(move || run(desks, &feed, &askers, &inbox, &counters))
}

fn run(
    mut desks: Desks,
    feed: &Receiver<StudiesFeed>,
    askers: &StudyAskers,
    inbox: &Sender<Inbox>,
    counters: &Counters,
) {
    // Whoever asked, and the committer at the end, may have gone meanwhile.
    while let Ok(next) = feed.recv() {
        match next {
            StudiesFeed::Stop => return,
            StudiesFeed::Command {
                ticket,
                study,
                command,
            } => {
                let began = Instant::now();
                let answer = desks.apply(&study, &command);
                counters.stepped(began.elapsed());
                let asker = askers.lock().expect("no holder panics").remove(&ticket);
                if let Some((asker, _place)) = asker {
                    let _gone = asker.send(answer);
                }
            }
            StudiesFeed::Look(look, asker) => {
                let _gone = asker.send(looked(&desks, &look));
            }
            StudiesFeed::Snapshot { seq } => {
                let bytes = codec::encode(STUDIES_FORMAT, &desks);
                let name = "studies".into();
                let _gone = inbox.send(Inbox::Part(Part { seq, name, bytes }));
            }
        }
    }
}

fn looked(desks: &Desks, look: &Look) -> StudyAnswer {
    match look {
        Look::List(after, limit) => {
            let (rows, next) = desks.list(after.as_deref(), *limit);
            Ok(json!({ "served": rows, "next_after": next }))
        }
        Look::Study(name, rows) => {
            let study = desks.get(name)?;
            let mut answer = study_desk::in_short(name, study);
            let page = study_desk::trials(study, rows).map_err(Refusal::Command)?;
            answer["trials_len"] = answer["trials"].clone();
            answer["trials"] = page["trials"].clone();
            answer["next_after"] = page["next_after"].clone();
            Ok(answer)
        }
        Look::Recommend(name) => {
            study_desk::recommendation(desks.get(name)?).map_err(Refusal::Command)
        }
        Look::Importances(name) => {
            study_desk::importances(desks.get(name)?).map_err(Refusal::Command)
        }
        Look::Report(name) => Ok(study_page(name, desks.get(name)?).into()),
    }
}
