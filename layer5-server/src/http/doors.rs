//! What a handler may touch, and no more.
//! In: built once by `app`. Out: cheap clones for every request.
//! Invariants: nothing here blocks the threads that serve for longer than a read of the store.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::http::StatusCode;
use crossbeam::channel::{Sender, TrySendError};
use layer5_core::{AgentId, Recommendation};
use layer5_ingest::{ring::Gauge, shard_of};
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use super::{gate::Gate, problem::Problem, roles::Tokens};
use crate::{
    clock,
    config::Config,
    counters::Counters,
    deliveries::Deliveries,
    intake::{Intake, SharedNames, Source},
    metrics::{Gauges, Meters, Neighbour},
    pipeline::{Inbox, Look, ShardQuery, StudiesFeed, StudyAnswer, StudyAskers, TunerFeed},
    refinery::{
        ask::AskAnswer,
        incidents::IncidentView,
        shard::SeriesView,
        tuner::{Score, StudyView},
    },
    sources::Link,
    store::{Control, Store},
};

/// Commands for studies that may be under way, at most.
const STUDY_COMMANDS_MAX: usize = 256;

/// What `app` hands over.
#[derive(Debug)]
pub struct DoorsSetup {
    /// The configuration in force.
    pub config: Config,
    /// The border.
    pub intake: Intake,
    /// Names and numbers.
    pub names: SharedNames,
    /// Everything durable.
    pub store: Arc<Store>,
    /// To the committer.
    pub inbox: Sender<Inbox>,
    /// To the tuner.
    pub tuner: Sender<TunerFeed>,
    /// To the studies kept for others.
    pub(crate) studies: Sender<StudiesFeed>,
    /// Who waits for the answers of those.
    pub(crate) study_askers: StudyAskers,
    /// To each shard.
    pub shards: Vec<(Sender<ShardQuery>, Gauge)>,
    /// Who waits for answers of the tuner.
    pub askers: Arc<Mutex<HashMap<Uuid, oneshot::Sender<AskAnswer>>>>,
    /// What has happened so far.
    pub counters: Arc<Counters>,
    /// What is measured.
    pub meters: Arc<Meters>,
    /// How deliveries go.
    pub deliveries: Arc<Deliveries>,
    /// How the sources go that fetch.
    pub links: Vec<Arc<Link>>,
}

/// What a handler may touch.
#[derive(Clone, Debug)]
pub struct Doors {
    pub(super) config: Arc<Config>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) intake: Intake,
    pub(super) gate: Arc<Gate>,
    pub(super) names: SharedNames,
    pub(super) store: Arc<Store>,
    pub(super) counters: Arc<Counters>,
    pub(super) meters: Arc<Meters>,
    inbox: Sender<Inbox>,
    tuner: Sender<TunerFeed>,
    studies: Sender<StudiesFeed>,
    study_askers: StudyAskers,
    /// A place for each command for a study that is under way.
    study_places: Arc<Semaphore>,
    shards: Arc<Vec<(Sender<ShardQuery>, Gauge)>>,
    askers: Arc<Mutex<HashMap<Uuid, oneshot::Sender<AskAnswer>>>>,
    deliveries: Arc<Deliveries>,
    links: Arc<Vec<Arc<Link>>>,
    stopping: Arc<AtomicBool>,
    /// Recommendations being handed out to a poll right now, so that two polls don't get the same.
    handing_out: Arc<Mutex<Vec<Uuid>>>,
}

impl Doors {
    /// Doors into a running service.
    pub(crate) fn new(setup: DoorsSetup, tokens: Tokens) -> Self {
        Self {
            gate: Arc::new(Gate::new(&setup.config.http)),
            config: Arc::new(setup.config),
            tokens: Arc::new(tokens),
            intake: setup.intake,
            names: setup.names,
            store: setup.store,
            counters: setup.counters,
            meters: setup.meters,
            inbox: setup.inbox,
            tuner: setup.tuner,
            studies: setup.studies,
            study_askers: setup.study_askers,
            study_places: Arc::new(Semaphore::new(STUDY_COMMANDS_MAX)),
            shards: Arc::new(setup.shards),
            askers: setup.askers,
            deliveries: setup.deliveries,
            links: Arc::new(setup.links),
            stopping: Arc::default(),
            handing_out: Arc::default(),
        }
    }

    /// From here on the service is unready: it stops.
    pub(crate) fn begin_stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(super) fn is_failed(&self) -> bool {
        self.counters.failed.load(Ordering::Acquire)
    }

