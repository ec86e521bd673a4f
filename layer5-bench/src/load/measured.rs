//! One row: what a server was sent, what it kept, what it cost.
//! In: an outcome and what the kernel says. Out: numbers by the million samples. Called from: [`super`].

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Outcome;
use crate::{
    Failure,
    service::{http::Connection, latency::Percentiles, usage, workload::Workload},
};

/// Longest wait until a server has worked off what it took.
const SETTLE_DEADLINE: Duration = Duration::from_secs(60);

/// What one server did.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    /// Which.
    pub(super) name: String,
    /// Samples that it said it took.
    pub(super) acknowledged: u64,
    /// Samples that it has.
    pub(super) stored: u64,
    /// From the first body to the last answer.
    pub(super) samples_per_second: f64,
    /// Of the server's process, until it had nothing left to do.
    pub(super) cpu_seconds_per_million: f64,
    /// Resident at the end, bytes.
    pub(super) rss_bytes: u64,
    /// From due to answered.
    pub(super) ack_ms: Percentiles,
    /// Bodies answered 429 or 503.
    pub(super) refused: u64,
    /// Bodies that were due and could not be sent in twice the time.
    pub(super) unsent: u64,
    /// Bodies without an answer, or with one that is no answer to this.
    pub(super) failed: u64,
}

impl Measured {
    pub(super) fn new(
        name: &str,
        outcome: &Outcome,
        workload: &Workload,
        cpu_seconds: f64,
        pid: u32,
        stored: u64,
    ) -> Self {
        let acknowledged = outcome.taken * workload.samples_per_body() as u64;
        Self {
            name: name.to_owned(),
            acknowledged,
            stored,
            samples_per_second: acknowledged as f64 / outcome.took.as_secs_f64(),
            cpu_seconds_per_million: cpu_seconds / acknowledged.max(1) as f64 * 1e6,
            rss_bytes: usage::memory_bytes(pid, "VmRSS").unwrap_or(0),
            ack_ms: Percentiles::of(&outcome.times),
            refused: outcome.refused,
            unsent: outcome.unsent,
            failed: outcome.other.values().sum(),
        }
    }

    /// What is wrong with this row, if anything is.
    pub(super) fn fault(&self) -> Option<String> {
        let Self {
            name,
            acknowledged,
            stored,
            failed,
            unsent,
            ..
        } = self;
        if *acknowledged == 0 {
            return Some(format!("{name}: nothing was acknowledged"));
        }
        if *unsent > 0 {
            return Some(format!(
                "{name}: too slow for this rate, {unsent} bodies were never sent"
            ));
        }
        // Bodies without an answer may have been stored all the same.
        let wrong = stored < acknowledged || (*failed == 0 && stored != acknowledged);
        wrong.then(|| format!("{name}: {acknowledged} samples acknowledged, {stored} stored"))
    }
}

/// Waits until Layer5 has looked at every sample that it stored; how many those are.
pub(super) fn settled(connection: &mut Connection) -> Result<u64, Failure> {
    let began = Instant::now();
    loop {
        let status = connection
            .get("/api/v1/status")
            .map_err(Failure::new)?
            .json();
        let count = |field: &str| status["samples"][field].as_u64().unwrap_or(0);
        let (stored, processed) = (count("stored"), count("processed"));
        if stored == processed {
            return Ok(stored);
        }
        if began.elapsed() > SETTLE_DEADLINE {
            return Err(Failure::new(format!(
                "{processed} of {stored} stored samples were looked at"
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
