//! What is gathered from the lines of a log: groups of equal messages, slow requests, the lines around a moment.
//! Invariants: groups, slow requests and lines kept are bounded; what goes beyond is counted.

use std::collections::BTreeMap;

use layer5_core::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

/// Different messages that are told apart; further ones are one group.
const GROUPS_MAX: usize = 1000;
/// Slow requests that are kept: the slowest.
const SLOW_MAX: usize = 20;
/// Lines around a moment that are kept.
const AROUND_MAX: usize = 2000;
/// A request is slow from here on, ms: what the service itself logs as slow.
const SLOW_MS: f64 = 500.0;
/// Fields of a line that are not its own words.
const FRAME: [&str; 6] = ["timestamp", "level", "message", "target", "span", "spans"];

/// One line of the log, understood.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Line {
    #[serde(serialize_with = "shown")]
    pub(super) at: Timestamp,
    pub(super) level: String,
    pub(super) target: String,
    pub(super) message: String,
    pub(super) request_id: Option<String>,
    /// The other fields, as `name=value`.
    pub(super) fields: String,
    #[serde(skip)]
    took_ms: Option<f64>,
}

/// Equal messages.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Group {
    pub(super) level: String,
    pub(super) target: String,
    pub(super) message: String,
    pub(super) count: u64,
    #[serde(serialize_with = "shown")]
    pub(super) first: Timestamp,
    #[serde(serialize_with = "shown")]
    pub(super) last: Timestamp,
    /// The fields of the newest.
    pub(super) example: String,
}

/// A request that took long.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Slow {
    pub(super) took_ms: f64,
    #[serde(serialize_with = "shown")]
    pub(super) at: Timestamp,
    pub(super) request_id: Option<String>,
    pub(super) fields: String,
}

/// Everything that was gathered.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) lines: u64,
    pub(super) not_understood: u64,
    pub(super) first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    pub(super) levels: BTreeMap<String, u64>,
    groups: BTreeMap<(String, String, String), Group>,
    pub(super) slow: Vec<Slow>,
    pub(super) around: Vec<Line>,
    pub(super) around_left_out: u64,
}

impl Gathered {
    /// Takes one line.
    pub(super) fn take(&mut self, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        let Some(line) = Line::read(text) else {
            self.not_understood += 1;
            return;
        };
        self.lines += 1;
        self.first = Some(self.first.map_or(line.at, |first| first.min(line.at)));
        self.last = Some(self.last.map_or(line.at, |last| last.max(line.at)));
        *self.levels.entry(line.level.clone()).or_default() += 1;
        if let Some(took_ms) = line.took_ms.filter(|ms| *ms >= SLOW_MS) {
            self.take_slow(took_ms, &line);
        }
        if line.level == "ERROR" || line.level == "WARN" {
            self.take_group(line);
        }
    }

    fn take_slow(&mut self, took_ms: f64, line: &Line) {
        self.slow.push(Slow {
            took_ms,
            at: line.at,
            request_id: line.request_id.clone(),
            fields: line.fields.clone(),
        });
        self.slow.sort_by(|a, b| b.took_ms.total_cmp(&a.took_ms));
        self.slow.truncate(SLOW_MAX);
    }

    fn take_group(&mut self, line: Line) {
        let mut key = (line.level, line.target, line.message);
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&key) {
            key = (key.0, String::new(), "(further messages)".to_owned());
        }
        let group = self.groups.entry(key.clone()).or_insert_with(|| Group {
            level: key.0,
            target: key.1,
            message: key.2,
            count: 0,
            first: line.at,
            last: line.at,
            example: String::new(),
        });
        group.count += 1;
        group.first = group.first.min(line.at);
        if line.at >= group.last {
            group.last = line.at;
            group.example = line.fields;
        }
    }

    /// Takes one line once more, if it is within so many seconds of `at`.
    pub(super) fn take_around(&mut self, text: &str, at: Timestamp, within: f64) {
        let Some(line) = Line::read(text) else {
            return;
        };
        if line.at.seconds_since(at).abs() > within {
            return;
        }
        if self.around.len() < AROUND_MAX {
            self.around.push(line);
        } else {
            self.around_left_out += 1;
        }
    }

    /// Errors before warnings, the most frequent first.
    pub(super) fn groups(&self) -> Vec<&Group> {
        let mut groups: Vec<&Group> = self.groups.values().collect();
        groups.sort_by(|a, b| (&a.level, b.count, a.first).cmp(&(&b.level, a.count, b.first)));
        groups
    }
}

