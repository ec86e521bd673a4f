//! The service's own backups: on a schedule and when asked, one at a time, old ones pruned after each.
//! In: `[backup]` of the configuration, the store, requests. Out: backups, and what is known of the newest one. Called
//! from: `app`; asked by `http/backups` and the metrics page.
//! Invariants: the thread holds no lock while it reads or writes; a backup that fails changes nothing and is tried again
//! when it is due the next time, or asked for; at a stop the one under way is given up.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded};
use layer5_core::Timestamp;
use serde::Serialize;

use super::{BackupError, Kept, Key, Manifest, Place, Progress, Repository, create, prune};
use crate::{
    clock,
    config::BackupConfig,
    counters::{Component, Counters},
    store::Store,
};

/// Longest wait before the schedule is looked at again: a clock that is set does not stop it for long.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// After a failure the schedule waits at least so long.
const RETRY_AFTER: Duration = Duration::from_secs(600);

/// What is known of backups.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct BackupState {
    /// Whether one is being made.
    pub(crate) running: bool,
    /// Tries that have ended since the start, well or not.
    pub(crate) finished: u64,
    /// Bytes of the store read by the one under way.
    pub(crate) read_bytes: u64,
    /// The newest one in the repository; null when there is none or it can't be read.
    pub(crate) newest: Option<Newest>,
    /// Why the last try failed; null when it did not.
    pub(crate) error: Option<String>,
}

/// The newest backup.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Newest {
    /// Its name.
    pub(crate) id: String,
    /// When it was made.
    pub(crate) created_at: Timestamp,
    /// Bytes of what it holds.
    pub(crate) bytes: u64,
    /// Bytes that it added to the repository.
    pub(crate) new_bytes: u64,
    /// How long it took, s.
    pub(crate) seconds: f64,
}

impl Newest {
    fn of(id: String, manifest: &Manifest) -> Self {
        Self {
            id,
            created_at: manifest.created_at,
            bytes: manifest.bytes,
            new_bytes: manifest.new_bytes,
            seconds: manifest.seconds,
        }
    }
}

/// Why a backup was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No repository is configured.
    NotConfigured,
    /// One is being made.
    Running,
}

/// Where backups are asked for.
#[derive(Debug)]
pub(crate) struct BackupDesk {
    state: Arc<Mutex<BackupState>>,
    /// `None` without a repository.
    asked: Option<Sender<()>>,
}

/// A running desk's thread.
#[derive(Debug)]
pub(crate) struct BackupThread {
    /// Dropped, it stops.
    pub(crate) stop: Sender<()>,
    /// Its thread.
    pub(crate) thread: JoinHandle<()>,
}

impl BackupDesk {
    /// Starts the thread, if there is a repository.
    ///
    /// # Errors
    /// When the machine gives none.
    pub(crate) fn start(
        config: &BackupConfig,
        store: &Arc<Store>,
        counters: &Arc<Counters>,
    ) -> std::io::Result<(Self, Option<BackupThread>)> {
        let state = Arc::default();
        if config.repository.is_none() {
            return Ok((Self { state, asked: None }, None));
        }
        let (asked, requests) = bounded(1);
        let (stop, stopped) = bounded(0);
        let clerk = Clerk {
            config: config.clone(),
            store: Arc::clone(store),
            counters: Arc::clone(counters),
            state: Arc::clone(&state),
            stopped,
        };
        let thread = std::thread::Builder::new()
            .name("backup".into())
            .spawn(move || clerk.run(&requests))?;
        let asked = Some(asked);
        Ok((Self { state, asked }, Some(BackupThread { stop, thread })))
    }

    /// Asks for a backup now.
    pub(crate) fn ask(&self) -> Result<(), Refused> {
        let asked = self.asked.as_ref().ok_or(Refused::NotConfigured)?;
        if self.state().running {
            return Err(Refused::Running);
        }
        match asked.try_send(()) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => Err(Refused::Running),
        }
    }

    /// What is known.
    pub(crate) fn state(&self) -> BackupState {
        locked(&self.state).clone()
    }

    /// Age of the newest backup, s; `None` when none is known.
    pub(crate) fn age_seconds(&self, now: Timestamp) -> Option<f64> {
        let state = locked(&self.state);
        let newest = state.newest.as_ref()?;
        Some(now.seconds_since(newest.created_at).max(0.0))
    }
}

