//! Many connections that send a workload: on a schedule whatever the answers do, or each as fast as it is answered.
//! In: a workload, where to, how fast, for how long. Out: what was answered, and how long after it was due.
//! Called from: [`crate::load`], [`crate::overload`], [`crate::recover`].
//! Invariants: on a schedule a time counts from when the body was *due*, not from when a connection was free to send
//! it, so a service that stalls is seen by all that had to wait (no coordinated omission); a refused body is not sent
//! again.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    http::{Answer, Connection},
    workload::{Form, Workload},
};

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(40);
/// Pause of a connection after an answer that was none.
const PAUSE: Duration = Duration::from_millis(20);

/// How a workload is sent.
#[derive(Clone, Copy, Debug)]
pub struct Pressure {
    /// To whom.
    pub at: SocketAddr,
    /// In which form.
    pub form: Form,
    /// Connections, a thread each.
    pub connections: usize,
    /// Samples a second in all; `None`: each connection sends when it was answered.
    pub rate: Option<f64>,
    /// For how long bodies become due.
    pub span: Duration,
    /// How long after that bodies may be begun that were due before; what is left then is counted as unsent.
    pub grace: Duration,
    /// The first body's index.
    pub first_body: u64,
    /// Wait `Retry-After` after a refusal before the next body; off, refusals are met with the next body at once.
    pub heed_retry_after: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Bodies that were begun.
    pub sent: u64,
    /// Bodies that were due and never begun: no connection was free in time.
    pub unsent: u64,
    /// Bodies answered 200 or 204.
    pub taken: u64,
    /// Reports that the answers call accepted.
    pub accepted: u64,
    /// Answers 429 and 503 with `Retry-After`.
    pub refused: u64,
    /// Other answers, by status; 0 for none at all.
    pub other: std::collections::BTreeMap<u16, u64>,
    /// From due to answered, of those taken.
    pub times: Vec<Duration>,
    /// From sent to answered, of those refused.
    pub refusal_times: Vec<Duration>,
    /// From the first body to the last answer.
    pub took: Duration,
    /// The index after the last body's.
    pub next_body: u64,
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.taken += other.taken;
        self.accepted += other.accepted;
        self.refused += other.refused;
        for (status, n) in other.other {
            *self.other.entry(status).or_default() += n;
        }
        self.times.extend(other.times);
        self.refusal_times.extend(other.refusal_times);
    }

    fn enter(&mut self, answer: &Answer, form: Form, due: Instant, sent: Instant) {
        match answer.status {
            200 | 204 => {
                self.taken += 1;
                if form == Form::Reports {
                    self.accepted += answer.count("accepted");
                }
                self.times.push(due.elapsed());
            }
            429 | 503 if answer.retry_after.is_some() => {
                self.refused += 1;
                self.refusal_times.push(sent.elapsed());
            }
            status => *self.other.entry(status).or_default() += 1,
        }
    }
}

/// Sends `workload` as `pressure` says; `stop` ends it early.
///
/// # Panics
/// When a sending thread panics.
#[must_use]
pub fn send(workload: &Workload, pressure: &Pressure, stop: &AtomicBool) -> Outcome {
    let next = AtomicU64::new(0);
    let total = Mutex::new(Outcome::default());
    let began = Instant::now();
    let gap = pressure
        .rate
        .map(|rate| workload.samples_per_body() as f64 / rate);
    std::thread::scope(|scope| {
        for _ in 0..pressure.connections {
            scope.spawn(|| {
                let outcome = one_connection(workload, pressure, gap, began, &next, stop);
                total.lock().expect("no holder panics").add(outcome);
            });
        }
    });
    let mut outcome = total.into_inner().expect("no holder panics");
    outcome.took = began.elapsed();
    let due = gap.map_or(0, |gap| (pressure.span.as_secs_f64() / gap).ceil() as u64);
    if !stop.load(Ordering::Relaxed) {
        outcome.unsent = due.saturating_sub(outcome.sent);
    }
    outcome.next_body = pressure.first_body + next.load(Ordering::Relaxed);
    outcome
}

fn one_connection(
    workload: &Workload,
    pressure: &Pressure,
    gap: Option<f64>,
    began: Instant,
    next: &AtomicU64,
    stop: &AtomicBool,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut connection = Connection::new(pressure.at, PATIENCE);
    let mut body = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if gap.is_none() && began.elapsed() >= pressure.span {
            break;
        }
        let nth = next.fetch_add(1, Ordering::Relaxed);
        let mut due = Instant::now();
        if let Some(gap) = gap {
            let offset = Duration::from_secs_f64(nth as f64 * gap);
            if offset >= pressure.span || began.elapsed() > pressure.span + pressure.grace {
                next.fetch_sub(1, Ordering::Relaxed);
                break;
            }
            due = began + offset;
        }
        workload.write(pressure.first_body + nth, pressure.form, &mut body);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        outcome.sent += 1;
        let sent = Instant::now();
        let form = pressure.form;
        match connection.post_form(form, &body) {
            Ok(answer) => {
                outcome.enter(&answer, form, due, sent);
                if answer.status >= 400 && pressure.heed_retry_after {
                    let seconds = answer.retry_after.unwrap_or(1);
                    let left = pressure.span.saturating_sub(began.elapsed());
                    std::thread::sleep(Duration::from_secs(seconds).min(left));
                }
            }
            Err(_no_answer) => {
                *outcome.other.entry(0).or_default() += 1;
                std::thread::sleep(PAUSE);
            }
        }
    }
    outcome
}
