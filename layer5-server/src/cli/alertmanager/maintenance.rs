//! `layer5 maintenance`: mutes the alerts of Layer5 for a stated time, and says what is muted.
//! A maintenance is a silence of Alertmanager on `team=layer5`, known by the beginning of its comment, so that amtool and
//! the dashboards see it too. It ends by itself; none may last longer than a day.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use layer5_core::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{Failure, finish, print, runtime},
    Place, newest_that_ran_out,
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
    let all = silences(place).await?;
    let ours = active(&all);
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
    let all = silences(place).await?;
    let ours = active(&all);
    for silence in &ours {
        print(&format!("{}\n", describe(silence, clock::now())));
    }
    if ours.is_empty() {
        print("no maintenance is under way\n");
        // Nobody ended it: whoever started it may not know that alerts are heard again.
        if let Some(forgotten) = newest_that_ran_out(all.iter().filter(|s| is_ours(s))) {
            print(&format!(
                "the last one ended by itself at {}, by {}: {}\n",
                text(forgotten, "endsAt"),
                text(forgotten, "createdBy"),
                text(forgotten, "comment").trim_start_matches(MARK)
            ));
        }
    }
    Ok(())
}

async fn silences(place: &Place) -> Result<Vec<Value>, Failure> {
    let silences = place.get("silences").await?;
    Ok(silences.as_array().cloned().unwrap_or_default())
}

/// Our silences that mute now.
fn active(silences: &[Value]) -> Vec<&Value> {
    let active = silences
        .iter()
        .filter(|silence| is_ours(silence) && silence["status"]["state"] == "active");
    active.collect()
}

fn is_ours(silence: &Value) -> bool {
    text(silence, "comment").starts_with(MARK)
}

fn text<'a>(silence: &'a Value, key: &str) -> &'a str {
    silence[key].as_str().unwrap_or_default()
}

fn describe(silence: &Value, now: Timestamp) -> String {
    let left = Timestamp::parse_rfc3339(text(silence, "endsAt")).map_or(String::new(), |ends| {
        format!(", {:.0} min left", ends.seconds_since(now) / 60.0)
    });
    format!(
        "muted until {}{left}, by {}: {}",
        text(silence, "endsAt"),
        text(silence, "createdBy"),
        text(silence, "comment").trim_start_matches(MARK)
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
        let ours = silence("layer5 maintenance: x", "active");
        let all = [
            silence("layer5 maintenance: x", "expired"),
            ours.clone(),
            silence("taken by me", "active"),
        ];
        assert_eq!(active(&all), [&ours]);
    }

    #[test]
    fn a_silence_that_ran_out_is_told_from_one_that_was_ended() {
        let silence = |updated: &str, ends: &str, state: &str| {
            let at = |second: &str| format!("2026-11-28T00:00:{second}Z");
            json!({ "updatedAt": at(updated), "endsAt": at(ends), "status": { "state": state } })
        };
        let (older, newer) = (
            silence("00", "10", "expired"),
            silence("05", "15", "expired"),
        );
        let ended = silence("20", "20", "expired");
        let active = silence("00", "59", "active");
        let all = [&newer, &older, &ended, &active];
        assert_eq!(newest_that_ran_out(all.into_iter()), Some(&newer));
        assert_eq!(newest_that_ran_out([&ended, &active].into_iter()), None);
    }
}
