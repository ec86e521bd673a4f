//! `layer5 backup`: make, list, verify, restore and prune backups.
//! In: a repository, and a running service or the folder of a stopped one. Out: what was done; tables or JSON.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{Failure, Output, finish, print, runtime, service::ServiceArgs};
use crate::{
    backup::{
        BackupError, Kept, Key, Manifest, Place, Present, Repository, create, present, prune,
        restore,
    },
    clock,
    config::{BackupConfig, load},
    store::{Contents, OpenError, Store, StoreConfig},
};

/// Time between two looks at a backup that a service makes.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Back the data up, and bring it back
///
/// A repository is a folder, best on another disk, or s3://bucket/prefix. Backups in it are incremental, compressed,
/// checked when they are read, and encrypted where there is a key file. Which repository: --repository, else backup.repository of the configuration.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  \
    layer5 backup create                                        # the service makes one, running on\n  \
    layer5 backup create --data-dir layer5-data --repository /backups/layer5\n  \
    layer5 backup list --repository /backups/layer5\n  \
    layer5 backup verify latest --repository /backups/layer5\n  \
    layer5 backup restore latest --data-dir layer5-data --repository /backups/layer5 --dry-run\n  \
    layer5 backup prune --keep-last 4 --keep-daily 14 --keep-weekly 8 --repository /backups/layer5")]
