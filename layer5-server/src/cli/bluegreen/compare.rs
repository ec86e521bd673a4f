//! Whether a candidate finds what the live instance finds: the same reports, the same numbers, the same patterns.
//! In: the live instance and a shadow that follows it. Out: one line per check.
//! Both work on one log, so what differs is the version: stored numbers must be equal, findings nearly so (a tick falls on
//! another report in each of them).

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use layer5_core::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::service::Service;
use crate::clock;

/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// What lies closer to now may be known to one and not yet to the other, s.
const SETTLE_SECONDS: f64 = 3.0;
/// Series whose numbers are compared.
const SERIES_MAX: usize = 20;
/// Pages of advice looked at.
const PAGES_MAX: usize = 100;
/// Findings looked at.
const FINDINGS_MAX: usize = 20_000;
/// Findings from which a share is judged; fewer may differ by one.
const FINDINGS_MIN: usize = 10;
/// Share of all findings that both must have.
const AGREEMENT: f64 = 0.9;

/// One check.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Check {
    /// What was looked at.
    pub(super) check: &'static str,
    /// Whether it is as it should be.
    pub(super) good: bool,
    /// What was seen.
    pub(super) seen: String,
}

/// How two instances compare.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Comparison {
    pub(super) checks: Vec<Check>,
}

impl Comparison {
    fn add(&mut self, check: &'static str, good: bool, seen: String) {
        self.checks.push(Check { check, good, seen });
    }

    /// What is not as it should be.
    pub(super) fn differs(&self) -> Vec<String> {
        let bad = self.checks.iter().filter(|check| !check.good);
        bad.map(|check| format!("{}: {}", check.check, check.seen))
            .collect()
    }
}

/// Compares over the last `window`, once `candidate` has caught up; waits at most `patience` for that.
pub(super) async fn compare(
    live: &Service,
    candidate: &Service,
    window: Duration,
    patience: Duration,
) -> Result<Comparison, String> {
    let mut result = Comparison::default();
    let to = clock::now().plus_seconds(-SETTLE_SECONDS);
    let from = to.plus_seconds(-window.as_secs_f64());
    let goal = live.counts().await?;
    let began = Instant::now();
    let reached = loop {
        let counts = candidate.counts().await?;
        let reached = counts.followed_seq.unwrap_or(0);
        if reached >= goal.log_seq || began.elapsed() > patience {
            break counts;
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    };
    let followed = reached.followed_seq.unwrap_or(0);
    result.add(
        "follows",
        followed >= goal.log_seq,
        format!("at group {followed}, the live one was at {}", goal.log_seq),
    );
    result.add(
        "errors",
        reached.wrong * 100 <= reached.received,
        format!(
            "{} of {} reports that the live one took",
            reached.wrong, reached.received
        ),
    );
    numbers(live, candidate, (from, to), &mut result).await?;
    if reached.stored + 1 < goal.stored {
        let seen = format!(
            "not judged: it knows {} of {} reports, its watches are not as warm",
            reached.stored, goal.stored
        );
        result.add("findings", true, seen);
        return Ok(result);
    }
    // A finding is made as the samples come; the last of them are on their way through the shards.
    tokio::time::sleep(LOOK_PAUSE * 5).await;
    let (ours, theirs) = (
        findings(live, (from, to)).await?,
        findings(candidate, (from, to)).await?,
    );
    // The live one expects its own advice to move an agent and is quiet about it, which the candidate can't know.
    let advised = advised(live).await?;
    let judged = |finding: &&Found| !advised.contains(&finding.0);
    let both = ours.intersection(&theirs).filter(judged).count();
    let missed: Vec<_> = ours.difference(&theirs).filter(judged).collect();
    let more: Vec<_> = theirs.difference(&ours).filter(judged).collect();
    let differ = missed.len() + more.len();
    let good = match both + differ < FINDINGS_MIN {
        true => differ <= 1,
        false => both as f64 >= AGREEMENT * (both + differ) as f64,
    };
    let mut seen = format!(
        "{both} the same; {} only the live one, {} only the candidate",
        missed.len(),
        more.len()
    );
    if let Some((agent, metric, kind, start)) = missed.first().or(more.first()) {
        seen += &format!("; the first: {kind} in {metric} of {agent} at {start}");
    }
    result.add("findings", good, seen);
    Ok(result)
}

/// Agent, metric, kind and start of a finding.
type Found = (String, String, String, String);
type Span = (Timestamp, Timestamp);

async fn numbers(
    live: &Service,
    candidate: &Service,
    (from, to): Span,
    result: &mut Comparison,
) -> Result<(), String> {
    let known = live
        .get(&format!("/api/v1/series?limit={SERIES_MAX}"))
        .await?;
    let (mut same, mut differ) = (0, Vec::new());
    for row in known["series"].as_array().into_iter().flatten() {
        let (Some(agent), Some(metric)) = (row["agent_id"].as_str(), row["metric"].as_str()) else {
            continue;
        };
        let step = to.seconds_since(from).max(1.0);
        let path = format!("/api/v1/series/{agent}/{metric}?from={from}&to={to}&step={step}");
        let buckets = |page: Value| page["buckets"].clone();
        let (ours, theirs) = (
            live.get(&path).await.map(buckets)?,
            candidate.get(&path).await.map(buckets),
        );
        match theirs {
            Ok(theirs) if alike(&theirs, &ours) => same += 1,
            Ok(theirs) => differ.push(format!("{agent}/{metric} is {theirs}, live {ours}")),
            // A series that nothing came for in the span need not be known.
            Err(_) if ours.as_array().is_some_and(Vec::is_empty) => same += 1,
            Err(error) => differ.push(error),
        }
    }
    let seen = match differ.first() {
        None => format!("{same} series are the same"),
        Some(first) => format!(
            "{} of {} series differ: {first}",
            differ.len(),
            same + differ.len()
        ),
    };
    result.add("numbers", differ.is_empty(), seen);
    Ok(())
}

/// The same, but for the order in which a mean was summed up.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let same = |(key, a): (&String, &Value)| b.get(key).is_some_and(|b| alike(a, b));
            a.len() == b.len() && a.iter().all(same)
        }
        (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
            _ => a == b,
        },
        (a, b) => a == b,
    }
}

