//! Repair: what of a stopped folder is damaged, what can be saved, and saving it.
//! In: the folder. Out: [`Examined`] files, and with [`Repair::apply`] a folder that opens again. Called from: `cli/repair`.
//! What is damaged is moved to `damaged/`, never deleted; in its place comes what could be read of it. A group of the log
//! that can't be read is replaced by an empty one of the same position, so that positions stay dense and none is used
//! twice.
//! Invariants: examining changes nothing, since databases are read from memory; nothing that can be read is dropped.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};

use super::error::{OpenError, ReadError};
use super::group::{Group, Totals};
use super::medium::{self, Faults};
use super::{format, history, lock, log, record, snapshot, views};

/// What was found of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// Which.
    pub file: PathBuf,
    /// What it holds.
    pub holds: String,
    /// What is wrong with it, and where; `None` when it is whole.
    pub damage: Option<String>,
    /// What becomes of it when the repair is applied; empty when it is whole.
    pub remedy: String,
}

/// A folder that was examined; it is locked as long as this lives.
#[derive(Debug)]
pub struct Repair {
    dir: PathBuf,
    examined: Vec<Examined>,
    steps: Vec<Step>,
    _lock: lock::FolderLock,
}

/// What is done about one damaged file.
#[derive(Debug)]
enum Step {
    /// It is moved away.
    SetAside(PathBuf),
    /// A log segment is written anew with these groups; those in between are left empty.
    Rewrite {
        file: PathBuf,
        first_seq: u64,
        last_seq: u64,
        groups: Vec<(u64, Vec<u8>)>,
    },
    /// A block of history is written anew.
    Salvage(PathBuf),
}

/// What could be read of a log segment.
struct Segment {
    groups: Vec<(u64, Vec<u8>)>,
    damage: Option<String>,
}

impl Repair {
    /// Looks at every file of `dir`.
    ///
    /// # Errors
    /// When there is no folder, a newer program has written it, another process has it, or the disk refuses.
    ///
    /// # Cost
    /// Reads everything once; one log segment, or the views, is in memory at a time, and what could be saved of damaged
    /// segments.
    pub fn examine(dir: &Path) -> Result<Self, OpenError> {
        let log_dir = dir.join("log");
        fs::read_dir(&log_dir).map_err(|e| OpenError::io(&log_dir, e))?;
        format::check(dir)?;
        let mut repair = Self {
            dir: dir.to_owned(),
            examined: Vec::new(),
            steps: Vec::new(),
            _lock: lock::FolderLock::take(dir)?,
        };
        let last_seen = repair.examine_snapshots()?.max(repair.examine_history());
        let segments = log::segment_files(&log_dir);
        let first_seq = segments.first().map_or(1, |(seq, _)| *seq);
        let applied = repair.examine_views(first_seq);
        let last_seen = last_seen.max(applied);
        for (i, (first_seq, file)) in segments.iter().enumerate() {
            let next_seq = segments.get(i + 1).map(|(seq, _)| *seq);
            repair.examine_segment(file, *first_seq, next_seq, last_seen)?;
        }
        Ok(repair)
    }

    /// Every file, in the order looked at.
    #[must_use]
    pub fn examined(&self) -> &[Examined] {
        &self.examined
    }

