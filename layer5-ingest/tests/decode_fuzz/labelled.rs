//! The slow reading of remote write and of OpenTelemetry metrics, from messages taken apart as trees, and what must hold
//! of any answer.
//! In: bodies. Out: a comparison. Called from: `targets`. Written from the specifications and the docs of the decoders.

use layer5_core::{Reason, Rejection, Report, Timestamp};
use layer5_ingest::{BodyError, decode_otlp, decode_otlp_json, decode_remote_write};

use crate::{
    protobuf::{Field, Wire, fields},
    reference::LIMITS,
};

/// The label that names the agent.
pub(crate) const AGENT_LABEL: &str = "agent_id";
/// The attribute of a resource that does.
pub(crate) const AGENT_ATTRIBUTE: &str = "service.instance.id";

/// Agent, metric, bits of the value, time; or why there is none.
type Point = Result<(String, String, u64, Timestamp), Reason>;

/// Keeps what a decoder says, and checks that it counts right.
fn collect<'a>(
    decode: impl FnOnce(
        &mut dyn FnMut(usize, Result<&Report<'a>, Rejection>, &'a [u8]),
    ) -> Result<usize, BodyError>,
) -> Result<Option<Vec<Point>>, String> {
    let mut points: Vec<Point> = Vec::new();
    let mut in_order = true;
    let n = decode(&mut |i, report, _| {
        in_order &= i == points.len();
        points.push(match report {
            Ok(report) => Ok((
                report.agent_id.to_string(),
                report.values[0].metric.as_str().to_owned(),
                report.values[0].value.to_bits(),
                report.recorded_at,
            )),
            Err(rejection) => Err(rejection.reason),
        });
    });
    match n {
        Ok(n) if n == points.len() && in_order => Ok(Some(points)),
        Ok(n) => Err(format!("{n} points are told of {points:?}")),
        Err(_) => Ok(None),
    }
}

fn compare(found: Option<Vec<Point>>, expected: Option<Vec<Point>>) -> Result<bool, String> {
    if found == expected {
        return Ok(found.is_some_and(|points| points.iter().any(Result::is_ok)));
    }
    Err(format!("read as {found:?}, expected {expected:?}"))
}

pub(crate) fn remote_write(body: &[u8]) -> Result<bool, String> {
    let found = collect(|sink| decode_remote_write(body, AGENT_LABEL, &LIMITS, sink))?;
    compare(found, expected_of_remote_write(body))
}

pub(crate) fn otlp(body: &[u8]) -> Result<bool, String> {
    let found = collect(|sink| decode_otlp(body, AGENT_ATTRIBUTE, &LIMITS, sink))?;
    compare(found, expected_of_otlp(body))
}

/// There is no second reading of this one: `serde_json` does the first.
pub(crate) fn otlp_json(body: &[u8]) -> Result<bool, String> {
    let found = collect(|sink| decode_otlp_json(body, AGENT_ATTRIBUTE, &LIMITS, sink))?;
    Ok(found.is_some_and(|points| points.iter().any(Result::is_ok)))
}

/// The messages in the fields of a number.
fn inner(fields: &[Field], number: u32) -> impl Iterator<Item = &[u8]> {
    fields.iter().filter_map(move |field| match field {
        (n, Wire::Bytes(bytes)) if *n == number => Some(&bytes[..]),
        _ => None,
    })
}

