//! What a series was: its samples, or what they come to in steps.
//! In: agent, metric, a span of time, perhaps a step. Out: samples page by page, or one bucket for each step.
//! Invariants: an answer is no longer than a page or [`BUCKETS_MAX`]; samples are in the order of time, whenever they came.

use axum::{Json, extract::State};
use layer5_core::{AgentId, MetricName, Quality, Sample, SeriesId, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Doors,
    extract::{Path, Query},
    problem::Problem,
    views::time,
    wire::Paging,
};
use crate::clock;

/// Most buckets of an answer: what a chart can show.
const BUCKETS_MAX: i64 = 11_000;
/// Span of a question that names no start, s.
const DEFAULT_SPAN: f64 = 3600.0;

/// The span asked for.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Span {
    from: Option<String>,
    to: Option<String>,
    step: Option<f64>,
    limit: Option<usize>,
    after: Option<String>,
}

/// `GET /api/v1/series/{agent}/{metric}`.
pub(crate) async fn samples(
    State(doors): State<Doors>,
    Path((agent, metric)): Path<(String, String)>,
    Query(span): Query<Span>,
) -> Result<Json<Value>, Problem> {
    let key = series_of(&doors, &agent, &metric)?;
    let to = time("to", span.to.as_deref())?.unwrap_or_else(|| clock::now().plus_seconds(1.0));
    let from =
        time("from", span.from.as_deref())?.unwrap_or_else(|| to.plus_seconds(-DEFAULT_SPAN));
    if from > to {
        return Err(Problem::bad_request(format!(
            "from = {from} is after to = {to}"
        )));
    }
    // Blocks are read from the disk; the threads that serve must not wait for it.
    let answer = move || match span.step {
        Some(step) => in_steps(&doors, key, (from, to), step),
        None => page(&doors, key, (from, to), &span),
    };
    let mut answer = tokio::task::spawn_blocking(answer)
        .await
        .map_err(|_panic| Problem::unavailable("the question could not be answered"))??;
    answer["agent_id"] = agent.into();
    answer["metric"] = metric.into();
    answer["from"] = json!(from);
    answer["to"] = json!(to);
    Ok(Json(answer))
}

fn series_of(doors: &Doors, agent: &str, metric: &str) -> Result<(AgentId, SeriesId), Problem> {
    let names = doors.names.read().expect("no writer panics with the lock");
    let number = names.lookup_agent(agent);
    let series = number.and_then(|agent| {
        let metric = names.lookup_metric(&MetricName::from(metric))?;
        Some((agent, names.lookup_series(agent, metric)?))
    });
    series.ok_or_else(|| {
        let shown = |name: &str| name.chars().take(128).collect::<String>();
        let (agent, metric) = (shown(agent), shown(metric));
        Problem::not_found(format!(
            "agent `{agent}` has no metric `{metric}`, see /api/v1/agents/{{id}}"
        ))
    })
}

fn unreadable(error: &crate::store::ReadError) -> Problem {
    Problem::unavailable(format!("history can't be read: {error}"))
}

fn in_steps(
    doors: &Doors,
    key: (AgentId, SeriesId),
    (from, to): (Timestamp, Timestamp),
    step: f64,
) -> Result<Value, Problem> {
    if !(0.001..=1e9).contains(&step) {
        let detail = format!("step = {step} is not a number of seconds from 0.001 to 1e9");
        return Err(Problem::bad_request(detail));
    }
    let width = (step * 1e9).round() as i64;
    let n = to.nanos().saturating_sub(from.nanos()) / width;
    if n > BUCKETS_MAX {
        let detail = format!(
            "{n} steps from {from} to {to}, at most {BUCKETS_MAX}: a longer step or a shorter span"
        );
        return Err(Problem::bad_request(detail));
    }
    let buckets = doors
        .store
        .buckets(key, from, to, width)
        .map_err(|error| unreadable(&error))?;
    let rows: Vec<Value> = buckets
        .iter()
        .map(|(at, b)| {
            json!({ "at": at, "min": b.min, "max": b.max, "mean": b.mean(), "count": b.count })
        })
        .collect();
    Ok(json!({ "step": step, "buckets": rows }))
}

