//! Local search by quadratic models in a box that grows and shrinks with how well they predict.
//! In: [`Known`]. Out: proposals. Called from: [`crate::study`], [`crate::auto`].
//! Notation: `c` centre (the best place of this search), `delta` half width of the box in unit coordinates, `s` displacement
//! from the centre in units of `delta`.
//! Invariants: categories stay what they are at the centre; every other axis moves. Observations of every sampler feed the
//! model; only this search's own steps change `delta`.
//! Reference: the scheme of Powell's BOBYQA (2009) and Conn, Scheinberg and Vicente (2009), chapters 10 and 11: a step where
//! the model is lowest, a sample where the model has no support, a smaller box where supported models fail.

pub mod quadratic;

use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use self::quadratic::Quadratic;
use crate::design::sobol::scrambled;
use crate::linalg::{axpy, dot};
use crate::sampler::{Expected, Known, Proposal, Sampler, SamplerKind};
use crate::trial::Why;

/// Half width of a new search's box.
pub(crate) const DELTA_START: f64 = 0.15;
/// Half width of a box that finishes a search.
const DELTA_MIN: f64 = 1e-7;
const DELTA_MAX: f64 = 0.5;
/// Boxes away from the centre within which every direction needs a row before a step is taken.
const FAR: f64 = 10.0;
/// Share of the box that a sample which supports the model keeps from places not told yet, while there is room.
const APART: f64 = 0.2;
/// Sizes of the cubic terms that are tried, in units of the curvature, for displacements of the whole cube's width.
const CUBIC: [f64; 4] = [1e-3, 0.05, 0.5, 3.0];
/// The most rows a model is fitted to: at 10 axes a full quadratic, beyond a partial one.
const ROWS_MAX: usize = 90;

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

/// The observations near a search's centre, in its coordinates, nearest first.
struct Near {
    rows: Vec<Vec<f64>>,
    /// Differences to the centre's value, divided by `unit`.
    f: Vec<f64>,
    unit: f64,
    /// Places not told yet, in the same coordinates, nearest first.
    pending: Vec<Vec<f64>>,
    /// Which axis is looked along first: studies with different seeds begin differently, seed 0 in the caller's order.
    first: usize,
    /// The box in units of `delta`, cut at the walls of the cube.
    low: Vec<f64>,
    high: Vec<f64>,
}

impl Near {
    fn new(run: &Run, known: &Known<'_>, axes: &[usize]) -> Self {
        let p = axes.len();
        let displacement = |x: &[f64]| -> Option<Vec<f64>> {
            let same = (0..x.len()).all(|j| known.cube.is_ordered(j) || x[j] == run.centre[j]);
            let away = |j: &usize| (x[*j] - run.centre[*j]) / run.delta;
            same.then(|| axes.iter().map(away).collect())
        };
        let mut near: Vec<(f64, Vec<f64>, f64)> = Vec::new();
        for (x, y) in known.x.iter().zip(known.y) {
            let Some(s) = displacement(x) else {
                continue;
            };
            let r2 = dot(&s, &s);
            // Closer than a thousandth of the box, a difference says nothing but how noisy the objective is.
            if r2 > 1e-6 {
                near.push((r2, s, *y - run.value));
            }
        }
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        near.truncate(((p + 1) * (p + 2) / 2 + p).min(ROWS_MAX.max(2 * p)));
        let unit = near
            .iter()
            .fold(0.0f64, |m, (_, _, f)| m.max(f.abs().min(1e300)))
            .max(1e-300);
        let mut pending: Vec<Vec<f64>> = known
            .pending
            .iter()
            .filter_map(|(_, x)| displacement(x))
            .collect();
        pending.sort_by(|a, b| dot(a, a).total_cmp(&dot(b, b)));
        pending.truncate(ROWS_MAX);
        let edge = |wall: f64, j: &usize| ((wall - run.centre[*j]) / run.delta).clamp(-1.0, 1.0);
        let low = axes.iter().map(|j| edge(0.0, j)).collect();
        let high = axes.iter().map(|j| edge(1.0, j)).collect();
        let f = near
            .iter()
            .map(|(_, _, f)| f.clamp(-1e300, 1e300) / unit)
            .collect();
        Self {
            rows: near.into_iter().map(|(_, s, _)| s).collect(),
            f,
            unit,
            pending,
            first: (known.seed % p.max(1) as u64) as usize,
            low,
            high,
        }
    }

