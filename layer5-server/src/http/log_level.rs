//! What is logged, while the service runs: `GET` and `PUT /api/v1/log-level`.
//! Invariant: a change lasts until the next one or the next start, and is itself logged.

use axum::{Json, http::StatusCode};
use serde::{Deserialize, Serialize};

use super::{extract::Body, problem::Problem};
use crate::logging::{self, LevelError};

/// The level, as `RUST_LOG` has it.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogLevel {
    /// `info`, `layer5_server=debug,warn`.
    level: String,
}

/// `GET /api/v1/log-level`.
pub(super) async fn show() -> Result<Json<LogLevel>, Problem> {
    let level = logging::level().ok_or(LevelError::NoLog)?;
    Ok(Json(LogLevel { level }))
}

/// `PUT /api/v1/log-level`.
pub(super) async fn change(Body(wanted): Body<LogLevel>) -> Result<Json<LogLevel>, Problem> {
    logging::set_level(&wanted.level)?;
    show().await
}

impl From<LevelError> for Problem {
    fn from(error: LevelError) -> Self {
        match error {
            LevelError::NoLog => Self::new(StatusCode::CONFLICT, "no log", error.to_string()),
            _ => Self::bad_request(format!("level: {error}")),
        }
    }
}
