//! What the daily check makes of what it saw: one verdict per question, with what to do.
//! Limits are those of the alerts (CONTRACTS, section 8): what would page is red, what is on the way there is yellow.
//! Invariant: what could not be seen is never green.

use serde::Serialize;
use serde_json::Value;

use super::{
    certificate::Certificate,
    look::{Answer, Seen},
};

/// How good or bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Green,
    /// Nothing to judge, for the reason that is given.
    Unknown,
    /// Look at it today.
    Yellow,
    /// Act now.
    Red,
}

impl State {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Unknown => "unknown",
            Self::Yellow => "yellow",
            Self::Red => "red",
        }
    }

    pub(super) const fn exit_code(self) -> u8 {
        match self {
            Self::Green | Self::Unknown => 0,
            Self::Yellow => 1,
            Self::Red => 2,
        }
    }
}

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) check: &'static str,
    pub(super) state: State,
    pub(super) said: String,
    /// What to do; empty where nothing is to be done.
    #[serde(rename = "do")]
    pub(super) then: &'static str,
}

/// The worst of all.
pub(super) fn worst(verdicts: &[Verdict]) -> State {
    let states = verdicts.iter().map(|verdict| verdict.state);
    states.max().unwrap_or(State::Unknown)
}

/// Judges everything, in the order of the table.
pub(super) fn judge(seen: &Seen) -> Vec<Verdict> {
    let mut verdicts = vec![liveness(&seen.live), readiness(&seen.ready)];
    if seen.live.status.is_none() {
        // Whatever else is asked of a service that is not there has the same answer.
        return verdicts;
    }
    verdicts.push(metrics_page(seen));
    if seen.metrics_answer.is_success() {
        verdicts.extend([
            flow(seen),
            lag(seen),
            buffer(seen),
            errors(seen),
            quality(seen),
            accuracy(seen),
            integrations(seen),
            outbox(seen),
            disk(seen),
            memory(seen),
            backup(seen),
        ]);
    }
    verdicts.extend([
        clock(seen),
        version(&seen.status),
        alerts(seen),
        silences(seen),
        certificate(seen),
    ]);
    verdicts
}

fn verdict(
    check: &'static str,
    state: State,
    said: impl Into<String>,
    then: &'static str,
) -> Verdict {
    Verdict {
        check,
        state,
        said: said.into(),
        then: if state == State::Green { "" } else { then },
    }
}

/// Green below `yellow`, red from `red` on.
fn graded(value: f64, yellow: f64, red: f64) -> State {
    if value >= red {
        State::Red
    } else if value >= yellow {
        State::Yellow
    } else {
        State::Green
    }
}

fn liveness(answer: &Answer) -> Verdict {
    let (state, said) = match answer.is_success() {
        true => (State::Green, "answers".to_owned()),
        false => (State::Red, answer.words()),
    };
    verdict("liveness", state, said, "runbook: Layer5Down")
}

fn readiness(answer: &Answer) -> Verdict {
    let (state, said) = match answer.is_success() {
        true => (State::Green, "takes reports".to_owned()),
        false => (State::Red, answer.words()),
    };
    let then = "the reason names the cause; a full disk: Layer5ResourceExhaustion";
    verdict("readiness", state, said, then)
}

fn metrics_page(seen: &Seen) -> Verdict {
    let answer = &seen.metrics_answer;
    let then = "is --metrics-url right? Prometheus sees what you see";
    match answer.is_success() && seen.after.sum("layer5_uptime_seconds").is_some() {
        true => verdict("metrics", State::Green, "scraped", then),
        false => verdict("metrics", State::Red, answer.words(), then),
    }
}

