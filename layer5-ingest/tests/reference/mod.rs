//! An independent reading of report bodies, made of serde_json's generic parts and of core's own `Deserialize` for times
//! and envelopes: slow, and written from the contracts instead of from the decoder.
//! In: bodies. Out: what [`layer5_ingest::decode_reports`] must make of them. Called from: `decode_agrees`, `decode_fuzz`.

use std::fmt;

use layer5_core::{Kpi, Reason, Report, Shape, Timestamp, codec};
use layer5_ingest::decode::wire::FORMAT;
use layer5_ingest::{BodyError, BodyFormat, DecodeLimits, WireReport, decode_reports};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// As deep as serde_json reads, or nearly.
pub(crate) const LIMITS: DecodeLimits = DecodeLimits {
    depth_max: 64,
    reports_max: 10_000,
    values_max: 256,
};

/// Brackets nested no deeper than this are read by both sides.
#[allow(dead_code, reason = "of use only where inputs are nested on purpose")]
pub(crate) const DEPTH_SURE: u32 = 60;

/// What is compared: everything that a report says, floats by their bits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Read {
    pub shape: Shape,
    pub agent_id: String,
    pub task_id: String,
    pub recorded_at: Timestamp,
    pub hostname: Option<String>,
    pub values: Vec<(String, u64)>,
}

/// A report, or the reason of its rejection and the field at fault.
pub(crate) type Answer = Result<Read, (Reason, String)>;

impl From<&Report<'_>> for Read {
    fn from(report: &Report<'_>) -> Self {
        let values = report.values.iter();
        Self {
            shape: report.shape,
            agent_id: report.agent_id.to_string(),
            task_id: report.task_id.to_string(),
            recorded_at: report.recorded_at,
            hostname: report.hostname.as_deref().map(str::to_owned),
            values: values
                .map(|v| (v.metric.as_str().to_owned(), v.value.to_bits()))
                .collect(),
        }
    }
}

/// The members of an object in the order written, duplicates included, values unread.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// A value that was read: absent, right, or wrong with the reason and the name of the place at fault.
type Slot<T> = Option<Result<T, (Reason, String)>>;

fn wrong<T>(place: impl Into<String>) -> Slot<T> {
    Some(Err((Reason::WrongType, place.into())))
}

fn text(raw: &str, place: &str) -> Result<Slot<String>, serde_json::Error> {
    Ok(match raw.as_bytes()[0] {
        b'"' => Some(Ok(serde_json::from_str(raw)?)),
        b'n' => None,
        _ => wrong(place),
    })
}

fn number(raw: &str, place: &str) -> Slot<f64> {
    match raw.as_bytes()[0] {
        b'-' | b'0'..=b'9' => {
            let value: f64 = raw.parse().expect("a JSON number");
            if value.is_finite() {
                Some(Ok(value))
            } else {
                Some(Err((Reason::NotFinite, place.to_owned())))
            }
        }
        b'n' => None,
        _ => wrong(place),
    }
}

fn time(raw: &str, place: &str) -> Result<Slot<Timestamp>, serde_json::Error> {
    let invalid = || Some(Err((Reason::InvalidTime, place.to_owned())));
    Ok(match raw.as_bytes()[0] {
        b'"' => {
            let text: String = serde_json::from_str(raw)?;
            serde_json::from_value(text.into())
                .ok()
                .map_or_else(invalid, |at| Some(Ok(at)))
        }
        b'{' => {
            // The keys of a time must be sound even when the time is not.
            serde_json::from_str::<Members>(raw)?;
            serde_json::from_str(raw)
                .ok()
                .map_or_else(invalid, |at| Some(Ok(at)))
        }
        b'-' | b'0'..=b'9' => serde_json::from_str(raw)
            .ok()
            .map_or_else(invalid, |at| Some(Ok(at))),
        b'n' => None,
        _ => wrong(place),
    })
}

fn host(raw: &str, place: &str) -> Result<Slot<Option<String>>, serde_json::Error> {
    match raw.as_bytes()[0] {
        b'{' => {
            let mut host = None;
            for (key, raw) in serde_json::from_str::<Members>(raw)?.0 {
                if key == "hostname" {
                    host = text(raw.get(), &format!("{place}.hostname"))?;
                }
            }
            Ok(Some(host.transpose()))
        }
        b'n' => Ok(None),
        _ => Ok(wrong(place)),
    }
}

type Entries = Vec<(String, Slot<f64>)>;

fn metrics(raw: &str, place: &str) -> Result<Slot<Entries>, serde_json::Error> {
    match raw.as_bytes()[0] {
        b'{' => {
            let mut entries = Entries::new();
            for (key, raw) in serde_json::from_str::<Members>(raw)?.0 {
                let name: String = key.chars().take(40).collect();
                let name = format!("{place}.{name}");
                let value = match number(raw.get(), &name) {
                    None => wrong(name),
                    some => some,
                };
                match entries.iter_mut().find(|entry| entry.0 == key) {
                    Some(entry) => entry.1 = value,
                    None => entries.push((key, value)),
                }
            }
            Ok(Some(Ok(entries)))
        }
        b'n' => Ok(None),
        _ => Ok(wrong(place)),
    }
}

