//! Between a cohort's configured parameters and a study's points: names and numbers outside, typed values inside.
//! In: [`ParameterConfig`]s. Out: a [`Space`], and points as the `{name: number}` of the contracts and back.
//! Invariants: a point that leaves as parameters and comes back is the same point.

use layer5_core::Parameters;
use layer5_optimize::{Domain, Parameter, Point, Space, SpaceError, Value, rollout::limit_step};

use crate::config::{ParameterConfig, ParameterType};

/// The study's space of these parameters.
///
/// # Errors
/// [`SpaceError`] as the optimizer words it, for what the config's own checks let pass (no parameter, a name twice).
pub fn space(parameters: &[ParameterConfig]) -> Result<Space, SpaceError> {
    let domain = |p: &ParameterConfig| match p.kind {
        ParameterType::Float => Domain::Float {
            low: p.low,
            high: p.high,
            log: p.log,
            step: None,
        },
        ParameterType::Int => Domain::Int {
            low: p.low.ceil() as i64,
            high: p.high.floor() as i64,
            log: p.log,
            step: None,
        },
    };
    Space::new(
        parameters
            .iter()
            .map(|p| Parameter::new(&p.name, domain(p)))
            .collect(),
    )
}

/// The point at the configured initial values.
#[must_use]
pub fn initial(parameters: &[ParameterConfig]) -> Point {
    Point(parameters.iter().map(|p| value(p, p.initial)).collect())
}

/// The value of one parameter, rounded for an int and kept inside the bounds.
fn value(parameter: &ParameterConfig, number: f64) -> Value {
    let number = number.clamp(parameter.low, parameter.high);
    match parameter.kind {
        ParameterType::Float => Value::Float(number),
        ParameterType::Int => Value::Int(number.round() as i64),
    }
}

fn number(value: Value) -> f64 {
    match value {
        Value::Float(x) => x,
        Value::Int(x) => x as f64,
        Value::Choice(x) => x as f64,
        _ => f64::NAN,
    }
}

/// The point as the contracts write it.
#[must_use]
pub fn to_parameters(parameters: &[ParameterConfig], point: &Point) -> Parameters {
    let numbers = point.values().iter().map(|&v| number(v));
    parameters
        .iter()
        .map(|p| p.name.clone())
        .zip(numbers)
        .collect()
}

/// The point nearest to what the contracts wrote; parameters that are absent have their initial value.
#[must_use]
pub fn from_parameters(parameters: &[ParameterConfig], given: &Parameters) -> Point {
    let of = |p: &ParameterConfig| value(p, given.get(&p.name).copied().unwrap_or(p.initial));
    Point(parameters.iter().map(of).collect())
}

/// One safe step from `from` towards `to`: no parameter moves more than `largest_step` of its range (of its logarithm
/// where it is logarithmic), and an int moves at least by one.
#[must_use]
pub fn step_towards(
    parameters: &[ParameterConfig],
    from: &Point,
    to: &Point,
    largest_step: f64,
) -> Point {
    let each = parameters.iter().zip(from.values()).zip(to.values());
    Point(
        each.map(|((p, &from), &to)| {
            let (a, b) = (number(from), number(to));
            let stepped = if p.log {
                let low = p.low.ln();
                limit_step(a.ln(), b.ln(), low, p.high.ln(), largest_step).exp()
            } else {
                limit_step(a, b, p.low, p.high, largest_step)
            };
            let stepped = match value(p, stepped) {
                Value::Int(x) if x as f64 == a && a != b => a + (b - a).signum(),
                _ if (stepped - b).abs() <= 1e-12 * b.abs() => b,
                _ => stepped,
            };
            value(p, stepped)
        })
        .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Vec<ParameterConfig> {
        let float = ParameterConfig {
            name: "share".into(),
            kind: ParameterType::Float,
            low: 0.0,
            high: 1.0,
            log: false,
            initial: 0.5,
        };
        let int = ParameterConfig {
            name: "threads".into(),
            kind: ParameterType::Int,
            low: 1.0,
            high: 64.0,
            log: true,
            initial: 8.0,
        };
        vec![float, int]
    }

    #[test]
    fn a_point_comes_back_as_it_left() {
        let p = parameters();
        let point = Point(vec![Value::Float(0.25), Value::Int(16)]);
        assert_eq!(from_parameters(&p, &to_parameters(&p, &point)), point);
        assert_eq!(from_parameters(&p, &Parameters::new()), initial(&p));
    }

    #[test]
    fn steps_are_limited_and_arrive() {
        let p = parameters();
        let goal = Point(vec![Value::Float(1.0), Value::Int(64)]);
        let mut at = initial(&p);
        let mut steps = 0;
        while at != goal {
            let next = step_towards(&p, &at, &goal, 0.1);
            let (Value::Float(a), Value::Float(b)) = (at.values()[0], next.values()[0]) else {
                panic!("floats stay floats");
            };
            assert!(b - a <= 0.1 + 1e-12);
            at = next;
            steps += 1;
            assert!(steps < 20, "never arrives: {at:?}");
        }
        assert_eq!(step_towards(&p, &initial(&p), &goal, 1.0), goal);
    }
}
