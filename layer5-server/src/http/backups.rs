//! Backups: what is known of the newest one, and the wish for one now.

use axum::{Json, extract::State, http::StatusCode};

use super::{Doors, problem::Problem};
use crate::backup::{BackupState, Refused};

/// `GET /api/v1/backups`.
pub(crate) async fn state(State(doors): State<Doors>) -> Json<BackupState> {
    Json(doors.backups.state())
}

/// `POST /api/v1/backups`: begins one and answers at once; it is done when `finished` has risen above the answer's.
pub(crate) async fn begin(
    State(doors): State<Doors>,
) -> Result<(StatusCode, Json<BackupState>), Problem> {
    let conflict = |detail: &str| Problem::new(StatusCode::CONFLICT, "no backup begun", detail);
    let mut state = doors.backups.state();
    doors.backups.ask().map_err(|refused| match refused {
        Refused::NotConfigured => {
            conflict("this service has no repository, set backup.repository in its configuration")
        }
        Refused::Running => conflict("a backup is being made; ask again when it is done"),
    })?;
    state.running = true;
    Ok((StatusCode::ACCEPTED, Json(state)))
}
