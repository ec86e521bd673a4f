//! The outbox's delivery: every pending recommendation goes to Layer7, in order per agent, until it is settled.
//! In: rows of `store.pending`. Out: `POST {layer7}/optimization`, and a [`Control`] once Layer7 has it or refuses it for
//! good. Called from: [`crate::app`], as one task.
//!
//! The store is the queue: what is read from it here is a window of at most [`OutboxConfig::window`] rows. A row stays
//! pending until the control that settles it is durable, so a crash at any moment repeats a push at worst, and its
//! idempotency key makes that harmless.
//! Invariants: at most one push per agent is under way, and the next one of that agent starts when the one before is
//! durably settled; at most [`OutboxConfig::pushes_max`] are under way in all; a failing agent delays no other; a row
//! settled elsewhere (handed out to a poll) is not pushed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use layer5_core::{Recommendation, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::task::{self, JoinSet};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::clock;
use crate::neighbours::{Delivery, Layer7Client};
use crate::store::{Control, ReadError, RecommendationState, Store};

/// How deliveries go about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxConfig {
    /// Most pushes under way.
    pub pushes_max: usize,
    /// Most rows read ahead.
    pub window: usize,
    /// The first wait after a failed push; doubled each time, with jitter.
    pub retry_min: Duration,
    /// The longest wait after a failed push.
    pub retry_max: Duration,
    /// How often the store is looked at without being woken.
    pub look_every: Duration,
    /// How long pushes under way are waited for at a stop.
    pub stop_patience: Duration,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self {
            pushes_max: 16,
            window: 1024,
            retry_min: Duration::from_millis(200),
            retry_max: Duration::from_secs(30),
            look_every: Duration::from_millis(500),
            stop_patience: Duration::from_secs(2),
        }
    }
}

/// How deliveries are going; read by the metrics page.
#[derive(Debug)]
pub struct OutboxStatus {
    depth: AtomicU64,
    /// When the oldest pending one was issued, ns; `i64::MAX` when nothing is pending.
    oldest: AtomicI64,
    delivered: AtomicU64,
    refused: AtomicU64,
    retried: AtomicU64,
}

impl Default for OutboxStatus {
    fn default() -> Self {
        Self {
            depth: AtomicU64::new(0),
            oldest: AtomicI64::new(i64::MAX),
            delivered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            retried: AtomicU64::new(0),
        }
    }
}

impl OutboxStatus {
    /// Undelivered recommendations, and the age of the oldest in seconds.
    #[must_use]
    pub fn depth_and_oldest(&self, now: Timestamp) -> (u64, Option<f64>) {
        let oldest = Some(self.oldest.load(Relaxed)).filter(|&nanos| nanos != i64::MAX);
        let age = |nanos| now.seconds_since(Timestamp::from_nanos(nanos)).max(0.0);
        (self.depth.load(Relaxed), oldest.map(age))
    }

    /// Pushes that Layer7 acknowledged, refused for good, and that must be repeated, since the start.
    #[must_use]
    pub fn pushes(&self) -> (u64, u64, u64) {
        (
            self.delivered.load(Relaxed),
            self.refused.load(Relaxed),
            self.retried.load(Relaxed),
        )
    }

    fn look(&self, store: &Store) -> Result<(), ReadError> {
        let (depth, _) = store.outbox_depth()?;
        let oldest = store.pending(0, 1)?;
        let at = oldest
            .first()
            .map_or(i64::MAX, |r| r.stored.recommendation.timestamp.nanos());
        self.depth.store(depth, Relaxed);
        self.oldest.store(at, Relaxed);
        Ok(())
    }
}

/// What the task works with.
#[derive(Debug)]
pub struct Outbox {
    /// Where recommendations wait.
    pub store: Arc<Store>,
    /// Where they go; without it they wait, for a poll or for another start.
    pub layer7: Option<Arc<Layer7Client>>,
    /// Limits and waits.
    pub config: OutboxConfig,
    /// How it goes.
    pub status: Arc<OutboxStatus>,
    /// Rung when there may be something new; looking now and then makes a lost ring harmless.
    pub bell: Arc<Notify>,
}

