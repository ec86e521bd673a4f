//! What keeps the folder in shape: history out of the log, snapshots, retention, the disk budget.
//! In: calls from the keeper's thread, and from the committer where it says so. Out: files that came and went.
//! Called from: [`crate::pipeline`]'s keeper. Next on the way: [`super::history`], [`super::snapshot`].
//! Invariants: nothing here touches what the log promises: a log segment goes only when history, two snapshots and the
//! dedup window can do without it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use layer5_core::{AgentId, Sample, SeriesId, Timestamp};

use super::error::{CommitError, ReadError};
use super::history::{Bucket, HistorySize, Pace, Retention, Tidied};
use super::log;
use super::seen::{self, SeenPiece, SeenSince};
use super::snapshot::{self, Snapshot, SnapshotWriter};
use super::{DiskSpace, Store, roll};

/// A snapshot on its way to the disk.
#[derive(Debug)]
pub(super) struct Writing {
    writer: SnapshotWriter,
    /// What the dedup window has seen since the snapshot before it.
    seen: SeenSince,
    /// All parts are there, and what they depend on is durable.
    complete: bool,
}

impl Store {
    /// Starts the snapshot of position `seq`, with what was `seen` since the one before; one that was under way is given up.
    ///
    /// # Errors
    /// When the disk refuses, or has no room for a snapshot as large as the last one.
    pub fn begin_snapshot(&self, seq: u64, seen: SeenSince) -> Result<(), ReadError> {
        let dir = self.snapshot_dir();
        let last_bytes = snapshot::list(&dir)?
            .first()
            .and_then(|(_, path)| path.metadata().ok())
            .map_or(0, |metadata| metadata.len());
        let needed = self.config.min_free_bytes.saturating_add(last_bytes);
        if let Ok(DiskSpace { free, .. }) = self.disk_space()
            && free < needed
        {
            let detail = format!("{free} bytes free, a snapshot needs {needed}");
            let source = std::io::Error::new(std::io::ErrorKind::StorageFull, detail);
            return Err(ReadError::Io { file: dir, source });
        }
        let mut writing = self.lock_snapshot();
        *writing = None;
        *writing = Some(Writing {
            writer: SnapshotWriter::create(&dir, seq, &self.faults)?,
            seen,
            complete: false,
        });
        self.tail_bytes.store(0, Ordering::Release);
        Ok(())
    }

    /// Whether parts for a snapshot of `seq` are wanted.
    #[must_use]
    pub fn wants_snapshot(&self, seq: u64) -> bool {
        let writing = self.lock_snapshot();
        writing.as_ref().is_some_and(|w| w.writer.seq() == seq)
    }

    /// Bytes that the log has grown by since the last snapshot was begun.
    #[must_use]
    pub fn tail_bytes(&self) -> u64 {
        self.tail_bytes.load(Ordering::Acquire)
    }

    /// Adds a part to the snapshot of `seq`; a part of one that was given up is left out.
    ///
    /// # Errors
    /// When the disk refuses; the snapshot is given up then.
    pub fn add_to_snapshot(&self, seq: u64, name: &str, bytes: Vec<u8>) -> Result<(), ReadError> {
        let mut writing = self.lock_snapshot();
        let Some(snapshot) = writing.as_mut().filter(|w| w.writer.seq() == seq) else {
            return Ok(());
        };
        let added = snapshot.writer.add(name, bytes);
        if added.is_err() {
            *writing = None;
        }
        added
    }

    /// All parts of the snapshot of `seq` are there; [`Store::publish_snapshot`] does the rest. Returns whether there is
    /// one.
    pub fn complete_snapshot(&self, seq: u64) -> bool {
        let mut writing = self.lock_snapshot();
        match writing.as_mut().filter(|w| w.writer.seq() == seq) {
            Some(snapshot) => {
                snapshot.complete = true;
                true
            }
            None => false,
        }
    }

