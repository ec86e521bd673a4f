//! What the metrics page reads from the rest of the service once a second, besides the counters.
//! Called from: `app`, which fills it, and [`super::refresh`].

use crate::{intake::Source, neighbours::CallKind, refinery::tuner::Score};

/// What is read when the page is refreshed, besides the counters.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// Per ring: label of the shard, samples, capacity, high watermark.
    pub rings: Vec<(String, usize, usize, usize)>,
    /// Agents known.
    pub agents: usize,
    /// Series known.
    pub series: usize,
    /// Undelivered recommendations, and the age of the oldest, s.
    pub outbox: (u64, Option<f64>),
    /// Per neighbour: name, answered last call (`None`: never called), errors by kind, circuit state.
    pub neighbours: Vec<Neighbour>,
    /// What the tuner has decided and learned.
    pub score: Option<Score>,
    /// Free and all bytes of the data folder's disk.
    pub disk: Option<(u64, u64)>,
    /// Now minus `recorded_at` of the newest report, s, of each source that has brought one.
    pub lags: Vec<(Source, f64)>,
    /// Age of the newest backup, s; `None` when none is known.
    pub backup_age: Option<f64>,
}

/// What is known of one neighbour.
#[derive(Clone, Debug, Default)]
pub struct Neighbour {
    /// layer7 or layer8.
    pub name: &'static str,
    /// Whether the last call was answered; `None` before the first.
    pub up: Option<bool>,
    /// Failed calls, by kind.
    pub errors: [(&'static str, u64); CallKind::ALL.len()],
    /// 0 closed, 1 half open, 2 open.
    pub circuit: Option<u8>,
    /// Reports that were promised to us and are gone; of sources only.
    pub lost: Option<u64>,
}