    /// Whether there is nothing to repair.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.steps.is_empty()
    }

    fn found(&mut self, file: &Path, holds: String, damage: Option<(String, &str, Step)>) {
        let (damage, remedy) = match damage {
            None => (None, String::new()),
            Some((damage, remedy, step)) => {
                self.steps.push(step);
                (Some(damage), remedy.to_owned())
            }
        };
        self.examined.push(Examined {
            file: file.to_owned(),
            holds,
            damage,
            remedy,
        });
    }

    /// Returns the newest position of a snapshot.
    fn examine_snapshots(&mut self) -> Result<u64, OpenError> {
        let mut newest = 0;
        for (seq, file) in snapshot::list(&self.dir.join("snapshots"))? {
            newest = newest.max(seq);
            let damage = snapshot::verify(&file).err().map(|error| {
                let remedy = "moved away: the snapshot before it is taken, or the log replayed";
                (detail_of(&error), remedy, Step::SetAside(file.clone()))
            });
            self.found(&file, format!("state at group {seq}"), damage);
        }
        Ok(newest)
    }

    /// Returns the newest position of a block.
    fn examine_history(&mut self) -> u64 {
        let mut newest = 0;
        for file in history::block_files(&self.dir.join("history")) {
            match history::examine_block(&file) {
                Ok(block) => {
                    newest = newest.max(block.last_seq);
                    let damage = block.damage.map(|error| {
                        let remedy = "written anew without the chunks that can't be read";
                        (detail_of(&error), remedy, Step::Salvage(file.clone()))
                    });
                    self.found(&file, format!("{} of {}", block.n, block.what), damage);
                }
                Err(error) => {
                    let remedy = "moved away: its samples are lost unless the log still has them";
                    let damage = (detail_of(&error), remedy, Step::SetAside(file.clone()));
                    self.found(&file, "a block of history".into(), Some(damage));
                }
            }
        }
        newest
    }

    /// Returns the newest group applied.
    fn examine_views(&mut self, first_seq: u64) -> u64 {
        let file = self.dir.join("views.redb");
        if !file.exists() {
            return 0;
        }
        match from_memory(&file, true).and_then(|database| views::examine(&database)) {
            Ok((applied, n_rows)) => {
                self.found(&file, format!("{n_rows} rows, as of group {applied}"), None);
                applied
            }
            Err(error) => {
                // Whoever rebuilds it needs every name, from the first group on.
                let has_roll = snapshot::list(&self.dir.join("roll")).is_ok_and(|r| !r.is_empty());
                let remedy = match first_seq {
                    1 => "moved away: rebuilt from the log at the next start",
                    _ if has_roll => {
                        "moved away: rebuilt from the roll and the log at the next start; dead letters and old patterns are lost"
                    }
                    _ => {
                        "moved away: the log no longer has its first groups, so the names can't be rebuilt; restore views.redb from a backup"
                    }
                };
                let damage = (error.to_string(), remedy, Step::SetAside(file.clone()));
                self.found(
                    &file,
                    "names, patterns, recommendations".into(),
                    Some(damage),
                );
                0
            }
        }
    }

    fn examine_segment(
        &mut self,
        file: &Path,
        first_seq: u64,
        next_seq: Option<u64>,
        last_seen: u64,
    ) -> Result<(), OpenError> {
        let segment = read_segment(file, first_seq, next_seq);
        let last_read = segment.groups.last().map_or(first_seq, |(seq, _)| *seq);
        let last_seq = next_seq.map_or(last_read.max(last_seen), |next| next - 1);
        let n_read = segment.groups.len() as u64;
        let n = last_seq + 1 - first_seq;
        let damage = segment
            .damage
            .or_else(|| (n_read < n).then(|| format!("{} groups are missing", n - n_read)));
        let holds = format!("{n_read} of {n} groups from {first_seq} on");
        let damage = damage.map(|damage| {
            let step = Step::Rewrite {
                file: file.to_owned(),
                first_seq,
                last_seq,
                groups: segment.groups,
            };
            (
                damage,
                "written anew with the groups that can be read",
                step,
            )
        });
        self.found(file, holds, damage);
        Ok(())
    }

    /// Does what [`Examined::remedy`] says. Returns the folder that the damaged files are in.
    ///
    /// # Errors
    /// When the disk refuses; examine again then, what is done is done.
    pub fn apply(self) -> Result<PathBuf, OpenError> {
        let aside = self.dir.join("damaged");
        fs::create_dir_all(&aside).map_err(|e| OpenError::io(&aside, e))?;
        for step in self.steps {
            match step {
                Step::SetAside(file) => {
                    set_aside(&file, &aside)?;
                }
                Step::Rewrite {
                    file,
                    first_seq,
                    last_seq,
                    groups,
                } => {
                    set_aside(&file, &aside)?;
                    rewrite(&file, first_seq, last_seq, groups)?;
                }
                Step::Salvage(file) => {
                    let moved = set_aside(&file, &aside)?;
                    let dir = file.parent().unwrap_or(&self.dir);
                    history::salvage_block(dir, &moved)?;
                }
            }
        }
        for dir in [
            self.dir.join("log"),
            self.dir.join("history"),
            aside.clone(),
        ] {
            if dir.exists() {
                medium::sync_dir(&dir).map_err(|e| OpenError::io(&dir, e))?;
            }
        }
        Ok(aside)
    }
}

