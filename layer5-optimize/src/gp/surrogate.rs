//! A model of the objective: warp, hyperparameters and process, fitted together, and what it advises.
//! In: [`Known`] and some of its rows. Out: [`Surrogate`]. Called from: [`super`], [`crate::study`], [`crate::ehvi`].
//! Invariants: data of any size and shape give a model or `None`, never a panic.

use serde::{Deserialize, Serialize};

use super::fit::{self, Hyper, NoiseBounds, Training};
use super::given_noise::GivenNoise;
use super::kernel::{Shape, ordered_axes};
use super::posterior::Posterior;
use super::rows::{APART, ROWS_MAX, rows, rows_apart};
use super::warp::Warp;
use crate::acquisition::{Search, minimize_cautiously};
use crate::noise;
use crate::sampler::{Expected, Known};
use crate::seed::stream;

/// Bends of the output that are tried; see [`Warp::new`].
const BENDS: [Option<f64>; 4] = [None, Some(0.5), Some(0.2), Some(0.05)];

/// What a sampler keeps of its model between trials, so that likelihoods are not maximised anew for every row.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Fitted {
    hyper: Option<Hyper>,
    /// Rows of the last fit.
    n: usize,
}

impl Fitted {
    /// A model of these rows: fitted where they have grown by a tenth since the last fit, else conditioned on them with
    /// the hyperparameters found then.
    pub(crate) fn surrogate(&mut self, known: &Known<'_>, rows: &[usize]) -> Option<Surrogate> {
        self.among(known, rows, &BENDS)
    }

    /// The same without bending the output, where distances in the objective itself are what counts.
    pub(crate) fn straight(&mut self, known: &Known<'_>, rows: &[usize]) -> Option<Surrogate> {
        self.among(known, rows, &BENDS[..1])
    }

    fn among(
        &mut self,
        known: &Known<'_>,
        rows: &[usize],
        bends: &[Option<f64>],
    ) -> Option<Surrogate> {
        let n = rows.len();
        let is_fresh = n >= self.n && n < self.n + (n / REFIT_SHARE).max(1);
        let surrogate = match self.hyper.as_ref().filter(|_| is_fresh) {
            Some(hyper) => Surrogate::conditioned(known, rows, hyper),
            None => {
                self.n = n;
                Surrogate::fit_among(known, rows, self.hyper.as_ref(), 15, bends)
            }
        }?;
        self.hyper = Some(surrogate.hyper.clone());
        Some(surrogate)
    }
}

/// A fit is due when the rows have grown by one part in so many.
const REFIT_SHARE: usize = 10;

/// A fitted process and the way back to the objective's units.
#[derive(Debug, Clone)]
pub struct Surrogate {
    /// The process, in warped units.
    pub posterior: Posterior,
    /// The hyperparameters it was built with.
    pub hyper: Hyper,
    warp: Warp,
    /// Lowest posterior mean at an observation, warped units: what an improvement must beat.
    best: f64,
    is_noisy: bool,
}

impl Surrogate {
    /// A model of the whole cube, of the objective as it is: for questions about all of it. Where a search ended, most rows
    /// are a crowd on a spot; they count as one, else the model would bend the output until the spot filled its view.
    #[must_use]
    pub fn of_the_cube(known: &Known<'_>) -> Option<Self> {
        let is_noisy = noise::share(known).is_some_and(|share| share > noise::SHARE_MAX);
        let rows = rows_apart(known, if is_noisy { 0.0 } else { APART });
        Self::fit_among(known, &rows, None, 60, &BENDS[..1])
    }

    /// Fits from the standard starts; `None` below two observations or if nothing can be fitted.
    #[must_use]
    pub fn fit(known: &Known<'_>) -> Option<Self> {
        Self::fit_from(known, None, 60)
    }

    /// Fits, starting from `warm` if there is one, with at most `evaluations_max` likelihoods per start.
    #[must_use]
    pub fn fit_from(
        known: &Known<'_>,
        warm: Option<&Hyper>,
        evaluations_max: usize,
    ) -> Option<Self> {
        Self::fit_to(known, &rows(known), warm, evaluations_max)
    }

    /// Fits to some of the observations, given by their rows in `known`.
    #[must_use]
    pub fn fit_to(
        known: &Known<'_>,
        rows: &[usize],
        warm: Option<&Hyper>,
        evaluations_max: usize,
    ) -> Option<Self> {
        Self::fit_among(known, rows, warm, evaluations_max, &BENDS)
    }