impl Outbox {
    /// Delivers until `stop` turns `true` or its sender is gone. `tell` makes a control durable and answers whether it
    /// did; a push that is under way when stopping is waited for a little, then given up: it stays pending.
    #[expect(
        clippy::missing_panics_doc,
        reason = "what is expected holds whatever the caller does"
    )]
    pub async fn run<F, Fut>(self, tell: F, mut stop: watch::Receiver<bool>)
    where
        F: Fn(Control) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        let mut lanes = Lanes::default();
        let mut pushes: JoinSet<Settled> = JoinSet::new();
        let mut agent_of: HashMap<task::Id, String> = HashMap::new();
        let mut look_at = Instant::now();
        loop {
            if Instant::now() >= look_at {
                look_at = Instant::now() + self.config.look_every;
                if let Err(error) = self.look(&mut lanes) {
                    tracing::warn!(%error, "the outbox could not be read");
                }
            }
            if let Some(layer7) = &self.layer7 {
                while pushes.len() < self.config.pushes_max {
                    let Some((agent, recommendation)) = lanes.next_due(Instant::now()) else {
                        break;
                    };
                    let push = push(
                        Arc::clone(&self.store),
                        Arc::clone(layer7),
                        recommendation,
                        tell.clone(),
                    );
                    agent_of.insert(pushes.spawn(push).id(), agent);
                }
            }
            let full = pushes.len() >= self.config.pushes_max;
            let due_at = lanes.due_at().filter(|_| self.layer7.is_some() && !full);
            let wake_at = due_at.map_or(look_at, |due_at| due_at.min(look_at));
            tokio::select! {
                biased;
                _stopped = stop.wait_for(|stop| *stop) => break,
                Some(pushed) = pushes.join_next_with_id() => {
                    let (id, settled) = pushed.unwrap_or_else(|error| {
                        tracing::error!(%error, "a push came to a bad end");
                        (error.id(), Settled::NotYet { wait: None })
                    });
                    self.count(&settled);
                    let agent = agent_of.remove(&id).expect("noted when it was spawned");
                    if lanes.settle(&agent, settled, &self.config) {
                        look_at = Instant::now();
                    }
                }
                () = self.bell.notified() => look_at = Instant::now(),
                () = sleep_until(wake_at) => {}
            }
        }
        // What is under way is finished, so that whoever comes next does not push it again.
        let finished = async { while pushes.join_next().await.is_some() {} };
        let _given_up = tokio::time::timeout(self.config.stop_patience, finished).await;
    }

    fn look(&self, lanes: &mut Lanes) -> Result<(), ReadError> {
        self.status.look(&self.store)?;
        let room = self.config.window.saturating_sub(lanes.numbers.len());
        for row in self.store.pending(lanes.newest, room)? {
            lanes.put(row.number, row.stored.recommendation);
        }
        Ok(())
    }

    fn count(&self, settled: &Settled) {
        match settled {
            Settled::Delivered => self.status.delivered.fetch_add(1, Relaxed),
            Settled::Refused => self.status.refused.fetch_add(1, Relaxed),
            Settled::Elsewhere => 0,
            Settled::NotYet { .. } => self.status.retried.fetch_add(1, Relaxed),
        };
    }
}

/// Outcome of one try.
#[derive(Debug)]
enum Settled {
    Delivered,
    Refused,
    /// By a poll, or by an outcome that came first.
    Elsewhere,
    NotYet {
        wait: Option<Duration>,
    },
}

async fn push<F, Fut>(
    store: Arc<Store>,
    layer7: Arc<Layer7Client>,
    recommendation: Recommendation,
    tell: F,
) -> Settled
where
    F: Fn(Control) -> Fut,
    Fut: Future<Output = bool>,
{
    let optimization_id = recommendation.optimization_id;
    if !is_pending(&store, optimization_id) {
        return Settled::Elsewhere;
    }
    if !store.is_current() {
        tracing::error!(%optimization_id, "another process has opened the data folder: nothing is delivered");
        return Settled::NotYet { wait: None };
    }
    let delivery = layer7.push(&recommendation, store.epoch()).await;
    let at = clock::now();
    let (control, settled) = match delivery {
        Delivery::Delivered => (
            Control::Delivered {
                optimization_id,
                at,
            },
            Settled::Delivered,
        ),
        Delivery::Refused(words) => {
            tracing::warn!(%optimization_id, words, "layer7 refused a recommendation for good");
            (
                Control::Refused {
                    optimization_id,
                    words,
                    at,
                },
                Settled::Refused,
            )
        }
        Delivery::Retry { wait, error } => {
            tracing::debug!(%optimization_id, %error, "a push must be repeated");
            return Settled::NotYet { wait };
        }
    };
    // Not durable means that the service is stopping; the row stays pending and goes out again after the start.
    if tell(control).await {
        settled
    } else {
        Settled::NotYet { wait: None }
    }
}

