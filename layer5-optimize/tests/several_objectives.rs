//! Proves that several objectives are searched towards their whole front: by every sampler, by expected hypervolume best.
//! How: published pairs and triples whose fronts and volumes are known.

mod runs;

use layer5_optimize::pareto::hypervolume;
use layer5_optimize::{
    ConfigError, Direction, Domain, Outcome, Parameter, SamplerKind, Space, Study, StudyConfig,
    insight,
};
use runs::{floats, numbers};

fn run(
    sampler: SamplerKind,
    d: usize,
    n: usize,
    seed: u64,
    f: impl Fn(&[f64]) -> Vec<f64>,
) -> Study {
    let m = f(&vec![0.5; d]).len();
    let mut study = Study::new(StudyConfig {
        other_directions: vec![Direction::Minimize; m - 1],
        sampler,
        seed,
        ..StudyConfig::new(floats(d))
    })
    .expect("fits");
    for _ in 0..n {
        let trial = study.ask();
        let outcome = Outcome::Values {
            objectives: f(&numbers(&trial.point)),
            constraints: vec![],
            noise_sd: vec![],
        };
        study.tell(trial.id, outcome).expect("pending");
    }
    study
}

fn reached(study: &Study, reference: &[f64]) -> f64 {
    let front = study.pareto_front();
    let values: Vec<Vec<f64>> = front.iter().map(|o| o.objectives().collect()).collect();
    hypervolume(&values, reference)
}

/// ZDT1 (Zitzler, Deb and Thiele 2000), scaled to values near 1: the front is `1 - sqrt(f1)`.
fn zdt1(x: &[f64]) -> Vec<f64> {
    let g = 1.0 + 9.0 * x[1..].iter().sum::<f64>() / (x.len() - 1) as f64;
    vec![x[0], g * (1.0 - (x[0] / g).sqrt())]
}

/// DTLZ2 (Deb, Thiele, Laumanns and Zitzler 2002) of three objectives: the front is an eighth of the unit sphere.
fn dtlz2(x: &[f64]) -> Vec<f64> {
    let g: f64 = x[2..].iter().map(|x| (x - 0.5).powi(2)).sum();
    let (a, b) = (
        x[0] * std::f64::consts::FRAC_PI_2,
        x[1] * std::f64::consts::FRAC_PI_2,
    );
    vec![
        (1.0 + g) * a.cos() * b.cos(),
        (1.0 + g) * a.cos() * b.sin(),
        (1.0 + g) * a.sin(),
    ]
}

#[test]
fn hypervolume_improvement_finds_the_front_of_a_pair() {
    // The whole front below (1.1, 1.1) dominates 1.1^2 - 1/3 = .8767.
    let mean = |sampler| {
        let all = (0..3).map(|seed| reached(&run(sampler, 4, 40, seed, zdt1), &[1.1, 1.1]));
        all.sum::<f64>() / 3.0
    };
    let (ehvi, auto) = (mean(SamplerKind::Ehvi), mean(SamplerKind::Auto));
    let (nsga, random) = (mean(SamplerKind::Nsga2), mean(SamplerKind::Random));
    let found = format!("ehvi {ehvi}, auto {auto}, nsga2 {nsga}, random {random}");
    let all = 1.21 - 1.0 / 3.0;
    assert!(ehvi > 0.95 * all && ehvi.max(auto) <= all, "{found}");
    assert!(ehvi > nsga && ehvi > random && auto > random, "{found}");
}

#[test]
fn hypervolume_improvement_finds_most_of_the_front_of_a_triple() {
    // The whole front below 1.1 in each dominates 1.331 - pi / 6 = .8074.
    let reference = [1.1; 3];
    let all = 1.331 - std::f64::consts::FRAC_PI_6;
    let mean = |sampler| {
        let all = (0..3).map(|seed| reached(&run(sampler, 4, 50, seed, dtlz2), &reference));
        all.sum::<f64>() / 3.0
    };
    let (ehvi, random) = (mean(SamplerKind::Ehvi), mean(SamplerKind::Random));
    assert!(
        ehvi > 0.8 * all && ehvi > random && ehvi <= all,
        "{ehvi} of {all}, random {random}"
    );
}

#[test]
fn a_constraint_is_kept_on_the_front() {
    let mut study = Study::new(StudyConfig {
        other_directions: vec![Direction::Maximize],
        n_constraints: 1,
        sampler: SamplerKind::Ehvi,
        ..StudyConfig::new(floats(2))
    })
    .expect("fits");
    for _ in 0..30 {
        let trial = study.ask();
        let x = numbers(&trial.point);
        let outcome = Outcome::Values {
            objectives: vec![x[0] * x[0] + x[1], x[0] + x[1]],
            constraints: vec![0.5 - x[0]],
            noise_sd: vec![],
        };
        study.tell(trial.id, outcome).expect("pending");
    }
    let front = study.pareto_front();
    assert!(
        front.len() >= 5 && front.iter().all(|o| o.is_feasible()),
        "{}",
        front.len()
    );
    let kept = study.observations()[10..]
        .iter()
        .filter(|o| o.is_feasible());
    assert!(kept.count() >= 12, "the constraint is learned");
}

#[test]
fn four_objectives_are_refused_by_name() {
    let config = StudyConfig {
        other_directions: vec![Direction::Minimize; 3],
        sampler: SamplerKind::Ehvi,
        ..StudyConfig::new(floats(2))
    };
    let refused = Study::new(config.clone()).map(|_| ());
    assert!(matches!(
        refused,
        Err(ConfigError::UnfitObjectives {
            limit: 3,
            found: 4,
            ..
        })
    ));
    let auto = SamplerKind::Auto;
    Study::new(StudyConfig {
        sampler: auto,
        ..config
    })
    .expect("any number");
}

#[test]
fn two_objectives_spread_over_their_front() {
    // Schaffer's pair: x^2 and (x - 2)^2, the front is x in 0..=2. The volume below (4, 4) by the midpoint rule.
    let best = {
        let n = 100_000;
        let f = |i: i32| 4.0 * (f64::from(i) + 0.5) / f64::from(n);
        (0..n)
            .map(|i| 4.0 - (f(i).sqrt() - 2.0).powi(2))
            .sum::<f64>()
            * 4.0
            / f64::from(n)
    };
    let volume = |sampler| {
        let space = Space::new(vec![Parameter::new("x", Domain::float(-10.0, 10.0))]);
        let mut study = Study::new(StudyConfig {
            other_directions: vec![Direction::Minimize],
            sampler,
            ..StudyConfig::new(space.expect("valid"))
        })
        .expect("fits");
        for _ in 0..60 {
            let trial = study.ask();
            let x = numbers(&trial.point)[0];
            let objectives = vec![x * x, (x - 2.0).powi(2)];
            let outcome = Outcome::Values {
                objectives,
                constraints: vec![],
                noise_sd: vec![],
            };
            study.tell(trial.id, outcome).expect("pending");
        }
        let curve = insight::hypervolume_curve(&study, &[4.0, 4.0]).expect("two values");
        assert!(curve.is_sorted());
        curve[59] / best
    };
    let ehvi = volume(SamplerKind::Ehvi);
    assert!(ehvi > 0.95 && ehvi <= 1.0, "{ehvi}");
    let (auto, nsga, random) = (
        volume(SamplerKind::Auto),
        volume(SamplerKind::Nsga2),
        volume(SamplerKind::Random),
    );
    assert!(auto > 0.9 && auto <= 1.0, "{auto}");
    assert!(nsga > random && nsga <= 1.0, "{nsga} {random}");
}
