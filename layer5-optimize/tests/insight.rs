//! Proves that what a study says it has learned is true: importances against published indices, curves, calibration.
//! How: functions whose variance is known part by part; a study that was told enough of them.

mod runs;

use layer5_optimize::insight;
use layer5_optimize::{Domain, Parameter, SamplerKind, Space, Study, StudyConfig, Value};
use runs::{floats, numbers, run};

#[test]
fn importances_find_what_matters() {
    let mut study = Study::new(StudyConfig {
        sampler: SamplerKind::Sobol,
        ..StudyConfig::new(floats(3))
    })
    .expect("fits");
    run(&mut study, 60, |p| {
        let x = numbers(p);
        // Variances over the cube: 1/12 times 16, 1 and 0.
        4.0 * x[0] + x[1]
    });
    let found = insight::importances(&study, 0).expect("a model");
    let alone: Vec<f64> = found.iter().map(|i| i.alone).collect();
    // Sampling error of 512 points is a few hundredths.
    assert!((alone[0] - 16.0 / 17.0).abs() < 0.08, "{alone:?}");
    assert!(
        (alone[1] - 1.0 / 17.0).abs() < 0.08 && alone[2] < 0.05,
        "{alone:?}"
    );
    let curve = insight::partial_dependence(&study, 0, 0, 11).expect("a model");
    assert_eq!(curve.len(), 11);
    let rise = curve[10].mean - curve[0].mean;
    assert!((rise - 4.0).abs() < 0.1, "{rise}");
    assert!(insight::partial_dependence(&study, 0, 9, 11).is_none());
    let curve = insight::convergence(&study);
    assert_eq!(curve.len(), 60);
    assert_eq!(curve[59], study.incumbent().map(|o| o.value));
}

#[test]
fn importances_of_ishigami_are_the_published_ones() {
    // sin x1 + 7 sin^2 x2 + x3^4 sin(x1) / 10 over -pi..pi: the third matters with the first or not at all. Indices from
    // the closed form of Ishigami and Homma (1990).
    let pi = std::f64::consts::PI;
    let named = (1..=3).map(|j| Parameter::new(format!("x{j}"), Domain::float(-pi, pi)));
    let mut study = Study::new(StudyConfig {
        sampler: SamplerKind::Sobol,
        ..StudyConfig::new(Space::new(named.collect()).expect("valid"))
    })
    .expect("fits");
    run(&mut study, 240, |p| {
        let x = numbers(p);
        x[0].sin() + 7.0 * x[1].sin().powi(2) + 0.1 * x[2].powi(4) * x[0].sin()
    });
    let found = insight::importances(&study, 0).expect("a model");
    let published = [(0.3139, 0.5576), (0.4424, 0.4424), (0.0, 0.2437)];
    for (one, (alone, total)) in found.iter().zip(published) {
        // 1024 draws err by a hundredth or two, a model of 240 rows by about as much.
        assert!((one.alone - alone).abs() < 0.05, "{found:?}");
        assert!((one.total - total).abs() < 0.05, "{found:?}");
    }
}

