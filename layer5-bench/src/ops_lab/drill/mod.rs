//! Every alert, made to fire by its real cause and to resolve again, with the way to whoever is told.
//! In: a running [`Lab`]. Out: a [`Row`] for each alert and for each link of the chain. Called from: the command line,
//! `tests/ops_lab.rs`.
//! Alerts fire in Prometheus; that somebody was told is what the webhook receiver got; what is muted is asked of amtool.
//! Invariants: nothing is told to Prometheus or Alertmanager but by Layer5's own metrics, except what people do:
//! acknowledge, silence, test.

mod alarm;
mod keyboard;
mod mutes;
mod neighbour;
mod row;
mod silence;
mod slow_disk;

use std::time::{Duration, Instant};

pub use row::{Row, table};

use super::{Lab, cause, view};
use crate::{Failure, progress::say};

/// How long the fleet must report for a drill.
pub const LASTS: Duration = Duration::from_secs(900);
/// Longest wait for one thing; only failures take it.
const PATIENCE: Duration = Duration::from_secs(150);
/// How often Prometheus is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The whole drill.
///
/// # Errors
/// When something can't be caused, or does not happen in time; the message says what was seen instead.
pub fn run(lab: &mut Lab) -> Result<Vec<Row>, Failure> {
    warm_up(lab)?;
    let (mut rows, recovering) = neighbour::refuses(lab)?;
    rows.extend(slow_disk::slows_everything(lab)?);
    rows.extend(recovering.ends(lab)?);
    say(table(&rows));
    rows.extend(silence::is_acknowledged(lab)?);
    rows.extend(mutes::hold_and_end(lab)?);
    Ok(rows)
}

fn warm_up(lab: &Lab) -> Result<(), Failure> {
    say("warming up: reports flow, predictions come true");
    until("the fleet reports", || Ok(lab.fleet.acknowledged() > 2000))?;
    // As many as an accuracy needs, and twice.
    cause::outcomes(lab.at.api, 60, 0.0, lab.clock.now())?;
    until("recommendations reach Layer7", || {
        Ok(lab.fleet.delivered().0 > 20)
    })?;
    keyboard::back_up(lab)?;
    until("an accuracy is shown", || {
        Ok(!view::query(lab.at.prometheus, "layer5_optimization_accuracy")?.is_empty())
    })
}

/// Looks until it is so; an error is a look that says why it is not so yet.
fn until(what: &str, mut look: impl FnMut() -> Result<bool, Failure>) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let seen = look();
        if matches!(seen, Ok(true)) {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            let said = seen
                .err()
                .map_or(String::new(), |failure| format!(": {}", failure.message));
            return Err(Failure::new(format!(
                "not within {PATIENCE:?}: {what}{said}"
            )));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
