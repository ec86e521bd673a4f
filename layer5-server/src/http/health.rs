//! Health: is the process alive, can it take reports, and how are its parts.
//! Invariants: `/health` says no only when a restart would help; every state that is not ok carries its reason.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::Doors;
use crate::intake::Source;

/// One part's state.
#[derive(Debug, Serialize)]
struct PartState {
    status: &'static str,
    reasons: Vec<String>,
    #[serde(flatten)]
    facts: Value,
}

impl PartState {
    fn of(reasons: Vec<String>, facts: Value) -> Self {
        let status = if reasons.is_empty() { "ok" } else { "degraded" };
        Self {
            status,
            reasons,
            facts,
        }
    }
}

/// `GET /health`.
pub(crate) async fn live(State(doors): State<Doors>) -> Response {
    match doors.is_failed() {
        false => Json(json!({ "status": "ok" })).into_response(),
        true => {
            let body = json!({ "status": "failed", "reasons": ["the store failed"] });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

/// `GET /ready`.
pub(crate) async fn ready(State(doors): State<Doors>) -> Response {
    let reasons = doors.unready_reasons();
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(json!({ "ready": reasons.is_empty(), "reasons": reasons })),
    )
        .into_response()
}

/// `GET /health/kpi`.
pub(crate) async fn kpi(State(doors): State<Doors>) -> Response {
    let gauges = doors.gauges(None);
    let (len, capacity, high) = doors.intake.fill();
    let mut reasons = Vec::new();
    if len * 10 > capacity * 9 {
        reasons.push(format!("the intake holds {len} of {capacity} samples"));
    }
    let lag = gauges.lags.iter().map(|(_, lag)| *lag).reduce(f64::min);
    match lag {
        None => reasons.push("no report has come yet".to_owned()),
        Some(lag) if lag > 300.0 => {
            reasons.push(format!("the newest report was recorded {lag:.0} s ago"));
        }
        Some(_) => {}
    }
    let sources: serde_json::Map<String, Value> = Source::ALL
        .iter()
        .zip(&doors.counters.received)
        .filter(|(_, received)| received.get() > 0)
        .map(|(source, received)| {
            let lag = gauges.lags.iter().find(|(of, _)| of == source);
            let facts =
                json!({ "received": received.get(), "lag_seconds": lag.map(|(_, lag)| lag) });
            (source.as_str().to_owned(), facts)
        })
        .collect();
    let facts = json!({
        "received": doors.counters.received_in_all(),
        "rejected": doors.counters.rejected_in_all(),
        "buffer": { "size": len, "capacity": capacity, "high_watermark": high },
        "lag_seconds": lag,
        "sources": sources,
    });
    Json(PartState::of(reasons, facts)).into_response()
}

/// `GET /health/models`.
pub(crate) async fn models(State(doors): State<Doors>) -> Response {
    let Some(score) = doors.score().await else {
        let body = PartState::of(vec!["the tuner does not answer".to_owned()], json!({}));
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    };
    let mut reasons = Vec::new();
    if doors.config().cohort.is_empty() {
        reasons.push(
            "no [[cohort]] is configured: patterns are found, nothing is recommended".to_owned(),
        );
    } else if score.accuracy.is_none() {
        reasons.push(format!(
            "{} of 20 outcomes that accuracy needs",
            score.evaluated.min(20)
        ));
    }
    Json(PartState::of(reasons, json!({ "score": score }))).into_response()
}

/// `GET /health/integrations`.
pub(crate) async fn integrations(State(doors): State<Doors>) -> Response {
    let gauges = doors.gauges(None);
    let reasons = gauges
        .neighbours
        .iter()
        .filter(|n| n.up == Some(false))
        .map(|n| format!("{} did not answer its last call", n.name))
        .collect();
    let neighbours: Vec<Value> = gauges
        .neighbours
        .iter()
        .map(|n| json!({ "name": n.name, "up": n.up, "errors": n.errors.iter().map(|(_, count)| count).sum::<u64>() }))
        .collect();
    let (depth, oldest) = gauges.outbox;
    let facts = json!({
        "neighbours": neighbours,
        "outbox": { "depth": depth, "oldest_seconds": oldest },
    });
    Json(PartState::of(reasons, facts)).into_response()
}
