//! What mutes: a maintenance, whose end lets through; a Layer5 that is down, which mutes the rest. A test alert goes the
//! whole way. Called from: [`super::run`].

use std::time::Instant;

use super::{
    Lab, Row,
    alarm::{Alarm, MUTED, hears, nobody_hears},
    keyboard::{amtool_shows, on_alertmanager},
    until,
};
use crate::{Failure, progress::say};

const FAILURE: &str = "Layer5IntegrationFailure";

/// The scene; its rows.
pub(super) fn hold_and_end(lab: &mut Lab) -> Result<Vec<Row>, Failure> {
    let redis = in_a_maintenance(lab)?;
    let mut rows = vec![Row::link(
        "(maintenance)",
        "layer5 maintenance start, end",
        "nobody, then team",
    )];

    say("a Layer5 that is down");
    let mut down = Alarm::before(lab, "a Layer5 is killed", &[("Layer5Down", "page")])?;
    lab.kill_blue();
    down.rings(lab)?;
    until("amtool shows what is inhibited", || {
        amtool_shows(lab, &["alert", "query", "--inhibited"], FAILURE)
    })?;
    nobody_hears(lab, Instant::now(), |told| told.alert == FAILURE)?;
    rows.push(Row::link(
        "(inhibited)",
        "Layer5Down mutes the rest",
        "nobody",
    ));
    let healed = Instant::now();
    lab.start_blue()?;
    rows.extend(down.ends(lab, healed)?);
    lab.start_redis()?;
    rows.extend(redis.ends(lab, healed)?);

    let sent = Instant::now();
    on_alertmanager(lab, &["alert", "test", "Layer5HighLatency"])?;
    hears(lab, sent, "the test alert arrives", |told| {
        told.receiver == "team" && told.labels["test"] == "true"
    })?;
    rows.push(Row::link("(test alert)", "layer5 alert test", "team"));
    Ok(rows)
}

/// Redis dies unheard, until the maintenance ends.
fn in_a_maintenance(lab: &mut Lab) -> Result<Alarm, Failure> {
    say("a maintenance");
    let mut redis = Alarm::before(lab, "redis is killed", &[(FAILURE, MUTED)])?;
    on_alertmanager(
        lab,
        &["maintenance", "start", "--for", "10m", "--reason", "drill"],
    )?;
    let began = Instant::now();
    lab.kill_redis();
    redis.rings(lab)?;
    nobody_hears(lab, began, |told| told.alert == FAILURE)?;
    amtool_shows(lab, &["silence", "query"], "drill")?;
    let ended = Instant::now();
    on_alertmanager(lab, &["maintenance", "end"])?;
    hears(lab, ended, "team is told after the maintenance", |told| {
        told.alert == FAILURE && told.receiver == "team" && told.status == "firing"
    })?;
    Ok(redis)
}
