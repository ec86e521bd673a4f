//! The API: every route with its role in one table, and the limits that hold for all of them.
//! In: requests on :8080. Out: JSON, or RFC 9457 problems. Called from: `app`.
//! Invariants: no route without a role; bodies, requests under way and their time are bounded; a panic in a handler is
//! a 500 for its caller and nobody else.

mod advice;
mod analysis;
mod backups;
mod body;
mod closing;
mod dead_letters;
mod doors;
mod extract;
mod gate;
mod health;
mod history;
mod incidents;
mod listener;
mod log_feed;
mod log_level;
mod openapi;
mod otlp;
mod problem;
mod remote_write;
mod reports;
mod roles;
mod studies;
mod trail;
mod views;
mod wire;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, post, put},
};
pub(crate) use dead_letters::shown as dead_letter_json;
pub use doors::{Doors, DoorsSetup};
pub(crate) use listener::{Bounds, serve_until};
use problem::Problem;
use roles::Role;
pub(crate) use roles::Tokens;
pub use roles::TokensError;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

/// One line of the API.
struct Route {
    method: &'static str,
    path: &'static str,
    role: Role,
    /// What it does, for the API page.
    summary: &'static str,
    /// Schemas of the request and the answer in `openapi`, empty for none or free form.
    request: &'static str,
    answer: &'static str,
    handler: fn() -> MethodRouter<Doors>,
}

