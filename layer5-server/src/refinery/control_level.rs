//! The tide that lifts all boats: how the agents that nobody changed moved meanwhile.
//! In: at each tick, the log cost of every holdout agent that reported. Out: the level of a span of time, relative to
//! the holdouts' own beginnings. Called from: [`super::cohort`], to tell a change's effect from the time of day.
//! Notation: `x` = log cost; level(t) = median over holdouts of (x(t) - their own baseline).
//! Invariants: bounded by `TICKS_MAX` ticks and `HOLDOUTS_MAX` baselines; without holdouts the level is 0.

use std::collections::{BTreeMap, VecDeque};

use layer5_core::{AgentId, Timestamp};
use serde::{Deserialize, Serialize};

/// Ticks remembered: an hour at one a second.
const TICKS_MAX: usize = 3600;
/// Most holdouts that are listened to; a median of 64 is as good as one of thousands.
const HOLDOUTS_MAX: usize = 64;

/// The holdouts' common movement.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ControlLevel {
    baselines: BTreeMap<AgentId, Baseline>,
    levels: VecDeque<(Timestamp, f64)>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Baseline {
    sum: f64,
    n: u32,
}

/// Readings that make a baseline.
const BASELINE_READINGS: u32 = 4;

impl ControlLevel {
    /// Takes the log costs of one tick, by agent in rising order; `at` is the newest `recorded_at` among them.
    pub fn tick(&mut self, at: Timestamp, log_costs: &[(AgentId, f64)]) {
        let mut moved: Vec<f64> = Vec::with_capacity(log_costs.len().min(HOLDOUTS_MAX));
        for &(agent, x) in log_costs {
            if !self.baselines.contains_key(&agent) && self.baselines.len() >= HOLDOUTS_MAX {
                continue;
            }
            let baseline = self
                .baselines
                .entry(agent)
                .or_insert(Baseline { sum: 0.0, n: 0 });
            if baseline.n < BASELINE_READINGS {
                baseline.sum += x;
                baseline.n += 1;
            }
            moved.push(x - baseline.sum / f64::from(baseline.n));
        }
        if moved.is_empty() {
            return;
        }
        self.levels.push_back((at, median(&mut moved)));
        if self.levels.len() > TICKS_MAX {
            self.levels.pop_front();
        }
    }

    /// The mean level over `from ..= to`; the nearest tick when none lies inside; 0 when nothing is known.
    #[must_use]
    pub fn between(&self, from: Timestamp, to: Timestamp) -> f64 {
        let inside = self
            .levels
            .iter()
            .filter(|(at, _)| (from..=to).contains(at));
        let (n, sum) = inside.fold((0_u32, 0.0), |(n, sum), (_, level)| (n + 1, sum + level));
        if n > 0 {
            return sum / f64::from(n);
        }
        let middle = from.plus_seconds(to.seconds_since(from) / 2.0);
        self.levels
            .iter()
            .min_by(|a, b| {
                let distance = |t: Timestamp| t.seconds_since(middle).abs();
                distance(a.0).total_cmp(&distance(b.0))
            })
            .map_or(0.0, |&(_, level)| level)
    }

    /// Forgets an agent that is no holdout any more.
    pub fn release(&mut self, agent: AgentId) {
        self.baselines.remove(&agent);
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_millis(s * 1000)
    }

    #[test]
    fn the_common_movement_is_found_whatever_the_agents_own_levels() {
        let mut level = ControlLevel::default();
        for t in 0..10 {
            let tide = if t < 5 { 0.0 } else { 0.3 };
            // The third holdout has an incident of its own, which the median ignores.
            let own = if t == 7 { 5.0 } else { 0.0 };
            let costs = [
                (AgentId(1), 1.0 + tide),
                (AgentId(2), 4.0 + tide),
                (AgentId(3), 2.0 + tide + own),
            ];
            level.tick(at(t), &costs);
        }
        assert!((level.between(at(0), at(3)) - 0.0).abs() < 1e-12);
        assert!((level.between(at(5), at(9)) - 0.3).abs() < 1e-12);
        assert!((level.between(at(100), at(200)) - 0.3).abs() < 1e-12);
    }

    #[test]
    fn without_holdouts_there_is_no_tide() {
        assert_eq!(ControlLevel::default().between(at(0), at(1)), 0.0);
    }
}
