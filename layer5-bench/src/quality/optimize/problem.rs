//! A function to be minimised, with its space and its known minimum.
//! In: a closure over a caller's point. Out: a [`Problem`]. Called from: [`super::public`], [`super::drawn`],
//! [`super::shifted`], [`super::run`]. Invariants: a value is that of the point and, where the minimum moves, of the run;
//! noise is added by who runs it.

use std::f64::consts::PI;
use std::fmt;

use layer5_optimize::{Domain, Parameter, Point, Space, Value};
use rand::RngExt;
use rand_pcg::Pcg64;

use super::shifted::Shift;

pub(super) type Objective = Box<dyn Fn(&Point) -> f64 + Sync + Send>;

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
    /// Where the minimum is in each run, if it moves.
    pub(super) shift: Option<Shift>,
    pub(super) f: Objective,
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Problem")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Problem {
    /// The noise-free value, unshifted.
    #[must_use]
    pub fn value(&self, point: &Point) -> f64 {
        (self.f)(point)
    }

    /// The noise-free value in the run of this seed.
    #[must_use]
    pub fn value_in_run(&self, point: &Point, seed: u64) -> f64 {
        match &self.shift {
            None => self.value(point),
            Some(shift) => self.value(&shift.undone(point, seed)),
        }
    }
}

pub(crate) fn normal(rng: &mut Pcg64) -> f64 {
    let (a, b): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - a).ln()).sqrt() * (2.0 * PI * b).cos()
}

pub(super) fn floats(point: &Point) -> Vec<f64> {
    let float = |value: &Value| match *value {
        Value::Float(x) => x,
        Value::Int(n) => n as f64,
        Value::Choice(k) => k as f64,
        _ => f64::NAN,
    };
    point.values().iter().map(float).collect()
}

/// A problem over a box of floats.
pub(super) fn boxed(
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
        shift: None,
        f: Box::new(move |point| f(&floats(point))),
    }
}

pub(super) fn noisy(problem: Problem, noise_sd: f64) -> Problem {
    Problem {
        name: format!("noisy {}", problem.name),
        noise_sd,
        ..problem
    }
}
