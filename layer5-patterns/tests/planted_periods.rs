//! Periods of planted series are told exactly, and none where there is none, under noise, trend, outliers and gaps.
//! Seeded: every series is a function of its seed alone. Each row of the table gives a recipe, its truth, and how many of
//! ten seeds must come out exactly.

use std::f64::consts::TAU;

use layer5_patterns::seasonality::{SeasonalityConfig, periods};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

#[derive(Clone, Copy)]
struct Recipe {
    n: usize,
    seasons: &'static [(f64, f64)],
    /// Standard deviation of the noise, and its lag-1 autocorrelation; 1 is a random walk.
    noise: (f64, f64),
    trend: f64,
    outliers: f64,
    gaps: f64,
    /// 0 sine, 1 two harmonics, 2 pulse.
    shape: u8,
}

const PLAIN: Recipe = Recipe {
    n: 2016,
    seasons: &[],
    noise: (1.0, 0.0),
    trend: 0.0,
    outliers: 0.0,
    gaps: 0.0,
    shape: 0,
};
const DAY: &[(f64, f64)] = &[(288.0, 2.0)];
const WEEK: &[(f64, f64)] = &[(24.0, 2.0), (168.0, 1.5)];

fn series(recipe: &Recipe, seed: u64) -> Vec<f64> {
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut normal = move || {
        let (u, v): (f64, f64) = (rng.random(), rng.random());
        ((-2.0 * (1.0 - u).ln()).sqrt() * (TAU * v).cos(), u)
    };
    let mut noise = 0.0;
    let phase = seed as f64;
    (0..recipe.n)
        .map(|t| {
            let (sigma, phi) = recipe.noise;
            let fresh = if phi < 1.0 {
                (1.0 - phi * phi).sqrt()
            } else {
                1.0
            };
            noise = phi * noise + fresh * sigma * normal().0;
            let mut value = noise + recipe.trend * t as f64 / recipe.n as f64;
            for (len, amplitude) in recipe.seasons {
                let x = TAU * t as f64 / len + phase;
                value += amplitude
                    * match recipe.shape {
                        0 => x.sin(),
                        1 => x.sin() + 0.6 * (2.0 * x).cos(),
                        _ => f64::from(u8::from(x.rem_euclid(TAU) < 0.4)) * 4.0,
                    };
            }
            if normal().1 < recipe.outliers {
                value += 30.0 * normal().0;
            }
            if normal().1 < recipe.gaps {
                f64::NAN
            } else {
                value
            }
        })
        .collect()
}

#[test]
fn planted_periods_are_told_exactly() {
    let table: Vec<(&str, Recipe, &[usize], usize)> = vec![
        (
            "288",
            Recipe {
                seasons: DAY,
                ..PLAIN
            },
            &[288],
            10,
        ),
        (
            "288 noisy",
            Recipe {
                seasons: DAY,
                noise: (3.0, 0.0),
                ..PLAIN
            },
            &[288],
            8,
        ),
        (
            "288 trend",
            Recipe {
                seasons: DAY,
                trend: 40.0,
                ..PLAIN
            },
            &[288],
            10,
        ),
        (
            "288 outliers",
            Recipe {
                seasons: DAY,
                outliers: 0.05,
                ..PLAIN
            },
            &[288],
            9,
        ),
        (
            "288 gaps",
            Recipe {
                seasons: DAY,
                gaps: 0.1,
                ..PLAIN
            },
            &[288],
            10,
        ),
        (
            "288 all",
            Recipe {
                seasons: DAY,
                trend: 20.0,
                outliers: 0.05,
                gaps: 0.1,
                ..PLAIN
            },
            &[288],
            9,
        ),
        (
            "288 two humps",
            Recipe {
                seasons: DAY,
                shape: 1,
                ..PLAIN
            },
            &[288],
            10,
        ),
        (
            "288 pulse",
            Recipe {
                seasons: DAY,
                shape: 2,
                ..PLAIN
            },
            &[288],
            9,
        ),
        (
            "288 coloured",
            Recipe {
                seasons: DAY,
                noise: (1.0, 0.7),
                ..PLAIN
            },
            &[288],
            9,
        ),
        (
            "288 three days",
            Recipe {
                n: 900,
                seasons: DAY,
                ..PLAIN
            },
            &[288],
            8,
        ),
        (
            "week",
            Recipe {
                seasons: WEEK,
                ..PLAIN
            },
            &[24, 168],
            10,
        ),
        (
            "week short",
            Recipe {
                n: 1008,
                seasons: WEEK,
                ..PLAIN
            },
            &[24, 168],
            10,
        ),
        (
            "week all",
            Recipe {
                seasons: WEEK,
                trend: 20.0,
                outliers: 0.05,
                gaps: 0.1,
                ..PLAIN
            },
            &[24, 168],
            9,
        ),
        (
            "week two humps",
            Recipe {
                seasons: WEEK,
                shape: 1,
                ..PLAIN
            },
            &[24, 168],
            9,
        ),
        (
            "7",
            Recipe {
                n: 200,
                seasons: &[(7.0, 2.0)],
                ..PLAIN
            },
            &[7],
            10,
        ),
        (
            "12",
            Recipe {
                n: 144,
                seasons: &[(12.0, 2.0)],
                trend: 30.0,
                ..PLAIN
            },
            &[12],
            10,
        ),
        (
            "37",
            Recipe {
                n: 800,
                seasons: &[(37.0, 2.0)],
                ..PLAIN
            },
            &[37],
            10,
        ),
        ("noise", PLAIN, &[], 10),
        ("noise short", Recipe { n: 150, ..PLAIN }, &[], 10),
        (
            "coloured",
            Recipe {
                noise: (1.0, 0.8),
                ..PLAIN
            },
            &[],
            10,
        ),
        (
            "trend",
            Recipe {
                trend: 30.0,
                ..PLAIN
            },
            &[],
            10,
        ),
        (
            "walk",
            Recipe {
                noise: (1.0, 1.0),
                ..PLAIN
            },
            &[],
            9,
        ),
        (
            "walk short",
            Recipe {
                n: 300,
                noise: (1.0, 1.0),
                ..PLAIN
            },
            &[],
            9,
        ),
        (
            "noise all",
            Recipe {
                trend: 9.0,
                outliers: 0.05,
                gaps: 0.1,
                ..PLAIN
            },
            &[],
            10,
        ),
    ];
    let mut short = Vec::new();
    for (name, recipe, truth, least) in table {
        let mut exact = 0;
        let mut others = Vec::new();
        for seed in 1..=10 {
            let mut found: Vec<usize> =
                periods(&series(&recipe, seed), &SeasonalityConfig::default())
                    .iter()
                    .map(|p| p.len)
                    .collect();
            found.sort_unstable();
            if found == truth {
                exact += 1
            } else {
                others.push(found)
            }
        }
        println!("{name:16} {exact:2}/10 {others:?}");
        if exact < least {
            short.push(format!("{name}: {exact} of 10, not {least}: {others:?}"));
        }
    }
    assert!(short.is_empty(), "{short:#?}");
}
