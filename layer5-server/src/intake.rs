//! The border: a body becomes checked samples with numbers for names, and one claim in the intake ring.
//! In: bytes from any source. Out: a [`Taken`] whose `durable` resolves when the group commit is on disk.
//! Called from: `http/reports` and every other source. Next on the way: [`crate::pipeline`].
//! Invariants: a request is taken whole or not at all; nothing is acknowledged before it is durable; known names cost
//! one read lock per body, new ones a write lock each.

mod waiting;

use std::sync::{Arc, Mutex, RwLock};

use crossbeam::channel::Sender;
use layer5_core::{
    AgentId, MetricName, Reason, Rejection, Report, ReportLimits, Timestamp, validate,
};
use layer5_ingest::{
    Arrival, BodyError, BodyFormat, CardinalityError, CardinalityLimits, DecodeLimits, Names,
    Resolved, arrivals, close_request, decode_reports,
    ring::{ClaimError, mpsc},
};
pub use waiting::{Committed, Waiting};

use crate::counters::Counters;

/// Names and numbers, shared by the border and the committer.
pub type SharedNames = Arc<RwLock<Names>>;

/// The limits that hold at the border.
#[derive(Clone, Debug, Default)]
pub struct BorderLimits {
    /// Of a report.
    pub report: ReportLimits,
    /// Of a body.
    pub decode: DecodeLimits,
    /// Of names.
    pub cardinality: CardinalityLimits,
}

/// A refused report on its way to the dead-letter log.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// When it came.
    pub at: Timestamp,
    /// By which source.
    pub source: &'static str,
    /// Why it was refused.
    pub rejection: Rejection,
    /// What came, at most [`DEAD_LETTER_BYTES`] of it.
    pub raw: Vec<u8>,
}

/// Bytes of a refused report that are kept.
pub const DEAD_LETTER_BYTES: usize = 4096;

/// The border.
#[derive(Clone, Debug)]
pub struct Intake {
    ring: mpsc::Producer<Arrival>,
    names: SharedNames,
    hosts: Arc<Mutex<Vec<(AgentId, String)>>>,
    waiting: Arc<Waiting>,
    limits: Arc<BorderLimits>,
    dead_letters: Sender<DeadLetter>,
    counters: Arc<Counters>,
}

/// A body that was taken.
#[derive(Debug)]
pub struct Taken {
    /// Reports in the body.
    pub n_reports: usize,
    /// The refused ones, by their index in the body.
    pub rejected: Vec<(usize, Rejection)>,
    /// Resolves when the rest is durable; `None` when there was no rest, or nobody waits.
    pub durable: Option<tokio::sync::oneshot::Receiver<Committed>>,
}

/// Why nothing of a body was taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// It could not be read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The ring has no room for it now.
    #[error("the intake is full")]
    Full,
    /// It can never fit.
    #[error(
        "the body holds {samples} samples, the intake holds {capacity}: send it in smaller parts"
    )]
    TooLarge {
        /// Samples in the body.
        samples: usize,
        /// Capacity of the ring.
        capacity: usize,
    },
    /// Layer5 is stopping.
    #[error("layer5 is stopping")]
    Closed,
}

/// Whether a sender waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Answer when it is durable.
    Durable,
    /// Answer when it is in the ring.
    Buffered,
}

impl Intake {
    /// A border that fills `ring`.
    #[must_use]
    pub fn new(
        ring: mpsc::Producer<Arrival>,
        names: SharedNames,
        waiting: Arc<Waiting>,
        limits: BorderLimits,
        dead_letters: Sender<DeadLetter>,
        counters: Arc<Counters>,
    ) -> Self {
        let hosts = Arc::default();
        Self {
            ring,
            names,
            hosts,
            waiting,
            limits: Arc::new(limits),
            dead_letters,
            counters,
        }
    }

    /// The hosts that became known since the last call, for the committer.
    #[must_use]
    pub fn new_hosts(&self) -> Arc<Mutex<Vec<(AgentId, String)>>> {
        Arc::clone(&self.hosts)
    }

    /// The number of samples in the ring, its capacity and its high watermark.
    #[must_use]
    pub fn fill(&self) -> (usize, usize, usize) {
        let gauge = self.ring.gauge();
        (gauge.len(), gauge.capacity(), gauge.high_watermark())
    }

