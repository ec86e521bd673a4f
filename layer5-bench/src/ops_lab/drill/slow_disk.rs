//! Every durable write takes long and reports keep coming: latency, errors, rings, budgets; nobody acknowledges.
//! Called from: [`super::run`].

use std::time::{Duration, Instant};

use super::{
    super::cause::Flood,
    Lab, Row,
    alarm::{Alarm, MUTED},
    keyboard::amtool_shows,
};
use crate::{Failure, progress::say};

/// How long each durable write of the committer waits: longer than a request may take.
const DELAY: Duration = Duration::from_millis(1500);
/// Senders of single reports.
const SENDERS: usize = 16;

/// The scene; its rows.
pub(super) fn slows_everything(lab: &mut Lab) -> Result<Vec<Row>, Failure> {
    say("the disk gets slow");
    let mut slow = Alarm::before(
        lab,
        "each durable write takes a second and a half",
        &[
            ("Layer5HighLatency", "team"),
            ("Layer5HighErrorRate", "team"),
            ("Layer5BufferNearCapacity", "team"),
            ("Layer5LatencyBurnFast", "page"),
            ("Layer5AvailabilityBurnFast", "page"),
            ("Layer5LatencyBurnSlow", MUTED),
            ("Layer5AvailabilityBurnSlow", MUTED),
        ],
    )?;
    let mut escalation = Alarm::before(
        lab,
        "nobody acknowledges a P0",
        &[
            ("Layer5EscalatedToSecondary", "secondary-contact"),
            ("Layer5EscalatedToDirector", "escalation-contact"),
        ],
    )?;
    let flood = Flood::start(lab.at.api, SENDERS, lab.clock.now());
    let delayed = lab.slow_disk(DELAY)?;
    slow.rings(lab)?;
    for budget in ["Layer5LatencyBurnSlow", "Layer5AvailabilityBurnSlow"] {
        amtool_shows(lab, &["alert", "query", "--inhibited"], budget)?;
    }
    escalation.rings(lab)?;
    let healed = Instant::now();
    drop(delayed);
    drop(flood);
    let mut rows = slow.ends(lab, healed)?;
    rows.extend(escalation.ends(lab, healed)?);
    Ok(rows)
}
