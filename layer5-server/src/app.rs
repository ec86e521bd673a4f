//! The wiring, in one function: a configuration becomes a running service.
//! In: a checked [`Config`]. Out: [`Running`], which knows its addresses and how to stop.
//! Called from: `cli/serve`, `cli/demo` and the tests.
//! Invariants: it listens only when the replay is done, so whoever reaches it finds it ready; it stops in the order
//! unready, drain, snapshot, leave.

mod folder;
mod reload;
mod restore;
mod rooms;

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, RwLock},
    thread::JoinHandle,
    time::Duration,
};

use crossbeam::channel::{Sender, bounded};
use layer5_core::Timestamp;
use layer5_ingest::{Arrival, DedupWindow, ring::mpsc, shard_of};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
    task::JoinHandle as Task,
};

use folder::open_store;
pub use reload::{ReloadError, Reloaded};
use restore::{Snapshot, replay, restored_names, tuner_for};
use rooms::{
    border_limits, fitted, fleet_watch, keeping, know_metrics, roles, watch_settings, what_moves,
};

use crate::{
    backup::{BackupDesk, BackupThread},
    clock,
    config::{Config, InForce},
    counters::Counters,
    deliveries::Deliveries,
    http::{self, Doors, DoorsSetup, Tokens},
    intake::{Intake, SharedNames, Waiting},
    metrics::Meters,
    neighbours::DoorError,
    pipeline::{self, Committer, Inbox, KeeperLinks, ShardLinks, StopReason},
    refinery::{asked::Asked, shard::SavedAgent},
    sources::Sources,
    store::{Control, OpenError, ReadError},
};