    /// Takes a body.
    ///
    /// # Errors
    /// [`TakeError`]; nothing of the body was taken then.
    pub fn take(
        &self,
        body: &[u8],
        format: BodyFormat,
        source: &'static str,
        ack: Ack,
        now: Timestamp,
    ) -> Result<Taken, TakeError> {
        let mut checked = Vec::with_capacity(body.len() / 64);
        let mut rejected = Vec::new();
        let mut letters = Vec::new();
        let mut newest = None;
        let mut border = Border {
            intake: self,
            body,
            format,
            sound: None,
            known: None,
            resolved: Resolved::default(),
        };
        let n_reports = decode_reports(
            body,
            format,
            &self.limits.decode,
            &mut |index, report, raw| {
                let outcome = report.and_then(|report| {
                    validate(report, &self.limits.report, now)?;
                    border.resolve(report)?;
                    newest = newest.max(Some(report.recorded_at));
                    arrivals(report, &border.resolved, Waiting::NOBODY, &mut checked);
                    Ok(())
                });
                if let Err(rejection) = outcome {
                    let raw = raw[..raw.len().min(DEAD_LETTER_BYTES)].to_vec();
                    letters.push(DeadLetter {
                        at: now,
                        source,
                        rejection: rejection.clone(),
                        raw,
                    });
                    rejected.push((index, rejection));
                }
            },
        )?;
        drop(border);
        close_request(&mut checked);
        let durable = self.push(&mut checked, ack)?;
        self.counters.received_http.add(n_reports as u64);
        if let Some(newest) = newest {
            self.counters.recorded(newest.nanos());
        }
        for letter in letters {
            self.counters.reject(letter.rejection.reason);
            if self.dead_letters.try_send(letter).is_err() {
                self.counters.dead_letters_dropped.add(1);
            }
        }
        Ok(Taken {
            n_reports,
            rejected,
            durable,
        })
    }

    fn push(
        &self,
        checked: &mut [Arrival],
        ack: Ack,
    ) -> Result<Option<tokio::sync::oneshot::Receiver<Committed>>, TakeError> {
        if checked.is_empty() {
            return Ok(None);
        }
        let ticket = (ack == Ack::Durable).then(|| self.waiting.enter());
        if let Some((slot, _)) = &ticket {
            checked
                .iter_mut()
                .for_each(|arrival| arrival.request = *slot);
        }
        match self.ring.push_all(checked) {
            Ok(()) => Ok(ticket.map(|(_, durable)| durable)),
            Err(error) => {
                if let Some((slot, _)) = ticket {
                    self.waiting.leave(slot);
                }
                Err(match error {
                    ClaimError::Closed => TakeError::Closed,
                    _ if checked.len() > self.ring.capacity() => {
                        let capacity = self.ring.capacity();
                        TakeError::TooLarge {
                            samples: checked.len(),
                            capacity,
                        }
                    }
                    _ => {
                        self.counters.buffer_rejected.add(1);
                        TakeError::Full
                    }
                })
            }
        }
    }
}

/// The names of one body: a read lock that is kept from report to report and let go for a new name.
struct Border<'i> {
    intake: &'i Intake,
    body: &'i [u8],
    format: BodyFormat,
    /// Whether the body can be read to its end; looked into when the first new name turns up.
    sound: Option<bool>,
    known: Option<std::sync::RwLockReadGuard<'i, Names>>,
    resolved: Resolved,
}

impl Border<'_> {
    fn resolve(&mut self, report: &Report<'_>) -> Result<(), Rejection> {
        let known = self.known.get_or_insert_with(|| {
            self.intake
                .names
                .read()
                .expect("no writer panics with the lock")
        });
        if known.resolve_report(report, &mut self.resolved) && !self.resolved.host_changed {
            return Ok(());
        }
        self.known = None;
        if !self.is_sound() {
            // Nothing of this body will be taken, so no name of it is learned either; the decoder says why.
            return Err(Rejection::new(Reason::Malformed, "", "the body is broken"));
        }
        let mut names = self
            .intake
            .names
            .write()
            .expect("no writer panics with the lock");
        names
            .intern_report(report, &self.intake.limits.cardinality, &mut self.resolved)
            .map_err(|error| over_the_limit(report, &error))?;
        if let Some(host) = &report.hostname {
            let mut hosts = self.intake.hosts.lock().expect("no holder panics");
            hosts.push((self.resolved.agent, host.clone().into_owned()));
        }
        Ok(())
    }

    fn is_sound(&mut self) -> bool {
        let (body, format, limits) = (self.body, self.format, &self.intake.limits.decode);
        *self
            .sound
            .get_or_insert_with(|| decode_reports(body, format, limits, &mut |_, _, _| {}).is_ok())
    }
}

fn over_the_limit(report: &Report<'_>, error: &CardinalityError) -> Rejection {
    let known = |value: &layer5_core::Value<'_>| matches!(value.metric, MetricName::Known(_));
    let field = match error {
        CardinalityError::Agents { .. } => "agent_id".to_owned(),
        _ => report.values.iter().find(|v| !known(v)).map_or_else(
            || "metrics".to_owned(),
            |v| v.metric.as_str().chars().take(40).collect(),
        ),
    };
    Rejection::new(Reason::Cardinality, field, error.to_string())
}
