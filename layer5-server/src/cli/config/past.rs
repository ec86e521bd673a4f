//! `layer5 config diff`, `history` and `rollback`: what was applied, compared with what is and put back.
//! In: the history in the data folder, the files. Out: differences by key; the files as they were.
//! Invariants: a file is replaced whole or not at all; what a rollback writes is checked first.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use super::{LayerArgs, refused};
use crate::{
    cli::{Failure, Output, print},
    config::{
        Config, ConfigError, FileRead, Layers, Loaded,
        history::{Entry, History, replace_file},
        live,
    },
};

/// Where a configuration comes from, and where its history is.
#[derive(Args, Clone, Debug)]
pub(super) struct PastArgs {
    #[command(flatten)]
    layers: LayerArgs,
    /// The data folder with the history; without, the one that the configuration names
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl PastArgs {
    /// The history. A configuration that is refused can be rolled back too, so its data folder is looked for all the same.
    fn history(&self) -> Result<Vec<Entry>, Failure> {
        let layers = self.layers.layers();
        let data_dir = self.data_dir.clone().unwrap_or_else(|| data_dir(&layers));
        let entries = History::of(&data_dir).entries();
        let entries = entries.map_err(|error| {
            Failure::new(
                66,
                format!("cannot read the history in {}: {error}", data_dir.display()),
            )
        })?;
        if entries.is_empty() {
            let way_out = "`layer5 serve` writes it; --data-dir names another folder";
            let message = format!(
                "no configuration was applied in {} yet; {way_out}",
                data_dir.display()
            );
            return Err(Failure::new(66, message));
        }
        Ok(entries)
    }
}

/// `store.data_dir` of what the layers say, even when they are refused as a whole.
fn data_dir(layers: &Layers) -> PathBuf {
    if let Ok(loaded) = layers.load() {
        return loaded.config.store.data_dir;
    }
    let of_flag = layers.flags.iter().find(|(key, _)| key == "store.data_dir");
    let variables = &layers.variables;
    let of_variable = || {
        variables
            .iter()
            .find(|(name, _)| name == "LAYER5_STORE__DATA_DIR")
    };
    if let Some((_, value)) = of_flag.or_else(of_variable) {
        return value.into();
    }
    let of_file = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).ok()?;
        let (table, _mistakes) = toml::de::DeTable::parse_recoverable(&text);
        let store = table.get_ref().get("store")?.get_ref().as_table()?;
        let value = store.get("data_dir")?.get_ref().as_str()?;
        Some(PathBuf::from(value))
    };
    let named = layers.paths().iter().rev().find_map(of_file);
    named.unwrap_or_else(|| Config::default().store.data_dir)
}

/// The configuration that an entry was, with the variables and flags of now.
fn of_entry(layers: &Layers, entry: &Entry) -> Result<Loaded, ConfigError> {
    let layers = Layers {
        environment: entry.environment,
        ..layers.clone()
    };
    let n_layers = 1 + usize::from(entry.environment.is_some());
    let layer_files = entry.files.iter().take(n_layers).cloned().collect();
    layers.load_texts(layer_files, |path| template_of(entry, path))
}

fn template_of(entry: &Entry, path: &Path) -> Result<FileRead, ConfigError> {
    let kept = entry.files.iter().find(|file| file.path == path).cloned();
    kept.ok_or_else(|| ConfigError::Read {
        path: path.display().to_string(),
        source: std::io::ErrorKind::NotFound.into(),
        hint: format!("; entry {} of the history had no such file", entry.number),
    })
}

fn numbered(entries: &[Entry], number: u64) -> Result<&Entry, Failure> {
    let found = entries.iter().find(|entry| entry.number == number);
    found.ok_or_else(|| {
        let (first, last) = (entries[0].number, entries[entries.len() - 1].number);
        Failure::new(
            66,
            format!("the history has no entry {number}, only {first} to {last}"),
        )
    })
}

