//! What a service has promised, and whether it kept it: every acknowledged report is there exactly once.
//! In: answers while it was attacked. Out: [`Findings`] after it came back. Called from: [`crate::crash`],
//! [`crate::powercut`], [`crate::overload`].
//!
//! The audit asks from outside. It sends again every body that was ever begun: of an acknowledged one each report must
//! be known as a duplicate, or it was lost; of the others each may be new or known. After that every report is there,
//! so the number of stored reports must be the number of distinct ones, or some are there twice.
//!
//! Invariants: a body is acknowledged only by a 200 that covers all of its reports; whatever else came back, or nothing,
//! leaves it open.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    http::Connection,
    workload::{Form, Workload},
};

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause of a sender that was refused or not answered.
const PAUSE: Duration = Duration::from_millis(5);
/// Connections of an audit: one after the other, its bodies would each wait for a group of their own.
const AUDITORS: usize = 24;

/// What became of the bodies so far.
#[derive(Debug)]
pub struct Promises {
    workload: Workload,
    path: &'static str,
    next: AtomicU64,
    /// Body -> whether it was acknowledged.
    bodies: Mutex<BTreeMap<u64, bool>>,
    last_yes: Mutex<Option<Instant>>,
}

/// What an audit found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Reports that were acknowledged.
    pub acknowledged: u64,
    /// Acknowledged reports that are not there.
    pub lost: u64,
    /// Reports that are there more often than once.
    pub doubled: u64,
    /// Reports whose fate was open and that turned out to be there.
    pub kept_unasked: u64,
}

impl Promises {
    /// None yet. `path` is where bodies are posted: `/kpi`, or `/kpi?ack=buffered` to be lied to on purpose.
    #[must_use]
    pub fn new(workload: Workload, path: &'static str) -> Self {
        Self {
            workload,
            path,
            next: AtomicU64::new(0),
            bodies: Mutex::default(),
            last_yes: Mutex::default(),
        }
    }

    /// Sends bodies over `connections` connections until `stop`.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn send_until(&self, at: SocketAddr, connections: usize, stop: &AtomicBool) {
        std::thread::scope(|scope| {
            for _ in 0..connections {
                scope.spawn(|| {
                    let mut connection = Connection::new(at, PATIENCE);
                    let mut body = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let index = self.next.fetch_add(1, Ordering::Relaxed);
                        self.enter(index, false);
                        match self.post(&mut connection, index, self.path, &mut body) {
                            Ok((200, _, n)) if n == self.workload.reports_per_body() as u64 => {
                                self.enter(index, true);
                                let mut last = self.last_yes.lock().expect("no holder panics");
                                *last = Some(Instant::now());
                            }
                            Ok(_) | Err(_) => std::thread::sleep(PAUSE),
                        }
                    }
                });
            }
        });
    }

    /// When the newest acknowledgement came.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    #[must_use]
    pub fn last_yes(&self) -> Option<Instant> {
        *self.last_yes.lock().expect("no holder panics")
    }

    fn enter(&self, index: u64, acknowledged: bool) {
        let mut bodies = self.bodies.lock().expect("no holder panics");
        bodies.insert(index, acknowledged);
    }

    /// What is promised now: the bodies that were begun, and which of them were acknowledged.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    #[must_use]
    pub fn now(&self) -> BTreeMap<u64, bool> {
        self.bodies.lock().expect("no holder panics").clone()
    }

    /// Reports begun so far.
    #[must_use]
    pub fn n_reports(&self) -> u64 {
        self.next.load(Ordering::Relaxed) * self.workload.reports_per_body() as u64
    }

    /// Status, accepted, and accepted with duplicates.
    fn post(
        &self,
        connection: &mut Connection,
        index: u64,
        path: &str,
        body: &mut Vec<u8>,
    ) -> io::Result<(u16, u64, u64)> {
        self.workload.write(index, Form::Reports, body);
        let answer = connection.post(path, Form::Reports.content_type(), body)?;
        let accepted = answer.count("accepted");
        Ok((
            answer.status,
            accepted,
            accepted + answer.count("duplicates"),
        ))
    }

    /// Audits the service at `at` against `promised`; nobody else may send to it meanwhile.
    ///
    /// # Errors
    /// When the service does not answer to the end, as when it is killed meanwhile.
    ///
    /// # Panics
    /// Never: no auditor panics.
    pub fn audit(&self, at: SocketAddr, promised: &BTreeMap<u64, bool>) -> io::Result<Findings> {
        let bodies: Vec<(u64, bool)> = promised.iter().map(|(&i, &yes)| (i, yes)).collect();
        let share = bodies.len().div_ceil(AUDITORS).max(1);
        let mut findings = Findings::default();
        std::thread::scope(|scope| {
            let auditors: Vec<_> = bodies
                .chunks(share)
                .map(|bodies| scope.spawn(|| self.audit_some(at, bodies)))
                .collect();
            for auditor in auditors {
                let found = auditor.join().expect("an auditor does not panic")?;
                findings.acknowledged += found.acknowledged;
                findings.lost += found.lost;
                findings.kept_unasked += found.kept_unasked;
            }
            io::Result::Ok(())
        })?;
        let mut connection = Connection::new(at, PATIENCE);
        let status = connection.get("/api/v1/status")?.json();
        let stored = status["reports"]["stored"].as_u64().unwrap_or(0);
        let distinct = promised.len() as u64 * self.workload.reports_per_body() as u64;
        findings.doubled = stored.saturating_sub(distinct);
        // Fewer than were just taken or known is a loss that the answers hid.
        findings.lost += distinct.saturating_sub(stored);
        Ok(findings)
    }

    fn audit_some(&self, at: SocketAddr, bodies: &[(u64, bool)]) -> io::Result<Findings> {
        let mut connection = Connection::new(at, PATIENCE);
        let mut body = Vec::new();
        let mut findings = Findings::default();
        let n_reports = self.workload.reports_per_body() as u64;
        for &(index, acknowledged) in bodies {
            let (status, new, known) = self.post(&mut connection, index, "/kpi", &mut body)?;
            if status != 200 || known != n_reports {
                let what =
                    format!("body {index} was answered {status}, {known} of {n_reports} taken");
                return Err(io::Error::other(what));
            }
            if acknowledged {
                findings.acknowledged += n_reports;
                findings.lost += new;
            } else {
                findings.kept_unasked += n_reports - new;
            }
        }
        Ok(findings)
    }

    /// After an audit that ended well everything begun is there, so from here on all of it is promised.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn settle(&self) {
        let mut bodies = self.bodies.lock().expect("no holder panics");
        bodies
            .values_mut()
            .for_each(|acknowledged| *acknowledged = true);
    }
}
