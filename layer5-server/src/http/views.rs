//! Looks inside: status, patterns, recommendations, agents, series, studies, experiments, configuration.
//! In: paging and filters. Out: JSON lists, oldest first, with `next_after` for the next page.
//! Invariants: no list is longer than a page; reading never stops the committer.

use axum::{Json, extract::State};
use layer5_core::{AgentId, PatternKind, Reason, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Doors,
    extract::{Path, Query},
    problem::Problem,
    wire::Paging,
};
use crate::store::PatternQuery;

/// `GET /api/v1/status`.
pub(crate) async fn status(State(doors): State<Doors>) -> Json<Value> {
    let score = doors.score().await.unwrap_or_default();
    let gauges = doors.gauges(None);
    let totals = doors.store.totals();
    let counters = &doors.counters;
    let by_reason = Reason::ALL.iter().zip(&counters.rejected);
    let rejected: Map<String, Value> = by_reason
        .filter(|(_, n)| n.get() > 0)
        .map(|(reason, n)| (reason.as_str().to_owned(), n.get().into()))
        .collect();
    let by_kind = PatternKind::ALL.iter().zip(&counters.patterns);
    let patterns: Map<String, Value> = by_kind
        .filter(|(_, n)| n.get() > 0)
        .map(|(kind, n)| (kind.as_str().to_owned(), n.get().into()))
        .collect();
    let issued: u64 = score.issued.values().sum();
    let (pending, oldest) = gauges.outbox;
    let delivered = doors
        .store
        .outbox_depth()
        .map_or(0, |(depth, issued)| issued - depth.min(issued));
    let ack = doors.meters.ack_percentiles();
    let followed = doors.followed();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "color": doors.config.color,
        "role": doors.config.role,
        "epoch": doors.store.epoch(),
        "ready": doors.unready_reasons().is_empty(),
        "uptime_seconds": doors.meters.uptime().as_secs_f64(),
        "data_dir": doors.config.store.data_dir,
        "reports": {
            "received": counters.received_in_all(),
            "stored": totals.reports,
            "processed": counters.processed.get(),
            "duplicates": counters.duplicates.get(),
            "rejected": rejected,
        },
        "samples": { "stored": totals.samples, "processed": counters.samples_processed.get() },
        "errors": counters.errors.iter().map(crate::counters::Count::get).sum::<u64>(),
        "log_seq": totals.last_seq,
        "followed_seq": followed,
        "agents": gauges.agents,
        "series": gauges.series,
        "patterns": patterns,
        "incidents": super::incidents::in_short(&doors).await,
        "recommendations": {
            "issued": issued,
            "issued_by": score.issued,
            "delivered": delivered,
            "pending": pending,
            "oldest_pending_seconds": oldest,
            "evaluated": score.evaluated,
        },
        "optimization": {
            "accuracy": score.accuracy,
            "direction_hit_ratio": score.direction_hit_ratio,
            "interval_coverage": score.interval_coverage,
            "avg_improvement": score.mean_improvement,
            "coverage": score.coverage,
        },
        "ingest_ms": { "p50": ack.map(|(p50, _)| p50), "p99": ack.map(|(_, p99)| p99) },
    }))
}

/// Filters of the list of patterns.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct PatternFilter {
    after: Option<u64>,
    limit: Option<usize>,
    kind: Option<String>,
    agent_id: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// `GET /api/v1/patterns`.
pub(crate) async fn patterns(
    State(doors): State<Doors>,
    Query(filter): Query<PatternFilter>,
) -> Result<Json<Value>, Problem> {
    let kind = match &filter.kind {
        None => None,
        Some(name) => Some(kind_of(name)?),
    };
    let limit = Paging {
        after: None,
        limit: filter.limit,
    }
    .rows();
    let query = PatternQuery {
        after: filter.after,
        limit,
        kind,
        agent_id: filter.agent_id,
        from: time("from", filter.from.as_deref())?,
        to: time("to", filter.to.as_deref())?,
    };
    let found = doors
        .store
        .patterns(&query)
        .map_err(|error| Problem::unavailable(format!("patterns can't be read: {error}")))?;
    let next = (found.len() == limit)
        .then(|| found.last().map(|event| event.id))
        .flatten();
    Ok(Json(json!({ "patterns": found, "next_after": next })))
}

fn kind_of(name: &str) -> Result<PatternKind, Problem> {
    PatternKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == name)
        .ok_or_else(|| {
            let known: Vec<_> = PatternKind::ALL.iter().map(|kind| kind.as_str()).collect();
            Problem::bad_request(format!(
                "kind `{name}` is not known, use one of {}",
                known.join(", ")
            ))
        })
}

/// A time of a query, in either form.
pub(super) fn time(field: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let parsed = Timestamp::parse_rfc3339(text)
        .or_else(|| text.parse().ok().and_then(Timestamp::from_seconds));
    parsed.map(Some).ok_or_else(|| {
        Problem::bad_request(format!(
            "{field} = `{text}` is neither RFC 3339 nor seconds since the epoch"
        ))
    })
}

