//! Every alert, made to fire by its real cause and to resolve again, with the way to whoever is told.
//! In: a running [`Lab`]. Out: a [`Row`] for each alert and for each link of the chain. Called from: the command line,
//! `tests/ops_lab.rs`.
//! Alerts fire in Prometheus; that somebody was told is what the webhook receiver got; what is muted is asked of amtool.
//! Invariants: nothing is told to Prometheus or Alertmanager but by Layer5's own metrics, except what people do:
//! acknowledge, silence, test.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    Lab,
    cause::{self, Flood},
    view,
};
use crate::{Failure, progress::say};

/// How long the fleet must report for a drill.
pub const LASTS: Duration = Duration::from_secs(900);
/// Longest wait for one thing; only failures take it.
const PATIENCE: Duration = Duration::from_secs(150);
/// How often Prometheus is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Whoever must not be told has this long to be told all the same.
const SILENCE: Duration = Duration::from_secs(6);
/// A day and a bit, s: predictions of before are another window's then.
const A_DAY: f64 = 27.0 * 3600.0;

/// What became of one alert, or of one link of the chain.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The alert, or what was tried.
    pub alert: String,
    /// What was done.
    pub cause: &'static str,
    /// From the cause to the alert firing, s.
    pub fired: Option<f64>,
    /// Who was told.
    pub told: String,
    /// From the end of the cause to its resolution, and to the receiver hearing of it, s.
    pub resolved: Option<f64>,
    /// Why it was left out on this machine.
    pub left_out: Option<String>,
}

impl Row {
    /// Whether everything happened that should.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.left_out.is_some() || (self.fired.is_some() && self.resolved.is_some())
    }

    fn link(what: &str, cause: &'static str, told: impl Into<String>) -> Self {
        Self {
            alert: what.to_owned(),
            cause,
            fired: Some(0.0),
            told: told.into(),
            resolved: Some(0.0),
            left_out: None,
        }
    }

    fn left_out(alert: &str, cause: &'static str, why: impl Into<String>) -> Self {
        Self {
            alert: alert.to_owned(),
            cause,
            fired: None,
            told: String::new(),
            resolved: None,
            left_out: Some(why.into()),
        }
    }
}

/// The table of a drill.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut table = format!(
        "{:<30} {:>8} {:>9}  {:<20} {}\n",
        "alert", "fired s", "resolved", "told", "cause"
    );
    let seconds = |s: Option<f64>| s.map_or("-".to_owned(), |s| format!("{s:.1}"));
    for row in rows {
        table += &format!(
            "{:<30} {:>8} {:>9}  {:<20} {}\n",
            row.alert,
            seconds(row.fired),
            seconds(row.resolved),
            row.left_out
                .as_ref()
                .map_or(row.told.as_str(), |_| "left out"),
            row.left_out.as_deref().unwrap_or(row.cause)
        );
    }
    table
}

/// The whole drill.
///
/// # Errors
/// When something can't be caused, or does not happen in time; the message says what was seen instead.
pub fn run(lab: &mut Lab) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    warm_up(lab)?;
    let drift = a_day_with_a_broken_layer7(lab, &mut rows)?;
    a_slow_disk(lab, &mut rows)?;
    predictions_recover(lab, drift, &mut rows)?;
    silence_and_a_full_disk(lab, &mut rows)?;
    what_people_mute(lab, &mut rows)?;
    Ok(rows)
}

/// One alert that is to fire, and the receiver that is to hear of it; an empty one hears nothing, because a graver alert
/// is active.
type Expected = (&'static str, &'static str);

fn warm_up(lab: &Lab) -> Result<(), Failure> {
    say("warming up: reports flow, predictions come true");
    until("the fleet reports", || Ok(lab.fleet.acknowledged() > 2000))?;
    // As many as an accuracy needs, and twice.
    cause::outcomes(lab.at.api, 60, 0.0, lab.clock.now())?;
    until("recommendations reach Layer7", || {
        Ok(lab.fleet.delivered().0 > 20)
    })?;
    back_up(lab)?;
    until("an accuracy is shown", || {
        Ok(!view::query(lab.at.prometheus, "layer5_optimization_accuracy")?.is_empty())
    })
}

