//! When snapshots are taken, and how their parts come together.
//! In: the committer's position in the log. Out: snapshots that [`super::super::keeper`] makes durable.
//! Called from: [`Committer`], between two groups.
//! Invariants: a snapshot is complete only when all that its parts have decided is durable in the log; while one is under
//! way no other begins.

use std::time::{Duration, Instant};

use layer5_core::codec::{self, Format};
use serde::{Deserialize, Serialize};

use super::{Committer, FULL_PAUSE, INBOX_TAKEN_MAX};
use crate::{
    clock,
    counters::Component,
    pipeline::{Part, ShardFeed, StudiesFeed, TunerFeed, settings_known::SettingsKnown},
    store::{CommitError, Group, SeenSince, WatchSettings},
};

/// How the bookmark is written into a snapshot.
pub(crate) const BOOKMARK_FORMAT: Format = Format {
    kind: 22,
    version: 1,
};

/// How the settings of the watch are written into a snapshot.
pub(crate) const WATCH_FORMAT: Format = Format {
    kind: 24,
    version: 1,
};
/// The part of a snapshot that holds them.
pub(crate) const WATCH_PART: &str = "watch";

/// The log may grow by this much, bytes, before a snapshot is begun whatever else holds: a crash while it is written
/// leaves what has come meanwhile as well, under 128 MiB in all.
const TAIL_BYTES: u64 = 80 << 20;
/// Reports seen since the last snapshot after which one is due: 12 MB of memory.
const SEEN_MAX: usize = 1 << 19;
/// Time of tuner and studies since the last snapshot after which one is due: a replay of a model that is fitted again and
/// again takes as long as the first time did.
const STEPPING_MICROS: u64 = 500_000;
/// Snapshots take at most a fifth of the time: after one there are so many times its own time without.
const REST: u32 = 4;

/// What the committer adds to a snapshot.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Bookmark {
    /// What Layer5's own changes do, as of this position.
    pub(crate) settings: SettingsKnown,
    /// The id of the first pattern that may be found again by a replay from here.
    pub(crate) next_event_id: u64,
}

/// The snapshot under way, and when the next is due.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// Samples since the last one was begun.
    pub(super) samples_since: u64,
    /// Reports admitted since then.
    pub(super) seen: SeenSince,
    /// What tuner and studies had taken when it was begun, us.
    stepped_before: u64,
    gathering: Option<Gathering>,
    /// Tuner and studies have not been through the replay yet; what they find again is not told twice until then.
    replaying: bool,
    /// When the last one was complete, and how long that took.
    last: Option<(Instant, Duration)>,
}

/// A snapshot whose parts are coming in.
#[derive(Debug)]
struct Gathering {
    seq: u64,
    bookmark: Bookmark,
    watch: WatchSettings,
    /// Shards that are not through.
    shards_missing: usize,
    /// Of the tuner and the studies, as many as are not through.
    models_missing: usize,
    began: Instant,
}

impl Committer {
    pub(super) fn is_snapshot_due(&self) -> bool {
        let snapshots = &self.state.snapshots;
        let rested = snapshots
            .last
            .is_none_or(|(at, took)| at.elapsed() >= took * REST);
        let stepped = self.counters.stepping_micros.get() - snapshots.stepped_before;
        let many = snapshots.samples_since >= self.pace.snapshot_samples
            || snapshots.seen.len() >= SEEN_MAX
            || stepped >= STEPPING_MICROS;
        snapshots.gathering.is_none() && (many && rested || self.store.tail_bytes() >= TAIL_BYTES)
    }

    /// Asks shards and tuner for their state as of the last group.
    pub(crate) fn begin_snapshot(&mut self) {
        if self.state.snapshots.gathering.is_some() {
            return;
        }
        self.state.snapshots.samples_since = 0;
        self.state.snapshots.stepped_before = self.counters.stepping_micros.get();
        let seen = std::mem::take(&mut self.state.snapshots.seen);
        match self.store.begin_snapshot(self.state.seq, seen) {
            Ok(()) => self.gather_all(),
            Err(error) => self.no_snapshot(&error),
        }
    }

    fn no_snapshot(&self, error: &dyn std::error::Error) {
        self.counters.error(Component::Store);
        let seq = self.state.seq;
        tracing::error!(seq, error = %error, "no snapshot: the next start replays more");
    }