fn flow(seen: &Seen) -> Verdict {
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

fn newest_lag(seen: &Seen) -> Option<f64> {
    seen.after
        .all("layer5_kpi_ingest_lag_seconds")
        .map(|(_, lag)| lag)
        .min_by(f64::total_cmp)
}

fn lag(seen: &Seen) -> Verdict {
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

fn buffer(seen: &Seen) -> Verdict {
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

fn errors(seen: &Seen) -> Verdict {
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

fn quality(seen: &Seen) -> Verdict {
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

/// Never red: a recommendation that is off does no harm that the rollback does not end.
fn accuracy(seen: &Seen) -> Verdict {
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

fn integrations(seen: &Seen) -> Verdict {
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

fn outbox(seen: &Seen) -> Verdict {
    let depth = seen.after.sum("layer5_outbox_depth").unwrap_or(0.0);
    let oldest = seen
        .after
        .sum("layer5_outbox_oldest_seconds")
        .unwrap_or(0.0);
    let said = format!("{depth:.0} undelivered, the oldest for {oldest:.0} s");
    let then = "runbook: Layer5OutboxStalled";
    verdict("outbox", graded(oldest, 60.0, 300.0), said, then)
}

fn disk(seen: &Seen) -> Verdict {
    let then = "runbook: Layer5ResourceExhaustion";
    let free = seen.after.sum("layer5_disk_free_bytes");
    let (Some(free), Some(size)) = (free, seen.after.sum("layer5_disk_size_bytes")) else {
        return verdict("disk", State::Unknown, "not shown", then);
    };
    let used = 1.0 - free / size;
    let said = format!("{:.0} % used, {:.1} GB free", used * 100.0, free / 1e9);
    verdict("disk", graded(used, 0.75, 0.85), said, then)
}

fn memory(seen: &Seen) -> Verdict {
    let then = "runbook: Layer5ResourceExhaustion";
    let used = seen.after.sum("process_resident_memory_bytes");
    let (Some(used), Some(limit)) = (used, seen.after.sum("layer5_memory_limit_bytes")) else {
        return verdict("memory", State::Unknown, "not shown", then);
    };
    let said = format!("{:.0} MB of {:.0} MB", used / 1e6, limit / 1e6);
    verdict("memory", graded(used / limit, 0.75, 0.9), said, then)
}

fn backup(seen: &Seen) -> Verdict {
    let then = "runbook: Layer5BackupStale";
    match seen.after.sum("layer5_backup_age_seconds") {
        None => verdict(
            "backup",
            State::Unknown,
            "this service knows of no backup",
            then,
        ),
        Some(age) => {
            let said = format!("the newest is {:.1} h old", age / 3600.0);
            verdict("backup", graded(age / 3600.0, 25.0, 26.0), said, then)
        }
    }
}

fn clock(seen: &Seen) -> Verdict {
    let then = "compare `date -u` here and there; mend time synchronisation";
    match seen.live.skew {
        None => verdict("clock", State::Unknown, "the service told no time", then),
        Some(skew) => {
            let said = format!("differs by {skew:+.1} s");
            // The header's resolution is a second.
            verdict("clock", graded(skew.abs(), 2.0, 30.0), said, then)
        }
    }
}

fn version(status: &Answer) -> Verdict {
    let here = env!("CARGO_PKG_VERSION");
    let then = "use the command of the version that runs";
    let found = status.json();
    match found.get("version").and_then(Value::as_str) {
        None => verdict(
            "version",
            State::Unknown,
            status.words(),
            "give --token-file",
        ),
        Some(there) => {
            let state = if there == here {
                State::Green
            } else {
                State::Yellow
            };
            let color = found["color"].as_str().unwrap_or_default();
            let said = format!("service {there} {color}, this command {here}");
            verdict("version", state, said, then)
        }
    }
}

fn alerts(seen: &Seen) -> Verdict {
    let then = "each has a section in the runbook";
    let Some(answer) = &seen.alerts else {
        let said = "not asked: give --alertmanager";
        return verdict("alerts", State::Unknown, said, then);
    };
    let alerts = answer.json();
    let Some(alerts) = alerts.as_array().filter(|_| answer.is_success()) else {
        let then = "Alertmanager itself is in trouble";
        return verdict("alerts", State::Red, answer.words(), then);
    };
    let ours: Vec<&Value> = alerts
        .iter()
        .map(|alert| &alert["labels"])
        .filter(|labels| labels["team"] == "layer5")
        .collect();
    let mut names: Vec<&str> = ours
        .iter()
        .filter_map(|labels| labels["alertname"].as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    let state = if ours.iter().any(|labels| labels["severity"] == "critical") {
        State::Red
    } else if names.is_empty() {
        State::Green
    } else {
        State::Yellow
    };
    let said = match names.is_empty() {
        true => "none fires".to_owned(),
        false => names.join(", "),
    };
    verdict("alerts", state, said, then)
}

/// A silence is on purpose, and forgotten easily: it is shown every day that it lasts.
fn silences(seen: &Seen) -> Verdict {
    let then = "is it still wanted? `layer5 maintenance end`, or amtool silence expire";
    let Some(answer) = &seen.silences else {
        let said = "not asked: give --alertmanager";
        return verdict("silences", State::Unknown, said, then);
    };
    if !answer.is_success() {
        return verdict("silences", State::Unknown, answer.words(), then);
    }
    let all = answer.json();
    let active = all.as_array().into_iter().flatten().filter(|silence| {
        let matchers = silence["matchers"].as_array().into_iter().flatten();
        let mut values = matchers.filter_map(|matcher| matcher["value"].as_str());
        silence["status"]["state"] == "active"
            && values.any(|value| value == "layer5" || value.starts_with("Layer5"))
    });
    let words: Vec<String> = active
        .map(|silence| {
            let text = |key: &str| silence[key].as_str().unwrap_or_default().to_owned();
            format!("{} until {}", text("comment"), text("endsAt"))
        })
        .collect();
    match words.is_empty() {
        true => verdict("silences", State::Green, "none", then),
        false => verdict("silences", State::Yellow, words.join("; "), then),
    }
}

/// The certificate that ends first, or the one that can't be read.
fn certificate(seen: &Seen) -> Verdict {
    let then = "renew it, and see that whoever serves it has read the new one";
    let name = "certificate";
    let worst = seen.certificates.iter().min_by(|a, b| {
        let days = |c: &Certificate| c.days_left.as_ref().copied().unwrap_or(f64::MIN);
        days(a).total_cmp(&days(b))
    });
    let Some(worst) = worst else {
        return verdict(name, State::Unknown, "not asked: give --certificate", then);
    };
    let path = worst.path.display();
    match &worst.days_left {
        Err(why) => verdict(name, State::Red, format!("{path}: {why}"), then),
        Ok(days) => {
            let said = match *days < 0.0 {
                true => format!("{path} ended {:.0} days ago", -days),
                false => format!("{path} ends in {days:.0} days"),
            };
            verdict(name, graded(-days, -30.0, -7.0), said, then)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::look::{Answer, Page, Seen},
        State, judge, worst,
    };

    fn ok(text: &str) -> Answer {
        Answer {
            status: Some(200),
            text: text.to_owned(),
            skew: Some(0.1),
        }
    }

    const METRICS: &str = "\
layer5_uptime_seconds 100
layer5_kpi_received_total{source=\"http\"} 1000
layer5_kpi_ingest_lag_seconds{source=\"http\"} 1
layer5_buffer_size{shard=\"0\"} 10
layer5_buffer_capacity{shard=\"0\"} 100
layer5_errors_total{component=\"http\",kind=\"handled\"} 0
layer5_data_quality_ratio 1
layer5_optimization_accuracy 0.97
layer5_avg_performance_improvement 0.1
layer5_integration_up{target=\"layer7\"} 1
layer5_outbox_depth 0
layer5_outbox_oldest_seconds 0
layer5_disk_free_bytes 90
layer5_disk_size_bytes 100
process_resident_memory_bytes 10
layer5_memory_limit_bytes 100
layer5_backup_age_seconds 3600
";

    /// A healthy service, its page changed by replacing `from` with `to`.
    fn seen(from: &str, to: &str) -> Seen {
        assert!(from.is_empty() || METRICS.contains(from), "{from}");
        let page = METRICS.replace(from, to);
        Seen {
            live: ok("{}"),
            ready: ok("{}"),
            status: ok(&format!(
                r#"{{"version":"{}","color":"green"}}"#,
                env!("CARGO_PKG_VERSION")
            )),
            metrics_answer: ok(""),
            before: Page::read("layer5_kpi_received_total 900\n"),
            after: Page::read(if from.is_empty() { METRICS } else { &page }),
            watched: 2.0,
            alerts: Some(ok("[]")),
            silences: Some(ok("[]")),
            certificates: Vec::new(),
        }
    }

    #[track_caller]
    fn says(seen: &Seen, check: &str, state: State, word: &str) {
        let verdicts = judge(seen);
        let found = verdicts.iter().find(|verdict| verdict.check == check);
        let found = found.unwrap_or_else(|| panic!("no check {check}"));
        assert_eq!(found.state, state, "{check}: {}", found.said);
        assert!(found.said.contains(word), "{check}: {}", found.said);
        assert_eq!(worst(&verdicts).exit_code(), state.exit_code());
        assert!(state < State::Yellow || !found.then.is_empty());
    }

    #[test]
    fn a_healthy_service_is_green() {
        let verdicts = judge(&seen("", ""));
        let not_green: Vec<_> = verdicts
            .iter()
            .filter(|verdict| verdict.state != State::Green && verdict.check != "certificate")
            .collect();
        assert!(not_green.is_empty(), "{not_green:?}");
    }

    #[test]
    fn each_broken_situation_is_named() {
        use State::{Red, Yellow};
        for (from, to, check, state, word) in [
            ("http\"} 1000", "http\"} 0", "KPI flow", Red, "no report"),
            (
                "lag_seconds{source=\"http\"} 1",
                "lag_seconds{source=\"http\"} 90",
                "KPI lag",
                Yellow,
                "90",
            ),
            (
                "lag_seconds{source=\"http\"} 1",
                "lag_seconds{source=\"http\"} 301",
                "KPI lag",
                Red,
                "301",
            ),
            (
                "lag_seconds{source=\"http\"} 1",
                "lag_seconds{source=\"http\"} -40",
                "KPI lag",
                Yellow,
                "-40",
            ),
            (
                "size{shard=\"0\"} 10",
                "size{shard=\"0\"} 95",
                "buffer",
                Red,
                "95 %",
            ),
            (
                "kind=\"handled\"} 0",
                "kind=\"handled\"} 5",
                "error rate",
                Yellow,
                "0.5",
            ),
            (
                "kind=\"handled\"} 0",
                "kind=\"handled\"} 50",
                "error rate",
                Red,
                "5.0",
            ),
            (
                "quality_ratio 1",
                "quality_ratio 0.9",
                "data quality",
                Red,
                "90.0",
            ),
            (
                "accuracy 0.97",
                "accuracy 0.5",
                "optimization accuracy",
                Yellow,
                "50.0",
            ),
            (
                "improvement 0.1",
                "improvement -0.1",
                "optimization accuracy",
                Yellow,
                "-10.0",
            ),
            ("layer7\"} 1", "layer7\"} 0", "integrations", Red, "layer7"),
            (
                "oldest_seconds 0",
                "oldest_seconds 400",
                "outbox",
                Red,
                "400",
            ),
            ("free_bytes 90", "free_bytes 10", "disk", Red, "90 %"),
            ("memory_bytes 10", "memory_bytes 80", "memory", Yellow, "MB"),
            (
                "age_seconds 3600",
                "age_seconds 100000",
                "backup",
                Red,
                "27.8",
            ),
        ] {
            says(&seen(from, to), check, state, word);
        }
    }

    #[test]
    fn what_the_pages_say_is_passed_on() {
        let mut down = seen("", "");
        down.live = Answer {
            text: "refused".to_owned(),
            ..Answer::default()
        };
        down.ready = down.live.clone();
        says(&down, "liveness", State::Red, "refused");
        assert_eq!(
            judge(&down).len(),
            2,
            "nothing more is asked of what is not there"
        );

        let mut unready = seen("", "");
        unready.ready = Answer {
            status: Some(503),
            text: r#"{"ready":false,"reasons":["the disk is full"]}"#.to_owned(),
            skew: None,
        };
        says(&unready, "readiness", State::Red, "the disk is full");

        let mut no_metrics = seen("", "");
        no_metrics.metrics_answer = Answer::default();
        says(&no_metrics, "metrics", State::Red, "");

        let mut skewed = seen("", "");
        skewed.live.skew = Some(-45.0);
        says(&skewed, "clock", State::Red, "-45.0");

        let mut older = seen("", "");
        older.status = ok(r#"{"version":"0.0.1","color":"blue"}"#);
        says(&older, "version", State::Yellow, "0.0.1 blue");

        let mut muted = seen("", "");
        muted.silences = Some(ok(
            r#"[{"comment":"layer5 maintenance: disk","endsAt":"2026-01-01T00:00:00Z",
                "status":{"state":"active"},"matchers":[{"name":"team","value":"layer5"}]},
               {"comment":"old","status":{"state":"expired"},"matchers":[{"name":"team","value":"layer5"}]}]"#,
        ));
        says(&muted, "silences", State::Yellow, "disk until 2026");

        let mut firing = seen("", "");
        firing.alerts = Some(ok(
            r#"[{"labels":{"team":"layer5","alertname":"Layer5Down","severity":"critical"}},
                {"labels":{"team":"other","alertname":"Theirs","severity":"critical"}}]"#,
        ));
        says(&firing, "alerts", State::Red, "Layer5Down");
        firing.alerts = Some(Answer::default());
        says(&firing, "alerts", State::Red, "");
    }
}
