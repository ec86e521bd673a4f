//! The facts of a study in the unit cube, everything to be minimised: what samplers look at.
//! In: trials and observations. Out: [`Known`]. Called from: [`super`]. Invariants: derived from what is saved, never
//! saved itself; the order is that of telling, failed trials by number.

use std::collections::BTreeSet;

use rand::RngExt;

use super::config::StudyConfig;
use crate::error::ConfigError;
use crate::limit::Limits;
use crate::sampler::Known;
use crate::seed::{mix, stream};
use crate::space::{Point, Value};
use crate::trial::{Observation, Trial};
use crate::unit_cube::UnitCube;

/// Weight of the sum beside the largest term in a scalarised objective (Knowles 2006).
const SUM_SHARE: f64 = 0.05;

#[derive(Debug, Clone)]
pub(super) struct UnitView {
    pub(super) cube: UnitCube,
    pub(super) limits: Limits,
    pub(super) x: Vec<Vec<f64>>,
    /// Values of every objective.
    pub(super) values: Vec<Vec<f64>>,
    /// Standard deviations of the noise in every objective, where they were told.
    noise_sd: Vec<Vec<f64>>,
    constraints: Vec<Vec<f64>>,
    /// How far constraints are broken, in all; 0 where all are kept.
    violation: Vec<f64>,
    scalar: Scalar,
    trial: Vec<Option<u64>>,
    pub(super) pending: Vec<(u64, Vec<f64>)>,
    failed: Vec<(u64, Vec<f64>)>,
    pub(super) seen: BTreeSet<Vec<u64>>,
}

/// One number per observation.
#[derive(Debug, Clone, Default)]
pub(super) struct Scalar {
    /// The objective, or the weighted objectives.
    objective: Vec<f64>,
    /// The same, those that break a constraint put behind all that do not.
    y: Vec<f64>,
}

impl UnitView {
    pub(super) fn new(config: &StudyConfig) -> Result<Self, ConfigError> {
        let cube = UnitCube::new(&config.space);
        Ok(Self {
            limits: Limits::new(&config.limits, &config.space, &cube)?,
            cube,
            x: Vec::new(),
            values: Vec::new(),
            noise_sd: Vec::new(),
            constraints: Vec::new(),
            violation: Vec::new(),
            scalar: Scalar::default(),
            trial: Vec::new(),
            pending: Vec::new(),
            failed: Vec::new(),
            seen: BTreeSet::new(),
        })
    }

    pub(super) fn asked(&mut self, trial: &Trial) {
        self.seen.insert(key(&trial.point));
        self.pending
            .push((trial.id.0, self.cube.to_unit(&trial.point)));
    }

    pub(super) fn told(&mut self, observation: &Observation, config: &StudyConfig) {
        let id = observation.trial.map(|id| id.0);
        self.seen.insert(key(&observation.point));
        self.pending.retain(|(pending, _)| Some(*pending) != id);
        self.x.push(self.cube.to_unit(&observation.point));
        let values = std::iter::once(&observation.value).chain(&observation.others);
        self.values
            .push(config.signs().zip(values).map(|(s, v)| s * v).collect());
        self.noise_sd.push(observation.noise_sd.clone());
        self.trial.push(id);
        if config.n_constraints > 0 {
            self.constraints.push(observation.constraints.clone());
            self.violation = violations(&self.constraints, config.n_constraints);
            self.scalar = self.weighted(&equal(config.n_objectives()));
        } else {
            self.violation.push(0.0);
            if config.n_objectives() == 1 {
                let value = self.values[self.values.len() - 1][0];
                self.scalar.objective.push(value);
                self.scalar.y.push(value);
            } else {
                self.scalar = self.weighted(&equal(config.n_objectives()));
            }
        }
    }

    pub(super) fn failed(&mut self, id: u64) {
        if let Some(at) = self.pending.iter().position(|(pending, _)| *pending == id) {
            // By number, not by time, so that a restored study lists them alike.
            let place = self.failed.partition_point(|(other, _)| *other < id);
            self.failed.insert(place, self.pending.remove(at));
        }
    }

