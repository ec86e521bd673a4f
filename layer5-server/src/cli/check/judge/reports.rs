//! The reports: do they come, how old are they, is there room for them, are they valid, does handling them fail.
//! Called from: [`super::judge`].

use super::super::{
    look::Seen,
    verdict::{State, Verdict, graded, verdict},
};

pub(super) fn flow(seen: &Seen) -> Verdict {
    let received = "layer5_kpi_received_total";
    let now = seen.after.sum(received).unwrap_or(0.0);
    let before = seen.before.sum(received).unwrap_or(0.0);
    let came = (now - before).max(0.0);
    let rate = came / seen.watched.max(1e-3);
    let then = "runbook: Layer5IngestionStopped";
    if now == 0.0 {
        let said = "no report since the start";
        return verdict("KPI flow", State::Red, said, then);
    }
    // Nothing within a short look is normal for a small fleet; the lag says more.
    let quiet = came == 0.0 && newest_lag(seen).is_some_and(|lag| lag > 60.0);
    let state = if quiet { State::Yellow } else { State::Green };
    let said = format!("{rate:.0} reports/s over {:.0} s", seen.watched);
    verdict("KPI flow", state, said, then)
}

pub(super) fn lag(seen: &Seen) -> Verdict {
    let then = "runbook: Layer5IngestionStopped; a negative lag is a sender's clock";
    let Some(lag) = newest_lag(seen) else {
        return verdict("KPI lag", State::Unknown, "no report yet", then);
    };
    let state = if lag < -5.0 {
        State::Yellow
    } else {
        graded(lag, 60.0, 300.0)
    };
    let said = format!("the newest report is {lag:.1} s old");
    verdict("KPI lag", state, said, then)
}

fn newest_lag(seen: &Seen) -> Option<f64> {
    seen.after
        .all("layer5_kpi_ingest_lag_seconds")
        .map(|(_, lag)| lag)
        .min_by(f64::total_cmp)
}

pub(super) fn buffer(seen: &Seen) -> Verdict {
    let sizes = seen.after.all("layer5_buffer_size");
    let fullest = sizes
        .filter_map(|(labels, size)| {
            let mut capacities = seen.after.all("layer5_buffer_capacity");
            let (_, capacity) = capacities.find(|(other, _)| *other == labels)?;
            Some((labels, size / capacity))
        })
        .max_by(|a, b| a.1.total_cmp(&b.1));
    let then = "runbook: Layer5BufferNearCapacity";
    match fullest {
        None => verdict("buffer", State::Unknown, "no ring is shown", then),
        Some((labels, fill)) => {
            let said = format!("fullest: {labels} at {:.0} %", fill * 100.0);
            verdict("buffer", graded(fill, 0.6, 0.9), said, then)
        }
    }
}

pub(super) fn errors(seen: &Seen) -> Verdict {
    let then = "runbook: Layer5HighErrorRate";
    let errors = seen.after.sum("layer5_errors_total").unwrap_or(0.0);
    let received = seen.after.sum("layer5_kpi_received_total").unwrap_or(0.0);
    if received == 0.0 {
        let said = format!("{errors:.0} errors, no report");
        let state = if errors > 0.0 {
            State::Yellow
        } else {
            State::Unknown
        };
        return verdict("error rate", state, said, then);
    }
    let share = errors / received;
    let said = format!("{:.3} % since the start", share * 100.0);
    verdict("error rate", graded(share, 0.002, 0.01), said, then)
}

pub(super) fn quality(seen: &Seen) -> Verdict {
    let then = "runbook: Layer5DataQualityLow";
    match seen.after.sum("layer5_data_quality_ratio") {
        None => verdict(
            "data quality",
            State::Unknown,
            "no report in 5 minutes",
            then,
        ),
        Some(ratio) => {
            let said = format!("{:.1} % of the reports valid", ratio * 100.0);
            verdict("data quality", graded(1.0 - ratio, 0.01, 0.05), said, then)
        }
    }
}