    /// Makes a complete snapshot durable and removes the ones it replaces. Returns its position; `None` when there is
    /// none to publish.
    ///
    /// # Errors
    /// When the disk refuses; the snapshots that were there stay.
    pub fn publish_snapshot(&self) -> Result<Option<u64>, ReadError> {
        let complete = self.lock_snapshot().take_if(|writing| writing.complete);
        let Some(Writing { writer, seen, .. }) = complete else {
            return Ok(None);
        };
        seen.write(&self.seen_dir(), &self.faults)?;
        writer.publish(snapshot::KEPT).map(Some)
    }

    /// Writes the state of position `seq` in one go and keeps the snapshot before it; older ones go.
    ///
    /// # Errors
    /// When the disk refuses; the snapshots that were there stay.
    pub fn write_snapshot(&self, seq: u64, parts: &[(String, Vec<u8>)]) -> Result<(), ReadError> {
        self.begin_snapshot(seq, SeenSince::default())?;
        for (name, bytes) in parts {
            self.add_to_snapshot(seq, name, bytes.clone())?;
        }
        self.complete_snapshot(seq);
        self.publish_snapshot().map(|_seq| ())
    }

    fn lock_snapshot(&self) -> std::sync::MutexGuard<'_, Option<Writing>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest snapshot that reads back whole, else the newest of which parts can be read. Damaged ones are named in
    /// the log.
    ///
    /// # Errors
    /// When the folder can't be read.
    ///
    /// # Cost
    /// Reads it once to its end; the parts are read again when they are asked for.
    pub fn latest_snapshot(&self) -> Result<Option<Snapshot>, ReadError> {
        let (found, damaged) = snapshot::latest(&self.snapshot_dir(), self.totals().last_seq)?;
        for error in damaged {
            tracing::warn!(%error, "a snapshot is damaged, an older one is taken or what can be read of it");
        }
        Ok(found)
    }