fn detail_of(error: &ReadError) -> String {
    match error {
        ReadError::Damaged { at, detail, .. } => format!("at {at}: {detail}"),
        other => other.to_string(),
    }
}

/// Moves `file` into `aside`, under a name of its own. Returns where it is.
fn set_aside(file: &Path, aside: &Path) -> Result<PathBuf, OpenError> {
    let name = file.file_name().unwrap_or_default();
    let mut to = aside.join(name);
    for n in 1.. {
        if !to.exists() {
            break;
        }
        to = aside.join(format!("{n}-{}", name.to_string_lossy()));
    }
    fs::rename(file, &to).map_err(|e| OpenError::io(file, e))?;
    Ok(to)
}

/// The database of `file` in memory, so that opening it changes nothing on disk.
fn from_memory(file: &Path, verify: bool) -> Result<Database, redb::Error> {
    let bytes = fs::read(file)?;
    let memory = InMemoryBackend::new();
    memory.set_len(bytes.len() as u64)?;
    memory.write(0, &bytes)?;
    drop(bytes);
    let open = || {
        Database::builder()
            .set_cache_size(16 << 20)
            .set_check_integrity_on_open(verify)
            .create_with_backend(memory)
    };
    // A damaged tree makes the engine panic in places.
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(opened) => Ok(opened?),
        Err(_panic) => Err(redb::Error::Corrupted("the engine panicked".into())),
    }
}

fn read_segment(file: &Path, first_seq: u64, next_seq: Option<u64>) -> Segment {
    let mut segment = Segment {
        groups: Vec::new(),
        damage: None,
    };
    if let Err(error) = from_memory(file, true) {
        segment.damage = Some(error.to_string());
    }
    let database = match from_memory(file, false) {
        Ok(database) => database,
        Err(error) => {
            segment.damage.get_or_insert(error.to_string());
            return segment;
        }
    };
    // Unclosed, a damaged tree can't trip over itself once more.
    let database = std::mem::ManuallyDrop::new(database);
    let last = catch_unwind(AssertUnwindSafe(|| log::last_seq(&database)));
    let last_seq = next_seq
        .map(|next| next - 1)
        .or_else(|| last.ok().and_then(Result::ok).flatten());
    for seq in first_seq..=last_seq.unwrap_or(first_seq) {
        let read = catch_unwind(AssertUnwindSafe(|| log::read_group(&database, seq)));
        let detail = match read {
            Ok(Ok(bytes)) if bytes.is_empty() => "it is missing".to_owned(),
            Ok(Ok(bytes)) => match record::decode(&bytes) {
                Ok((group, _)) if group.seq == seq => {
                    segment.groups.push((seq, bytes));
                    continue;
                }
                Ok((group, _)) => format!("it holds group {}", group.seq),
                Err(error) => error.to_string(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(_panic) => "the engine panicked".to_owned(),
        };
        let damage = format!("at group {seq}: {detail}");
        segment.damage.get_or_insert(damage);
    }
    segment
}

/// Writes `file` anew with `groups` and empty ones between them.
fn rewrite(
    file: &Path,
    first_seq: u64,
    last_seq: u64,
    groups: Vec<(u64, Vec<u8>)>,
) -> Result<(), OpenError> {
    let wrong = |e| OpenError::from_redb(file, e);
    let unnamed = file.with_extension("redb.new");
    let database = medium::open(&unnamed, 16 << 20, false, &Faults::default()).map_err(wrong)?;
    let mut groups = groups.into_iter().peekable();
    let mut totals = Totals::default();
    let mut at = log::first_at(file);
    for seq in first_seq..=last_seq {
        let bytes = match groups.next_if(|(readable, _)| *readable == seq) {
            Some((_, bytes)) => {
                let (group, after) =
                    record::decode(&bytes).map_err(|e| OpenError::from_decode(file, &e))?;
                (totals, at) = (after, group.at);
                bytes
            }
            None => {
                let empty = Group {
                    seq,
                    at,
                    ..Group::default()
                };
                totals = totals.plus(&empty);
                record::encode(&empty, totals)
            }
        };
        log::write_group(&database, seq, &bytes).map_err(wrong)?;
    }
    drop(database);
    fs::rename(&unnamed, file).map_err(|e| OpenError::io(file, e))
}