fn is_pending(store: &Store, id: Uuid) -> bool {
    match store.recommendation(id) {
        Ok(row) => row.is_some_and(|row| row.state == RecommendationState::Pending),
        // Pushed twice is harmless, not pushed is not.
        Err(_unreadable) => true,
    }
}

/// One queue per agent.
#[derive(Debug, Default)]
struct Lanes {
    by_agent: HashMap<String, Lane>,
    /// Agents that may start a push, in the order they became ready; each lane is here, waiting or under way.
    ready: VecDeque<String>,
    /// Agents whose last push failed.
    waiting: HashSet<String>,
    /// Rows held.
    numbers: HashSet<u64>,
    /// The newest row ever held.
    newest: u64,
}

#[derive(Debug, Default)]
struct Lane {
    /// Oldest first; the first one is under way or next.
    rows: VecDeque<(u64, Recommendation)>,
    backoff: Option<ExponentialBackoff>,
    not_before: Option<Instant>,
}

impl Lanes {
    fn put(&mut self, number: u64, recommendation: Recommendation) {
        self.newest = self.newest.max(number);
        if !self.numbers.insert(number) {
            return;
        }
        let agent = recommendation.agent_id.clone();
        let lane = self.by_agent.entry(agent.clone()).or_default();
        lane.rows.push_back((number, recommendation));
        if lane.rows.len() == 1 {
            self.ready.push_back(agent);
        }
    }

    /// The next push to start at `now`; it is under way from here on.
    fn next_due(&mut self, now: Instant) -> Option<(String, Recommendation)> {
        let by_agent = &self.by_agent;
        let due = |agent: &String| by_agent[agent].not_before.is_none_or(|at| at <= now);
        let waited: Vec<String> = self.waiting.iter().filter(|&a| due(a)).cloned().collect();
        for agent in waited {
            self.waiting.remove(&agent);
            self.ready.push_back(agent);
        }
        let agent = self.ready.pop_front()?;
        let (_, recommendation) = self.by_agent[&agent].rows.front()?.clone();
        Some((agent, recommendation))
    }

    /// When the next waiting push is due.
    fn due_at(&self) -> Option<Instant> {
        self.waiting
            .iter()
            .filter_map(|agent| self.by_agent[agent].not_before)
            .min()
    }

    /// The push under way of `agent` ended. Returns whether its row is done.
    fn settle(&mut self, agent: &str, settled: Settled, config: &OutboxConfig) -> bool {
        let Some(lane) = self.by_agent.get_mut(agent) else {
            return false;
        };
        if let Settled::NotYet { wait } = settled {
            let backoff = lane.backoff.get_or_insert_with(|| backoff(config));
            let pause = backoff.next().unwrap_or(config.retry_max);
            let pause = wait.map_or(pause, |wait| wait.max(pause));
            lane.not_before = Some(Instant::now() + pause);
            self.waiting.insert(agent.to_owned());
            return false;
        }
        if let Some((number, _)) = lane.rows.pop_front() {
            self.numbers.remove(&number);
        }
        lane.backoff = None;
        lane.not_before = None;
        if lane.rows.is_empty() {
            self.by_agent.remove(agent);
        } else {
            self.ready.push_back(agent.to_owned());
        }
        true
    }
}

fn backoff(config: &OutboxConfig) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(config.retry_min)
        .with_max_delay(config.retry_max)
        .with_factor(2.0)
        .without_max_times()
        .with_jitter()
        .build()
}
