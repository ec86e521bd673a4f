//! The committer: the one thread that writes. It drains the intake, leaves out what is known already, makes a group of
//! it, and when the group is on disk answers the senders and feeds shards and tuner.
//! In: arrivals from the intake ring, everything else from the inbox. Out: durable groups, answers, feeds.
//! Called from: `app`. Next on the way: [`super::shards`], then [`crate::refinery`].
//! Invariants: no slot of the ring is held while the disk is awaited; nobody is answered before the commit; after a
//! failed commit nothing is taken any more and the process goes down, because what is on disk is then unknown.

mod feeding;
mod replaying;
mod snapshots;

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use crossbeam::channel::{Receiver, Sender};
use layer5_core::{AgentId, MetricId, Timestamp};
use layer5_ingest::{
    Admission, Arrival, DedupWindow, ReportKey, Seen,
    ring::{Wait, mpsc, spsc},
};
use snapshots::Snapshots;
pub(crate) use snapshots::{BOOKMARK_FORMAT, Bookmark, WATCH_FORMAT, WATCH_PART};
use tokio::sync::{Notify, oneshot};

use super::{
    Inbox, ShardFeed, StudiesFeed, TunerFeed,
    effects::Pending,
    settings_known::{Moved, SettingsKnown},
};
use crate::{
    clock,
    counters::{Component, Counters},
    intake::{Committed, DeadLetter, SharedNames, Shares, Waiting},
    metrics::Meters,
    refinery::asked::Asked,
    store::{CommitError, Control, Group, Store, StoredReport, WatchSettings},
};

/// How long the committer sleeps at most when the ring is empty: the patience of the inbox.
const INBOX_PATIENCE: Duration = Duration::from_millis(5);
/// Pause between two tries at a full ring or queue.
const FULL_PAUSE: Duration = Duration::from_micros(200);
/// Pause between two looks at a full disk.
const DISK_FULL_PAUSE: Duration = Duration::from_millis(500);
/// Samples whose reports the dedup window expects at once: some ten reports.
const LOOK_AHEAD: usize = 96;
/// Ticks that the tuner may be behind: each holds a reading of every agent that reported.
const TICKS_UNDER_WAY_MAX: u64 = 8;
/// Messages taken from the inbox between two groups.
const INBOX_TAKEN_MAX: usize = 4096;

/// Why the committer stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It was asked to.
    Asked,
    /// The store failed.
    StoreFailed,
}

/// How the committer works.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Most samples in one group.
    pub group_samples_max: usize,
    /// Time between two ticks.
    pub tick: Duration,
    /// Samples between two snapshots.
    pub snapshot_samples: u64,
}

/// The only writer.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(crate) store: Arc<Store>,
    pub(crate) intake: mpsc::Consumer<Arrival>,
    pub(crate) inbox: Receiver<Inbox>,
    pub(crate) refused: Receiver<DeadLetter>,
    pub(crate) shards: Vec<spsc::Producer<ShardFeed>>,
    /// To each shard: what people ask of the watch.
    pub(crate) asked: Vec<Sender<Arc<Asked>>>,
    /// The same as the log has it.
    pub(crate) watch: WatchSettings,
    pub(crate) tuner: Sender<TunerFeed>,
    pub(crate) studies: Sender<StudiesFeed>,
    pub(crate) names: SharedNames,
    pub(crate) new_hosts: Arc<Mutex<Vec<(AgentId, String)>>>,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) shares: Arc<Shares>,
    pub(crate) dedup: DedupWindow,
    pub(crate) pending: Pending,
    pub(crate) settings: SettingsKnown,
    /// What each study's settings move.
    pub(crate) moved: Vec<Moved>,
    /// Rung when there are new recommendations in the store.
    pub(crate) bell: Arc<Notify>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) pace: Pace,
    pub(crate) state: State,
}

