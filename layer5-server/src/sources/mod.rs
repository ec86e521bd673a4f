//! The sources that fetch reports, each a task of its own: Redis Streams, Layer4's pages, Layer4's WebSocket, for a
//! shadow the log of another instance.
//! In: the configuration, the border. Out: reports at the border, exactly as HTTP brings them; how each source goes.
//! Called from: `app`. Next on the way: [`crate::intake`].
//! What all of them share is here: a source runs in sessions; a session that fails is begun anew after a pause that
//! doubles up to `PAUSE_MAX`, with jitter, and starts where the reports are that are not known to be durable.
//! Invariants: a source waits when the intake is full and drops nothing; one that is down or slow delays nobody else.

pub mod follow;
pub mod page;
pub mod pull;
pub mod redis;
pub mod websocket;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    config::{Config, FollowConfig, PullConfig, RedisConfig, Role, WebSocketConfig},
    counters::Count,
    intake::{Intake, Source},
    metrics::Neighbour,
    neighbours::CallKind,
};

/// The first pause after a failed session.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause between two sessions: what comes back is found within it.
const PAUSE_MAX: Duration = Duration::from_secs(10);

const UNKNOWN: u8 = 0;
const DOWN: u8 = 1;
const UP: u8 = 2;

/// How one source goes.
#[derive(Debug)]
pub struct Link {
    source: Source,
    target: &'static str,
    up: AtomicU8,
    errors: [Count; CallKind::ALL.len()],
    lost: Count,
    /// How far another's log was followed; 0 where none is, or nothing was.
    reached: AtomicU64,
}

impl Link {
    /// A link to `target` that was not tried yet.
    #[must_use]
    pub fn new(source: Source, target: &'static str) -> Arc<Self> {
        Arc::new(Self {
            source,
            target,
            up: AtomicU8::new(UNKNOWN),
            errors: Default::default(),
            lost: Count::default(),
            reached: AtomicU64::new(0),
        })
    }

    /// The other side answered as it should.
    pub fn answered(&self) {
        if self.up.swap(UP, Relaxed) != UP {
            tracing::info!(source = self.source.as_str(), "the source is up");
        }
    }

    /// It did not; said once until it is up again.
    fn failed(&self, error: &impl SourceError) {
        self.errors[error.kind() as usize].add(1);
        if self.up.swap(DOWN, Relaxed) != DOWN {
            tracing::warn!(source = self.source.as_str(), %error, "the source is down, it is tried again");
        }
    }

    /// `n` reports are gone that were promised to us.
    pub fn lost(&self, n: usize) {
        if n > 0 {
            self.lost.add(n as u64);
            tracing::error!(
                source = self.source.as_str(),
                n,
                "entries were trimmed before they were read: sources.redis lags behind the stream's MAXLEN"
            );
        }
    }

    /// Another's log was followed up to here.
    pub fn followed_to(&self, seq: u64) {
        self.reached.store(seq, Relaxed);
    }

    /// How far another's log was followed; `None` for a source that follows none.
    #[must_use]
    pub fn followed(&self) -> Option<u64> {
        (self.source == Source::Follow).then(|| self.reached.load(Relaxed))
    }

    /// For metrics and health.
    #[must_use]
    pub fn view(&self) -> Neighbour {
        Neighbour {
            name: self.target,
            up: match self.up.load(Relaxed) {
                UNKNOWN => None,
                up => Some(up == UP),
            },
            errors: std::array::from_fn(|i| (CallKind::ALL[i].as_str(), self.errors[i].get())),
            circuit: None,
            lost: Some(self.lost.get()),
        }
    }
}

/// The links of every source that the configuration switches on.
#[derive(Debug, Default)]
pub struct Sources {
    redis: Option<(RedisConfig, Arc<Link>)>,
    pull: Option<(PullConfig, Arc<Link>)>,
    websocket: Option<(WebSocketConfig, Arc<Link>)>,
    follow: Option<(FollowConfig, Arc<Link>)>,
    offsets: BTreeMap<String, String>,
}

