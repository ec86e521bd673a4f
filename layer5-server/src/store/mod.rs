//! The store: everything durable, in one folder, written by one thread and read by any.
//! In: [`Group`]s from the committer. Out: the log for replay, and [`views`](self) of it for queries. Called from: the
//! committer, the outbox, HTTP handlers.
//!
//! State is a function of the log, so durability is decided in one place: [`Store::commit`] writes one group into the
//! log with one fsync, all of it or nothing. What can be asked for (names, patterns, recommendations, the outbox) is a
//! view of the log in a second file that needs no fsync of its own; what it lacks after a crash is applied again
//! at [`Store::open`].
//!
//! ```text
//! data/lock           who has the folder
//! data/epoch          how often it was opened, so that an earlier opening knows that it is over
//! data/log/*.redb     groups, in segments of bounded size
//! data/views.redb     what they amount to
//! data/snapshots/*.l5 state of the shards and the tuner at a position of the log
//! data/history/*      every sample, compressed by series
//! data/seen/*.l5      what the dedup window has seen
//! data/roll/*.l5      names and advice of the part of the log that is gone
//! ```
//! Invariants: after `Ok` from `commit` the group survives any crash; after an error from the disk nothing more is
//! taken until the folder is opened again, because a failed fsync says nothing about what is on the disk.
//! Reference: docs/decisions/0001-store.md.

mod columns;
mod control;
mod epoch;
mod error;
mod format;
mod group;
mod history;
mod image;
mod keeping;
mod lock;
mod log;
mod medium;
mod query;
mod record;
mod repair;
pub(crate) mod restored;
mod roll;
mod seen;
mod snapshot;
mod views;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use layer5_core::codec::PAYLOAD_BYTES_MAX;
use layer5_core::{PatternEvent, PatternKind, Rejection, Timestamp};
use uuid::Uuid;

pub use control::{
    Ask, Control, EvolutionFeedback, MetricSettings, ResourceNotice, StudyCommand,
    TemplateSettings, WatchSettings,
};
pub use error::{CommitError, OpenError, ReadError};
pub use group::{Effects, Evaluation, Group, StoredRecommendation, StoredReport, Totals};
pub use history::{Bucket, HistorySize, Pace, Retention, Tidied};
pub use image::{CHUNK_BYTES, Contents, Image, Rebuild};
pub use log::Groups;
pub use medium::Faults;
pub use query::{
    DeadLetter, DiskSpace, PatternQuery, RecommendationRow, RecommendationState, StoredNames,
};
pub use repair::{Examined, Repair};
pub use seen::{SeenPiece, SeenSince};
pub use snapshot::Snapshot;

/// Limits of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// A log segment is sealed beyond this size; also what recovery reads at most, bytes.
    pub segment_bytes: u64,
    /// Page cache of the newest log segment, bytes.
    pub log_cache_bytes: usize,
    /// Page cache of the views, bytes.
    pub views_cache_bytes: usize,
    /// Groups after which the views are made durable: what [`Store::open`] applies again at most.
    pub checkpoint_groups: u64,
    /// Below this, [`Store::commit`] answers [`CommitError::DiskFull`], bytes.
    pub min_free_bytes: u64,
    /// Size of the dead-letter log; the oldest letters go first, bytes.
    pub dead_letter_bytes_max: u64,
    /// Samples in memory from which a block of history is written.
    pub head_samples: usize,
    /// Most samples in memory; beyond it a commit writes the block itself.
    pub head_samples_max: usize,
    /// Bytes of the log from which a block of history is written, however few samples they hold.
    pub head_log_bytes: u64,
}

impl Default for StoreConfig {
    /// Together under 200 MB of memory: the caches, one group of at most a few MB on its way, and history's head, 24
    /// bytes a sample and 12 MB most of the time.
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            log_cache_bytes: 16 << 20,
            views_cache_bytes: 24 << 20,
            checkpoint_groups: 1024,
            min_free_bytes: 64 << 20,
            dead_letter_bytes_max: 64 << 20,
            head_samples: 1 << 19,
            head_samples_max: 1 << 22,
            head_log_bytes: 32 << 20,
        }
    }
}

/// An open data folder.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    config: StoreConfig,
    log: Arc<log::Log>,
    views: views::Views,
    history: history::History,
    faults: Faults,
    writer: Mutex<Writer>,
    writing: Mutex<Option<keeping::Writing>>,
    poisoned: AtomicBool,
    /// Bytes above the disk budget when it was last looked at, and the budget.
    over_budget_bytes: AtomicU64,
    disk_bytes_max: AtomicU64,
    /// Bytes of groups since a snapshot was begun.
    tail_bytes: AtomicU64,
    /// The oldest group that an [`Image`] still needs; the largest number without one. Held while log segments go.
    image_needs_from: Mutex<u64>,
    epoch: epoch::Epoch,
    _lock: lock::FolderLock,
}