/// What the committer remembers from group to group.
#[derive(Debug)]
pub(crate) struct State {
    seq: u64,
    /// The newest `recorded_at` of all samples so far.
    newest: Timestamp,
    /// Names that are in the log.
    n_agents: usize,
    n_metrics: usize,
    n_series: usize,
    /// The request whose samples are passing through.
    request: Committed,
    report_is_new: bool,
    /// What the dedup window admitted with the group that is being made.
    seen: Vec<Seen>,
    controls: Vec<Control>,
    answers: Vec<oneshot::Sender<()>>,
    snapshots: Snapshots,
    next_tick: Instant,
    /// Whether samples came since the last tick.
    read_something: bool,
    stopping: bool,
    finished: bool,
}

impl State {
    /// The state after the log's last group; the names of the log are all that is known.
    /// `newest` is the newest `recorded_at` that the snapshot has seen.
    pub(crate) fn after(
        seq: u64,
        (n_agents, n_metrics, n_series): (usize, usize, usize),
        newest: Timestamp,
    ) -> Self {
        Self {
            seq,
            newest,
            n_agents,
            n_metrics,
            n_series,
            request: Committed::default(),
            report_is_new: false,
            seen: Vec::new(),
            controls: Vec::new(),
            answers: Vec::new(),
            snapshots: Snapshots::default(),
            next_tick: Instant::now(),
            read_something: false,
            stopping: false,
            finished: false,
        }
    }
}

/// The new samples of one group on their way to the shards, and the requests that end in it.
#[derive(Debug, Default)]
struct Passing {
    arrivals: Vec<Arrival>,
    ended: Vec<(u32, Committed, usize)>,
}

impl Committer {
    /// Before it runs: the next group holds this happening.
    pub(crate) fn begin_with(&mut self, control: Control) {
        self.state.controls.push(control);
    }

    /// Works until it is asked to stop or the store fails.
    pub(crate) fn run(mut self) -> StopReason {
        let mut drained = Vec::with_capacity(self.pace.group_samples_max);
        loop {
            let patience = self.patience();
            let wait = self.intake.wait(patience);
            let left_over = drained.len();
            self.intake
                .drain_into(&mut drained, self.pace.group_samples_max);
            self.give_back(&drained[left_over..]);
            self.read_inbox(INBOX_TAKEN_MAX);
            // A report is not cut: what came of an unfinished one waits for the rest, which is in the ring already.
            let whole = drained
                .iter()
                .rposition(|a| a.last_of_report)
                .map_or(0, |i| i + 1);
            match self.group(&drained[..whole]) {
                Ok(()) => {}
                Err(error) => return self.fail(&error),
            }
            drained.drain(..whole);
            self.keep_refused();
            if self.store.is_poisoned() {
                return self.fail(&CommitError::Poisoned);
            }
            let done = self.state.stopping && drained.is_empty() && wait != Wait::Ready;
            if done && self.inbox.is_empty() && self.pending.is_empty() && self.finish() {
                if let Err(error) = self.store.checkpoint() {
                    return self.fail(&error);
                }
                return StopReason::Asked;
            }
        }
    }

    /// Their room in the ring is free again for the sources that held it.
    fn give_back(&self, drained: &[Arrival]) {
        for run in drained.chunk_by(|a, b| a.source == b.source) {
            self.shares.release(run[0].source.into(), run.len());
        }
    }

    /// Keeps the refused reports. They were never promised, so a failure here is counted and no more.
    fn keep_refused(&self) {
        let letters: Vec<DeadLetter> = self.refused.try_iter().take(INBOX_TAKEN_MAX).collect();
        if letters.is_empty() {
            return;
        }
        for DeadLetter {
            at,
            source,
            rejection,
            raw,
        } in &letters
        {
            if let Err(error) = self.store.append_dead_letter(*at, source, rejection, raw) {
                self.counters.error(Component::Store);
                tracing::warn!(%error, "a refused report could not be kept");
            }
        }
    }

