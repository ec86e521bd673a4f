//! The door for OpenTelemetry: metrics by OTLP over HTTP.
//! In: `POST /v1/metrics`, an `ExportMetricsServiceRequest` as protobuf or JSON, perhaps gzipped. Out: 200 when all of it is
//! durable, with `partial_success` when points were refused; 429 or 503 with nothing taken, which senders try again.
//! Next on the way: [`layer5_ingest::decode_otlp`], [`crate::intake`].
//! Reference: OTLP specification 1.x, "OTLP/HTTP Response".

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use layer5_ingest::{decode_otlp, decode_otlp_json};
use serde_json::json;

use super::{
    Doors, body,
    gate::Sent,
    problem::Problem,
    remote_write::named,
    reports::{refused, settled},
};
use crate::{
    clock,
    intake::{Ack, Source, TakeError},
};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// Takes a request.
pub(crate) async fn post_metrics(
    State(doors): State<Doors>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Problem> {
    let in_force = doors.config();
    let config = &in_force.sources.otlp;
    if !config.enabled {
        return Err(Problem::not_found("sources.otlp.enabled is false"));
    }
    let form = form_of(&headers)?;
    let deadline = doors.gate.deadline();
    let turn = doors.gate.turn(deadline).await?;
    let (sent, mut held) = sent.whole();
    let bytes = body::decoded(&headers, &sent, in_force.http.decoded_bytes_max, &mut held)?;
    let mut limits = (*doors.intake.limits()).clone();
    limits.report.metric_bytes_max = config.metric_bytes_max;
    let n_expected = bytes.len() / 64;
    let (attribute, decode) = (&config.agent_attribute, &limits.decode);
    let taken = loop {
        let room = doors.gate.room(&doors.intake, bytes.len(), deadline);
        room.await?;
        let taken = doors.intake.take_with(
            Source::Otlp,
            Ack::Durable,
            clock::now(),
            &limits.report,
            n_expected,
            |sink| match form {
                PROTOBUF => decode_otlp(&bytes, attribute, decode, sink),
                _ => decode_otlp_json(&bytes, attribute, decode, sink),
            },
        );
        match taken {
            Err(TakeError::Full) if doors.gate.may_try_again(deadline).await => {}
            taken => break taken.map_err(refused)?,
        }
    };
    drop(bytes);
    drop((sent, held, turn));
    let (_committed, rejected) = settled(taken).await?;
    let (n_refused, words) = (rejected.len(), named(&rejected));
    let answer = match form {
        PROTOBUF => partial_success(n_refused, &words),
        _ if n_refused == 0 => b"{}".to_vec(),
        // JSON has 64-bit numbers as text.
        _ => json!({ "partialSuccess": {
            "rejectedDataPoints": n_refused.to_string(), "errorMessage": words,
        }})
        .to_string()
        .into_bytes(),
    };
    Ok(([(header::CONTENT_TYPE, form)], answer).into_response())
}

fn form_of(headers: &HeaderMap) -> Result<&'static str, Problem> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("");
    match content_type.split(';').next().unwrap_or("").trim() {
        PROTOBUF => Ok(PROTOBUF),
        JSON => Ok(JSON),
        other => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unknown content type",
            format!("Content-Type `{other}` is not known, use {PROTOBUF} or {JSON}"),
        )),
    }
}

/// An `ExportMetricsServiceResponse`; empty when nothing was refused.
fn partial_success(n_refused: usize, words: &str) -> Vec<u8> {
    if n_refused == 0 {
        return Vec::new();
    }
    let mut inner = vec![1 << 3];
    varint(&mut inner, n_refused as u64);
    inner.push(2 << 3 | 2);
    varint(&mut inner, words.len() as u64);
    inner.extend_from_slice(words.as_bytes());
    let mut out = vec![1 << 3 | 2];
    varint(&mut out, inner.len() as u64);
    out.extend_from_slice(&inner);
    out
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_success_is_a_message_in_a_message() {
        assert_eq!(partial_success(0, "x"), b"");
        assert_eq!(
            partial_success(300, "no"),
            b"\x0a\x07\x08\xac\x02\x12\x02no"
        );
    }
}
