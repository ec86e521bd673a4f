//! Whether the objective answers the same twice: one evaluation beside the best place says more than any model.
//! In: [`Known`]. Out: a place to probe, and the scatter seen between places too close for the objective to differ.
//! Called from: [`crate::auto`], [`crate::gp`].

use rand::RngExt;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::linalg::distance2;
use crate::sampler::{Known, Proposal, SamplerKind};
use crate::trial::Why;
use crate::unit_cube::AxisKind;

/// How far the probe is from the best place, in unit coordinates: so near that no slope passes for noise, and a number of
/// its own in double precision.
const PROBE: f64 = 1e-9;
/// Pairs closer than this are compared.
const CLOSE: f64 = 5e-9;
/// Scatter above this share of the spread is noise.
pub const SHARE_MAX: f64 = 1e-3;

/// Shares for which one pair is not enough: two noisy values may be alike by luck, and a steep objective may differ.
const DOUBTFUL: std::ops::Range<f64> = SHARE_MAX / 30.0..SHARE_MAX * 30.0;
/// Probes after which the mean of what was seen is believed.
const PROBES_MAX: u8 = 3;

/// Probes made so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Probes(u8);

impl Probes {
    /// A place to probe, while it is not known whether there is noise.
    pub fn next(&mut self, known: &Known<'_>, rng: &mut Pcg64) -> Option<Proposal> {
        let is_due = match share(known) {
            _ if self.0 >= PROBES_MAX => false,
            None => self.0 == 0,
            Some(share) => DOUBTFUL.contains(&share),
        };
        if !is_due {
            return None;
        }
        self.0 += 1;
        probe(known, rng)
    }
}

/// A place beside the best observation; `None` if no axis is continuous, or the noise was stated.
fn probe(known: &Known<'_>, rng: &mut Pcg64) -> Option<Proposal> {
    if stated(known).is_some() {
        return None;
    }
    let mut unit = known.x[known.best()?].clone();
    let mut moves = false;
    for (j, u) in unit.iter_mut().enumerate() {
        if known.cube.kind(j) == AxisKind::Continuous {
            let away = PROBE * rng.random_range(0.5..1.0);
            *u += if *u > 0.5 { -away } else { away };
            moves = true;
        }
    }
    let proposal = Proposal {
        unit,
        by: SamplerKind::Auto,
        why: Why::NoiseProbe,
        expected: None,
    };
    moves.then_some(proposal)
}

/// Standard deviation of the noise as a share of the distance from the best value to the middle one of the first; `None`
/// as [`deviation`].
///
/// # Cost
/// That of [`deviation`].
#[must_use]
pub fn share(known: &Known<'_>) -> Option<f64> {
    let half = 0.5 * deviation(known)?;
    let spread = spread(known);
    Some(if spread > 0.0 { half / spread } else { 0.0 })
}

/// Standard deviation of the noise, as it was stated, or from pairs of observations at practically one place; `None` if
/// nothing was stated and there is no such pair.
///
/// # Cost
/// `n^2` comparisons of one coordinate, at the first 200 observations.
#[must_use]
pub fn deviation(known: &Known<'_>) -> Option<f64> {
    if let Some(sd) = stated(known) {
        return Some(sd);
    }
    let n = known.y.len().min(200);
    let limit = CLOSE * CLOSE * known.cube.len() as f64;
    let (mut sum, mut pairs) = (0.0, 0);
    for i in 0..n {
        for k in 0..i {
            let close = (known.x[i][0] - known.x[k][0]).abs() <= CLOSE * 20.0
                && distance2(&known.x[i], &known.x[k]) <= limit;
            if close {
                let half = 0.5 * known.objective[i] - 0.5 * known.objective[k];
                sum += half.abs();
                pairs += 1;
            }
        }
    }
    // The mean distance of two normal values is 2 / sqrt(pi) standard deviations.
    let deviation = sum / f64::from(pairs.max(1)) * std::f64::consts::PI.sqrt();
    (pairs > 0).then_some(deviation.min(f64::MAX))
}

