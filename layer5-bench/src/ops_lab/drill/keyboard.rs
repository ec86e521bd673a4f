//! What people do at a keyboard during a drill: `layer5` and `amtool`, as the runbook has them.
//! In: a [`Lab`]. Out: an error with what was printed, when a command fails. Called from: the scenes of a drill.

use std::process::Command;

use super::{Lab, view};
use crate::Failure;

/// `layer5 backup create`.
pub(super) fn back_up(lab: &Lab) -> Result<(), Failure> {
    let url = format!("http://{}", lab.at.api);
    layer5(lab, &["backup", "create", "--url", &url])
}

/// `layer5 ...` with the lab's Alertmanager.
pub(super) fn on_alertmanager(lab: &Lab, arguments: &[&str]) -> Result<(), Failure> {
    let url = format!("http://{}", lab.at.alertmanager);
    layer5(lab, &[arguments, &["--alertmanager", &url]].concat())
}

fn layer5(lab: &Lab, arguments: &[&str]) -> Result<(), Failure> {
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

/// An error unless what amtool prints has `word` in it.
pub(super) fn amtool_shows(lab: &Lab, arguments: &[&str], word: &str) -> Result<bool, Failure> {
    let printed = view::amtool(lab.at.alertmanager, arguments)?;
    match printed.contains(word) {
        true => Ok(true),
        false => Err(Failure::new(format!(
            "amtool {} shows no {word}:\n{printed}",
            arguments.join(" ")
        ))),
    }
}