impl Sources {
    /// The sources of a checked configuration; `offsets` is how far each was read, as the log has it. A shadow has the
    /// one that follows and no other: what it took away elsewhere would be lost to the active instance.
    #[must_use]
    pub fn new(config: &Config, offsets: BTreeMap<String, String>) -> Self {
        let (active, shadow) = (config.role == Role::Active, config.role == Role::Shadow);
        let sources = &config.sources;
        let redis = sources.redis.clone();
        let link = Link::new(Source::Redis, "redis");
        let redis = (active && redis.url.is_some()).then_some((redis, link));
        let pull = sources.pull.clone();
        let link = Link::new(Source::Pull, "layer4");
        let pull = (active && pull.url.is_some()).then_some((pull, link));
        let websocket = sources.websocket.clone();
        let link = Link::new(Source::WebSocket, "layer4_stream");
        let websocket = (active && websocket.url.is_some()).then_some((websocket, link));
        let follow = sources.follow.clone();
        let link = Link::new(Source::Follow, "active");
        let follow = (shadow && follow.url.is_some()).then_some((follow, link));
        Self {
            redis,
            pull,
            websocket,
            follow,
            offsets,
        }
    }

    /// How they go.
    #[must_use]
    pub fn links(&self) -> Vec<Arc<Link>> {
        let redis = self.redis.iter().map(|(_, link)| link);
        let pull = self.pull.iter().map(|(_, link)| link);
        let websocket = self.websocket.iter().map(|(_, link)| link);
        let follow = self.follow.iter().map(|(_, link)| link);
        let links = redis.chain(pull).chain(websocket).chain(follow);
        links.map(Arc::clone).collect()
    }

    /// Starts them; they end when `stop` turns true. `last_seq` is the end of the log so far: where a copy of another's
    /// folder ends, if it is one.
    #[must_use]
    pub fn start(
        self,
        intake: &Intake,
        last_seq: u64,
        stop: &watch::Receiver<bool>,
    ) -> Vec<JoinHandle<()>> {
        let mut tasks = Vec::new();
        if let Some((config, link)) = self.redis {
            let session = redis::Session::new(config, intake.clone(), Arc::clone(&link));
            tasks.push(tokio::spawn(sessions(link, session, stop.clone())));
        }
        if let Some((config, link)) = self.pull {
            let page = self.offsets.get(pull::OFFSET).map(String::as_str);
            let session = pull::Session::new(config, intake.clone(), Arc::clone(&link), page);
            tasks.push(tokio::spawn(sessions(link, session, stop.clone())));
        }
        if let Some((config, link)) = self.websocket {
            let session = websocket::Session::new(config, intake.clone(), Arc::clone(&link));
            tasks.push(tokio::spawn(sessions(link, session, stop.clone())));
        }
        if let Some((config, link)) = self.follow {
            let read = self.offsets.get(follow::OFFSET);
            let after = read.and_then(|seq| seq.parse().ok()).unwrap_or(last_seq);
            let session = follow::Session::new(config, intake.clone(), Arc::clone(&link), after);
            tasks.push(tokio::spawn(sessions(link, session, stop.clone())));
        }
        tasks
    }
}

/// How a session ended.
#[derive(Debug)]
enum Ended<E> {
    /// It was asked to stop.
    Asked,
    /// It failed; `worked` says whether it had done something useful before.
    Failed { error: E, worked: bool },
}

/// Why a session failed.
trait SourceError: std::error::Error {
    /// What kind of failure it is, for the metrics.
    fn kind(&self) -> CallKind;
}

/// One source's way of working: it keeps between two sessions what must not be forgotten.
trait Session {
    type Error: SourceError + Send;

    /// Works until it is asked to stop or something fails.
    fn run(
        &mut self,
        stop: watch::Receiver<bool>,
    ) -> impl Future<Output = Ended<Self::Error>> + Send;
}

/// Runs one session after the other until it is asked to stop.
async fn sessions(link: Arc<Link>, mut session: impl Session, mut stop: watch::Receiver<bool>) {
    let pauses = ExponentialBuilder::default()
        .with_min_delay(PAUSE_MIN)
        .with_max_delay(PAUSE_MAX)
        .with_factor(2.0)
        .without_max_times()
        .with_jitter();
    let mut pause = pauses.build();
    while !*stop.borrow() {
        let (error, worked) = match session.run(stop.clone()).await {
            Ended::Asked => return,
            Ended::Failed { error, worked } => (error, worked),
        };
        link.failed(&error);
        if worked {
            pause = pauses.build();
        }
        let pause = pause.next().unwrap_or(PAUSE_MAX);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // An error means that the service is gone, which is a stop too.
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}
