//! Expected growth of the volume that a front of one to three objectives dominates: exact, with derivatives.
//! In: a front and a reference in model units; means and standard deviations of independent normal values. Out: the
//! logarithm. Called from: [`crate::ehvi`]. Notation: `m` objectives; `EI(t) = E[(t - y)+]`.
//! How: what is not dominated below the reference splits into boxes, each a range of every objective but the last, and all
//! of the last below a height `h`. A new value grows the volume by the sum over boxes of the widths it reaches times
//! `(h - y_m)+`; of independent values the expectation of the product is the product of expectations, and that of the width
//! reached from `a` to `b` is `EI(b) - EI(a)`. So the whole is sums and products of expected improvements.
//! Invariants: exact for any front of at most [`FRONT_MAX`] rows; of a larger one the rows with most room are taken.
//! Reference: Emmerich, Deutz and Klinkenberg (2011), <https://doi.org/10.1109/CEC.2011.5949880>; boxes by slicing as in
//! Yang, Emmerich, Deutz and Bäck (2019), <https://doi.org/10.1007/s10898-019-00798-7>.

use super::log_ei::{LogEi, log_ei};
use crate::pareto::{crowding, front};

/// Rows of the front that are looked at.
pub const FRONT_MAX: usize = 40;
/// Objectives, at most.
pub const OBJECTIVES_MAX: usize = 3;

/// A part of what is not dominated: ranges of the outer objectives as places in their thresholds, and a height.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cell {
    spans: [(usize, usize); OBJECTIVES_MAX - 1],
    height: usize,
}

/// What a new value can gain.
#[derive(Debug, Clone, PartialEq)]
pub struct Gain {
    m: usize,
    /// Ends of the ranges of every outer objective, rising, the first one minus infinity.
    thresholds: Vec<Vec<f64>>,
    /// Heights in the last objective.
    heights: Vec<f64>,
    cells: Vec<Cell>,
}

/// The logarithm of an expected gain and its derivatives by the means and standard deviations of the objectives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogGain {
    /// `ln E[gain]`; minus infinity if nothing can be gained.
    pub value: f64,
    /// By the means.
    pub by_mean: [f64; OBJECTIVES_MAX],
    /// By the standard deviations.
    pub by_sd: [f64; OBJECTIVES_MAX],
}

impl Gain {
    /// Boxes above nothing and below `reference` (`[m]`, m in 1..=3) that no row of `values` dominates.
    #[must_use]
    pub fn new(values: &[Vec<f64>], reference: &[f64]) -> Self {
        let m = reference.len().min(OBJECTIVES_MAX);
        let rows = thinned_front(values, reference);
        let thresholds: Vec<Vec<f64>> = (0..m - 1)
            .map(|k| {
                let mut ends: Vec<f64> = rows.iter().map(|row| row[k]).collect();
                ends.push(reference[k]);
                ends.push(f64::NEG_INFINITY);
                ends.sort_by(f64::total_cmp);
                ends.dedup();
                ends
            })
            .collect();
        let mut gain = Self {
            m,
            thresholds,
            heights: Vec::new(),
            cells: Vec::new(),
        };
        let top = reference[m - 1];
        // The lowest last objective among rows that are at or below these thresholds in the outer ones.
        let height = |at: &[f64]| {
            let below = rows
                .iter()
                .filter(|row| row.iter().zip(at).all(|(v, a)| v <= a));
            below.map(|row| row[m - 1]).fold(top, f64::min)
        };
        let n_of = |gain: &Self, k: usize| gain.thresholds.get(k).map_or(1, |ends| ends.len() - 1);
        let (n_first, n_second) = (n_of(&gain, 0), n_of(&gain, 1));
        for i in 0..n_first {
            let mut j = 0;
            while j < n_second {
                let at = |i: usize, j: usize| -> Vec<f64> {
                    let places = [i, j];
                    (gain.thresholds.iter().zip(places))
                        .map(|(ends, p)| ends[p])
                        .collect()
                };
                let h = height(&at(i, j));
                let mut end = j + 1;
                while end < n_second && height(&at(i, end)) == h {
                    end += 1;
                }
                let place = gain.heights.iter().position(|other| *other == h);
                let place = place.unwrap_or_else(|| {
                    gain.heights.push(h);
                    gain.heights.len() - 1
                });
                gain.cells.push(Cell {
                    spans: [(i, i + 1), (j, end)],
                    height: place,
                });
                j = end;
            }
        }
        gain
    }

