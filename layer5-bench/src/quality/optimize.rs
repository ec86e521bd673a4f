//! How good suggestions are: known functions, a fixed number of evaluations, regret beside that of random search.
//! In: a sampler, numbers of evaluations and seeds. Out: a [`Table`] of gains and median regrets. Called from:
//! `layer5-bench quality optimize`.
//! Notation: regret = noise-free value of the recommended point (of the best point told, where values are exact) minus
//! the minimum; gain = mean over seeds of log10(regret of random search / regret), both not below [`REGRET_MIN`].
//! Two sets: `public`, functions from the literature, and `drawn`, shifted and rotated ones made from a seed, which
//! nothing is tuned on one by one.

#![allow(
    clippy::missing_panics_doc,
    reason = "what is expected holds whatever the caller does"
)]

use std::f64::consts::PI;
use std::fmt;

use layer5_optimize::{
    Domain, Outcome, Parameter, Point, SamplerKind, Space, Study, StudyConfig, Value,
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Regrets below this count as this: nobody needs more, and logarithms of zero are nobody's gain.
pub const REGRET_MIN: f64 = 1e-9;

type Objective = Box<dyn Fn(&Point) -> f64 + Sync + Send>;

/// A function with a known minimum.
pub struct Problem {
    /// What it is called in the table.
    pub name: String,
    /// Where it is defined.
    pub space: Space,
    /// Its lowest value.
    pub minimum: f64,
    /// Standard deviation of the noise added to each told value.
    pub noise_sd: f64,
    f: Objective,
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Problem")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Problem {
    /// The noise-free value.
    #[must_use]
    pub fn value(&self, point: &Point) -> f64 {
        (self.f)(point)
    }
}

/// Regrets of one sampler on one problem.
#[derive(Debug, Clone)]
pub struct Row {
    /// The problem.
    pub name: String,
    /// Gain at each number of evaluations.
    pub gains: Vec<f64>,
    /// Median regret at each number of evaluations.
    pub medians: Vec<f64>,
}

/// One sampler on a set of problems.
#[derive(Debug, Clone)]
pub struct Table {
    /// Numbers of evaluations.
    pub budgets: Vec<usize>,
    /// One row per problem.
    pub rows: Vec<Row>,
}

impl Table {
    /// Mean gain over the problems, at each number of evaluations.
    #[must_use]
    pub fn mean_gains(&self) -> Vec<f64> {
        let n = self.rows.len().max(1) as f64;
        (0..self.budgets.len())
            .map(|b| self.rows.iter().map(|row| row.gains[b]).sum::<f64>() / n)
            .collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<24}", "problem")?;
        for budget in &self.budgets {
            write!(f, "{:>10} {:>10}", format!("gain@{budget}"), "median")?;
        }
        writeln!(f)?;
        for row in &self.rows {
            write!(f, "{:<24}", row.name)?;
            for (gain, median) in row.gains.iter().zip(&row.medians) {
                write!(f, "{gain:>10.2} {median:>10.2e}")?;
            }
            writeln!(f)?;
        }
        write!(f, "{:<24}", "mean")?;
        for gain in self.mean_gains() {
            write!(f, "{gain:>10.2} {:>10}", "")?;
        }
        writeln!(f)
    }
}

/// Runs `sampler` on each problem with seeds `0..n_seeds`, to the last of `budgets` (rising).
#[must_use]
pub fn measure(
    problems: &[Problem],
    sampler: SamplerKind,
    budgets: &[usize],
    n_seeds: u64,
) -> Table {
    let rows = problems.iter().map(|problem| {
        let baseline = random_log_regret(problem, budgets);
        let runs: Vec<Vec<f64>> = (0..n_seeds)
            .map(|seed| regrets(problem, sampler, budgets, seed))
            .collect();
        let column = |b: usize| runs.iter().map(move |run| run[b]);
        let gains = (0..budgets.len())
            .map(|b| baseline[b] - column(b).map(f64::log10).sum::<f64>() / n_seeds as f64)
            .collect();
        let medians = (0..budgets.len())
            .map(|b| median(column(b).collect()))
            .collect();
        Row {
            name: problem.name.clone(),
            gains,
            medians,
        }
    });
    Table {
        budgets: budgets.to_vec(),
        rows: rows.collect(),
    }
}

