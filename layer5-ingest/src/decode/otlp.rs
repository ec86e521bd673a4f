//! OpenTelemetry metrics: an `ExportMetricsServiceRequest`, as protobuf or JSON, to reports of one value each.
//! In: the message, already decompressed and bounded by the transport. Out: one call of the sink per data point.
//! Called from: `server/http/otlp`.
//! Gauges and sums have values; histograms and summaries have not, their points are counted and refused.
//! Invariants: as of [`super`]; a point without a recorded value is passed over.
//! Reference: OpenTelemetry protocol 1.x, `opentelemetry/proto/metrics/v1/metrics.proto`, and "JSON Protobuf Encoding".

mod json;

use std::borrow::Cow;

use layer5_core::{MetricName, Reason, Rejection, Timestamp};

use super::{
    BodyError, DecodeLimits, ReportSink,
    labelled::{Values, metric, no_agent, text},
    protobuf::{Fields, Value},
    remote_write::broken,
};

/// The task of every report.
const TASK: &str = "otlp";
/// The flag of a point that has no value.
const NO_RECORDED_VALUE: u64 = 1;

type Labels<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Reads every data point of a message and gives it to `sink` as [`super::decode_reports`] does; a point that is refused
/// brings its own bytes, or its metric's. `agent_attribute` is the attribute of the resource that names the agent; the
/// metric is its name and the point's attributes.
///
/// Returns how many points there were, those without a recorded value not counted.
///
/// # Errors
/// When the body is no such message, or holds more than [`DecodeLimits::reports_max`] points.
///
/// # Cost
/// One pass and a half; one allocation per point that has attributes.
pub fn decode_otlp<'a>(
    body: &'a [u8],
    agent_attribute: &str,
    limits: &DecodeLimits,
    sink: &mut ReportSink<'_, 'a>,
) -> Result<usize, BodyError> {
    let mut message = Message {
        body,
        agent_attribute,
        agent: None,
        labels: Vec::new(),
        values: Values::new(TASK, limits, sink),
    };
    let mut request = Fields::of(body);
    while let Some(field) = request.next().map_err(|e| broken(body, body, e))? {
        if let (1, Value::Bytes(resource_metrics)) = field {
            message.resource_metrics(resource_metrics)?;
        }
    }
    Ok(message.values.len())
}

/// The same for a message in JSON; broken JSON is [`BodyError::Json`].
///
/// # Errors
/// As [`decode_otlp`].
///
/// # Cost
/// The message is held as a tree of borrowed values.
pub fn decode_otlp_json<'a>(
    body: &'a [u8],
    agent_attribute: &str,
    limits: &DecodeLimits,
    sink: &mut ReportSink<'_, 'a>,
) -> Result<usize, BodyError> {
    let mut values = Values::new(TASK, limits, sink);
    json::read(body, agent_attribute, &mut values)?;
    Ok(values.len())
}

/// One message while it is read.
struct Message<'s, 'k, 'a, 'n> {
    body: &'a [u8],
    agent_attribute: &'n str,
    agent: Option<Cow<'a, str>>,
    labels: Labels<'a>,
    values: Values<'s, 'k, 'a>,
}

