//! A group as bytes of the log, and back: samples and reports as columns, the rest through the one codec.
//! In: [`Group`] with the totals after it. Out: one envelope. Called from: [`super::log`].
//! Invariants: `decode(encode(g)) == g`, bit for bit; damage is an error, never another group.

use layer5_core::codec::{self, DecodeError, Format};
use layer5_core::{AgentId, Finding, MetricId, PatternEvent, SeriesId, SeriesKey, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use super::columns::{self, Cursor, write_varint};
use super::control::Control;
use super::group::{Effects, Evaluation, Group, StoredRecommendation, StoredReport, Totals};

const GROUP: Format = Format {
    kind: 1,
    version: 1,
};

/// The bytes of `group`, with the totals that the store has once it is stored.
///
/// # Cost
/// About 15 ns a sample.
pub(super) fn encode(group: &Group, totals: Totals) -> Vec<u8> {
    let record = Record {
        seq: group.seq,
        at: group.at,
        tick: group.tick,
        totals,
        new_agents: &group.new_agents,
        new_hosts: &group.new_hosts,
        new_metrics: &group.new_metrics,
        new_series: &group.new_series,
        n_reports: group.reports.len() as u64,
        reports: Bytes(write_reports(&group.reports)),
        n_samples: group.samples.len() as u64,
        samples: Bytes(columns::write(&group.samples)),
        controls: &group.controls,
        offsets: &group.offsets,
        events: group.effects.events.iter().map(EventRecord::from).collect(),
        recommendations: &group.effects.recommendations,
        evaluations: &group.effects.evaluations,
        delivered: &group.effects.delivered,
        refused: &group.effects.refused,
    };
    codec::encode(GROUP, &record)
}

/// The group and the totals after it.
pub(super) fn decode(bytes: &[u8]) -> Result<(Group, Totals), DecodeError> {
    let record: OwnedRecord = codec::decode(GROUP, bytes)?;
    let reports = read_reports(&record.reports.0, record.n_reports)
        .ok_or_else(|| DecodeError::Payload("reports end early".into()))?;
    let n_samples = usize::try_from(record.n_samples)
        .map_err(|_| DecodeError::Payload("more samples than memory".into()))?;
    let samples = columns::read(&record.samples.0, n_samples)
        .map_err(|e| DecodeError::Payload(e.to_string()))?;
    let group = Group {
        seq: record.seq,
        at: record.at,
        tick: record.tick,
        new_agents: record.new_agents,
        new_hosts: record.new_hosts,
        new_metrics: record.new_metrics,
        new_series: record.new_series,
        reports,
        samples,
        controls: record.controls,
        offsets: record.offsets,
        effects: Effects {
            events: record.events.into_iter().map(PatternEvent::from).collect(),
            recommendations: record.recommendations,
            evaluations: record.evaluations,
            delivered: record.delivered,
            refused: record.refused,
        },
    };
    Ok((group, record.totals))
}

#[derive(Serialize)]
struct Record<'a> {
    seq: u64,
    at: Timestamp,
    tick: bool,
    totals: Totals,
    new_agents: &'a [(AgentId, String)],
    new_hosts: &'a [(AgentId, String)],
    new_metrics: &'a [(MetricId, String)],
    new_series: &'a [(SeriesId, SeriesKey)],
    n_reports: u64,
    reports: Bytes,
    n_samples: u64,
    samples: Bytes,
    controls: &'a [Control],
    offsets: &'a [(String, String)],
    events: Vec<EventRecord>,
    recommendations: &'a [StoredRecommendation],
    evaluations: &'a [Evaluation],
    delivered: &'a [Uuid],
    refused: &'a [(Uuid, String)],
}

/// [`Record`] as it is read; the two have the same fields in the same order.
#[derive(Deserialize)]
struct OwnedRecord {
    seq: u64,
    at: Timestamp,
    tick: bool,
    totals: Totals,
    new_agents: Vec<(AgentId, String)>,
    new_hosts: Vec<(AgentId, String)>,
    new_metrics: Vec<(MetricId, String)>,
    new_series: Vec<(SeriesId, SeriesKey)>,
    n_reports: u64,
    reports: Bytes,
    n_samples: u64,
    samples: Bytes,
    controls: Vec<Control>,
    offsets: Vec<(String, String)>,
    events: Vec<EventRecord>,
    recommendations: Vec<StoredRecommendation>,
    evaluations: Vec<Evaluation>,
    delivered: Vec<Uuid>,
    refused: Vec<(Uuid, String)>,
}

/// [`PatternEvent`] without the flattening, which a format without field names can't express.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct EventRecord {
    id: u64,
    agent_id: String,
    metric: String,
    finding: Finding,
    explanation: String,
}

impl From<&PatternEvent> for EventRecord {
    fn from(event: &PatternEvent) -> Self {
        Self {
            id: event.id,
            agent_id: event.agent_id.clone(),
            metric: event.metric.clone(),
            finding: event.finding,
            explanation: event.explanation.clone(),
        }
    }
}

impl From<EventRecord> for PatternEvent {
    fn from(record: EventRecord) -> Self {
        Self {
            id: record.id,
            agent_id: record.agent_id,
            metric: record.metric,
            finding: record.finding,
            explanation: record.explanation,
        }
    }
}

/// Bytes that go through serde in one piece; a `Vec<u8>` would go byte by byte.
#[derive(Debug, PartialEq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Visitor)
    }
}

fn write_reports(reports: &[StoredReport]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(reports.len() * 17);
    for report in reports {
        bytes.extend_from_slice(&report.key.to_le_bytes());
        write_varint(&mut bytes, u64::from(report.n_samples));
    }
    bytes
}

fn read_reports(bytes: &[u8], n_reports: u64) -> Option<Vec<StoredReport>> {
    let mut cursor = Cursor { bytes, offset: 0 };
    let mut reports = Vec::with_capacity(usize::try_from(n_reports).ok()?.min(bytes.len()));
    for _ in 0..n_reports {
        let key = u128::from_le_bytes(cursor.take(16)?.try_into().ok()?);
        let n_samples = u16::try_from(cursor.varint()?).ok()?;
        reports.push(StoredReport { key, n_samples });
    }
    (cursor.offset == bytes.len()).then_some(reports)
}
