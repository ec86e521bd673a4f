//! Proves that every sampler keeps its promises on every kind of space with everything a study may carry: stated noise,
//! constraints, pending and failed trials, a resume in the middle, one, two and eight threads; and that suggestions are
//! inside whatever the space is.
//! How: the table of [`spaces`] and every sampler; complete saved states are compared, drawn spaces are checked.

mod spaces;

use layer5_optimize::{
    Domain, Outcome, Parameter, Point, SamplerKind, Space, Study, StudyConfig, Value,
};
use proptest::prelude::*;
use spaces::{bowl, studies};

/// What a run carries besides plain values.
#[derive(Clone, Copy, Default)]
struct Carries {
    noise: bool,
    constraint: bool,
    pending: bool,
    failed: bool,
    resume: bool,
}

/// Deterministic scatter.
fn scatter(i: usize) -> f64 {
    [0.05, -0.03, 0.0, 0.04, -0.06][i % 5]
}

/// A run of 20 trials; the study at its end, written down.
fn saved_after_run(config: &StudyConfig, carries: Carries) -> String {
    let config = StudyConfig {
        n_constraints: usize::from(carries.constraint),
        ..config.clone()
    };
    let n_points = config.space.n_points().unwrap_or(u64::MAX);
    let mut study = Study::new(config.clone()).expect("fits");
    for i in 0..20 {
        if carries.resume && i == 11 {
            let saved = serde_json::to_string(&study).expect("plain data");
            study = serde_json::from_str(&saved).expect("its own output");
        }
        let trial = study.ask();
        assert_eq!(config.space.check(&trial.point), Ok(()), "trial {i}");
        if carries.pending && i % 4 == 1 {
            continue;
        }
        if carries.failed && i % 5 == 2 {
            study.tell(trial.id, Outcome::Failed).expect("pending");
            continue;
        }
        let value = bowl(&trial.point) + if carries.noise { scatter(i) } else { 0.0 };
        let outcome = Outcome::Values {
            objectives: vec![value],
            constraints: vec![value - 1.0; usize::from(carries.constraint)],
            noise_sd: vec![0.02 + 0.01 * (i % 3) as f64; usize::from(carries.noise)],
        };
        study.tell(trial.id, outcome).expect("pending");
    }
    if n_points > 20 {
        for (i, a) in study.trials().iter().enumerate() {
            let repeats = study.trials()[..i].iter().any(|b| a.point == b.point);
            assert!(!repeats, "trial {i} repeats");
        }
    }
    let advised = study.recommend().expect("told");
    assert_eq!(config.space.check(&advised.point), Ok(()));
    serde_json::to_string(&study).expect("plain data")
}

fn in_pool<T: Send>(n_threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build();
    pool.expect("a pool").install(work)
}

#[test]
fn a_resume_changes_nothing_whatever_a_study_carries() {
    let plain = Carries::default();
    let carried = [
        ("nothing", plain),
        (
            "noise",
            Carries {
                noise: true,
                ..plain
            },
        ),
        (
            "constraint",
            Carries {
                constraint: true,
                ..plain
            },
        ),
        (
            "pending",
            Carries {
                pending: true,
                ..plain
            },
        ),
        (
            "failed",
            Carries {
                failed: true,
                ..plain
            },
        ),
    ];
    for (name, config) in studies() {
        for (what, carries) in carried {
            let resumed = Carries {
                resume: true,
                ..carries
            };
            assert!(
                saved_after_run(&config, carries) == saved_after_run(&config, resumed),
                "{name} with {what}"
            );
        }
    }
}

#[test]
fn one_two_and_eight_threads_agree_with_everything_at_once() {
    let everything = Carries {
        noise: true,
        constraint: true,
        pending: true,
        failed: true,
        resume: true,
    };
    for (name, config) in studies() {
        let one = in_pool(1, || saved_after_run(&config, everything));
        for n_threads in [2, 8] {
            let many = in_pool(n_threads, || saved_after_run(&config, everything));
            assert!(one == many, "{name} on {n_threads} threads");
        }
    }
}

