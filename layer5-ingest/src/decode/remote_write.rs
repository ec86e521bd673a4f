//! Prometheus remote write 1.0: a `WriteRequest` to reports of one value each.
//! In: the message, already decompressed and bounded by the transport. Out: one call of the sink per sample.
//! Called from: `server/http/remote_write`.
//! Invariants: as of [`super`]; a stale marker is no value and is passed over; exemplars, histograms and metadata too.
//! Reference: Prometheus Remote-Write 1.0 specification, <https://prometheus.io/docs/specs/prw/remote_write_spec/>.

use std::borrow::Cow;

use layer5_core::Timestamp;

use super::{
    BodyError, DecodeLimits, ReportSink,
    labelled::{Values, metric, no_agent, text},
    protobuf::{Broken, Fields, Value},
};

/// The NaN that means: the series has ended.
const STALE: u64 = 0x7ff0_0000_0000_0002;
const NANOS_PER_MILLI: i64 = 1_000_000;
/// The label that holds the name of the metric.
const NAME: &str = "__name__";

/// Reads every sample of a `WriteRequest` and gives it to `sink` as [`super::decode_reports`] does; a sample that is
/// refused brings its series' message as raw bytes. `agent_label` is the label that names the agent; name and other
/// labels make the metric.
///
/// Returns how many samples there were, stale markers not counted.
///
/// # Errors
/// When the body is no such message, or holds more than [`DecodeLimits::reports_max`] samples.
///
/// # Cost
/// One pass; one allocation per series that has labels besides name and agent.
pub fn decode_remote_write<'a>(
    body: &'a [u8],
    agent_label: &str,
    limits: &DecodeLimits,
    sink: &mut ReportSink<'_, 'a>,
) -> Result<usize, BodyError> {
    let mut values = Values::new("remote_write", limits, sink);
    let mut labels = Vec::new();
    let mut request = Fields::of(body);
    while let Some(field) = request.next().map_err(|e| broken(body, body, e))? {
        if let (1, Value::Bytes(series)) = field {
            one_series(body, series, agent_label, &mut labels, &mut values)?;
        }
    }
    Ok(values.len())
}

type Labels<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

fn one_series<'a>(
    body: &'a [u8],
    series: &'a [u8],
    agent_label: &str,
    labels: &mut Labels<'a>,
    values: &mut Values<'_, '_, 'a>,
) -> Result<(), BodyError> {
    labels.clear();
    let (mut agent, mut name) = (None, Cow::Borrowed(""));
    let mut fields = Fields::of(series);
    while let Some(field) = fields.next().map_err(|e| broken(body, series, e))? {
        let (1, Value::Bytes(label)) = field else {
            continue;
        };
        let (label, value) = one_label(body, label)?;
        if label == agent_label {
            agent = Some(value);
        } else if label == NAME {
            name = value;
        } else {
            labels.push((label, value));
        }
    }
    if let Some(agent) = &agent {
        values.of(agent.clone(), metric(name, labels));
    }
    let mut fields = Fields::of(series);
    while let Some(field) = fields.next().map_err(|e| broken(body, series, e))? {
        let (2, Value::Bytes(sample)) = field else {
            continue;
        };
        let (value, millis) = one_sample(body, sample)?;
        if value.to_bits() == STALE {
            continue;
        }
        match &agent {
            Some(_) => {
                let at = Timestamp::from_nanos(millis.saturating_mul(NANOS_PER_MILLI));
                values.value(value, at, series)?;
            }
            None => values.refuse(no_agent("the label", agent_label), series)?,
        }
    }
    Ok(())
}

fn one_label<'a>(
    body: &'a [u8],
    label: &'a [u8],
) -> Result<(Cow<'a, str>, Cow<'a, str>), BodyError> {
    let (mut name, mut value): (&[u8], &[u8]) = (b"", b"");
    let mut fields = Fields::of(label);
    while let Some(field) = fields.next().map_err(|e| broken(body, label, e))? {
        match field {
            (1, Value::Bytes(bytes)) => name = bytes,
            (2, Value::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Ok((text(name, body)?, text(value, body)?))
}

fn one_sample(body: &[u8], sample: &[u8]) -> Result<(f64, i64), BodyError> {
    let (mut value, mut millis) = (0.0, 0);
    let mut fields = Fields::of(sample);
    while let Some(field) = fields.next().map_err(|e| broken(body, sample, e))? {
        match field {
            (1, Value::Fixed64(bits)) => value = f64::from_bits(bits),
            (2, Value::Varint(number)) => millis = number.cast_signed(),
            _ => {}
        }
    }
    Ok((value, millis))
}

/// Where in `body` the message `within` it is broken.
pub(super) fn broken(body: &[u8], within: &[u8], error: Broken) -> BodyError {
    let start = within.as_ptr() as usize - body.as_ptr() as usize;
    BodyError::Protobuf {
        expected: error.expected,
        offset: start + within.len() - error.left,
    }
}
