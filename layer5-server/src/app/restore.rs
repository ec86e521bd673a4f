//! State at a start: the newest snapshot, part by part, then the tail of the log, then the dedup window.
//! In: the opened store. Out: names, shards' agents, tuner and studies as they were. Called from: [`super::start`].
//! Invariants: what can't be read costs itself alone, and the log says what that is.

use std::{sync::Arc, time::Instant};

use layer5_core::{Timestamp, codec};
use layer5_ingest::Names;

use super::StartError;
use super::rooms::Cohorts;
use crate::{
    clock,
    config::Config,
    intake::SharedNames,
    pipeline::{self, Committer},
    refinery::{Tuner, asked::SavedAsked, shard::SavedAgent},
    store::{PatternQuery, ReadError, Store, WatchSettings},
    study_desk::Desks,
};

/// What the newest snapshot holds; nothing when there is none that can be read.
#[derive(Default)]
pub(super) struct Snapshot {
    pub(super) seq: u64,
    pub(super) bookmark: pipeline::Bookmark,
    pub(super) agents: Vec<SavedAgent>,
    pub(super) watch: WatchSettings,
    pub(super) asked: Vec<SavedAsked>,
    pub(super) tuner: Option<Tuner>,
    pub(super) studies: Desks,
}

impl Snapshot {
    /// Reads it. A part that is damaged or of a form that this program does not know is left out: what it was of starts
    /// afresh at the snapshot's position.
    pub(super) fn read(store: &Store) -> Result<Self, ReadError> {
        let Some(parts) = store.latest_snapshot()? else {
            return Ok(Self::default());
        };
        let mut snapshot = Self {
            seq: parts.seq,
            ..Self::default()
        };
        let seq = snapshot.seq;
        for part in parts {
            match part {
                Ok((name, bytes)) => {
                    if let Err(error) = snapshot.take(&name, &bytes) {
                        tracing::error!(seq, part = name, %error, "a part of the snapshot can't be used, {}", costs(&name));
                    }
                }
                Err(error) => {
                    tracing::error!(seq, %error, "a part of the snapshot is damaged, what it was of starts afresh");
                }
            }
        }
        Ok(snapshot)
    }

    fn take(&mut self, name: &str, bytes: &[u8]) -> Result<(), codec::DecodeError> {
        match name {
            "tuner" => self.tuner = Some(codec::decode(pipeline::TUNER_FORMAT, bytes)?),
            "studies" => self.studies = codec::decode(pipeline::STUDIES_FORMAT, bytes)?,
            "committer" => self.bookmark = codec::decode(pipeline::BOOKMARK_FORMAT, bytes)?,
            pipeline::WATCH_PART => self.watch = codec::decode(pipeline::WATCH_FORMAT, bytes)?,
            name if name.starts_with(pipeline::ASKED_PART) => {
                let asked: Vec<SavedAsked> = codec::decode(pipeline::ASKED_FORMAT, bytes)?;
                self.asked.extend(asked);
            }
            _ => {
                let agents: Vec<SavedAgent> = codec::decode(pipeline::SHARD_FORMAT, bytes)?;
                self.agents.extend(agents);
            }
        }
        Ok(())
    }
}

/// What it costs to do without a part.
fn costs(name: &str) -> &'static str {
    match name {
        "tuner" => "the studies of the cohorts start afresh",
        "studies" => "the studies of others are lost",
        "committer" => "what own changes move is not known until they are made again",
        pipeline::WATCH_PART => "limits, templates and sensitivities hold from now on",
        name if name.starts_with(pipeline::ASKED_PART) => {
            "limits under way may be told again, shapes under way are not"
        }
        _ => "its agents' series warm up anew",
    }
}

