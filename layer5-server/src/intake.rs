//! The border: a body becomes checked samples with numbers for names, and one claim in the intake ring.
//! In: bytes from any source. Out: a [`Taken`] whose `durable` resolves when the group commit is on disk.
//! Called from: `http/reports` and every other source. Next on the way: [`crate::pipeline`].
//! Invariants: a request is taken whole or not at all; nothing is acknowledged before it is durable; known names cost
//! one read lock per body, new ones a write lock each.

mod source;
mod waiting;

use std::{
    sync::{Arc, Mutex, RwLock, atomic::Ordering},
    time::Duration,
};

use crossbeam::channel::Sender;
use layer5_core::{
    AgentId, MetricName, Reason, Rejection, Report, ReportLimits, Timestamp, validate,
};
use layer5_ingest::{
    Arrival, BodyError, BodyFormat, CardinalityError, CardinalityLimits, DecodeLimits, Names,
    ReportSink, Resolved, arrivals, close_request, decode_reports,
    ring::{ClaimError, mpsc},
};
pub use source::{Shares, Source};
pub use waiting::{Committed, Waiting};

use crate::{clock, counters::Counters};

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
    shares: Arc<Shares>,
    limits: Arc<RwLock<Arc<BorderLimits>>>,
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
        let shares = Arc::new(Shares::new(ring.capacity()));
        Self {
            ring,
            shares,
            names,
            hosts,
            waiting,
            limits: Arc::new(RwLock::new(Arc::new(limits))),
            dead_letters,
            counters,
        }
    }

    /// The hosts that became known since the last call, for the committer.
    #[must_use]
    pub fn new_hosts(&self) -> Arc<Mutex<Vec<(AgentId, String)>>> {
        Arc::clone(&self.hosts)
    }

    /// Who holds how much of the ring, for the committer to give back what it drained.
    #[must_use]
    pub fn shares(&self) -> Arc<Shares> {
        Arc::clone(&self.shares)
    }

    /// The limits at the border.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    #[must_use]
    pub fn limits(&self) -> Arc<BorderLimits> {
        Arc::clone(&self.limits.read().expect("no holder panics"))
    }

    /// From here on these limits hold; a body that is being read keeps those it began with.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn set_limits(&self, limits: BorderLimits) {
        *self.limits.write().expect("no holder panics") = Arc::new(limits);
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
        source: Source,
        ack: Ack,
        now: Timestamp,
    ) -> Result<Taken, TakeError> {
        let limits = self.limits();
        let decode = &limits.decode;
        let room = body.len() / BYTES_PER_SAMPLE;
        self.take_with(source, ack, now, &limits.report, room, |sink| {
            decode_reports(body, format, decode, &mut |i, report, raw| {
                sink(i, report, raw);
            })
        })
    }

    /// Takes what `decode` reads, checked against `limits`; room is made for `n_samples_expected` at first. `decode` is
    /// called again when it brings a name that is new, to make sure that there is an end to it and room for it.
    ///
    /// # Errors
    /// [`TakeError`]; nothing was taken then.
    pub fn take_with<'a>(
        &self,
        source: Source,
        ack: Ack,
        now: Timestamp,
        limits: &ReportLimits,
        n_samples_expected: usize,
        decode: impl Fn(&mut ReportSink<'_, 'a>) -> Result<usize, BodyError>,
    ) -> Result<Taken, TakeError> {
        let room = |n| self.room_for(source, n, now);
        let mut checked = self.check(source, now, limits, n_samples_expected, room, decode)?;
        let durable = self.push(&mut checked, ack, None, now)?;
        Ok(self.taken(checked, durable))
    }

    /// Takes a body, waiting as long as there is no room for it; `offset` becomes durable with it.
    ///
    /// # Errors
    /// [`TakeError`], but never [`TakeError::Full`]; nothing of the body was taken then.
    pub async fn take_when_there_is_room(
        &self,
        body: &[u8],
        format: BodyFormat,
        source: Source,
        offset: Option<(String, String)>,
    ) -> Result<Taken, TakeError> {
        let limits = self.limits();
        let decode = &limits.decode;
        let room = body.len() / BYTES_PER_SAMPLE;
        // It will be taken, so its names may be learned before there is room for it.
        let waits = |_| Ok(());
        let now = clock::now();
        let mut checked = self.check(source, now, &limits.report, room, waits, |sink| {
            decode_reports(body, format, decode, &mut |i, report, raw| {
                sink(i, report, raw);
            })
        })?;
        loop {
            // A full disk lets go of those who wait for it; who comes then waits outside.
            if !self.counters.disk_full.load(Ordering::Acquire) {
                match self.push(&mut checked, Ack::Durable, offset.clone(), clock::now()) {
                    Ok(durable) => return Ok(self.taken(checked, durable)),
                    Err(TakeError::Full) => {}
                    Err(error) => return Err(error),
                }
            }
            tokio::time::sleep(ROOM_PAUSE).await;
        }
    }

    /// The largest number of samples that can be taken at once.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    /// Whether `n` samples of `source` would be taken now.
    fn room_for(&self, source: Source, n: usize, now: Timestamp) -> Result<(), TakeError> {
        let (len, capacity, _) = self.fill();
        if n > capacity {
            let samples = n;
            return Err(TakeError::TooLarge { samples, capacity });
        }
        if n > capacity.saturating_sub(len) || !self.shares.claim(source, n, now) {
            return Err(TakeError::Full);
        }
        self.shares.release(source.index(), n);
        Ok(())
    }

    /// Decodes and checks; new names are learned when there is `room` for the number of samples in the body.
    fn check<'a>(
        &self,
        source: Source,
        now: Timestamp,
        limits: &ReportLimits,
        n_samples_expected: usize,
        room: impl Fn(usize) -> Result<(), TakeError>,
        decode: impl Fn(&mut ReportSink<'_, 'a>) -> Result<usize, BodyError>,
    ) -> Result<Checked, TakeError> {
        let mut checked = Checked {
            source,
            arrivals: Vec::with_capacity(n_samples_expected),
            n_reports: 0,
            rejected: Vec::new(),
            letters: Vec::new(),
            newest: None,
        };
        let mut border = Border {
            intake: self,
            look: None,
            known: None,
            resolved: Resolved::default(),
        };
        let look_through = || {
            let mut n_samples = 0;
            let read = decode(&mut |_, report, _| {
                let sound = report.ok().filter(|r| validate(r, limits, now).is_ok());
                n_samples += sound.map_or(0, |report| report.values.len());
            });
            match read {
                Err(_broken) => Look::Broken,
                Ok(_) => room(n_samples).map_or_else(Look::Refused, |()| Look::Sound),
            }
        };
        checked.n_reports = decode(&mut |index, report, raw| {
            let outcome = report.and_then(|report| {
                validate(report, limits, now)?;
                border.resolve(report, &look_through)?;
                checked.newest = checked.newest.max(Some(report.recorded_at));
                let arrived = &mut checked.arrivals;
                arrivals(report, &border.resolved, Waiting::NOBODY, arrived);
                Ok(())
            });
            if let Err(rejection) = outcome {
                let raw = raw[..raw.len().min(DEAD_LETTER_BYTES)].to_vec();
                checked.letters.push(DeadLetter {
                    at: now,
                    source: source.as_str(),
                    rejection: rejection.clone(),
                    raw,
                });
                checked.rejected.push((index, rejection));
            }
        })?;
        if let Some(Look::Refused(error)) = border.look.take() {
            return Err(error);
        }
        drop(border);
        close_request(&mut checked.arrivals);
        Ok(checked)
    }

    /// Counts what was taken.
    fn taken(
        &self,
        checked: Checked,
        durable: Option<tokio::sync::oneshot::Receiver<Committed>>,
    ) -> Taken {
        let received = &self.counters.received[checked.source.index()];
        received.add(checked.n_reports as u64);
        if let Some(newest) = checked.newest {
            self.counters.recorded(checked.source, newest.nanos());
        }
        for letter in checked.letters {
            self.counters.reject(letter.rejection.reason);
            if self.dead_letters.try_send(letter).is_err() {
                self.counters.dead_letters_dropped.add(1);
            }
        }
        Taken {
            n_reports: checked.n_reports,
            rejected: checked.rejected,
            durable,
        }
    }

    fn push(
        &self,
        checked: &mut Checked,
        ack: Ack,
        offset: Option<(String, String)>,
        now: Timestamp,
    ) -> Result<Option<tokio::sync::oneshot::Receiver<Committed>>, TakeError> {
        let Checked {
            source, arrivals, ..
        } = checked;
        let (n, capacity) = (arrivals.len(), self.ring.capacity());
        if n == 0 {
            return Ok(None);
        }
        if n > capacity {
            let samples = n;
            return Err(TakeError::TooLarge { samples, capacity });
        }
        if !self.shares.claim(*source, n, now) {
            return Err(TakeError::Full);
        }
        let ticket = (ack == Ack::Durable).then(|| self.waiting.enter(offset));
        let slot = ticket.as_ref().map_or(Waiting::NOBODY, |(slot, _)| *slot);
        for arrival in arrivals.iter_mut() {
            arrival.request = slot;
            arrival.source = source.index() as u8;
        }
        match self.ring.push_all(arrivals) {
            Ok(()) => Ok(ticket.map(|(_, durable)| durable)),
            Err(error) => {
                self.shares.release(source.index(), n);
                self.waiting.leave(slot);
                Err(match error {
                    ClaimError::Closed => TakeError::Closed,
                    _ => TakeError::Full,
                })
            }
        }
    }
}