#[test]
fn importances_are_those_of_the_space_after_the_search_has_ended_on_a_spot() {
    // Over the space, (x - .3)^2 has the variance (.7^5 + .3^5) / 5 - ((.7^3 + .3^3) / 3)^2 = .01889, and a tenth for two of
    // three choices .01 * 2/9 = .00222; `idle` has none.
    let space = Space::new(vec![
        Parameter::new("x", Domain::float(0.0, 1.0)),
        Parameter::new("k", Domain::categorical(["a", "b", "c"])),
        Parameter::new("idle", Domain::float(0.0, 1.0)),
    ]);
    let mut study = Study::new(StudyConfig::new(space.expect("valid"))).expect("fits");
    run(&mut study, 80, |p| match p.values() {
        [Value::Float(x), Value::Choice(k), _] => {
            (x - 0.3).powi(2) + if *k == 1 { 0.0 } else { 0.1 }
        }
        _ => unreachable!("as declared"),
    });
    let told: Vec<f64> = study.observations().iter().map(|o| o.value).collect();
    let n_on_the_spot = told.iter().filter(|v| **v < 1e-4).count();
    assert!(n_on_the_spot > 20, "the search ended: {n_on_the_spot}");
    let found = insight::importances(&study, 0).expect("a model");
    let all = 0.01889 + 0.00222;
    for (one, alone) in found.iter().zip([0.01889 / all, 0.00222 / all, 0.0]) {
        // Draws err by a hundredth or two, a model of some thirty rows by about as much.
        assert!((one.alone - alone).abs() < 0.04, "{found:?}");
        assert!((one.total - alone).abs() < 0.04, "{found:?}");
    }
    let curves = insight::dependences(&study, 0, 11).expect("a model");
    let means = |j: usize| -> Vec<f64> { curves[j].iter().map(|d| d.mean).collect() };
    let (x, k) = (means(0), means(1));
    assert!((x[10] - x[3] - 0.49).abs() < 0.05, "{x:?}");
    assert!(
        (k[0] - k[1] - 0.1).abs() < 0.02 && (k[2] - k[1] - 0.1).abs() < 0.02,
        "{k:?}"
    );
}

#[test]
fn importances_of_hostile_values_are_shares() {
    type Objective = fn(f64) -> f64;
    let hostile: [Objective; 4] = [
        |_| 3.0,
        |x| 1e300 * x,
        |x| 1e-300 * x,
        |x| {
            if x > 0.5 { f64::MAX } else { f64::MIN }
        },
    ];
    for f in hostile {
        let mut study = Study::new(StudyConfig::new(floats(2))).expect("fits");
        run(&mut study, 15, |p| f(numbers(p)[0]));
        for one in insight::importances(&study, 0).expect("a model") {
            assert!((0.0..=1.0).contains(&one.alone) && (0.0..=1.0).contains(&one.total));
        }
        for curve in insight::dependences(&study, 0, 5).expect("a model") {
            assert!(
                curve.iter().all(|d| d.low <= d.high && d.mean.is_finite()),
                "{curve:?}"
            );
        }
        assert!(insight::importances(&study, 1).is_none());
    }
}

#[test]
fn what_matters_only_sometimes_is_seen_only_where_it_matters() {
    let space = Space::new(vec![
        Parameter::new("k", Domain::categorical(["a", "b"])),
        Parameter::new("x", Domain::float(0.0, 1.0)).when("k", [Value::Choice(1)]),
    ]);
    let mut study = Study::new(StudyConfig {
        sampler: SamplerKind::Random,
        ..StudyConfig::new(space.expect("valid"))
    })
    .expect("fits");
    run(&mut study, 40, |p| match p.values() {
        [Value::Choice(1), Value::Float(x)] => 10.0 * x,
        _ => 100.0,
    });
    let curve = insight::partial_dependence(&study, 0, 1, 5).expect("a model");
    assert!(
        (curve[4].mean - curve[0].mean - 10.0).abs() < 1.0,
        "{curve:?}"
    );
    assert!(curve[0].mean < 5.0, "the other branch is at 100: {curve:?}");
}

#[test]
fn predictions_are_calibrated_on_a_smooth_function() {
    let mut study = Study::new(StudyConfig {
        sampler: SamplerKind::Gp,
        ..StudyConfig::new(floats(2))
    })
    .expect("fits");
    run(&mut study, 40, |p| {
        let x = numbers(p);
        (6.0 * x[0]).sin() + (4.0 * x[1]).cos()
    });
    let calibration = insight::calibration(&study);
    assert!(calibration.pairs.len() > 20);
    let early = calibration.pairs.iter().filter(|pair| pair.is_early);
    // Rows of the design and probes of the noise have no prediction.
    let n_early = early.count();
    assert!(
        (1..=insight::warm_up(2) - 5).contains(&n_early),
        "{n_early}"
    );
    // 95 % intervals: four of five is far below what a calibrated model would do by chance, and far above a broken one.
    assert!(
        calibration.coverage.expect("pairs") > 0.8,
        "{:?}",
        calibration.coverage
    );
}