    /// The expected gain of a value with these means and standard deviations (`[m]`, positive).
    #[must_use]
    pub fn expected(&self, mean: &[f64], sd: &[f64]) -> LogGain {
        let m = self.m;
        let at = |k: usize, ends: &[f64]| -> Vec<LogEi> {
            ends.iter()
                .map(|t| improvement(mean[k], sd[k], *t))
                .collect()
        };
        let outer: Vec<Vec<LogEi>> = (0..m - 1).map(|k| at(k, &self.thresholds[k])).collect();
        let last = at(m - 1, &self.heights);
        let mut sum = LogSum::default();
        for cell in &self.cells {
            let height = last[cell.height];
            let mut term = LogGain {
                value: height.value,
                by_mean: [0.0; OBJECTIVES_MAX],
                by_sd: [0.0; OBJECTIVES_MAX],
            };
            (term.by_mean[m - 1], term.by_sd[m - 1]) = (height.by_mean, height.by_sd);
            for (k, ends) in outer.iter().enumerate() {
                let (from, to) = cell.spans[k];
                let width = difference(ends[to], ends[from]);
                term.value += width.value;
                (term.by_mean[k], term.by_sd[k]) = (width.by_mean, width.by_sd);
            }
            sum.add(&term);
        }
        sum.total()
    }
}

/// The front of the rows below the reference; of one too large, those with most room.
fn thinned_front(values: &[Vec<f64>], reference: &[f64]) -> Vec<Vec<f64>> {
    let below: Vec<Vec<f64>> = values
        .iter()
        .filter(|row| row.iter().zip(reference).all(|(v, r)| v < r))
        .cloned()
        .collect();
    let rows: Vec<&[f64]> = front(&below)
        .into_iter()
        .map(|i| below[i].as_slice())
        .collect();
    let room = crowding(&rows);
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|a, b| room[*b].total_cmp(&room[*a]));
    order.truncate(FRONT_MAX);
    order.sort_unstable();
    order.into_iter().map(|i| rows[i].to_vec()).collect()
}

/// Expected improvement below `t`; none below minus infinity.
fn improvement(mean: f64, sd: f64, t: f64) -> LogEi {
    if t == f64::NEG_INFINITY {
        return LogEi {
            value: f64::NEG_INFINITY,
            by_mean: 0.0,
            by_sd: 0.0,
        };
    }
    log_ei(mean, sd, t)
}

/// The logarithm of `exp a - exp b`, `a` the larger one.
fn difference(a: LogEi, b: LogEi) -> LogEi {
    let ratio = (b.value - a.value).exp();
    let rest = -(b.value - a.value).exp_m1();
    if !(rest > 0.0) {
        return LogEi {
            value: f64::NEG_INFINITY,
            by_mean: 0.0,
            by_sd: 0.0,
        };
    }
    LogEi {
        value: a.value + rest.ln(),
        by_mean: (a.by_mean - ratio * b.by_mean) / rest,
        by_sd: (a.by_sd - ratio * b.by_sd) / rest,
    }
}

/// A sum of exponentials with derivatives, kept in units of its largest term.
#[derive(Debug, Default)]
struct LogSum {
    largest: Option<f64>,
    sum: f64,
    by_mean: [f64; OBJECTIVES_MAX],
    by_sd: [f64; OBJECTIVES_MAX],
}

impl LogSum {
    fn add(&mut self, term: &LogGain) {
        if !term.value.is_finite() {
            return;
        }
        let largest = self.largest.unwrap_or(term.value);
        if self.largest.is_none() || term.value > largest {
            let shrink = (largest - term.value).exp();
            self.largest = Some(term.value);
            self.sum *= shrink;
            for slope in self.by_mean.iter_mut().chain(&mut self.by_sd) {
                *slope *= shrink;
            }
        }
        let weight = (term.value - self.largest.unwrap_or(term.value)).exp();
        self.sum += weight;
        for k in 0..OBJECTIVES_MAX {
            self.by_mean[k] += weight * term.by_mean[k];
            self.by_sd[k] += weight * term.by_sd[k];
        }
    }