    /// A displacement to the wall of the box along a direction in which no row within `reach` boxes lies; `None` if the
    /// rows, with the `others`, support a linear model.
    fn uncovered_direction(&self, reach: f64, others: &[Vec<f64>]) -> Option<Vec<f64>> {
        let p = self.low.len();
        let mut basis: Vec<Vec<f64>> = Vec::new();
        let near = |s: &&Vec<f64>| s.iter().all(|s| s.abs() <= reach);
        for s in self.rows.iter().chain(others).filter(near) {
            let mut rest = s.clone();
            project_out(&mut rest, &basis);
            let length = dot(&rest, &rest).sqrt();
            if length > 0.25 {
                rest.iter_mut().for_each(|r| *r /= length);
                basis.push(rest);
            }
            if basis.len() == p {
                return None;
            }
        }
        // The axis least covered, without what is covered.
        let mut best: (f64, Vec<f64>) = (0.0, Vec::new());
        for j in (0..p).map(|j| (self.first + j) % p) {
            let mut axis = vec![0.0; p];
            axis[j] = 1.0;
            project_out(&mut axis, &basis);
            let length = dot(&axis, &axis);
            if length > best.0 + 1e-9 {
                best = (length, axis);
            }
        }
        let axis = best.1;
        let widest = axis.iter().fold(1e-9f64, |m, a| m.max(a.abs()));
        // To the side with more room.
        let room = |sign: f64| -> f64 {
            let limits = axis
                .iter()
                .zip(self.low.iter().zip(&self.high))
                .map(|(a, (l, h))| {
                    let step = sign * a / widest;
                    if step > 1e-9 {
                        h / step
                    } else if step < -1e-9 {
                        l / step
                    } else {
                        1.0
                    }
                });
            limits.fold(1.0, f64::min)
        };
        let (forth, back) = (room(1.0), room(-1.0));
        let (sign, room) = if forth >= back {
            (1.0, forth)
        } else {
            (-1.0, back)
        };
        if room < 0.3 {
            // Squeezed into a corner: the axis itself has room on one side.
            let j = (0..p).max_by(|a, b| axis[*a].abs().total_cmp(&axis[*b].abs()))?;
            let mut s = vec![0.0; p];
            s[j] = if self.high[j] >= -self.low[j] {
                self.high[j]
            } else {
                self.low[j]
            };
            return Some(s);
        }
        Some(axis.iter().map(|a| sign * room * a / widest).collect())
    }

    /// How far a displacement is from the nearest place not told yet, in half widths of the box.
    fn room(&self, s: &[f64]) -> f64 {
        let distance = |t: &Vec<f64>| {
            let apart = s.iter().zip(t).map(|(s, t)| (s - t).abs());
            apart.fold(0.0, f64::max)
        };
        self.pending
            .iter()
            .map(distance)
            .fold(f64::INFINITY, f64::min)
    }

    /// Where a model of what was told, or before that of where it will be, is least certain.
    fn support(&self, kappas: &[f64]) -> Option<Vec<f64>> {
        let p = self.low.len();
        let model = if self.rows.is_empty() {
            // Values do not matter here. At the centre itself nothing is learned.
            let away = |s: &&Vec<f64>| dot(s, s) > 1e-6;
            let rows: Vec<Vec<f64>> = self.pending.iter().filter(away).cloned().collect();
            if rows.is_empty() {
                return None;
            }
            Quadratic::most_likely(p, &rows, &vec![0.0; rows.len()], kappas)
        } else {
            Quadratic::most_likely(p, &self.rows, &self.f, kappas)
        };
        model.map(|model| self.most_uncertain(&model))
    }

