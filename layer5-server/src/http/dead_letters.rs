//! Reports that were refused: which, why, and another try.
//! In: paging, numbers. Out: letters with what came; what became of those that were replayed.
//! Invariants: a letter is judged as of the time it came, so waiting does not make it too old; one that is taken, or was
//! known already, is removed once that is durable; one that is refused again comes back under a new number.

use axum::{Json, extract::State};
use layer5_core::Reason;
use layer5_ingest::BodyFormat;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Doors,
    extract::{Body, Query},
    problem::Problem,
    wire::Paging,
};
use crate::{
    clock,
    intake::{Ack, DEAD_LETTER_BYTES, Source},
    store::DeadLetter,
};

/// Most letters of one replay.
const REPLAY_MAX: usize = 1000;

/// `GET /api/v1/dead-letters`.
pub(crate) async fn list(
    State(doors): State<Doors>,
    Query(paging): Query<Paging>,
) -> Result<Json<Value>, Problem> {
    let limit = paging.rows();
    let letters = letters(&doors, paging.after.unwrap_or(0), limit)?;
    let next = (letters.len() == limit)
        .then(|| letters.last().map(|letter| letter.number))
        .flatten();
    let list: Vec<Value> = letters.iter().map(shown).collect();
    Ok(Json(json!({ "dead_letters": list, "next_after": next })))
}

fn letters(doors: &Doors, after: u64, limit: usize) -> Result<Vec<DeadLetter>, Problem> {
    let letters = doors.store.dead_letters(after, limit);
    letters.map_err(|error| Problem::unavailable(format!("dead letters can't be read: {error}")))
}

/// A letter for people and programs; bytes that are no text are shown as far as they are.
pub(crate) fn shown(letter: &DeadLetter) -> Value {
    json!({
        "number": letter.number,
        "at": letter.at,
        "source": letter.source,
        "reason": letter.reason,
        "field": letter.field,
        "detail": letter.detail,
        "raw": String::from_utf8_lossy(&letter.raw),
        "replayable": why_not(letter).is_none(),
    })
}

/// Why a letter can't be tried again.
fn why_not(letter: &DeadLetter) -> Option<&'static str> {
    let first = letter.raw.iter().find(|byte| !byte.is_ascii_whitespace());
    if letter.raw.len() >= DEAD_LETTER_BYTES {
        Some("only its beginning was kept")
    } else if first != Some(&b'{') {
        Some("it is not a JSON object")
    } else {
        None
    }
}

/// Which letters to try again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replay {
    numbers: Vec<u64>,
}

/// `POST /api/v1/dead-letters/replay`.
pub(crate) async fn replay(
    State(doors): State<Doors>,
    Body(Replay { numbers }): Body<Replay>,
) -> Result<Json<Value>, Problem> {
    if numbers.len() > REPLAY_MAX {
        let detail = format!("{} numbers, at most {REPLAY_MAX}", numbers.len());
        return Err(Problem::bad_request(detail));
    }
    let (mut accepted, mut duplicates, mut left) = (0, 0, Vec::new());
    for number in numbers {
        let found = letters(&doors, number.saturating_sub(1), 1)?;
        let letter = found.into_iter().find(|letter| letter.number == number);
        let (n_new, n_known, rejection) = match &letter {
            None => (0, 0, Some("there is no such letter".to_owned())),
            Some(letter) => match why_not(letter) {
                Some(why) => (0, 0, Some(why.to_owned())),
                None => again(&doors, letter).await?,
            },
        };
        accepted += n_new;
        duplicates += n_known;
        left.extend(rejection.map(|detail| json!({ "number": number, "detail": detail })));
    }
    Ok(Json(
        json!({ "accepted": accepted, "duplicates": duplicates, "refused": left }),
    ))
}

/// Tries one letter; returns how many reports were new, how many known, and why it was refused.
async fn again(doors: &Doors, letter: &DeadLetter) -> Result<(u64, u64, Option<String>), Problem> {
    // What was ahead of its time has perhaps been caught up with; everything else is judged as when it came.
    let now = match letter.reason == Reason::TooFarAhead.as_str() {
        true => clock::now(),
        false => letter.at,
    };
    let taken = doors.intake.take(
        &letter.raw,
        BodyFormat::Json,
        Source::Http,
        Ack::Durable,
        now,
    );
    let taken = taken.map_err(|error| {
        Problem::unavailable(format!("letter {} was not taken: {error}", letter.number))
    })?;
    let rejection = taken.rejected.first().map(|(_, rejection)| {
        let field = &rejection.field;
        format!(
            "{}: {field}: {}",
            rejection.reason.as_str(),
            rejection.detail
        )
    });
    let (n_new, n_known) = match taken.durable {
        None => (0, 0),
        Some(durable) => {
            let committed = durable.await.map_err(|_gone| {
                Problem::unavailable("the store failed before a letter was durable, send it again")
            })?;
            (committed.accepted, committed.duplicates)
        }
    };
    // Refused again, it has been kept again.
    doors
        .store
        .remove_dead_letter(letter.number)
        .map_err(|error| Problem::unavailable(error.to_string()))?;
    Ok((n_new, n_known, rejection))
}
