//! Proves that the samplers find known minima, and by how much they beat even draws.
//! How: functions with published minima, several seeds, the median of what is left after a stated number of trials. Limits are
//! loose by a factor of about ten against what was measured when written, so that they break on a broken sampler, not on a
//! changed random number.

mod runs;

use std::f64::consts::PI;

use layer5_optimize::{Domain, Parameter, SamplerKind, Space, Study, StudyConfig};
use runs::{numbers, run};

fn median_regret(
    space: &Space,
    minimum: f64,
    sampler: SamplerKind,
    n_trials: usize,
    f: impl Fn(&[f64]) -> f64,
) -> f64 {
    let mut regrets: Vec<f64> = (0..5)
        .map(|seed| {
            let config = StudyConfig {
                sampler,
                seed,
                ..StudyConfig::new(space.clone())
            };
            let mut study = Study::new(config).expect("fits");
            run(&mut study, n_trials, |point| f(&numbers(point)));
            f(&numbers(&study.recommend().expect("told").point)) - minimum
        })
        .collect();
    regrets.sort_by(f64::total_cmp);
    regrets[2]
}

fn boxed(bounds: &[(f64, f64)]) -> Space {
    let named = bounds.iter().enumerate();
    Space::new(
        named
            .map(|(i, (l, h))| Parameter::new(i.to_string(), Domain::float(*l, *h)))
            .collect(),
    )
    .expect("valid")
}

fn branin(x: &[f64]) -> f64 {
    let a = x[1] - 5.1 / (4.0 * PI * PI) * x[0] * x[0] + 5.0 / PI * x[0] - 6.0;
    a * a + 10.0 * (1.0 - 1.0 / (8.0 * PI)) * x[0].cos() + 10.0
}

#[test]
fn branin_in_forty_trials() {
    let space = boxed(&[(-5.0, 10.0), (0.0, 15.0)]);
    let after = |sampler| median_regret(&space, 0.397_887_357_729_739, sampler, 40, branin);
    let (auto, gp, local) = (
        after(SamplerKind::Auto),
        after(SamplerKind::Gp),
        after(SamplerKind::TrustRegion),
    );
    assert!(auto < 1e-6, "auto {auto:e}");
    assert!(gp < 1e-3, "gp {gp:e}");
    assert!(local < 1e-6, "trust region {local:e}");
    // Even draws leave about 0.7 here.
    assert!(after(SamplerKind::Random) > 0.05);
}

#[test]
fn a_tilted_bowl_in_five_dimensions() {
    let space = boxed(&[(-5.0, 5.0); 5]);
    let bowl = |x: &[f64]| {
        let sum: f64 = x.iter().sum();
        x.iter()
            .enumerate()
            .map(|(i, x)| (1 << i) as f64 * (x - 1.0) * (x - 1.0))
            .sum::<f64>()
            + (sum - 5.0).powi(2)
    };
    let auto = median_regret(&space, 0.0, SamplerKind::Auto, 50, bowl);
    assert!(auto < 1e-6, "auto {auto:e}");
    let evolution = median_regret(&space, 0.0, SamplerKind::CmaEs, 400, bowl);
    assert!(evolution < 2e-2, "cma_es {evolution:e}");
}

#[test]
fn a_mixed_space_with_categories_that_move_the_optimum() {
    let space = Space::new(vec![
        Parameter::new("x", Domain::float(-5.0, 5.0)),
        Parameter::new("rate", Domain::log_float(1e-4, 1.0)),
        Parameter::new("n", Domain::int(1, 20)),
        Parameter::new("kind", Domain::categorical(["a", "b", "c"])),
    ])
    .expect("valid");
    let f = |v: &[f64]| {
        let centre = [1.0, -2.0, 3.0][v[3] as usize];
        0.3 * (v[0] - centre).powi(2)
            + (v[1].log10() + 2.0).powi(2)
            + 0.05 * (v[2] - 7.0).powi(2)
            + [0.4, 0.0, 0.8][v[3] as usize]
    };
    let auto = median_regret(&space, 0.0, SamplerKind::Auto, 50, f);
    assert!(auto < 1e-2, "auto {auto:e}");
    let parzen = median_regret(&space, 0.0, SamplerKind::Tpe, 100, f);
    let random = median_regret(&space, 0.0, SamplerKind::Random, 100, f);
    assert!(parzen < random, "tpe {parzen:e}, random {random:e}");
}
