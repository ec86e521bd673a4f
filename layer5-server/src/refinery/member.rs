//! One agent of a cohort: what it ran with, how it did since, and what is under way for it.
//! In: readings at ticks, deliveries, outcomes. Out: windows of its objective. Called from: [`super::cohort`].
//! Invariants: the window holds only samples taken after the last change had settled; at most one recommendation is
//! under way per agent, which keeps deliveries in order and outcomes attributable.

use std::collections::VecDeque;

use layer5_core::Timestamp;
use layer5_optimize::{Point, TrialId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a setting was recommended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To learn what it does.
    Trial,
    /// Because it is the best known.
    Rollout,
    /// Because what went before was worse.
    Rollback,
}

/// Where an agent is being led.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// The setting to arrive at, perhaps in several safe steps.
    pub point: Point,
    /// Why.
    pub purpose: Purpose,
    /// The study's trial that it answers.
    pub trial: Option<TrialId>,
    /// The bandit's arm that it answers.
    pub arm: Option<usize>,
    /// Who proposed it, for people.
    pub proposed_by: String,
}

/// A recommendation under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnderWay {
    /// Its identity.
    pub id: Uuid,
    /// What it sets.
    pub point: Point,
    /// Predicted improvement as a ratio, and its 95 % interval.
    pub predicted: (f64, f64, f64),
    /// Log cost, relative to the initial setting, of what the agent ran with before.
    pub before: f64,
    /// Whether Layer7 has it.
    pub delivered: bool,
}

/// What an agent's log cost is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anchor {
    /// Mean log cost, corrected by the holdouts, in the anchor window.
    pub level: f64,
    /// Log cost of the setting it ran with then, relative to the initial setting.
    pub relative: f64,
    /// Mean of the guard metric then.
    pub guard: Option<f64>,
    /// Evaluations made against it.
    pub uses: u32,
}

/// The mean of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Means {
    /// Samples of the objective.
    pub n: usize,
    /// Mean log cost.
    pub log_cost: f64,
    /// Mean of the guard metric.
    pub guard: Option<f64>,
    /// The oldest sample.
    pub first: Timestamp,
    /// The newest sample.
    pub last: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Bucket {
    first: Timestamp,
    last: Timestamp,
    n: u32,
    log_cost: f64,
    guard_n: u32,
    guard_sum: f64,
}

/// One agent of a cohort.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Whether it keeps the initial setting to compare with.
    pub holdout: bool,
    /// What it runs with, as far as Layer5 knows.
    pub current: Point,
    /// Log cost of `current` relative to the initial setting.
    pub relative: f64,
    /// Where it is being led.
    pub goal: Option<Goal>,
    /// What was sent and has no outcome yet.
    pub under_way: Option<UnderWay>,
    /// What it is compared with.
    pub anchor: Option<Anchor>,
    /// Trials it took part in.
    pub n_trials: u32,
    /// Ticks since it last reported.
    pub quiet_ticks: u32,
    settle_left: usize,
    window: VecDeque<Bucket>,
}

impl Member {
    /// An agent that runs with `initial`.
    #[must_use]
    pub fn new(name: String, initial: Point, holdout: bool) -> Self {
        Self {
            name,
            holdout,
            current: initial,
            relative: 0.0,
            goal: None,
            under_way: None,
            anchor: None,
            n_trials: 0,
            quiet_ticks: 0,
            settle_left: 0,
            window: VecDeque::new(),
        }
    }

    /// Adds what was read at one tick: `n` objective samples of mean log cost `log_cost`, and the guard's count and
    /// sum. Samples of the settling time are left out. The window keeps the newest `len_max` samples.
    pub fn read(
        &mut self,
        span: (Timestamp, Timestamp),
        (n, log_cost): (u32, f64),
        (guard_n, guard_sum): (u32, f64),
        len_max: usize,
    ) {
        self.quiet_ticks = 0;
        if self.settle_left > 0 {
            self.settle_left = self.settle_left.saturating_sub(n as usize);
            return;
        }
        let (first, last) = span;
        self.window.push_back(Bucket {
            first,
            last,
            n,
            log_cost,
            guard_n,
            guard_sum,
        });
        while self.len() - self.window.front().map_or(0, |b| b.n as usize) >= len_max {
            self.window.pop_front();
        }
    }

    /// Samples in the window.
    #[must_use]
    pub fn len(&self) -> usize {
        self.window.iter().map(|b| b.n as usize).sum()
    }

    /// Whether the window is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.window.is_empty()
    }

    /// The means of the window, if it has at least `n_min` samples.
    #[must_use]
    pub fn means(&self, n_min: usize) -> Option<Means> {
        let n = self.len();
        let (first, last) = (self.window.front()?, self.window.back()?);
        if n < n_min.max(1) {
            return None;
        }
        let log_cost = self
            .window
            .iter()
            .map(|b| f64::from(b.n) * b.log_cost)
            .sum::<f64>();
        let guard_n: u32 = self.window.iter().map(|b| b.guard_n).sum();
        let guard_sum: f64 = self.window.iter().map(|b| b.guard_sum).sum();
        Some(Means {
            n,
            log_cost: log_cost / n as f64,
            guard: (guard_n > 0).then(|| guard_sum / f64::from(guard_n)),
            first: first.first,
            last: last.last,
        })
    }

    /// The window was made use of: the next one begins.
    pub fn window_used(&mut self) {
        self.window.clear();
    }

    /// The change `point` was applied: what was read before no longer counts, and the next `settle_len` samples
    /// are left out.
    pub fn changed(&mut self, point: Point, settle_len: usize) {
        self.current = point;
        self.window.clear();
        self.settle_left = settle_len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_millis(s * 1000)
    }

    #[test]
    fn a_window_forgets_what_was_before_the_change_and_while_it_settled() {
        let mut member = Member::new("a".into(), Point(vec![]), false);
        let read = |member: &mut Member, t, x| {
            member.read((at(t), at(t)), (5, x), (5, 5.0 * 0.9), 20);
        };
        read(&mut member, 0, 1.0);
        member.changed(Point(vec![]), 10);
        read(&mut member, 1, 9.0);
        read(&mut member, 2, 9.0);
        assert!(member.is_empty());
        for t in 3..9 {
            read(&mut member, t, 2.0);
        }
        let means = member.means(20).expect("20 samples");
        assert_eq!((means.n, means.log_cost, means.first), (20, 2.0, at(5)));
        assert!((means.guard.expect("guarded") - 0.9).abs() < 1e-12);
        assert_eq!(member.means(21), None);
    }
}
