//! Layer7 refuses everything, reports are malformed, the configuration is refused; then a day passes in which nothing is
//! decided, nothing backed up, and predictions miss.
//! Called from: [`super::run`].

use std::{fs, time::Instant};

use super::{
    super::{cause, view},
    Lab, Row,
    alarm::Alarm,
    keyboard::back_up,
    until,
};
use crate::{Failure, progress::say};

/// A day and a bit, s: predictions of before are another window's then.
const A_DAY: f64 = 27.0 * 3600.0;
/// Outcomes that miss their prediction: more than an accuracy needs.
const MISSES: usize = 24;
/// Outcomes as predicted that are told at once, until the accuracy is good again.
const HITS: usize = 100;
/// No key of the configuration.
const NO_KEY: &str = "\n[no_such_section]\nkey = 1\n";

/// Alerts whose cause has ended, and which end when Layer7 is tried again: up to a minute later.
#[derive(Debug)]
pub(super) struct Recovering {
    healed: Instant,
    alarms: Vec<Alarm>,
}

impl Recovering {
    /// Waits for their end; their rows.
    pub(super) fn ends(self, lab: &Lab) -> Result<Vec<Row>, Failure> {
        let mut rows = Vec::new();
        for alarm in self.alarms {
            rows.extend(alarm.ends(lab, self.healed)?);
        }
        Ok(rows)
    }
}

/// The scene; its rows, and what recovers while the drill goes on.
pub(super) fn refuses(lab: &mut Lab) -> Result<(Vec<Row>, Recovering), Failure> {
    say("Layer7 fails, reports are malformed, a configuration is refused");
    let mut neighbour = Alarm::before(
        lab,
        "Layer7 answers 503",
        &[
            ("Layer5IntegrationFailure", "team"),
            ("Layer5OutboxStalled", "team"),
        ],
    )?;
    lab.fleet.break_layer7(true);
    let mut senders = Alarm::before(
        lab,
        "malformed reports",
        &[("Layer5DataQualityLow", "team")],
    )?;
    cause::bad_reports(lab.at.api, 1000 + lab.fleet.acknowledged() / 8)?;
    let mut config = Alarm::before(
        lab,
        "the configuration gets a key that is none",
        &[("Layer5ConfigReloadFailed", "team")],
    )?;
    let good = fs::read_to_string(&lab.config).map_err(Failure::new)?;
    fs::write(&lab.config, format!("{good}{NO_KEY}")).map_err(Failure::new)?;
    neighbour.rings(lab)?;
    senders.rings(lab)?;
    config.rings(lab)?;
    let healed = Instant::now();
    fs::write(&lab.config, good).map_err(Failure::new)?;
    cause::good_reports(lab.at.api, lab.fleet.acknowledged(), lab.clock.now())?;
    let mut rows = config.ends(lab, healed)?;
    rows.extend(senders.ends(lab, healed)?);

    let day = a_day_passes(lab)?;
    rows.extend(day.rows);

    let healed = Instant::now();
    lab.fleet.break_layer7(false);
    back_up(lab)?;
    let mut alarms = day.alarms;
    alarms.push(neighbour);
    Ok((rows, Recovering { healed, alarms }))
}

/// What a day has set off, and what is over already.
#[derive(Debug, Default)]
struct Day {
    alarms: Vec<Alarm>,
    rows: Vec<Row>,
}

/// Every agent waits for its recommendation to be delivered, so none is decided for and no outcome is the fleet's.
fn a_day_passes(lab: &mut Lab) -> Result<Day, Failure> {
    let mut day = Day::default();
    if !lab.clock.can_move() {
        let why = "faketime is not installed, so no day can pass; ./check.sh tools brings it";
        day.rows = [
            "Layer5OptimizationCoverageLow",
            "Layer5OptimizationAccuracyLow",
            "Layer5ModelDrift",
            "Layer5BackupStale",
        ]
        .map(|alert| Row::left_out(alert, "a day passes", why))
        .to_vec();
        return Ok(day);
    }
    say("a day passes without decisions, predictions miss");
    let mut coverage = Alarm::before(
        lab,
        "a day without decisions",
        &[("Layer5OptimizationCoverageLow", "mail")],
    )?;
    let mut backup = Alarm::before(lab, "no backup for a day", &[("Layer5BackupStale", "team")])?;
    lab.clock.forward(A_DAY)?;
    // What is told before Layer5 looks at its clock again counts for the day before.
    until("Layer5 sees that a day has passed", || {
        let waited = view::query(lab.at.prometheus, "layer5_outbox_oldest_seconds > 80000")?;
        Ok(!waited.is_empty())
    })?;
    let mut predictions = Alarm::before(
        lab,
        "outcomes miss their predictions",
        &[
            ("Layer5OptimizationAccuracyLow", "mail"),
            ("Layer5ModelDrift", "team"),
        ],
    )?;
    cause::outcomes(lab.at.api, MISSES, 0.5, lab.clock.now())?;
    backup.rings(lab)?;
    coverage.rings(lab)?;
    predictions.rings(lab)?;
    say("predictions come true again");
    let healed = Instant::now();
    until("predictions come true", || {
        cause::outcomes(lab.at.api, HITS, 0.0, lab.clock.now())?;
        let good = view::query(lab.at.prometheus, "layer5_optimization_accuracy > 0.95")?;
        Ok(!good.is_empty())
    })?;
    day.rows = predictions.ends(lab, healed)?;
    day.alarms = vec![coverage, backup];
    Ok(day)
}
