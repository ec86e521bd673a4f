//! One local search: steps to where the model is lowest, samples where it has no support, and the box between them.
//! In: [`Known`]. Out: proposals, until nothing is left to gain. Called from: [`super`], [`crate::auto`].
//! Invariants: only this search's own steps change `delta`; one step is out at a time.

use serde::{Deserialize, Serialize};

use super::near::{APART, Near};
use super::quadratic::Quadratic;
use crate::sampler::{Expected, Known, Proposal, SamplerKind};
use crate::trial::Why;

/// Half width of a new search's box.
pub(crate) const DELTA_START: f64 = 0.15;
/// Half width of a box that finishes a search.
const DELTA_MIN: f64 = 1e-7;
const DELTA_MAX: f64 = 0.5;
/// Boxes away from the centre within which every direction needs a row before a step is taken.
const FAR: f64 = 10.0;
/// Sizes of the cubic terms that are tried, in units of the curvature, for displacements of the whole cube's width.
const CUBIC: [f64; 4] = [1e-3, 0.05, 0.5, 3.0];

/// One local search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    centre: Vec<f64>,
    value: f64,
    delta: f64,
    last: Option<Step>,
    n_seen: usize,
    /// Own steps in a row that did not improve.
    pub n_failures: u32,
    /// Whether the model sees nothing left to gain here.
    pub is_finished: bool,
    /// Whether the last step failed, so that the model deserves support close by before the next.
    is_doubted: bool,
}

/// What was asked last and is still to be judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Step {
    trial: u64,
    /// How far the model expected to fall; `None` for a sample that was only to support the model.
    fall: Option<f64>,
    /// Largest displacement, in units of `delta`.
    length: f64,
}

impl Run {
    /// A search from an observed place.
    #[must_use]
    pub fn new(centre: Vec<f64>, value: f64, n_seen: usize, delta: f64) -> Self {
        let last = None;
        Self {
            centre,
            value,
            delta,
            last,
            n_seen,
            n_failures: 0,
            is_finished: false,
            is_doubted: false,
        }
    }

    /// The best place of this search.
    #[must_use]
    pub fn centre(&self) -> &[f64] {
        &self.centre
    }

    /// The value there.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Half width of the box.
    #[must_use]
    pub fn delta(&self) -> f64 {
        self.delta
    }

    /// The next place of this search, or `None` once it is finished.
    pub fn propose(&mut self, known: &Known<'_>) -> Option<Proposal> {
        self.digest(known);
        let axes: Vec<usize> = (0..known.cube.len())
            .filter(|j| known.cube.is_ordered(*j))
            .collect();
        let spread = spread(known);
        // Each round either proposes or shrinks the box by a fifth at least: seven decades take fewer.
        for _ in 0..80 {
            if self.is_finished || self.delta < DELTA_MIN {
                break;
            }
            let near = Near::new(self, known, &axes);
            let reach = if self.is_doubted { 2.0 } else { FAR };
            let kappas = CUBIC.map(|cubic| (cubic * self.delta).max(1e-7));
            if let Some(s) = near.uncovered_direction(reach, &[]) {
                self.is_doubted = false;
                // Places not told yet will cover their directions.
                let s = if near.pending.is_empty() {
                    s
                } else {
                    near.uncovered_direction(reach, &near.pending)
                        .filter(|s| near.room(s) >= APART)
                        .or_else(|| near.support(&kappas))
                        .unwrap_or(s)
                };
                return Some(self.proposal(known, &axes, &s, None, None));
            }
            let model = Quadratic::most_likely(axes.len(), &near.rows, &near.f, &kappas);
            let Some(model) = model else {
                self.delta *= 0.2;
                continue;
            };
            if self.last.is_some() {
                // A step is out already: support the model elsewhere meanwhile.
                let s = near.most_uncertain(&model);
                return Some(self.proposal(known, &axes, &s, None, None));
            }
            let (s, fall) = model.minimum(&near.low, &near.high);
            let length = s.iter().fold(0.0f64, |m, s| m.max(s.abs()));
            let negligible = !(fall * near.unit > 1e-10 * spread + 1e-15 * self.value.abs());
            if negligible && self.delta < 0.02 {
                self.is_finished = true;
                break;
            }
            // Cubic terms move the minimum by about delta, in units of delta: shorter steps are noise.
            if negligible || length < 0.2 * self.delta {
                self.delta *= 0.2;
                continue;
            }
            let expected = (fall * near.unit, length);
            let proposal = self.proposal(known, &axes, &s, Some(expected), Some(&model));
            if known.x.contains(&proposal.unit) {
                self.last = None;
                self.delta *= 0.5;
                continue;
            }
            return Some(proposal);
        }
        self.is_finished = true;
        None
    }

