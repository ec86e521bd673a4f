//! What Alertmanager says: which alerts of ours fire, which are muted.
//! Called from: [`super::judge`].

use serde_json::Value;

use super::super::{
    super::alertmanager::newest_that_ran_out,
    look::Seen,
    verdict::{State, Verdict, verdict},
};

pub(super) fn alerts(seen: &Seen) -> Verdict {
    let then = "each has a section in the runbook";
    let Some(answer) = &seen.alerts else {
        let said = "not asked: give --alertmanager";
        return verdict("alerts", State::Unknown, said, then);
    };
    let alerts = answer.json();
    let Some(alerts) = alerts.as_array().filter(|_| answer.is_success()) else {
        let then = "Alertmanager itself is in trouble";
        return verdict("alerts", State::Red, answer.words(), then);
    };
    let ours: Vec<&Value> = alerts
        .iter()
        .map(|alert| &alert["labels"])
        .filter(|labels| labels["team"] == "layer5")
        .collect();
    let mut names: Vec<&str> = ours
        .iter()
        .filter_map(|labels| labels["alertname"].as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    let state = if ours.iter().any(|labels| labels["severity"] == "critical") {
        State::Red
    } else if names.is_empty() {
        State::Green
    } else {
        State::Yellow
    };
    let said = match names.is_empty() {
        true => "none fires".to_owned(),
        false => names.join(", "),
    };
    verdict("alerts", state, said, then)
}

/// A silence is on purpose, and forgotten easily: it is shown every day that it lasts.
pub(super) fn silences(seen: &Seen) -> Verdict {
    let then = "is it still wanted? `layer5 maintenance end`, or amtool silence expire";
    let Some(answer) = &seen.silences else {
        let said = "not asked: give --alertmanager";
        return verdict("silences", State::Unknown, said, then);
    };
    if !answer.is_success() {
        return verdict("silences", State::Unknown, answer.words(), then);
    }
    let all = answer.json();
    let ours = all.as_array().into_iter().flatten().filter(|s| is_ours(s));
    let (active, past): (Vec<&Value>, Vec<&Value>) =
        ours.partition(|silence| silence["status"]["state"] == "active");
    let text = |silence: &Value, key: &str| silence[key].as_str().unwrap_or_default().to_owned();
    let words: Vec<String> = active
        .iter()
        .map(|s| format!("{} until {}", text(s, "comment"), text(s, "endsAt")))
        .collect();
    if !words.is_empty() {
        return verdict("silences", State::Yellow, words.join("; "), then);
    }
    let said = newest_that_ran_out(past.into_iter()).map_or("none".to_owned(), |s| {
        let (comment, ends) = (text(s, "comment"), text(s, "endsAt"));
        format!("none; ended by itself: {comment} at {ends}")
    });
    verdict("silences", State::Green, said, then)
}

fn is_ours(silence: &Value) -> bool {
    let matchers = silence["matchers"].as_array().into_iter().flatten();
    let mut values = matchers.filter_map(|matcher| matcher["value"].as_str());
    values.any(|value| value == "layer5" || value.starts_with("Layer5"))
}

#[cfg(test)]
mod tests {
    use super::{super::super::look::Answer, *};

    fn page(text: &str) -> Option<Answer> {
        Some(Answer {
            status: Some(200),
            text: text.to_owned(),
            skew: None,
        })
    }

    #[test]
    fn alerts_of_other_teams_are_not_ours() {
        let theirs = r#"[{"labels":{"team":"other","alertname":"Theirs","severity":"critical"}}]"#;
        let seen = Seen {
            alerts: page(theirs),
            ..Seen::default()
        };
        assert_eq!(alerts(&seen).state, State::Green);
    }

    #[test]
    fn a_silence_that_was_forgotten_is_told_after_its_end() {
        let silence = |team: &str| {
            format!(
                r#"{{"comment":"new disk","updatedAt":"2026-11-28T00:00:00Z","endsAt":"2026-11-28T01:00:00Z",
                "status":{{"state":"expired"}},"matchers":[{{"name":"team","value":"{team}"}}]}}"#
            )
        };
        for (team, said) in [
            ("other", "none"),
            (
                "layer5",
                "none; ended by itself: new disk at 2026-11-28T01:00:00Z",
            ),
        ] {
            let seen = Seen {
                silences: page(&format!("[{}]", silence(team))),
                ..Seen::default()
            };
            let found = silences(&seen);
            assert_eq!((found.state, &found.said[..]), (State::Green, said));
        }
    }
}