/// The whole API.
#[rustfmt::skip]
const ROUTES: &[Route] = &[
    Route { method: "get", path: "/health", role: Role::Anyone, summary: "Liveness: the process answers", request: "", answer: "", handler: || get(health::live) },
    Route { method: "get", path: "/ready", role: Role::Anyone, summary: "Readiness: reports can be taken", request: "", answer: "", handler: || get(health::ready) },
    Route { method: "get", path: "/health/kpi", role: Role::Reader, summary: "State of ingestion, with reasons", request: "", answer: "", handler: || get(health::kpi) },
    Route { method: "get", path: "/health/models", role: Role::Reader, summary: "State of the studies, with reasons", request: "", answer: "", handler: || get(health::models) },
    Route { method: "get", path: "/health/integrations", role: Role::Reader, summary: "State of the neighbours, with reasons", request: "", answer: "", handler: || get(health::integrations) },
    Route { method: "post", path: "/kpi", role: Role::Sender, summary: "Push reports: an object, an array or NDJSON, either shape", request: "", answer: "ReportsAnswer", handler: || post(reports::post_reports) },
    Route { method: "post", path: "/api/v1/kpi", role: Role::Sender, summary: "Push reports: an object, an array or NDJSON, either shape", request: "", answer: "ReportsAnswer", handler: || post(reports::post_reports) },
    Route { method: "post", path: "/api/v1/write", role: Role::Sender, summary: "Push samples by Prometheus remote write 1.0 (snappy, protobuf)", request: "", answer: "", handler: || post(remote_write::post_write) },
    Route { method: "post", path: "/v1/metrics", role: Role::Sender, summary: "Push metrics by OTLP, protobuf or JSON", request: "", answer: "", handler: || post(otlp::post_metrics) },
    Route { method: "post", path: "/optimize", role: Role::Sender, summary: "Ask for a setting for one agent", request: "OptimizeRequest", answer: "OptimizeAnswer", handler: || post(advice::optimize) },
    Route { method: "post", path: "/analyze", role: Role::Reader, summary: "Find every pattern in a series", request: "AnalyzeRequest", answer: "AnalyzeAnswer", handler: || post(analysis::post_analyze) },
    Route { method: "post", path: "/feedback", role: Role::Sender, summary: "Tell the outcome of a recommendation", request: "FeedbackRequest", answer: "", handler: || post(advice::post_feedback) },
    Route { method: "get", path: "/feedback", role: Role::Sender, summary: "Take the next undelivered recommendation, or 204", request: "", answer: "NextFeedback", handler: || get(advice::next_feedback) },
    Route { method: "get", path: "/optimization-feedback", role: Role::Sender, summary: "Take the next undelivered recommendation, or 204", request: "", answer: "NextFeedback", handler: || get(advice::next_feedback) },
    Route { method: "post", path: "/evolution-feedback", role: Role::Sender, summary: "Tell the outcome of an evolution experiment", request: "EvolutionRequest", answer: "", handler: || post(advice::post_evolution) },
    Route { method: "post", path: "/api/v1/resources", role: Role::Sender, summary: "Tell what resources there are", request: "ResourcesRequest", answer: "", handler: || post(advice::post_resources) },
    Route { method: "get", path: "/api/v1/status", role: Role::Reader, summary: "Everything in one look", request: "", answer: "", handler: || get(views::status) },
    Route { method: "get", path: "/api/v1/patterns", role: Role::Reader, summary: "Patterns found, oldest first", request: "", answer: "", handler: || get(views::patterns) },
    Route { method: "get", path: "/api/v1/incidents", role: Role::Reader, summary: "Incidents, oldest first: what began together, who moved first", request: "", answer: "IncidentsAnswer", handler: || get(incidents::incidents) },
    Route { method: "get", path: "/api/v1/recommendations", role: Role::Reader, summary: "Recommendations, oldest first, with their state", request: "", answer: "", handler: || get(views::recommendations) },
    Route { method: "get", path: "/api/v1/agents", role: Role::Reader, summary: "Agents known", request: "", answer: "", handler: || get(views::agents) },
    Route { method: "get", path: "/api/v1/agents/{id}", role: Role::Reader, summary: "One agent and what its series look like now", request: "", answer: "", handler: || get(views::agent) },
    Route { method: "get", path: "/api/v1/series", role: Role::Reader, summary: "Series known", request: "", answer: "", handler: || get(views::series) },
    Route { method: "get", path: "/api/v1/series/{agent}/{metric}", role: Role::Reader, summary: "One series: its samples from `from` to `to`, or least, greatest, mean and count for each `step` of seconds", request: "", answer: "", handler: || get(history::samples) },
    Route { method: "get", path: "/api/v1/log", role: Role::Reader, summary: "Reports as they became durable, from a position on: for a shadow that follows", request: "", answer: "", handler: || get(log_feed::log) },
    Route { method: "get", path: "/api/v1/dead-letters", role: Role::Operator, summary: "Reports that were refused, oldest first, with what came", request: "", answer: "", handler: || get(dead_letters::list) },
    Route { method: "post", path: "/api/v1/dead-letters/replay", role: Role::Operator, summary: "Send refused reports through the border again: `{\"numbers\": [17, 18]}`", request: "", answer: "", handler: || post(dead_letters::replay) },
    Route { method: "get", path: "/api/v1/backups", role: Role::Operator, summary: "The newest backup, and whether one is being made", request: "", answer: "", handler: || get(backups::state) },
    Route { method: "post", path: "/api/v1/backups", role: Role::Operator, summary: "Begin a backup now", request: "", answer: "", handler: || post(backups::begin) },
    Route { method: "get", path: "/api/v1/studies", role: Role::Reader, summary: "Studies and the best settings they know; those of your own by pages of names, `after` and `limit`", request: "", answer: "", handler: || get(views::studies) },
    Route { method: "post", path: "/api/v1/studies", role: Role::Sender, summary: "Begin a study of your own: the fields of `init`, and its `name`", request: "StudyInit", answer: "", handler: || post(studies::create) },
    Route { method: "get", path: "/api/v1/studies/{id}", role: Role::Reader, summary: "A study of your own with its trials: a page by `after` and `limit`, those in one `state`", request: "", answer: "", handler: || get(studies::study) },
    Route { method: "delete", path: "/api/v1/studies/{id}", role: Role::Sender, summary: "End a study of your own", request: "", answer: "", handler: || delete(studies::delete) },
    Route { method: "post", path: "/api/v1/studies/{id}/ask", role: Role::Sender, summary: "Ask for trials; durable before they are answered", request: "StudyAsk", answer: "", handler: || post(studies::ask) },
    Route { method: "post", path: "/api/v1/studies/{id}/tell", role: Role::Sender, summary: "Tell what came of a trial", request: "StudyTell", answer: "", handler: || post(studies::tell) },
    Route { method: "post", path: "/api/v1/studies/{id}/observe", role: Role::Sender, summary: "Tell a result that was not asked for", request: "StudyObserve", answer: "", handler: || post(studies::observe) },
    Route { method: "post", path: "/api/v1/studies/{id}/intermediate", role: Role::Sender, summary: "Tell what a running trial has reached; the answer says whether to stop it", request: "StudyIntermediate", answer: "", handler: || post(studies::intermediate) },
    Route { method: "post", path: "/api/v1/studies/{id}/learn", role: Role::Sender, summary: "Warm start: take over what another study was told, where it fits", request: "StudyLearn", answer: "", handler: || post(studies::learn) },
    Route { method: "post", path: "/api/v1/studies/{id}/close", role: Role::Sender, summary: "Close a study of your own: it can be read, and nothing told", request: "", answer: "", handler: || post(studies::close) },
    Route { method: "get", path: "/api/v1/studies/{id}/recommend", role: Role::Reader, summary: "The best parameters known", request: "", answer: "", handler: || get(studies::recommend) },
    Route { method: "get", path: "/api/v1/studies/{id}/importances", role: Role::Reader, summary: "How much each parameter matters, by a model of everything told", request: "", answer: "", handler: || get(studies::importances) },
    Route { method: "get", path: "/api/v1/studies/{id}/report", role: Role::Reader, summary: "The study as a page, offline", request: "", answer: "", handler: || get(studies::report) },
    Route { method: "get", path: "/api/v1/experiments", role: Role::Reader, summary: "What is being proven now", request: "", answer: "", handler: || get(views::experiments) },
    Route { method: "get", path: "/api/v1/config", role: Role::Operator, summary: "The configuration in force", request: "", answer: "", handler: || get(views::config) },
    Route { method: "get", path: "/api/v1/log-level", role: Role::Operator, summary: "What is logged", request: "", answer: "LogLevel", handler: || get(log_level::show) },
    Route { method: "put", path: "/api/v1/log-level", role: Role::Operator, summary: "Log something else from now on, until the next start", request: "LogLevel", answer: "LogLevel", handler: || put(log_level::change) },
    Route { method: "get", path: "/openapi.json", role: Role::Anyone, summary: "This API as OpenAPI 3.1", request: "", answer: "", handler: || get(openapi::document) },
    Route { method: "get", path: "/docs", role: Role::Anyone, summary: "This API as a page, offline", request: "", answer: "", handler: || get(openapi::page) },
];

