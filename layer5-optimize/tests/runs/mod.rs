//! What tests of whole studies share: spaces of floats, points as numbers, and a run of asking and telling.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "a module of several test programs, each of which uses a part"
)]

use layer5_optimize::{Domain, Outcome, Parameter, Point, Space, Study, Value};

/// So many floats between 0 and 1.
pub fn floats(d: usize) -> Space {
    let named = (0..d).map(|j| Parameter::new(format!("x{j}"), Domain::float(0.0, 1.0)));
    Space::new(named.collect()).expect("valid")
}

/// The point's values, a choice by its place.
pub fn numbers(point: &Point) -> Vec<f64> {
    let number = |value: &Value| match *value {
        Value::Float(x) => x,
        Value::Int(n) => n as f64,
        Value::Choice(k) => k as f64,
        _ => unreachable!("no other kind here"),
    };
    point.values().iter().map(number).collect()
}

/// Asks and tells `n` times; the points, in order.
pub fn run(study: &mut Study, n: usize, f: impl Fn(&Point) -> f64) -> Vec<Point> {
    let mut points = Vec::new();
    for _ in 0..n {
        let trial = study.ask();
        let value = f(&trial.point);
        study
            .tell(trial.id, Outcome::Value(value))
            .expect("pending");
        points.push(trial.point);
    }
    points
}
