//! `layer5 alert test`: sends an alert of ours through the real chain, so that one knows who would be told.
//! The alerts are those of `deploy/prometheus/rules/alerts.yml`; the label `test="true"` tells that nothing is wrong.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    super::{Failure, finish, print, runtime},
    Place,
};
use crate::clock;

/// The rules as they are installed.
const RULES: &str = include_str!("../../../../deploy/prometheus/rules/alerts.yml");
/// A test alert ends by itself after this.
const LASTS_SECONDS: f64 = 300.0;

/// List the alerts of Layer5, or send one as a test
#[derive(Args, Debug)]
#[command(after_long_help = "Example:\n  layer5 alert test Layer5HighLatency")]
pub(in crate::cli) struct AlertArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the alerts with their priority
    List,
    /// Send an alert through Alertmanager to whoever is told of it; it ends after 5 minutes
    #[command(after_long_help = "Examples:\n  \
        layer5 alert test\n  \
        layer5 alert test Layer5HighLatency --alertmanager http://localhost:9093")]
    Test {
        /// Which one
        #[arg(default_value = "Layer5HighLatency")]
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

/// One alert of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    name: &'static str,
    severity: &'static str,
    priority: &'static str,
    summary: &'static str,
    runbook: &'static str,
}

/// The alerts of the rules that have a priority of their own.
fn rules() -> impl Iterator<Item = Rule> {
    RULES.split("- alert: ").skip(1).filter_map(|text| {
        let field = |key: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.trim().strip_prefix(key))
        };
        Some(Rule {
            name: text.lines().next()?.trim(),
            severity: field("severity: ")?,
            priority: field("priority: ")?,
            summary: field("summary: ")?,
            runbook: field("runbook_url: ")?,
        })
    })
}

pub(in crate::cli) fn run(args: &AlertArgs) -> ExitCode {
    finish(match &args.what {
        What::List => {
            let lines =
                rules().map(|rule| format!("{} {}  {}\n", rule.priority, rule.name, rule.summary));
            print(&lines.collect::<String>());
            Ok(())
        }
        What::Test { name, place } => test(name, place),
    })
}

fn test(name: &str, place: &Place) -> Result<(), Failure> {
    let rule = rules().find(|rule| rule.name == name).ok_or_else(|| {
        let known: Vec<&str> = rules().map(|rule| rule.name).collect();
        Failure::new(
            2,
            format!("no alert {name:?}; there are {}", known.join(", ")),
        )
    })?;
    runtime()?.block_on(async {
        let now = clock::now();
        let alert = json!({
            "labels": {
                "alertname": rule.name,
                "problem": rule.name,
                "severity": rule.severity,
                "priority": rule.priority,
                "team": "layer5",
                "job": "layer5",
                "test": "true",
            },
            "annotations": {
                "summary": format!("Test: {}", rule.summary),
                "description": "Sent by `layer5 alert test`. Nothing is wrong.",
                "runbook_url": rule.runbook,
            },
            "startsAt": now.to_string(),
            "endsAt": now.plus_seconds(LASTS_SECONDS).to_string(),
        });
        place.post("alerts", &json!([alert])).await?;
        let there = place
            .get(&format!(
                "alerts?filter=alertname%3D{name}&filter=test%3Dtrue"
            ))
            .await?;
        let found = there.get(0).ok_or_else(|| {
            Failure::new(
                1,
                "Alertmanager took the alert and does not show it".to_owned(),
            )
        })?;
        let names = |list: &Value| {
            let names = list.as_array().into_iter().flatten();
            let names = names.filter_map(|r| r["name"].as_str().or(r.as_str()));
            names.collect::<Vec<_>>().join(", ")
        };
        print(&format!(
            "sent {} ({}) to: {}\n",
            rule.name,
            rule.priority,
            names(&found["receivers"])
        ));
        let silenced = names(&found["status"]["silencedBy"]);
        if !silenced.is_empty() {
            print(&format!(
                "nobody is told: silenced by {silenced}; see `layer5 maintenance status`\n"
            ));
        }
        let inhibited = names(&found["status"]["inhibitedBy"]);
        if !inhibited.is_empty() {
            print(&format!(
                "nobody is told: a graver alert is active ({inhibited})\n"
            ));
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_read_from_the_file_that_is_installed() {
        let down = rules().find(|rule| rule.name == "Layer5Down");
        let down = down.expect("the contract names it");
        assert_eq!((down.severity, down.priority), ("critical", "P0"));
        assert!(down.runbook.ends_with("#layer5down"));
        assert!(rules().count() >= 13);
    }
}
