//! Follows an optimum that moves: two probes on either side of the present place tell which way is down.
//! In: [`Known`]. Out: proposals in pairs. Called from: [`crate::study`].
//! How: simultaneous perturbation: all ordered axes move at once, each up or down at random; the difference of the two
//! values, as a share of recent differences, moves the place along the same signs. Gains do not fade, so that it keeps
//! up with drift; only the last pair is remembered, so that old values cannot mislead.
//! Invariants: at most one pair is out; more asks at the same time probe round the same place. Categories stay those of
//! the best observation. A pair with a failed half moves away from the failure.
//! Reference: Spall (1992), <https://doi.org/10.1109/9.119632>; constant gains for tracking as in Kushner and Yin (2003).

use rand::RngExt;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::sampler::{Known, Proposal, Sampler, SamplerKind};
use crate::trial::Why;

/// Distance of a probe from the place, per axis.
const REACH: f64 = 0.05;
/// Longest move per axis.
const STEP: f64 = 0.05;
/// Share of a new difference in the running mean of differences.
const KEEP: f64 = 0.8;

/// The sampler's state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Spsa {
    place: Vec<f64>,
    signs: Vec<f64>,
    /// Trials of the probes up and down, each with its place among the observations once told.
    up: Option<u64>,
    down: Option<u64>,
    /// Mean absolute difference of recent pairs.
    typical: f64,
}

impl Sampler for Spsa {
    fn propose(&mut self, known: &Known<'_>, rng: &mut Pcg64) -> Proposal {
        if self.place.is_empty() {
            self.place = known
                .best()
                .map_or_else(|| vec![0.5; known.cube.len()], |row| known.x[row].clone());
        }
        if let (Some(up), Some(down)) = (self.up, self.down) {
            self.settle(known, up, down);
        }
        let (side, why) = match (self.up, self.down) {
            (None, _) => {
                self.signs = (0..known.cube.len())
                    .map(|_| if rng.random::<bool>() { 1.0 } else { -1.0 })
                    .collect();
                self.up = Some(known.n_asked);
                (1.0, Why::GradientProbe)
            }
            (Some(_), None) => {
                self.down = Some(known.n_asked);
                (-1.0, Why::GradientProbe)
            }
            (Some(_), Some(_)) => (rng.random_range(-1.0..1.0), Why::GradientProbe),
        };
        let mut unit = self.place.clone();
        for (j, u) in unit.iter_mut().enumerate() {
            if known.cube.is_ordered(j) {
                *u = (*u + side * REACH * self.signs[j]).clamp(0.0, 1.0);
            }
        }
        known.cube.snap(&mut unit);
        Proposal {
            unit,
            by: SamplerKind::Spsa,
            why,
            expected: None,
        }
    }
}

impl Spsa {
    /// Moves by the pair that is out, if both halves are closed.
    fn settle(&mut self, known: &Known<'_>, up: u64, down: u64) {
        let value = |id: u64| {
            let row = known.trial.iter().rposition(|t| *t == Some(id));
            row.map(|row| known.y[row])
        };
        let failed = |id: u64| known.failed.iter().any(|(f, _)| *f == id);
        let slope = match (value(up), value(down)) {
            (Some(a), Some(b)) => {
                let difference = 0.5 * a - 0.5 * b;
                self.typical = if self.typical > 0.0 {
                    KEEP * self.typical + (1.0 - KEEP) * difference.abs()
                } else {
                    difference.abs()
                };
                if self.typical > 0.0 {
                    (difference / self.typical).clamp(-1.0, 1.0)
                } else {
                    0.0
                }
            }
            (None, Some(_)) if failed(up) => 1.0,
            (Some(_), None) if failed(down) => -1.0,
            (None, None) if failed(up) && failed(down) => 0.0,
            _ => return,
        };
        for (j, p) in self.place.iter_mut().enumerate() {
            if known.cube.is_ordered(j) {
                *p = (*p - slope * STEP * self.signs[j]).clamp(0.0, 1.0);
            }
        }
        (self.up, self.down) = (None, None);
    }
}