    /// Shows `visit` what the dedup window had seen with each snapshot, oldest first. Pieces that can't be read are named
    /// in the log, and left out.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn visit_seen(&self, visit: impl FnMut(SeenPiece)) -> Result<(), ReadError> {
        let damaged = |error: &ReadError| {
            tracing::warn!(%error, "the dedup window reads this part from the log");
        };
        seen::visit(&self.seen_dir(), visit, damaged)
    }

    /// Removes log segments whose groups are all older than `at`, as far as history, no kept snapshot and no image need them.
    /// Without a snapshot everything is needed. Returns how many segments went.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn drop_log_before(&self, at: Timestamp) -> Result<usize, ReadError> {
        let Some(snapshot_seq) = snapshot::oldest_seq(&self.snapshot_dir())? else {
            return Ok(0);
        };
        let keep_from = snapshot_seq.min(self.history.flushed_seq()) + 1;
        if !self.log.has_before(at, keep_from) {
            return Ok(0);
        }
        // A view that is not durable needs its groups; after a checkpoint none does.
        if self.checkpoint().is_err() {
            return Ok(0);
        }
        let seq = self.totals().last_seq;
        roll::write(&self.roll_dir(), seq, &self.views, &self.faults)?;
        let image_needs_from = self.image_needs_from();
        let n_dropped = self.log.drop_before(at, keep_from.min(*image_needs_from))?;
        drop(image_needs_from);
        if let Some(first_seq) = self.log.first_seq() {
            seen::drop_before(&self.seen_dir(), first_seq)?;
        }
        Ok(n_dropped)
    }

    /// Writes a block of history when the head is large enough for one. Returns its bytes.
    ///
    /// # Errors
    /// When the disk refuses; the head stays as it is.
    pub fn flush_history_if_due(&self) -> Result<u64, ReadError> {
        if !self.history.is_flush_due() {
            return Ok(0);
        }
        self.history.flush()
    }

    /// Writes a block of history of all that is in memory. Returns its bytes.
    ///
    /// # Errors
    /// When the disk refuses; the head stays as it is.
    pub fn flush_history(&self) -> Result<u64, ReadError> {
        self.history.flush()
    }

    /// Does the most urgent thing that there is to do with history on disk: what is too old or over the budget goes,
    /// small blocks are merged; then says whether the budget is kept, on which [`Store::commit`] depends.
    ///
    /// # Errors
    /// When the disk refuses, or a block is damaged: it stays, with those it was to be merged with.
    pub fn tidy_history(
        &self,
        retention: &Retention,
        now: Timestamp,
        pace: &mut Pace,
    ) -> Result<Tidied, ReadError> {
        let bytes = self.disk_bytes();
        let tidied = self.history.tidy(retention, now, bytes, pace);
        let bytes_max = retention.disk_bytes_max;
        let over = self.disk_bytes().saturating_sub(bytes_max);
        self.over_budget_bytes.store(over, Ordering::Release);
        self.disk_bytes_max.store(bytes_max, Ordering::Release);
        tidied
    }

    /// Whether the budget of the last [`Store::tidy_history`] was exceeded, though all that may go had gone.
    #[must_use]
    pub fn is_over_budget(&self) -> bool {
        self.over_budget_bytes.load(Ordering::Acquire) > 0
    }

    /// Takes nothing more, as after a failed commit, when `error` says that the disk fails rather than that it is full.
    /// Returns whether it does.
    pub fn poison_if_broken(&self, error: &ReadError) -> bool {
        use std::io::ErrorKind::{NotFound, OutOfMemory, QuotaExceeded, StorageFull};
        let is_broken = match error {
            ReadError::Io { source, .. } => {
                ![NotFound, OutOfMemory, QuotaExceeded, StorageFull].contains(&source.kind())
            }
            _ => false,
        };
        if is_broken {
            self.poisoned.store(true, Ordering::SeqCst);
        }
        is_broken
    }

    pub(super) fn check_budget(&self) -> Result<(), CommitError> {
        match self.over_budget_bytes.load(Ordering::Acquire) {
            0 => Ok(()),
            over => {
                let bytes_max = self.disk_bytes_max.load(Ordering::Acquire);
                Err(CommitError::OverBudget {
                    bytes: bytes_max + over,
                    bytes_max,
                })
            }
        }
    }

    /// How large history is.
    #[must_use]
    pub fn history_size(&self) -> HistorySize {
        self.history.size()
    }

    /// Shows `visit` every sample of a series from `from` to before `to`, in no particular order.
    ///
    /// # Errors
    /// When a block can't be read or is damaged.
    ///
    /// # Cost
    /// The agent's chunks of that span are read and one series of them decoded, about 10 ns a sample; the head is
    /// looked through, about 1 ns for each of its samples.
    pub fn samples(
        &self,
        key: (AgentId, SeriesId),
        from: Timestamp,
        to: Timestamp,
        visit: impl FnMut(Sample),
    ) -> Result<(), ReadError> {
        self.history.samples(key, from, to, visit)
    }

    /// What is known of a series from `from` to before `to`, in buckets of `width_nanos` that start at multiples of it;
    /// empty ones are absent. Where samples have become aggregates, buckets are no finer than those.
    ///
    /// # Errors
    /// As [`Store::samples`].
    pub fn buckets(
        &self,
        key: (AgentId, SeriesId),
        from: Timestamp,
        to: Timestamp,
        width_nanos: i64,
    ) -> Result<std::collections::BTreeMap<Timestamp, Bucket>, ReadError> {
        self.history.buckets(key, from, to, width_nanos)
    }

    /// Bytes of all files of the store; what a repair or a restore set aside is not the store's.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.disk_bytes_by_part()
            .iter()
            .map(|(_, bytes)| bytes)
            .sum()
    }

    /// Bytes of the log, of history, of the views and of the snapshots with what goes with them (`seen`, `roll`).
    #[must_use]
    pub fn disk_bytes_by_part(&self) -> [(&'static str, u64); 4] {
        let under = |name: &str| log::bytes_under(&self.dir.join(name));
        let views = self.dir.join("views.redb").metadata();
        [
            ("log", under("log")),
            ("history", under("history")),
            ("views", views.map_or(0, |metadata| metadata.len())),
            (
                "snapshots",
                under("snapshots") + under("seen") + under("roll"),
            ),
        ]
    }

    /// Room on the disk that holds the store.
    ///
    /// # Errors
    /// When the file system does not tell.
    pub fn disk_space(&self) -> std::io::Result<DiskSpace> {
        let stat = rustix::fs::statvfs(&self.dir)?;
        Ok(DiskSpace {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }
}