    /// The wall or corner of the box, or a place in it, where the model is least certain, among those with room round
    /// them; if none has, the one with the most.
    fn most_uncertain(&self, model: &Quadratic) -> Vec<f64> {
        let p = self.low.len();
        let mut best = ((0.0, f64::NEG_INFINITY), vec![0.0; p]);
        // The more places are taken, the more are looked at.
        for index in 0..(2 * p + 8 + 2 * self.pending.len()) as u32 {
            let s: Vec<f64> = if index < 2 * p as u32 {
                let (j, up) = (index as usize / 2, index % 2 == 0);
                let mut s = vec![0.0; p];
                s[j] = if up { self.high[j] } else { self.low[j] };
                s
            } else {
                let u = scrambled(index, p, 1);
                (0..p)
                    .map(|j| self.low[j] + u[j] * (self.high[j] - self.low[j]))
                    .collect()
            };
            let merit = (self.room(&s).min(APART), model.uncertainty(&s));
            if merit.0 > best.0.0 || (merit.0 == best.0.0 && merit.1 > best.0.1) {
                best = (merit, s);
            }
        }
        best.1
    }
}

fn project_out(s: &mut [f64], basis: &[Vec<f64>]) {
    for b in basis {
        axpy(-dot(s, b), b, s);
    }
}

/// Local searches one after the other: each from the best place, later ones from new even draws.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TrustRegion {
    run: Option<Run>,
}

impl Sampler for TrustRegion {
    fn propose(&mut self, known: &Known<'_>, _: &mut Pcg64) -> Proposal {
        if let Some(run) = &mut self.run
            && let Some(proposal) = run.propose(known)
        {
            return proposal;
        }
        let finished = self.run.take();
        let latest = known
            .y
            .len()
            .checked_sub(1)
            .filter(|_| known.pending.is_empty());
        let start = match (&finished, latest) {
            (None, _) => known.best(),
            // The restart's own first point is the latest observation, if it is not where the last search ended.
            (Some(run), Some(row)) if known.y[row] != run.value => Some(row),
            _ => None,
        };
        if let Some(row) = start {
            let mut run = Run::new(
                known.x[row].clone(),
                known.y[row],
                known.y.len(),
                DELTA_START,
            );
            if let Some(proposal) = run.propose(known) {
                self.run = Some(run);
                return proposal;
            }
        }
        let u = if known.n_asked == 0 {
            vec![0.5; known.cube.len()]
        } else {
            scrambled(known.n_asked as u32, known.cube.len(), known.seed)
        };
        let unit = known.cube.to_unit(&known.cube.from_even(&u));
        let why = if finished.is_some() {
            Why::Restart
        } else {
            Why::InitialDesign
        };
        Proposal {
            unit,
            by: SamplerKind::TrustRegion,
            why,
            expected: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Domain, Parameter, Space};
    use crate::study::{Study, StudyConfig};
    use crate::trial::Outcome;

    fn best_after(n: usize, d: usize, f: impl Fn(&[f64]) -> f64) -> f64 {
        let named = (0..d).map(|j| Parameter::new(j.to_string(), Domain::float(-2.0, 3.0)));
        let space = Space::new(named.collect()).expect("valid");
        let sampler = SamplerKind::TrustRegion;
        let mut study = Study::new(StudyConfig {
            sampler,
            ..StudyConfig::new(space)
        })
        .expect("fits");
        for _ in 0..n {
            let trial = study.ask();
            let x: Vec<f64> = trial
                .point
                .values()
                .iter()
                .map(|v| match v {
                    crate::space::Value::Float(x) => *x,
                    _ => unreachable!("floats only"),
                })
                .collect();
            study
                .tell(trial.id, Outcome::Value(f(&x)))
                .expect("pending");
        }
        study.incumbent().expect("told").value
    }

    #[test]
    fn converges_on_a_tilted_bowl_and_in_a_valley() {
        let bowl = best_after(40, 4, |x| {
            let sum: f64 = x.iter().sum();
            x.iter()
                .enumerate()
                .map(|(i, x)| (x - 0.3 * i as f64).powi(2))
                .sum::<f64>()
                + 0.5 * sum * sum
                - 0.0
        });
        // Minimum by setting the gradient to zero: x_i = a_i - S / 2 with S = sum a / (1 + d / 2) = 0.6.
        assert!(bowl - 0.54 < 1e-6, "{bowl}");
        let valley = best_after(120, 2, |x| {
            100.0 * (x[1] - x[0] * x[0]).powi(2) + (1.0 - x[0]).powi(2)
        });
        assert!(valley < 1e-6, "{valley}");
    }

    #[test]
    fn finds_a_minimum_in_a_corner() {
        let value = best_after(30, 3, |x| x.iter().map(|x| x + 2.0).sum());
        assert!(value < 1e-9, "{value}");
    }
}
