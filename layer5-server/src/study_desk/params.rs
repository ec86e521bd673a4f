//! Points as the names and values that a caller knows.
//! In: a [`Space`], and a point of it or JSON. Out: the other. Called from: [`super`], the page of a study.

use layer5_optimize::{Domain, Point, Space, UnitCube, Value as ParameterValue};
use serde_json::{Map, Value, json};

/// A point as the names and values that a caller knows.
pub(crate) fn params(space: &Space, point: &Point) -> Map<String, Value> {
    let each = space.parameters().iter().zip(point.values()).enumerate();
    each.map(|(index, (parameter, &value))| {
        let value = match value {
            ParameterValue::Float(x) => json!(x),
            ParameterValue::Int(x) => json!(x),
            other => json!(space.choice_name(index, other)),
        };
        (parameter.name.clone(), value)
    })
    .collect()
}

/// The point that a caller's names and values mean. A parameter that is fixed, or does not matter there, may be left out.
///
/// # Errors
/// Which name or value does not fit, in words.
pub(super) fn point(space: &Space, params: &Map<String, Value>) -> Result<Point, String> {
    if let Some(name) = params.keys().find(|name| space.index_of(name).is_none()) {
        return Err(format!("no parameter `{name}` in this study"));
    }
    // What is left out stands in the middle, or where it is fixed.
    let cube = UnitCube::new(space);
    let mut point = cube.from_unit(&vec![0.5; cube.len()]);
    let mut missing = Vec::new();
    for (index, parameter) in space.parameters().iter().enumerate() {
        let name = &parameter.name;
        match params.get(name) {
            Some(given) => {
                let read = value(&parameter.domain, given);
                let wrong = || format!("params: {given} is no value of `{name}`");
                point.0[index] = read.ok_or_else(wrong)?;
            }
            None if parameter.fixed.is_some() => {}
            None => missing.push(index),
        }
    }
    let matters = |index: &&usize| space.is_active(**index, &point);
    match missing.iter().find(matters) {
        Some(&index) => Err(format!(
            "params: `{}` is missing",
            space.parameters()[index].name
        )),
        None => Ok(point),
    }
}

/// The value of a domain that JSON means, if it is of its kind.
pub(super) fn value(domain: &Domain, given: &Value) -> Option<ParameterValue> {
    match domain {
        Domain::Float { .. } => given.as_f64().map(ParameterValue::Float),
        Domain::Int { .. } => given.as_i64().map(ParameterValue::Int),
        Domain::Categorical { .. } | Domain::Ordinal { .. } => domain.choice(given.as_str()?),
        _ => None,
    }
}
