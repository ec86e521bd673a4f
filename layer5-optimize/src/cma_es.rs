//! Covariance matrix adaptation: an evolution strategy that learns the shape of the valley from the order of results alone.
//! In: [`Known`]. Out: proposals at a cost that does not grow with the observations. Called from: [`crate::study`],
//! [`crate::auto`] where there are too many observations for a surrogate.
//! Notation: mean `m`, step `sigma`, covariance `C = A A^T`; a generation of `lambda` draws `x = m + sigma A z`, the better
//! half weighted by `w`; paths `p_sigma` (in the coordinates of `z`) and `p_c`.
//! Invariants: a generation is closed once `lambda` of its draws are told, whatever their order; failed draws count as
//! worse than any; a generation that stands still is followed by a restart with twice the draws. Axes without an order are
//! drawn from the best observations; a whole number keeps a chance of moving however small the step.
//! Reference: Hansen (2016), <https://arxiv.org/abs/1604.00772>; the triangular factor in place of the square root is
//! Krause, Arbones and Igel (2016); restarts are Auger and Hansen (2005).

use rand::RngExt;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::acquisition::maximize::normal_draw;
use crate::gp::best_rows;
use crate::linalg::cholesky::{Cholesky, packed};
use crate::linalg::{dot, norm};
use crate::random::even_draw;
use crate::sampler::{Known, Proposal, Sampler, SamplerKind};
use crate::trial::Why;
use crate::unit_cube::AxisKind;

/// First step: a third of the cube reaches everywhere within a few generations.
const SIGMA_START: f64 = 0.3;
/// A step this short has nothing left to find.
const SIGMA_MIN: f64 = 1e-10;
/// Chance that a whole number moves by one although the step is too short for it.
const LEVEL_CHANCE: f64 = 0.1;

/// The sampler's state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CmaEs {
    strategy: Option<Strategy>,
    n_restarts: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Strategy {
    lambda: usize,
    mean: Vec<f64>,
    sigma: f64,
    /// Packed lower triangle.
    covariance: Vec<f64>,
    path_sigma: Vec<f64>,
    path_c: Vec<f64>,
    generation: u32,
    /// Draws not told yet, by trial.
    out: Vec<(u64, Vec<f64>)>,
    /// Draws told, with their values; `None` for failed ones.
    told: Vec<(Option<f64>, Vec<f64>)>,
    n_seen: usize,
    n_failed_seen: usize,
    best: Option<f64>,
    n_stalled: u32,
    #[serde(skip)]
    factor: Option<Cholesky>,
}

impl Sampler for CmaEs {
    fn propose(&mut self, known: &Known<'_>, rng: &mut Pcg64) -> Proposal {
        let axes: Vec<usize> = (0..known.cube.len())
            .filter(|j| known.cube.is_ordered(*j))
            .collect();
        if let Some(strategy) = &mut self.strategy {
            strategy.collect(known);
            if strategy.told.len() >= strategy.lambda {
                strategy.adapt();
            }
            if strategy.is_stuck() {
                self.strategy = None;
                self.n_restarts += 1;
            }
        }
        let n_restarts = self.n_restarts;
        let strategy = self
            .strategy
            .get_or_insert_with(|| Strategy::new(known, &axes, n_restarts, rng));
        let x = strategy.draw(rng);
        let unit = complete(known, &axes, &x, rng);
        strategy.out.push((known.n_asked, x));
        Proposal {
            unit,
            by: SamplerKind::CmaEs,
            why: Why::Generation,
            expected: None,
        }
    }
}

/// Coordinates of all axes: the drawn ones, whole numbers shaken, categories from one of the best observations or even.
fn complete(known: &Known<'_>, axes: &[usize], x: &[f64], rng: &mut Pcg64) -> Vec<f64> {
    let mut unit = even_draw(known.cube, rng);
    if axes.len() < unit.len() {
        let best = best_rows(known, 8);
        if !best.is_empty() && rng.random::<f64>() > 0.2 {
            unit.copy_from_slice(best[rng.random_range(0..best.len())]);
        }
    }
    for (j, x) in axes.iter().zip(x) {
        unit[*j] = *x;
        if let AxisKind::Levels(n) = known.cube.kind(*j)
            && n > 1
            && rng.random::<f64>() < LEVEL_CHANCE
        {
            let step = 1.0 / (n - 1) as f64;
            unit[*j] += if rng.random::<bool>() { step } else { -step };
        }
    }
    known.cube.snap(&mut unit);
    unit
}

