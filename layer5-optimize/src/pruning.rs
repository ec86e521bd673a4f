//! Which runs are not worth finishing, from the values they report on the way.
//! In: the steps of every trial. Out: a [`Verdict`]. Called from: [`crate::study`]. Notation: values to be minimised.
//! Invariants: the verdict follows from what was reported before; it changes nothing.
//! Reference: the median rule of Golovin et al. (2017), <https://doi.org/10.1145/3097983.3098043>; ASHA, Li et al. (2020),
//! <https://arxiv.org/abs/1810.05934>.

use serde::{Deserialize, Serialize};

/// How bad runs are found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Pruner {
    /// Stop a run whose best value so far is worse than the median of what others had at that step.
    Median {
        /// Runs that must have come this far before any is stopped.
        n_startup: usize,
        /// Steps a run is given in any case.
        n_warmup_steps: u64,
    },
    /// At each of the steps `first`, `first * factor`, ... only the best `1 / factor` of the runs that came there go on.
    Asha {
        /// First step at which runs are compared, above 0.
        first: u64,
        /// Share that goes on, inverted; at least 2.
        factor: u64,
    },
}

/// What to do with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Let it go on.
    Continue,
    /// Stop it, and tell it as pruned.
    Stop,
}

/// The best value up to and including a step.
fn best_by(steps: &[(u64, f64)], step: u64) -> Option<f64> {
    let until = steps
        .iter()
        .take_while(|(s, _)| *s <= step)
        .map(|(_, v)| *v);
    until.min_by(f64::total_cmp)
}

impl Pruner {
    /// What to do with the run `own`, whose last step was just added. `others`: the steps of all other runs.
    #[must_use]
    pub fn judge(&self, own: &[(u64, f64)], others: &[&[(u64, f64)]]) -> Verdict {
        let Some(&(step, _)) = own.last() else {
            return Verdict::Continue;
        };
        match *self {
            Self::Median {
                n_startup,
                n_warmup_steps,
            } => {
                let there = others
                    .iter()
                    .filter(|o| o.last().is_some_and(|l| l.0 >= step));
                let mut values: Vec<f64> = there.filter_map(|o| best_by(o, step)).collect();
                if step < n_warmup_steps || values.len() < n_startup.max(1) {
                    return Verdict::Continue;
                }
                values.sort_by(f64::total_cmp);
                let median = values[(values.len() - 1) / 2];
                verdict(best_by(own, step).is_some_and(|own| own > median))
            }
            Self::Asha { first, factor } => {
                let before = own.len().checked_sub(2).map_or(0, |i| own[i].0);
                let mut rung = first.max(1);
                while rung.saturating_mul(factor.max(2)) <= step {
                    rung *= factor.max(2);
                }
                // Only the step that reaches a rung is judged.
                if step < rung || before >= rung {
                    return Verdict::Continue;
                }
                let there = others
                    .iter()
                    .filter(|o| o.last().is_some_and(|l| l.0 >= rung));
                let mut values: Vec<f64> = there.filter_map(|o| best_by(o, rung)).collect();
                let Some(mine) = best_by(own, step) else {
                    return Verdict::Continue;
                };
                values.push(mine);
                values.sort_by(f64::total_cmp);
                let n_through = (values.len() / factor.max(2) as usize).max(1);
                verdict(values.len() as u64 >= factor.max(2) && mine > values[n_through - 1])
            }
        }
    }
}

fn verdict(stop: bool) -> Verdict {
    if stop {
        Verdict::Stop
    } else {
        Verdict::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stops_the_worse_half() {
        let pruner = Pruner::Median {
            n_startup: 2,
            n_warmup_steps: 2,
        };
        let (a, b, c) = (
            [(1, 1.0), (2, 0.5)],
            [(1, 3.0), (2, 2.0)],
            [(1, 9.0), (2, 8.0)],
        );
        let others: [&[(u64, f64)]; 3] = [&a, &b, &c];
        assert_eq!(pruner.judge(&[(1, 50.0)], &others), Verdict::Continue);
        assert_eq!(pruner.judge(&[(2, 2.5)], &others), Verdict::Stop);
        assert_eq!(pruner.judge(&[(2, 1.9)], &others), Verdict::Continue);
        assert_eq!(pruner.judge(&[(2, 2.5)], &others[..1]), Verdict::Continue);
    }

    #[test]
    fn asha_lets_a_third_through_each_rung() {
        let pruner = Pruner::Asha {
            first: 1,
            factor: 3,
        };
        let runs: Vec<Vec<(u64, f64)>> = (0..8).map(|i| vec![(1, f64::from(i))]).collect();
        let others: Vec<&[(u64, f64)]> = runs.iter().map(Vec::as_slice).collect();
        // Nine runs, three go on.
        assert_eq!(pruner.judge(&[(1, 1.5)], &others), Verdict::Continue);
        assert_eq!(pruner.judge(&[(1, 2.5)], &others), Verdict::Stop);
        // Between rungs nobody is judged.
        assert_eq!(
            pruner.judge(&[(1, 0.0), (2, 99.0)], &others),
            Verdict::Continue
        );
    }
}