#[derive(Debug)]
struct Writer {
    totals: Totals,
    groups_since_checkpoint: u64,
}

impl Store {
    /// Opens `dir`, or makes a new store of it, and brings the views up to the end of the log.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when another process has it; [`OpenError::NewerFormat`], [`OpenError::Damaged`] with the
    /// file; [`OpenError::Io`]. Nothing is changed then.
    ///
    /// # Cost
    /// Reads the newest log segment and the views, about 1 s a gigabyte, and applies at most
    /// [`StoreConfig::checkpoint_groups`] groups.
    pub fn open(dir: &Path, config: &StoreConfig) -> Result<Self, OpenError> {
        Self::open_with_faults(dir, config, &Faults::default())
    }

    /// [`Store::open`] on a disk that can be made to fail, for tests of what happens then.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with_faults(
        dir: &Path,
        config: &StoreConfig,
        faults: &Faults,
    ) -> Result<Self, OpenError> {
        std::fs::create_dir_all(dir).map_err(|e| OpenError::io(dir, e))?;
        // What is announced may replace what a newer program has left.
        if !restored::is_announced(dir) {
            format::check(dir)?;
        }
        let lock = lock::FolderLock::take(dir)?;
        restored::take(dir).map_err(|e| OpenError::io(dir, e))?;
        format::check(dir)?;
        let (views, applied) = views::Views::open(dir, config.views_cache_bytes, faults)?;
        format::note(dir)?;
        let log_dir = dir.join("log");
        let cache_bytes = config.log_cache_bytes;
        let (log, totals) = log::Log::open(
            log_dir.clone(),
            config.segment_bytes,
            cache_bytes,
            faults.clone(),
        )?;
        let applied = match log.first_seq() {
            // Lost views, or older ones than the log goes back to.
            Some(first_seq) if applied + 1 < first_seq => {
                let restored = roll::restore(&dir.join("roll"), &views)?;
                if let Some(seq) = restored {
                    tracing::warn!(seq, "the views were lost and are made anew from the roll");
                }
                restored.map_or(applied, |seq| seq.max(applied))
            }
            _ => applied,
        };
        if applied > totals.last_seq {
            return Err(OpenError::Damaged {
                file: log_dir,
                detail: format!("ends at group {}, {applied} were there", totals.last_seq),
            });
        }
        let limits = history::HeadLimits {
            samples: config.head_samples,
            log_bytes: config.head_log_bytes,
            samples_max: config.head_samples_max,
        };
        let history = history::History::open(dir.join("history"), limits, faults.clone())?;
        let store = Self {
            dir: dir.to_owned(),
            config: config.clone(),
            log: Arc::new(log),
            views,
            history,
            faults: faults.clone(),
            writing: Mutex::default(),
            over_budget_bytes: AtomicU64::new(0),
            disk_bytes_max: AtomicU64::new(u64::MAX),
            tail_bytes: AtomicU64::new(0),
            image_needs_from: Mutex::new(u64::MAX),
            writer: Mutex::new(Writer {
                totals,
                groups_since_checkpoint: 0,
            }),
            poisoned: AtomicBool::new(false),
            epoch: epoch::Epoch::claim(dir)?,
            _lock: lock,
        };
        store.catch_up(applied, totals.last_seq)?;
        store.fill_head(totals.last_seq)?;
        Ok(store)
    }

    /// Puts what no block of history has yet back into its head.
    fn fill_head(&self, last_seq: u64) -> Result<(), OpenError> {
        self.history.learn(&self.views.names()?.series);
        let Some(first_seq) = self.log.first_seq() else {
            return Ok(());
        };
        let from = first_seq.max(self.history.flushed_seq() + 1);
        for read in self.log.records(from, last_seq) {
            let (group, bytes) = read?;
            let n_bytes = bytes.len() as u64;
            if self.history.is_head_full() {
                self.history.flush()?;
            }
            self.history.append(&group, n_bytes);
            self.tail_bytes.fetch_add(n_bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    fn catch_up(&self, applied: u64, last_seq: u64) -> Result<(), OpenError> {
        if applied == last_seq {
            return Ok(());
        }
        let file = self.dir.join("views.redb");
        let wrong = |e| OpenError::from_redb(&file, e);
        for group in self.log.groups(applied + 1, last_seq) {
            self.views.apply(&group?).map_err(wrong)?;
        }
        self.views.checkpoint(last_seq).map_err(wrong)
    }

    /// Makes `group` durable, whole or not at all, and visible to queries.
    ///
    /// # Errors
    /// [`CommitError::Failed`] at the first failure of the disk and [`CommitError::Poisoned`] ever after; the other
    /// variants leave the store as it was.
    ///
    /// # Cost
    /// One fsync, and more when a segment is sealed or the views are due; 0.1 us of CPU a sample in groups of 7000,
    /// most of it in the kernel.
    pub fn commit(&self, group: &Group) -> Result<(), CommitError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_poisoned() {
            return Err(CommitError::Poisoned);
        }
        let expected = writer.totals.last_seq + 1;
        if group.seq != expected {
            return Err(CommitError::OutOfOrder {
                expected,
                found: group.seq,
            });
        }
        self.check_epoch()?;
        self.check_space()?;
        self.check_budget()?;
        self.make_room_in_head()?;
        let totals = writer.totals.plus(group);
        let bytes = record::encode(group, totals);
        if bytes.len() > PAYLOAD_BYTES_MAX {
            return Err(CommitError::TooLarge {
                bytes: bytes.len(),
                bytes_max: PAYLOAD_BYTES_MAX,
            });
        }
        self.log.append(group, &bytes).map_err(|e| self.poison(e))?;
        writer.totals = totals;
        self.history.append(group, bytes.len() as u64);
        self.tail_bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.views.apply(group).map_err(|e| self.poison(e))?;
        writer.groups_since_checkpoint += 1;
        if writer.groups_since_checkpoint >= self.config.checkpoint_groups {
            self.checkpoint_of(&mut writer)?;
        }
        Ok(())
    }

    /// Makes the views durable too, so that the next [`Store::open`] has nothing to apply.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn checkpoint(&self) -> Result<(), CommitError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.checkpoint_of(&mut writer)
    }

    fn checkpoint_of(&self, writer: &mut Writer) -> Result<(), CommitError> {
        if self.is_poisoned() {
            return Err(CommitError::Poisoned);
        }
        self.views
            .checkpoint(writer.totals.last_seq)
            .map_err(|e| self.poison(e))?;
        writer.groups_since_checkpoint = 0;
        Ok(())
    }

    /// The number of this opening of the folder; a later one has a higher number.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.ours()
    }

    /// Whether the folder is still this opening's own: false when another process has opened it since, which only a
    /// file system that gives locks away allows. Nothing may be written or delivered then.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.epoch.newer().is_none()
    }

    fn check_epoch(&self) -> Result<(), CommitError> {
        let Some(recorded) = self.epoch.newer() else {
            return Ok(());
        };
        self.poisoned.store(true, Ordering::SeqCst);
        let ours = self.epoch.ours();
        Err(CommitError::Fenced { ours, recorded })
    }

    fn check_space(&self) -> Result<(), CommitError> {
        let min_free_bytes = self.config.min_free_bytes;
        match self.disk_space() {
            Ok(DiskSpace { free, .. }) if free < min_free_bytes => Err(CommitError::DiskFull {
                free_bytes: free,
                min_free_bytes,
            }),
            // A file system that does not tell its size will tell when a write fails.
            _ => Ok(()),
        }
    }

    /// The keeper writes blocks in time; when it can't keep up, the one who brings more does so.
    fn make_room_in_head(&self) -> Result<(), CommitError> {
        if !self.history.is_head_full() {
            return Ok(());
        }
        match self.history.flush() {
            Ok(_) => Ok(()),
            Err(source) => Err(CommitError::HeadFull {
                samples_max: self.config.head_samples_max,
                source,
            }),
        }
    }

    fn poison(&self, error: redb::Error) -> CommitError {
        self.poisoned.store(true, Ordering::SeqCst);
        CommitError::Failed {
            source: Box::new(error),
        }
    }

    /// Whether the disk failed, so that nothing is taken any more.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::SeqCst)
    }

    /// What was ever stored.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .totals
    }

    /// The oldest group that is still in the log; `None` in an empty store.
    #[must_use]
    pub fn first_seq(&self) -> Option<u64> {
        self.log.first_seq()
    }

    /// The groups from `seq` to the newest one at this moment, read one by one.
    ///
    /// Each item is an error when its group is damaged ([`ReadError::Damaged`] names file and position) or gone
    /// ([`ReadError::Missing`]); the iterator ends after it.
    #[must_use]
    pub fn groups_from(&self, seq: u64) -> Groups {
        self.log.groups(seq, self.totals().last_seq)
    }

    /// Every name that has a number.
    ///
    /// # Errors
    /// When the views can't be read.
    pub fn names(&self) -> Result<StoredNames, ReadError> {
        self.views.names()
    }

    /// How far each source was read: source -> offset.
    ///
    /// # Errors
    /// When the views can't be read.
    pub fn offsets(&self) -> Result<BTreeMap<String, String>, ReadError> {
        self.views.offsets()
    }

    fn snapshot_dir(&self) -> PathBuf {
        self.dir.join("snapshots")
    }

    fn seen_dir(&self) -> PathBuf {
        self.dir.join("seen")
    }

    fn roll_dir(&self) -> PathBuf {
        self.dir.join("roll")
    }

    /// The patterns that `query` asks for, in the order of their ids.
    ///
    /// # Errors
    /// When the views can't be read.
    ///
    /// # Cost
    /// About 1 us for each pattern looked at, from `query.after` on.
    pub fn patterns(&self, query: &PatternQuery) -> Result<Vec<PatternEvent>, ReadError> {
        self.views.patterns(query)
    }

    /// How many patterns of each kind were ever stored; a kind without one is absent.
    ///
    /// # Errors
    /// When the views can't be read.
    pub fn pattern_counts(&self) -> Result<BTreeMap<PatternKind, u64>, ReadError> {
        self.views.pattern_counts()
    }

    /// The highest pattern id ever stored, 0 before the first; retention does not lower it.
    ///
    /// # Errors
    /// When the views can't be read.
    pub fn last_pattern_id(&self) -> Result<u64, ReadError> {
        self.views.last_pattern_id()
    }

    /// At most `limit` recommendations numbered above `after`, in the order of issue.
    ///
    /// # Errors
    /// When the views can't be read.
    pub fn recommendations(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<RecommendationRow>, ReadError> {
        self.views.recommendations(after, limit)
    }

    /// One recommendation, if it was ever issued.
    ///
    /// # Errors
    /// When the views can't be read.
    pub fn recommendation(&self, id: Uuid) -> Result<Option<RecommendationRow>, ReadError> {
        self.views.recommendation(id)
    }

    /// At most `limit` undelivered recommendations numbered above `after`, in the order of issue and so in order for
    /// every agent.
    ///
    /// # Errors
    /// When the views can't be read.
    pub fn pending(&self, after: u64, limit: usize) -> Result<Vec<RecommendationRow>, ReadError> {
        self.views.pending(after, limit)
    }

    /// How many recommendations wait in the outbox, and how many were ever issued.
    ///
    /// # Errors
    /// When the views can't be read.
    pub fn outbox_depth(&self) -> Result<(u64, u64), ReadError> {
        self.views.outbox_depth()
    }

    /// Takes delivered recommendations out of the outbox, durably, outside the log. A delivery that the tuner should
    /// know of goes through [`Effects::delivered`] or [`Control::Delivered`] instead.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn mark_delivered(&self, ids: &[Uuid]) -> Result<(), CommitError> {
        self.settle(ids, RecommendationState::Delivered, "")
    }

    /// Takes a recommendation out of the outbox that Layer7 refused for good, with its words.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn mark_refused(&self, id: Uuid, words: &str) -> Result<(), CommitError> {
        self.settle(&[id], RecommendationState::Rejected, words)
    }

    fn settle(
        &self,
        ids: &[Uuid],
        state: RecommendationState,
        words: &str,
    ) -> Result<(), CommitError> {
        if self.is_poisoned() {
            return Err(CommitError::Poisoned);
        }
        self.views
            .settle(ids, state, words)
            .map_err(|e| self.poison(e))
    }

    /// Keeps a refused report. It is durable with the next checkpoint, not before: its sender was told already.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn append_dead_letter(
        &self,
        at: Timestamp,
        source: &str,
        rejection: &Rejection,
        raw: &[u8],
    ) -> Result<(), CommitError> {
        if self.is_poisoned() {
            return Err(CommitError::Poisoned);
        }
        let bytes_max = self.config.dead_letter_bytes_max;
        self.views
            .append_dead_letter(at, source, rejection, raw, bytes_max)
            .map_err(|e| self.poison(e))
    }

    /// At most `limit` refused reports numbered above `after`, oldest first.
    ///
    /// # Errors
    /// When the views can't be read.
    pub fn dead_letters(&self, after: u64, limit: usize) -> Result<Vec<DeadLetter>, ReadError> {
        self.views.dead_letters(after, limit)
    }

    /// Removes a refused report, durably. Returns whether it was there.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn remove_dead_letter(&self, number: u64) -> Result<bool, CommitError> {
        if self.is_poisoned() {
            return Err(CommitError::Poisoned);
        }
        self.views
            .remove_dead_letter(number)
            .map_err(|e| self.poison(e))
    }

    /// Removes the oldest patterns while they were detected before `at`. Returns how many went.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn drop_patterns_before(&self, at: Timestamp) -> Result<u64, ReadError> {
        self.views.drop_patterns_before(at)
    }
}
