//! From a sampler's wish to a point that may be suggested: inside limits, near enough, safe, not seen before.
//! In: unit coordinates. Out: a point. Called from: [`super::Study::ask`].

use rand::RngExt;
use rand_pcg::Pcg64;

use super::config::StudyConfig;
use super::safety;
use super::view::{UnitView, key};
use crate::random::even_draw;
use crate::sampler::Known;
use crate::space::Point;
use crate::trial::Why;

/// The point to suggest in place of `wish`, and why, if it is another one.
pub(super) fn admitted(
    config: &StudyConfig,
    view: &UnitView,
    known: &Known<'_>,
    wish: &[f64],
    rng: &mut Pcg64,
) -> (Point, Option<Why>) {
    let cube = &view.cube;
    let near = |u: &[f64]| clipped(config, known, u);
    let back = |u: &[f64], rng: &mut Pcg64| {
        if view.limits.is_empty() {
            cube.from_unit(u)
        } else {
            view.limits.brought_back(cube, u, &view.x, rng)
        }
    };
    let clip = near(wish);
    let mut point = back(&clip, rng);
    let mut why = (point != cube.from_unit(wish)).then_some(Why::BroughtBack);
    if let Some(safe) = &config.safe {
        let unit = cube.to_unit(&point);
        let sign = config.direction.sign();
        if let Some(stepped) = safety::safe_step(safe, sign, known, &unit, rng) {
            let kept = cube.from_unit(&stepped);
            if kept != point {
                (point, why) = (kept, Some(Why::SafeStep));
            }
        }
        // An unseen neighbour would not have been looked at.
        return (point, why);
    }
    if view.seen.contains(&key(&point)) {
        let allowed = |p: &Point| {
            let unit = cube.to_unit(p);
            view.limits.keeps(p) && near(&unit) == unit
        };
        match unseen_near(config, view, wish, &allowed, rng) {
            Some(other) => point = other,
            None => why = Some(Why::SpaceExhausted),
        }
    }
    (point, why)
}

/// A place no further from the incumbent than the largest step.
fn clipped(config: &StudyConfig, known: &Known<'_>, wish: &[f64]) -> Vec<f64> {
    let (Some(step), Some(best)) = (config.step_max, known.best()) else {
        return wish.to_vec();
    };
    let centre = &known.x[best];
    (wish.iter().zip(centre).enumerate())
        .map(|(j, (u, c))| {
            if known.cube.is_ordered(j) {
                u.clamp(c - step, c + step)
            } else {
                *u
            }
        })
        .collect()
}

/// A point not seen yet close to `unit`, or `None` if there is none.
fn unseen_near(
    config: &StudyConfig,
    view: &UnitView,
    unit: &[f64],
    allowed: &dyn Fn(&Point) -> bool,
    rng: &mut Pcg64,
) -> Option<Point> {
    let (cube, seen) = (&view.cube, &view.seen);
    let fresh = |point: &Point| !seen.contains(&key(point)) && allowed(point);
    // Ever wider draws round the wished point, each replacing a few axes by an even draw or a small move.
    let attempts = 64;
    for attempt in 0..attempts {
        let even = even_draw(cube, rng);
        let width = f64::from(attempt + 1) / f64::from(attempts);
        let mut candidate = unit.to_vec();
        let moved = rng.random_range(0..cube.len());
        for (j, (u, e)) in candidate.iter_mut().zip(&even).enumerate() {
            if j == moved || rng.random::<f64>() < width {
                *u = if cube.is_ordered(j) {
                    *u + width * width * (e - 0.5)
                } else {
                    *e
                };
            }
        }
        let point = cube.from_unit(&candidate);
        if fresh(&point) {
            return Some(point);
        }
    }
    if config
        .space
        .n_points()
        .is_some_and(|n| n <= seen.len() as u64)
    {
        return None;
    }
    // Among `seen + 1` successive points one is unseen, unless an axis is a continuum, where an even draw is.
    let mut point = cube.from_unit(&even_draw(cube, rng));
    for _ in 0..=seen.len() {
        if fresh(&point) {
            return Some(point);
        }
        point = cube.successor(&point);
    }
    None
}
