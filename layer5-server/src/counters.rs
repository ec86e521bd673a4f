//! What has happened so far, counted once: the source of `/api/v1/status` and of the Prometheus counters alike.
//! Invariants: counters only rise; relaxed ordering, because no other memory depends on them.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use layer5_core::{PatternKind, Reason};

use crate::intake::Source;

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Everything that is counted since the start of this process.
#[derive(Debug, Default)]
pub struct Counters {
    /// Reports seen, in the order of [`Source::ALL`].
    pub received: [Count; Source::ALL.len()],
    /// Reports whose samples reached their watches.
    pub processed: Count,
    /// Samples that reached their watches.
    pub samples_processed: Count,
    /// Reports that were already known.
    pub duplicates: Count,
    /// Reports that came behind a newer one of their agent: within the window for late ones, and beyond it.
    pub late: [Count; 2],
    /// Reports refused, in the order of [`Reason::ALL`].
    pub rejected: [Count; Reason::ALL.len()],
    /// Requests refused because the intake was full.
    pub buffer_rejected: Count,
    /// Findings, in the order of [`PatternKind::ALL`].
    pub patterns: [Count; PatternKind::ALL.len()],
    /// Errors that were handled, in the order of [`Component::ALL`].
    pub errors: [Count; Component::ALL.len()],
    /// Dead letters that found their queue full.
    pub dead_letters_dropped: Count,
    /// Dedup entries dropped before their window ended; kept by the committer.
    pub dedup_forgotten: AtomicU64,
    /// Group commits.
    pub commits: Count,
    /// `recorded_at` of the newest report of each source, nanoseconds; 0 before the first.
    pub newest_recorded_at: [AtomicI64; Source::ALL.len()],
    /// Bytes of history written, merges included.
    pub history_written_bytes: Count,
    /// Time of the background work on history, us.
    pub compaction_micros: Count,
    /// Time that tuner and studies took for what the log tells them, us: so long a replay of it takes.
    pub stepping_micros: Count,
    /// Ticks that shards and tuner were told of, those of a replay included.
    pub ticks_told: Count,
    /// Of those, the ones that the tuner has stepped.
    pub ticks_stepped: Count,
    /// Ticks that were due and left out because the tuner was behind.
    pub ticks_put_off: Count,
    /// Log segments that nothing needed any more.
    pub log_segments_dropped: Count,
    /// Blocks of samples that became aggregates, by age or by the disk budget.
    pub sample_blocks_expired: Count,
    /// Blocks of aggregates that went, by age or by the disk budget.
    pub bucket_blocks_expired: Count,
    /// Configurations that were asked for while the service ran: taken, and refused.
    pub config_reloads: [Count; 2],
    /// Whether the files of the configuration, as they are, are refused.
    pub config_refused: AtomicBool,
    /// Keys of the configuration that wait for a restart.
    pub config_restart_needed: AtomicU64,
    /// Whether the store failed: nothing is taken any more.
    pub failed: AtomicBool,
    /// Whether the disk is too full to take anything now.
    pub disk_full: AtomicBool,
}

/// The parts whose errors are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// Answers with a 5xx status.
    Http,
    /// The durable store.
    Store,
    /// Deliveries to Layer7.
    Outbox,
    /// Copies of the store.
    Backup,
}

impl Component {
    /// Every part.
    pub const ALL: [Self; 4] = [Self::Http, Self::Store, Self::Outbox, Self::Backup];

    /// The part as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Store => "store",
            Self::Outbox => "outbox",
            Self::Backup => "backup",
        }
    }
}

impl Counters {
    /// Tuner or studies took `time` for something that a replay repeats.
    pub fn stepped(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.stepping_micros.add(micros);
    }

    /// Counts one refused report.
    pub fn reject(&self, reason: Reason) {
        if let Some(place) = Reason::ALL.iter().position(|&r| r == reason) {
            self.rejected[place].add(1);
        }
    }

    /// Counts one finding.
    pub fn pattern(&self, kind: PatternKind) {
        if let Some(place) = PatternKind::ALL.iter().position(|&k| k == kind) {
            self.patterns[place].add(1);
        }
    }

    /// Counts one handled error.
    pub fn error(&self, component: Component) {
        self.errors[component as usize].add(1);
    }

    /// Notes the time of a report.
    pub fn recorded(&self, source: Source, nanos: i64) {
        self.newest_recorded_at[source.index()].fetch_max(nanos, Relaxed);
    }

    /// Reports seen, of every source.
    #[must_use]
    pub fn received_in_all(&self) -> u64 {
        self.received.iter().map(Count::get).sum()
    }

    /// Refused reports of every reason.
    #[must_use]
    pub fn rejected_in_all(&self) -> u64 {
        self.rejected.iter().map(Count::get).sum()
    }
}
