//! Functions made from a seed: shifted, rotated, stretched shapes over floats, and mixed spaces.
//! In: a dimension and a seed. Out: [`Problem`]s. Called from: [`super`]. Invariants: one seed gives one set; nothing is
//! tuned on them one by one.

use std::f64::consts::PI;

use layer5_optimize::{Domain, Parameter, Point, SamplerKind, Space, Study, StudyConfig, Value};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::problem::{Problem, boxed, floats, noisy, normal};
use super::public::{ackley, levy, rosenbrock};

/// A function of a point that was shifted, rotated and stretched.
type Shape = fn(&[f64]) -> f64;

/// Functions drawn from `seed` in `d` dimensions: shifted, rotated, stretched.
#[must_use]
pub fn floats_only(d: usize, seed: u64) -> Vec<Problem> {
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
pub fn mixed(seed: u64) -> Vec<Problem> {
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
                shift: None,
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
