//! What a start gives the committer of the log: samples as they came, reports that the dedup window knows, decisions that
//! will be made again. In: groups of the log. Out: the committer as it was. Called from: `app/restore`.

use layer5_core::{PatternEvent, Timestamp};
use layer5_ingest::{Arrival, ReportKey};

use super::{Committer, note_seen};
use crate::{
    intake::{Source, Waiting},
    store::{Group, StoredReport},
};

impl Committer {
    /// These patterns are in the store and will be found again by the replay.
    pub(crate) fn expect_again(&mut self, stored: Vec<PatternEvent>) {
        self.pending.expect_again(stored);
    }

    /// The samples of a replayed group as the shards take them.
    pub(crate) fn arrivals_of(&self, group: &Group) -> Vec<Arrival> {
        let names = self.names.read().expect("no writer panics with the lock");
        let mut samples = group.samples.iter();
        let mut arrivals = Vec::with_capacity(group.samples.len());
        for report in &group.reports {
            for &sample in samples.by_ref().take(report.n_samples.into()) {
                let key = names.series_key(sample.series);
                arrivals.push(Arrival {
                    report: report_key(report),
                    sample,
                    agent: key.agent,
                    metric: key.metric,
                    request: Waiting::NOBODY,
                    // It came by some source, once; in the log it no longer matters by which.
                    source: Source::Http.index() as u8,
                    last_of_report: false,
                    last_of_request: false,
                });
            }
            if let Some(last) = arrivals.last_mut() {
                last.last_of_report = true;
            }
        }
        arrivals
    }

    /// Counts a replayed group's reports in the dedup window as seen at `seen_at`; the next snapshot has what is
    /// `unsaved` yet.
    pub(crate) fn restore_group(&mut self, group: &Group, seen_at: Timestamp, unsaved: bool) {
        let mut samples = group.samples.iter();
        let names = self.names.read().expect("no writer panics with the lock");
        let mut seen = Vec::with_capacity(group.reports.len());
        for report in &group.reports {
            let key = report_key(report);
            for sample in samples.by_ref().take(report.n_samples.into()) {
                note_seen(&mut seen, key, names.series_key(sample.series).metric);
            }
        }
        drop(names);
        self.dedup.restore_all(&seen, seen_at);
        if unsaved {
            let snapshots = &mut self.state.snapshots;
            snapshots.seen.push(group.seq, group.at, &mut seen);
        }
    }
}

fn report_key(report: &StoredReport) -> ReportKey {
    ReportKey {
        hi: (report.key >> 64) as u64,
        lo: report.key as u64,
    }
}
