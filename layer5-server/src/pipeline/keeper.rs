//! The keeper's thread: writes history out of memory, makes snapshots durable, drops what is too old or too much.
//! In: the store. Out: files that came and went, counted. Called from: `app`.
//! Invariants: it never holds a lock of the committer while the disk is awaited; merging keeps to its share of one
//! core's time and of the disk; a block that can't be read stays where it is and is tried again a minute later.

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::{
    clock,
    counters::{Component, Counters},
    store::{Pace, ReadError, Retention, Store},
};

/// Time between two looks at what is due.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Time between two looks at ages and sizes.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// Time until something that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// How the keeper works.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeping {
    /// What of history is kept.
    pub retention: Retention,
    /// How long the log is kept for the dedup window, s.
    pub log_seconds: f64,
    /// Share of one core's time for merging.
    pub share: f64,
    /// Bytes a second for merging.
    pub bytes_per_second: u64,
}

/// A running keeper.
#[derive(Debug)]
pub(crate) struct KeeperLinks {
    /// Dropped, it stops.
    pub stop: Sender<()>,
    /// Its thread.
    pub thread: JoinHandle<()>,
}

/// Starts the thread.
///
/// # Errors
/// When the machine gives none.
pub(crate) fn spawn_keeper(
    store: Arc<Store>,
    counters: Arc<Counters>,
    keeping: Keeping,
) -> std::io::Result<KeeperLinks> {
    let (stop, stopped) = bounded(0);
    let keeper = Keeper {
        store,
        counters,
        pace: Pace::new(keeping.share, keeping.bytes_per_second),
        keeping,
        tidy_at: Instant::now(),
    };
    let thread = std::thread::Builder::new()
        .name("keeper".into())
        .spawn(move || keeper.run(&stopped))?;
    Ok(KeeperLinks { stop, thread })
}

struct Keeper {
    store: Arc<Store>,
    counters: Arc<Counters>,
    keeping: Keeping,
    pace: Pace,
    tidy_at: Instant,
}

impl Keeper {
    fn run(mut self, stopped: &Receiver<()>) {
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK_EVERY) {
            if self.store.is_poisoned() {
                continue;
            }
            match self.store.flush_history_if_due() {
                Ok(n_bytes) => self.counters.history_written_bytes.add(n_bytes),
                Err(error) => self.failed(&error, "history could not be written"),
            }
            match self.store.publish_snapshot() {
                Ok(Some(seq)) => tracing::info!(seq, "snapshot written"),
                Ok(None) => {}
                Err(error) => self.failed(&error, "no snapshot: the next start replays more"),
            }
            if Instant::now() >= self.tidy_at {
                self.tidy_at = Instant::now() + TIDY_EVERY;
                if let Err(error) = self.tidy() {
                    self.failed(&error, "the data folder could not be tidied");
                    self.tidy_at = Instant::now() + RETRY_AFTER;
                }
            }
        }
    }

    fn failed(&self, error: &ReadError, what: &'static str) {
        self.counters.error(Component::Store);
        let is_broken = self.store.poison_if_broken(error);
        tracing::error!(%error, is_broken, "{what}");
    }

    fn tidy(&mut self) -> Result<(), ReadError> {
        let now = clock::now();
        let dropped = self
            .store
            .drop_log_before(now.plus_seconds(-self.keeping.log_seconds))?;
        self.counters.log_segments_dropped.add(dropped as u64);
        let retention = &self.keeping.retention;
        let began = Instant::now();
        let tidied = self.store.tidy_history(retention, now, &mut self.pace)?;
        if tidied.more {
            self.tidy_at = Instant::now();
            let micros = began.elapsed().as_micros();
            self.counters
                .compaction_micros
                .add(u64::try_from(micros).unwrap_or(u64::MAX));
        }
        self.counters
            .history_written_bytes
            .add(tidied.written_bytes);
        self.counters
            .sample_blocks_expired
            .add(tidied.expired_samples);
        self.counters
            .bucket_blocks_expired
            .add(tidied.expired_buckets);
        self.store
            .drop_patterns_before(now.plus_seconds(-retention.aggregate_seconds))?;
        Ok(())
    }
}