    /// Whether the last step came out worse than it should.
    #[must_use]
    pub fn is_doubted(&self) -> bool {
        self.is_doubted
    }

    /// Moves the centre to better places near it, and fits the box to how the last step came out.
    pub(crate) fn digest(&mut self, known: &Known<'_>) {
        let before = self.value;
        for row in self.n_seen..known.y.len() {
            let (x, y) = (&known.x[row], known.y[row]);
            if let Some(step) = self
                .last
                .filter(|step| known.trial[row] == Some(step.trial))
            {
                self.last = None;
                self.resize(step, before - y);
            }
            if y < self.value && self.reaches(known, x) {
                self.centre.clone_from(x);
                self.value = y;
            }
        }
        self.n_seen = known.y.len();
        if let Some(step) = self
            .last
            .filter(|step| known.failed.iter().any(|f| f.0 == step.trial))
        {
            self.last = None;
            self.delta *= 0.5 * step.length.clamp(0.2, 1.0);
            self.n_failures += 1;
        }
    }

    fn resize(&mut self, step: Step, fall: f64) {
        self.n_failures = if fall > 0.0 { 0 } else { self.n_failures + 1 };
        let Some(expected) = step.fall else { return };
        let ratio = fall / expected;
        self.is_doubted = !(ratio >= 0.1);
        let reach = step.length * self.delta;
        self.delta = if ratio >= 0.7 {
            if step.length > 0.9 {
                2.0 * self.delta
            } else {
                (2.0 * reach).max(0.3 * self.delta)
            }
        } else if ratio >= 0.1 {
            reach.max(0.5 * self.delta)
        } else {
            0.5 * reach.max(0.5 * self.delta)
        }
        .min(DELTA_MAX);
    }

    /// Whether a place belongs to this search: the same categories, and not far outside the box.
    fn reaches(&self, known: &Known<'_>, x: &[f64]) -> bool {
        (0..x.len()).all(|j| {
            if known.cube.is_ordered(j) {
                (x[j] - self.centre[j]).abs() <= 2.5 * self.delta
            } else {
                x[j] == self.centre[j]
            }
        })
    }

    fn proposal(
        &mut self,
        known: &Known<'_>,
        axes: &[usize],
        s: &[f64],
        expected: Option<(f64, f64)>,
        model: Option<&Quadratic>,
    ) -> Proposal {
        let mut unit = self.centre.clone();
        for (j, s) in axes.iter().zip(s) {
            unit[*j] += self.delta * s;
        }
        known.cube.snap(&mut unit);
        let fall = expected.map(|(fall, _)| fall);
        let length = expected.map_or(1.0, |(_, length)| length);
        // While a step is out it is the one to be judged.
        if self.last.is_none() {
            self.last = Some(Step {
                trial: known.n_asked,
                fall,
                length,
            });
        }
        let mean = fall.map(|fall| self.value - fall);
        let expected = mean.filter(|_| model.is_some()).map(|mean| {
            // Where the model errs it is by as much as it expects to gain; that is what the box is sized by.
            let half = self.value - mean;
            Expected {
                mean,
                lower: mean - half,
                upper: mean + 2.0 * half,
            }
        });
        let why = if fall.is_some() {
            Why::ModelMinimum
        } else {
            Why::ModelGeometry
        };
        Proposal {
            unit,
            by: SamplerKind::TrustRegion,
            why,
            expected,
        }
    }
}

/// Distance from the best value to the middle one: what a gain is compared with.
fn spread(known: &Known<'_>) -> f64 {
    let mut sorted = known.y.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, middle) = (sorted[0], sorted[sorted.len() / 2]);
    (middle - low).clamp(0.0, f64::MAX)
}
