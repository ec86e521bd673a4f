//! Several objectives by a Gaussian process of each: the place where the dominated volume is expected to grow most.
//! In: [`Known`] with the values of every objective. Out: proposals. Called from: [`crate::study`].
//! How: a process per objective, scaled but not bent: a logarithm near the lowest value would make the ends of the front
//! worth nearly all of the volume. The reference is a little worse than the front of the means. Now and then that front
//! reaches to where the models expect its ends: behind the rows alone, one row at an end that dominates the rest would shut
//! all of the front out but its own neighbourhood. But ends that the models hope for and rows that are best in one objective
//! and far behind in another would take most of a search that always went for them: mostly the reference is behind the rows,
//! no nearer than the middle of all. Pending trials come out as expected and stand on the front; failed ones as badly as
//! anything seen. Constraints count by the probability that they are kept. One objective makes it expected improvement.
//! Invariants: one to [`OBJECTIVES_MAX`] objectives; of a front above [`crate::acquisition::hypervolume::FRONT_MAX`] rows
//! those with most room count.
//! Reference: as [`crate::acquisition::hypervolume`]; the reference point as in Ishibuchi et al. (2018),
//! <https://doi.org/10.1162/evco_a_00226>.

use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::acquisition::hypervolume::{Gain, OBJECTIVES_MAX};
use crate::acquisition::{Search, feasibility, minimize_loss};
use crate::design::sobol::scrambled;
use crate::gp::{Fitted, Posterior, Surrogate, constraint_processes, is_taken, rows};
use crate::pareto::front;
use crate::sampler::{Known, Proposal, Sampler, SamplerKind};
use crate::trial::Why;

/// One suggestion of so many may be for the ends of the front, the others are for what lies between.
const ENDS_EVERY: u64 = 6;
/// How far the reference is behind the worst of the front, in widths of the front.
const BEHIND: f64 = 0.1;
/// What a unit of another objective counts where one is minimised: of places equal in it, those of the front are found.
const OTHERS: f64 = 0.05;
/// Rows of the front round which candidates are drawn.
const N_AROUND: usize = 8;

/// The sampler.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Ehvi {
    /// One per objective.
    fitted: Vec<Fitted>,
}

impl Sampler for Ehvi {
    fn propose(&mut self, known: &Known<'_>, rng: &mut Pcg64) -> Proposal {
        let by = SamplerKind::Ehvi;
        let d = known.cube.len();
        let n_design = (2 * d + 3).min(20);
        let models = if known.n_used() < n_design {
            None
        } else {
            self.models(known)
        };
        let Some(mut models) = models else {
            let u = scrambled(known.n_asked as u32, d, known.seed);
            return Proposal {
                unit: known.cube.to_unit(&known.cube.from_even(&u)),
                by,
                why: Why::InitialDesign,
                expected: None,
            };
        };
        for (k, model) in models.iter_mut().enumerate() {
            known.one_objective(k, |of_one| model.imagine(of_one));
        }
        let unit = most_gain(known, &models, rng);
        let expected = (models.len() == 1).then(|| models[0].expect_at(&unit));
        Proposal {
            unit,
            by,
            why: Why::HypervolumeGain,
            expected,
        }
    }
}

impl Ehvi {
    fn models(&mut self, known: &Known<'_>) -> Option<Vec<Surrogate>> {
        let m = known.values.first()?.len().min(OBJECTIVES_MAX);
        self.fitted.resize_with(m, Fitted::default);
        let fitted = self.fitted.iter_mut().enumerate();
        fitted
            .map(|(k, fitted)| {
                known.one_objective(k, |of_one| fitted.straight(of_one, &rows(of_one)))
            })
            .collect()
    }
}

