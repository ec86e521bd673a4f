//! The trail of a request: its id, in every line that is logged while it is served and in its answer, and one line for
//! each that failed or was slow. Refusals and failures are counted here too, whichever layer answered them.
//! In: `X-Request-Id` of the caller, where it has one that can be shown. Out: the same header in the answer.
//! Called from: [`super::router`].
//! Invariants: lines name the route, never the address as sent, and no header or body: those may hold secrets.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    middleware::Next,
    response::Response,
};
use tracing::Instrument;

use super::Doors;
use crate::{clock, counters::Component};

/// Where the id stands.
const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id of a caller that is taken over, bytes.
const ID_BYTES_MAX: usize = 64;
/// What takes longer is logged: the service level of the slowest call, a Bayesian decision.
const SLOW: Duration = Duration::from_millis(500);

/// Serves a request under its id.
pub(super) async fn follow(State(doors): State<Doors>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = given(request.headers()).unwrap_or_else(fresh);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("none", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", request_id = id);
    let mut response = next.run(request).instrument(span.clone()).await;
    let (took, status) = (began.elapsed(), response.status().as_u16());
    let took_ms = took.as_micros() as f64 / 1e3;
    let is_refused = response.status() == StatusCode::TOO_MANY_REQUESTS;
    if is_refused {
        // Once for each sender that was told to come again, however often room was looked for.
        doors.counters.buffer_rejected.add(1);
    }
    if response.status().is_server_error() {
        doors.counters.error(Component::Http);
    }
    span.in_scope(|| {
        if response.status().is_server_error() {
            tracing::warn!(%method, route, status, took_ms, "request failed");
        } else if took >= SLOW && !is_refused {
            // Whoever is refused has waited for room first, and there are many when there is none.
            tracing::warn!(%method, route, status, took_ms, "request was slow");
        } else {
            tracing::debug!(%method, route, status, took_ms, "request served");
        }
    });
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, id);
    }
    response
}

/// The caller's own id, when it is short and harmless.
fn given(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(HEADER)?.to_str().ok()?;
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    let fits = (1..=ID_BYTES_MAX).contains(&id.len()) && id.chars().all(harmless);
    fits.then(|| id.to_owned())
}

/// An id of our own: when, and the how manieth of this process, so that two processes do not say the same.
fn fresh() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let second = clock::now().millis() / 1000;
    format!("{second:x}-{:x}", NEXT.fetch_add(1, Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_over_only_when_it_can_be_shown() {
        let headers = |id: &str| {
            [(HEADER, id.parse().expect("a header"))]
                .into_iter()
                .collect()
        };
        assert_eq!(
            given(&headers("trace-17:b_2.x")),
            Some("trace-17:b_2.x".to_owned())
        );
        for bad in ["", "a b", "\"}", &"x".repeat(65)] {
            assert_eq!(given(&headers(bad)), None, "{bad}");
        }
        assert_ne!(fresh(), fresh());
    }
}
