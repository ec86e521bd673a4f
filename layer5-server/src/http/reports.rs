//! The front door for KPI reports: bytes in, answer out.
//! In: `POST /kpi` and `POST /api/v1/kpi`, one object, an array, NDJSON or bincode, perhaps compressed. Out: 200 with what became
//! of each report once the accepted ones are durable; 400, 413, 415, 429 or 503 with nothing taken.
//! Next on the way: [`crate::intake`], which decodes, validates and claims room in the ring.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
};
use layer5_core::Rejection;
use layer5_ingest::BodyFormat;
use serde::Deserialize;

use super::{
    Doors, body,
    extract::Query,
    gate::Sent,
    problem::Problem,
    wire::{RejectedReport, ReportsAnswer},
};
use crate::{
    clock,
    intake::{Ack, Committed, Source, TakeError, Taken},
};

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Options {
    ack: Option<String>,
}

/// Takes a body of reports.
pub(crate) async fn post_reports(
    State(doors): State<Doors>,
    Query(options): Query<Options>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Json<ReportsAnswer>, Problem> {
    let ack = match options.ack.as_deref() {
        None | Some("durable") => Ack::Durable,
        Some("buffered") => Ack::Buffered,
        Some(other) => {
            let detail = format!("ack={other} is not known, use durable (default) or buffered");
            return Err(Problem::bad_request(detail));
        }
    };
    let deadline = doors.gate.deadline();
    let turn = doors.gate.turn(deadline).await?;
    let (sent, mut held) = sent.whole();
    let bytes = body::decoded(
        &headers,
        &sent,
        doors.config().http.decoded_bytes_max,
        &mut held,
    )?;
    let format = format_of(&headers);
    let taken = loop {
        let (gate, intake) = (&doors.gate, &doors.intake);
        gate.room(intake, bytes.len(), deadline).await?;
        let taken = intake.take(&bytes, format, Source::Http, ack, clock::now());
        // Somebody else was quicker, or its samples are smaller than they look: it waits like everybody.
        match taken {
            Err(TakeError::Full) if gate.may_try_again(deadline).await => {}
            taken => break taken.map_err(refused)?,
        }
    };
    // The samples are in the ring; while the disk is awaited nothing of the body is held.
    drop(bytes);
    drop((sent, held, turn));
    let (committed, rejected) = settled(taken).await?;
    let rejected = rejected
        .into_iter()
        .map(|(index, rejection)| RejectedReport {
            index,
            reason: rejection.reason.as_str(),
            field: rejection.field,
            detail: rejection.detail,
        });
    Ok(Json(ReportsAnswer {
        accepted: committed.accepted,
        duplicates: committed.duplicates,
        rejected: rejected.collect(),
    }))
}

fn format_of(headers: &HeaderMap) -> BodyFormat {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("");
    match content_type.split(';').next().unwrap_or("").trim() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => BodyFormat::Ndjson,
        "application/vnd.layer5.bincode" => BodyFormat::Bincode,
        _ => BodyFormat::Json,
    }
}

/// Waits until what was taken is durable; returns what became of it, and the refused reports.
pub(super) async fn settled(taken: Taken) -> Result<(Committed, Vec<(usize, Rejection)>), Problem> {
    let committed = match taken.durable {
        None => Committed {
            accepted: (taken.n_reports - taken.rejected.len()) as u64,
            duplicates: 0,
        },
        Some(durable) => durable.await.map_err(|_gone| {
            Problem::unavailable("the store failed before this request was durable, send it again")
        })?,
    };
    Ok((committed, taken.rejected))
}

/// The answer when nothing was taken.
pub(super) fn refused(error: TakeError) -> Problem {
    match error {
        TakeError::Body(error) => Problem::bad_request(error.to_string()),
        TakeError::Full => Problem::full(),
        TakeError::TooLarge { .. } => Problem::new(
            axum::http::StatusCode::PAYLOAD_TOO_LARGE,
            "too many samples",
            error.to_string(),
        ),
        TakeError::Closed => Problem::unavailable("layer5 is stopping"),
    }
}
