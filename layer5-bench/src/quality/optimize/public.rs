//! The functions of the literature, and one over a mixed space.
//! In: nothing. Out: [`Problem`]s. Called from: [`super`]. Reference: Surjanovic and Bingham, Virtual Library of
//! Simulation Experiments, for constants and minima.

use std::f64::consts::PI;

use layer5_optimize::{Domain, Parameter, Point, Space};

use super::problem::{Problem, boxed, floats, noisy};

/// The functions of the literature.
#[must_use]
pub fn all() -> Vec<Problem> {
    let floats = over_floats().into_iter().map(|(problem, _)| problem);
    floats.chain([mixed6()]).collect()
}

/// Those over floats, each with a place of its minimum.
pub(super) fn over_floats() -> Vec<(Problem, Vec<f64>)> {
    let branin_at = vec![PI, 2.275];
    let hartmann6_at = vec![0.20169, 0.150_011, 0.476_874, 0.275_332, 0.311_652, 0.6573];
    let michalewicz_at = vec![2.202_906, PI / 2.0, 1.284_992, 1.923_058, 1.720_470];
    vec![
        (branin(), branin_at.clone()),
        (hartmann3(), vec![0.114_614, 0.555_649, 0.852_547]),
        (hartmann6(), hartmann6_at.clone()),
        (
            boxed("ackley5", &[(-32.768, 32.768); 5], 0.0, ackley),
            vec![0.0; 5],
        ),
        (
            boxed("rosenbrock4", &[(-5.0, 10.0); 4], 0.0, rosenbrock),
            vec![1.0; 4],
        ),
        (boxed("levy6", &[(-10.0, 10.0); 6], 0.0, levy), vec![1.0; 6]),
        (
            boxed("rastrigin5", &[(-5.12, 5.12); 5], 0.0, rastrigin),
            vec![0.0; 5],
        ),
        (
            boxed("michalewicz5", &[(0.0, PI); 5], -4.687_658_179, michalewicz),
            michalewicz_at,
        ),
        (noisy(branin(), 5.0), branin_at),
        (noisy(hartmann6(), 0.1), hartmann6_at),
    ]
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

pub(super) fn ackley(x: &[f64]) -> f64 {
    let n = x.len() as f64;
    let square = x.iter().map(|x| x * x).sum::<f64>() / n;
    let cos = x.iter().map(|x| (2.0 * PI * x).cos()).sum::<f64>() / n;
    -20.0 * (-0.2 * square.sqrt()).exp() - cos.exp() + 20.0 + std::f64::consts::E
}

pub(super) fn rosenbrock(x: &[f64]) -> f64 {
    x.windows(2)
        .map(|w| 100.0 * (w[1] - w[0] * w[0]).powi(2) + (1.0 - w[0]).powi(2))
        .sum()
}

pub(super) fn levy(x: &[f64]) -> f64 {
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
        shift: None,
        f: Box::new(f),
    }
}
