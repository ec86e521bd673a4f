//! The wiring, in one function: a configuration becomes a running service.
//! In: a checked [`Config`]. Out: [`Running`], which knows its addresses and how to stop.
//! Called from: `cli/serve`, `cli/demo` and the tests.
//! Invariants: it listens only when the replay is done, so whoever reaches it finds it ready; it stops in the order
//! unready, drain, snapshot, leave.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, RwLock},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam::channel::{Sender, bounded};
use layer5_core::{Kpi, MetricId, Timestamp, codec};
use layer5_ingest::{
    Arrival, CardinalityLimits, DecodeLimits, DedupWindow, Names, ring::mpsc, shard_of,
};
use layer5_patterns::WatchConfig;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle as Task};

use crate::{
    clock,
    config::{CohortConfig, Config},
    counters::Counters,
    deliveries::Deliveries,
    http::{self, Doors, DoorsSetup, Tokens},
    intake::{BorderLimits, Intake, SharedNames, Waiting},
    metrics::Meters,
    neighbours::DoorError,
    pipeline::{self, Committer, Inbox, KeeperLinks, Keeping, ShardLinks, StopReason},
    refinery::{Reading, Roles, Tuner, shard::SavedAgent},
    sources::Sources,
    store::{OpenError, PatternQuery, ReadError, Retention, Store, StoreConfig},
    study_desk::Desks,
};

/// Messages that may wait for the committer.
const INBOX_LEN: usize = 8192;
/// Messages that may wait for the tuner.
const TUNER_FEED_LEN: usize = 8192;
/// Commands and questions for studies on their way; commands are bounded before that by the API.
const STUDIES_FEED_LEN: usize = 1024;
/// Refused reports that may wait for the dead-letter log.
const DEAD_LETTERS_LEN: usize = 8192;