/// Layer7 refuses everything, reports are malformed, a day passes without a decision, predictions miss.
/// Returns the rows of what takes an hour (a minute here) to fire.
fn a_day_with_a_broken_layer7(lab: &mut Lab, rows: &mut Vec<Row>) -> Result<Vec<Row>, Failure> {
    say("Layer7 fails, reports are malformed, a day passes");
    let api = lab.at.api;
    let began = Instant::now();
    lab.fleet.break_layer7(true);
    cause::bad_reports(api, 1000 + lab.fleet.acknowledged() / 8)?;
    let mut broken = fires(
        lab,
        began,
        "Layer7 answers 503",
        &[
            ("Layer5IntegrationFailure", "team"),
            ("Layer5OutboxStalled", "team"),
        ],
    )?;
    broken.extend(fires(
        lab,
        began,
        "malformed reports",
        &[("Layer5DataQualityLow", "team")],
    )?);
    let mut drift = Vec::new();
    if lab.clock.can_move() {
        // Every agent waits for its recommendation to be delivered by now, so none is decided for after this.
        let began = Instant::now();
        lab.clock.forward(A_DAY)?;
        // What is told before Layer5 looks at its clock again counts for the day before.
        until("Layer5 sees that a day has passed", || {
            let waited = view::query(lab.at.prometheus, "layer5_outbox_oldest_seconds > 80000")?;
            Ok(!waited.is_empty())
        })?;
        cause::outcomes(api, 60, 0.5, lab.clock.now())?;
        broken.extend(fires(
            lab,
            began,
            "a day without decisions",
            &[("Layer5OptimizationCoverageLow", "mail")],
        )?);
        broken.extend(fires(
            lab,
            began,
            "no backup for a day",
            &[("Layer5BackupStale", "team")],
        )?);
        drift.extend(fires(
            lab,
            began,
            "outcomes miss their predictions",
            &[("Layer5OptimizationAccuracyLow", "mail")],
        )?);
    } else {
        let why = "faketime is not installed, so no day can pass; ./check.sh tools brings it";
        for alert in [
            "Layer5OptimizationCoverageLow",
            "Layer5OptimizationAccuracyLow",
            "Layer5ModelDrift",
            "Layer5BackupStale",
        ] {
            rows.push(Row::left_out(alert, "a day passes", why));
        }
    }
    let healed = Instant::now();
    lab.fleet.break_layer7(false);
    back_up(lab)?;
    let now = lab.clock.now();
    cause::good_reports(api, lab.fleet.acknowledged(), now)?;
    resolve(lab, healed, &mut broken)?;
    rows.extend(broken);
    Ok(drift)
}

/// Every durable write takes seconds, and reports keep coming.
fn a_slow_disk(lab: &mut Lab, rows: &mut Vec<Row>) -> Result<(), Failure> {
    say("the disk gets slow");
    let flood = Flood::start(lab.at.api, 16, lab.clock.now());
    let began = Instant::now();
    let slow = lab.slow_disk(Duration::from_millis(500))?;
    let mut found = fires(
        lab,
        began,
        "each fdatasync takes half a second, a commit several of them",
        &[
            ("Layer5HighLatency", "team"),
            ("Layer5HighErrorRate", "team"),
            ("Layer5BufferNearCapacity", "team"),
            ("Layer5LatencyBurnFast", "page"),
            ("Layer5AvailabilityBurnFast", "page"),
            ("Layer5LatencyBurnSlow", ""),
            ("Layer5AvailabilityBurnSlow", ""),
        ],
    )?;
    let muted = view::amtool(lab.at.alertmanager, &["alert", "query", "--inhibited"])?;
    if !muted.contains("Layer5LatencyBurnSlow") {
        return Err(Failure::new(format!(
            "amtool shows no inhibited LatencyBurnSlow:\n{muted}"
        )));
    }
    found.extend(fires(
        lab,
        began,
        "nobody acknowledges a P0",
        &[
            ("Layer5EscalatedToSecondary", "secondary-contact"),
            ("Layer5EscalatedToDirector", "escalation-contact"),
        ],
    )?);
    let healed = Instant::now();
    drop(slow);
    drop(flood);
    resolve(lab, healed, &mut found)?;
    rows.extend(found);
    Ok(())
}

/// Drift takes its time to fire; then outcomes come as predicted until both are over.
fn predictions_recover(
    lab: &mut Lab,
    mut drift: Vec<Row>,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    if drift.is_empty() {
        return Ok(());
    }
    say("predictions have drifted");
    let began = Instant::now();
    drift.extend(fires(
        lab,
        began,
        "predictions are worse than the day before",
        &[("Layer5ModelDrift", "team")],
    )?);
    let healed = Instant::now();
    let now = lab.clock.now();
    for _ in 0..20 {
        cause::outcomes(lab.at.api, 200, 0.0, now)?;
        let accuracy = view::query(lab.at.prometheus, "layer5_optimization_accuracy")?;
        let newest = accuracy
            .iter()
            .flat_map(|c| &c.points)
            .map(|p| p.1)
            .fold(0.0, f64::max);
        if newest > 0.96 {
            break;
        }
    }
    resolve(lab, healed, &mut drift)?;
    rows.extend(drift);
    Ok(())
}