/// Root mean square of the stated noise; `None` where none was stated.
fn stated(known: &Known<'_>) -> Option<f64> {
    let single = |row: &'_ Vec<f64>| row.first().copied().filter(|_| row.len() == 1);
    let stated = known.noise_sd.iter().filter_map(single);
    let (n, largest) = stated
        .clone()
        .fold((0.0, 0.0f64), |(n, largest), sd| (n + 1.0, largest.max(sd)));
    if n == 0.0 || largest == 0.0 {
        return (n > 0.0).then_some(0.0);
    }
    let sum: f64 = stated.map(|sd| (sd / largest).powi(2)).sum();
    Some(largest * (sum / n).sqrt())
}

/// Observations, for each axis and two more, from which the spread is seen: where a search has ended, later ones lie on a
/// spot and differ by less and less.
const SPREAD_ROWS: usize = 2;

/// Half the distance from the best value to the middle one of the first.
fn spread(known: &Known<'_>) -> f64 {
    let n = SPREAD_ROWS * (known.cube.len() + 2);
    let mut first: Vec<f64> = known.objective.iter().take(n).copied().collect();
    first.sort_by(f64::total_cmp);
    let Some(middle) = first.get(first.len() / 2) else {
        return 0.0;
    };
    let best = known.objective.iter().copied().fold(f64::MAX, f64::min);
    0.5 * middle - 0.5 * best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::stream;
    use crate::space::{Domain, Parameter, Space};
    use crate::unit_cube::UnitCube;

    fn share_of(x: &[f64], y: &[f64]) -> Option<f64> {
        let space = Space::new(vec![Parameter::new("x", Domain::float(0.0, 1.0))]).expect("valid");
        let x: Vec<Vec<f64>> = x.iter().map(|x| vec![*x]).collect();
        let known = Known {
            cube: &UnitCube::new(&space),
            x: &x,
            limits: &crate::limit::Limits::default(),
            y,
            objective: y,
            values: &[],
            noise_sd: &[],
            constraints: &[],
            violation: &[],
            trial: &vec![None; y.len()],
            pending: &[],
            failed: &[],
            n_asked: 0,
            seed: 0,
        };
        if let Some(best) = known.best() {
            let unit = probe(&known, &mut stream(0, 0)).expect("continuous").unit;
            assert!((unit[0] - x[best][0]).abs() <= PROBE && (0.0..=1.0).contains(&unit[0]));
        }
        share(&known)
    }

    #[test]
    fn values_that_are_alike_by_luck_are_probed_again() {
        // A pair at the best place, and two values from which the spread is seen.
        let is_doubtful = |second: f64| {
            let share = share_of(&[0.1, 0.1, 0.5, 0.9], &[1.0, second, 2.0, 3.0]);
            DOUBTFUL.contains(&share.expect("a pair"))
        };
        assert!(is_doubtful(1.002));
        assert!(!is_doubtful(1.0));
        assert!(!is_doubtful(1.5));
    }

    #[test]
    fn a_search_that_has_ended_is_no_noise() {
        let mut x = vec![0.1, 0.9, 0.5, 0.7, 0.3];
        x.extend((0..40).map(|i| 0.3 + PROBE * f64::from(i % 3)));
        let y: Vec<f64> = x.iter().map(|x| (x - 0.3f64).powi(2)).collect();
        assert!(share_of(&x, &y).expect("pairs") < SHARE_MAX);
    }

    #[test]
    fn pairs_at_one_place_show_the_noise() {
        assert_eq!(share_of(&[0.1, 0.5, 0.9], &[1.0, 2.0, 3.0]), None);
        assert_eq!(share_of(&[0.1, 0.1, 0.9], &[1.0, 1.0, 3.0]), Some(0.0));
        assert!(share_of(&[0.1, 0.1 + PROBE, 0.9], &[1.0, 1.2, 3.0]).expect("a pair") > 0.1);
        assert_eq!(share_of(&[], &[]), None);
        assert!(
            share_of(&[0.1, 0.1, 0.9], &[1e308, -1e308, 0.0])
                .expect("a pair")
                .is_finite()
        );
    }
}
