//! The numbers of a finished demo, and whether it succeeded.
//! In: the fleet's ledger, the score, Layer7's and Layer8's accounts, the service's status. Out: one plain struct,
//! which is the JSON output and the source of the tables.
//! Invariants: what nobody measured is `null`, never zero.

use std::collections::BTreeMap;

use serde::Serialize;

/// Everything that the fleet demo measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct FleetResults {
    pub(super) seed: u64,
    pub(super) agents: usize,
    /// Steps sent, of those planned.
    pub(super) steps: usize,
    pub(super) steps_planned: usize,
    pub(super) simulated_days: f64,
    pub(super) wall_seconds: f64,
    pub(super) reports: Reports,
    pub(super) incidents: Vec<IncidentRow>,
    pub(super) alarms: Alarms,
    /// Incidents of more than one series that the service made of its findings, and the foremost open ones in words.
    pub(super) grouped: Option<u64>,
    pub(super) foremost: Vec<String>,
    /// Findings by kind, as the service counts them.
    pub(super) patterns: BTreeMap<String, u64>,
    pub(super) recommendations: Recommendations,
    pub(super) improvement: Improvement,
    pub(super) ingest_ms: IngestMs,
    /// Where anybody broke the contract.
    pub(super) breaches: Vec<String>,
    pub(super) service: Addresses,
}

/// The account of reports.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Reports {
    pub(super) sent: usize,
    pub(super) accepted: usize,
    pub(super) duplicates: usize,
    pub(super) rejected: BTreeMap<String, usize>,
    /// Posts answered 429 or 503 and sent again, and posts without an answer.
    pub(super) posts_refused: usize,
    pub(super) posts_unanswered: usize,
    /// Distinct good reports that were acknowledged.
    pub(super) acknowledged: usize,
    /// Durable reports, as the service counts them.
    pub(super) stored: Option<u64>,
    /// Acknowledged and not stored.
    pub(super) lost: Option<u64>,
}

/// How one kind of incident fared.
#[derive(Clone, Debug, Serialize)]
pub(super) struct IncidentRow {
    pub(super) kind: &'static str,
    #[serde(skip)]
    pub(super) label: &'static str,
    pub(super) planted: usize,
    pub(super) found: usize,
    pub(super) recall: Option<f64>,
    pub(super) delay_samples: Option<f64>,
    pub(super) delay_minutes: Option<f64>,
}

/// How many alarms were right.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Alarms {
    pub(super) on_incidents: usize,
    pub(super) on_own_changes: usize,
    pub(super) r#false: usize,
    /// Right ones among all.
    pub(super) precision: Option<f64>,
    /// The same when those on own changes count for neither side.
    pub(super) precision_on_incidents: Option<f64>,
}

/// The account of recommendations.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Recommendations {
    pub(super) issued: Option<u64>,
    pub(super) delivered: usize,
    pub(super) repeats_seen: usize,
    pub(super) failed_on_purpose: usize,
    pub(super) applied: usize,
    pub(super) outcomes_told: usize,
    pub(super) evaluated: Option<u64>,
    pub(super) resource_advice: usize,
    pub(super) accuracy: Option<f64>,
    pub(super) interval_coverage: Option<f64>,
}

/// What the fleet gained, by its own truth.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Improvement {
    pub(super) reached: f64,
    pub(super) best_possible: f64,
    pub(super) share: f64,
}

/// From a post's first byte to its answer, and what the service says of itself.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct IngestMs {
    pub(super) client_p50: Option<f64>,
    pub(super) client_p99: Option<f64>,
    pub(super) server_p50: Option<f64>,
    pub(super) server_p99: Option<f64>,
}

/// Where the service listened.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Addresses {
    pub(super) api: String,
    pub(super) metrics: String,
}

impl Reports {
    /// Compares what was acknowledged with what is stored.
    pub(super) fn reconcile(&mut self, stored: Option<u64>) {
        self.stored = stored;
        self.lost = stored.map(|stored| (self.acknowledged as u64).saturating_sub(stored));
    }

    /// Why the account does not balance, if so.
    pub(super) fn failure(&self) -> Option<String> {
        match (self.lost, self.stored) {
            (None, _) | (_, None) => {
                Some("the service does not say how many reports it stored".to_owned())
            }
            (Some(lost), _) if lost > 0 => {
                Some(format!("{lost} acknowledged reports are not in the store"))
            }
            (_, Some(stored))
                if stored > self.acknowledged as u64 && self.posts_unanswered == 0 =>
            {
                let twice = stored - self.acknowledged as u64;
                Some(format!(
                    "{twice} more reports are stored than were acknowledged"
                ))
            }
            _ => None,
        }
    }
}

impl FleetResults {
    /// Why the demo failed, if it did: reports were lost, or a contract was broken.
    pub(super) fn failure(&self) -> Option<String> {
        self.reports.failure().or_else(|| {
            self.breaches
                .first()
                .map(|breach| format!("contract broken: {breach}"))
        })
    }
}

/// Everything that the host demo measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct HostResults {
    pub(super) wall_seconds: f64,
    pub(super) readings: usize,
    pub(super) reports: Reports,
    pub(super) processes: Vec<ProcessRow>,
    pub(super) patterns: BTreeMap<String, u64>,
    /// The strongest findings, one line each.
    pub(super) noticed: Vec<String>,
    pub(super) ingest_ms: IngestMs,
    pub(super) breaches: Vec<String>,
    pub(super) service: Addresses,
}

impl HostResults {
    /// Why the demo failed, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        self.reports.failure().or_else(|| {
            self.breaches
                .first()
                .map(|breach| format!("contract broken: {breach}"))
        })
    }
}

/// One process of this machine.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ProcessRow {
    pub(super) agent_id: String,
    pub(super) cpu_seconds: f64,
    pub(super) cpu_usage_peak: f64,
    pub(super) memory_mb: f64,
    pub(super) findings: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(acknowledged: usize, stored: Option<u64>, unanswered: usize, expected: Option<&str>) {
        let mut reports = Reports {
            acknowledged,
            posts_unanswered: unanswered,
            ..Reports::default()
        };
        reports.reconcile(stored);
        let failure = reports.failure();
        match expected {
            None => assert_eq!(failure, None),
            Some(part) => assert!(failure.is_some_and(|text| text.contains(part))),
        }
    }

    #[test]
    fn what_is_acknowledged_must_be_stored_once() {
        check(10, Some(10), 0, None);
        check(10, Some(9), 0, Some("1 acknowledged"));
        check(10, Some(12), 0, Some("2 more"));
        check(10, Some(12), 1, None);
        check(10, None, 0, Some("does not say"));
    }
}
