//! The observations near a search's centre, and where the model they give has no support.
//! In: a [`Run`] and [`Known`]. Out: rows for the model, places to sample. Called from: [`super::run`].
//! Notation: as in [`super`]: displacements `s` from the centre in half widths of the box, of the axes that move.

use super::quadratic::Quadratic;
use super::run::Run;
use crate::design::sobol::scrambled;
use crate::linalg::{axpy, dot};
use crate::sampler::Known;

/// Share of the box that a sample which supports the model keeps from places not told yet, while there is room.
pub(super) const APART: f64 = 0.2;
/// The most rows a model is fitted to: at 10 axes a full quadratic, beyond a partial one.
const ROWS_MAX: usize = 90;

/// The observations near a search's centre, in its coordinates, nearest first.
pub(super) struct Near {
    pub(super) rows: Vec<Vec<f64>>,
    /// Differences to the centre's value, divided by `unit`.
    pub(super) f: Vec<f64>,
    pub(super) unit: f64,
    /// Places not told yet, in the same coordinates, nearest first.
    pub(super) pending: Vec<Vec<f64>>,
    /// Which axis is looked along first: studies with different seeds begin differently, seed 0 in the caller's order.
    first: usize,
    /// The box in units of `delta`, cut at the walls of the cube.
    pub(super) low: Vec<f64>,
    pub(super) high: Vec<f64>,
}

impl Near {
    pub(super) fn new(run: &Run, known: &Known<'_>, axes: &[usize]) -> Self {
        let p = axes.len();
        let displacement = |x: &[f64]| -> Option<Vec<f64>> {
            let same = (0..x.len()).all(|j| known.cube.is_ordered(j) || x[j] == run.centre()[j]);
            let away = |j: &usize| (x[*j] - run.centre()[*j]) / run.delta();
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
                near.push((r2, s, *y - run.value()));
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
        let edge =
            |wall: f64, j: &usize| ((wall - run.centre()[*j]) / run.delta()).clamp(-1.0, 1.0);
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
    pub(super) fn uncovered_direction(&self, reach: f64, others: &[Vec<f64>]) -> Option<Vec<f64>> {
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
    pub(super) fn room(&self, s: &[f64]) -> f64 {
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
    pub(super) fn support(&self, kappas: &[f64]) -> Option<Vec<f64>> {
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
    pub(super) fn most_uncertain(&self, model: &Quadratic) -> Vec<f64> {
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
