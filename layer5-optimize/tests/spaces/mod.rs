//! The table of the contract suites: every kind of space, every sampler that can search it, and what they minimise.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "a module of several test programs, each of which uses a part"
)]

use layer5_optimize::{
    ConfigError, Domain, Parameter, Point, SamplerKind, Space, Study, StudyConfig, Value,
};

pub fn space(domains: &[Domain]) -> Space {
    let named = domains.iter().enumerate();
    Space::new(
        named
            .map(|(i, d)| Parameter::new(format!("p{i}"), d.clone()))
            .collect(),
    )
    .expect("valid")
}

fn spaces() -> Vec<(&'static str, Space)> {
    vec![
        ("one", space(&[Domain::float(-1.0, 2.0)])),
        (
            "floats",
            space(&[Domain::float(-5.0, 10.0), Domain::log_float(1e-5, 1.0)]),
        ),
        ("ints", space(&[Domain::int(0, 6), Domain::int(-3, 3)])),
        (
            "names",
            space(&[
                Domain::categorical(["a", "b", "c"]),
                Domain::categorical(["x", "y"]),
            ]),
        ),
        (
            "mixed",
            space(&[
                Domain::float(0.0, 1.0),
                Domain::int(1, 9),
                Domain::Int {
                    low: 1,
                    high: 1000,
                    log: true,
                    step: None,
                },
                Domain::Float {
                    low: 0.0,
                    high: 1.0,
                    log: false,
                    step: Some(0.25),
                },
                Domain::categorical(["a", "b", "c"]),
                Domain::Ordinal {
                    choices: ["s", "m", "l"].map(String::from).to_vec(),
                },
            ]),
        ),
        ("wide", space(&vec![Domain::float(0.0, 1.0); 40])),
        ("conditional", conditional()),
        (
            "fixed",
            Space::new(vec![
                Parameter::new("x", Domain::float(0.0, 1.0)),
                Parameter::new("y", Domain::float(0.0, 9.0)).fixed_at(Value::Float(2.5)),
                Parameter::new("n", Domain::int(1, 40)),
            ])
            .expect("valid"),
        ),
    ]
}

/// A choice, a rate that matters for one of them, a depth for the other, and a width that matters below some depths.
pub fn conditional() -> Space {
    Space::new(vec![
        Parameter::new("model", Domain::categorical(["line", "tree"])),
        Parameter::new("rate", Domain::log_float(1e-4, 1.0)).when("model", [Value::Choice(0)]),
        Parameter::new("depth", Domain::int(1, 5)).when("model", [Value::Choice(1)]),
        Parameter::new("width", Domain::float(0.0, 1.0))
            .when("depth", [Value::Int(3), Value::Int(4)]),
    ])
    .expect("valid")
}

/// Every pair of sampler and space that fits together.
pub fn studies() -> Vec<(String, StudyConfig)> {
    let mut all = Vec::new();
    for kind in SamplerKind::ALL {
        for (name, space) in spaces() {
            let config = StudyConfig {
                sampler: kind,
                seed: 7,
                ..StudyConfig::new(space)
            };
            match Study::new(config.clone()) {
                Ok(_) => all.push((format!("{kind} on {name}"), config)),
                Err(ConfigError::UnfitSpace { .. }) => assert_eq!(name, "names"),
                Err(error) => panic!("{kind} on {name}: {error}"),
            }
        }
    }
    all
}

/// A smooth bowl with its bottom off the centre; categories count as their index.
pub fn bowl(point: &Point) -> f64 {
    let term = |value: &Value| match *value {
        Value::Float(x) => (x - 0.3) * (x - 0.3),
        Value::Int(n) => 0.1 * (n as f64 - 2.0).powi(2),
        Value::Choice(k) => k as f64,
        _ => unreachable!("the table has no other kind"),
    };
    point.values().iter().map(term).sum()
}