/// What the build was made of; whoever builds an image sets it.
const REVISION: &str = match option_env!("LAYER5_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
/// Messages that may wait for the committer.
const INBOX_LEN: usize = 8192;
/// Messages that may wait for the tuner.
const TUNER_FEED_LEN: usize = 8192;
/// Commands and questions for studies on their way; commands are bounded before that by the API.
const STUDIES_FEED_LEN: usize = 1024;
/// Refused reports that may wait for the dead-letter log.
const DEAD_LETTERS_LEN: usize = 8192;

/// Connections that the kernel keeps until they are accepted; it drops those beyond, and their senders try again after
/// seconds. Linux allows as many by default.
const UNACCEPTED_MAX: u32 = 4096;

/// Connections to the metrics page; who asks for it sends a head and no body.
const METRICS_BOUNDS: http::Bounds = http::Bounds {
    connections_max: 64,
    read_ahead_bytes: 8 << 10,
};

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data folder can't be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The log can't be read back.
    #[error("the log in {data_dir} can't be replayed: {source}")]
    Replay {
        /// The data folder.
        data_dir: PathBuf,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// An address can't be listened on.
    #[error(
        "cannot listen on {listen} ({key}): {source}; choose another port or stop who holds it"
    )]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// The address.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A cohort's parameters are no space.
    #[error("cohort parameters: {0}")]
    Cohort(#[from] layer5_optimize::SpaceError),
    /// A neighbour's address is no URL.
    #[error(transparent)]
    Neighbour(#[from] DoorError),
    /// The tokens file is refused.
    #[error(transparent)]
    Tokens(#[from] http::TokensError),
    /// More objectives than a reading has room for.
    #[error("the cohorts name {found} different objective and guard metrics, at most {limit}")]
    TooManyObjectives {
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Something that the machine must give: a thread, a name table.
    #[error("{0}")]
    Machine(String),
}

/// Why the service did not stop cleanly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// The store had failed.
    #[error("the store failed; what was acknowledged is on disk, start again to recover")]
    StoreFailed,
    /// A thread panicked.
    #[error("a thread of the service panicked")]
    Panicked,
}

/// A running service.
#[derive(Debug)]
pub struct Running {
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where the metrics page listens.
    pub metrics: SocketAddr,
    /// Where everything durable is.
    pub data_dir: PathBuf,
    doors: Doors,
    config: InForce,
    intake: Intake,
    names: SharedNames,
    counters: Arc<Counters>,
    inbox: Sender<Inbox>,
    tuner_feed: Sender<pipeline::TunerFeed>,
    studies_feed: Sender<pipeline::StudiesFeed>,
    stop_tasks: watch::Sender<bool>,
    tasks: Vec<Task<()>>,
    committer: JoinHandle<StopReason>,
    keeper: KeeperLinks,
    backup: Option<BackupThread>,
    shards: Vec<JoinHandle<()>>,
    tuner: JoinHandle<()>,
    studies: JoinHandle<()>,
    failed: watch::Receiver<bool>,
}

impl Running {
    /// Resolves when the store has failed: the process should stop and be started again.
    pub async fn failed(&mut self) {
        // An error means that the committer's thread is gone, which is a failure too.
        let _closed = self.failed.wait_for(|failed| *failed).await;
    }

    /// Stops: unready, no new requests, everything taken made durable, a snapshot, gone.
    ///
    /// # Errors
    /// [`StopError`] when that was not possible; what was acknowledged is on disk all the same.
    pub async fn stop(self) -> Result<(), StopError> {
        self.doors.begin_stop();
        // The servers finish what they have begun; the committer is still at work for them.
        self.stop_tasks.send_replace(true);
        for task in self.tasks {
            let _ended = tokio::time::timeout(Duration::from_secs(20), task).await;
        }
        let _gone = self.inbox.send(Inbox::Stop);
        drop(self.doors);
        let (committer, shards, tuner, feed) =
            (self.committer, self.shards, self.tuner, self.tuner_feed);
        drop(self.intake);
        let KeeperLinks {
            stop: keep_on,
            threads: keepers,
            ..
        } = self.keeper;
        let backup = self.backup;
        let (studies, studies_feed) = (self.studies, self.studies_feed);
        let joined = tokio::task::spawn_blocking(move || {
            let reason = committer.join().map_err(|_panic| StopError::Panicked)?;
            let _gone = feed.send(pipeline::TunerFeed::Stop);
            for shard in shards {
                shard.join().map_err(|_panic| StopError::Panicked)?;
            }
            tuner.join().map_err(|_panic| StopError::Panicked)?;
            drop(keep_on);
            for keeper in keepers {
                keeper.join().map_err(|_panic| StopError::Panicked)?;
            }
            if let Some(BackupThread { stop, thread }) = backup {
                drop(stop);
                thread.join().map_err(|_panic| StopError::Panicked)?;
            }
            let _gone = studies_feed.send(pipeline::StudiesFeed::Stop);
            studies.join().map_err(|_panic| StopError::Panicked)?;
            Ok(reason)
        });
        match joined.await.map_err(|_panic| StopError::Panicked)?? {
            StopReason::Asked => Ok(()),
            StopReason::StoreFailed => Err(StopError::StoreFailed),
        }
    }
}

/// Starts the service.
///
/// # Errors
/// [`StartError`]; nothing is left running then.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let tokens = match &config.auth.tokens_file {
        Some(path) => Tokens::read(path)?,
        None => Tokens::default(),
    };
    // Ports first: a port that is taken must not cost a replay.
    let api = listen("http.listen", config.http.listen)?;
    let metrics = listen("metrics.listen", config.metrics.listen)?;
    let started = tokio::task::spawn_blocking(move || start_threads(config))
        .await
        .map_err(|_panic| StartError::Machine("the start panicked".into()))??;
    Ok(started.serve(api, metrics, tokens))
}