/// Regret after each number of evaluations, one run.
#[must_use]
pub fn regrets(problem: &Problem, sampler: SamplerKind, budgets: &[usize], seed: u64) -> Vec<f64> {
    let config = StudyConfig {
        seed,
        sampler,
        ..StudyConfig::new(problem.space.clone())
    };
    let mut study = Study::new(config).expect("every sampler named here fits these spaces");
    let mut noise = Pcg64::seed_from_u64(seed ^ 0x006e_6f69_7365);
    let mut found = Vec::new();
    for n in 1..=budgets.last().copied().unwrap_or(0) {
        let trial = study.ask();
        let value = problem.value(&trial.point) + problem.noise_sd * normal(&mut noise);
        study
            .tell(trial.id, Outcome::Value(value))
            .expect("the trial is pending");
        if budgets.contains(&n) {
            let point = if problem.noise_sd > 0.0 {
                study.recommend().expect("a value was told").point
            } else {
                study.incumbent().expect("a value was told").point.clone()
            };
            found.push((problem.value(&point) - problem.minimum).max(REGRET_MIN));
        }
    }
    found
}

/// Mean log10 regret of random search over 200 seeds; under noise it reports the best value told.
fn random_log_regret(problem: &Problem, budgets: &[usize]) -> Vec<f64> {
    let n_seeds = 200;
    let mut sums = vec![0.0; budgets.len()];
    for seed in 0..n_seeds {
        let sampler = SamplerKind::Random;
        let config = StudyConfig {
            seed: 1000 + seed,
            sampler,
            ..StudyConfig::new(problem.space.clone())
        };
        let mut study = Study::new(config).expect("random search fits every space");
        let mut noise = Pcg64::seed_from_u64(seed);
        let mut best = (f64::INFINITY, f64::INFINITY);
        let mut b = 0;
        for n in 1..=budgets.last().copied().unwrap_or(0) {
            let value = problem.value(&study.ask().point);
            let told = value + problem.noise_sd * normal(&mut noise);
            if told < best.0 {
                best = (told, value);
            }
            if budgets.contains(&n) {
                sums[b] += (best.1 - problem.minimum).max(REGRET_MIN).log10();
                b += 1;
            }
        }
    }
    sums.iter().map(|sum| sum / n_seeds as f64).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    if n == 0 {
        f64::NAN
    } else {
        0.5 * (values[(n - 1) / 2] + values[n / 2])
    }
}

fn normal(rng: &mut Pcg64) -> f64 {
    let (a, b): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - a).ln()).sqrt() * (2.0 * PI * b).cos()
}

fn floats(point: &Point) -> Vec<f64> {
    let float = |value: &Value| match *value {
        Value::Float(x) => x,
        Value::Int(n) => n as f64,
        Value::Choice(k) => k as f64,
        _ => f64::NAN,
    };
    point.values().iter().map(float).collect()
}

/// A problem over a box of floats.
fn boxed(
    name: &str,
    bounds: &[(f64, f64)],
    minimum: f64,
    f: impl Fn(&[f64]) -> f64 + Sync + Send + 'static,
) -> Problem {
    let named = bounds.iter().enumerate();
    let parameters =
        named.map(|(i, (l, h))| Parameter::new(format!("x{i}"), Domain::float(*l, *h)));
    Problem {
        name: name.to_owned(),
        space: Space::new(parameters.collect()).expect("bounds are ordered"),
        minimum,
        noise_sd: 0.0,
        f: Box::new(move |point| f(&floats(point))),
    }
}

fn noisy(problem: Problem, noise_sd: f64) -> Problem {
    Problem {
        name: format!("noisy {}", problem.name),
        noise_sd,
        ..problem
    }
}

/// The functions of the literature.
#[must_use]
pub fn public() -> Vec<Problem> {
    vec![
        branin(),
        hartmann3(),
        hartmann6(),
        boxed("ackley5", &[(-32.768, 32.768); 5], 0.0, ackley),
        boxed("rosenbrock4", &[(-5.0, 10.0); 4], 0.0, rosenbrock),
        boxed("levy6", &[(-10.0, 10.0); 6], 0.0, levy),
        boxed("rastrigin5", &[(-5.12, 5.12); 5], 0.0, rastrigin),
        boxed("michalewicz5", &[(0.0, PI); 5], -4.687_658_179, michalewicz),
        noisy(branin(), 5.0),
        noisy(hartmann6(), 0.1),
        mixed6(),
    ]
}

/// A function of a point that was shifted, rotated and stretched.
type Shape = fn(&[f64]) -> f64;