/// The place of the largest expected gain.
fn most_gain(known: &Known<'_>, models: &[Surrogate], rng: &mut Pcg64) -> Vec<f64> {
    let m = models.len();
    // What a model expects where it was measured, not what was: by noise, and by what passes for it, some values are lucky,
    // and the difference would be a sure gain at the same place for ever.
    let expected = |u: &Vec<f64>| -> Vec<f64> {
        let means = models.iter().map(|model| model.posterior.mean(u));
        means.collect()
    };
    let kept: Vec<usize> = (0..known.values.len())
        .filter(|i| known.violation[*i] <= 0.0)
        .collect();
    let mut values: Vec<Vec<f64>> = kept.iter().map(|i| expected(&known.x[*i])).collect();
    let constraints = constraint_processes(known);
    let best: Vec<usize> = front(&values).into_iter().map(|i| kept[i]).collect();
    let stride = best.len().div_ceil(N_AROUND).max(1);
    let mut around: Vec<&[f64]> = best
        .iter()
        .step_by(stride)
        .map(|i| known.x[*i].as_slice())
        .collect();
    let ends = ends(known, models, &constraints, &around, rng);
    let behind_rows = behind(&values, m);
    let further: Vec<f64> = if known.n_asked.is_multiple_of(ENDS_EVERY) {
        let all: Vec<Vec<f64>> = values
            .iter()
            .cloned()
            .chain(ends.iter().map(expected))
            .collect();
        behind(&all, m)
    } else {
        (0..m).map(|k| middle(&values, k)).collect()
    };
    // No nearer than behind the rows: what the models hope for must not shut out what there is.
    let pairs = behind_rows.iter().zip(further);
    let reference: Vec<f64> = pairs.map(|(a, b)| a.max(b)).collect();
    around.extend(ends.iter().map(Vec::as_slice));
    values.extend(known.pending.iter().map(|(_, u)| expected(u)));
    let gain = Gain::new(&values, &reference);
    let loss = |u: &[f64]| {
        let (mut mean, mut sd) = ([0.0; OBJECTIVES_MAX], [0.0; OBJECTIVES_MAX]);
        for (k, model) in models.iter().enumerate() {
            let (at, variance) = model.posterior.predict(u);
            (mean[k], sd[k]) = (at, variance.sqrt());
        }
        let mut loss = -gain.expected(&mean[..m], &sd[..m]).value;
        feasibility::add_loss(&constraints, u, &mut loss);
        loss
    };
    let loss_with_gradient = |u: &[f64], gradient: &mut [f64]| {
        let (mut mean, mut sd) = ([0.0; OBJECTIVES_MAX], [0.0; OBJECTIVES_MAX]);
        let d = u.len();
        let mut slopes = vec![(vec![0.0; d], vec![0.0; d]); m];
        for (k, model) in models.iter().enumerate() {
            let (by_mean, by_variance) = &mut slopes[k];
            let (at, variance) = model
                .posterior
                .predict_with_gradient(u, by_mean, by_variance);
            (mean[k], sd[k]) = (at, variance.sqrt());
        }
        let found = gain.expected(&mean[..m], &sd[..m]);
        gradient.fill(0.0);
        for (k, (by_mean, by_variance)) in slopes.iter().enumerate() {
            for j in 0..d {
                gradient[j] -= found.by_mean[k] * by_mean[j];
                gradient[j] -= found.by_sd[k] * by_variance[j] / (2.0 * sd[k]);
            }
        }
        let mut loss = -found.value;
        feasibility::add_loss_and_gradient(&constraints, u, &mut loss, gradient);
        loss
    };
    let taken = |u: &[f64]| is_taken(known, u);
    let search = Search {
        cube: known.cube,
        around: &around,
        n_candidates: 256,
        n_starts: 4,
        is_taken: &taken,
        within: None,
    };
    minimize_loss(&search, rng, loss, loss_with_gradient).0
}

/// Where the models expect the ends of the front: the lowest mean of every objective, a little of the others counted.
fn ends(
    known: &Known<'_>,
    models: &[Surrogate],
    constraints: &[(Posterior, f64)],
    around: &[&[f64]],
    rng: &mut Pcg64,
) -> Vec<Vec<f64>> {
    let search = Search {
        cube: known.cube,
        around,
        n_candidates: 128,
        n_starts: 2,
        is_taken: &|_| false,
        within: None,
    };
    let mut end = |k: usize| {
        let weight = |i: usize| if i == k { 1.0 } else { OTHERS };
        let loss = |u: &[f64]| {
            let means = models.iter().enumerate();
            let mut loss = means.map(|(i, m)| weight(i) * m.posterior.mean(u)).sum();
            feasibility::add_loss(constraints, u, &mut loss);
            loss
        };
        let loss_with_gradient = |u: &[f64], gradient: &mut [f64]| {
            let (mut by_mean, mut by_variance) = (vec![0.0; u.len()], vec![0.0; u.len()]);
            let mut loss = 0.0;
            gradient.fill(0.0);
            for (i, model) in models.iter().enumerate() {
                let posterior = &model.posterior;
                let (mean, _) = posterior.predict_with_gradient(u, &mut by_mean, &mut by_variance);
                loss += weight(i) * mean;
                for (slope, by_mean) in gradient.iter_mut().zip(&by_mean) {
                    *slope += weight(i) * by_mean;
                }
            }
            feasibility::add_loss_and_gradient(constraints, u, &mut loss, gradient);
            loss
        };
        minimize_loss(&search, rng, loss, loss_with_gradient).0
    };
    (0..models.len()).map(&mut end).collect()
}

/// Behind the worst of the front in every objective; a front that has no width counts as one of a standard deviation.
/// A row that gives up much in one objective for next to nothing in the others is not on this front: the errors of the
/// models alone would keep it there, far out.
fn behind(values: &[Vec<f64>], m: usize) -> Vec<f64> {
    let sums = values.iter().map(|row| (row, row.iter().sum::<f64>()));
    let leaned: Vec<Vec<f64>> = sums
        .map(|(row, sum)| row.iter().map(|v| v + OTHERS * (sum - v)).collect())
        .collect();
    let on = front(&leaned);
    let end = |k: usize| {
        let column = on.iter().map(|i| values[*i][k]);
        let low = column.clone().fold(f64::INFINITY, f64::min);
        let high = column.fold(f64::NEG_INFINITY, f64::max);
        let width = if high > low { high - low } else { 1.0 };
        high + BEHIND * width
    };
    (0..m).map(end).collect()
}

/// The middle value of objective `k`.
fn middle(values: &[Vec<f64>], k: usize) -> f64 {
    let mut column: Vec<f64> = values.iter().map(|row| row[k]).collect();
    column.sort_by(f64::total_cmp);
    column.get(column.len() / 2).copied().unwrap_or(f64::MIN)
}
