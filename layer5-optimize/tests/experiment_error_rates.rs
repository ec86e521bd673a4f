//! An experiment that is looked at after every value tells equal groups apart no more often than
//! alpha, and different ones soon.
//! How: seeded simulation, a verdict after every single value. A rate over N runs has standard error
//! sqrt(p (1 - p) / N); bounds stand three of them above alpha.

use layer5_optimize::experiment::{Experiment, ExperimentSettings, Group, Verdict};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

const N_RUNS: u64 = 1500;
const N_VALUES: u64 = 600;

/// Standard normal by Box and Muller.
fn normal(rng: &mut Pcg64) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// One value of mean 0 from a group.
type Noise = fn(&mut Pcg64, Group) -> f64;

/// No improvement is too small, so that only a wrong verdict ends a run.
fn settings() -> ExperimentSettings {
    ExperimentSettings {
        smallest_effect: 0.0,
        ..ExperimentSettings::default()
    }
}

/// The verdict of one run and the values it took; `treated_share` of the values are treated.
fn run(noise: Noise, effect: f64, treated_share: f64, seed: u64) -> (Verdict, u64) {
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut experiment = Experiment::new(settings()).expect("the settings fit");
    for n_values in 1..=N_VALUES {
        let treated = rng.random::<f64>() < treated_share;
        let group = if treated {
            Group::Treated
        } else {
            Group::Control
        };
        let shift = if treated { effect } else { 0.0 };
        let verdict = experiment
            .add(group, shift + noise(&mut rng, group))
            .expect("finite");
        if matches!(verdict, Verdict::Better { .. } | Verdict::Worse { .. }) {
            return (verdict, n_values);
        }
    }
    (experiment.verdict(), N_VALUES)
}

/// Share of runs without an effect that see one.
fn false_alarms(noise: Noise, treated_share: f64) -> f64 {
    let wrong = |seed: &u64| run(noise, 0.0, treated_share, *seed).0;
    let alarms = (0..N_RUNS)
        .filter(|seed| matches!(wrong(seed), Verdict::Better { .. } | Verdict::Worse { .. }));
    alarms.count() as f64 / N_RUNS as f64
}

fn check(name: &str, noise: Noise, treated_share: f64, bound: f64) {
    let rate = false_alarms(noise, treated_share);
    assert!(
        rate <= bound,
        "{name}: {rate} of the runs saw an effect, bound {bound}"
    );
}

/// alpha = 0.05 plus three standard errors over 1500 runs.
const ALPHA_BOUND: f64 = 0.067;

#[test]
fn equal_normal_groups_are_told_apart_at_most_alpha_often() {
    check("normal", |rng, _| normal(rng), 0.5, ALPHA_BOUND);
    check("normal", |rng, _| normal(rng), 0.1, ALPHA_BOUND);
}

#[test]
fn unequal_variances_keep_the_rate() {
    let noise: Noise = |rng, group| match group {
        Group::Treated => 3.0 * normal(rng),
        Group::Control => normal(rng),
    };
    check("treated three times wider", noise, 0.5, ALPHA_BOUND);
    check("treated three times wider", noise, 0.1, ALPHA_BOUND);
    check("treated three times wider", noise, 0.9, ALPHA_BOUND);
}

#[test]
fn heavy_tails_and_skew_keep_the_rate() {
    // Student t with 3 degrees of freedom.
    let heavy: Noise = |rng, _| {
        let chi2: f64 = (0..3).map(|_| normal(rng).powi(2)).sum();
        normal(rng) / (chi2 / 3.0).sqrt()
    };
    check("student t, 3", heavy, 0.5, ALPHA_BOUND);
    check("student t, 3", heavy, 0.1, ALPHA_BOUND);
    let skewed: Noise = |rng, _| -(1.0 - rng.random::<f64>()).ln() - 1.0;
    check("exponential", skewed, 0.5, ALPHA_BOUND);
    check("exponential", skewed, 0.1, ALPHA_BOUND);
}