/// Functions drawn from `seed` in `d` dimensions: shifted, rotated, stretched.
#[must_use]
pub fn drawn(d: usize, seed: u64) -> Vec<Problem> {
    let mut rng = Pcg64::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(d as u64));
    let kinds: [(&str, Shape); 8] = [
        ("ellipsoid", |z| {
            let d = z.len().max(2) as f64 - 1.0;
            z.iter()
                .enumerate()
                .map(|(i, z)| 100f64.powf(i as f64 / d) * z * z)
                .sum()
        }),
        ("quartic", |z| {
            let s: f64 = z
                .iter()
                .enumerate()
                .map(|(i, z)| 0.5 * (i + 1) as f64 * z)
                .sum();
            z.iter().map(|z| z * z).sum::<f64>() + s * s + s.powi(4)
        }),
        ("valley", |z| {
            let z: Vec<f64> = z.iter().map(|z| 1.0 + 0.5 * z).collect();
            rosenbrock(&z)
        }),
        ("ackley", ackley),
        ("levy", |z| {
            levy(&z.iter().map(|z| z + 1.0).collect::<Vec<_>>())
        }),
        ("griewank", |z| {
            let cos: f64 = z
                .iter()
                .enumerate()
                .map(|(i, z)| (3.0 * z / ((i + 1) as f64).sqrt()).cos())
                .product();
            z.iter().map(|z| z * z).sum::<f64>() / 20.0 + 1.0 - cos
        }),
        ("wells", |z| {
            // Three bowls of Gaussian shape, the deepest at the origin.
            let well = |centre: f64, depth: f64| {
                depth
                    * (-z.iter().map(|z| (z - centre).powi(2)).sum::<f64>() / z.len() as f64).exp()
            };
            1.5 - 1.0f64.max(0.0) * well(0.0, 1.0) - well(2.5, 0.6) - well(-2.0, 0.5)
        }),
        ("ripples", |z| {
            z.iter()
                .map(|z| z * z + 3.0 * (1.0 - (1.5 * PI * z).cos()))
                .sum()
        }),
    ];
    let mut problems: Vec<Problem> = kinds
        .into_iter()
        .map(|(name, f)| {
            let rotation = rotation(d, &mut rng);
            let centre: Vec<f64> = (0..d).map(|_| rng.random_range(-2.5..2.5)).collect();
            let place = move |x: &[f64]| -> Vec<f64> {
                let off: Vec<f64> = x.iter().zip(&centre).map(|(x, c)| x - c).collect();
                rotation
                    .iter()
                    .map(|r| r.iter().zip(&off).map(|(r, o)| r * o).sum())
                    .collect()
            };
            let minimum = if name == "wells" { f64::NAN } else { 0.0 };
            boxed(
                &format!("{name} {d}-D"),
                &vec![(-5.0, 5.0); d],
                minimum,
                move |x| f(&place(x)),
            )
        })
        .collect();
    for problem in problems.iter_mut().filter(|p| p.minimum.is_nan()) {
        problem.minimum = descend(problem, d, &mut rng);
    }
    problems
}

/// The mixed set: floats, whole numbers and names with an interaction, drawn from `seed`.
#[must_use]
pub fn drawn_mixed(seed: u64) -> Vec<Problem> {
    let mut rng = Pcg64::seed_from_u64(seed ^ 0x006d_6978_6564);
    (0..3)
        .map(|k| {
            let c: Vec<f64> = (0..2).map(|_| rng.random_range(0.2..0.8)).collect();
            let n = rng.random_range(3..17) as f64;
            let m = rng.random_range(2..8) as f64;
            let offsets = [0.0, rng.random_range(0.1..0.5), rng.random_range(0.1..0.5)];
            let best = rng.random_range(0..3usize);
            let space = Space::new(vec![
                Parameter::new("x", Domain::float(0.0, 1.0)),
                Parameter::new("rate", Domain::log_float(1e-4, 1.0)),
                Parameter::new("n", Domain::int(1, 20)),
                Parameter::new("m", Domain::int(1, 9)),
                Parameter::new("k", Domain::categorical(["a", "b", "c"])),
            ])
            .expect("valid");
            let f = move |point: &Point| {
                let v = floats(point);
                let choice = (v[4] as usize + 3 - best) % 3;
                let rate = (v[1] / 1e-4).ln() / 1e4f64.ln();
                let shift = [0.0, 0.1, -0.1][choice];
                offsets[choice]
                    + 4.0 * (v[0] - c[0] - shift).powi(2)
                    + 3.0 * (rate - c[1]).powi(2)
                    + ((v[2] - n) / 10.0).powi(2)
                    + ((v[3] - m) / 5.0).powi(2) * (1.0 + 0.3 * choice as f64)
                    + 0.5 * (v[0] - c[0] - shift) * (v[2] - n) / 10.0
            };
            Problem {
                name: format!("mixed {k}"),
                space,
                minimum: 0.0,
                noise_sd: 0.0,
                f: Box::new(f),
            }
        })
        .collect()
}

