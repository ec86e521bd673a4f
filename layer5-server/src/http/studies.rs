//! `/api/v1/studies`: Layer5 as anyone's tuning service.
//! In: the commands of `layer5 optimize` as bodies. Out: its answers. Format: docs/formats.md.
//! Invariants: a command is a record of the log before it is carried out and answered, so no trial is lost; a bounded
//! number of commands is under way, then 429.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Doors,
    extract::{Body, Path, Query},
    problem::Problem,
};
use crate::{
    clock,
    pipeline::Look,
    store::{Control, StudyCommand},
    study_desk::{Command, DELETE, Refusal, Rows},
};

/// Longest name of a study, bytes.
const NAME_BYTES_MAX: usize = 128;
/// Longest command, bytes.
const COMMAND_BYTES_MAX: usize = 1 << 20;

/// Trials of one page, at most and unless told.
const TRIALS_PAGE: usize = 1000;
/// Served studies of one page, at most and unless told.
const SERVED_PAGE: usize = 1000;

/// A page of the served studies.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ServedPage {
    /// Only names after this one.
    after: Option<String>,
    /// At most this many.
    limit: Option<usize>,
}

/// `POST /api/v1/studies`.
pub(crate) async fn create(
    State(doors): State<Doors>,
    Body(mut body): Body<Value>,
) -> Result<Json<Value>, Problem> {
    let name = body
        .as_object_mut()
        .and_then(|fields| fields.remove("name"))
        .and_then(|name| name.as_str().map(str::to_owned))
        .ok_or_else(|| Problem::bad_request("`name` is missing: how the study is to be called"))?;
    let legal = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.contains(|c: char| c.is_control() || c == '/');
    if !legal {
        return Err(Problem::bad_request(format!(
            "name has {} bytes; 1 to {NAME_BYTES_MAX} without control characters and `/`",
            name.len()
        )));
    }
    said(&doors, &name, "init", body).await
}

/// `POST /api/v1/studies/{id}/ask`.
pub(crate) async fn ask(
    State(doors): State<Doors>,
    Path(name): Path<String>,
    Body(body): Body<Value>,
) -> Result<Json<Value>, Problem> {
    said(&doors, &name, "ask", body).await
}

/// `POST /api/v1/studies/{id}/tell`.
pub(crate) async fn tell(
    State(doors): State<Doors>,
    Path(name): Path<String>,
    Body(body): Body<Value>,
) -> Result<Json<Value>, Problem> {
    said(&doors, &name, "tell", body).await
}

/// `POST /api/v1/studies/{id}/observe`.
pub(crate) async fn observe(
    State(doors): State<Doors>,
    Path(name): Path<String>,
    Body(body): Body<Value>,
) -> Result<Json<Value>, Problem> {
    said(&doors, &name, "observe", body).await
}

/// `POST /api/v1/studies/{id}/intermediate`.
pub(crate) async fn intermediate(
    State(doors): State<Doors>,
    Path(name): Path<String>,
    Body(body): Body<Value>,
) -> Result<Json<Value>, Problem> {
    said(&doors, &name, "intermediate", body).await
}

/// `POST /api/v1/studies/{id}/learn`.
pub(crate) async fn learn(
    State(doors): State<Doors>,
    Path(name): Path<String>,
    Body(body): Body<Value>,
) -> Result<Json<Value>, Problem> {
    said(&doors, &name, "learn", body).await
}

/// `POST /api/v1/studies/{id}/close`.
pub(crate) async fn close(
    State(doors): State<Doors>,
    Path(name): Path<String>,
    Body(body): Body<Value>,
) -> Result<Json<Value>, Problem> {
    said(&doors, &name, "close", body).await
}

/// `DELETE /api/v1/studies/{id}`.
pub(crate) async fn delete(
    State(doors): State<Doors>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    logged(&doors, &name, DELETE.to_owned()).await
}

/// `GET /api/v1/studies/{id}`.
pub(crate) async fn study(
    State(doors): State<Doors>,
    Path(name): Path<String>,
    Query(rows): Query<Rows>,
) -> Result<Json<Value>, Problem> {
    let limit = rows.limit.unwrap_or(TRIALS_PAGE).clamp(1, TRIALS_PAGE);
    let rows = Rows {
        limit: Some(limit),
        ..rows
    };
    looked(&doors, Look::Study(name, rows)).await.map(Json)
}

/// `GET /api/v1/studies/{id}/importances`.
pub(crate) async fn importances(
    State(doors): State<Doors>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    looked(&doors, Look::Importances(name)).await.map(Json)
}

/// `GET /api/v1/studies/{id}/recommend`.
pub(crate) async fn recommend(
    State(doors): State<Doors>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    looked(&doors, Look::Recommend(name)).await.map(Json)
}

/// `GET /api/v1/studies/{id}/report`.
pub(crate) async fn report(
    State(doors): State<Doors>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let page = looked(&doors, Look::Report(name)).await?;
    let content_type = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    Ok((content_type, page.as_str().unwrap_or_default().to_owned()).into_response())
}

/// A page of the served studies, for the list of all.
pub(super) async fn served(doors: &Doors, page: ServedPage) -> Result<Value, Problem> {
    let limit = page.limit.unwrap_or(SERVED_PAGE).clamp(1, SERVED_PAGE);
    looked(doors, Look::List(page.after, limit)).await
}

/// A body as a command, checked, logged, carried out.
async fn said(doors: &Doors, name: &str, cmd: &str, body: Value) -> Result<Json<Value>, Problem> {
    let mut body = match body {
        Value::Null => json!({}),
        other => other,
    };
    let fields = body
        .as_object_mut()
        .ok_or_else(|| Problem::bad_request("the body is a JSON object"))?;
    fields.insert("cmd".into(), cmd.into());
    let text = body.to_string();
    if text.len() > COMMAND_BYTES_MAX {
        return Err(Problem::too_large("the command", COMMAND_BYTES_MAX));
    }
    // What can't be understood is no happening and stays out of the log.
    serde_json::from_str::<Command>(&text)
        .map_err(|error| Problem::bad_request(error.to_string()))?;
    logged(doors, name, text).await
}

async fn logged(doors: &Doors, name: &str, command: String) -> Result<Json<Value>, Problem> {
    let ticket = Uuid::new_v4();
    let answer = doors.expect_study_answer(ticket)?;
    let command = StudyCommand {
        ticket,
        study: name.to_owned(),
        command,
        at: clock::now(),
    };
    if let Err(problem) = doors.tell(Control::Study(command)).await {
        doors.forget_study_answer(ticket);
        return Err(problem);
    }
    let answer = answer
        .await
        .map_err(|_gone| Problem::unavailable("layer5 is stopping"))?;
    answer.map(Json).map_err(refused)
}

async fn looked(doors: &Doors, look: Look) -> Result<Value, Problem> {
    let answer = doors
        .look_at_studies(look)
        .await
        .ok_or_else(|| Problem::unavailable("the studies do not answer"))?;
    answer.map_err(refused)
}

fn refused(refusal: Refusal) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        Refusal::NoSuchStudy(_) => Problem::not_found(detail),
        Refusal::Exists(_) => Problem::new(StatusCode::CONFLICT, "there is one already", detail),
        Refusal::Full => Problem::new(StatusCode::INSUFFICIENT_STORAGE, "no room", detail),
        Refusal::Command(_) => Problem::bad_request(detail),
    }
}