    fn fit_among(
        known: &Known<'_>,
        rows: &[usize],
        warm: Option<&Hyper>,
        evaluations_max: usize,
        bends: &[Option<f64>],
    ) -> Option<Self> {
        if rows.len() < 2 {
            return None;
        }
        let d = known.cube.len();
        let (x, y) = selected(known, rows);
        let ordered = ordered_axes(known.cube);
        let start = warm.cloned().unwrap_or_else(|| Hyper::start(d));
        let noise_share = noise::share(known);
        let is_quiet = noise_share.is_some_and(|share| share <= noise::SHARE_MAX);
        // A logarithm near the lowest value would stretch noise, which is equally wide everywhere.
        let is_loud = noise_share.is_some_and(|share| share > noise::SHARE_MAX);
        let bends = if is_loud { &bends[..1] } else { bends };
        let bend = choose_bend(&ordered, &x, &y, &start, bends);
        let warp = Warp::new(&y, bend);
        let z: Vec<f64> = y.iter().map(|y| warp.forward(*y)).collect();
        let given = GivenNoise::new(known, rows, &warp);
        let pattern = given.as_ref().map(|noise| noise.pattern.as_slice());
        let training = Training::new(&ordered, &x, &z).with_noise(pattern);
        let bounds = match &given {
            Some(noise) => NoiseBounds::Given(noise.ln_g_range()),
            None if is_quiet => NoiseBounds::Quiet,
            None => NoiseBounds::Free,
        };
        let other = match start.shape {
            Shape::Matern52 => Shape::SquaredExponential,
            Shape::SquaredExponential => Shape::Matern52,
        };
        let mut starts = vec![
            start.clone(),
            Hyper {
                shape: other,
                ..start
            },
        ];
        if warm.is_some() {
            starts.push(Hyper::start(d));
        }
        let (hyper, _) = fit::fit(&training, &starts, bounds, evaluations_max)?;
        Self::with_warp(known, rows, &x, &z, warp, Hyper { bend, ..hyper })
    }

    /// Conditions on some of the observations with given hyperparameters.
    #[must_use]
    pub fn conditioned(known: &Known<'_>, rows: &[usize], hyper: &Hyper) -> Option<Self> {
        let (x, y) = selected(known, rows);
        if y.len() < 2 {
            return None;
        }
        let warp = Warp::new(&y, hyper.bend);
        let z: Vec<f64> = y.iter().map(|y| warp.forward(*y)).collect();
        Self::with_warp(known, rows, &x, &z, warp, hyper.clone())
    }

    fn with_warp(
        known: &Known<'_>,
        rows: &[usize],
        x: &[&[f64]],
        z: &[f64],
        warp: Warp,
        mut hyper: Hyper,
    ) -> Option<Self> {
        let ordered = ordered_axes(known.cube);
        let posterior = match GivenNoise::new(known, rows, &warp) {
            None => Posterior::new(&hyper, &ordered, x, z).ok()?,
            Some(noise) => noise.posterior(&mut hyper, &ordered, x, z).ok()?,
        };
        let kept = known
            .x
            .iter()
            .zip(known.violation)
            .filter(|(_, v)| **v <= 0.0);
        let best = if known.constraints.is_empty() {
            x.iter()
                .map(|u| posterior.mean(u))
                .fold(f64::INFINITY, f64::min)
        } else {
            kept.map(|(u, _)| posterior.mean(u))
                .fold(f64::INFINITY, f64::min)
        };
        let is_noisy = match noise::share(known) {
            Some(share) => share > noise::SHARE_MAX,
            None => posterior.noise_variance().sqrt() > NOISE_SD,
        };
        Some(Self {
            posterior,
            hyper,
            warp,
            best,
            is_noisy,
        })
    }

    /// Whether the observations scatter round the model.
    #[must_use]
    pub fn is_noisy(&self) -> bool {
        self.is_noisy
    }

    /// Lowest posterior mean at an observation, warped units.
    #[must_use]
    pub fn best(&self) -> f64 {
        self.best
    }

    /// Objective value to model units.
    #[must_use]
    pub fn to_model(&self, y: f64) -> f64 {
        self.warp.forward(y)
    }

    /// Model units to objective value.
    #[must_use]
    pub fn to_objective(&self, z: f64) -> f64 {
        self.warp.backward(z)
    }

