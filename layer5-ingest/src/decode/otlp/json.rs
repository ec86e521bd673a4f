//! OTLP in JSON: lower camel case, 64-bit numbers as text or numbers.
//! In: a whole body. Out: values. Called from: [`super::decode_otlp_json`].
//! Invariants: the depth is bounded by the JSON reader (128); unknown fields are passed over.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, de};

use super::{BodyError, NO_RECORDED_VALUE, NOT_SCALAR, Point, Values, not_a_number};

/// Reads `body` and gives its points to `values`.
pub(super) fn read<'a>(
    body: &'a [u8],
    agent_attribute: &str,
    values: &mut Values<'_, '_, 'a>,
) -> Result<(), BodyError> {
    let request: Request<'a> = serde_json::from_slice(body).map_err(|error| BodyError::Json {
        detail: error.to_string(),
    })?;
    let mut labels = Vec::new();
    for resource_metrics in request.resource_metrics {
        let mut attributes = resource_metrics.resource.attributes.into_iter();
        let agent = attributes.rfind(|attribute| attribute.key == agent_attribute);
        let agent = agent.map(|attribute| attribute.value.text());
        let scopes = resource_metrics.scope_metrics.into_iter();
        for metric in scopes.flat_map(|scope| scope.metrics) {
            let name = metric.name;
            let kinds = [metric.gauge, metric.sum].into_iter().flatten();
            for point in kinds.flat_map(|points| points.data_points) {
                labels.clear();
                let each = point.attributes.into_iter();
                labels.extend(each.map(|attribute| (attribute.key, attribute.value.text())));
                let point = Point {
                    name: &name,
                    value: point.as_double.or(point.as_int.map(|n| n.0 as f64)),
                    nanos: point.time_unix_nano.0.max(0).cast_unsigned(),
                    no_recorded_value: point.flags & NO_RECORDED_VALUE != 0,
                    raw: b"",
                };
                point.put(agent.as_ref(), agent_attribute, &mut labels, values)?;
            }
            let others = [
                metric.histogram,
                metric.exponential_histogram,
                metric.summary,
            ];
            for _ in others.into_iter().flatten().flat_map(|o| o.data_points) {
                values.refuse(not_a_number(&name), b"")?;
            }
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow, default)]
    resource_metrics: Vec<ResourceMetrics<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceMetrics<'a> {
    #[serde(borrow, default)]
    resource: Resource<'a>,
    #[serde(borrow, default)]
    scope_metrics: Vec<ScopeMetrics<'a>>,
}

#[derive(Default, Deserialize)]
struct Resource<'a> {
    #[serde(borrow, default)]
    attributes: Vec<Attribute<'a>>,
}

#[derive(Deserialize)]
struct ScopeMetrics<'a> {
    #[serde(borrow, default)]
    metrics: Vec<Metric<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metric<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    gauge: Option<Points<'a>>,
    #[serde(borrow)]
    sum: Option<Points<'a>>,
    histogram: Option<Others>,
    exponential_histogram: Option<Others>,
    summary: Option<Others>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Points<'a> {
    #[serde(borrow, default)]
    data_points: Vec<NumberPoint<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Others {
    #[serde(default)]
    data_points: Vec<de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NumberPoint<'a> {
    #[serde(default)]
    time_unix_nano: Integer,
    #[serde(default, deserialize_with = "double")]
    as_double: Option<f64>,
    as_int: Option<Integer>,
    #[serde(borrow, default)]
    attributes: Vec<Attribute<'a>>,
    #[serde(default)]
    flags: u64,
}

#[derive(Deserialize)]
struct Attribute<'a> {
    #[serde(borrow, default)]
    key: Cow<'a, str>,
    #[serde(borrow, default)]
    value: AnyValue<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyValue<'a> {
    #[serde(borrow)]
    string_value: Option<Cow<'a, str>>,
    bool_value: Option<bool>,
    int_value: Option<Integer>,
    #[serde(default, deserialize_with = "double")]
    double_value: Option<f64>,
}

impl<'a> AnyValue<'a> {
    fn text(self) -> Cow<'a, str> {
        match (
            self.string_value,
            self.bool_value,
            self.int_value,
            self.double_value,
        ) {
            (Some(text), ..) => text,
            (_, Some(bit), ..) => Cow::Borrowed(if bit { "true" } else { "false" }),
            (_, _, Some(number), _) => Cow::Owned(number.0.to_string()),
            (.., Some(number)) => Cow::Owned(number.to_string()),
            _ => Cow::Borrowed(NOT_SCALAR),
        }
    }
}

/// A 64-bit number, which JSON has as text.
#[derive(Clone, Copy, Default)]
struct Integer(i64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Integer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a 64-bit number or its text")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Integer, E> {
                Ok(Integer(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Integer, E> {
                Ok(Integer(i64::try_from(number).unwrap_or(i64::MAX)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Integer, E> {
                let number = text.parse().map(Integer);
                number.map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A double, or what JSON has no number for: "NaN", "Infinity", "-Infinity".
fn double<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    struct Visitor;
    impl de::Visitor<'_> for Visitor {
        type Value = Option<f64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number")
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
            Ok(Some(number))
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
            Ok(Some(number as f64))
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
            Ok(Some(number as f64))
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let number = text.parse().map(Some);
            number.map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }
    deserializer.deserialize_any(Visitor)
}