/// The router of the API.
pub(crate) fn router(doors: Doors) -> Router {
    let config = doors.config();
    let limits = &config.http;
    let patience = Duration::from_secs_f64(limits.request_timeout_seconds);
    let body_bytes_max = limits.body_bytes_max;
    let room = Arc::new(Semaphore::new(limits.requests_max));
    let mut router = Router::new();
    for route in ROUTES {
        router = router.route(route.path, (route.handler)());
    }
    router
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(doors.clone(), admit))
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .layer(middleware::from_fn(move |request, next| {
            bounded(Arc::clone(&room), patience, body_bytes_max, request, next)
        }))
        .layer(CatchPanicLayer::custom(
            |_: Box<dyn std::any::Any + Send>| {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Problem::new(status, "a bug in layer5", "the log has the details").into_response()
            },
        ))
        // Outermost, so that it sees what became of every request.
        .layer(middleware::from_fn_with_state(doors.clone(), trail::follow))
        .with_state(doors)
}

/// Lets a request in when its caller's role allows what the route is for.
async fn admit(State(doors): State<Doors>, request: Request, next: Next) -> Response {
    let needed = role_of(request.method(), request.uri().path());
    if let Err(problem) = doors.tokens.admit(request.headers(), needed) {
        return problem.into_response();
    }
    next.run(request).await
}

