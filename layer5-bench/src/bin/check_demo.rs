//! Whether a demo did what a demo must do.
//! In: the JSON of `layer5 demo --output json` on standard input. Out: one line for each thing that is wrong, and exit
//! code 1 if there is one. Called from: `check.sh`.
//!
//! A demo fails by itself when reports are lost; here stands what a short run must show besides. Shares that need a
//! long run to mean anything (precision, improvement) are left to long runs.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its output is its result"
)]

use std::{
    io::{self, Read},
    process::ExitCode,
};

use serde::Deserialize;

/// What is looked at of a demo's results; a field that is missing is an error of its own.
#[derive(Debug, Deserialize)]
struct Demo {
    reports: Reports,
    incidents: Vec<Incident>,
    recommendations: Recommendations,
    breaches: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Reports {
    acknowledged: u64,
    stored: Option<u64>,
    lost: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Incident {
    kind: String,
    planted: u64,
    found: u64,
}

#[derive(Debug, Deserialize)]
struct Recommendations {
    delivered: u64,
}

fn main() -> ExitCode {
    let mut text = String::new();
    if let Err(error) = io::stdin().read_to_string(&mut text) {
        eprintln!("check_demo: standard input: {error}");
        return ExitCode::FAILURE;
    }
    println!("{}", text.trim_end());
    match faults(&text) {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            for fault in faults {
                eprintln!("check_demo: {fault}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("check_demo: not the results of a demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is wrong with the results in `text`.
fn faults(text: &str) -> Result<Vec<String>, serde_json::Error> {
    let demo: Demo = serde_json::from_str(text)?;
    let mut faults = demo.breaches;
    let mut demand = |holds: bool, otherwise: String| faults.extend((!holds).then_some(otherwise));
    let Reports {
        acknowledged,
        stored,
        lost,
    } = demo.reports;
    demand(acknowledged > 0, "no report was acknowledged".into());
    demand(
        lost == Some(0),
        format!("lost is {lost:?} of {acknowledged} acknowledged, {stored:?} stored"),
    );
    let (planted, found) = demo
        .incidents
        .iter()
        .filter(|incident| incident.kind == "level_shift")
        .fold((0, 0), |(planted, found), incident| {
            (planted + incident.planted, found + incident.found)
        });
    demand(planted > 0, "no level shift was planted".into());
    demand(
        found == planted,
        format!("{found} of {planted} level shifts were found"),
    );
    demand(
        demo.recommendations.delivered > 0,
        "no recommendation was delivered".into(),
    );
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{
        "reports": {"acknowledged": 10, "stored": 10, "lost": 0},
        "incidents": [
            {"kind": "spike", "planted": 3, "found": 1},
            {"kind": "level_shift", "planted": 2, "found": 2}
        ],
        "recommendations": {"delivered": 1},
        "breaches": []
    }"#;

    /// Replaces `from` in a good demo; a fault that has `expected` in it must be found, and no other.
    #[track_caller]
    fn check(from: &str, to: &str, expected: &str) {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD);
        let faults = faults(&text).expect("the results of a demo");
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains(expected), "{faults:?}");
    }

    #[test]
    fn a_good_demo_has_no_fault_and_each_fault_is_named() {
        assert_eq!(faults(GOOD).expect("a demo"), Vec::<String>::new());
        check(r#""lost": 0"#, r#""lost": 2"#, "lost is Some(2)");
        check(r#""lost": 0"#, r#""lost": null"#, "lost is None");
        check(
            r#""acknowledged": 10"#,
            r#""acknowledged": 0"#,
            "no report was",
        );
        check(r#""found": 2"#, r#""found": 1"#, "1 of 2 level shifts");
        check(
            r#""delivered": 1"#,
            r#""delivered": 0"#,
            "no recommendation",
        );
        check(r#""breaches": []"#, r#""breaches": ["twice"]"#, "twice");
    }

    #[test]
    fn what_is_no_demo_is_refused() {
        assert!(faults("").is_err());
        assert!(faults(&GOOD.replace("incidents", "events")).is_err());
    }
}