impl Strategy {
    fn new(known: &Known<'_>, axes: &[usize], n_restarts: u32, rng: &mut Pcg64) -> Self {
        let p = axes.len();
        let mean = match known.best().filter(|_| n_restarts == 0) {
            Some(best) => axes.iter().map(|j| known.x[best][*j]).collect(),
            None if n_restarts == 0 => vec![0.5; p],
            None => (0..p).map(|_| rng.random()).collect(),
        };
        let mut covariance = vec![0.0; packed(p)];
        for i in 0..p {
            covariance[packed(i) + i] = 1.0;
        }
        let base = 4 + (3.0 * (p as f64).ln()) as usize;
        Self {
            lambda: base << n_restarts.min(6),
            mean,
            sigma: SIGMA_START,
            covariance,
            path_sigma: vec![0.0; p],
            path_c: vec![0.0; p],
            generation: 0,
            out: Vec::new(),
            told: Vec::new(),
            n_seen: known.y.len(),
            n_failed_seen: known.failed.len(),
            best: None,
            n_stalled: 0,
            factor: None,
        }
    }

    /// Moves draws that were told since the last look from `out` to `told`.
    fn collect(&mut self, known: &Known<'_>) {
        for row in self.n_seen..known.y.len() {
            let at = self
                .out
                .iter()
                .position(|(trial, _)| known.trial[row] == Some(*trial));
            if let Some(at) = at {
                let (_, x) = self.out.remove(at);
                self.told.push((Some(known.y[row]), x));
            }
        }
        self.n_seen = known.y.len();
        if known.failed.len() > self.n_failed_seen {
            for (trial, _) in known.failed {
                if let Some(at) = self.out.iter().position(|(out, _)| out == trial) {
                    self.told.push((None, self.out.remove(at).1));
                }
            }
            self.n_failed_seen = known.failed.len();
        }
    }

    fn factor(&mut self) -> &Cholesky {
        let p = self.mean.len();
        if self.factor.is_none() {
            let factor = Cholesky::with_jitter(p, &self.covariance).map(|(factor, _)| factor);
            let identity = || {
                let mut eye = vec![0.0; packed(p)];
                for i in 0..p {
                    eye[packed(i) + i] = 1.0;
                }
                Cholesky::new(p, &eye, 0.0).expect("the identity is positive definite")
            };
            self.factor = Some(factor.unwrap_or_else(|_| identity()));
        }
        self.factor.as_ref().expect("set above")
    }

    fn draw(&mut self, rng: &mut Pcg64) -> Vec<f64> {
        let z: Vec<f64> = self.mean.iter().map(|_| normal_draw(rng)).collect();
        let (sigma, mean) = (self.sigma, self.mean.clone());
        let factor = self.factor();
        (0..z.len())
            .map(|i| (mean[i] + sigma * dot(factor.row(i), &z[..=i])).clamp(0.0, 1.0))
            .collect()
    }