/// The fleet falls silent: somebody is paged and acknowledges. Meanwhile the disk fills.
fn silence_and_a_full_disk(lab: &mut Lab, rows: &mut Vec<Row>) -> Result<(), Failure> {
    say("the fleet falls silent, the disk fills");
    let began = Instant::now();
    let mut full = match lab.disk.fill(0.87) {
        Ok(()) => fires(
            lab,
            began,
            "the disk is 87 % full",
            &[("Layer5ResourceExhaustion", "team")],
        )?,
        Err(failure) => vec![Row::left_out(
            "Layer5ResourceExhaustion",
            "a full disk",
            failure.message,
        )],
    };
    let began = Instant::now();
    lab.fleet.pause();
    let mut stopped = fires(
        lab,
        began,
        "no agent reports",
        &[("Layer5IngestionStopped", "page")],
    )?;
    let (at, acknowledged) = (lab.at.alertmanager, Instant::now());
    let id = view::amtool(
        at,
        &[
            "silence",
            "add",
            "problem=Layer5IngestionStopped",
            "--duration=10m",
            "--author=drill",
            "--comment=taken",
        ],
    )?;
    until("the unacknowledged alert would escalate", || {
        let escalated = view::query(
            lab.at.prometheus,
            r#"ALERTS{alertname="Layer5EscalatedToSecondary",problem="Layer5IngestionStopped",alertstate="firing"}"#,
        )?;
        Ok(!escalated.is_empty())
    })?;
    nobody_hears(lab, acknowledged, |told| {
        told.labels["problem"] == "Layer5IngestionStopped" && told.status == "firing"
    })?;
    let silenced = view::amtool(
        at,
        &[
            "alert",
            "query",
            "--silenced",
            "problem=Layer5IngestionStopped",
        ],
    )?;
    if !silenced.contains("Layer5EscalatedToSecondary") {
        return Err(Failure::new(format!(
            "the escalation is not silenced:\n{silenced}"
        )));
    }
    rows.push(Row::link(
        "(acknowledged)",
        "amtool silence add problem=NAME",
        "nobody, nor the next",
    ));
    let healed = Instant::now();
    lab.fleet.resume();
    if full.iter().all(|row| row.left_out.is_none()) {
        lab.disk.empty()?;
        resolve(lab, healed, &mut full)?;
    }
    gone(lab, "Layer5IngestionStopped")?;
    view::amtool(at, &["silence", "expire", id.trim()])?;
    for row in &mut stopped {
        row.resolved = Some(healed.elapsed().as_secs_f64());
    }
    rows.extend(full);
    rows.extend(stopped);
    Ok(())
}

/// A maintenance mutes, its end lets through; a Layer5 that is down mutes the rest; a test alert goes the whole way.
fn what_people_mute(lab: &mut Lab, rows: &mut Vec<Row>) -> Result<(), Failure> {
    say("a maintenance; a Layer5 that is down");
    let url = format!("http://{}", lab.at.alertmanager);
    let layer5 = |arguments: &[&str]| layer5(lab, arguments, &url);
    layer5(&["maintenance", "start", "--for", "10m", "--reason", "drill"])?;
    let began = Instant::now();
    lab.kill_redis();
    let mut redis = fires(
        lab,
        began,
        "redis is killed",
        &[("Layer5IntegrationFailure", "")],
    )?;
    nobody_hears(lab, began, |told| told.alert == "Layer5IntegrationFailure")?;
    let silences = view::amtool(lab.at.alertmanager, &["silence", "query"])?;
    if !silences.contains("drill") {
        return Err(Failure::new(format!(
            "amtool shows no maintenance:\n{silences}"
        )));
    }
    let ended = Instant::now();
    let url = format!("http://{}", lab.at.alertmanager);
    self::layer5(lab, &["maintenance", "end"], &url)?;
    hears(lab, ended, "Layer5IntegrationFailure", "team", "firing")?;
    rows.push(Row::link(
        "(maintenance)",
        "layer5 maintenance start, end",
        "nobody, then team",
    ));

    let began = Instant::now();
    lab.kill_blue();
    let mut down = fires(lab, began, "a Layer5 is killed", &[("Layer5Down", "page")])?;
    until("amtool shows what is inhibited", || {
        let muted = view::amtool(lab.at.alertmanager, &["alert", "query", "--inhibited"])?;
        Ok(muted.contains("Layer5IntegrationFailure"))
    })?;
    let muted = Instant::now();
    nobody_hears(lab, muted, |told| told.alert == "Layer5IntegrationFailure")?;
    rows.push(Row::link(
        "(inhibited)",
        "Layer5Down mutes the rest",
        "nobody",
    ));
    let healed = Instant::now();
    lab.start_blue()?;
    resolve(lab, healed, &mut down)?;
    lab.start_redis()?;
    resolve(lab, healed, &mut redis)?;
    rows.extend(down);

    let sent = Instant::now();
    self::layer5(lab, &["alert", "test", "Layer5HighLatency"], &url)?;
    until("the test alert arrives", || {
        let told = lab.receiver.told_since(sent);
        Ok(told
            .iter()
            .any(|t| t.receiver == "team" && t.labels["test"] == "true"))
    })?;
    rows.push(Row::link("(test alert)", "layer5 alert test", "team"));
    Ok(())
}

