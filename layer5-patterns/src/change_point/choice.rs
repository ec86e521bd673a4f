//! Which segmentation describes a series best, when its noise is autocorrelated: candidates from ladders of penalties,
//! judged by one yardstick.
//! In: a series in unit variance. Out: a [`Segmentation`]. Called from: [`super::change_points`].
//! The way: for each [`Law`] (levels, lines, levels with their own variance) the segmentations of falling penalties are
//! found by [`super::pelt`]; of all, the one of least description length under first-order autoregressive noise is
//! taken. A smooth drift is thus explained by autocorrelation, and only what that cannot explain by a change.
//! When one level explains everything, or a line from which the series wanders without coming back, the plain penalty with
//! autocorrelation decides once more: it sees a series that lives on two far levels, as a person does.
//! Invariants: deterministic; at most [`LADDER_STEPS`] segmentations per law.
//! Reference: Davis, Lee and Rodriguez-Yam (2006), <https://doi.org/10.1198/016214505000000745> (minimum description
//! length with autoregressive segments); Haynes, Eckley and Fearnhead (2017) for ranges of penalties.

use super::cost::{LineCost, MeanCost, MeanVarianceCost, SegmentCost};
use super::pelt::pelt;
use super::penalty::{PHI_MAX, autocorrelation_penalty};
use crate::fourier::autocorrelation;

/// Variance that is not told apart, as a share of the series' variance: what an eye does not see in a plot
/// (7 % of the standard deviation, about 2 % of the range).
const VARIANCE_FLOOR: f64 = 5e-3;
/// Each step of a ladder divides the penalty by this.
const LADDER_RATIO: f64 = 1.4;
/// Longest ladder: a factor of 1e5 between the first and the last penalty.
const LADDER_STEPS: usize = 35;
/// A ladder ends when this many segmentations in a row were no better than the best of it.
const WORSE_MAX: usize = 6;
/// Weight of `ln n` per parameter: 1 would be Schwarz's criterion in units of twice the log likelihood; a change
/// also has its place to pay for, and the best of many places was chosen.
const PARAMETER_WEIGHT: f64 = 2.0;

/// What each segment is described by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Law {
    /// A level.
    Level,
    /// A straight line.
    Line,
    /// A level and a variance.
    LevelAndVariance,
}

/// A series cut into segments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Segmentation {
    pub(super) law: Law,
    /// First samples of all segments but the first.
    pub(super) starts: Vec<usize>,
}

/// Chooses the segmentation of `values` (shape `[n]`, mean 0, variance 1).
///
/// `factor` multiplies what a change must pay.
pub(super) fn choose(values: &[f64], least: usize, factor: f64) -> Segmentation {
    let none = Segmentation {
        law: Law::Level,
        starts: Vec::new(),
    };
    let mut best = (description_len(values, &none, factor), none);
    let straight = Segmentation {
        law: Law::Line,
        starts: Vec::new(),
    };
    consider(&mut best, values, straight, factor);
    climb(
        &MeanCost::new(values, 1.0),
        Law::Level,
        values,
        least,
        factor,
        &mut best,
    );
    climb(
        &LineCost::new(values, 1.0),
        Law::Line,
        values,
        least,
        factor,
        &mut best,
    );
    let both = MeanVarianceCost::new(values, VARIANCE_FLOOR);
    climb(
        &both,
        Law::LevelAndVariance,
        values,
        least,
        factor,
        &mut best,
    );
    if !best.1.starts.is_empty() {
        return best.1;
    }
    let phi_of = |values: &[f64]| autocorrelation(values, 1).get(1).copied().unwrap_or(0.0);
    if best.1.law == Law::Line && phi_of(&residuals(values, &best.1)) < PHI_MAX {
        return best.1;
    }
    let penalty = factor * autocorrelation_penalty(values.len(), 2, phi_of(values));
    let starts = pelt(&both, penalty, least);
    Segmentation {
        law: if starts.is_empty() {
            best.1.law
        } else {
            Law::LevelAndVariance
        },
        starts,
    }
}