    /// Why no reports can be taken now; empty when they can.
    pub(super) fn unready_reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.stopping.load(Ordering::Acquire) {
            reasons.push("layer5 is stopping".to_owned());
        }
        if self.is_failed() {
            reasons.push("the store failed".to_owned());
        }
        if self.counters.disk_full.load(Ordering::Acquire) {
            reasons.push(match self.store.is_over_budget() {
                true => "the data folder has reached store.disk_bytes_max".to_owned(),
                false => "the disk is full".to_owned(),
            });
        }
        reasons
    }

    pub(super) fn has_cohort_for(&self, agent: &str) -> bool {
        self.config
            .cohort
            .iter()
            .any(|cohort| cohort.matches(agent) && !cohort.parameter.is_empty())
    }

    /// Makes a happening durable.
    pub(super) async fn tell(&self, control: Control) -> Result<(), Problem> {
        let (answer, durable) = oneshot::channel();
        self.inbox
            .try_send(Inbox::Control(control, answer))
            .map_err(|error| match error {
                TrySendError::Full(_) => Problem::full(),
                TrySendError::Disconnected(_) => Problem::unavailable("layer5 is stopping"),
            })?;
        durable.await.map_err(|_gone| {
            Problem::unavailable("the store failed before this was durable, send it again")
        })
    }

    /// A place where the tuner's answer to the question `id` will arrive.
    pub(super) fn expect_answer(&self, id: Uuid) -> oneshot::Receiver<AskAnswer> {
        let (asker, answered) = oneshot::channel();
        let mut askers = self.askers.lock().expect("no holder panics");
        // Those whose caller gave up would stay for ever.
        askers.retain(|_, asker| !asker.is_closed());
        askers.insert(id, asker);
        answered
    }

    /// A place where the answer to the command with this ticket will arrive.
    pub(super) fn expect_study_answer(
        &self,
        ticket: Uuid,
    ) -> Result<oneshot::Receiver<StudyAnswer>, Problem> {
        // The place is held until the command is carried out, even if its sender goes: so many can wait, and no more.
        let place = Arc::clone(&self.study_places).try_acquire_owned();
        let place = place.map_err(|_full| Problem {
            retry_after_seconds: Some(1),
            ..Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many commands",
                format!("{STUDY_COMMANDS_MAX} commands for studies are under way, send it again"),
            )
        })?;
        let (asker, answered) = oneshot::channel();
        let mut askers = self.study_askers.lock().expect("no holder panics");
        askers.insert(ticket, (asker, place));
        Ok(answered)
    }

    /// Nobody will answer this command: it did not become durable.
    pub(super) fn forget_study_answer(&self, ticket: Uuid) {
        let mut askers = self.study_askers.lock().expect("no holder panics");
        askers.remove(&ticket);
    }

    pub(super) async fn look_at_studies(&self, look: Look) -> Option<StudyAnswer> {
        let (answer, looked) = oneshot::channel();
        self.studies
            .try_send(StudiesFeed::Look(look, answer))
            .ok()?;
        looked.await.ok()
    }

    pub(super) async fn score(&self) -> Option<Score> {
        let (answer, score) = oneshot::channel();
        self.tuner.try_send(TunerFeed::Score(answer)).ok()?;
        score.await.ok()
    }

    pub(super) async fn studies(&self) -> Option<Vec<StudyView>> {
        let (answer, studies) = oneshot::channel();
        self.tuner.try_send(TunerFeed::Studies(answer)).ok()?;
        studies.await.ok()
    }

    pub(super) async fn incidents(&self) -> Option<Vec<IncidentView>> {
        let (answer, incidents) = oneshot::channel();
        self.tuner.try_send(TunerFeed::Incidents(answer)).ok()?;
        incidents.await.ok()
    }

    pub(super) async fn series_of(&self, agent: AgentId) -> Option<Vec<SeriesView>> {
        let (answer, series) = oneshot::channel();
        let (questions, _) = &self.shards[shard_of(agent, self.shards.len())];
        questions.try_send(ShardQuery::Agent(agent, answer)).ok()?;
        series.await.ok().flatten()
    }

    /// The oldest recommendation that Layer7 does not have, and that no other poll is being given.
    pub(super) fn next_undelivered(&self) -> Result<Option<Recommendation>, Problem> {
        let pending = self
            .store
            .pending(0, 64)
            .map_err(|error| Problem::unavailable(format!("the outbox can't be read: {error}")))?;
        let mut handing_out = self.handing_out.lock().expect("no holder panics");
        handing_out.retain(|id| {
            pending
                .iter()
                .any(|p| p.stored.recommendation.optimization_id == *id)
        });
        let next = pending
            .into_iter()
            .map(|row| row.stored.recommendation)
            .find(|r| !handing_out.contains(&r.optimization_id));
        handing_out.extend(next.as_ref().map(|r| r.optimization_id));
        Ok(next)
    }

    /// What the metrics page and the status show besides the counters.
    pub(crate) fn gauges(&self, score: Option<Score>) -> Gauges {
        let names = self.names.read().expect("no writer panics with the lock");
        let (agents, series) = (names.n_agents(), names.n_series());
        drop(names);
        let (len, capacity, high) = self.intake.fill();
        let mut rings = vec![("intake".to_owned(), len, capacity, high)];
        for (idx, (_, gauge)) in self.shards.iter().enumerate() {
            rings.push((
                idx.to_string(),
                gauge.len(),
                gauge.capacity(),
                gauge.high_watermark(),
            ));
        }
        let now = clock::now();
        let lags = Source::ALL
            .into_iter()
            .zip(&self.counters.newest_recorded_at)
            .filter_map(|(source, newest)| {
                let newest = newest.load(Ordering::Relaxed);
                let lag = || now.seconds_since(layer5_core::Timestamp::from_nanos(newest));
                (newest != 0).then(|| (source, lag()))
            })
            .collect();
        Gauges {
            rings,
            agents,
            series,
            outbox: self.deliveries.outbox().depth_and_oldest(now),
            neighbours: self.neighbours(),
            score,
            lags,
            disk: self
                .store
                .disk_space()
                .ok()
                .map(|disk| (disk.free, disk.total)),
        }
    }

    /// Everybody we call: where reports are fetched, and where results go.
    fn neighbours(&self) -> Vec<Neighbour> {
        let mut neighbours = self
            .links
            .iter()
            .map(|link| link.view())
            .collect::<Vec<_>>();
        neighbours.extend(self.deliveries.neighbours());
        neighbours
    }

    /// How far a shadow has followed.
    pub(super) fn followed(&self) -> Option<u64> {
        self.links.iter().find_map(|link| link.followed())
    }

    /// Once a second: brings the metrics page up to date.
    pub(crate) async fn refresh_metrics(&self) {
        let score = self.score().await;
        for (target, took) in self.deliveries.take_call_durations() {
            self.meters.called(target, &took);
        }
        self.meters.refresh(&self.counters, &self.gauges(score));
        self.meters.refresh_store(&self.counters, &self.store);
    }
}
