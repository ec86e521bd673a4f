//! What the daily check makes of what it saw: one verdict per question, with what to do.
//! Limits are those of the alerts (CONTRACTS, section 8): what would page is red, what is on the way there is yellow.
//! Invariant: what could not be seen is never green. Each verdict is tried in `tests/check_situations.rs`.

mod advice;
mod alarms;
mod machine;
mod reports;
mod service;

use super::{look::Seen, verdict::Verdict};

/// Judges everything, in the order of the table.
pub(super) fn judge(seen: &Seen) -> Vec<Verdict> {
    let mut verdicts = vec![
        service::liveness(&seen.live),
        service::readiness(&seen.ready),
    ];
    if seen.live.status.is_none() {
        // Whatever else is asked of a service that is not there has the same answer.
        return verdicts;
    }
    verdicts.push(service::metrics_page(seen));
    if seen.metrics_answer.is_success() {
        verdicts.extend([
            reports::flow(seen),
            reports::lag(seen),
            reports::buffer(seen),
            reports::errors(seen),
            reports::quality(seen),
            advice::accuracy(seen),
            advice::integrations(seen),
            advice::outbox(seen),
            machine::disk(seen),
            machine::memory(seen),
            machine::backup(seen),
        ]);
    }
    verdicts.extend([
        service::clock(seen),
        service::version(&seen.status),
        alarms::alerts(seen),
        alarms::silences(seen),
        machine::certificate(seen),
    ]);
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_not_there_nothing_more_is_asked() {
        let verdicts = judge(&Seen::default());
        let checks: Vec<&str> = verdicts.iter().map(|verdict| verdict.check).collect();
        assert_eq!(checks, ["liveness", "readiness"]);
    }
}