/// Walks down a ladder of penalties from the first that allows a change.
fn climb<C: SegmentCost>(
    cost: &C,
    law: Law,
    values: &[f64],
    least: usize,
    factor: f64,
    best: &mut (f64, Segmentation),
) {
    let n = cost.len();
    if n < 2 * least {
        return;
    }
    let whole = cost.cost(0..n);
    let gain = (least..=n - least)
        .map(|t| whole - cost.cost(0..t) - cost.cost(t..n))
        .fold(0.0_f64, f64::max);
    let mut penalty = gain * LADDER_RATIO;
    let mut own_best = f64::INFINITY;
    let mut worse = 0;
    let mut n_starts = usize::MAX;
    for _ in 0..LADDER_STEPS {
        if penalty.is_nan() || penalty <= 1e-9 || worse > WORSE_MAX {
            return;
        }
        let starts = pelt(cost, penalty, least);
        penalty /= LADDER_RATIO;
        if starts.is_empty() || starts.len() == n_starts {
            continue;
        }
        n_starts = starts.len();
        let length = consider(best, values, Segmentation { law, starts }, factor);
        if length < own_best {
            (own_best, worse) = (length, 0);
        } else {
            worse += 1;
        }
    }
}

fn consider(
    best: &mut (f64, Segmentation),
    values: &[f64],
    candidate: Segmentation,
    factor: f64,
) -> f64 {
    let length = description_len(values, &candidate, factor);
    if length < best.0 {
        *best = (length, candidate);
    }
    length
}

/// Twice the negative log likelihood of what a segmentation leaves, as a first-order autoregression, plus
/// [`PARAMETER_WEIGHT`] `ln n` for each parameter. The innovations have one variance, or one per segment,
/// whichever is shorter to say.
pub(super) fn description_len(values: &[f64], segmentation: &Segmentation, factor: f64) -> f64 {
    let n = values.len() as f64;
    let rest = residuals(values, segmentation);
    let (mut products, mut squares) = (0.0, 0.0);
    for (i, r) in rest.iter().enumerate() {
        squares += r * r;
        if i > 0 {
            products += r * rest[i - 1];
        }
    }
    let phi = if squares > 0.0 {
        (products / squares).clamp(0.0, PHI_MAX)
    } else {
        0.0
    };
    let innovation = |i: usize| {
        if i == 0 {
            rest[0] * (1.0 - phi * phi).sqrt()
        } else {
            rest[i] - phi * rest[i - 1]
        }
    };
    let (mut total, mut each) = (0.0, 0.0);
    let mut start = 0;
    for end in segmentation.starts.iter().copied().chain([values.len()]) {
        let energy: f64 = (start..end).map(|i| innovation(i).powi(2)).sum();
        let len = (end - start) as f64;
        each += len * (energy / len + VARIANCE_FLOOR).ln();
        total += energy;
        start = end;
    }
    let pooled = n * (total / n + VARIANCE_FLOOR).ln();
    let changes = segmentation.starts.len() as f64;
    let line = f64::from(u8::from(segmentation.law == Law::Line));
    let parameters = changes * (2.0 + line) + line;
    let price = factor * PARAMETER_WEIGHT * n.ln();
    pooled.min(each + price * changes) + price * parameters - (1.0 - phi * phi).ln()
}

/// What the levels or lines of a segmentation leave; shape `[n]`.
pub(super) fn residuals(values: &[f64], segmentation: &Segmentation) -> Vec<f64> {
    let mut rest = Vec::with_capacity(values.len());
    let mut start = 0;
    for end in segmentation.starts.iter().copied().chain([values.len()]) {
        let line = line_of(&values[start..end]);
        let slope = if segmentation.law == Law::Line {
            line.0
        } else {
            0.0
        };
        let middle = (end - start - 1) as f64 / 2.0;
        rest.extend(
            values[start..end]
                .iter()
                .enumerate()
                .map(|(i, v)| v - line.1 - slope * (i as f64 - middle)),
        );
        start = end;
    }
    rest
}

/// Least-squares slope and mean of a segment.
pub(super) fn line_of(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n.max(1.0);
    let middle = (n - 1.0) / 2.0;
    let (mut tv, mut tt) = (0.0, 0.0);
    for (i, v) in values.iter().enumerate() {
        let t = i as f64 - middle;
        tv += t * (v - mean);
        tt += t * t;
    }
    (if tt > 0.0 { tv / tt } else { 0.0 }, mean)
}