impl Line {
    fn read(text: &str) -> Option<Self> {
        // A collector may have put its own words before ours.
        let object: Map<String, Value> = serde_json::from_str(&text[text.find('{')?..]).ok()?;
        let word = |key: &str| object.get(key).and_then(Value::as_str).map(harmless);
        let fields: Vec<String> = object
            .iter()
            .filter(|(key, _)| !FRAME.contains(&key.as_str()))
            .map(|(key, value)| {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                harmless(&format!("{key}={value}"))
            })
            .collect();
        let id = object
            .get("span")
            .and_then(|span| span["request_id"].as_str());
        Some(Self {
            at: Timestamp::parse_rfc3339(object.get("timestamp")?.as_str()?)?,
            level: word("level")?,
            target: word("target").unwrap_or_default(),
            message: word("message").unwrap_or_default(),
            request_id: id.map(harmless),
            fields: fields.join(" "),
            took_ms: object.get("took_ms").and_then(Value::as_f64),
        })
    }
}

/// Text of a log on a terminal: control characters are shown as what they are.
fn harmless(text: &str) -> String {
    let shown = |c: char| match c.is_control() {
        true => c.escape_default().collect::<String>(),
        false => c.to_string(),
    };
    text.chars().map(shown).collect()
}

fn shown<S: serde::Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(at)
}

/// The moment that is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Around {
    /// A whole time.
    At(Timestamp),
    /// A time of day in UTC, s since midnight.
    TimeOfDay(f64),
}

impl Around {
    /// `14:05`, `14:05:30`, or a whole time.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(at) = Timestamp::parse_rfc3339(text) {
            return Some(Self::At(at));
        }
        let mut parts = text.split(':');
        let mut next = |below: u32| {
            let part = parts.next()?;
            let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            part.parse::<u32>().ok().filter(|n| digits && *n < below)
        };
        let (hour, minute) = (next(24)?, next(60)?);
        let second = match text.matches(':').count() {
            1 => 0,
            2 => next(60)?,
            _ => return None,
        };
        Some(Self::TimeOfDay(f64::from(
            hour * 3600 + minute * 60 + second,
        )))
    }

    /// The last such moment that is not after `last`.
    pub(super) fn last_before(self, last: Timestamp) -> Timestamp {
        const DAY: f64 = 86_400.0;
        match self {
            Self::At(at) => at,
            Self::TimeOfDay(of_day) => {
                let seconds = last.millis() as f64 / 1e3;
                let back = (seconds - of_day).rem_euclid(DAY);
                last.plus_seconds(-back)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_its_last_one() {
        let last = Timestamp::parse_rfc3339("2026-11-28T14:04:00Z").expect("a time");
        let at = |text: &str| {
            Around::parse(text)
                .expect("a time")
                .last_before(last)
                .to_string()
        };
        assert_eq!(at("14:04"), "2026-11-28T14:04:00Z");
        assert_eq!(at("14:05"), "2026-11-27T14:05:00Z");
        assert_eq!(at("2026-11-01T00:00:00Z"), "2026-11-01T00:00:00Z");
        for bad in [
            "",
            "14",
            "24:00",
            "14:60",
            "1:05",
            "14:05:61",
            "14:05:00:00",
            "+1:05",
        ] {
            assert_eq!(Around::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn groups_are_bounded_and_nothing_raw_is_kept() {
        let mut gathered = Gathered::default();
        for i in 0..GROUPS_MAX + 5 {
            gathered.take(&format!(
                r#"{{"timestamp":"2026-11-28T14:00:00Z","level":"WARN","message":"m{i}","x":"\u001b[31m"}}"#
            ));
        }
        let groups = gathered.groups();
        assert_eq!(groups.len(), GROUPS_MAX + 1);
        assert_eq!(
            (groups[0].count, groups[0].message.as_str()),
            (5, "(further messages)")
        );
        assert!(
            !groups[0].example.contains('\u{1b}'),
            "{}",
            groups[0].example
        );
    }
}
