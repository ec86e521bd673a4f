//! What a study advises: the incumbent, what to use, what to expect, the front of several objectives, when to stop.
//! In: a [`Study`]. Out: plain data in the caller's units and directions. Called from: callers of [`Study`],
//! [`crate::insight`]. Invariants: asking for advice changes nothing.

use serde::{Deserialize, Serialize};

use super::{Direction, Study};
use crate::gp::{Surrogate, propose_log_ei};
use crate::pareto::front;
use crate::sampler::Expected;
use crate::seed::stream;
use crate::space::Point;
use crate::trial::{Observation, Prediction, Recommendation};

/// Why a study may stop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// As many trials were closed as the budget says.
    BudgetSpent,
    /// The expected improvement, given here in the objective's units, is below the configured value.
    NothingToGain(f64),
    /// Every distinct point was evaluated.
    SpaceExhausted,
}

impl Study {
    /// The best observation that keeps every constraint, the earliest of equals; of those that keep none, the one that
    /// breaks them least. With several objectives, the most balanced one. `None` before the first. Under noise it is
    /// biased: the luckiest of several good points wins. [`Study::recommend`] is not.
    #[must_use]
    pub fn incumbent(&self) -> Option<&Observation> {
        let best = self.view.known(&self.config, None, 0).best()?;
        Some(&self.observations[best])
    }

    /// The point to use, and what to expect of it (of the first objective): the incumbent where the observations look
    /// exact, the minimum of the posterior mean near an observed place where they look noisy. `None` before the first
    /// observation.
    ///
    /// # Cost
    /// The first advice after something was told fits a surrogate, milliseconds at 100 observations; further advice is a
    /// matter of microseconds.
    #[must_use]
    pub fn recommend(&self) -> Option<Recommendation> {
        let known = self
            .view
            .known(&self.config, None, self.trials.len() as u64);
        let best = known.best()?;
        let told = |best: usize| {
            let value = self.view.values[best][0];
            Expected {
                mean: value,
                lower: value,
                upper: value,
            }
        };
        let plain = self.config.n_objectives() == 1 && self.config.n_constraints == 0;
        let surrogate = if plain { self.surrogate() } else { None };
        let advised = surrogate.and_then(|s| s.advise(&known));
        let (unit, expected) = advised.unwrap_or_else(|| (None, told(best)));
        let point = unit
            .map(|unit| self.view.cube.from_unit(&unit))
            .filter(|point| self.config.safe.is_none() && self.view.limits.keeps(point));
        Some(Recommendation {
            point: point.unwrap_or_else(|| self.observations[best].point.clone()),
            predicted: self.to_prediction(expected),
        })
    }

    /// What the first objective is expected to be at a point; `None` while there are fewer than two observations, with
    /// several objectives, or if the point is not of this space.
    ///
    /// # Cost
    /// The first advice after something was told fits a surrogate, milliseconds at 100 observations; further advice is a
    /// matter of microseconds.
    #[must_use]
    pub fn predict(&self, point: &Point) -> Option<Prediction> {
        self.config.space.check(point).ok()?;
        let surrogate = self.surrogate()?;
        Some(self.to_prediction(surrogate.expect_at(&self.view.cube.to_unit(point))))
    }

    /// The observations none other is better than in every objective, those that break a constraint left out, in the
    /// order of telling. With one objective, the incumbent alone.
    #[must_use]
    pub fn pareto_front(&self) -> Vec<&Observation> {
        let rows: Vec<usize> = (0..self.observations.len())
            .filter(|i| self.observations[*i].is_feasible())
            .collect();
        let values: Vec<Vec<f64>> = rows.iter().map(|i| self.view.values[*i].clone()).collect();
        let kept = front(&values).into_iter();
        kept.map(|i| &self.observations[rows[i]]).collect()
    }

    /// The largest improvement expected anywhere over the best value so far, in the objective's units; `None` while there
    /// is no model, and with several objectives.
    ///
    /// # Cost
    /// That of [`Study::recommend`], and a search of the surrogate: milliseconds at 100 observations.
    #[must_use]
    pub fn expected_improvement(&self) -> Option<f64> {
        let known = self
            .view
            .known(&self.config, None, self.trials.len() as u64);
        let surrogate = self.surrogate()?;
        let mut rng = stream(self.config.seed, u64::MAX - 2);
        let (unit, _) = propose_log_ei(surrogate, &known, None, &mut rng);
        let (mean, variance) = surrogate.posterior.predict(&unit);
        let best = surrogate.to_objective(surrogate.best());
        // The mean over evenly spaced quantiles; the warp makes the distribution a skewed one.
        let n = 64;
        let gains = (0..n).map(|i| {
            let p = (f64::from(i) + 0.5) / f64::from(n);
            let z = crate::acquisition::log_ei::normal_quantile(p);
            (best - surrogate.to_objective(mean + z * variance.sqrt())).max(0.0)
        });
        Some(gains.sum::<f64>() / f64::from(n))
    }

    /// Whether the study may stop, by its own configuration.
    ///
    /// # Cost
    /// That of [`Study::expected_improvement`] where `stop_below` is set.
    #[must_use]
    pub fn stop_reason(&self) -> Option<StopReason> {
        let n_closed = self.trials.len() - self.view.pending.len();
        if self.config.budget.is_some_and(|budget| n_closed >= budget) {
            return Some(StopReason::BudgetSpent);
        }
        let n_points = self.config.space.n_points();
        if n_points.is_some_and(|n| self.view.seen.len() as u64 >= n) {
            return Some(StopReason::SpaceExhausted);
        }
        let least = self.config.stop_below?;
        // A model of fewer rows than this has not looked round.
        if self.observations.len() < 2 * self.config.space.len() + 4 {
            return None;
        }
        let gain = self.expected_improvement()?;
        (gain < least).then_some(StopReason::NothingToGain(gain))
    }

    /// A model of the single objective, fitted to everything told; once, however often advice is asked for until
    /// something else is told.
    pub(crate) fn surrogate(&self) -> Option<&Surrogate> {
        if self.config.n_objectives() > 1 {
            return None;
        }
        let n_asked = self.trials.len() as u64;
        let fitted = || Surrogate::fit(&self.view.known(&self.config, None, n_asked));
        self.model.get_or_init(fitted).as_ref()
    }

    /// A model of one objective over the whole space, to be minimised; `None` if there is no such objective, or too little
    /// was told.
    pub(crate) fn surrogate_of(&self, objective: usize) -> Option<Surrogate> {
        if objective >= self.config.n_objectives() {
            return None;
        }
        let n_asked = self.trials.len() as u64;
        let known = self.view.known(&self.config, None, n_asked);
        known.one_objective(objective, Surrogate::of_the_cube)
    }

    /// The sign that makes an objective one to be minimised.
    pub(crate) fn sign(&self, objective: usize) -> f64 {
        self.config.signs().nth(objective).unwrap_or(1.0)
    }

    /// The axes, for [`crate::insight`].
    pub(crate) fn cube(&self) -> &crate::unit_cube::UnitCube {
        &self.view.cube
    }

    /// Every objective of every observation, to be minimised.
    pub(crate) fn minimised(&self) -> &[Vec<f64>] {
        &self.view.values
    }

    pub(crate) fn to_prediction(&self, expected: Expected) -> Prediction {
        let Expected { mean, lower, upper } = expected;
        match self.config.direction {
            Direction::Minimize => Prediction { mean, lower, upper },
            Direction::Maximize => Prediction {
                mean: -mean,
                lower: -upper,
                upper: -lower,
            },
        }
    }
}
