//! What a study was told, as the page draws it.
//! In: a [`Study`]. Out: rows in the order of asking. Called from: the sections of the page.
//! Invariants: at most [`DRAWN_MAX`] trials, the newest.

use std::collections::BTreeMap;

use layer5_optimize::{Direction, Observation, Study, Trial, TrialId, TrialState};

use crate::report_page::frame::range;

/// Trials drawn, at most; the newest are.
const DRAWN_MAX: usize = 3000;

/// A trial with a value.
pub(super) struct Row<'a> {
    pub(super) trial: &'a Trial,
    /// Of the first objective.
    pub(super) value: f64,
    /// Whether it keeps every constraint.
    pub(super) kept: bool,
}

/// The trials of a study.
pub(super) struct Told<'a> {
    pub(super) rows: Vec<Row<'a>>,
    /// Failed and pruned ones.
    pub(super) lost: Vec<&'a Trial>,
    pub(super) n_pending: usize,
    /// Observations that no trial asked for.
    pub(super) n_brought: usize,
    pub(super) maximize: bool,
}

impl<'a> Told<'a> {
    pub(super) fn of(study: &'a Study) -> Self {
        let by_trial: BTreeMap<TrialId, &Observation> = study
            .observations()
            .iter()
            .filter_map(|o| Some((o.trial?, o)))
            .collect();
        let trials = study.trials();
        let mut told = Self {
            rows: Vec::new(),
            lost: Vec::new(),
            n_pending: 0,
            n_brought: study.observations().len() - by_trial.len(),
            maximize: study.config().direction == Direction::Maximize,
        };
        for trial in &trials[trials.len().saturating_sub(DRAWN_MAX)..] {
            match trial.state {
                TrialState::Told(value) => told.rows.push(Row {
                    trial,
                    value,
                    kept: by_trial.get(&trial.id).is_none_or(|o| o.is_feasible()),
                }),
                TrialState::Failed | TrialState::Pruned => told.lost.push(trial),
                _ => told.n_pending += 1,
            }
        }
        told
    }

    /// Whether value `a` is better than `b`.
    pub(super) fn better(&self, a: f64, b: f64) -> bool {
        if self.maximize { a > b } else { a < b }
    }

    /// The range in which most values lie: a few terrible first trials must not squash what matters.
    pub(super) fn range(&self) -> (f64, f64) {
        middle(self.rows.iter().map(|row| row.value).collect())
    }
}

/// The range in which most of some values lie, their best and worst included where they are not far out.
pub(super) fn middle(mut sorted: Vec<f64>) -> (f64, f64) {
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted[(share * (sorted.len() - 1) as f64).round() as usize];
    if sorted.is_empty() {
        return (0.0, 1.0);
    }
    let (low, high) = (at(0.0), at(1.0));
    let usual = (at(0.1), at(0.9));
    let reach = 3.0 * (usual.1 - usual.0);
    if reach > 0.0 && reach.is_finite() {
        range([low.max(usual.0 - reach), high.min(usual.1 + reach)].into_iter())
    } else {
        range([low, high].into_iter())
    }
}