    fn patience(&self) -> Duration {
        if !self.inbox.is_empty() || !self.pending.is_empty() {
            return Duration::ZERO;
        }
        let until_tick = self
            .state
            .next_tick
            .saturating_duration_since(Instant::now());
        until_tick.min(INBOX_PATIENCE)
    }

    fn read_inbox(&mut self, at_most: usize) {
        for _ in 0..at_most {
            let Ok(message) = self.inbox.try_recv() else {
                return;
            };
            match message {
                Inbox::Control(control, answer) => {
                    self.state.controls.push(control);
                    self.state.answers.push(answer);
                }
                Inbox::Found(found) => {
                    let names = self.names.read().expect("no writer panics with the lock");
                    self.pending.found(found, &names);
                }
                Inbox::Decided(decisions) => {
                    let names = self.names.read().expect("no writer panics with the lock");
                    self.pending.decided(decisions, &names);
                }
                Inbox::Part(part) => self.gather(part),
                Inbox::Saved { seq } => self.count_shard(seq),
                Inbox::Stop => self.state.stopping = true,
            }
        }
    }

    /// Makes one group of what was drained and of all that is pending, and passes it on.
    fn group(&mut self, drained: &[Arrival]) -> Result<(), CommitError> {
        let now = clock::now();
        let tick_due = Instant::now() >= self.state.next_tick;
        let mut group = Group {
            seq: self.state.seq + 1,
            at: now,
            ..Group::default()
        };
        let passing = self.admit(drained, now, &mut group);
        group.controls = std::mem::take(&mut self.state.controls);
        group.effects = self.pending.take();
        let empty =
            group.samples.is_empty() && group.controls.is_empty() && group.effects.is_empty();
        if tick_due {
            // A tick only counts when something was read since the last: an idle service writes nothing.
            let read_something = self.state.read_something || !group.samples.is_empty();
            group.tick = read_something && self.may_tick();
            self.state.next_tick = Instant::now() + self.pace.tick;
        }
        if !empty || group.tick {
            self.add_names(&mut group);
            self.commit(&group)?;
        }
        for answer in self.state.answers.drain(..) {
            // Whoever told this may have gone; it is durable all the same.
            let _gone = answer.send(());
        }
        self.pass_on(passing, &group);
        Ok(())
    }

    /// Whether the tuner keeps up. What was read waits with the shards for the next tick: sums for each agent, not samples.
    fn may_tick(&self) -> bool {
        let under_way = self.counters.ticks_told.get() - self.counters.ticks_stepped.get();
        let keeps_up = under_way < TICKS_UNDER_WAY_MAX;
        self.counters.ticks_put_off.add(u64::from(!keeps_up));
        keeps_up
    }

    /// Leaves out what is known already; the new samples go into the group and on their way.
    fn admit(&mut self, drained: &[Arrival], now: Timestamp, group: &mut Group) -> Passing {
        let mut passing = Passing::default();
        passing.arrivals.reserve(drained.len());
        group.samples.reserve(drained.len());
        let mut n_samples = 0_u16;
        let mut looked_at = 0;
        for (i, arrival) in drained.iter().enumerate() {
            if i >= looked_at {
                let ahead = &drained[i..drained.len().min(i + LOOK_AHEAD)];
                looked_at = i + ahead.len();
                let ends = ahead.iter().filter(|a| a.last_of_report);
                self.dedup.expect(ends.map(|a| (a.report, a.metric)), now);
            }
            let state = &mut self.state;
            if self.dedup.admit(arrival.report, arrival.metric, now) == Admission::New {
                state.report_is_new = true;
                note_seen(&mut state.seen, arrival.report, arrival.metric);
                n_samples += 1;
                group.samples.push(arrival.sample);
                passing.arrivals.push(*arrival);
            }
            if arrival.last_of_report {
                let new = std::mem::take(&mut state.report_is_new);
                state.request.accepted += u64::from(new);
                state.request.duplicates += u64::from(!new);
                self.counters.duplicates.add(u64::from(!new));
                if new {
                    let key = (u128::from(arrival.report.hi) << 64) | u128::from(arrival.report.lo);
                    let n_samples = std::mem::take(&mut n_samples);
                    group.reports.push(StoredReport { key, n_samples });
                }
            }
            if arrival.last_of_request {
                group.offsets.extend(self.waiting.offset(arrival.request));
                let committed = std::mem::take(&mut state.request);
                passing
                    .ended
                    .push((arrival.request, committed, passing.arrivals.len()));
            }
        }
        passing
    }