/// `GET /api/v1/recommendations`.
pub(crate) async fn recommendations(
    State(doors): State<Doors>,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let limit = paging.rows();
    let rows = doors
        .store
        .recommendations(paging.after.unwrap_or(0), limit)
        .map_err(|error| Problem::unavailable(format!("recommendations can't be read: {error}")))?;
    let next = (rows.len() == limit)
        .then(|| rows.last().map(|row| row.number))
        .flatten();
    let list: Vec<Value> = rows
        .into_iter()
        .map(|row| {
            let recommendation = &row.stored.recommendation;
            let mut value = serde_json::to_value(recommendation).expect("plain data is JSON");
            value["number"] = row.number.into();
            value["state"] = serde_json::to_value(row.state).expect("a word is JSON");
            let observed = row
                .evaluation
                .map(|evaluation| evaluation.observed_improvement);
            value["observed_improvement"] = observed.into();
            value["proposed_by"] = row.stored.proposed_by.into();
            value["study"] = row.stored.study.into();
            value["trial"] = row.stored.trial.into();
            value
        })
        .collect();
    Ok(Json(json!({ "recommendations": list, "next_after": next })))
}

/// `GET /api/v1/agents`; `after` is the number of the last agent of the page before.
pub(crate) async fn agents(
    State(doors): State<Doors>,
    Query(paging): Query<Paging>,
) -> Json<Value> {
    let names = doors.names.read().expect("no writer panics with the lock");
    let from = paging.after.map_or(0, |after| after as usize + 1);
    let limit = paging.rows();
    let list: Vec<Value> = names
        .agents_from(from.min(names.n_agents()))
        .take(limit)
        .map(|(id, name)| {
            json!({
                "number": id.0,
                "agent_id": name,
                "host": names.host(id),
                "series": names.series_of(id).count(),
            })
        })
        .collect();
    let next = (list.len() == limit).then(|| from + limit - 1);
    Json(json!({ "agents": list, "total": names.n_agents(), "next_after": next }))
}

/// `GET /api/v1/agents/{id}`.
pub(crate) async fn agent(
    State(doors): State<Doors>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let stranger = || {
        let shown: String = name.chars().take(128).collect();
        Problem::not_found(format!(
            "agent `{shown}` has not reported, see /api/v1/agents"
        ))
    };
    let (agent, host) = {
        let names = doors.names.read().expect("no writer panics with the lock");
        let agent = names.lookup_agent(&name).ok_or_else(stranger)?;
        (agent, names.host(agent).map(str::to_owned))
    };
    let views = doors.series_of(agent).await.ok_or_else(stranger)?;
    let names = doors.names.read().expect("no writer panics with the lock");
    let series: Vec<Value> = views
        .iter()
        .map(|view| {
            let state = &view.state;
            json!({
                "metric": names.metric_name(view.metric),
                "n": state.n,
                "last_value": state.last_value,
                "last_at": state.last_at,
                "level": state.level,
                "scale": state.scale,
                "baseline": state.baseline,
                "trend": state.trend,
                "trend_per_hour": state.trend_per_hour,
                "period_seconds": state.period_seconds,
                "spacing_seconds": state.spacing_seconds,
            })
        })
        .collect();
    Ok(Json(
        json!({ "agent_id": name, "host": host, "series": series }),
    ))
}

/// `GET /api/v1/series`; `after` is the number of the last series of the page before.
pub(crate) async fn series(
    State(doors): State<Doors>,
    Query(paging): Query<Paging>,
) -> Json<Value> {
    let names = doors.names.read().expect("no writer panics with the lock");
    let from = paging.after.map_or(0, |after| after as usize + 1);
    let limit = paging.rows();
    let list: Vec<Value> = names
        .series_from(from.min(names.n_series()))
        .take(limit)
        .map(|(id, key)| {
            let agent: AgentId = key.agent;
            json!({
                "number": id.0,
                "agent_id": names.agent_name(agent),
                "metric": names.metric_name(key.metric),
            })
        })
        .collect();
    let next = (list.len() == limit).then(|| from + limit - 1);
    Json(json!({ "series": list, "total": names.n_series(), "next_after": next }))
}

/// `GET /api/v1/studies`.
pub(crate) async fn studies(State(doors): State<Doors>) -> Result<Json<Value>, Problem> {
    let studies = doors.studies().await;
    let studies = studies.ok_or_else(|| Problem::unavailable("the tuner does not answer"))?;
    let served = super::studies::served(&doors).await?;
    Ok(Json(json!({ "studies": studies, "served": served })))
}

/// `GET /api/v1/experiments`: the rollouts that are being proven.
pub(crate) async fn experiments(State(doors): State<Doors>) -> Result<Json<Value>, Problem> {
    let studies = doors.studies().await;
    let studies = studies.ok_or_else(|| Problem::unavailable("the tuner does not answer"))?;
    let experiments: Vec<Value> = studies
        .iter()
        .filter_map(|study| {
            study
                .experiment
                .as_ref()
                .map(|e| json!({ "study": study.name, "experiment": e }))
        })
        .collect();
    Ok(Json(json!({ "experiments": experiments })))
}

/// `GET /api/v1/config`: there are no secrets in it, only the names of their files.
pub(crate) async fn config(State(doors): State<Doors>) -> Json<Value> {
    Json(serde_json::to_value(&*doors.config).expect("a configuration is JSON"))
}