pub(super) fn diff(
    from: Option<&str>,
    to: Option<&str>,
    args: &PastArgs,
    output: Output,
) -> Result<(), Failure> {
    let layers = args.layers.layers();
    let named = |name: &str| match name.parse::<u64>() {
        Ok(number) => {
            let entries = args.history()?;
            of_entry(&layers, numbered(&entries, number)?).map_err(refused)
        }
        Err(_) => {
            let file = Some(PathBuf::from(name));
            let layers = Layers {
                file,
                ..layers.clone()
            };
            layers.load().map_err(refused)
        }
    };
    let from = match from {
        Some(name) => named(name)?,
        None => {
            let entries = args.history()?;
            of_entry(&layers, &entries[entries.len() - 1]).map_err(refused)?
        }
    };
    let to = match to {
        Some(name) => named(name)?,
        None => layers.load().map_err(refused)?,
    };
    let changes = live::changes(&from.config, &to.config);
    if matches!(output, Output::Json) {
        let shown = changes.iter().map(|change| {
            json!({
                "key": change.key, "from": change.from, "to": change.to, "needs_restart": !change.is_live,
            })
        });
        let text = json!({ "changes": shown.collect::<Vec<_>>() });
        print(&format!("{text}\n"));
        return Ok(());
    }
    let mut text = String::new();
    for change in &changes {
        let when = if change.is_live {
            "at a reload"
        } else {
            "needs a restart"
        };
        let _ = writeln!(text, "{change}   # {when}");
    }
    if changes.is_empty() {
        text.push_str("no difference\n");
    }
    print(&text);
    Ok(())
}

pub(super) fn history(args: &PastArgs, output: Output) -> Result<(), Failure> {
    let entries = args.history()?;
    if matches!(output, Output::Json) {
        let text = json!({ "entries": entries });
        print(&format!("{text}\n"));
        return Ok(());
    }
    let layers = args.layers.layers();
    let mut text = String::new();
    let mut before: Option<Loaded> = None;
    for entry in &entries {
        let how = match entry.how {
            crate::config::history::How::Start => "start",
            crate::config::history::How::Reload => "reload",
        };
        let _ = write!(text, "{:>4}  {}  {how:<6}", entry.number, entry.at);
        let loaded = of_entry(&layers, entry).ok();
        let _ = match (&before, &loaded) {
            (Some(before), Some(loaded)) => {
                let changes = live::changes(&before.config, &loaded.config);
                let named: Vec<String> = changes.iter().take(3).map(ToString::to_string).collect();
                let more = changes.len().saturating_sub(3);
                let more = if more > 0 {
                    format!(", and {more} more")
                } else {
                    String::new()
                };
                writeln!(text, "  {}{more}", named.join(", "))
            }
            _ => writeln!(text),
        };
        before = loaded;
    }
    print(&text);
    Ok(())
}

pub(super) fn rollback(to: Option<u64>, only_print: bool, args: &PastArgs) -> Result<(), Failure> {
    let layers = args.layers.layers();
    if layers.file.is_none() {
        return Err(Failure::new(
            2,
            "--config names the file that is rolled back",
        ));
    }
    let entries = args.history()?;
    let goal = match to {
        Some(number) => numbered(&entries, number)?,
        None => goal(&entries)?,
    };
    of_entry(&layers, goal)
        .map_err(|error| refused(format!("entry {} is refused today: {error}", goal.number)))?;
    if only_print {
        for file in &goal.files {
            print(&format!("# {}\n{}\n", file.path.display(), file.text));
        }
        return Ok(());
    }
    for file in &goal.files {
        if std::fs::read_to_string(&file.path).is_ok_and(|now| now == file.text) {
            continue;
        }
        replace_file(&file.path, &file.text).map_err(|error| {
            let way_out = "a ConfigMap is changed with kubectl: --print shows what to put into it";
            Failure::new(
                1,
                format!("cannot write {}: {error}; {way_out}", file.path.display()),
            )
        })?;
        print(&format!(
            "{} is as it was in entry {}\n",
            file.path.display(),
            goal.number
        ));
    }
    print("a running service loads it within seconds; what needs a restart is named in its log\n");
    Ok(())
}

/// What was applied last if the files say something else, or the one before it.
fn goal(entries: &[Entry]) -> Result<&Entry, Failure> {
    let newest = &entries[entries.len() - 1];
    let is_as = |entry: &Entry| {
        let same =
            |file: &FileRead| std::fs::read_to_string(&file.path).is_ok_and(|now| now == file.text);
        entry.files.iter().all(same)
    };
    if !is_as(newest) {
        return Ok(newest);
    }
    let before = entries.iter().rev().find(|entry| !is_as(entry));
    before.ok_or_else(|| {
        Failure::new(
            66,
            format!(
                "entry {} is the only one: there is nothing before it",
                newest.number
            ),
        )
    })
}
