//! `layer5 maintenance`: mutes the alerts of Layer5 for a stated time, and says what is muted.
//! A maintenance is a silence of Alertmanager on `team=layer5`, known by the beginning of its comment, so that amtool and
//! the dashboards see it too. It ends by itself; none may last longer than a day.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use layer5_core::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{Failure, finish, print, runtime},
    Place,
};
use crate::clock;

/// Beginning of the comment of our silences.
const MARK: &str = "layer5 maintenance: ";
/// Longest maintenance, s: what is forgotten is heard of the next day.
const LONGEST_SECONDS: f64 = 86_400.0;

/// Mute the alerts of Layer5 during planned work
#[derive(Args, Debug)]
#[command(
    after_long_help = "Example:\n  layer5 maintenance start --for 30m --reason 'disk of node 3 is replaced'"
)]
pub(in crate::cli) struct MaintenanceArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Mute from now on
    #[command(after_long_help = "Example:\n  \
        layer5 maintenance start --for 30m --reason 'disk of node 3 is replaced'")]
    Start {
        /// How long, as 90s, 30m or 2h; at most 24h
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        lasts: f64,
        /// Why; whoever sees the silence reads it
        #[arg(long)]
        reason: String,
        /// Who
        #[arg(long, env = "USER", default_value = "layer5")]
        author: String,
        #[command(flatten)]
        place: Place,
    },
    /// End it before its time
    End {
        #[command(flatten)]
        place: Place,
    },
    /// Say what is muted, until when, by whom and why
    Status {
        #[command(flatten)]
        place: Place,
    },
}

pub(in crate::cli) fn run(args: &MaintenanceArgs) -> ExitCode {
    let done = runtime().and_then(|runtime| {
        runtime.block_on(async {
            match &args.what {
                What::Start {
                    lasts,
                    reason,
                    author,
                    place,
                } => start(place, *lasts, reason, author).await,
                What::End { place } => end(place).await,
                What::Status { place } => status(place).await,
            }
        })
    });
    finish(done)
}

async fn start(place: &Place, lasts: f64, reason: &str, author: &str) -> Result<(), Failure> {
    if reason.trim().is_empty() {
        return Err(Failure::new(
            2,
            "--reason is empty: whoever finds the silence must know why",
        ));
    }
    let now = clock::now();
    let ends = now.plus_seconds(lasts);
    let silence = json!({
        "matchers": [{ "name": "team", "value": "layer5", "isRegex": false, "isEqual": true }],
        "startsAt": now.to_string(),
        "endsAt": ends.to_string(),
        "createdBy": author,
        "comment": format!("{MARK}{}", reason.trim()),
    });
    let answer = place.post("silences", &silence).await?;
    let id = answer["silenceID"].as_str().unwrap_or_default();
    print(&format!("alerts of Layer5 are muted until {ends} ({id})\n"));
    Ok(())
}

async fn end(place: &Place) -> Result<(), Failure> {
    let ours = active(place).await?;
    for silence in &ours {
        let id = silence["id"].as_str().unwrap_or_default();
        place.delete(&format!("silence/{id}")).await?;
    }
    print(&match ours.len() {
        0 => "no maintenance was under way\n".to_owned(),
        1 => "the maintenance is over, alerts are heard again\n".to_owned(),
        n => format!("{n} maintenances are over, alerts are heard again\n"),
    });
    Ok(())
}

async fn status(place: &Place) -> Result<(), Failure> {
    let ours = active(place).await?;
    if ours.is_empty() {
        print("no maintenance is under way\n");
    }
    for silence in &ours {
        print(&format!("{}\n", describe(silence, clock::now())));
    }
    Ok(())
}

/// Our silences that mute now.
async fn active(place: &Place) -> Result<Vec<Value>, Failure> {
    let silences = place.get("silences").await?;
    let all = silences.as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().filter(is_ours_and_active).collect())
}

fn is_ours_and_active(silence: &Value) -> bool {
    silence["status"]["state"] == "active"
        && silence["comment"]
            .as_str()
            .is_some_and(|comment| comment.starts_with(MARK))
}

fn describe(silence: &Value, now: Timestamp) -> String {
    let text = |key: &str| silence[key].as_str().unwrap_or_default();
    let left = Timestamp::parse_rfc3339(text("endsAt")).map_or(String::new(), |ends| {
        format!(", {:.0} min left", ends.seconds_since(now) / 60.0)
    });
    format!(
        "muted until {}{left}, by {}: {}",
        text("endsAt"),
        text("createdBy"),
        text("comment").trim_start_matches(MARK)
    )
}

/// Seconds of `90s`, `30m` or `2h`.
pub(in crate::cli) fn duration(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is no time as 90s, 30m or 2h, of at most 24h");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1.0,
        'm' => 60.0,
        'h' => 3600.0,
        _ => return Err(wrong()),
    };
    let count: f64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let lasts = count * seconds;
    if lasts > 0.0 && lasts <= LONGEST_SECONDS {
        Ok(lasts)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_bounded() {
        for (text, seconds) in [
            ("90s", 90.0),
            ("30m", 1800.0),
            ("1.5h", 5400.0),
            ("24h", 86_400.0),
        ] {
            assert_eq!(duration(text), Ok(seconds));
        }
        for text in ["", "5", "m", "-1m", "0s", "25h", "NaNs", "1d", "1µ"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_our_own_active_silences_are_ended() {
        let silence = |comment: &str, state: &str| json!({ "comment": comment, "status": { "state": state } });
        assert!(is_ours_and_active(&silence(
            "layer5 maintenance: x",
            "active"
        )));
        assert!(!is_ours_and_active(&silence(
            "layer5 maintenance: x",
            "expired"
        )));
        assert!(!is_ours_and_active(&silence("taken by me", "active")));
    }
}