    /// Lets shards and tuner tell when they have come as far as the last group; their state goes to the snapshot that was
    /// begun, if there is one.
    fn gather_all(&mut self) {
        let seq = self.state.seq;
        let bookmark = Bookmark {
            settings: self.settings.clone(),
            next_event_id: self.pending.next_event_id(),
        };
        self.state.snapshots.gathering = Some(Gathering {
            seq,
            bookmark,
            watch: self.watch.clone(),
            shards_missing: self.shards.len(),
            models_missing: 2,
            began: Instant::now(),
        });
        for idx in 0..self.shards.len() {
            self.tell_shard(idx, &[ShardFeed::Snapshot { seq }]);
        }
        self.tell_tuner(TunerFeed::Snapshot { seq });
        self.tell_studies(StudiesFeed::Snapshot { seq });
    }

    /// A part that did not write itself.
    pub(super) fn gather(&mut self, part: Part) {
        if let Err(error) = self.store.add_to_snapshot(part.seq, &part.name, part.bytes) {
            self.no_snapshot(&error);
        }
        if let Some(under_way) = self.under_way(part.seq) {
            under_way.models_missing -= 1;
            self.complete_if_all_are_through(part.seq);
        }
    }

    /// A shard is through.
    pub(super) fn count_shard(&mut self, seq: u64) {
        if let Some(under_way) = self.under_way(seq) {
            under_way.shards_missing -= 1;
            self.complete_if_all_are_through(seq);
        }
    }

    fn under_way(&mut self, seq: u64) -> Option<&mut Gathering> {
        let gathering = self.state.snapshots.gathering.as_mut();
        gathering.filter(|gathering| gathering.seq == seq)
    }

    fn complete_if_all_are_through(&mut self, seq: u64) {
        let gathering = &mut self.state.snapshots.gathering;
        if gathering
            .as_ref()
            .is_some_and(|g| g.shards_missing + g.models_missing > 0)
        {
            return;
        }
        let Some(Gathering {
            bookmark,
            watch,
            began,
            ..
        }) = gathering.take()
        else {
            return;
        };
        let bytes = codec::encode(BOOKMARK_FORMAT, &bookmark);
        let added = self.store.add_to_snapshot(seq, "committer", bytes);
        let bytes = codec::encode(WATCH_FORMAT, &watch);
        let added = added.and_then(|()| self.store.add_to_snapshot(seq, WATCH_PART, bytes));
        if let Err(error) = added {
            self.no_snapshot(&error);
        }
        match self.commit_effects() {
            // The keeper does the rest.
            Ok(()) => _ = self.store.complete_snapshot(seq),
            Err(error) => self.no_snapshot(&error),
        }
        if std::mem::take(&mut self.state.snapshots.replaying) {
            self.pending.replayed();
            tracing::info!(seq, "tuner and studies have caught up with the log");
        } else {
            self.state.snapshots.last = Some((Instant::now(), began.elapsed()));
        }
    }

    /// What shards and tuner decided before a snapshot must be durable before it is.
    fn commit_effects(&mut self) -> Result<(), CommitError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let effects = self.pending.take();
        let group = Group {
            seq: self.state.seq + 1,
            at: clock::now(),
            effects,
            ..Group::default()
        };
        self.commit(&group)?;
        self.feed(&group, &[], &[]);
        Ok(())
    }

    /// The last steps: a final snapshot. Returns whether all is done.
    pub(super) fn finish(&mut self) -> bool {
        if !self.state.finished {
            self.state.finished = true;
            self.begin_snapshot();
        }
        // Models that have not caught up yet do so again at the next start.
        if self.state.snapshots.gathering.is_some() && !self.state.snapshots.replaying {
            return false;
        }
        match self.store.publish_snapshot() {
            Ok(Some(seq)) => tracing::info!(seq, "snapshot written"),
            Ok(None) => {}
            Err(error) => self.no_snapshot(&error),
        }
        true
    }

    /// Waits until what was fed has been through the shards: the end of a replay of `n_samples`. Tuner and studies may
    /// take longer, as they may while the service runs: a model that is fitted again and again delays no start.
    pub(crate) fn settle(&mut self, n_samples: u64) {
        self.state.snapshots.replaying = true;
        self.gather_all();
        let shards_missing = |gathering: &Option<Gathering>| {
            gathering.as_ref().is_some_and(|g| g.shards_missing > 0)
        };
        while shards_missing(&self.state.snapshots.gathering) {
            self.read_inbox(INBOX_TAKEN_MAX);
            std::thread::sleep(FULL_PAUSE);
        }
        self.state.snapshots.samples_since = n_samples;
        self.state.snapshots.stepped_before = 0;
    }
}