    fn add_names(&mut self, group: &mut Group) {
        let names = self.names.read().expect("no writer panics with the lock");
        let state = &mut self.state;
        let owned = |name: &str| name.to_owned();
        group.new_agents = names
            .agents_from(state.n_agents)
            .map(|(id, n)| (id, owned(n)))
            .collect();
        group.new_metrics = names
            .metrics_from(state.n_metrics)
            .map(|(id, n)| (id, owned(n)))
            .collect();
        group.new_series = names.series_from(state.n_series).collect();
        state.n_agents = names.n_agents();
        state.n_metrics = names.n_metrics();
        state.n_series = names.n_series();
        drop(names);
        group.new_hosts = std::mem::take(&mut *self.new_hosts.lock().expect("no holder panics"));
    }

    /// The group is durable: answers its senders and feeds shards and tuner.
    fn pass_on(&mut self, passing: Passing, group: &Group) {
        let Passing { arrivals, ended } = passing;
        let mut since = Vec::with_capacity(ended.len());
        for (slot, committed, end) in ended {
            if let Some(began) = self.waiting.answer(slot, committed) {
                self.meters.acknowledged(began.elapsed());
                since.push((end, began));
            }
        }
        self.feed(group, &arrivals, &since);
        self.state.snapshots.samples_since += arrivals.len() as u64;
        if self.is_snapshot_due() {
            self.begin_snapshot();
        }
    }

    /// Makes a group durable. A full disk is waited for: those who sent are let go with 503, what they sent is
    /// recognised when they send it again.
    fn commit(&mut self, group: &Group) -> Result<(), CommitError> {
        loop {
            match self.store.commit(group) {
                Ok(()) => break,
                Err(full) if full.is_for_now() && !self.state.stopping => {
                    if !self.counters.disk_full.swap(true, Ordering::AcqRel) {
                        tracing::error!(error = %full, "nothing is taken until there is room");
                    }
                    self.waiting.abandon();
                    self.read_inbox(INBOX_TAKEN_MAX);
                    std::thread::sleep(DISK_FULL_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
        if self.counters.disk_full.swap(false, Ordering::AcqRel) {
            tracing::info!("there is room on the disk again");
        }
        self.state.seq = group.seq;
        let State {
            seen, snapshots, ..
        } = &mut self.state;
        snapshots.seen.push(group.seq, group.at, seen);
        self.counters.commits.add(1);
        let forgotten = self.dedup.forgotten_early();
        self.counters
            .dedup_forgotten
            .store(forgotten, Ordering::Relaxed);
        if !group.effects.recommendations.is_empty() {
            self.bell.notify_one();
        }
        Ok(())
    }

    fn fail(&mut self, error: &CommitError) -> StopReason {
        self.counters.failed.store(true, Ordering::Release);
        self.counters.error(Component::Store);
        self.waiting.abandon();
        tracing::error!(%error, "a commit failed: nothing is taken any more, the process stops");
        StopReason::StoreFailed
    }
}

/// Adds a metric of a report; the metrics of one report come one after the other.
fn note_seen(seen: &mut Vec<Seen>, report: ReportKey, metric: MetricId) {
    let new = Seen::of(report, metric);
    match seen.last_mut() {
        Some(last) if last.key == new.key => last.metrics |= new.metrics,
        _ => seen.push(new),
    }
}
