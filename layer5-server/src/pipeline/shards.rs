//! The shard threads: each drains its ring into its [`Shard`] and answers questions in between.
//! In: [`ShardFeed`]s in log order. Out: findings to the committer, readings to the tuner, answers to the API.
//! Called from: `app`. Invariants: one thread per shard, no state shared with another.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use crossbeam::channel::{Receiver, Sender, bounded};
use layer5_core::{
    Timestamp,
    codec::{self, Format},
};
use layer5_ingest::ring::{Gauge, Wait, spsc};
use layer5_patterns::WatchConfig;

use super::{Inbox, ShardFeed, ShardQuery, TunerFeed};
use crate::{
    counters::{Component, Counters},
    metrics::Meters,
    refinery::{
        Roles, Shard,
        asked::{Asked, SavedAsked},
        shard::SavedAgent,
    },
    store::Store,
};

/// How shards are written into a snapshot.
pub(crate) const SHARD_FORMAT: Format = Format {
    kind: 20,
    version: 6,
};

/// How far what people asked for has come is written into a snapshot so, in parts of this name.
pub(crate) const ASKED_FORMAT: Format = Format {
    kind: 25,
    version: 1,
};
/// See [`ASKED_FORMAT`].
pub(crate) const ASKED_PART: &str = "asked";

/// Changed settings on their way to one shard; more wait with the committer.
const SETTINGS_LEN: usize = 64;
/// The longest time in which a shard looks at its questions.
const QUESTION_PATIENCE: Duration = Duration::from_millis(10);
/// Series in one piece of a snapshot: some hundred kilobytes.
const SAVED_SERIES: usize = 512;
/// Feeds taken from the ring at once.
const DRAIN_LEN: usize = 8192;
/// Feeds whose series are fetched from memory together: their states fit the smallest first cache.
const FETCHED: usize = 16;

/// What leads to one shard.
#[derive(Debug)]
pub(crate) struct ShardLinks {
    /// Its ring.
    pub ring: spsc::Producer<ShardFeed>,
    /// What people ask of the watch, one for each [`ShardFeed::Asked`] in the ring.
    pub asked: Sender<Arc<Asked>>,
    /// Its questions.
    pub questions: Sender<ShardQuery>,
    /// How full its ring is.
    pub gauge: Gauge,
    /// Its thread.
    pub thread: JoinHandle<()>,
}

/// What one shard takes over from a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    /// Its agents.
    pub agents: Vec<SavedAgent>,
    /// How far what people asked for has come.
    pub asked: Vec<SavedAsked>,
}

/// What every shard thread is given.
#[derive(Clone, Debug)]
pub(crate) struct ShardSetup {
    /// How series are watched.
    pub watch: WatchConfig,
    /// Whether they are.
    pub detect: bool,
    /// Which metrics matter for tuning.
    pub roles: Roles,
    /// Capacity of each ring, feeds.
    pub capacity: usize,
    /// How far a report may be behind its agent's newest and still be in time, s.
    pub late_seconds: f64,
    /// Where snapshots go.
    pub store: Arc<Store>,
    /// To the committer.
    pub inbox: Sender<Inbox>,
    /// To the tuner.
    pub tuner: Sender<TunerFeed>,
    /// What has happened so far.
    pub counters: Arc<Counters>,
    /// What is measured.
    pub meters: Arc<Meters>,
}

/// Starts one thread per element of `saved`, which holds the agents that each begins with.
///
/// # Errors
/// When the machine gives no thread.
pub(crate) fn spawn_shards(
    setup: &ShardSetup,
    asked: &Arc<Asked>,
    saved: Vec<Saved>,
) -> std::io::Result<Vec<ShardLinks>> {
    let spawn = |(idx, saved): (usize, Saved)| {
        let (ring, consumer) = spsc::channel(setup.capacity);
        let (questions, questioned) = bounded(64);
        let (to_ask, changes) = bounded(SETTINGS_LEN);
        let gauge = ring.gauge();
        let mut shard = Shard::new(setup.watch, setup.detect, setup.roles.clone());
        shard.ask(Arc::clone(asked));
        shard.restore(saved.agents);
        saved
            .asked
            .iter()
            .for_each(|saved| shard.restore_asked(saved));
        let setup = setup.clone();
        let thread = std::thread::Builder::new()
            .name(format!("shard-{idx}"))
            .spawn(move || {
                ShardThread {
                    idx,
                    shard,
                    setup,
                    changes,
                    questioned,
                }
                .run(consumer)
            })?;
        Ok(ShardLinks {
            ring,
            asked: to_ask,
            questions,
            gauge,
            thread,
        })
    };
    saved.into_iter().enumerate().map(spawn).collect()
}