#[test]
fn a_real_difference_is_found_soon_and_with_the_right_sign() {
    let found: Vec<(Verdict, u64)> = (0..200)
        .map(|seed| run(|rng, _| normal(rng), 0.8, 0.5, seed))
        .collect();
    let better = found
        .iter()
        .filter(|(v, _)| matches!(v, Verdict::Better { .. }))
        .count();
    let mut lens: Vec<u64> = found.iter().map(|(_, len)| *len).collect();
    lens.sort_unstable();
    // 0.8 standard deviations: a fixed-size test of 80 % power takes 50 values; the price of
    // looking always is about a factor of 2.
    assert!(better >= 199, "{better} of 200");
    assert!(lens[100] <= 100, "median {}", lens[100]);
    let (verdict, _) = run(|rng, _| normal(rng), -0.8, 0.5, 1);
    assert!(matches!(verdict, Verdict::Worse { upper, .. } if upper < 0.0));
}

#[test]
fn the_interval_holds_the_difference_at_every_look() {
    let misses = (0..N_RUNS).filter(|&seed| {
        let mut rng = Pcg64::seed_from_u64(seed);
        let mut experiment = Experiment::new(settings()).unwrap();
        (0..N_VALUES).any(|i| {
            let (group, mean) = if i % 3 == 0 {
                (Group::Treated, 0.3)
            } else {
                (Group::Control, 0.0)
            };
            // `add` stops at a verdict, the interval with it: what counts is every look up to then.
            experiment.add(group, mean + normal(&mut rng)).unwrap();
            experiment
                .interval()
                .is_some_and(|ci| !(ci.lower <= 0.3 && 0.3 <= ci.upper))
        })
    });
    let rate = misses.count() as f64 / N_RUNS as f64;
    assert!(rate <= ALPHA_BOUND, "{rate} of the runs lost the truth");
}

#[test]
fn futility_ends_what_cannot_become_worth_it() {
    let settings = ExperimentSettings {
        smallest_effect: 0.5,
        ..ExperimentSettings::default()
    };
    let mut experiment = Experiment::new(settings).unwrap();
    let mut rng = Pcg64::seed_from_u64(4);
    let mut verdict = Verdict::Running;
    for i in 0..2000 {
        let group = if i % 2 == 0 {
            Group::Treated
        } else {
            Group::Control
        };
        verdict = experiment.add(group, normal(&mut rng)).unwrap();
    }
    assert!(
        matches!(verdict, Verdict::NoDifference { upper, .. } if upper < 0.5),
        "{verdict:?}"
    );
    // It stays, whatever comes.
    for _ in 0..100 {
        assert_eq!(experiment.add(Group::Treated, 1e6).unwrap(), verdict);
    }
}

#[test]
fn a_budget_ends_what_cannot_be_decided() {
    let settings = ExperimentSettings {
        smallest_effect: 0.0,
        len_max: 40,
        ..ExperimentSettings::default()
    };
    let mut experiment = Experiment::new(settings).unwrap();
    for i in 0..40 {
        assert_eq!(experiment.verdict(), Verdict::Running);
        let group = if i % 2 == 0 {
            Group::Treated
        } else {
            Group::Control
        };
        experiment.add(group, f64::from(i / 2 % 5)).unwrap();
    }
    assert!(matches!(experiment.verdict(), Verdict::NoDifference { .. }));
}

#[test]
fn what_is_not_finite_or_not_sensible_is_refused() {
    let mut experiment = Experiment::new(settings()).unwrap();
    let before = experiment.clone();
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(experiment.add(Group::Treated, value).is_err());
    }
    assert_eq!(experiment, before);
    let fits = |change: fn(&mut ExperimentSettings)| {
        let mut settings = settings();
        change(&mut settings);
        Experiment::new(settings).is_ok()
    };
    assert!(!fits(|s| s.alpha = 0.0) && !fits(|s| s.alpha = 1.0) && fits(|s| s.alpha = 0.5));
    assert!(!fits(|s| s.effect_size = 0.0) && !fits(|s| s.smallest_effect = f64::NAN));
    assert!(!fits(|s| s.group_len_min = 1) && fits(|s| s.group_len_min = 2));
    assert!(!fits(|s| s.len_max = 3) && fits(|s| s.len_max = 4));
}