fn locked(state: &Mutex<BackupState>) -> MutexGuard<'_, BackupState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Clerk {
    config: BackupConfig,
    store: Arc<Store>,
    counters: Arc<Counters>,
    state: Arc<Mutex<BackupState>>,
    stopped: Receiver<()>,
}

impl Clerk {
    fn run(self, requests: &Receiver<()>) {
        let mut not_before = Instant::now();
        match self.newest() {
            Ok(newest) => locked(&self.state).newest = newest,
            // The first backup makes the repository.
            Err(BackupError::NoRepository(_)) => {}
            Err(error) => {
                self.counters.error(Component::Backup);
                tracing::error!(%error, "backups can't be read");
                locked(&self.state).error = Some(error.to_string());
            }
        }
        loop {
            crossbeam::channel::select! {
                recv(self.stopped) -> _ => return,
                recv(requests) -> asked => if asked.is_err() { return },
                default(LOOK_EVERY.min(self.due_in())) => {
                    if !self.due_in().is_zero() || Instant::now() < not_before {
                        // Nothing is due, or it failed a moment ago: wait without spinning.
                        if let Err(RecvTimeoutError::Disconnected) =
                            self.stopped.recv_timeout(Duration::from_secs(1))
                        {
                            return;
                        }
                        continue;
                    }
                }
            }
            if self.back_up().is_err() {
                not_before = Instant::now() + RETRY_AFTER;
            }
        }
    }

    /// Time until the schedule wants one.
    fn due_in(&self) -> Duration {
        if self.config.every_hours == 0.0 {
            return Duration::MAX;
        }
        let every = self.config.every_hours * 3600.0;
        let state = locked(&self.state);
        let age = state.newest.as_ref().map_or(every, |newest| {
            clock::now().seconds_since(newest.created_at)
        });
        Duration::from_secs_f64((every - age).clamp(0.0, every))
    }

    fn back_up(&self) -> Result<(), ()> {
        {
            let mut state = locked(&self.state);
            state.running = true;
            state.read_bytes = 0;
        }
        let made = self.made();
        let mut state = locked(&self.state);
        state.running = false;
        state.finished += 1;
        match made {
            Ok(newest) => {
                tracing::info!(
                    id = newest.id,
                    bytes = newest.bytes,
                    new_bytes = newest.new_bytes,
                    seconds = newest.seconds,
                    "backup made"
                );
                state.newest = Some(newest);
                state.error = None;
                Ok(())
            }
            Err(error) => {
                self.counters.error(Component::Backup);
                tracing::error!(%error, "no backup");
                state.error = Some(error.to_string());
                Err(())
            }
        }
    }

    fn made(&self) -> Result<Newest, BackupError> {
        let repository = Repository::open_or_make(self.place()?, self.key()?)?;
        let told = |progress: Progress| {
            locked(&self.state).read_bytes = progress.bytes;
            self.stopped.try_recv() != Err(TryRecvError::Disconnected)
        };
        let (id, manifest) = create(&self.store, &repository, clock::now(), told)?;
        let kept = Kept {
            last: self.config.keep_last,
            daily: self.config.keep_daily,
            weekly: self.config.keep_weekly,
        };
        // The new backup is good whatever comes of the old ones.
        match prune(&repository, kept, SystemTime::now(), false) {
            Ok(pruned) if pruned.backups.is_empty() => {}
            Ok(pruned) => tracing::info!(
                backups = pruned.backups.len(),
                bytes = pruned.bytes,
                "old backups pruned"
            ),
            Err(error) => {
                self.counters.error(Component::Backup);
                tracing::error!(%error, "old backups could not be pruned");
            }
        }
        Ok(Newest::of(id, &manifest))
    }

    fn newest(&self) -> Result<Option<Newest>, BackupError> {
        let repository = Repository::open(self.place()?, self.key()?)?;
        let Some(id) = repository.ids()?.pop() else {
            return Ok(None);
        };
        let manifest = repository.manifest(&id)?;
        Ok(Some(Newest::of(id, &manifest)))
    }

    fn place(&self) -> Result<Place, BackupError> {
        let place = Place::of(&self.config)?;
        // Without a repository this thread is not started.
        place.ok_or_else(|| BackupError::NoRepository("".into()))
    }

    fn key(&self) -> Result<Option<Key>, BackupError> {
        let file = self.config.key_file.as_deref();
        file.map(Key::read).transpose()
    }
}
