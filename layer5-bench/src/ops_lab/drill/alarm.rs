//! The alerts that one cause sets off: calm before it, firing and told after it, over and told so when it has ended.
//! In: a [`Lab`], the names of alerts and of their receivers. Out: [`Row`]s. Called from: the scenes of a drill.
//! Invariant: an alert that was active before its cause is not counted for it: the cause waits until it is calm.

use std::time::{Duration, Instant};

use super::{super::receiver::Told, Lab, Row, until, view};
use crate::Failure;

/// Whoever must not be told has this long to be told all the same.
const SILENCE: Duration = Duration::from_secs(6);
/// In the place of a receiver: nobody is told, because a graver alert or a person mutes it.
pub(super) const MUTED: &str = "(muted)";

/// What one cause is to set off.
#[derive(Debug)]
pub(super) struct Alarm {
    began: Instant,
    rows: Vec<Row>,
}

impl Alarm {
    /// Waits until none of `expected` is active. The caller brings the cause about next.
    /// `expected`: alerts, each with the receiver that is to hear of it, or [`MUTED`].
    pub(super) fn before(
        lab: &Lab,
        cause: &'static str,
        expected: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        let rows: Vec<Row> = expected
            .iter()
            .map(|&(alert, receiver)| Row {
                alert: alert.to_owned(),
                cause,
                fired: None,
                told: receiver.to_owned(),
                resolved: None,
                left_out: None,
            })
            .collect();
        until(&format!("calm, before {cause}"), || {
            let active = view::active(lab.at.prometheus)?;
            let early: Vec<&str> = names(rows.iter().filter(|row| active.contains(&row.alert)));
            nothing_of(&early, "active already")
        })?;
        Ok(Self {
            began: Instant::now(),
            rows,
        })
    }

    /// Waits until all of them fire and their receivers were told.
    pub(super) fn rings(&mut self, lab: &Lab) -> Result<(), Failure> {
        let (began, cause) = (self.began, self.rows[0].cause);
        until(&format!("told of {cause}"), || {
            let firing = view::firing(lab.at.prometheus)?;
            for row in &mut self.rows {
                if row.fired.is_none() && firing.contains_key(&row.alert) {
                    row.fired = Some(began.elapsed().as_secs_f64());
                }
            }
            let silent = self.rows.iter().filter(|row| row.fired.is_none());
            nothing_of(&names(silent), "does not fire")?;
            let untold = self.rows.iter();
            let untold = untold.filter(|row| self.heard(lab, row, "firing").is_none());
            nothing_of(&names(untold), "is not told of")
        })
    }

    /// Waits until none of them fires any more and those who were told of it were told of its end; `healed` is when the
    /// cause ended.
    pub(super) fn ends(mut self, lab: &Lab, healed: Instant) -> Result<Vec<Row>, Failure> {
        let cause = self.rows[0].cause;
        until(&format!("the end of {cause}"), || {
            let firing = view::firing(lab.at.prometheus)?;
            let over: Vec<Option<Instant>> = self
                .rows
                .iter()
                .map(|row| match firing.contains_key(&row.alert) {
                    true => None,
                    false => self.heard(lab, row, "resolved"),
                })
                .collect();
            for (row, over) in self.rows.iter_mut().zip(over) {
                let since = over.map(|at| at.saturating_duration_since(healed));
                row.resolved = row.resolved.or(since.map(|since| since.as_secs_f64()));
            }
            let left = self.rows.iter().filter(|row| row.resolved.is_none());
            nothing_of(&names(left), "is not told to be over")
        })?;
        Ok(self.rows)
    }

    /// From now on nobody hears of them: they were acknowledged, or are in a maintenance.
    pub(super) fn muted(mut self) -> Self {
        for row in &mut self.rows {
            row.told = format!("{}, then {MUTED}", row.told);
        }
        self
    }

    /// When its receiver was told `status` of an alert, if that is the last it was told; now, for who is told nothing.
    fn heard(&self, lab: &Lab, row: &Row, status: &str) -> Option<Instant> {
        if row.told.ends_with(MUTED) {
            return Some(Instant::now());
        }
        let told = lab.receiver.told_since(self.began);
        let last = told
            .iter()
            .rfind(|t| t.alert == row.alert && t.receiver == row.told)?;
        (last.status == status).then_some(last.at)
    }
}

fn names<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<&'a str> {
    rows.map(|row| row.alert.as_str()).collect()
}

/// `Ok` for no names; else what is the matter with them.
fn nothing_of(names: &[&str], matter: &str) -> Result<bool, Failure> {
    match names.is_empty() {
        true => Ok(true),
        false => Err(Failure::new(format!("{}: {matter}", names.join(", ")))),
    }
}

/// Waits until a receiver was told something since a moment.
pub(super) fn hears(
    lab: &Lab,
    since: Instant,
    what: &str,
    of: impl Fn(&Told) -> bool,
) -> Result<(), Failure> {
    until(what, || Ok(lab.receiver.told_since(since).iter().any(&of)))
}

/// Gives whoever must not be told the time to be told.
pub(super) fn nobody_hears(
    lab: &Lab,
    since: Instant,
    of: impl Fn(&Told) -> bool,
) -> Result<(), Failure> {
    std::thread::sleep(SILENCE);
    match lab.receiver.told_since(since).iter().find(|told| of(told)) {
        None => Ok(()),
        Some(told) => Err(Failure::new(format!("told although muted: {told:?}"))),
    }
}