impl<'a> Message<'_, '_, 'a, '_> {
    fn resource_metrics(&mut self, message: &'a [u8]) -> Result<(), BodyError> {
        self.agent = None;
        // The resource may come behind what it is the resource of.
        self.each(message, |this, field| match field {
            (1, Value::Bytes(resource)) => this.resource(resource),
            _ => Ok(()),
        })?;
        self.each(message, |this, field| match field {
            (2, Value::Bytes(scope_metrics)) => this.scope_metrics(scope_metrics),
            _ => Ok(()),
        })
    }

    fn resource(&mut self, message: &'a [u8]) -> Result<(), BodyError> {
        self.each(message, |this, field| {
            if let (1, Value::Bytes(attribute)) = field {
                let (key, value) = this.attribute(attribute)?;
                if key == this.agent_attribute {
                    this.agent = Some(value);
                }
            }
            Ok(())
        })
    }

    fn scope_metrics(&mut self, message: &'a [u8]) -> Result<(), BodyError> {
        self.each(message, |this, field| match field {
            (2, Value::Bytes(metric)) => this.metric(metric),
            _ => Ok(()),
        })
    }

    fn metric(&mut self, message: &'a [u8]) -> Result<(), BodyError> {
        let mut name = Cow::Borrowed("");
        self.each(message, |this, field| {
            if let (1, Value::Bytes(bytes)) = field {
                name = text(bytes, this.body)?;
            }
            Ok(())
        })?;
        self.each(message, |this, field| match field {
            (5 | 7, Value::Bytes(points)) => this.each(points, |this, field| match field {
                (1, Value::Bytes(point)) => this.point(name.clone(), point),
                _ => Ok(()),
            }),
            (9..=11, Value::Bytes(points)) => this.each(points, |this, field| match field {
                (1, Value::Bytes(point)) => this.values.refuse(not_a_number(&name), point),
                _ => Ok(()),
            }),
            _ => Ok(()),
        })
    }

    fn point(&mut self, name: Cow<'a, str>, point: &'a [u8]) -> Result<(), BodyError> {
        let (mut value, mut nanos, mut flags) = (None, 0, 0);
        self.labels.clear();
        self.each(point, |this, field| {
            match field {
                (3, Value::Fixed64(time)) => nanos = time,
                (4, Value::Fixed64(bits)) => value = Some(f64::from_bits(bits)),
                (6, Value::Fixed64(bits)) => value = Some(bits.cast_signed() as f64),
                (7, Value::Bytes(attribute)) => {
                    let label = this.attribute(attribute)?;
                    this.labels.push(label);
                }
                (8, Value::Varint(bits)) => flags = bits,
                _ => {}
            }
            Ok(())
        })?;
        let (agent, attribute) = (&self.agent, self.agent_attribute);
        let labels = &mut self.labels;
        let point = Point {
            name: &name,
            value,
            nanos,
            no_recorded_value: flags & NO_RECORDED_VALUE != 0,
            raw: point,
        };
        point.put(agent.as_ref(), attribute, labels, &mut self.values)
    }

    fn attribute(&self, message: &'a [u8]) -> Result<(Cow<'a, str>, Cow<'a, str>), BodyError> {
        let (mut key, mut value) = (Cow::Borrowed(""), Cow::Borrowed(""));
        let mut fields = Fields::of(message);
        while let Some(field) = fields.next().map_err(|e| broken(self.body, message, e))? {
            match field {
                (1, Value::Bytes(bytes)) => key = text(bytes, self.body)?,
                (2, Value::Bytes(any)) => value = self.any_value(any)?,
                _ => {}
            }
        }
        Ok((key, value))
    }

    fn any_value(&self, message: &'a [u8]) -> Result<Cow<'a, str>, BodyError> {
        let mut value = Cow::Borrowed("");
        let mut fields = Fields::of(message);
        while let Some(field) = fields.next().map_err(|e| broken(self.body, message, e))? {
            value = match field {
                (1, Value::Bytes(bytes)) => text(bytes, self.body)?,
                (2, Value::Varint(bit)) => Cow::Borrowed(if bit == 0 { "false" } else { "true" }),
                (3, Value::Varint(number)) => Cow::Owned(number.cast_signed().to_string()),
                (4, Value::Fixed64(bits)) => Cow::Owned(f64::from_bits(bits).to_string()),
                _ => Cow::Borrowed(NOT_SCALAR),
            };
        }
        Ok(value)
    }

    fn each(
        &mut self,
        message: &'a [u8],
        mut field: impl FnMut(&mut Self, (u32, Value<'a>)) -> Result<(), BodyError>,
    ) -> Result<(), BodyError> {
        let mut fields = Fields::of(message);
        while let Some(next) = fields.next().map_err(|e| broken(self.body, message, e))? {
            field(self, next)?;
        }
        Ok(())
    }
}

/// What stands for an attribute that is a list, a map or bytes.
const NOT_SCALAR: &str = "?";

/// A data point, from either form.
struct Point<'p, 'a> {
    name: &'p Cow<'a, str>,
    value: Option<f64>,
    nanos: u64,
    no_recorded_value: bool,
    raw: &'a [u8],
}

impl<'a> Point<'_, 'a> {
    /// Gives the point to the sink, if it has a value.
    fn put(
        self,
        agent: Option<&Cow<'a, str>>,
        agent_attribute: &str,
        labels: &mut Labels<'a>,
        values: &mut Values<'_, '_, 'a>,
    ) -> Result<(), BodyError> {
        if self.no_recorded_value {
            return Ok(());
        }
        let Some(agent) = agent else {
            let rejection = no_agent("the resource attribute", agent_attribute);
            return values.refuse(rejection, self.raw);
        };
        let Some(value) = self.value else {
            return values.refuse(not_a_number(self.name), self.raw);
        };
        values.of(agent.clone(), metric(self.name.clone(), labels));
        let nanos = i64::try_from(self.nanos).unwrap_or(i64::MAX);
        values.value(value, Timestamp::from_nanos(nanos), self.raw)
    }
}

fn not_a_number(name: &str) -> Rejection {
    let name = MetricName::from(name)
        .as_str()
        .chars()
        .take(40)
        .collect::<String>();
    let detail = "only gauges and sums are taken, their points being numbers";
    Rejection::new(Reason::WrongType, name, detail)
}