/// Reads one value the slow way; an error is one of syntax.
fn reference(raw: &str) -> Result<Answer, serde_json::Error> {
    if raw.as_bytes()[0] != b'{' {
        return Ok(Err((Reason::WrongType, String::new())));
    }
    let (mut agent_id, mut task_id) = (None, None);
    let (mut recorded_at, mut timestamp) = (None, None);
    let mut kpis: [Slot<f64>; 5] = Default::default();
    let (mut custom, mut named) = (None, None);
    let (mut context, mut metadata) = (None, None);
    for (key, raw) in serde_json::from_str::<Members>(raw)?.0 {
        let raw = raw.get();
        match key.as_str() {
            "agent_id" => agent_id = text(raw, "agent_id")?,
            "task_id" => task_id = text(raw, "task_id")?,
            "recorded_at" => recorded_at = time(raw, "recorded_at")?,
            "timestamp" => timestamp = time(raw, "timestamp")?,
            "custom_metrics" => custom = metrics(raw, "custom_metrics")?,
            "metrics" => named = metrics(raw, "metrics")?,
            "execution_context" => context = host(raw, "execution_context")?,
            "metadata" => metadata = host(raw, "metadata")?,
            other => {
                if let Some(kpi) = Kpi::from_name(other) {
                    kpis[kpi as usize] = number(raw, other);
                }
            }
        }
    }
    let shape_a = recorded_at.is_some() || kpis.iter().any(Option::is_some);
    let batch = named.is_some() || (timestamp.is_some() && !shape_a);
    Ok((|| {
        let required = |place: &str| (Reason::MissingField, place.to_owned());
        let agent_id = agent_id.ok_or_else(|| required("agent_id"))??;
        let task_id = task_id.ok_or_else(|| required("task_id"))??;
        let mut values = Vec::new();
        let mut push_all = |entries: Entries, first_wrong_type: bool| {
            // A wrong type is found before a number that is too large.
            for reason in [Reason::WrongType, Reason::NotFinite] {
                let fault = entries.iter().find_map(|(_, slot)| match slot {
                    Some(Err(fault)) if fault.0 == reason => Some(fault.clone()),
                    _ => None,
                });
                if let Some(fault) = fault {
                    return Err(fault);
                }
            }
            for (name, slot) in entries {
                let own = Kpi::from_name(&name).is_some_and(|kpi| kpis[kpi as usize].is_some());
                if let Some(Ok(value)) = slot
                    && !(own && first_wrong_type)
                {
                    values.push((name, value.to_bits()));
                }
            }
            Ok(())
        };
        if batch {
            let recorded_at = timestamp.ok_or_else(|| required("timestamp"))??;
            push_all(named.ok_or_else(|| required("metrics"))??, false)?;
            return Ok(Read {
                shape: Shape::Batch,
                agent_id,
                task_id,
                recorded_at,
                hostname: metadata.transpose()?.flatten(),
                values,
            });
        }
        let recorded_at = recorded_at.ok_or_else(|| required("recorded_at"))??;
        let mut own = Vec::new();
        for kpi in Kpi::ALL {
            match kpis[kpi as usize].clone() {
                Some(value) => own.push((kpi.name().to_owned(), value?.to_bits())),
                None if kpi.required() => return Err(required(kpi.name())),
                None => {}
            }
        }
        if let Some(custom) = custom {
            push_all(custom?, true)?;
        }
        own.append(&mut values);
        Ok(Read {
            shape: Shape::Task,
            agent_id,
            task_id,
            recorded_at,
            hostname: context.transpose()?.flatten(),
            values: own,
        })
    })())
}

/// Reads a body the slow way; `None` when it can't be read as a whole.
pub(crate) fn reference_json(body: &[u8]) -> Option<Vec<Answer>> {
    let text = std::str::from_utf8(body).ok()?;
    let value: &RawValue = serde_json::from_str(text).ok()?;
    match value.get().as_bytes()[0] {
        b'{' => Some(vec![reference(value.get()).ok()?]),
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
            let read = |element: &&RawValue| reference(element.get()).ok();
            elements.iter().map(read).collect()
        }
        _ => None,
    }
}

pub(crate) fn reference_ndjson(body: &[u8]) -> Vec<Answer> {
    let lines = body
        .split(|&b| b == b'\n')
        .filter(|line| line.iter().any(|b| !b" \t\r".contains(b)));
    let malformed = || Err((Reason::Malformed, String::new()));
    let read = |line: &[u8]| {
        let text = std::str::from_utf8(line).ok()?;
        let value: &RawValue = serde_json::from_str(text).ok()?;
        reference(value.get()).ok()
    };
    lines
        .map(|line| read(line).unwrap_or_else(malformed))
        .collect()
}

pub(crate) fn decoded(body: &[u8], format: BodyFormat) -> Result<Vec<Answer>, BodyError> {
    let mut answers = Vec::new();
    decode_reports(body, format, &LIMITS, &mut |i, report, _| {
        assert_eq!(i, answers.len());
        answers.push(match report {
            Ok(report) => Ok(Read::from(report)),
            Err(rejection) => Err((rejection.reason, rejection.field)),
        });
    })
    .map(|_| answers)
}

/// Reads a body of framed envelopes the slow way; `None` when it can't be read as a whole.
#[allow(
    dead_code,
    reason = "not every test that compares JSON compares the binary form"
)]
pub(crate) fn reference_bincode(mut body: &[u8]) -> Option<Vec<Answer>> {
    let mut answers = Vec::new();
    if body.is_empty() {
        return None;
    }
    while !body.is_empty() {
        let (length, rest) = body.split_first_chunk()?;
        let (frame, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        body = rest;
        answers.push(match codec::decode::<WireReport>(FORMAT, frame) {
            Err(_) => Err((Reason::Malformed, String::new())),
            Ok(wire) => Ok(Read {
                shape: if wire.batch {
                    Shape::Batch
                } else {
                    Shape::Task
                },
                agent_id: wire.agent_id,
                task_id: wire.task_id,
                recorded_at: wire.recorded_at,
                hostname: wire.hostname,
                values: wire
                    .values
                    .into_iter()
                    .map(|(name, value)| (name, value.to_bits()))
                    .collect(),
            }),
        });
    }
    Some(answers)
}