/// The agents that were given advice.
async fn advised(service: &Service) -> Result<BTreeSet<String>, String> {
    let (mut agents, mut after) = (BTreeSet::new(), 0);
    for _ in 0..PAGES_MAX {
        let path = format!("/api/v1/recommendations?after={after}&limit=1000");
        let page = service.get(&path).await?;
        let rows = page["recommendations"].as_array().into_iter().flatten();
        let names = rows.filter_map(|row| row["agent_id"].as_str());
        agents.extend(names.map(str::to_owned));
        match page["next_after"].as_u64() {
            Some(next) => after = next,
            None => break,
        }
    }
    Ok(agents)
}

/// The findings about `span`, by what and where they are.
async fn findings(service: &Service, (from, to): Span) -> Result<BTreeSet<Found>, String> {
    let mut found = BTreeSet::new();
    let mut after = 0;
    while found.len() < FINDINGS_MAX {
        let page = service
            .get(&format!(
                "/api/v1/patterns?from={from}&to={to}&after={after}&limit=1000"
            ))
            .await?;
        let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        for event in page["patterns"].as_array().into_iter().flatten() {
            let at = text(event, "detected_at");
            if Timestamp::parse_rfc3339(&at).is_some_and(|at| at <= to) {
                found.insert((
                    text(event, "agent_id"),
                    text(event, "metric"),
                    text(event, "kind"),
                    text(event, "start"),
                ));
            }
        }
        match page["next_after"].as_u64() {
            Some(next) => after = next,
            None => break,
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sums_may_differ_in_their_last_digit_and_nothing_else() {
        let bucket = |mean: f64, count: u64| json!([{"at": "2026-11-28T00:00:00Z", "mean": mean, "count": count}]);
        assert!(alike(&bucket(45.1, 7), &bucket(45.1 + 1e-13, 7)));
        assert!(!alike(&bucket(45.1, 7), &bucket(45.1001, 7)));
        assert!(!alike(&bucket(45.1, 7), &bucket(45.1, 8)));
        assert!(!alike(&bucket(45.1, 7), &json!([])));
        assert!(!alike(&json!(1.0), &json!("1.0")));
    }
}
