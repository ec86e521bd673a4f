//! How good suggestions are: known functions, a fixed number of evaluations, regret beside that of random search.
//! In: a sampler, numbers of evaluations and seeds. Out: a [`Table`] of gains and median regrets. Called from:
//! `layer5-bench quality optimize`.
//! Notation: regret = noise-free value of the recommended point (of the best point told, where values are exact) minus
//! the minimum; gain = mean over seeds of log10(regret of random search / regret), both not below [`REGRET_MIN`].
//! Sets: `public`, functions from the literature; `shifted`, the same with the minimum at another place in every run, so
//! that nothing is won by asking the middle first; `drawn`, shifted and rotated ones made from a seed, with noise or
//! without, and mixed ones, which nothing is tuned on one by one.

#![allow(
    clippy::missing_panics_doc,
    reason = "what is expected holds whatever the caller does"
)]

pub mod drawn;
pub mod peers;
pub mod problem;
pub mod public;
pub mod run;
pub mod shifted;
pub mod speed;

use std::fmt;

use rayon::prelude::*;

pub use self::problem::Problem;
pub use self::run::Plan;
use self::run::{median, random_log_regret, regrets};

/// Regrets below this count as this: nobody needs more, and logarithms of zero are nobody's gain.
pub const REGRET_MIN: f64 = 1e-9;

/// Regrets of one sampler on one problem.
#[derive(Debug, Clone)]
pub struct Row {
    /// The problem.
    pub name: String,
    /// Gain at each number of evaluations.
    pub gains: Vec<f64>,
    /// Median regret at each number of evaluations.
    pub medians: Vec<f64>,
}

/// One sampler on a set of problems.
#[derive(Debug, Clone)]
pub struct Table {
    /// Numbers of evaluations.
    pub budgets: Vec<usize>,
    /// One row per problem.
    pub rows: Vec<Row>,
}

impl Table {
    /// Mean gain over the problems, at each number of evaluations.
    #[must_use]
    pub fn mean_gains(&self) -> Vec<f64> {
        let n = self.rows.len().max(1) as f64;
        (0..self.budgets.len())
            .map(|b| self.rows.iter().map(|row| row.gains[b]).sum::<f64>() / n)
            .collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<24}", "problem")?;
        for budget in &self.budgets {
            write!(f, "{:>10} {:>10}", format!("gain@{budget}"), "median")?;
        }
        writeln!(f)?;
        for row in &self.rows {
            write!(f, "{:<24}", row.name)?;
            for (gain, median) in row.gains.iter().zip(&row.medians) {
                write!(f, "{gain:>10.2} {median:>10.2e}")?;
            }
            writeln!(f)?;
        }
        write!(f, "{:<24}", "mean")?;
        for gain in self.mean_gains() {
            write!(f, "{gain:>10.2} {:>10}", "")?;
        }
        writeln!(f)
    }
}

/// Runs the plan on each problem. Runs are shared out over the threads of the pool; the table does not depend on their
/// number.
#[must_use]
pub fn measure(problems: &[Problem], plan: Plan<'_>) -> Table {
    let budgets = plan.budgets;
    let rows = problems.par_iter().map(|problem| {
        let baseline = random_log_regret(problem, budgets);
        let runs: Vec<Vec<f64>> = (0..plan.seeds)
            .into_par_iter()
            .map(|seed| regrets(problem, plan, seed))
            .collect();
        let column = |b: usize| runs.iter().map(move |run| run[b]);
        let gains = (0..budgets.len())
            .map(|b| baseline[b] - column(b).map(f64::log10).sum::<f64>() / plan.seeds as f64)
            .collect();
        let medians = (0..budgets.len())
            .map(|b| median(column(b).collect()))
            .collect();
        Row {
            name: problem.name.clone(),
            gains,
            medians,
        }
    });
    Table {
        budgets: budgets.to_vec(),
        rows: rows.collect(),
    }
}

#[cfg(test)]
mod tests {
    use layer5_optimize::{Point, SamplerKind, Value};

    use super::*;

    #[test]
    fn minima_are_where_the_literature_says() {
        for (problem, x) in public::over_floats() {
            let point = Point(x.iter().map(|x| Value::Float(*x)).collect());
            // Minimisers are given to six digits; curvature up to a few hundred leaves 1e-9.
            let regret = problem.value(&point) - problem.minimum;
            assert!(
                (-1e-8..1e-7).contains(&regret),
                "{}: {regret}",
                problem.name
            );
        }
    }

    #[test]
    fn random_search_gains_nothing_over_itself() {
        let problems = vec![public::all().swap_remove(0)];
        let plan = Plan {
            sampler: SamplerKind::Random,
            budgets: &[10, 20],
            seeds: 60,
            batch: 1,
        };
        let table = measure(&problems, plan);
        // The standard error of the mean of 60 log regrets (spread about 0.5) is 0.07.
        assert!(
            table.mean_gains().iter().all(|gain| gain.abs() < 0.28),
            "{table}"
        );
    }
}