    /// Several objectives seen from the direction that this trial looks in; `None` where there is one.
    pub(super) fn look(&self, config: &StudyConfig, trial: u64) -> Option<Scalar> {
        let m = config.n_objectives();
        if m == 1 {
            return None;
        }
        let mut rng = stream(mix(config.seed), trial);
        let raw: Vec<f64> = (0..m).map(|_| -(1.0 - rng.random::<f64>()).ln()).collect();
        let total: f64 = raw.iter().sum::<f64>().max(1e-300);
        Some(self.weighted(&raw.iter().map(|w| w / total).collect::<Vec<_>>()))
    }

    /// The augmented Chebyshev norm of the objectives, each scaled to its range; and violations put behind.
    fn weighted(&self, weights: &[f64]) -> Scalar {
        let objective: Vec<f64> = if weights.len() == 1 {
            self.values.iter().map(|v| v[0]).collect()
        } else {
            let range = |k: usize| {
                let column = self.values.iter().map(|v| v[k]);
                let low = column.clone().fold(f64::INFINITY, f64::min);
                let high = column.fold(f64::NEG_INFINITY, f64::max);
                (low, (0.5 * high - 0.5 * low).max(1e-300))
            };
            let ranges: Vec<(f64, f64)> = (0..weights.len()).map(range).collect();
            let scalar = |v: &Vec<f64>| {
                let (mut largest, mut sum) = (0.0f64, 0.0);
                for (k, w) in weights.iter().enumerate() {
                    let term = w * ((0.5 * v[k] - 0.5 * ranges[k].0) / ranges[k].1);
                    largest = largest.max(term);
                    sum += term;
                }
                largest + SUM_SHARE * sum
            };
            self.values.iter().map(scalar).collect()
        };
        let y = behind(&objective, &self.violation);
        Scalar { objective, y }
    }

    /// What a sampler may look at. `look`: from [`UnitView::look`].
    pub(super) fn known<'a>(
        &'a self,
        config: &StudyConfig,
        look: Option<&'a Scalar>,
        n_asked: u64,
    ) -> Known<'a> {
        let scalar = look.unwrap_or(&self.scalar);
        Known {
            cube: &self.cube,
            limits: &self.limits,
            x: &self.x,
            y: &scalar.y,
            objective: &scalar.objective,
            values: &self.values,
            noise_sd: &self.noise_sd,
            constraints: &self.constraints,
            violation: &self.violation,
            trial: &self.trial,
            pending: &self.pending,
            failed: &self.failed,
            n_asked,
            seed: config.seed,
        }
    }
}

fn equal(m: usize) -> Vec<f64> {
    vec![1.0 / m as f64; m]
}

/// The sum of what is above 0, each constraint in units of its largest violation.
fn violations(constraints: &[Vec<f64>], n: usize) -> Vec<f64> {
    let worst: Vec<f64> = (0..n)
        .map(|k| constraints.iter().map(|c| c[k]).fold(1e-300, f64::max))
        .collect();
    let broken = |c: &Vec<f64>| c.iter().zip(&worst).map(|(c, w)| c.max(0.0) / w).sum();
    constraints.iter().map(broken).collect()
}

/// Values with those that violate something moved behind the worst that does not, the least violating first.
fn behind(objective: &[f64], violation: &[f64]) -> Vec<f64> {
    let kept = || objective.iter().zip(violation).filter(|(_, v)| **v <= 0.0);
    if violation.iter().all(|v| *v <= 0.0) {
        return objective.to_vec();
    }
    let high = kept().map(|(o, _)| *o).fold(f64::NEG_INFINITY, f64::max);
    let low = kept().map(|(o, _)| *o).fold(f64::INFINITY, f64::min);
    let (base, width) = if high.is_finite() {
        (
            high,
            (high - low).clamp(1e-3 * (1e-300 + high.abs()), f64::MAX),
        )
    } else {
        (0.0, 1.0)
    };
    let moved = objective.iter().zip(violation);
    moved
        .map(|(o, v)| {
            if *v > 0.0 {
                (base + width * (0.1 + v)).min(f64::MAX)
            } else {
                *o
            }
        })
        .collect()
}

/// A point as numbers that are equal exactly when the points are.
pub(super) fn key(point: &Point) -> Vec<u64> {
    let bits = |value: &Value| match *value {
        // Minus zero and zero are one place.
        Value::Float(x) => (x + 0.0).to_bits(),
        Value::Int(x) => x.cast_unsigned(),
        Value::Choice(k) => k as u64,
    };
    point.values().iter().map(bits).collect()
}