    fn total(&self) -> LogGain {
        let Some(largest) = self.largest else {
            return LogGain {
                value: f64::NEG_INFINITY,
                by_mean: [0.0; OBJECTIVES_MAX],
                by_sd: [0.0; OBJECTIVES_MAX],
            };
        };
        LogGain {
            value: largest + self.sum.ln(),
            by_mean: self.by_mean.map(|slope| slope / self.sum),
            by_sd: self.by_sd.map(|slope| slope / self.sum),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::acquisition::log_ei::normal_quantile;
    use crate::design::sobol::scrambled_block;
    use crate::pareto::hypervolume;

    /// The mean growth over an even spread of values, by the volume itself: a second way to the same number.
    fn by_sampling(values: &[Vec<f64>], reference: &[f64], mean: &[f64], sd: &[f64]) -> f64 {
        let m = reference.len();
        let before = hypervolume(values, reference);
        let draws = scrambled_block(0, 4096, m, 5);
        let grown = draws.iter().map(|u| {
            let mut all = values.to_vec();
            let y = (0..m).map(|k| mean[k] + sd[k] * normal_quantile(u[k].clamp(1e-9, 1.0 - 1e-9)));
            all.push(y.collect());
            hypervolume(&all, reference) - before
        });
        grown.sum::<f64>() / 4096.0
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn is_the_mean_growth_of_the_volume(
            rows in prop::collection::vec(prop::collection::vec(0.0f64..1.2, 3), 0..7),
            mean in prop::collection::vec(-0.3f64..1.1, 3),
            sd in prop::collection::vec(0.05f64..0.6, 3),
            m in 1usize..=3,
        ) {
            let values: Vec<Vec<f64>> = rows.iter().map(|row| row[..m].to_vec()).collect();
            let reference = vec![1.0; m];
            let exact = Gain::new(&values, &reference).expected(&mean[..m], &sd[..m]).value.exp();
            let sampled = by_sampling(&values, &reference, &mean[..m], &sd[..m]);
            // 4096 scrambled points of three dimensions err by less than a hundredth of the spread, which is below 1.
            prop_assert!((exact - sampled).abs() < 0.01 * (1.0 + exact), "{exact} {sampled}");
        }

        #[test]
        fn derivatives_match_differences(
            rows in prop::collection::vec(prop::collection::vec(0.0f64..1.0, 3), 0..6),
            mean in prop::collection::vec(-0.3f64..2.5, 3),
            m in 1usize..=3,
        ) {
            let values: Vec<Vec<f64>> = rows.iter().map(|row| row[..m].to_vec()).collect();
            let gain = Gain::new(&values, &vec![1.0; m]);
            let sd = [0.3, 0.2, 0.25];
            let found = gain.expected(&mean[..m], &sd[..m]);
            for k in 0..m {
                let at = |by_mean: f64, by_sd: f64| {
                    let (mut mean, mut sd) = (mean.clone(), sd);
                    mean[k] += by_mean;
                    sd[k] += by_sd;
                    gain.expected(&mean[..m], &sd[..m]).value
                };
                let h = 1e-6;
                let by_mean = (at(h, 0.0) - at(-h, 0.0)) / (2.0 * h);
                let by_sd = (at(0.0, h) - at(0.0, -h)) / (2.0 * h);
                // Widths of boxes are differences: where they are narrow and far away, digits go.
                prop_assert!((by_mean - found.by_mean[k]).abs() < 1e-4 * (1.0 + by_mean.abs()), "{by_mean} {found:?}");
                prop_assert!((by_sd - found.by_sd[k]).abs() < 1e-4 * (1.0 + by_sd.abs()), "{by_sd} {found:?}");
            }
        }
    }

    #[test]
    fn one_certain_value_grows_the_volume_by_its_own_part() {
        let values = [vec![1.0, 3.0], vec![2.0, 2.0]];
        let gain = Gain::new(&values, &[4.0, 4.0]);
        // (1.5, 1) takes (1.5..4) x (1..2) and (1.5..2) x (2..3): the volume below (1, 3) begins at 3.
        let found = gain.expected(&[1.5, 1.0], &[1e-9; 2]).value.exp();
        assert!((found - 3.0).abs() < 1e-6, "{found}");
        let dominated = gain.expected(&[3.0, 3.5], &[1e-9; 2]).value;
        assert!(dominated < -1e3, "{dominated}");
    }
}