/// Waits until all of them fire and their receivers were told.
fn fires(
    lab: &Lab,
    since: Instant,
    cause: &'static str,
    expected: &[Expected],
) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for &(alert, receiver) in expected {
        until(&format!("{alert} fires ({cause})"), || {
            Ok(view::firing(lab.at.prometheus)?.contains_key(alert))
        })?;
        let fired = since.elapsed().as_secs_f64();
        if !receiver.is_empty() {
            hears(lab, since, alert, receiver, "firing")?;
        }
        rows.push(Row {
            alert: alert.to_owned(),
            cause,
            fired: Some(fired),
            told: if receiver.is_empty() {
                "(muted)"
            } else {
                receiver
            }
            .to_owned(),
            resolved: None,
            left_out: None,
        });
    }
    Ok(rows)
}

/// Waits until none of them fires any more, and those who were told of it were told of its end.
fn resolve(lab: &Lab, since: Instant, rows: &mut [Row]) -> Result<(), Failure> {
    for row in rows {
        gone(lab, &row.alert)?;
        if row.told != "(muted)" {
            hears(lab, since, &row.alert, &row.told, "resolved")?;
        }
        row.resolved = Some(since.elapsed().as_secs_f64());
    }
    Ok(())
}

fn gone(lab: &Lab, alert: &str) -> Result<(), Failure> {
    until(&format!("{alert} resolves"), || {
        Ok(!view::firing(lab.at.prometheus)?.contains_key(alert))
    })
}

fn hears(
    lab: &Lab,
    since: Instant,
    alert: &str,
    receiver: &str,
    status: &str,
) -> Result<(), Failure> {
    until(
        &format!("{receiver} is told that {alert} is {status}"),
        || {
            let told = lab.receiver.told_since(since);
            Ok(told
                .iter()
                .any(|t| t.alert == alert && t.receiver == receiver && t.status == status))
        },
    )
}

/// Gives whoever must not be told the time to be told.
fn nobody_hears(
    lab: &Lab,
    since: Instant,
    of: impl Fn(&super::receiver::Told) -> bool,
) -> Result<(), Failure> {
    std::thread::sleep(SILENCE);
    match lab.receiver.told_since(since).iter().find(|told| of(told)) {
        None => Ok(()),
        Some(told) => Err(Failure::new(format!("told although muted: {told:?}"))),
    }
}

fn back_up(lab: &Lab) -> Result<(), Failure> {
    call(
        lab,
        &[
            "backup",
            "create",
            "--url",
            &format!("http://{}", lab.at.api),
        ],
    )
}

fn layer5(lab: &Lab, arguments: &[&str], url: &str) -> Result<(), Failure> {
    call(lab, &[arguments, &["--alertmanager", url]].concat())
}

fn call(lab: &Lab, arguments: &[&str]) -> Result<(), Failure> {
    let run = Command::new(&lab.plan.binary)
        .args(arguments)
        .output()
        .map_err(Failure::new)?;
    match run.status.success() {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "layer5 {arguments:?}: {}",
            String::from_utf8_lossy(&run.stderr)
        ))),
    }
}

fn until(what: &str, mut look: impl FnMut() -> Result<bool, Failure>) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        // A part that is slow to answer is asked again.
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