/// Connections to the metrics page.
const METRICS_CONNECTIONS_MAX: usize = 64;

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
    inbox: Sender<Inbox>,
    tuner_feed: Sender<pipeline::TunerFeed>,
    studies_feed: Sender<pipeline::StudiesFeed>,
    stop_tasks: watch::Sender<bool>,
    tasks: Vec<Task<()>>,
    committer: JoinHandle<StopReason>,
    keeper: KeeperLinks,
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
        let KeeperLinks {
            stop: keep_on,
            thread: keeper,
        } = self.keeper;
        let (studies, studies_feed) = (self.studies, self.studies_feed);
        let joined = tokio::task::spawn_blocking(move || {
            let reason = committer.join().map_err(|_panic| StopError::Panicked)?;
            let _gone = feed.send(pipeline::TunerFeed::Stop);
            for shard in shards {
                shard.join().map_err(|_panic| StopError::Panicked)?;
            }
            tuner.join().map_err(|_panic| StopError::Panicked)?;
            drop(keep_on);
            keeper.join().map_err(|_panic| StopError::Panicked)?;
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
    let api = listen("http.listen", config.http.listen).await?;
    let metrics = listen("metrics.listen", config.metrics.listen).await?;
    let started = tokio::task::spawn_blocking(move || start_threads(config))
        .await
        .map_err(|_panic| StartError::Machine("the start panicked".into()))??;
    Ok(started.serve(api, metrics, tokens))
}

async fn listen(key: &'static str, listen: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(listen)
        .await
        .map_err(|source| StartError::Listen {
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
    shards: Vec<JoinHandle<()>>,
    tuner: JoinHandle<()>,
    studies: JoinHandle<()>,
    failed: watch::Receiver<bool>,
}

fn start_threads(config: Config) -> Result<Threads, StartError> {
    let config = match crate::process::memory_limit() {
        Some(bytes) => config.fitted_to(bytes as usize),
        None => config,
    };
    let store = Arc::new(Store::open(&config.store.data_dir, &store_config(&config))?);
    let deliveries = Arc::new(Deliveries::new(&config)?);
    let counters = Arc::new(Counters::default());
    let meters = Meters::new(env!("CARGO_PKG_VERSION"), "unknown", &config.color)
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
    let mut saved: Vec<Vec<SavedAgent>> = vec![Vec::new(); n_shards];
    let newest = snapshot.agents.iter().map(SavedAgent::newest).max();
    for agent in snapshot.agents {
        saved[shard_of(agent.agent(), n_shards)].push(agent);
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
    let shards = pipeline::spawn_shards(&setup, saved).map_err(machine)?;
    let tuner = tuner_for(snapshot.tuner, cohorts, &names)?;
    let tuner =
        pipeline::spawn_tuner(tuner, roles, n_shards, tuner_end, inbox.clone()).map_err(machine)?;

    let (studies_feed, studies_end) = bounded(STUDIES_FEED_LEN);
    let study_askers = pipeline::StudyAskers::default();
    let studies = pipeline::spawn_studies(
        snapshot.studies,
        studies_end,
        Arc::clone(&study_askers),
        inbox.clone(),
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
    let (rings, doors_to_shards, shard_threads) = taken_apart(shards);
    let mut committer = Committer {
        store: Arc::clone(&store),
        intake: intake_end,
        inbox: inbox_end,
        refused,
        shards: rings,
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
    let keeper = pipeline::spawn_keeper(Arc::clone(&store), Arc::clone(&counters), keeping)
        .map_err(machine)?;
    let (failing, failed) = watch::channel(false);
    let committer = std::thread::Builder::new()
        .name("committer".into())
        .spawn(move || {
            let reason = committer.run();
            failing.send_replace(reason == StopReason::StoreFailed);
            reason
        })
        .map_err(machine)?;
    let sources = Sources::new(&config.sources, offsets);
    let setup = DoorsSetup {
        links: sources.links(),
        config,
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
    };
    Ok(Threads {
        setup,
        sources,
        inbox,
        tuner_feed,
        studies_feed,
        committer,
        keeper,
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
        let data_dir = self.setup.config.store.data_dir.clone();
        let store = Arc::clone(&self.setup.store);
        let mut tasks = self.setup.deliveries.start(store, &self.inbox, &stop);
        tasks.extend(self.sources.start(&self.setup.intake, &stop));
        let connections_max = self.setup.config.http.connections_max;
        let doors = Doors::new(self.setup, tokens);
        tasks.extend([
            tokio::spawn(http::serve_until(
                api,
                http::router(doors.clone()),
                connections_max,
                stop.clone(),
            )),
            tokio::spawn(http::serve_until(
                metrics,
                http::metrics_router(doors.clone()),
                METRICS_CONNECTIONS_MAX,
                stop.clone(),
            )),
            tokio::spawn(refresh_metrics(doors.clone(), stop)),
        ]);
        Running {
            api: api_at,
            metrics: metrics_at,
            data_dir,
            doors,
            inbox: self.inbox,
            tuner_feed: self.tuner_feed,
            studies_feed: self.studies_feed,
            stop_tasks,
            tasks,
            committer: self.committer,
            keeper: self.keeper,
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
    Vec<(Sender<pipeline::ShardQuery>, layer5_ingest::ring::Gauge)>,
    Vec<JoinHandle<()>>,
);

/// The committer gets the rings, the doors the questions and gauges, and whoever stops the threads.
fn taken_apart(shards: Vec<ShardLinks>) -> TakenApart {
    let mut apart: TakenApart = (Vec::new(), Vec::new(), Vec::new());
    for ShardLinks {
        ring,
        questions,
        gauge,
        thread,
    } in shards
    {
        apart.0.push(ring);
        apart.1.push((questions, gauge));
        apart.2.push(thread);
    }
    apart
}

fn border_limits(config: &Config) -> BorderLimits {
    let limits = &config.limits;
    BorderLimits {
        report: layer5_core::ReportLimits {
            max_age_seconds: limits.max_age_seconds,
            max_ahead_seconds: limits.max_ahead_seconds,
            ..layer5_core::ReportLimits::default()
        },
        decode: DecodeLimits::default(),
        cardinality: cardinality(config),
    }
}

fn cardinality(config: &Config) -> CardinalityLimits {
    let limits = &config.limits;
    CardinalityLimits {
        agents_max: limits.agents_max,
        metrics_max: limits.metrics_max,
        series_max: limits.series_max,
        metrics_per_agent_max: limits.metrics_per_agent_max,
    }
}

/// How the series of a fleet are watched. There are thousands of them, so each is given a fifth of the chance of a
/// false change that a single series gets by default: at five-minute samples (48 excursions a day) 7000 series then see
/// at most seven a day instead of thirty-four.
fn fleet_watch() -> WatchConfig {
    WatchConfig {
        change_p: 2e-5,
        ..WatchConfig::default()
    }
}

/// Metrics in which every agent is compared with its peers.
const COMPARED: [Kpi; 4] = [Kpi::LatencyMs, Kpi::Accuracy, Kpi::CpuUsage, Kpi::MemoryMb];

/// The metrics that any cohort looks at, and where each cohort's stand in a reading.
type Cohorts = Vec<(CohortConfig, (usize, Option<usize>))>;

fn roles(config: &Config, names: &mut Names) -> Result<(Roles, Cohorts), StartError> {
    let limits = cardinality(config);
    let mut number = |name: &str| {
        names
            .intern_metric(&name.into(), &limits)
            .map_err(|error| StartError::Machine(format!("objective metric `{name}`: {error}")))
    };
    // The catalogue's metrics are compared between agents, whatever the cohorts are after.
    let mut metrics: Vec<MetricId> = COMPARED.iter().map(|&kpi| MetricId::from(kpi)).collect();
    let mut slot = |metric: MetricId| {
        metrics
            .iter()
            .position(|&m| m == metric)
            .unwrap_or_else(|| {
                metrics.push(metric);
                metrics.len() - 1
            })
    };
    let mut cohorts = Vec::new();
    for cohort in config
        .cohort
        .iter()
        .filter(|cohort| !cohort.parameter.is_empty())
    {
        let objective = slot(number(&cohort.objective.metric)?);
        let guard = match cohort.objective.guard.as_str() {
            "" => None,
            name => Some(slot(number(name)?)),
        };
        cohorts.push((cohort.clone(), (objective, guard)));
    }
    if metrics.len() > Reading::METRICS_MAX {
        let (found, limit) = (metrics.len(), Reading::METRICS_MAX);
        return Err(StartError::TooManyObjectives { found, limit });
    }
    Ok((Roles { metrics }, cohorts))
}

/// What each cohort's settings move.
fn what_moves(roles: &Roles, cohorts: &Cohorts) -> Vec<pipeline::Moved> {
    let moved =
        |(cohort, (objective, _)): &(CohortConfig, (usize, Option<usize>))| pipeline::Moved {
            study: cohort.name.clone(),
            metric: roles.metrics[*objective],
            better: cohort.objective.better,
            settle_len: u32::try_from(cohort.settle_len).unwrap_or(u32::MAX),
        };
    cohorts.iter().map(moved).collect()
}

/// The tuner of the snapshot if it answers to this configuration, else a new one that knows the agents.
fn tuner_for(
    saved: Option<Tuner>,
    cohorts: Cohorts,
    names: &SharedNames,
) -> Result<Tuner, StartError> {
    if let Some(tuner) = &saved {
        if tuner.fits(&cohorts) {
            return Ok(saved.expect("it was looked at just now"));
        }
        tracing::warn!("the cohorts were configured anew: their studies start afresh");
    }
    let mut tuner = Tuner::new(cohorts)?;
    if let Some(old) = saved {
        tuner.knows_incidents_of(old);
    }
    let names = names.read().expect("no writer panics with the lock");
    for (agent, name) in names.agents_from(0) {
        tuner.join(agent, name);
        if let Some(host) = names.host(agent) {
            tuner.moved_to(agent, host);
        }
    }
    Ok(tuner)
}

/// What the newest snapshot holds; nothing when there is none that can be read.
#[derive(Default)]
struct Snapshot {
    seq: u64,
    bookmark: pipeline::Bookmark,
    agents: Vec<SavedAgent>,
    tuner: Option<Tuner>,
    studies: Desks,
}

impl Snapshot {
    fn read(store: &Store) -> Result<Self, ReadError> {
        let Some(parts) = store.latest_snapshot()? else {
            return Ok(Self::default());
        };
        let mut snapshot = Self {
            seq: parts.seq,
            ..Self::default()
        };
        for part in parts {
            let (name, bytes) = part?;
            if let Err(error) = snapshot.take(&name, &bytes) {
                let seq = snapshot.seq;
                tracing::warn!(seq, %error, "the snapshot can't be used, what there is of the log is replayed");
                return Ok(Self::default());
            }
        }
        Ok(snapshot)
    }

    fn take(&mut self, name: &str, bytes: &[u8]) -> Result<(), codec::DecodeError> {
        match name {
            "tuner" => self.tuner = Some(codec::decode(pipeline::TUNER_FORMAT, bytes)?),
            "studies" => self.studies = codec::decode(pipeline::STUDIES_FORMAT, bytes)?,
            "committer" => self.bookmark = codec::decode(pipeline::BOOKMARK_FORMAT, bytes)?,
            _ => {
                let agents: Vec<SavedAgent> = codec::decode(pipeline::SHARD_FORMAT, bytes)?;
                self.agents.extend(agents);
            }
        }
        Ok(())
    }
}

/// Feeds the log's tail to shards and tuner, and the last minutes' reports to the dedup window.
fn replay(
    committer: &mut Committer,
    snapshot_seq: u64,
    first_event_again: u64,
    config: &Config,
) -> Result<(), StartError> {
    let store = Arc::clone(&committer.store);
    let damaged = |source| StartError::Replay {
        data_dir: config.store.data_dir.clone(),
        source,
    };
    let began = Instant::now();
    let stored = store.patterns(&PatternQuery {
        after: Some(first_event_again.saturating_sub(1)),
        limit: usize::MAX,
        ..PatternQuery::default()
    });
    committer.expect_again(stored.map_err(damaged)?);
    // The window stands still while the service is down: who sends again what was cut off then is recognised.
    let now = clock::now();
    let last = store.groups_from(store.totals().last_seq).next();
    let last_at = last
        .transpose()
        .map_err(damaged)?
        .map_or(now, |group| group.at);
    let down_seconds = now.seconds_since(last_at).max(0.0);
    let dedup_from = last_at.plus_seconds(-config.limits.dedup_window_seconds);
    let mut n_samples = 0_u64;
    for group in store.groups_from(first_group_needed(&store, dedup_from, snapshot_seq)) {
        let group = group.map_err(damaged)?;
        if group.at >= dedup_from {
            committer.restore_dedup(&group, group.at.plus_seconds(down_seconds));
        }
        if group.seq > snapshot_seq {
            n_samples += group.samples.len() as u64;
            let arrivals = committer.arrivals_of(&group);
            committer.feed(&group, &arrivals, &[]);
        }
    }
    if n_samples > 0 || store.totals().last_seq > snapshot_seq {
        committer.settle(n_samples);
    }
    committer.replayed();
    let seconds = began.elapsed().as_secs_f64();
    tracing::info!(n_samples, seconds, snapshot_seq, "state rebuilt");
    Ok(())
}

/// The oldest group that the replay or the dedup window needs. Groups are in the order of time, so the search halves.
fn first_group_needed(store: &Store, dedup_from: Timestamp, snapshot_seq: u64) -> u64 {
    let Some(mut low) = store.first_seq() else {
        return 1;
    };
    let mut high = snapshot_seq + 1;
    while low < high {
        let middle = low + (high - low) / 2;
        let at = store
            .groups_from(middle)
            .next()
            .and_then(Result::ok)
            .map(|group| group.at);
        if at.is_some_and(|at| at < dedup_from) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

fn keeping(config: &Config) -> Keeping {
    let store = &config.store;
    Keeping {
        retention: Retention {
            raw_seconds: store.raw_days * 86_400.0,
            aggregate_seconds: store.aggregate_days.max(store.raw_days) * 86_400.0,
            bucket_nanos: (store.aggregate_seconds * 1e9) as i64,
            disk_bytes_max: store.disk_bytes_max,
        },
        // Twice, so that a clock that is set back loses nothing.
        log_seconds: 2.0 * config.limits.dedup_window_seconds,
        share: store.compaction_share,
        bytes_per_second: store.compaction_bytes_per_second,
    }
}

fn store_config(config: &Config) -> StoreConfig {
    let dead_letter_bytes_max = config.limits.dead_letter_bytes_max;
    StoreConfig {
        dead_letter_bytes_max,
        ..StoreConfig::default()
    }
}

fn restored_names(store: &Store, config: &Config) -> Result<Names, StartError> {
    let data_dir = || config.store.data_dir.clone();
    let stored = store.names().map_err(|source| StartError::Replay {
        data_dir: data_dir(),
        source,
    })?;
    let mut names = Names::new(clock::now().nanos().unsigned_abs());
    let wrong = |error: layer5_ingest::RestoreError| {
        StartError::Machine(format!(
            "the names in {} do not fit: {error}",
            data_dir().display()
        ))
    };
    for (agent, name) in &stored.agents {
        names.restore_agent(*agent, name).map_err(wrong)?;
    }
    for (metric, name) in &stored.metrics {
        names.restore_metric(*metric, name).map_err(wrong)?;
    }
    for (series, key) in &stored.series {
        names.restore_series(*series, *key).map_err(wrong)?;
    }
    for (agent, host) in &stored.hosts {
        names.set_host(*agent, host);
    }
    Ok(names)
}