/// The role of a call; one that no route knows needs none, it is answered 404 or 405.
fn role_of(method: &Method, path: &str) -> Role {
    let fits = |route: &&Route| {
        let mut parts = path.split('/');
        let same = |wanted: &str, part: Option<&str>| match part {
            Some(part) => wanted == part || (wanted.starts_with('{') && !part.is_empty()),
            None => false,
        };
        route
            .path
            .split('/')
            .all(|wanted| same(wanted, parts.next()))
            && parts.next().is_none()
    };
    // HEAD is answered by the GET routes.
    let method = if method == Method::HEAD {
        "GET"
    } else {
        method.as_str()
    };
    let route = ROUTES
        .iter()
        .filter(fits)
        .find(|route| route.method.eq_ignore_ascii_case(method));
    route.map_or(Role::Anyone, |route| route.role)
}

/// Bounds the number of requests under way, their time, and the announced length of their bodies.
async fn bounded(
    room: Arc<Semaphore>,
    patience: Duration,
    body_bytes_max: usize,
    request: Request,
    next: Next,
) -> Response {
    let Ok(_place) = room.try_acquire() else {
        return Problem::unavailable("too many requests are under way (http.requests_max)")
            .into_response();
    };
    let announced = gate::announced(request.headers());
    if announced.is_some_and(|bytes| bytes > body_bytes_max as u64) {
        return Problem::too_large("the body", body_bytes_max).into_response();
    }
    match tokio::time::timeout(patience, next.run(request)).await {
        Ok(response) if response.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            problem_or(response, Problem::too_large("the body", body_bytes_max))
        }
        Ok(response) => response,
        Err(_elapsed) => {
            Problem::unavailable("the request took longer than http.request_timeout_seconds")
                .into_response()
        }
    }
}

/// `response` if it is a problem already, else `problem`.
fn problem_or(response: Response, problem: Problem) -> Response {
    let content_type = response.headers().get(axum::http::header::CONTENT_TYPE);
    match content_type.is_some_and(|value| value == "application/problem+json") {
        true => response,
        false => problem.into_response(),
    }
}

async fn no_such_path(request: Request) -> Problem {
    Problem::not_found(format!("no route {}, see /docs", request.uri().path()))
}

async fn no_such_method(request: Request) -> Problem {
    let detail = format!(
        "{} is not answered at {}, see /docs",
        request.method(),
        request.uri().path()
    );
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed", detail)
}

/// The metrics page on its own port.
pub(crate) fn metrics_router(doors: Doors) -> Router {
    Router::new()
        .route("/metrics", get(metrics_page))
        .fallback(|| async {
            Problem::not_found("only /metrics is here, the API is on http.listen")
        })
        .with_state(doors)
}

async fn metrics_page(State(doors): State<Doors>) -> Response {
    let content_type = [(
        axum::http::header::CONTENT_TYPE,
        "text/plain; version=0.0.4",
    )];
    (content_type, doors.meters.render()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_needs_the_role_of_its_route() {
        assert_eq!(role_of(&Method::POST, "/kpi"), Role::Sender);
        assert_eq!(role_of(&Method::GET, "/api/v1/agents/a-1"), Role::Reader);
        assert_eq!(role_of(&Method::HEAD, "/api/v1/config"), Role::Operator);
        assert_eq!(role_of(&Method::GET, "/api/v1/series/a/b"), Role::Reader);
        assert_eq!(role_of(&Method::GET, "/api/v1/agents/a/b"), Role::Anyone);
        assert_eq!(role_of(&Method::GET, "/api/v1/agents/"), Role::Anyone);
        assert_eq!(role_of(&Method::GET, "/kpi"), Role::Anyone);
        assert_eq!(
            role_of(&Method::POST, "/api/v1/studies/s/ask"),
            Role::Sender
        );
        assert_eq!(role_of(&Method::DELETE, "/api/v1/studies/s"), Role::Sender);
        assert_eq!(
            role_of(&Method::GET, "/api/v1/studies//report"),
            Role::Anyone
        );
    }
}
