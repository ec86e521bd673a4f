//! The fleet falls silent: somebody is paged and acknowledges, so nobody else is. Meanwhile the disk fills.
//! Called from: [`super::run`].

use std::time::Instant;

use super::{
    Lab, Row,
    alarm::{Alarm, nobody_hears},
    keyboard::amtool_shows,
    until, view,
};
use crate::{Failure, progress::say};

const STOPPED: &str = "Layer5IngestionStopped";
/// The share of the disk that is filled: the alert's limit is 85 %.
const FULL: f64 = 0.87;

/// The scene; its rows.
pub(super) fn is_acknowledged(lab: &mut Lab) -> Result<Vec<Row>, Failure> {
    say("the fleet falls silent, the disk fills");
    let mut rows = Vec::new();
    let full = a_disk_fills(lab, &mut rows)?;
    let mut stopped = Alarm::before(lab, "no agent reports", &[(STOPPED, "page")])?;
    lab.fleet.pause();
    stopped.rings(lab)?;
    let acknowledged = Instant::now();
    let silence = acknowledge(lab)?;
    let escalation = format!(
        r#"ALERTS{{alertname="Layer5EscalatedToSecondary",problem="{STOPPED}",alertstate="firing"}}"#
    );
    until("it would escalate", || {
        Ok(!view::query(lab.at.prometheus, &escalation)?.is_empty())
    })?;
    nobody_hears(lab, acknowledged, |told| {
        told.labels["problem"] == STOPPED && told.status == "firing"
    })?;
    let problem = format!("problem={STOPPED}");
    let silenced = ["alert", "query", "--silenced", &problem];
    amtool_shows(lab, &silenced, "Layer5EscalatedToSecondary")?;
    rows.push(Row::link(
        "(acknowledged)",
        "amtool silence add problem=NAME",
        "nobody, nor the next",
    ));
    let healed = Instant::now();
    lab.fleet.resume();
    if let Some(full) = full {
        lab.disk.empty()?;
        rows.extend(full.ends(lab, healed)?);
    }
    rows.extend(stopped.muted().ends(lab, healed)?);
    view::amtool(lab.at.alertmanager, &["silence", "expire", silence.trim()])?;
    Ok(rows)
}

/// The alarm of a disk that is nearly full; `None` where none can be filled, which its row says.
fn a_disk_fills(lab: &Lab, rows: &mut Vec<Row>) -> Result<Option<Alarm>, Failure> {
    let (alert, cause) = ("Layer5ResourceExhaustion", "the disk is 87 % full");
    if !lab.disk.can_be_filled() {
        let why = "nothing may be mounted here, so no disk can be filled";
        rows.push(Row::left_out(alert, cause, why));
        return Ok(None);
    }
    let mut full = Alarm::before(lab, cause, &[(alert, "team")])?;
    lab.disk.fill(FULL)?;
    full.rings(lab)?;
    Ok(Some(full))
}

/// As the runbook says it; the id of the silence.
fn acknowledge(lab: &Lab) -> Result<String, Failure> {
    let problem = format!("problem={STOPPED}");
    view::amtool(
        lab.at.alertmanager,
        &[
            "silence",
            "add",
            &problem,
            "--duration=10m",
            "--author=drill",
            "--comment=taken",
        ],
    )
}