pub(super) struct BackupArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a backup
    ///
    /// A running service makes it, of one moment, and goes on taking reports; into the repository of its configuration.
    Create {
        #[command(flatten)]
        service: ServiceArgs,
        /// The data folder of a stopped service, instead of a running one
        #[arg(long, value_name = "FOLDER", conflicts_with = "url")]
        data_dir: Option<PathBuf>,
        #[command(flatten)]
        place: Where,
        /// Text for people, or one JSON object for programs
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Show the backups there are, oldest first
    List {
        #[command(flatten)]
        place: Where,
        /// A table for people, or one JSON object for programs
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Read a backup to its end and check every byte
    Verify {
        /// Its name, a beginning of it, or `latest`; without one all are verified
        id: Option<String>,
        #[command(flatten)]
        place: Where,
        /// Text for people, or one JSON object for programs
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Bring a backup back into a data folder
    ///
    /// What is there is never deleted: it is set aside in the folder as `before-restore-1` and so on. The folder of a
    /// service that runs is replaced when that service is started the next time; what it takes until then is set aside
    /// too. Recommendations that left after the backup leave once more, with the same key, so Layer7 takes them once.
    Restore {
        /// Its name, a beginning of it, or `latest`
        id: String,
        /// The data folder
        #[arg(long, value_name = "FOLDER", default_value = "layer5-data")]
        data_dir: PathBuf,
        /// Only show what would change
        #[arg(long)]
        dry_run: bool,
        /// Also when the folder holds data, which is set aside
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        place: Where,
        /// Text for people, or one JSON object for programs
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Remove old backups, and what only they needed
    ///
    /// A backup stays when any of the --keep options wants it; the newest always does.
    Prune {
        /// Keep the newest so many
        #[arg(long, value_name = "N")]
        keep_last: Option<usize>,
        /// Keep the newest of each of so many days
        #[arg(long, value_name = "N")]
        keep_daily: Option<usize>,
        /// Keep the newest of each of so many weeks
        #[arg(long, value_name = "N")]
        keep_weekly: Option<usize>,
        /// Only show what would go
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        place: Where,
        /// Text for people, or one JSON object for programs
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
}

/// Which repository.
#[derive(Args, Debug)]
struct Where {
    /// The folder of the backups, or s3://bucket/prefix [default: backup.repository of the configuration]
    #[arg(long, value_name = "PLACE")]
    repository: Option<String>,
    /// The key file of an encrypted repository [default: backup.key_file of the configuration]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The configuration, TOML
    #[arg(long, value_name = "FILE", env = "LAYER5_CONFIG")]
    config: Option<PathBuf>,
}

impl Where {
    fn settings(&self) -> Result<BackupConfig, Failure> {
        let config = load(self.config.as_deref(), std::env::vars());
        let mut settings = config.map_err(|e| Failure::new(78, e))?.backup;
        if let Some(place) = &self.repository {
            settings.repository = Some(place.clone());
            settings.key_file = None;
        }
        if self.key_file.is_some() {
            settings.key_file.clone_from(&self.key_file);
        }
        Ok(settings)
    }

    fn place_and_key(&self) -> Result<(Place, Option<Key>), Failure> {
        let settings = self.settings()?;
        let place = Place::of(&settings).map_err(failure)?.ok_or_else(|| {
            let detail =
                "which repository? give --repository PLACE, or set backup.repository in a --config";
            Failure::new(2, detail)
        })?;
        let key = settings.key_file.as_deref().map(Key::read).transpose();
        Ok((place, key.map_err(failure)?))
    }

    fn open(&self) -> Result<Repository, Failure> {
        let (place, key) = self.place_and_key()?;
        Repository::open(place, key).map_err(failure)
    }
}

pub(super) fn run(args: &BackupArgs) -> ExitCode {
    finish(match &args.action {
        Action::Create {
            service,
            data_dir: None,
            output,
            ..
        } => create_by_service(service, *output),
        Action::Create {
            data_dir: Some(dir),
            place,
            output,
            ..
        } => create_of_folder(dir, place, *output),
        Action::List { place, output } => list(place, *output),
        Action::Verify { id, place, output } => verify(id.as_deref(), place, *output),
        Action::Restore {
            id,
            data_dir,
            dry_run,
            force,
            place,
            output,
        } => {
            let aim = Aim {
                dir: data_dir,
                dry_run: *dry_run,
                force: *force,
            };
            restore_to(id, &aim, place, *output)
        }
        Action::Prune {
            keep_last,
            keep_daily,
            keep_weekly,
            dry_run,
            place,
            output,
        } => {
            let wishes = [*keep_last, *keep_daily, *keep_weekly];
            prune_to(wishes, *dry_run, place, *output)
        }
    })
}

fn failure(error: BackupError) -> Failure {
    let code = match &error {
        BackupError::Damaged { .. } | BackupError::NewerFormat { .. } => 65,
        BackupError::NoRepository(_) | BackupError::Unknown { .. } => 66,
        BackupError::Key { .. } | BackupError::Bucket { .. } | BackupError::NotEmpty(_) => 78,
        BackupError::HoldsData(_) => 73,
        BackupError::Folder(OpenError::InUse { .. }) => 75,
        BackupError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => 66,
        _ => 74,
    };
    Failure::new(code, error)
}

fn create_by_service(service: &ServiceArgs, output: Output) -> Result<(), Failure> {
    let path = "/api/v1/backups";
    let runtime = runtime()?;
    let begun = runtime.block_on(service.post(path, &json!({})))?;
    let bar = bar(None);
    let ended = loop {
        let state = runtime.block_on(service.get(path))?;
        bar.set_position(state["read_bytes"].as_u64().unwrap_or(0));
        if state["finished"].as_u64() > begun["finished"].as_u64() {
            break state;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    bar.finish_and_clear();
    match ended["error"].as_str() {
        None => shown(&ended["newest"], output),
        Some(error) => {
            let detail = format!("the service made no backup: {error}");
            Err(Failure::new(74, detail))
        }
    }
}

fn create_of_folder(dir: &Path, place: &Where, output: Output) -> Result<(), Failure> {
    if present(dir) == Present::Empty {
        let detail = format!("{} is no data folder", dir.display());
        return Err(Failure::new(66, detail));
    }
    let (place, key) = place.place_and_key()?;
    let store = Store::open(dir, &StoreConfig::default());
    let store = store.map_err(|e| failure(e.into()))?;
    let repository = Repository::open_or_make(place, key).map_err(failure)?;
    let bar = bar(Some(store.disk_bytes()));
    let made = create(&store, &repository, clock::now(), |progress| {
        bar.set_position(progress.bytes);
        true
    });
    bar.finish_and_clear();
    let (id, manifest) = made.map_err(failure)?;
    shown(&as_json(&id, &manifest), output)
}

fn shown(backup: &Value, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        print(&format!("{backup}\n"));
        return Ok(());
    }
    let bytes = |key: &str| HumanBytes(backup[key].as_u64().unwrap_or(0));
    let id = backup["id"].as_str().unwrap_or_default();
    let seconds = backup["seconds"].as_f64().unwrap_or(0.0);
    print(&format!(
        "{id}: {}, {} of it new, in {seconds:.1} s\n",
        bytes("bytes"),
        bytes("new_bytes")
    ));
    Ok(())
}

fn list(place: &Where, output: Output) -> Result<(), Failure> {
    let repository = place.open()?;
    let mut backups = Vec::new();
    let mut damaged = Vec::new();
    for id in repository.ids().map_err(failure)? {
        match repository.manifest(&id) {
            Ok(manifest) => backups.push((id, manifest)),
            Err(error) => damaged.push((id, error.to_string())),
        }
    }
    match output {
        Output::Json => {
            let all: Vec<Value> = backups.iter().map(|(id, m)| as_json(id, m)).collect();
            let bad: Vec<Value> = damaged
                .iter()
                .map(|(id, error)| json!({ "id": id, "error": error }))
                .collect();
            print(&format!("{}\n", json!({ "backups": all, "damaged": bad })));
        }
        Output::Text => {
            let mut table = Table::new();
            table.load_style(presets::NOTHING);
            table.set_header(["backup", "made", "holds", "new", "reports", "agents", "by"]);
            for (id, manifest) in &backups {
                table.add_row([
                    id.clone(),
                    manifest.created_at.to_string(),
                    HumanBytes(manifest.bytes).to_string(),
                    HumanBytes(manifest.new_bytes).to_string(),
                    manifest.contents.totals.reports.to_string(),
                    manifest.contents.agents.to_string(),
                    manifest.version.clone(),
                ]);
            }
            print(&format!("{table}\n"));
        }
    }
    match damaged.first() {
        None => Ok(()),
        Some((_, error)) => {
            let detail = format!("{} of the backups can't be read: {error}", damaged.len());
            Err(Failure::new(65, detail))
        }
    }
}

fn verify(id: Option<&str>, place: &Where, output: Output) -> Result<(), Failure> {
    let repository = place.open()?;
    let ids = match id {
        Some(id) => vec![repository.find(id).map_err(failure)?],
        None => repository.ids().map_err(failure)?,
    };
    let manifests: Result<Vec<Manifest>, _> =
        ids.iter().map(|id| repository.manifest(id)).collect();
    let manifests = manifests.map_err(failure)?;
    let most = manifests.iter().map(|m| m.bytes).max();
    let bar = bar(most);
    let verified = repository.verify(&manifests, |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    let verified = verified.map_err(failure)?;
    let backups: Vec<Value> = ids
        .iter()
        .zip(&manifests)
        .map(|(id, manifest)| as_json(id, manifest))
        .collect();
    print(&match output {
        Output::Json => {
            let (objects, bytes) = (verified.objects, verified.bytes);
            let report = json!({ "backups": backups, "objects": objects, "bytes": bytes });
            format!("{report}\n")
        }
        Output::Text => format!(
            "{} backups are whole: {} in {} objects\n",
            backups.len(),
            HumanBytes(verified.bytes),
            verified.objects
        ),
    });
    Ok(())
}

struct Aim<'a> {
    dir: &'a Path,
    dry_run: bool,
    force: bool,
}

fn restore_to(id: &str, aim: &Aim<'_>, place: &Where, output: Output) -> Result<(), Failure> {
    let repository = place.open()?;
    let id = repository.find(id).map_err(failure)?;
    let manifest = repository.manifest(&id).map_err(failure)?;
    if aim.dry_run {
        return difference(&id, &manifest, aim, output);
    }
    let began = Instant::now();
    let bar = bar(Some(manifest.bytes));
    let restored = restore(&repository, &manifest, aim.dir, aim.force, |bytes| {
        bar.inc(bytes);
    });
    bar.finish_and_clear();
    let restored = restored.map_err(failure)?;
    let seconds = began.elapsed().as_secs_f64();
    print(&match output {
        Output::Json => {
            let report = json!({
                "id": id,
                "data_dir": aim.dir,
                "bytes": manifest.bytes,
                "seconds": seconds,
                "content": manifest.content_hash(),
                "aside": restored.aside,
                "waits_for_restart": restored.waits_for_restart,
            });
            format!("{report}\n")
        }
        Output::Text => {
            let (dir, bytes) = (aim.dir.display(), HumanBytes(manifest.bytes));
            let mut text = format!("{id}: {bytes} restored to {dir} in {seconds:.1} s\n");
            if let Some(aside) = &restored.aside {
                text.push_str(&format!("what was there is in {}\n", aside.display()));
            }
            if restored.waits_for_restart {
                text.push_str(
                    "a service uses the folder: start it again, and it takes the backup\n",
                );
            }
            text
        }
    });
    Ok(())
}

/// What a restore would change.
fn difference(id: &str, manifest: &Manifest, aim: &Aim<'_>, output: Output) -> Result<(), Failure> {
    let before = present(aim.dir);
    let (now, note) = match before {
        Present::Empty => (Some(Contents::default()), "the folder is empty".to_owned()),
        Present::Data(contents) => (
            Some(contents),
            "the folder holds data: --force sets it aside".to_owned(),
        ),
        Present::InUse(pid) => {
            let pid = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            let note = format!(
                "a service uses the folder{pid}: `layer5 status` says what it holds; with --force it takes the \
                 backup when it is started again"
            );
            (None, note)
        }
        Present::Unreadable => (
            None,
            "the folder's data can't be opened: --force sets it aside".to_owned(),
        ),
    };
    let rows = |contents: Contents| {
        [
            ("reports", contents.totals.reports),
            ("samples", contents.totals.samples),
            ("newest group", contents.totals.last_seq),
            ("agents", contents.agents),
            ("series", contents.series),
            ("newest pattern", contents.last_pattern_id),
            ("recommendations", contents.recommendations),
            ("waiting in the outbox", contents.outbox),
        ]
    };
    let then = rows(manifest.contents);
    if output == Output::Json {
        let object = |rows: [(&str, u64); 8]| -> Value {
            rows.iter()
                .map(|(name, n)| ((*name).to_owned(), json!(n)))
                .collect()
        };
        let report = json!({
            "id": id,
            "created_at": manifest.created_at,
            "now": now.map(|contents| object(rows(contents))),
            "then": object(then),
            "note": note,
        });
        print(&format!("{report}\n"));
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["", "now", "after the restore", "change"]);
    for (i, (name, then)) in then.into_iter().enumerate() {
        let now = now.map(|contents| rows(contents)[i].1);
        let change = now.map_or_else(String::new, |now| {
            format!("{:+}", i128::from(then) - i128::from(now))
        });
        let now = now.map_or_else(|| "?".to_owned(), |now| now.to_string());
        table.add_row([name.to_owned(), now, then.to_string(), change]);
    }
    let at = manifest.created_at;
    print(&format!(
        "{id}, of {at}\n{table}\n{note}\nnothing was changed\n"
    ));
    Ok(())
}

fn prune_to(
    [last, daily, weekly]: [Option<usize>; 3],
    dry_run: bool,
    place: &Where,
    output: Output,
) -> Result<(), Failure> {
    let settings = place.settings()?;
    let kept = Kept {
        last: last.unwrap_or(settings.keep_last),
        daily: daily.unwrap_or(settings.keep_daily),
        weekly: weekly.unwrap_or(settings.keep_weekly),
    };
    let repository = place.open()?;
    let pruned = prune(&repository, kept, SystemTime::now(), dry_run).map_err(failure)?;
    print(&match output {
        Output::Json => {
            let (backups, objects, bytes) = (&pruned.backups, pruned.objects, pruned.bytes);
            let report = json!({ "removed": backups, "objects": objects, "bytes": bytes, "dry_run": dry_run });
            format!("{report}\n")
        }
        Output::Text => {
            let verb = if dry_run { "would go" } else { "went" };
            let mut text: String = pruned
                .backups
                .iter()
                .map(|id| format!("{id} {verb}\n"))
                .collect();
            let n = pruned.backups.len();
            let bytes = HumanBytes(pruned.bytes);
            text.push_str(&format!("{n} backups and {bytes} {verb}\n"));
            text
        }
    });
    Ok(())
}

fn as_json(id: &str, manifest: &Manifest) -> Value {
    json!({
        "id": id,
        "created_at": manifest.created_at,
        "version": manifest.version,
        "contents": manifest.contents,
        "content": manifest.content_hash(),
        "bytes": manifest.bytes,
        "new_bytes": manifest.new_bytes,
        "seconds": manifest.seconds,
    })
}

/// A bar on standard error where a person looks at it.
fn bar(bytes: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = match bytes {
        Some(_) => "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        None => "{bytes} read, {bytes_per_sec}",
    };
    let style = ProgressStyle::with_template(template).expect("the template is a constant");
    match bytes {
        Some(n) => ProgressBar::new(n),
        None => ProgressBar::new_spinner(),
    }
    .with_style(style)
}