/// Where a page ended: the time of its last sample, and how many of that time it and those before it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    at: Timestamp,
    n: usize,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let (nanos, n) = text.split_once('.')?;
        Some(Self {
            at: Timestamp::from_nanos(nanos.parse().ok()?),
            n: n.parse().ok()?,
        })
    }
}

fn page(
    doors: &Doors,
    key: (AgentId, SeriesId),
    (from, to): (Timestamp, Timestamp),
    span: &Span,
) -> Result<Value, Problem> {
    let limit = Paging {
        after: None,
        limit: span.limit,
    }
    .rows();
    let after = span.after.as_deref().map(|text| {
        Place::parse(text).ok_or_else(|| {
            Problem::bad_request(format!("after = `{text}` is not the next_after of a page"))
        })
    });
    let after = after.transpose()?;
    let start = after.map_or(from, |place| place.at);
    let wanted = limit + after.map_or(0, |place| place.n) + 1;
    let mut earliest = Earliest::new(wanted);
    doors
        .store
        .samples(key, start, to, |sample| earliest.add(sample))
        .map_err(|error| unreadable(&error))?;
    let mut samples = earliest.sorted();
    let skipped = samples
        .iter()
        .take_while(|s| after.is_some_and(|a| s.at == a.at));
    samples.drain(..skipped.count().min(after.map_or(0, |place| place.n)));
    let more = samples.len() > limit;
    samples.truncate(limit);
    let next = samples.last().filter(|_| more).map(|last| {
        let before = after.filter(|a| a.at == last.at).map_or(0, |a| a.n);
        let n = samples.iter().rev().take_while(|s| s.at == last.at).count();
        format!("{}.{}", last.at.nanos(), before + n)
    });
    let rows: Vec<Value> = samples.iter().map(row).collect();
    Ok(json!({ "samples": rows, "next_after": next }))
}

fn row(sample: &Sample) -> Value {
    match sample.quality {
        Quality::Good => json!({ "at": sample.at, "value": sample.value }),
        Quality::Suspect => json!({ "at": sample.at, "value": sample.value, "suspect": true }),
    }
}

/// The earliest samples of many, in bounded memory.
struct Earliest {
    wanted: usize,
    samples: Vec<Sample>,
    /// Samples after it are not among them.
    until: Timestamp,
}

impl Earliest {
    fn new(wanted: usize) -> Self {
        Self {
            wanted,
            samples: Vec::new(),
            until: Timestamp::MAX,
        }
    }

    fn add(&mut self, sample: Sample) {
        if sample.at > self.until {
            return;
        }
        self.samples.push(sample);
        if self.samples.len() >= 4 * self.wanted + 1024 {
            self.cut();
        }
    }

    fn cut(&mut self) {
        // Samples of one time stay in the order they came, so that pages of them fit together.
        self.samples.sort_by_key(|sample| sample.at);
        self.samples.truncate(self.wanted);
        if self.samples.len() == self.wanted {
            self.until = self.samples.last().map_or(Timestamp::MAX, |s| s.at);
        }
    }

    fn sorted(mut self) -> Vec<Sample> {
        self.cut();
        self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_of_many_are_kept_in_order() {
        let mut earliest = Earliest::new(3);
        for i in (0..10_000_i64).rev() {
            earliest.add(Sample {
                at: Timestamp::from_nanos(i / 2),
                value: i as f64,
                series: SeriesId(0),
                quality: Quality::Good,
            });
        }
        let kept: Vec<(i64, f64)> = earliest
            .sorted()
            .iter()
            .map(|s| (s.at.nanos(), s.value))
            .collect();
        assert_eq!(kept, [(0, 1.0), (0, 0.0), (1, 3.0)]);
        assert_eq!(
            Place::parse("12.3").map(|p| (p.at.nanos(), p.n)),
            Some((12, 3))
        );
        assert_eq!(Place::parse("12"), None);
    }
}
