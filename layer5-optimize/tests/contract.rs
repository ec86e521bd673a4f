//! Proves that every sampler keeps the same promises on every kind of space.
//! How: one table of samplers and spaces; each promise is checked for each pair that fits together.

mod runs;
mod spaces;

use layer5_optimize::{
    ConfigError, Direction, Domain, Limit, Outcome, Point, PointError, SamplerKind, Study,
    StudyConfig, TellError, TrialId, TrialState, Value,
};
use runs::run;
use spaces::{bowl, conditional, space, studies};

#[test]
fn suggestions_are_inside_and_never_repeat_while_others_are_left() {
    for (name, config) in studies() {
        let mut study = Study::new(config.clone()).expect("fits");
        let points = run(&mut study, 30, bowl);
        let distinct = config.space.n_points().map_or(30, |n| n.min(30) as usize);
        for (i, point) in points.iter().enumerate() {
            assert_eq!(config.space.check(point), Ok(()), "{name}, trial {i}");
            assert!(
                i >= distinct || !points[..i].contains(point),
                "{name}, trial {i} repeats"
            );
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_sequence_and_another_seed_another() {
    for (name, config) in studies() {
        let sequence = |seed| {
            let config = StudyConfig {
                seed,
                ..config.clone()
            };
            run(&mut Study::new(config).expect("fits"), 20, bowl)
        };
        assert_eq!(sequence(1), sequence(1), "{name}");
        // A trust region starts in the middle and follows the function; the seed only places its restarts.
        if config.sampler != SamplerKind::TrustRegion {
            assert_ne!(sequence(1), sequence(2), "{name}");
        }
    }
}

#[test]
fn a_restored_study_goes_on_as_the_saved_one() {
    for (name, config) in studies() {
        let mut study = Study::new(config).expect("fits");
        run(&mut study, 17, bowl);
        let failed = study.ask();
        study.tell(failed.id, Outcome::Failed).expect("pending");
        study.ask();
        let saved = serde_json::to_string(&study).expect("plain data");
        let mut restored: Study = serde_json::from_str(&saved).expect("its own output");
        assert_eq!(restored.recommend(), study.recommend(), "{name}");
        for _ in 0..4 {
            let (a, b) = (study.ask(), restored.ask());
            assert_eq!(a, b, "{name}");
            let outcome = Outcome::Value(bowl(&a.point));
            study.tell(a.id, outcome.clone()).expect("pending");
            restored.tell(b.id, outcome).expect("pending");
        }
    }
}

#[test]
fn pending_trials_are_all_different() {
    for (name, config) in studies() {
        let n_points = config.space.n_points().unwrap_or(u64::MAX);
        let mut study = Study::new(config).expect("fits");
        run(&mut study, 4, bowl);
        let batch = study.ask_n(8.min(n_points as usize - 4));
        for (i, a) in batch.iter().enumerate() {
            assert!(batch[..i].iter().all(|b| a.point != b.point), "{name}");
        }
        // Telling in any order works.
        for trial in batch.iter().rev() {
            study
                .tell(trial.id, Outcome::Value(bowl(&trial.point)))
                .expect("pending");
        }
        run(&mut study, 2, bowl);
    }
}

#[test]
fn hostile_values_never_panic() {
    type Objective = fn(&Point) -> f64;
    let objectives: [(&str, Objective); 5] = [
        ("constant", |_| 3.0),
        ("huge", |p| 1e300 * (bowl(p) - 1.0)),
        ("tiny", |p| 1e-300 * bowl(p)),
        ("two values", |p| f64::from(bowl(p) > 1.0)),
        (
            "extremes",
            |p| if bowl(p) > 1.0 { f64::MAX } else { f64::MIN },
        ),
    ];
    for (name, config) in studies() {
        for (objective, f) in objectives {
            let mut study = Study::new(config.clone()).expect("fits");
            run(&mut study, 25, f);
            let advice = study.recommend().expect("told");
            let p = advice.predicted;
            assert!(
                p.lower <= p.mean
                    && p.mean <= p.upper
                    && p.lower.is_finite()
                    && p.upper.is_finite(),
                "{name}, {objective}: {p:?}"
            );
        }
    }
}

#[test]
fn duplicate_points_with_different_values_and_failures_are_taken() {
    for (name, config) in studies() {
        let mut study = Study::new(config).expect("fits");
        let point = study.ask().point;
        for i in 0..10 {
            study.observe(point.clone(), f64::from(i)).expect("inside");
        }
        for i in 0..15 {
            let trial = study.ask();
            let outcome = if i % 3 == 0 {
                Outcome::Failed
            } else {
                Outcome::Value(bowl(&trial.point))
            };
            study.tell(trial.id, outcome).expect("pending");
        }
        assert!(study.recommend().is_some(), "{name}");
    }
}

#[test]
fn a_study_in_which_everything_fails_goes_on() {
    for (name, config) in studies() {
        let mut study = Study::new(config).expect("fits");
        for _ in 0..25 {
            let trial = study.ask();
            study.tell(trial.id, Outcome::Failed).expect("pending");
        }
        assert!(study.recommend().is_none(), "{name}");
        assert!(study.incumbent().is_none(), "{name}");
    }
}

#[test]
fn maximising_is_minimising_the_negative() {
    for (name, config) in studies() {
        let mut down = Study::new(config.clone()).expect("fits");
        let mut up = Study::new(StudyConfig {
            direction: Direction::Maximize,
            ..config
        })
        .expect("fits");
        let a = run(&mut down, 20, bowl);
        let b = run(&mut up, 20, |p| -bowl(p));
        assert_eq!(a, b, "{name}");
        let (a, b) = (
            down.recommend().expect("told"),
            up.recommend().expect("told"),
        );
        assert_eq!(a.point, b.point, "{name}");
        assert_eq!(a.predicted.mean, -b.predicted.mean, "{name}");
        assert_eq!(a.predicted.lower, -b.predicted.upper, "{name}");
    }
}

#[test]
fn telling_twice_unknown_and_not_finite_are_three_errors_and_change_nothing() {
    let mut study = Study::new(StudyConfig::new(space(&[Domain::float(0.0, 1.0)]))).expect("fits");
    let id = study.ask().id;
    let unknown = TrialId(9);
    assert_eq!(
        study.tell(unknown, Outcome::Failed),
        Err(TellError::Unknown { id: unknown })
    );
    for value in [f64::NAN, f64::INFINITY] {
        let refused = study.tell(id, Outcome::Value(value));
        assert!(matches!(
            refused,
            Err(TellError::NotFinite {
                state: "pending",
                ..
            })
        ));
    }
    assert_eq!(study.trial(id).expect("asked").state, TrialState::Pending);
    assert_eq!(study.tell(id, Outcome::Value(1.0)), Ok(()));
    assert_eq!(
        study.tell(id, Outcome::Value(2.0)),
        Err(TellError::AlreadyTold { id, state: "told" })
    );
    assert_eq!(study.incumbent().expect("told").value, 1.0);
    let failed = study.ask().id;
    study.tell(failed, Outcome::Failed).expect("pending");
    assert_eq!(
        study.tell(failed, Outcome::Value(2.0)),
        Err(TellError::AlreadyTold {
            id: failed,
            state: "failed"
        })
    );
}

#[test]
fn observations_from_outside_are_checked() {
    let mut study = Study::new(StudyConfig::new(space(&[Domain::float(0.0, 1.0)]))).expect("fits");
    let at = |x: f64| Point(vec![Value::Float(x)]);
    assert!(matches!(
        study.observe(at(2.0), 0.0),
        Err(PointError::Outside { .. })
    ));
    assert!(matches!(
        study.observe(at(0.5), f64::NAN),
        Err(PointError::NotFinite { .. })
    ));
    assert!(study.observe(at(0.5), 1.0).is_ok());
    assert_eq!(study.observations()[0].trial, None);
}

#[test]
fn a_budget_of_zero_is_refused() {
    let config = StudyConfig {
        budget: Some(0),
        ..StudyConfig::new(space(&[Domain::int(0, 3)]))
    };
    assert!(matches!(Study::new(config), Err(ConfigError::BudgetZero)));
}

#[test]
fn values_that_do_not_matter_are_held_at_one_place() {
    for kind in SamplerKind::ALL {
        let space = conditional();
        let mut study = Study::new(StudyConfig {
            sampler: kind,
            ..StudyConfig::new(space.clone())
        })
        .expect("fits");
        for point in run(&mut study, 30, bowl) {
            let [_, rate, depth, width] = point.values() else {
                unreachable!("four parameters")
            };
            if !space.is_active(1, &point) {
                // The middle of a logarithm, to rounding.
                assert!(
                    matches!(rate, Value::Float(r) if (r - 0.01).abs() < 1e-12),
                    "{kind}"
                );
            }
            if !space.is_active(2, &point) {
                assert_eq!(*depth, Value::Int(3), "{kind}");
                // Depth is at 3, but does not matter, so width does not either.
                assert!(!space.is_active(3, &point), "{kind}");
            }
            if !space.is_active(3, &point) {
                assert_eq!(*width, Value::Float(0.5), "{kind}");
            }
        }
    }
}

#[test]
fn limits_and_the_largest_step_are_kept() {
    let space = space(&[Domain::float(0.0, 10.0), Domain::int(0, 10)]);
    let name = |j: usize| format!("p{j}");
    let limits = vec![
        Limit::Linear {
            terms: vec![(name(0), 1.0), (name(1), 2.0)],
            at_most: 12.0,
        },
        Limit::Forbidden {
            ranges: vec![(name(0), 4.0, 6.0), (name(1), 0.0, 2.0)],
        },
    ];
    for kind in SamplerKind::ALL {
        let config = StudyConfig {
            sampler: kind,
            limits: limits.clone(),
            ..StudyConfig::new(space.clone())
        };
        // The bowl's bottom is forbidden.
        let f = |p: &Point| {
            let [Value::Float(x), Value::Int(n)] = p.values() else {
                unreachable!()
            };
            (x - 5.0).powi(2) + (*n as f64 - 1.0).powi(2)
        };
        let mut study = Study::new(config.clone()).expect("fits");
        let points = run(&mut study, 30, f);
        for p in &points {
            let [Value::Float(x), Value::Int(n)] = p.values() else {
                unreachable!()
            };
            assert!(x + 2.0 * *n as f64 <= 12.0 + 1e-9, "{kind}: {p:?}");
            assert!(!((4.0..=6.0).contains(x) && *n <= 2), "{kind}: {p:?}");
        }
        let mut near = Study::new(StudyConfig {
            step_max: Some(0.1),
            limits: Vec::new(),
            ..config
        })
        .expect("fits");
        let first = Point(vec![Value::Float(9.0), Value::Int(9)]);
        near.observe(first, 100.0).expect("inside");
        for _ in 0..12 {
            let best = near.incumbent().expect("told").point.clone();
            let trial = near.ask();
            for (a, b) in best.values().iter().zip(trial.point.values()) {
                let away = match (a, b) {
                    (Value::Float(a), Value::Float(b)) => (a - b).abs(),
                    (Value::Int(a), Value::Int(b)) => (a - b).abs() as f64,
                    _ => unreachable!(),
                };
                // Every value within a step was seen after a while; then the last resort repeats one.
                assert!(away <= 1.0 + 1e-9, "{kind}: {best:?} {:?}", trial.point);
            }
            near.tell(trial.id, Outcome::Value(f(&trial.point)))
                .expect("pending");
        }
    }
}

#[test]
fn constraints_and_several_objectives_are_taken_by_every_sampler() {
    for kind in SamplerKind::ALL {
        let config = StudyConfig {
            sampler: kind,
            n_constraints: 1,
            other_directions: vec![Direction::Maximize],
            seed: 3,
            ..StudyConfig::new(space(&[Domain::float(0.0, 1.0), Domain::float(0.0, 1.0)]))
        };
        let mut study = Study::new(config).expect("fits");
        let outcome = |p: &Point| {
            let [Value::Float(x), Value::Float(y)] = p.values() else {
                unreachable!()
            };
            Outcome::Values {
                objectives: vec![x * x + y, x + y],
                constraints: vec![0.3 - x],
                noise_sd: vec![],
            }
        };
        for _ in 0..25 {
            let trial = study.ask();
            study
                .tell(trial.id, outcome(&trial.point))
                .expect("pending");
        }
        let front = study.pareto_front();
        assert!(!front.is_empty(), "{kind}");
        for a in &front {
            assert!(a.is_feasible(), "{kind}");
            let beaten = front.iter().any(|b| {
                b.value <= a.value
                    && b.others[0] >= a.others[0]
                    && (b.value < a.value || b.others[0] > a.others[0])
            });
            assert!(!beaten, "{kind}");
        }
        let saved = serde_json::to_string(&study).expect("plain data");
        let mut restored: Study = serde_json::from_str(&saved).expect("its own output");
        assert_eq!(restored.ask(), study.ask(), "{kind}");
    }
}
