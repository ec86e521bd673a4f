//! What flows between the threads, as plain values.
//! Invariants: everything carries the log position (`seq`) that caused it where order matters.

use std::time::Instant;

use layer5_core::{AgentId, MetricId, Timestamp};
use layer5_ingest::Arrival;
use layer5_patterns::incident::Symptom;
use tokio::sync::oneshot;

use crate::{
    refinery::{
        Decision, Found, Reading,
        incidents::IncidentView,
        shard::SeriesView,
        tuner::{Score, StudyView},
    },
    store::Control,
};

/// Committer to shard, through its ring.
#[derive(Clone, Copy, Debug)]
pub enum ShardFeed {
    /// One sample of an agent that this shard owns.
    Sample(Arrival),
    /// A request ends here: its samples have been through, and this is since when it waited.
    RequestEnd(Instant),
    /// A change that Layer5 brought about moves one metric of one agent from here on.
    Moved {
        /// Whose.
        agent: AgentId,
        /// Which metric.
        metric: MetricId,
        /// Natural logarithm of the factor between the metric at its setting and at the initial one.
        log_factor: f64,
        /// Samples of it that are not judged while the change settles.
        settle_len: u32,
    },
    /// What people ask of the watch has changed; it waits in the queue of settings.
    Asked,
    /// Tell the tuner what was read.
    Tick {
        /// The log position.
        seq: u64,
        /// The newest `recorded_at` of all samples so far.
        newest: Timestamp,
    },
    /// Hand out a snapshot as of this position.
    Snapshot {
        /// The log position.
        seq: u64,
    },
}

impl ShardFeed {
    /// The sample, if it is one.
    pub(crate) fn arrival(&self) -> Option<&Arrival> {
        match self {
            Self::Sample(arrival) => Some(arrival),
            _ => None,
        }
    }
}

/// Committer and shards to tuner.
#[derive(Debug)]
pub enum TunerFeed {
    /// Agents that were seen for the first time.
    Join(Vec<(AgentId, String)>),
    /// Agents that were first seen on a host, or moved to it.
    Hosts(Vec<(AgentId, String)>),
    /// Happenings other than reports, in log order.
    Controls {
        /// The time of their group.
        log_at: Timestamp,
        /// What happened.
        controls: Vec<Control>,
    },
    /// Step when every shard has told its readings of this position.
    Tick {
        /// The log position.
        seq: u64,
        /// The time of the group.
        log_at: Timestamp,
        /// The newest `recorded_at` of all samples so far.
        newest: Timestamp,
    },
    /// One shard's readings, sorted by agent.
    Readings {
        /// The log position of the tick.
        seq: u64,
        /// What was read.
        readings: Vec<Reading>,
        /// What was found since the tick before.
        symptoms: Vec<Symptom>,
    },
    /// Hand out a snapshot as of this position.
    Snapshot {
        /// The log position.
        seq: u64,
    },
    /// How is it going?
    Score(oneshot::Sender<Score>),
    /// Which studies are there?
    Studies(oneshot::Sender<Vec<StudyView>>),
    /// Which incidents are there?
    Incidents(oneshot::Sender<Vec<IncidentView>>),
    /// No more will come.
    Stop,
}

/// A question to a shard, answered between two batches.
#[derive(Debug)]
pub enum ShardQuery {
    /// The series of one agent; `None` for a stranger.
    Agent(AgentId, oneshot::Sender<Option<Vec<SeriesView>>>),
    /// How many agents and series there are.
    Size(oneshot::Sender<(usize, usize)>),
}

/// A piece of a snapshot.
#[derive(Debug)]
pub struct Part {
    /// The log position that it is of.
    pub seq: u64,
    /// Which piece.
    pub name: String,
    /// Encoded by the core's codec.
    pub bytes: Vec<u8>,
}

/// Everybody to committer.
#[derive(Debug)]
pub enum Inbox {
    /// A happening to be made durable; answered when it is.
    Control(Control, oneshot::Sender<()>),
    /// Findings of a shard.
    Found(Vec<Found>),
    /// Decisions of the tuner.
    Decided(Vec<Decision>),
    /// A piece of a snapshot, the last of its sender.
    Part(Part),
    /// A sender has put all its pieces into the snapshot itself.
    Saved {
        /// The log position that they are of.
        seq: u64,
    },
    /// Take no more, finish what there is, snapshot, stop.
    Stop,
}