/// JSON that a sample takes in a full report, about: what is reserved before a body is read.
const BYTES_PER_SAMPLE: usize = 64;
/// Pause between two tries at a full ring.
const ROOM_PAUSE: Duration = Duration::from_millis(2);

/// A body that was read and checked.
#[derive(Debug)]
struct Checked {
    source: Source,
    arrivals: Vec<Arrival>,
    n_reports: usize,
    rejected: Vec<(usize, Rejection)>,
    letters: Vec<DeadLetter>,
    newest: Option<Timestamp>,
}

/// What a look through a whole body showed, before a name of it is learned.
#[derive(Debug)]
enum Look {
    /// It can be read to its end, and there is room for it.
    Sound,
    /// It can't be read; the decoder says why.
    Broken,
    /// There is no room for it.
    Refused(TakeError),
}

/// The names of one body: a read lock that is kept from report to report and let go for a new name.
struct Border<'i> {
    intake: &'i Intake,
    /// Looked through when the first new name turns up: of a body that is refused none is learned.
    look: Option<Look>,
    known: Option<std::sync::RwLockReadGuard<'i, Names>>,
    resolved: Resolved,
}

impl Border<'_> {
    fn resolve(
        &mut self,
        report: &Report<'_>,
        look_through: &dyn Fn() -> Look,
    ) -> Result<(), Rejection> {
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
        if !matches!(self.look.get_or_insert_with(look_through), Look::Sound) {
            // Nothing of this body will be taken; why is said of it as a whole.
            return Err(Rejection::new(Reason::Malformed, "", "the body is refused"));
        }
        let mut names = self
            .intake
            .names
            .write()
            .expect("no writer panics with the lock");
        names
            .intern_report(
                report,
                &self.intake.limits().cardinality,
                &mut self.resolved,
            )
            .map_err(|error| over_the_limit(report, &error))?;
        if let Some(host) = &report.hostname {
            let mut hosts = self.intake.hosts.lock().expect("no holder panics");
            hosts.push((self.resolved.agent, host.clone().into_owned()));
        }
        Ok(())
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