fn listen(key: &'static str, listen: SocketAddr) -> Result<TcpListener, StartError> {
    let open = || {
        let socket = match listen {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // A port that was served until a moment ago.
        socket.set_reuseaddr(true)?;
        socket.bind(listen)?;
        socket.listen(UNACCEPTED_MAX)
    };
    open().map_err(|source| StartError::Listen {
        key,
        listen,
        source,
    })
}

/// Everything but the sockets.
struct Threads {
    setup: DoorsSetup,
    sources: Sources,
    inbox: Sender<Inbox>,
    tuner_feed: Sender<pipeline::TunerFeed>,
    studies_feed: Sender<pipeline::StudiesFeed>,
    committer: JoinHandle<StopReason>,
    keeper: KeeperLinks,
    backup: Option<BackupThread>,
    shards: Vec<JoinHandle<()>>,
    tuner: JoinHandle<()>,
    studies: JoinHandle<()>,
    failed: watch::Receiver<bool>,
}

fn start_threads(config: Config) -> Result<Threads, StartError> {
    let config = fitted(config);
    let store = Arc::new(open_store(&config)?);
    let deliveries = Arc::new(Deliveries::new(&config)?);
    let counters = Arc::new(Counters::default());
    let meters = Meters::new(env!("CARGO_PKG_VERSION"), REVISION, &config.color)
        .map_err(|error| StartError::Machine(error.to_string()))?;
    let meters = Arc::new(meters);
    let unreadable = |source| StartError::Replay {
        data_dir: config.store.data_dir.clone(),
        source,
    };
    let keeping = keeping(&config);
    let mut names = restored_names(&store, &config)?;
    let persisted = (names.n_agents(), names.n_metrics(), names.n_series());
    let (roles, cohorts) = roles(&config, &mut names)?;
    let moved = what_moves(&roles, &cohorts);
    let names: SharedNames = Arc::new(RwLock::new(names));
    let snapshot = Snapshot::read(&store).map_err(unreadable)?;
    let first_event_again = snapshot.bookmark.next_event_id;

    let (inbox, inbox_end) = bounded(INBOX_LEN);
    let (tuner_feed, tuner_end) = bounded(TUNER_FEED_LEN);
    let n_shards = config.pipeline.n_shards();
    let mut saved: Vec<pipeline::Saved> = (0..n_shards).map(|_| Default::default()).collect();
    let newest = snapshot.agents.iter().map(SavedAgent::newest).max();
    for agent in snapshot.agents {
        saved[shard_of(agent.agent(), n_shards)].agents.push(agent);
    }
    for asked in snapshot.asked {
        saved[shard_of(asked.agent(), n_shards)].asked.push(asked);
    }
    let setup = pipeline::ShardSetup {
        watch: fleet_watch(),
        detect: config.patterns.enabled,
        roles: roles.clone(),
        capacity: config.pipeline.shard_capacity,
        late_seconds: config.limits.late_seconds,
        store: Arc::clone(&store),
        inbox: inbox.clone(),
        tuner: tuner_feed.clone(),
        counters: Arc::clone(&counters),
        meters: Arc::clone(&meters),
    };
    let machine = |error: std::io::Error| StartError::Machine(format!("no thread: {error}"));
    let asked = Arc::new(Asked::new(&snapshot.watch, &names));
    let shards = pipeline::spawn_shards(&setup, &asked, saved).map_err(machine)?;
    let tuner = tuner_for(snapshot.tuner, cohorts, &names)?;
    let tuner = pipeline::spawn_tuner(
        tuner,
        roles,
        n_shards,
        tuner_end,
        inbox.clone(),
        Arc::clone(&counters),
    )
    .map_err(machine)?;

    let (studies_feed, studies_end) = bounded(STUDIES_FEED_LEN);
    let study_askers = pipeline::StudyAskers::default();
    let studies = pipeline::spawn_studies(
        snapshot.studies,
        studies_end,
        Arc::clone(&study_askers),
        inbox.clone(),
        Arc::clone(&counters),
    )
    .map_err(machine)?;

    let (ring, intake_end) = mpsc::channel::<Arrival>(config.pipeline.intake_capacity);
    let waiting = Arc::new(Waiting::default());
    let (dead_letters, refused) = bounded(DEAD_LETTERS_LEN);
    let intake = Intake::new(
        ring,
        Arc::clone(&names),
        Arc::clone(&waiting),
        border_limits(&config),
        dead_letters,
        Arc::clone(&counters),
    );
    let askers = Arc::new(Mutex::new(HashMap::new()));
    let pending = pipeline::Pending::new(
        store.last_pattern_id().map_err(unreadable)? + 1,
        Arc::clone(&counters),
        Arc::clone(&askers),
    );
    let (rings, asked, doors_to_shards, shard_threads) = taken_apart(shards);
    let mut committer = Committer {
        store: Arc::clone(&store),
        intake: intake_end,
        inbox: inbox_end,
        refused,
        shards: rings,
        asked,
        watch: snapshot.watch,
        tuner: tuner_feed.clone(),
        studies: studies_feed.clone(),
        names: Arc::clone(&names),
        new_hosts: intake.new_hosts(),
        waiting,
        shares: intake.shares(),
        dedup: DedupWindow::new(
            config.limits.dedup_window_seconds,
            config.limits.dedup_entries_max,
            // Where in the table a key goes; no outcome depends on it.
            clock::now().nanos().unsigned_abs(),
        ),
        pending,
        settings: snapshot.bookmark.settings,
        moved,
        bell: deliveries.bell(),
        counters: Arc::clone(&counters),
        meters: Arc::clone(&meters),
        pace: pipeline::Pace {
            group_samples_max: config.pipeline.group_samples_max,
            tick: Duration::from_millis(config.pipeline.tick_millis),
            snapshot_samples: config.store.snapshot_samples,
        },
        state: pipeline::State::after(
            store.totals().last_seq,
            persisted,
            newest.unwrap_or(Timestamp::MIN),
        ),
    };
    let offsets = store.offsets().map_err(unreadable)?;
    replay(&mut committer, snapshot.seq, first_event_again, &config)?;
    let wanted = watch_settings(&config);
    if wanted != committer.watch {
        know_metrics(&wanted, &names, &config)?;
        committer.begin_with(Control::Watch(wanted));
    }
    let keeper = pipeline::spawn_keeper(Arc::clone(&store), Arc::clone(&counters), keeping)
        .map_err(machine)?;
    let (backups, backup) =
        BackupDesk::start(&config.backup, &store, &counters).map_err(machine)?;
    let (failing, failed) = watch::channel(false);
    let committer = std::thread::Builder::new()
        .name("committer".into())
        .spawn(move || {
            let reason = committer.run();
            failing.send_replace(reason == StopReason::StoreFailed);
            reason
        })
        .map_err(machine)?;
    let sources = Sources::new(&config, offsets);
    let setup = DoorsSetup {
        links: sources.links(),
        config: InForce::new(config),
        intake,
        names,
        store,
        inbox: inbox.clone(),
        tuner: tuner_feed.clone(),
        studies: studies_feed.clone(),
        study_askers,
        shards: doors_to_shards,
        askers,
        counters,
        meters,
        deliveries,
        backups,
    };
    Ok(Threads {
        setup,
        sources,
        inbox,
        tuner_feed,
        studies_feed,
        committer,
        keeper,
        backup,
        shards: shard_threads,
        tuner,
        studies,
        failed,
    })
}

impl Threads {
    /// Opens the doors.
    fn serve(self, api: TcpListener, metrics: TcpListener, tokens: Tokens) -> Running {
        let address = |listener: &TcpListener| {
            listener
                .local_addr()
                .expect("a bound socket has an address")
        };
        let (api_at, metrics_at) = (address(&api), address(&metrics));
        let (stop_tasks, stop) = watch::channel(false);
        let config = self.setup.config.clone();
        let in_force = config.get();
        let data_dir = in_force.store.data_dir.clone();
        let names = Arc::clone(&self.setup.names);
        let (intake, counters) = (self.setup.intake.clone(), Arc::clone(&self.setup.counters));
        let store = Arc::clone(&self.setup.store);
        let store_ends_at = store.totals().last_seq;
        let mut tasks = self.setup.deliveries.start(store, &self.inbox, &stop);
        tasks.extend(self.sources.start(&self.setup.intake, store_ends_at, &stop));
        let bounds = http::Bounds {
            connections_max: in_force.http.connections_max,
            read_ahead_bytes: in_force.http.read_ahead_bytes,
        };
        let doors = Doors::new(self.setup, tokens);
        tasks.extend([
            tokio::spawn(http::serve_until(
                api,
                http::router(doors.clone()),
                bounds,
                stop.clone(),
            )),
            tokio::spawn(http::serve_until(
                metrics,
                http::metrics_router(doors.clone()),
                METRICS_BOUNDS,
                stop.clone(),
            )),
            tokio::spawn(refresh_metrics(doors.clone(), stop)),
        ]);
        Running {
            api: api_at,
            metrics: metrics_at,
            data_dir,
            doors,
            config,
            intake,
            names,
            counters,
            inbox: self.inbox,
            tuner_feed: self.tuner_feed,
            studies_feed: self.studies_feed,
            stop_tasks,
            tasks,
            committer: self.committer,
            keeper: self.keeper,
            backup: self.backup,
            shards: self.shards,
            tuner: self.tuner,
            studies: self.studies,
            failed: self.failed,
        }
    }
}

async fn refresh_metrics(doors: Doors, mut stop: watch::Receiver<bool>) {
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = every_second.tick() => doors.refresh_metrics().await,
            _ = stop.changed() => return,
        }
    }
}

type TakenApart = (
    Vec<layer5_ingest::ring::spsc::Producer<pipeline::ShardFeed>>,
    Vec<Sender<Arc<Asked>>>,
    Vec<(Sender<pipeline::ShardQuery>, layer5_ingest::ring::Gauge)>,
    Vec<JoinHandle<()>>,
);

/// The committer gets the rings, the doors the questions and gauges, and whoever stops the threads.
fn taken_apart(shards: Vec<ShardLinks>) -> TakenApart {
    let mut apart: TakenApart = Default::default();
    for ShardLinks {
        ring,
        asked,
        questions,
        gauge,
        thread,
    } in shards
    {
        apart.0.push(ring);
        apart.1.push(asked);
        apart.2.push((questions, gauge));
        apart.3.push(thread);
    }
    apart
}
