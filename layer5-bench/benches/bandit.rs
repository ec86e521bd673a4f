//! Bandit policies: decisions per second, each with its reward, after as many as a day of them.
//! In: nothing. Out: criterion's report, elements = decisions. Called from: `cargo bench --bench bandit`.
//!
//! | group | shape | meant to stress |
//! |---|---|---|
//! | `bandit_10_arms` | Bernoulli arms 0.05 .. 0.50, state after 10 000 pulls | draws and logarithms per arm |
//! | `bandit_linear` | 10 arms, 8 features, state after 10 000 pulls | one matrix per arm: cache and flops |
//!
//! Before it is timed each policy must have lost less than a bound, so a fast wrong one does not count.
#![allow(
    missing_docs,
    reason = "criterion's macros expand to undocumented items"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use layer5_optimize::bandit::{
    Bandit, BernoulliThompson, ContextualBandit, GaussianPrior, GaussianThompson, KlUcb,
    LinThompson, LinUcb, Memory, RidgeSettings, Ucb1,
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

const N_ARMS: usize = 10;
const N_FEATURES: usize = 8;
const N_PULLS: u64 = 10_000;

/// Success probability of an arm.
fn success(arm: usize) -> f64 {
    0.05 * (arm + 1) as f64
}

/// Pulls `N_PULLS` times; returns the regret.
fn learn(policy: &mut impl Bandit) -> f64 {
    let mut rng = Pcg64::seed_from_u64(1);
    let mut regret = 0.0;
    for pull in 0..N_PULLS {
        let arm = policy.choose(pull);
        regret += success(N_ARMS - 1) - success(arm);
        let reward = f64::from(u8::from(rng.random::<f64>() < success(arm)));
        policy
            .reward(arm, reward)
            .expect("0 and 1 are taken by all");
    }
    regret
}

fn row<P: Bandit>(c: &mut Criterion, name: &str, mut policy: P, regret_max: f64) {
    let regret = learn(&mut policy);
    assert!(
        regret < regret_max,
        "{name} lost {regret}, bound {regret_max}"
    );
    let mut group = c.benchmark_group("bandit_10_arms");
    group.throughput(Throughput::Elements(1));
    let mut seed = N_PULLS;
    group.bench_function(name, |b| {
        b.iter(|| {
            seed += 1;
            let arm = policy.choose(black_box(seed));
            policy
                .reward(arm, (seed & 1) as f64)
                .expect("0 and 1 are taken by all");
            arm
        });
    });
    group.finish();
}

fn ten_arms(c: &mut Criterion) {
    // Choosing at random loses 2250; the bounds are twice what the policies lose on average.
    let forever = Memory::Forever;
    row(
        c,
        "thompson",
        BernoulliThompson::new(N_ARMS, forever).expect("fits"),
        250.0,
    );
    let flat = GaussianPrior::Flat;
    row(
        c,
        "thompson_gaussian",
        GaussianThompson::new(N_ARMS, forever, flat).expect("fits"),
        500.0,
    );
    row(
        c,
        "kl_ucb",
        KlUcb::new(N_ARMS, forever).expect("fits"),
        350.0,
    );
    row(c, "ucb1", Ucb1::new(N_ARMS, forever).expect("fits"), 1000.0);
    let window = Memory::Window { len: 5000 };
    row(
        c,
        "ucb1_window_5000",
        Ucb1::new(N_ARMS, window).expect("fits"),
        1200.0,
    );
    let discounted = Memory::Discounted { keep: 0.9998 };
    row(
        c,
        "thompson_discounted",
        BernoulliThompson::new(N_ARMS, discounted).expect("fits"),
        400.0,
    );
}

fn linear_row<P: ContextualBandit>(c: &mut Criterion, name: &str, mut policy: P) {
    let mut rng = Pcg64::seed_from_u64(2);
    let mut vector = |len: usize| -> Vec<f64> {
        (0..len)
            .map(|_| (rng.random::<f64>() - 0.5) * 1.2)
            .collect()
    };
    let thetas: Vec<Vec<f64>> = (0..N_ARMS).map(|_| vector(N_FEATURES)).collect();
    let contexts: Vec<Vec<f64>> = (0..1024).map(|_| vector(N_FEATURES)).collect();
    let value =
        |arm: usize, x: &[f64]| -> f64 { thetas[arm].iter().zip(x).map(|(a, b)| a * b).sum() };
    let (mut regret, mut random_regret) = (0.0, 0.0);
    for pull in 0..N_PULLS {
        let x = &contexts[pull as usize % contexts.len()];
        let best = (0..N_ARMS)
            .map(|arm| value(arm, x))
            .fold(f64::NEG_INFINITY, f64::max);
        let arm = policy.choose(x, pull).expect("the context fits");
        regret += best - value(arm, x);
        random_regret += best - value(pull as usize % N_ARMS, x);
        let noise = 0.2 * (rng.random::<f64>() - 0.5);
        policy
            .reward(arm, x, value(arm, x) + noise)
            .expect("finite");
    }
    assert!(
        regret < 0.05 * random_regret,
        "{name} lost {regret}, random {random_regret}"
    );
    let mut group = c.benchmark_group("bandit_linear");
    group.throughput(Throughput::Elements(1));
    let mut pull = 0;
    group.bench_function(name, |b| {
        b.iter(|| {
            pull += 1;
            let x = &contexts[pull % contexts.len()];
            let arm = policy
                .choose(black_box(x), pull as u64)
                .expect("the context fits");
            policy.reward(arm, x, 0.1).expect("finite");
            arm
        });
    });
    group.finish();
}

fn linear(c: &mut Criterion) {
    let settings = RidgeSettings::default();
    linear_row(
        c,
        "lin_ucb",
        LinUcb::new(N_ARMS, N_FEATURES, settings).expect("fits"),
    );
    linear_row(
        c,
        "lin_thompson",
        LinThompson::new(N_ARMS, N_FEATURES, settings).expect("fits"),
    );
}

criterion_group!(benches, ten_arms, linear);
criterion_main!(benches);
