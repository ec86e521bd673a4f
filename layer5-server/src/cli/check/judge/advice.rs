//! The recommendations: do they keep their promises, do the neighbours answer, do they leave.
//! Called from: [`super::judge`].

use super::super::{
    look::Seen,
    verdict::{State, Verdict, graded, verdict},
};

/// Never red: a recommendation that is off does no harm that the rollback does not end.
pub(super) fn accuracy(seen: &Seen) -> Verdict {
    let then = "runbook: Layer5OptimizationAccuracyLow";
    let name = "optimization accuracy";
    let improvement = seen.after.sum("layer5_avg_performance_improvement");
    match seen.after.sum("layer5_optimization_accuracy") {
        None => verdict(name, State::Unknown, "fewer than 20 outcomes in 24 h", then),
        Some(accuracy) => {
            let state = match improvement {
                Some(gain) if gain < 0.0 => State::Yellow,
                _ if accuracy < 0.95 => State::Yellow,
                _ => State::Green,
            };
            let gain = improvement.map_or(String::new(), |gain| {
                format!(", mean improvement {:.1} %", gain * 100.0)
            });
            verdict(
                name,
                state,
                format!("{:.1} %{gain}", accuracy * 100.0),
                then,
            )
        }
    }
}

pub(super) fn integrations(seen: &Seen) -> Verdict {
    let then = "runbook: Layer5IntegrationFailure";
    let ups: Vec<(&str, f64)> = seen.after.all("layer5_integration_up").collect();
    let down: Vec<&str> = ups
        .iter()
        .filter(|(_, up)| *up == 0.0)
        .map(|(labels, _)| *labels)
        .collect();
    if ups.is_empty() {
        let said = "no neighbour is configured, or none was called yet";
        return verdict("integrations", State::Unknown, said, then);
    }
    if down.is_empty() {
        let said = format!("{} up", ups.len());
        return verdict("integrations", State::Green, said, then);
    }
    let said = format!("down: {}", down.join(", "));
    verdict("integrations", State::Red, said, then)
}

pub(super) fn outbox(seen: &Seen) -> Verdict {
    let depth = seen.after.sum("layer5_outbox_depth").unwrap_or(0.0);
    let oldest = seen
        .after
        .sum("layer5_outbox_oldest_seconds")
        .unwrap_or(0.0);
    let said = format!("{depth:.0} undelivered, the oldest for {oldest:.0} s");
    let then = "runbook: Layer5OutboxStalled";
    verdict("outbox", graded(oldest, 60.0, 300.0), said, then)
}