/// The same functions with noise of a tenth of their spread over the box.
#[must_use]
pub fn with_noise(problems: Vec<Problem>, share: f64) -> Vec<Problem> {
    problems
        .into_iter()
        .map(|problem| {
            let config = StudyConfig {
                sampler: SamplerKind::Random,
                ..StudyConfig::new(problem.space.clone())
            };
            let mut study = Study::new(config).expect("random search fits every space");
            let values: Vec<f64> = (0..500)
                .map(|_| problem.value(&study.ask().point))
                .collect();
            let mean = values.iter().sum::<f64>() / 500.0;
            let sd = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 500.0).sqrt();
            noisy(problem, share * sd)
        })
        .collect()
}

/// A close bound of the minimum, by many short random descents.
fn descend(problem: &Problem, d: usize, rng: &mut Pcg64) -> f64 {
    let mut lowest = f64::INFINITY;
    for _ in 0..40 {
        let mut x: Vec<f64> = (0..d).map(|_| rng.random_range(-5.0..5.0)).collect();
        let at = |x: &[f64]| problem.value(&Point(x.iter().map(|x| Value::Float(*x)).collect()));
        let mut best = at(&x);
        let mut width = 2.0;
        while width > 1e-7 {
            let mut improved = false;
            for _ in 0..4 * d {
                let moved: Vec<f64> = x
                    .iter()
                    .map(|x| (x + width * normal(rng)).clamp(-5.0, 5.0))
                    .collect();
                let value = at(&moved);
                if value < best {
                    (best, x, improved) = (value, moved, true);
                }
            }
            if !improved {
                width *= 0.6;
            }
        }
        lowest = lowest.min(best);
    }
    lowest
}

/// A random rotation: Gram and Schmidt on normal draws.
fn rotation(d: usize, rng: &mut Pcg64) -> Vec<Vec<f64>> {
    let mut rows: Vec<Vec<f64>> = Vec::new();
    while rows.len() < d {
        let mut row: Vec<f64> = (0..d).map(|_| normal(rng)).collect();
        for other in &rows {
            let along: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
            row.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
        }
        let length = row.iter().map(|a| a * a).sum::<f64>().sqrt();
        if length > 1e-6 {
            rows.push(row.iter().map(|a| a / length).collect());
        }
    }
    rows
}

fn branin() -> Problem {
    boxed(
        "branin",
        &[(-5.0, 10.0), (0.0, 15.0)],
        0.397_887_357_729_739,
        |x| {
            let a = x[1] - 5.1 / (4.0 * PI * PI) * x[0] * x[0] + 5.0 / PI * x[0] - 6.0;
            a * a + 10.0 * (1.0 - 1.0 / (8.0 * PI)) * x[0].cos() + 10.0
        },
    )
}

const HARTMANN_WEIGHTS: [f64; 4] = [1.0, 1.2, 3.0, 3.2];

fn hartmann3() -> Problem {
    const A: [[f64; 3]; 4] = [
        [3.0, 10.0, 30.0],
        [0.1, 10.0, 35.0],
        [3.0, 10.0, 30.0],
        [0.1, 10.0, 35.0],
    ];
    const P: [[f64; 3]; 4] = [
        [0.3689, 0.1170, 0.2673],
        [0.4699, 0.4387, 0.7470],
        [0.1091, 0.8732, 0.5547],
        [0.03815, 0.5743, 0.8828],
    ];
    boxed("hartmann3", &[(0.0, 1.0); 3], -3.862_782_147_820, |x| {
        hartmann(x, &A, &P)
    })
}