/// A legal domain, narrow or wide, near zero or far away.
fn domain() -> impl Strategy<Value = Domain> {
    let magnitude = prop_oneof![Just(1e-6), Just(1.0), Just(1e9)];
    let float = (
        -3.0f64..3.0,
        0.01f64..5.0,
        magnitude.clone(),
        prop::option::of(2u32..30),
    );
    let float = float.prop_map(|(low, width, unit, parts)| Domain::Float {
        low: low * unit,
        high: (low + width) * unit,
        log: false,
        step: parts.map(|n| width * unit / f64::from(n)),
    });
    let log_float = (-300.0f64..300.0, 0.01f64..300.0).prop_map(|(low, decades)| {
        let low = 10f64.powf(low);
        Domain::log_float(low, (low * 10f64.powf(decades)).min(1e300).max(low * 1.001))
    });
    let int = (
        -50i64..50,
        1i64..2000,
        any::<bool>(),
        prop::option::of(1i64..7),
    );
    let int = int.prop_map(|(low, width, log, step)| Domain::Int {
        low: if log { low.abs() + 1 } else { low },
        high: if log { low.abs() + 1 } else { low } + width,
        log,
        step: step.filter(|step| !log && *step <= width),
    });
    let names = |n: usize| (0..n).map(|k| format!("c{k}")).collect::<Vec<String>>();
    let choices = (1usize..40, any::<bool>()).prop_map(move |(n, ordered)| match ordered {
        true => Domain::Ordinal { choices: names(n) },
        false => Domain::Categorical { choices: names(n) },
    });
    prop_oneof![float, log_float, int, choices]
}

/// The value of a domain that lies at its lower end.
fn lowest(domain: &Domain) -> Value {
    match domain {
        Domain::Float { low, .. } => Value::Float(*low),
        Domain::Int { low, .. } => Value::Int(*low),
        _ => Value::Choice(0),
    }
}

/// Up to five parameters; the first may be fixed, the last may depend on the one before.
fn space() -> impl Strategy<Value = Space> {
    let domains = prop::collection::vec(domain(), 1..6);
    (domains, any::<bool>(), any::<bool>()).prop_map(|(domains, fix, depend)| {
        let n = domains.len();
        let mut all: Vec<Parameter> = Vec::new();
        for (j, domain) in domains.into_iter().enumerate() {
            let mut parameter = Parameter::new(format!("p{j}"), domain);
            if fix && j == 0 && n > 1 {
                let value = lowest(&parameter.domain);
                parameter = parameter.fixed_at(value);
            }
            if depend && j + 1 == n && n > 1 {
                let parent = &all[j - 1];
                if parent.domain.n_values().is_some() {
                    let value = lowest(&parent.domain);
                    parameter = parameter.when(parent.name.clone(), [value]);
                }
            }
            all.push(parameter);
        }
        Space::new(all).expect("drawn to be legal")
    })
}

/// Something to minimise on any space, of no great size.
fn somewhere(point: &Point) -> f64 {
    let term = |value: &Value| match *value {
        Value::Float(x) => (x.abs() + 1e-300).ln().abs().sqrt(),
        Value::Int(n) => (n as f64 - 2.0).abs().ln_1p(),
        Value::Choice(k) => 0.1 * k as f64,
        _ => unreachable!("no other kind is drawn"),
    };
    point.values().iter().map(term).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn suggestions_are_always_inside(space in space(), seed in any::<u64>()) {
        for sampler in SamplerKind::ALL {
            let config = StudyConfig { sampler, seed, ..StudyConfig::new(space.clone()) };
            // A trust region, an evolution strategy and SPSA need an order, and say so.
            let Ok(mut study) = Study::new(config) else { continue };
            for i in 0..14 {
                let trial = study.ask();
                prop_assert_eq!(space.check(&trial.point), Ok(()), "{}, trial {}", sampler, i);
                for (parameter, value) in space.parameters().iter().zip(trial.point.values()) {
                    prop_assert!(parameter.fixed.is_none_or(|fixed| fixed == *value), "{}", sampler);
                }
                let outcome = match i % 6 {
                    4 => Outcome::Failed,
                    _ => Outcome::Value(somewhere(&trial.point)),
                };
                study.tell(trial.id, outcome).expect("pending");
            }
            let advised = study.recommend().expect("told");
            prop_assert_eq!(space.check(&advised.point), Ok(()), "{}", sampler);
            let saved = serde_json::to_string(&study).expect("plain data");
            let mut restored: Study = serde_json::from_str(&saved).expect("its own output");
            prop_assert_eq!(restored.ask(), study.ask(), "{}", sampler);
        }
    }
}
