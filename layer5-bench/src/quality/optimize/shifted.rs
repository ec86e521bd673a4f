//! The functions of the literature with their minimum at another place in every run.
//! In: [`super::public`]. Out: [`Problem`]s. Called from: [`super`].
//! Why: several of them have their minimum in the middle of the box, where a sampler that asks the middle first finds it by
//! luck. Moved by more than the box they would be other functions: each is continued beyond its walls by its own formula,
//! by which none falls below its minimum.

use layer5_optimize::{Domain, Point, Value};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::problem::{Problem, floats};
use super::public;

/// How close to a wall the minimum may come, as a share of the axis.
const MARGIN: f64 = 0.1;

/// Where a moved function has its minimum.
#[derive(Debug, Clone)]
pub struct Shift {
    minimiser: Vec<f64>,
    bounds: Vec<(f64, f64)>,
}

impl Shift {
    /// The minimum's place in a run: even in the box, but for its margin.
    #[must_use]
    pub fn minimiser(&self, seed: u64) -> Vec<f64> {
        let mut rng = Pcg64::seed_from_u64(seed ^ 0x0073_6869_6674_6564);
        let place =
            |(low, high): &(f64, f64)| low + rng.random_range(MARGIN..1.0 - MARGIN) * (high - low);
        self.bounds.iter().map(place).collect()
    }

    /// The point at which the unmoved function has the moved one's value.
    pub(super) fn undone(&self, point: &Point, seed: u64) -> Point {
        let here = self.minimiser(seed);
        let moved = floats(point)
            .into_iter()
            .zip(here.iter().zip(&self.minimiser));
        Point(
            moved
                .map(|(x, (here, there))| Value::Float(x - here + there))
                .collect(),
        )
    }
}

/// Every function of the literature over floats, moved.
#[must_use]
pub fn all() -> Vec<Problem> {
    let moved = |(problem, minimiser): (Problem, Vec<f64>)| {
        let bounds = problem.space.parameters().iter().map(|p| match p.domain {
            Domain::Float { low, high, .. } => (low, high),
            _ => unreachable!("only functions of floats are moved"),
        });
        Problem {
            name: format!("shifted {}", problem.name),
            shift: Some(Shift {
                minimiser,
                bounds: bounds.collect(),
            }),
            ..problem
        }
    };
    public::over_floats().into_iter().map(moved).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_its_minimum_at_another_place_inside() {
        for problem in all() {
            let shift = problem.shift.clone().expect("all are moved");
            assert_ne!(shift.minimiser(1), shift.minimiser(2), "{}", problem.name);
            for seed in 0..20 {
                let place = shift.minimiser(seed);
                let point = Point(place.iter().map(|x| Value::Float(*x)).collect());
                problem.space.check(&point).expect("the minimum is inside");
                // Minimisers are given to six digits; curvature up to a few hundred leaves 1e-9.
                let regret = problem.value_in_run(&point, seed) - problem.minimum;
                assert!(
                    (-1e-8..1e-7).contains(&regret),
                    "{}: {regret}",
                    problem.name
                );
            }
        }
    }
}