/// Feeds the log's tail to shards and tuner, and the last minutes' reports to the dedup window.
pub(super) fn replay(
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
    let window = Window {
        from: last_at.plus_seconds(-config.limits.dedup_window_seconds),
        down_seconds: now.seconds_since(last_at).max(0.0),
    };
    restore_window(committer, &window, snapshot_seq).map_err(damaged)?;
    let window_seconds = began.elapsed().as_secs_f64();
    let mut n_samples = 0_u64;
    // Without a snapshot what the log still has is all there is.
    let tail_from = (snapshot_seq + 1).max(store.first_seq().unwrap_or(1));
    for group in store.groups_from(tail_from) {
        let group = group.map_err(damaged)?;
        committer.restore_group(&group, window.seen_at(group.at), true);
        committer.pending.expect_decisions_again(&group.effects);
        n_samples += group.samples.len() as u64;
        let arrivals = committer.arrivals_of(&group);
        committer.feed(&group, &arrivals, &[]);
    }
    committer.settle(n_samples);
    let seconds = began.elapsed().as_secs_f64();
    tracing::info!(
        n_samples,
        seconds,
        window_seconds,
        snapshot_seq,
        "state rebuilt"
    );
    Ok(())
}

/// The span of the dedup window at the last group of the log.
struct Window {
    from: Timestamp,
    /// How long there was no service since then.
    down_seconds: f64,
}

impl Window {
    /// When what became durable at `at` counts as seen.
    fn seen_at(&self, at: Timestamp) -> Timestamp {
        at.plus_seconds(self.down_seconds)
    }
}

/// Restores the dedup window as of the snapshot: from what was written down of it, and from the log where nothing was.
fn restore_window(
    committer: &mut Committer,
    window: &Window,
    snapshot_seq: u64,
) -> Result<(), ReadError> {
    let store = Arc::clone(&committer.store);
    let mut next = None;
    let mut outcome = Ok(());
    store.visit_seen(|piece| {
        if piece.last_seq > snapshot_seq || piece.at < window.from || outcome.is_err() {
            return;
        }
        let from = match next {
            Some(next) => next,
            // What is before the first piece is older than the window, or only in the log.
            None if piece.from < window.from => piece.first_seq,
            None => first_group_needed(&store, window.from, piece.first_seq),
        };
        if from > piece.first_seq {
            return;
        }
        outcome = restore_from_log(committer, window, from, piece.first_seq);
        let entries = &piece.entries;
        committer
            .dedup
            .restore_all(entries, window.seen_at(piece.at));
        next = Some(piece.last_seq + 1);
    })?;
    outcome?;
    let from = match next {
        Some(next) => next,
        None => first_group_needed(&store, window.from, snapshot_seq + 1),
    };
    restore_from_log(committer, window, from, snapshot_seq + 1)
}

/// Counts the reports of the groups from `from` to before `end` as seen.
fn restore_from_log(
    committer: &mut Committer,
    window: &Window,
    from: u64,
    end: u64,
) -> Result<(), ReadError> {
    let store = Arc::clone(&committer.store);
    let from = from.max(store.first_seq().unwrap_or(end));
    let n_groups = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX);
    for group in store.groups_from(from).take(n_groups) {
        let group = group?;
        committer.restore_group(&group, window.seen_at(group.at), false);
    }
    Ok(())
}

/// The oldest group before `end` that the dedup window needs. Groups are in the order of time, so the search halves.
fn first_group_needed(store: &Store, from: Timestamp, end: u64) -> u64 {
    let Some(mut low) = store.first_seq() else {
        return end;
    };
    let mut high = end;
    while low < high {
        let middle = low + (high - low) / 2;
        let at = store
            .groups_from(middle)
            .next()
            .and_then(Result::ok)
            .map(|group| group.at);
        if at.is_some_and(|at| at < from) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// The tuner of the snapshot if it answers to this configuration, else a new one that knows the agents.
pub(super) fn tuner_for(
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

pub(super) fn restored_names(store: &Store, config: &Config) -> Result<Names, StartError> {
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
