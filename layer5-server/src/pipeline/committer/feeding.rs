//! What a durable group sets in motion: its samples go to the shards that own them, the rest to tuner and studies.
//! In: groups, live or replayed. Out: full rings, which make the committer wait. Called from: [`Committer`].
//! Invariants: everybody is fed in log order; while a ring is full the inbox is emptied, so the circle can't lock.

use std::{sync::Arc, time::Instant};

use crossbeam::channel::TrySendError;
use layer5_core::Timestamp;
use layer5_ingest::{Arrival, shard_of};

use super::{Committer, FULL_PAUSE, INBOX_TAKEN_MAX};
use crate::{
    pipeline::{ShardFeed, StudiesFeed, TunerFeed},
    refinery::asked::Asked,
    store::{Control, Group},
};

impl Committer {
    /// Feeds a durable group to the tuner and the shards; also the way of a replayed one.
    pub(crate) fn feed(&mut self, group: &Group, arrivals: &[Arrival], since: &[(usize, Instant)]) {
        if !group.new_agents.is_empty() {
            self.tell_tuner(TunerFeed::Join(group.new_agents.clone()));
        }
        if !group.new_hosts.is_empty() {
            self.tell_tuner(TunerFeed::Hosts(group.new_hosts.clone()));
        }
        for control in &group.controls {
            if let Control::Study(said) = control {
                self.tell_studies(StudiesFeed::Command {
                    ticket: said.ticket,
                    study: said.study.clone(),
                    command: said.command.clone(),
                });
            }
        }
        if !group.controls.is_empty() {
            let controls = group.controls.clone();
            self.tell_tuner(TunerFeed::Controls {
                log_at: group.at,
                controls,
            });
        }
        let n_shards = self.shards.len();
        // A little more than an even share, so that most groups need no second allocation.
        let share = arrivals.len() / n_shards + arrivals.len() / 16 + 16;
        let mut feeds: Vec<Vec<ShardFeed>> =
            (0..n_shards).map(|_| Vec::with_capacity(share)).collect();
        self.tell_asked(group, &mut feeds);
        let mut since = since.iter().peekable();
        for (i, arrival) in arrivals.iter().enumerate() {
            let idx = shard_of(arrival.agent, n_shards);
            feeds[idx].push(ShardFeed::Sample(*arrival));
            while let Some((_, began)) = since.next_if(|(end, _)| *end == i + 1) {
                feeds[idx].push(ShardFeed::RequestEnd(*began));
            }
        }
        self.tell_moves(group, &mut feeds);
        self.state.read_something |= !arrivals.is_empty();
        let newest = arrivals.iter().map(|arrival| arrival.sample.at).max();
        self.state.newest = self.state.newest.max(newest.unwrap_or(Timestamp::MIN));
        if group.tick {
            let tick = ShardFeed::Tick {
                seq: group.seq,
                newest: self.state.newest,
            };
            self.state.read_something = false;
            self.counters.ticks_told.add(1);
            feeds.iter_mut().for_each(|feed| feed.push(tick));
            self.tell_tuner(TunerFeed::Tick {
                seq: group.seq,
                log_at: group.at,
                newest: self.state.newest,
            });
        }
        for (idx, feed) in feeds.iter().enumerate() {
            self.tell_shard(idx, feed);
        }
    }

    /// What this group tells of our own changes goes to the shards that own the agents, behind its samples.
    fn tell_moves(&mut self, group: &Group, feeds: &mut [Vec<ShardFeed>]) {
        let moves = self.settings.take(group, &self.moved);
        if moves.is_empty() {
            return;
        }
        let names = self.names.read().expect("no writer panics with the lock");
        for moved in moves {
            let Some(agent) = names.lookup_agent(&moved.agent) else {
                continue;
            };
            feeds[shard_of(agent, feeds.len())].push(ShardFeed::Moved {
                agent,
                metric: moved.metric,
                log_factor: moved.log_factor,
                settle_len: moved.settle_len,
            });
        }
    }

    /// Settings of the watch hold from the samples of their own group on.
    fn tell_asked(&mut self, group: &Group, feeds: &mut [Vec<ShardFeed>]) {
        let newest = group
            .controls
            .iter()
            .rev()
            .find_map(|control| match control {
                Control::Watch(settings) => Some(settings),
                _ => None,
            });
        let Some(settings) = newest.filter(|settings| **settings != self.watch) else {
            return;
        };
        self.watch.clone_from(settings);
        let asked = Arc::new(Asked::new(settings, &self.names));
        for (idx, feed) in feeds.iter_mut().enumerate() {
            let mut waiting = Arc::clone(&asked);
            while let Err(TrySendError::Full(back)) = self.asked[idx].try_send(waiting) {
                waiting = back;
                self.read_inbox(INBOX_TAKEN_MAX);
                std::thread::sleep(FULL_PAUSE);
            }
            feed.push(ShardFeed::Asked);
        }
    }

    pub(super) fn tell_shard(&mut self, idx: usize, mut feed: &[ShardFeed]) {
        while !feed.is_empty() {
            let n = self.shards[idx].push_slice(feed);
            feed = &feed[n..];
            if n == 0 {
                if self.shards[idx].is_closed() {
                    return;
                }
                self.read_inbox(INBOX_TAKEN_MAX);
                std::thread::sleep(FULL_PAUSE);
            }
        }
    }

    pub(super) fn tell_tuner(&mut self, mut feed: TunerFeed) {
        loop {
            match self.tuner.try_send(feed) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(back)) => {
                    feed = back;
                    self.read_inbox(INBOX_TAKEN_MAX);
                    std::thread::sleep(FULL_PAUSE);
                }
            }
        }
    }

    pub(super) fn tell_studies(&mut self, mut feed: StudiesFeed) {
        loop {
            match self.studies.try_send(feed) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(back)) => {
                    feed = back;
                    self.read_inbox(INBOX_TAKEN_MAX);
                    std::thread::sleep(FULL_PAUSE);
                }
            }
        }
    }
}