    /// What to expect of an observation at `u`.
    #[must_use]
    pub fn expect_at(&self, u: &[f64]) -> Expected {
        let (mean, variance) = self.posterior.predict(u);
        let sd = (variance + self.posterior.noise_variance()).sqrt();
        // 95 % of a normal distribution is within 1.96 standard deviations.
        let at = |z: f64| self.warp.backward(z);
        Expected {
            mean: at(mean),
            lower: at(mean - 1.96 * sd),
            upper: at(mean + 1.96 * sd),
        }
    }

    /// Conditions on what is not told yet: pending trials come out as expected, failed ones as badly as anything seen.
    pub fn imagine(&mut self, known: &Known<'_>) {
        let worst = known
            .y
            .iter()
            .map(|y| self.warp.forward(*y))
            .fold(f64::NEG_INFINITY, f64::max);
        for (_, u) in known.failed.iter().rev().take(ROWS_MAX / 4) {
            self.posterior.append(u, worst);
        }
        for (_, u) in known.pending.iter().rev().take(ROWS_MAX / 2) {
            let mean = self.posterior.mean(u);
            self.posterior.append(u, mean);
            // Else the place itself would still promise what is expected of it already.
            self.best = self.best.min(mean);
        }
    }

    /// The point to use: `None` for the incumbent where observations look exact, else the minimum of the posterior mean;
    /// and what to expect there.
    #[must_use]
    pub fn advise(&self, known: &Known<'_>) -> Option<(Option<Vec<f64>>, Expected)> {
        let best = known.best()?;
        if !self.is_noisy {
            let value = known.y[best];
            let Expected { lower, upper, .. } = if noise::share(known).is_some() {
                // It was seen to answer the same twice.
                Expected {
                    mean: value,
                    lower: value,
                    upper: value,
                }
            } else {
                self.expect_at(&known.x[best])
            };
            let expected = Expected {
                mean: value,
                lower: lower.min(value),
                upper: upper.max(value),
            };
            return Some((None, expected));
        }
        // From the observed place one can count on most, not far: where nothing was observed a mean is a guess.
        let counted_on = |u: &[f64]| {
            let (mean, variance) = self.posterior.predict(u);
            mean + CAUTION * variance.sqrt()
        };
        let surest = known.x.iter().map(|u| (counted_on(u), u));
        let (_, surest) = surest.min_by(|a, b| a.0.total_cmp(&b.0))?;
        let search = Search {
            cube: known.cube,
            around: &[surest.as_slice()],
            n_candidates: 256,
            n_starts: 4,
            is_taken: &|_| false,
            within: Some((surest, ADVICE_REACH)),
        };
        let mut rng = stream(known.seed, u64::MAX);
        let (unit, _) = minimize_cautiously(&self.posterior, CAUTION, &search, &mut rng);
        let expected = self.expect_at(&unit);
        Some((Some(unit), expected))
    }
}

/// Where no two observations lie close enough to compare, scatter of this share of the observations' spread counts as
/// noise: a rough but exact objective looks like less.
const NOISE_SD: f64 = 0.1;

/// Standard deviations added to the mean when a point is recommended under noise.
const CAUTION: f64 = 1.0;

/// How far from an observed place advice under noise may lie, in unit coordinates.
const ADVICE_REACH: f64 = 0.1;

/// Coordinates and values of some observations.
fn selected<'a>(known: &Known<'a>, rows: &[usize]) -> (Vec<&'a [f64]>, Vec<f64>) {
    let x = rows.iter().map(|i| known.x[*i].as_slice()).collect();
    (x, rows.iter().map(|i| known.objective[*i]).collect())
}

/// The most likely of some warps at the starting hyperparameters.
fn choose_bend(
    ordered: &[bool],
    x: &[&[f64]],
    y: &[f64],
    start: &Hyper,
    bends: &[Option<f64>],
) -> Option<f64> {
    if bends.len() == 1 {
        return bends[0];
    }
    let loss = |share: Option<f64>| {
        let warp = Warp::new(y, share);
        let z: Vec<f64> = y.iter().map(|y| warp.forward(*y)).collect();
        fit::loss_at(start, ordered, x, &z) - warp.log_slope(y)
    };
    let losses = bends.iter().map(|share| (loss(*share), *share));
    losses.min_by(|a, b| a.0.total_cmp(&b.0))?.1
}
