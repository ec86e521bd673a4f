//! The tuner thread: puts the readings of all shards together and steps the [`Tuner`] in log order.
//! In: [`TunerFeed`]s from committer and shards. Out: decisions to the committer, answers to whoever asked.
//! Invariants: a tick is stepped when all shards have told their readings of it, sorted by agent; what came from the
//! committer after a tick waits behind it. What waits is bounded, as the committer lets few ticks be under way.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    thread::JoinHandle,
    time::Instant,
};

use crossbeam::channel::{Receiver, Sender};
use layer5_core::codec::{self, Format};
use layer5_patterns::incident::Symptom;

use super::{Inbox, Part, TunerFeed};
use crate::{
    clock,
    counters::Counters,
    refinery::{Reading, Roles, Tuner},
};

/// How the tuner is written into a snapshot.
pub(crate) const TUNER_FORMAT: Format = Format {
    kind: 21,
    version: 3,
};

/// Starts the tuner's thread.
///
/// # Errors
/// When the machine gives no thread.
pub(crate) fn spawn_tuner(
    tuner: Tuner,
    roles: Roles,
    n_shards: usize,
    feed: Receiver<TunerFeed>,
    inbox: Sender<Inbox>,
    counters: Arc<Counters>,
) -> std::io::Result<JoinHandle<()>> {
    let thread = TunerThread {
        tuner,
        roles,
        n_shards,
        inbox,
        counters,
        waiting: VecDeque::new(),
        told: BTreeMap::new(),
    };
    std::thread::Builder::new()
        .name("tuner".into())
        .spawn(move || thread.run(&feed))
}

struct TunerThread {
    tuner: Tuner,
    roles: Roles,
    n_shards: usize,
    inbox: Sender<Inbox>,
    counters: Arc<Counters>,
    /// What came from the committer and waits for its turn.
    waiting: VecDeque<TunerFeed>,
    /// Per tick: how many shards have told, and what.
    told: BTreeMap<u64, Told>,
}

/// What the shards have told of one tick.
#[derive(Default)]
struct Told {
    n_shards: usize,
    readings: Vec<Reading>,
    symptoms: Vec<Symptom>,
}

impl TunerThread {
    fn run(mut self, feed: &Receiver<TunerFeed>) {
        while let Ok(next) = feed.recv() {
            match next {
                TunerFeed::Stop => return,
                // Whoever asked may have gone meanwhile.
                TunerFeed::Score(answer) => {
                    let _gone = answer.send(self.tuner.score(clock::now()));
                }
                TunerFeed::Studies(answer) => {
                    let _gone = answer.send(self.tuner.studies());
                }
                TunerFeed::Incidents(answer) => {
                    let _gone = answer.send(self.tuner.incidents());
                }
                TunerFeed::Readings {
                    seq,
                    readings,
                    symptoms,
                } => {
                    let told = self.told.entry(seq).or_default();
                    told.n_shards += 1;
                    told.readings.extend(readings);
                    told.symptoms.extend(symptoms);
                }
                in_order => self.waiting.push_back(in_order),
            }
            while self.step() {}
        }
    }

    /// Takes the first of the waiting if its time has come.
    fn step(&mut self) -> bool {
        if let Some(TunerFeed::Tick { seq, .. }) = self.waiting.front()
            && self
                .told
                .get(seq)
                .is_none_or(|told| told.n_shards < self.n_shards)
        {
            return false;
        }
        let Some(next) = self.waiting.pop_front() else {
            return false;
        };
        let mut decisions = Vec::new();
        let began = Instant::now();
        match next {
            TunerFeed::Join(agents) => {
                for (agent, name) in agents {
                    self.tuner.join(agent, &name);
                }
            }
            TunerFeed::Controls { log_at, controls } => {
                for control in &controls {
                    self.tuner.control(control, log_at, &mut decisions);
                }
            }
            TunerFeed::Hosts(hosts) => {
                for (agent, host) in hosts {
                    self.tuner.moved_to(agent, &host);
                }
            }
            TunerFeed::Tick {
                seq,
                log_at,
                newest,
            } => {
                let mut told = self.told.remove(&seq).unwrap_or_default();
                told.readings.sort_unstable_by_key(|reading| reading.agent);
                let from = decisions.len();
                self.tuner
                    .tick(&told.readings, &self.roles, log_at, &mut decisions);
                self.tuner.notice(told.symptoms, &decisions[from..], newest);
                self.counters.ticks_stepped.add(1);
            }
            TunerFeed::Snapshot { seq } => {
                let bytes = codec::encode(TUNER_FORMAT, &self.tuner);
                let part = Part {
                    seq,
                    name: "tuner".into(),
                    bytes,
                };
                let _gone = self.inbox.send(Inbox::Part(part));
            }
            _ => {}
        }
        self.counters.stepped(began.elapsed());
        if !decisions.is_empty() {
            // The committer outlives the tuner; when it is gone there is nobody left to tell.
            let _gone = self.inbox.send(Inbox::Decided(decisions));
        }
        true
    }
}
