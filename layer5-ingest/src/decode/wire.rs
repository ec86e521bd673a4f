//! The binary form of a report: for senders in Rust that want to spare both ends the decimals.
//! In: the frames of a body of `application/vnd.layer5.bincode`. Out: reports. Called from: [`crate::decode_reports`];
//! senders call [`WireReport::append_to`].
//! Layout: per report the length of what follows (u32 LE), then one envelope of [`layer5_core::codec`] that holds a
//! [`WireReport`]. Every report stands alone, so that a damaged one is rejected by its index and goes to the
//! dead-letter log as it came, and a body never needs more memory than its largest report.

use std::borrow::Cow;
use std::fmt;

use layer5_core::{MetricName, Report, Shape, Timestamp, Value, codec};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::BodyError;

/// The envelope that holds a [`WireReport`].
pub const FORMAT: codec::Format = codec::Format {
    kind: b'R',
    version: 1,
};

/// The bytes of a frame's length.
pub const LENGTH_BYTES: usize = 4;

/// A report as it crosses the wire in binary; unchecked, like any report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WireReport {
    /// Who reports.
    pub agent_id: String,
    /// The task that was finished.
    pub task_id: String,
    /// When the values were read, by the sender's clock.
    pub recorded_at: Timestamp,
    /// Shape B: every finite value is taken. Otherwise the catalogue's ranges are enforced.
    pub batch: bool,
    /// The machine that the agent runs on.
    pub hostname: Option<String>,
    /// Metric names and values.
    pub values: Vec<(String, f64)>,
}

impl WireReport {
    /// Appends this report to a body as one frame.
    ///
    /// # Panics
    /// When the report takes more than 4 GiB.
    pub fn append_to(&self, body: &mut Vec<u8>) {
        let envelope = codec::encode(FORMAT, self);
        let bytes = u32::try_from(envelope.len()).expect("a report takes less than 4 GiB");
        body.extend_from_slice(&bytes.to_le_bytes());
        body.extend_from_slice(&envelope);
    }
}

/// What the envelope of a [`WireReport`] holds, left where it lies; the fields are those of it, in its order.
#[derive(Deserialize)]
struct Borrowed<'a> {
    agent_id: &'a str,
    task_id: &'a str,
    recorded_at: Timestamp,
    batch: bool,
    hostname: Option<&'a str>,
    #[serde(borrow)]
    values: Values<'a>,
}

/// The values of a report, made in place of their pairs.
struct Values<'a>(Vec<Value<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Values<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Vec<Value<'de>>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("pairs of a name and a value")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
                // What the length claims is not yet there.
                let n = pairs.size_hint().unwrap_or(0).min(VALUES_EXPECTED_MAX);
                let mut values = Vec::with_capacity(n);
                while let Some((name, value)) = pairs.next_element::<(&'de str, f64)>()? {
                    values.push(Value {
                        metric: MetricName::from(name),
                        value,
                    });
                }
                Ok(values)
            }
        }
        deserializer.deserialize_seq(Pairs).map(Self)
    }
}

/// Room made for values before the first is read.
const VALUES_EXPECTED_MAX: usize = 64;

/// Reads the envelope of one frame.
pub(super) fn report(envelope: &[u8]) -> Result<Report<'_>, codec::DecodeError> {
    let wire: Borrowed<'_> = codec::decode_borrowed(FORMAT, envelope)?;
    Ok(Report {
        agent_id: wire.agent_id.into(),
        task_id: wire.task_id.into(),
        recorded_at: wire.recorded_at,
        shape: if wire.batch {
            Shape::Batch
        } else {
            Shape::Task
        },
        hostname: wire.hostname.map(Cow::Borrowed),
        values: wire.values.0,
    })
}

/// The envelope of the frame that starts at `offset`.
pub(super) fn frame_at(body: &[u8], offset: usize) -> Result<&[u8], BodyError> {
    let rest = &body[offset..];
    let cut = |bytes, left| BodyError::CutFrame {
        offset,
        bytes,
        left,
    };
    let (length, rest) = rest
        .split_first_chunk()
        .ok_or(cut(LENGTH_BYTES, rest.len()))?;
    let bytes = u32::from_le_bytes(*length) as usize;
    rest.get(..bytes).ok_or(cut(bytes, rest.len()))
}