fn utf8(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

/// The last text in the fields of a number, all of which must be UTF-8.
fn last_text(fields: &[Field], number: u32) -> Option<String> {
    let texts: Option<Vec<String>> = inner(fields, number).map(utf8).collect();
    Some(texts?.pop().unwrap_or_default())
}

fn last_bits(fields: &[Field], number: u32) -> Option<u64> {
    fields.iter().rev().find_map(|field| match field {
        (n, Wire::Fixed64(bits)) if *n == number => Some(*bits),
        _ => None,
    })
}

fn last_varint(fields: &[Field], number: u32) -> Option<u64> {
    fields.iter().rev().find_map(|field| match field {
        (n, Wire::Varint(value)) if *n == number => Some(*value),
        _ => None,
    })
}

fn metric(name: &str, mut labels: Vec<(String, String)>) -> String {
    labels.sort();
    let escaped = |value: &str| -> String {
        let each = value.chars().map(|c| match c {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            c if c.is_control() => format!("\\u{{{:x}}}", c as u32),
            c => c.to_string(),
        });
        each.collect()
    };
    let labels: Vec<String> = labels
        .iter()
        .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
        .collect();
    if labels.is_empty() {
        return name.to_owned();
    }
    format!("{name}{{{}}}", labels.join(","))
}

fn expected_of_remote_write(body: &[u8]) -> Option<Vec<Point>> {
    let mut points = Vec::new();
    for series in inner(&fields(body)?, 1) {
        let series = fields(series)?;
        let (mut agent, mut name, mut labels) = (None, String::new(), Vec::new());
        for label in inner(&series, 1) {
            let label = fields(label)?;
            // Only the last of each counts, and only it has to be UTF-8.
            let last = |number| {
                inner(&label, number)
                    .last()
                    .map_or(Some(String::new()), utf8)
            };
            let (key, value) = (last(1)?, last(2)?);
            match key.as_str() {
                AGENT_LABEL => agent = Some(value),
                "__name__" => name = value,
                _ => labels.push((key, value)),
            }
        }
        for sample in inner(&series, 2) {
            let sample = fields(sample)?;
            let bits = last_bits(&sample, 1).unwrap_or(0);
            let millis = last_varint(&sample, 2).unwrap_or(0) as i64;
            let at = Timestamp::from_nanos(millis.saturating_mul(1_000_000));
            match &agent {
                // The marker that a series has ended.
                _ if bits == 0x7ff0_0000_0000_0002 => {}
                Some(agent) => {
                    let metric = metric(&name, labels.clone());
                    points.push(Ok((agent.clone(), metric, bits, at)));
                }
                None => points.push(Err(Reason::MissingField)),
            }
        }
    }
    Some(points)
}

fn expected_of_otlp(body: &[u8]) -> Option<Vec<Point>> {
    let mut points = Vec::new();
    for resource_metrics in inner(&fields(body)?, 1) {
        let resource_metrics = fields(resource_metrics)?;
        let mut agent = None;
        for resource in inner(&resource_metrics, 1) {
            for attribute in inner(&fields(resource)?, 1) {
                let (key, value) = attribute_of(attribute)?;
                if key == AGENT_ATTRIBUTE {
                    agent = Some(value);
                }
            }
        }
        for scope_metrics in inner(&resource_metrics, 2) {
            for metric in inner(&fields(scope_metrics)?, 2) {
                metric_points(&fields(metric)?, agent.as_ref(), &mut points)?;
            }
        }
    }
    Some(points)
}

fn metric_points(metric: &[Field], agent: Option<&String>, points: &mut Vec<Point>) -> Option<()> {
    let name = last_text(metric, 1)?;
    for (number, wire) in metric {
        let (5 | 7 | 9..=11, Wire::Bytes(data)) = (number, wire) else {
            continue;
        };
        for point in inner(&fields(data)?, 1) {
            if *number >= 9 {
                points.push(Err(Reason::WrongType));
            } else {
                points.extend(point_of(point, &name, agent)?);
            }
        }
    }
    Some(())
}

/// A point, or that it has no recorded value; `None` when it is no message.
fn point_of(point: &[u8], name: &str, agent: Option<&String>) -> Option<Option<Point>> {
    let point = fields(point)?;
    let labels: Option<Vec<_>> = inner(&point, 7).map(attribute_of).collect();
    let labels = labels?;
    // Double or integer, whichever comes last.
    let value = point.iter().rev().find_map(|field| match field {
        (4, Wire::Fixed64(bits)) => Some(*bits),
        (6, Wire::Fixed64(bits)) => Some((*bits as i64 as f64).to_bits()),
        _ => None,
    });
    if last_varint(&point, 8).unwrap_or(0) % 2 == 1 {
        return Some(None);
    }
    let nanos = last_bits(&point, 3).unwrap_or(0);
    let at = Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX));
    Some(Some(match (agent, value) {
        (None, _) => Err(Reason::MissingField),
        (_, None) => Err(Reason::WrongType),
        (Some(agent), Some(bits)) => Ok((agent.clone(), metric(name, labels), bits, at)),
    }))
}

/// Key and value of an attribute.
fn attribute_of(attribute: &[u8]) -> Option<(String, String)> {
    let attribute = fields(attribute)?;
    let key = last_text(&attribute, 1)?;
    let mut value = String::new();
    for any in inner(&attribute, 2) {
        value = String::new();
        for field in fields(any)? {
            value = match field {
                (1, Wire::Bytes(text)) => utf8(&text)?,
                (2, Wire::Varint(bit)) => (bit != 0).to_string(),
                (3, Wire::Varint(n)) => (n as i64).to_string(),
                (4, Wire::Fixed64(bits)) => f64::from_bits(bits).to_string(),
                _ => "?".to_owned(),
            };
        }
    }
    Some((key, value))
}
