//! The door for Prometheus: samples by remote write 1.0.
//! In: `POST /api/v1/write`, a `WriteRequest` in protobuf, snappy-compressed. Out: 204 when all of it is durable; 400 with
//! what was refused, the rest being durable, which Prometheus does not send again; 503 with nothing taken, which it does.
//! Next on the way: [`layer5_ingest::decode_remote_write`], [`crate::intake`].
//! A full intake is 503 here and not 429, because Prometheus gives up on a 429 unless it is told otherwise.
//! Reference: Prometheus Remote-Write 1.0 specification, "Retries & Backoff".

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
use layer5_core::Rejection;
use layer5_ingest::decode_remote_write;

use super::{
    Doors, body,
    gate::Sent,
    problem::Problem,
    reports::{refused, settled},
};
use crate::{
    clock,
    intake::{Ack, Source, TakeError},
};

/// Refused samples that an answer names.
const NAMED_MAX: usize = 3;

/// Takes a write request.
pub(crate) async fn post_write(
    State(doors): State<Doors>,
    headers: HeaderMap,
    sent: Result<Sent, Problem>,
) -> Result<StatusCode, Problem> {
    let in_force = doors.config();
    let config = &in_force.sources.remote_write;
    if !config.enabled {
        return Err(Problem::not_found("sources.remote_write.enabled is false"));
    }
    let sent = sent.map_err(sent_again)?;
    let content_type = headers.get(header::CONTENT_TYPE);
    if content_type.is_some_and(|t| t.as_bytes().ends_with(b"io.prometheus.write.v2.Request")) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unknown message",
            "remote write 2.0 is not taken, use prometheus.WriteRequest (1.0)",
        ));
    }
    let deadline = doors.gate.deadline();
    let turn = doors.gate.turn(deadline).await.map_err(sent_again)?;
    let (sent, mut held) = sent.whole();
    let bytes =
        body::snappy(&sent, in_force.http.decoded_bytes_max, &mut held).map_err(sent_again)?;
    let mut limits = (*doors.intake.limits()).clone();
    limits.report.metric_bytes_max = config.metric_bytes_max;
    let n_expected = bytes.len() / 32;
    let (label, decode) = (&config.agent_label, &limits.decode);
    let taken = loop {
        let room = doors.gate.room(&doors.intake, bytes.len(), deadline);
        room.await.map_err(sent_again)?;
        let taken = doors.intake.take_with(
            Source::RemoteWrite,
            Ack::Durable,
            clock::now(),
            &limits.report,
            n_expected,
            |sink| decode_remote_write(&bytes, label, decode, sink),
        );
        match taken {
            Err(TakeError::Full) if doors.gate.may_try_again(deadline).await => {}
            taken => break taken.map_err(refused).map_err(sent_again)?,
        }
    };
    drop(bytes);
    drop((sent, held, turn));
    let (_committed, rejected) = settled(taken).await?;
    if rejected.is_empty() {
        return Ok(StatusCode::NO_CONTENT);
    }
    let detail = format!(
        "{} samples were refused, the others are stored: {}",
        rejected.len(),
        named(&rejected)
    );
    Err(Problem::bad_request(detail))
}

/// A refusal that passes, as one that Prometheus tries again.
fn sent_again(problem: Problem) -> Problem {
    match problem.status {
        StatusCode::TOO_MANY_REQUESTS => Problem::unavailable(problem.detail),
        _ => problem,
    }
}

/// The first of them in words.
pub(super) fn named(rejected: &[(usize, Rejection)]) -> String {
    let words = rejected.iter().take(NAMED_MAX).map(|(_, r)| r.to_string());
    let more = if rejected.len() > NAMED_MAX {
        "; ..."
    } else {
        ""
    };
    words.collect::<Vec<_>>().join("; ") + more
}
