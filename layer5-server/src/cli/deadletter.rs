//! `layer5 deadletter`: the reports that were refused: which, why, and another try.
//! In: a running service, or the folder of a stopped one. Out: a table or JSON lines; what became of those tried again.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use serde_json::{Value, json};

use super::{Failure, Output, finish, print, runtime, service::ServiceArgs};
use crate::{
    http::dead_letter_json,
    store::{OpenError, Store, StoreConfig},
};

/// Letters in one call.
const PAGE_LEN: usize = 500;

/// Look at refused reports, and try them again
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5 deadletter list --reason cardinality\n  \
    layer5 deadletter list --data-dir layer5-data --output json\n  \
    layer5 deadletter show 17\n  \
    layer5 deadletter replay 17 18\n  \
    layer5 deadletter replay --all --reason cardinality")]
pub(super) struct DeadletterArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// One line for each letter, oldest first
    List {
        #[command(flatten)]
        place: Place,
        /// Only letters refused for this reason
        #[arg(long, value_name = "REASON")]
        reason: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// A table for people, or one JSON object a line for programs
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// One letter with what came
    Show {
        #[command(flatten)]
        place: Place,
        /// Its number
        number: u64,
    },
    /// Send letters through the border again
    ///
    /// Each is judged as of the time it came. What is taken, or was known already, is removed from the letters; what is
    /// refused again comes back under a new number.
    Replay {
        #[command(flatten)]
        service: ServiceArgs,
        /// Their numbers
        #[arg(required_unless_present = "all")]
        numbers: Vec<u64>,
        /// All of them
        #[arg(long, conflicts_with = "numbers")]
        all: bool,
        /// With --all: only letters refused for this reason
        #[arg(long, value_name = "REASON", requires = "all")]
        reason: Option<String>,
    },
}

/// A service, or the folder of one that is stopped.
#[derive(Args, Debug)]
struct Place {
    #[command(flatten)]
    service: ServiceArgs,
    /// The data folder of a stopped service, instead of a running one
    #[arg(long, value_name = "FOLDER", conflicts_with = "url")]
    data_dir: Option<PathBuf>,
}

pub(super) fn run(args: &DeadletterArgs) -> ExitCode {
    finish(match &args.action {
        Action::List {
            place,
            reason,
            limit,
            output,
        } => list(place, reason.as_deref(), *limit, *output),
        Action::Show { place, number } => show(place, *number),
        Action::Replay {
            service,
            numbers,
            all,
            reason,
        } => replay(service, numbers, *all, reason.as_deref()),
    })
}

fn list(place: &Place, reason: Option<&str>, limit: usize, output: Output) -> Result<(), Failure> {
    let mut letters = Vec::new();
    let mut pages = Pages::open(place)?;
    while letters.len() < limit {
        let page = pages.next()?;
        if page.is_empty() {
            break;
        }
        letters.extend(page.into_iter().filter(|letter| fits(letter, reason)));
    }
    letters.truncate(limit);
    if output == Output::Json {
        letters
            .iter()
            .for_each(|letter| print(&format!("{letter}\n")));
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["number", "at", "source", "reason", "field", "detail"]);
    for letter in &letters {
        let text = |key: &str| letter[key].as_str().unwrap_or_default().to_owned();
        table.add_row([
            letter["number"].to_string(),
            text("at"),
            text("source"),
            text("reason"),
            text("field"),
            text("detail"),
        ]);
    }
    print(&format!("{table}\n"));
    Ok(())
}

fn fits(letter: &Value, reason: Option<&str>) -> bool {
    reason.is_none_or(|reason| letter["reason"] == reason)
}

fn show(place: &Place, number: u64) -> Result<(), Failure> {
    let mut pages = Pages::open(place)?;
    pages.after = number.saturating_sub(1);
    let found = pages.next()?.into_iter().next();
    let letter = found.filter(|letter| letter["number"] == number);
    let letter = letter.ok_or_else(|| Failure::new(66, format!("there is no letter {number}")))?;
    print(&format!("{letter:#}\n"));
    Ok(())
}

fn replay(
    service: &ServiceArgs,
    numbers: &[u64],
    all: bool,
    reason: Option<&str>,
) -> Result<(), Failure> {
    let runtime = runtime()?;
    let mut numbers = numbers.to_vec();
    if all {
        let mut after = 0;
        loop {
            let page = runtime.block_on(page_of(service, after))?;
            let Some(last) = page.last().and_then(|letter| letter["number"].as_u64()) else {
                break;
            };
            let chosen = page
                .iter()
                .filter(|letter| fits(letter, reason) && letter["replayable"] == true);
            numbers.extend(chosen.filter_map(|letter| letter["number"].as_u64()));
            after = last;
        }
    }
    let (mut accepted, mut duplicates, mut n_refused) = (0, 0, 0);
    for part in numbers.chunks(PAGE_LEN) {
        let path = "/api/v1/dead-letters/replay";
        let answer = runtime.block_on(service.post(path, &json!({ "numbers": part })))?;
        accepted += answer["accepted"].as_u64().unwrap_or(0);
        duplicates += answer["duplicates"].as_u64().unwrap_or(0);
        for refused in answer["refused"].as_array().into_iter().flatten() {
            n_refused += 1;
            let detail = refused["detail"].as_str().unwrap_or_default();
            print(&format!("{}: {detail}\n", refused["number"]));
        }
    }
    print(&format!(
        "{accepted} accepted, {duplicates} known already, {n_refused} refused\n"
    ));
    match n_refused {
        0 => Ok(()),
        n => Err(Failure::new(65, format!("{n} letters were refused again"))),
    }
}

async fn page_of(service: &ServiceArgs, after: u64) -> Result<Vec<Value>, Failure> {
    let path = format!("/api/v1/dead-letters?after={after}&limit={PAGE_LEN}");
    let mut answer = service.get(&path).await?;
    match answer["dead_letters"].take() {
        Value::Array(letters) => Ok(letters),
        _ => Err(Failure::new(69, "the service did not answer with letters")),
    }
}

/// Letters page by page, from a service or from a folder.
struct Pages<'a> {
    source: Source<'a>,
    after: u64,
}

enum Source<'a> {
    Service(tokio::runtime::Runtime, &'a ServiceArgs),
    Folder(Box<Store>),
}

impl<'a> Pages<'a> {
    fn open(place: &'a Place) -> Result<Self, Failure> {
        let source = match &place.data_dir {
            None => Source::Service(runtime()?, &place.service),
            Some(dir) if !dir.join("views.redb").exists() => {
                let detail = format!("{} is no data folder", dir.display());
                return Err(Failure::new(66, detail));
            }
            Some(dir) => {
                let opened = Store::open(dir, &StoreConfig::default());
                Source::Folder(Box::new(opened.map_err(|error| {
                    let code = match &error {
                        OpenError::InUse { .. } => 75,
                        _ => 74,
                    };
                    Failure::new(code, error)
                })?))
            }
        };
        Ok(Self { source, after: 0 })
    }

    /// The next page; empty behind the last.
    fn next(&mut self) -> Result<Vec<Value>, Failure> {
        let page = match &self.source {
            Source::Service(runtime, service) => runtime.block_on(page_of(service, self.after))?,
            Source::Folder(store) => {
                let letters = store.dead_letters(self.after, PAGE_LEN);
                let letters = letters.map_err(|error| Failure::new(74, error))?;
                letters.iter().map(dead_letter_json).collect()
            }
        };
        if let Some(last) = page.last().and_then(|letter| letter["number"].as_u64()) {
            self.after = last;
        }
        Ok(page)
    }
}