    /// Closes a generation.
    fn adapt(&mut self) {
        let p = self.mean.len();
        let mut told = std::mem::take(&mut self.told);
        let worth = |value: Option<f64>| value.unwrap_or(f64::INFINITY);
        told.sort_by(|a, b| worth(a.0).total_cmp(&worth(b.0)));
        let improved = match (told[0].0, self.best) {
            (Some(value), Some(best)) => value < best,
            (value, None) => value.is_some(),
            (None, Some(_)) => false,
        };
        self.n_stalled = if improved { 0 } else { self.n_stalled + 1 };
        if improved {
            self.best = told[0].0;
        }
        let n = told.len() as f64;
        let mu = told.len() / 2;
        let raw: Vec<f64> = (1..=mu)
            .map(|i| ((n + 1.0) / 2.0).ln() - (i as f64).ln())
            .collect();
        let total: f64 = raw.iter().sum();
        let w: Vec<f64> = raw.iter().map(|w| w / total).collect();
        let mu_eff = 1.0 / dot(&w, &w);
        let d = p as f64;
        // Learning rates of Hansen (2016), table 1.
        let c_sigma = (mu_eff + 2.0) / (d + mu_eff + 5.0);
        let damping = 1.0 + 2.0 * (((mu_eff - 1.0) / (d + 1.0)).sqrt() - 1.0).max(0.0) + c_sigma;
        let c_c = (4.0 + mu_eff / d) / (d + 4.0 + 2.0 * mu_eff / d);
        let c_1 = 2.0 / ((d + 1.3).powi(2) + mu_eff);
        let c_mu = (2.0 * (mu_eff - 2.0 + 1.0 / mu_eff) / ((d + 2.0).powi(2) + mu_eff))
            .clamp(0.0, 1.0 - c_1);
        let length_expected = d.sqrt() * (1.0 - 1.0 / (4.0 * d) + 1.0 / (21.0 * d * d));

        let steps: Vec<Vec<f64>> = told[..mu]
            .iter()
            .map(|(_, x)| {
                x.iter()
                    .zip(&self.mean)
                    .map(|(x, m)| (x - m) / self.sigma)
                    .collect()
            })
            .collect();
        let mut step = vec![0.0; p];
        for (w, s) in w.iter().zip(&steps) {
            crate::linalg::axpy(*w, s, &mut step);
        }
        for (m, s) in self.mean.iter_mut().zip(&step) {
            *m = (*m + self.sigma * s).clamp(0.0, 1.0);
        }
        let mut white = step.clone();
        self.factor().solve_lower(&mut white);
        let push = (c_sigma * (2.0 - c_sigma) * mu_eff).sqrt();
        for (path, s) in self.path_sigma.iter_mut().zip(&white) {
            *path = (1.0 - c_sigma) * *path + push * s;
        }
        self.generation += 1;
        let faded = 1.0 - (1.0 - c_sigma).powi(2 * self.generation.min(1 << 20) as i32);
        let length = norm(&self.path_sigma);
        let is_short = length / faded.sqrt() < (1.4 + 2.0 / (d + 1.0)) * length_expected;
        let push = if is_short {
            (c_c * (2.0 - c_c) * mu_eff).sqrt()
        } else {
            0.0
        };
        for (path, s) in self.path_c.iter_mut().zip(&step) {
            *path = (1.0 - c_c) * *path + push * s;
        }
        let lost = if is_short {
            0.0
        } else {
            c_1 * c_c * (2.0 - c_c)
        };
        for i in 0..p {
            for k in 0..=i {
                let entry = &mut self.covariance[packed(i) + k];
                let rank_mu: f64 = w.iter().zip(&steps).map(|(w, s)| w * s[i] * s[k]).sum();
                *entry = (1.0 - c_1 - c_mu + lost) * *entry
                    + c_1 * self.path_c[i] * self.path_c[k]
                    + c_mu * rank_mu;
            }
        }
        let growth = (c_sigma / damping * (length / length_expected - 1.0)).min(1.0);
        self.sigma = (self.sigma * growth.exp()).clamp(SIGMA_MIN / 10.0, 1.0);
        self.factor = None;
    }

    fn is_stuck(&self) -> bool {
        let p = self.mean.len();
        let widest = (0..p)
            .map(|i| self.covariance[packed(i) + i])
            .fold(0.0, f64::max)
            .sqrt();
        let patience = 10 + (30.0 * p as f64 / self.lambda as f64) as u32;
        self.sigma * widest < SIGMA_MIN || self.n_stalled > patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Domain, Parameter, Space, Value};
    use crate::study::{Study, StudyConfig};
    use crate::trial::Outcome;

    #[test]
    fn learns_a_valley_of_condition_a_million() {
        let named = (0..4).map(|j| Parameter::new(j.to_string(), Domain::float(-5.0, 3.0)));
        let space = Space::new(named.collect()).expect("valid");
        let sampler = SamplerKind::CmaEs;
        let mut study = Study::new(StudyConfig {
            sampler,
            ..StudyConfig::new(space)
        })
        .expect("fits");
        for _ in 0..2500 {
            let trial = study.ask();
            let value = trial
                .point
                .values()
                .iter()
                .enumerate()
                .map(|(i, v)| match v {
                    Value::Float(x) => 100f64.powi(i as i32) * (x - 0.5) * (x - 0.5),
                    _ => unreachable!("floats only"),
                });
            study
                .tell(trial.id, Outcome::Value(value.sum()))
                .expect("pending");
        }
        // Published runs need about 1500 evaluations for 1e-8 here; without adaptation the value stays above 1.
        let best = study.incumbent().expect("told").value;
        assert!(best < 1e-8, "{best}");
    }
}
