//! The keeper's threads: one writes history out of memory and makes snapshots durable, the other merges, and drops what is
//! too old or too much. In: the store. Out: files that came and went, counted. Called from: `app`.
//! Invariants: neither holds a lock of the committer while the disk is awaited; merging keeps to its share of one core's
//! time and of the disk, and delays nothing that the committer waits for; a block that can't be read stays where it is and is tried again a minute later.

use std::{
    sync::{Arc, Mutex},
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
#[derive(Clone, Copy, Debug, PartialEq)]
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
    /// How they work, from their next look on.
    pub keeping: Arc<Mutex<Keeping>>,
    /// Dropped, they stop.
    pub stop: Sender<()>,
    /// Its threads.
    pub threads: [JoinHandle<()>; 2],
}

/// Starts the threads.
///
/// # Errors
/// When the machine gives none.
pub(crate) fn spawn_keeper(
    store: Arc<Store>,
    counters: Arc<Counters>,
    keeping: Keeping,
) -> std::io::Result<KeeperLinks> {
    let (stop, stopped) = bounded(0);
    let keeper = Keeper { store, counters };
    let asked = Arc::new(Mutex::new(keeping));
    let tidier = Tidier {
        keeper: keeper.clone(),
        pace: Pace::new(keeping.share, keeping.bytes_per_second),
        asked: Arc::clone(&asked),
        keeping,
    };
    let also_stopped = stopped.clone();
    let named = |name: &str| std::thread::Builder::new().name(name.into());
    let threads = [
        named("keeper").spawn(move || keeper.run(&stopped))?,
        named("tidier").spawn(move || tidier.run(&also_stopped))?,
    ];
    Ok(KeeperLinks {
        keeping: asked,
        stop,
        threads,
    })
}

#[derive(Clone)]
struct Keeper {
    store: Arc<Store>,
    counters: Arc<Counters>,
}

struct Tidier {
    keeper: Keeper,
    asked: Arc<Mutex<Keeping>>,
    keeping: Keeping,
    pace: Pace,
}

impl Keeper {
    fn run(self, stopped: &Receiver<()>) {
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
        }
    }

    fn failed(&self, error: &ReadError, what: &'static str) {
        self.counters.error(Component::Store);
        let is_broken = self.store.poison_if_broken(error);
        tracing::error!(%error, is_broken, "{what}");
    }
}

impl Tidier {
    fn run(mut self, stopped: &Receiver<()>) {
        let mut pause = Duration::ZERO;
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(pause) {
            pause = TIDY_EVERY;
            if self.keeper.store.is_poisoned() {
                continue;
            }
            match self.tidy() {
                Ok(true) => pause = Duration::ZERO,
                Ok(false) => {}
                Err(error) => {
                    let what = "the data folder could not be tidied";
                    self.keeper.failed(&error, what);
                    pause = RETRY_AFTER;
                }
            }
        }
    }

    /// Does the most urgent thing; whether there may be more to do at once.
    fn tidy(&mut self) -> Result<bool, ReadError> {
        let asked = *self.asked.lock().expect("no holder panics");
        if asked != self.keeping {
            self.keeping = asked;
            self.pace = Pace::new(asked.share, asked.bytes_per_second);
        }
        let now = clock::now();
        let Keeper { store, counters } = &self.keeper;
        let dropped = store.drop_log_before(now.plus_seconds(-self.keeping.log_seconds))?;
        counters.log_segments_dropped.add(dropped as u64);
        let retention = &self.keeping.retention;
        let began = Instant::now();
        let tidied = store.tidy_history(retention, now, &mut self.pace)?;
        if tidied.more {
            let micros = began.elapsed().as_micros();
            counters
                .compaction_micros
                .add(u64::try_from(micros).unwrap_or(u64::MAX));
        }
        counters.history_written_bytes.add(tidied.written_bytes);
        counters.sample_blocks_expired.add(tidied.expired_samples);
        counters.bucket_blocks_expired.add(tidied.expired_buckets);
        store.drop_patterns_before(now.plus_seconds(-retention.aggregate_seconds))?;
        Ok(tidied.more)
    }
}