struct ShardThread {
    idx: usize,
    shard: Shard,
    setup: ShardSetup,
    changes: Receiver<Arc<Asked>>,
    questioned: Receiver<ShardQuery>,
}

impl ShardThread {
    fn run(mut self, mut ring: spsc::Consumer<ShardFeed>) {
        let mut batch = Vec::with_capacity(DRAIN_LEN);
        let mut found = Vec::new();
        loop {
            let wait = ring.wait(QUESTION_PATIENCE);
            batch.clear();
            ring.drain_into(&mut batch, DRAIN_LEN);
            if batch.is_empty() && wait == Wait::Closed {
                return;
            }
            let began = (!batch.is_empty()).then(std::time::Instant::now);
            let (mut samples, mut reports) = (0, 0);
            for (i, feed) in batch.iter().enumerate() {
                if i % FETCHED == 0 {
                    let next = &batch[i..batch.len().min(i + FETCHED)];
                    self.shard.fetch(next.iter().filter_map(ShardFeed::arrival));
                }
                match feed {
                    ShardFeed::Sample(arrival) => {
                        let behind = self.shard.step(arrival, &mut found);
                        if arrival.last_of_report && behind > 0.0 {
                            let is_beyond = behind > self.setup.late_seconds;
                            self.setup.counters.late[usize::from(is_beyond)].add(1);
                        }
                        samples += 1;
                        reports += u64::from(arrival.last_of_report);
                    }
                    ShardFeed::RequestEnd(since) => self.setup.meters.processed(since.elapsed()),
                    ShardFeed::Moved {
                        agent,
                        metric,
                        log_factor,
                        settle_len,
                    } => {
                        self.shard.moved(*agent, *metric, *log_factor, *settle_len);
                    }
                    ShardFeed::Asked => {
                        // It was put there before the ring was told.
                        if let Ok(asked) = self.changes.recv() {
                            self.shard.ask(asked);
                        }
                    }
                    ShardFeed::Tick { seq, newest } => self.tick(*seq, *newest, &mut found),
                    ShardFeed::Snapshot { seq } => {
                        // What was found before the position must be in the log before the snapshot is.
                        self.tell(&mut found);
                        self.snapshot(*seq);
                    }
                }
            }
            if let Some(began) = began.filter(|_| samples > 0) {
                self.setup.meters.detected(began.elapsed());
            }
            self.setup.counters.samples_processed.add(samples);
            self.setup.counters.processed.add(reports);
            self.tell(&mut found);
            self.answer_questions();
        }
    }

    fn tell(&self, found: &mut Vec<crate::refinery::Found>) {
        if !found.is_empty() {
            // The committer outlives the shards; when it is gone there is nobody left to tell.
            let _gone = self.setup.inbox.send(Inbox::Found(std::mem::take(found)));
        }
    }

    fn tick(&mut self, seq: u64, newest: Timestamp, found: &mut Vec<crate::refinery::Found>) {
        let (mut readings, mut symptoms) = (Vec::new(), Vec::new());
        self.shard.tick(newest, &mut readings, &mut symptoms, found);
        let _gone = self.setup.tuner.send(TunerFeed::Readings {
            seq,
            readings,
            symptoms,
        });
    }

    fn snapshot(&self, seq: u64) {
        let store = &self.setup.store;
        if store.wants_snapshot(seq) {
            let name = format!("shard-{}", self.idx);
            let asked_name = format!("{ASKED_PART}-{}", self.idx);
            let agents = self.shard.save(SAVED_SERIES);
            let agents = agents.map(|piece| (&name, codec::encode(SHARD_FORMAT, &piece)));
            let asked = self.shard.save_asked(SAVED_SERIES);
            let asked = asked.map(|piece| (&asked_name, codec::encode(ASKED_FORMAT, &piece)));
            for (name, bytes) in agents.chain(asked) {
                if let Err(error) = store.add_to_snapshot(seq, name, bytes) {
                    self.setup.counters.error(Component::Store);
                    tracing::error!(seq, %error, "no snapshot: the next start replays more");
                    break;
                }
            }
        }
        let _gone = self.setup.inbox.send(Inbox::Saved { seq });
    }

    fn answer_questions(&self) {
        // Whoever asked may have gone meanwhile.
        while let Ok(question) = self.questioned.try_recv() {
            match question {
                ShardQuery::Agent(agent, answer) => {
                    let _gone = answer.send(self.shard.view(agent));
                }
                ShardQuery::Size(answer) => {
                    let _gone = answer.send(self.shard.n_agents_and_series());
                }
            }
        }
    }
}