fn hartmann6() -> Problem {
    const A: [[f64; 6]; 4] = [
        [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
        [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
        [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
        [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
    ];
    const P: [[f64; 6]; 4] = [
        [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
        [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
        [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
        [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
    ];
    boxed("hartmann6", &[(0.0, 1.0); 6], -3.322_368_011_416, |x| {
        hartmann(x, &A, &P)
    })
}

fn hartmann<const D: usize>(x: &[f64], a: &[[f64; D]; 4], p: &[[f64; D]; 4]) -> f64 {
    let peak = |i: usize| {
        let exponent: f64 = (0..D).map(|j| a[i][j] * (x[j] - p[i][j]).powi(2)).sum();
        HARTMANN_WEIGHTS[i] * (-exponent).exp()
    };
    -(0..4).map(peak).sum::<f64>()
}

fn ackley(x: &[f64]) -> f64 {
    let n = x.len() as f64;
    let square = x.iter().map(|x| x * x).sum::<f64>() / n;
    let cos = x.iter().map(|x| (2.0 * PI * x).cos()).sum::<f64>() / n;
    -20.0 * (-0.2 * square.sqrt()).exp() - cos.exp() + 20.0 + std::f64::consts::E
}

fn rosenbrock(x: &[f64]) -> f64 {
    x.windows(2)
        .map(|w| 100.0 * (w[1] - w[0] * w[0]).powi(2) + (1.0 - w[0]).powi(2))
        .sum()
}

fn levy(x: &[f64]) -> f64 {
    let w: Vec<f64> = x.iter().map(|x| 1.0 + (x - 1.0) / 4.0).collect();
    let last = w[w.len() - 1];
    let inner: f64 = w[..w.len() - 1]
        .iter()
        .map(|w| (w - 1.0).powi(2) * (1.0 + 10.0 * (PI * w + 1.0).sin().powi(2)))
        .sum();
    (PI * w[0]).sin().powi(2)
        + inner
        + (last - 1.0).powi(2) * (1.0 + (2.0 * PI * last).sin().powi(2))
}

fn rastrigin(x: &[f64]) -> f64 {
    x.iter()
        .map(|x| x * x - 10.0 * (2.0 * PI * x).cos() + 10.0)
        .sum()
}

fn michalewicz(x: &[f64]) -> f64 {
    let term = |(i, x): (usize, &f64)| x.sin() * ((i + 1) as f64 * x * x / PI).sin().powi(20);
    -x.iter().enumerate().map(term).sum::<f64>()
}

/// Two floats, one of them logarithmic, two whole numbers, two categories that shift the optimum.
fn mixed6() -> Problem {
    let space = Space::new(vec![
        Parameter::new("x", Domain::float(-5.0, 5.0)),
        Parameter::new("y", Domain::float(-5.0, 5.0)),
        Parameter::new("rate", Domain::log_float(1e-5, 1.0)),
        Parameter::new("n", Domain::int(1, 32)),
        Parameter::new("kind", Domain::categorical(["a", "b", "c", "d"])),
        Parameter::new("flag", Domain::categorical(["off", "on"])),
    ])
    .expect("valid");
    let f = |point: &Point| {
        let v = floats(point);
        let kind = v[4] as usize;
        let centre = [1.0, -1.5, 2.5, 0.5][kind];
        let penalty = [0.6, 0.0, 0.9, 0.4][kind];
        let flag = v[5];
        0.2 * (v[0] - centre).powi(2)
            + 0.1 * (v[1] + 0.5 * v[0]).powi(2)
            + 0.5 * (v[2].log10() + 2.5 - 0.5 * flag).powi(2)
            + 0.02 * (v[3] - 12.0 - 4.0 * flag).powi(2)
            + penalty
            + 0.3 * (1.0 - flag)
    };
    Problem {
        name: "mixed6".to_owned(),
        space,
        minimum: 0.0,
        noise_sd: 0.0,
        f: Box::new(f),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minima_are_where_the_literature_says() {
        let at =
            |p: &Problem, x: &[f64]| p.value(&Point(x.iter().map(|x| Value::Float(*x)).collect()));
        let public = public();
        let minimisers: [&[f64]; 8] = [
            &[PI, 2.275],
            &[0.114614, 0.555649, 0.852547],
            &[0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573],
            &[0.0; 5],
            &[1.0; 4],
            &[1.0; 6],
            &[0.0; 5],
            &[2.202906, PI / 2.0, 1.284992, 1.923058, 1.720470],
        ];
        for (problem, x) in public.iter().zip(minimisers) {
            // Minimisers are given to six digits; curvature up to a few hundred leaves 1e-9.
            let regret = at(problem, x) - problem.minimum;
            assert!(
                (-1e-8..1e-7).contains(&regret),
                "{}: {regret}",
                problem.name
            );
        }
    }

    #[test]
    fn random_search_gains_nothing_over_itself() {
        let problems = vec![branin()];
        let table = measure(&problems, SamplerKind::Random, &[10, 20], 60);
        // The standard error of the mean of 60 log regrets (spread about 0.5) is 0.07.
        assert!(
            table.mean_gains().iter().all(|gain| gain.abs() < 0.28),
            "{table}"
        );
    }
}
