//! Outlier agents: who is persistently unlike its peers, whatever its own past says.
//! In: the readings of all agents at each tick. Out: a finding per agent and metric when it becomes an outlier.
//! Called from: [`super::tuner`].
//! Notation: `x` = exponentially weighted mean of an agent's log metric; `z = 0.6745 (x - median) / MAD` over agents.
//! Invariants: told once until it is over; agents held are bounded by the agents known; deterministic in agent order.
//! Reference: Iglewicz and Hoaglin (1993), "How to Detect and Handle Outliers": the modified z-score. Their 3.5 is for
//! one look at few values; here an agent must stay beyond three robust deviations in four looks.

use std::collections::BTreeMap;

use layer5_core::{
    AgentId, Finding, MetricId, PatternKind, Timestamp,
    event::{Detail, Direction},
};
use serde::{Deserialize, Serialize};

use super::{Found, Reading, Roles};

/// Weight of the newest tick in an agent's mean: an effective memory of about 30 ticks.
const WEIGHT: f64 = 1.0 / 30.0;
/// Ticks between two comparisons.
const COMPARE_EVERY: u32 = 8;
/// Ticks with samples before an agent is compared, and agents that make a comparison.
const TICKS_MIN: u32 = 30;
const AGENTS_MIN: usize = 8;
/// Modified z-score beyond which an agent is an outlier, and below which it is none any more.
const OUTLIER_Z: f64 = 3.0;
const NORMAL_Z: f64 = 2.0;
/// Comparisons in a row that make it persistent.
const PERSISTENT: u32 = 4;

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Standing {
    x: f64,
    ticks: u32,
    beyond: u32,
    since: Timestamp,
    told: bool,
}

/// Every agent's standing among its peers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Peers {
    /// Per slot of a reading.
    standings: [BTreeMap<AgentId, Standing>; Reading::METRICS_MAX],
    ticks: u32,
}

impl Peers {
    /// One tick; `now` is the newest `recorded_at` of all. Metrics that are not positive are left out.
    pub fn tick(
        &mut self,
        readings: &[Reading],
        roles: &Roles,
        now: Timestamp,
        found: &mut Vec<Found>,
    ) {
        for reading in readings {
            for (sum, standings) in reading.sums.iter().zip(&mut self.standings) {
                let Some(mean) = sum.mean().filter(|&mean| mean > 0.0) else {
                    continue;
                };
                let standing = standings.entry(reading.agent).or_default();
                standing.ticks = standing.ticks.saturating_add(1);
                let weight = WEIGHT.max(1.0 / f64::from(standing.ticks));
                standing.x += weight * (mean.ln() - standing.x);
            }
        }
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(COMPARE_EVERY) {
            for (standings, &metric) in self.standings.iter_mut().zip(&roles.metrics) {
                compare(standings, metric, now, found);
            }
        }
    }
}

fn compare(
    standings: &mut BTreeMap<AgentId, Standing>,
    metric: MetricId,
    now: Timestamp,
    found: &mut Vec<Found>,
) {
    let known = |s: &&Standing| s.ticks >= TICKS_MIN;
    let mut xs: Vec<f64> = standings.values().filter(known).map(|s| s.x).collect();
    if xs.len() < AGENTS_MIN {
        return;
    }
    let median = middle(&mut xs);
    let mut deviations: Vec<f64> = xs.iter().map(|x| (x - median).abs()).collect();
    // Peers that are alike to a thousandth make nobody an outlier for less than a percent.
    let mad = middle(&mut deviations).max(0.002);
    for (&agent, standing) in standings.iter_mut().filter(|(_, s)| s.ticks >= TICKS_MIN) {
        let z = 0.6745 * (standing.x - median) / mad;
        if z.abs() < NORMAL_Z {
            *standing = Standing {
                beyond: 0,
                told: false,
                ..*standing
            };
        } else if z.abs() > OUTLIER_Z {
            if standing.beyond == 0 {
                standing.since = now;
            }
            standing.beyond += 1;
        }
        if standing.beyond >= PERSISTENT && !std::mem::replace(&mut standing.told, true) {
            found.push(Found {
                agent,
                metric: Some(metric),
                finding: outlier(standing, median, z, now),
                template: None,
            });
        } else if standing.beyond < PERSISTENT {
            standing.told = false;
        }
    }
}

fn outlier(standing: &Standing, median: f64, z: f64, now: Timestamp) -> Finding {
    Finding {
        kind: PatternKind::Cluster,
        detail: Detail::Plain,
        start: standing.since,
        end: now,
        detected_at: now,
        score: z.abs() / (z.abs() + OUTLIER_Z),
        // Chebyshev's bound, which asks nothing of the fleet's distribution.
        confidence: 1.0 - 1.0 / z.powi(2),
        direction: if z > 0.0 {
            Direction::Up
        } else {
            Direction::Down
        },
        magnitude: (standing.x.exp() - median.exp()).abs(),
        baseline: median.exp(),
    }
}

fn middle(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` ticks of 20 agents, of which the one numbered 7 is `factor` times as slow.
    fn outliers(n: u32, factor: f64) -> Vec<Found> {
        let roles = Roles {
            metrics: vec![MetricId(0)],
        };
        let (mut peers, mut found) = (Peers::default(), Vec::new());
        for t in 0..n {
            let now = Timestamp::from_millis(i64::from(t) * 1000);
            let readings: Vec<Reading> = (0..20)
                .map(|agent| {
                    let mut reading = Reading::starting(AgentId(agent), now);
                    let own = if agent == 7 { factor } else { 1.0 };
                    let wobble = f64::from((agent * 31 + t * 17) % 11) / 100.0;
                    reading.add(
                        0,
                        now,
                        50.0 * own * (1.0 + wobble + f64::from(agent) / 100.0),
                    );
                    reading
                })
                .collect();
            peers.tick(&readings, &roles, now, &mut found);
        }
        found
    }

    #[test]
    fn the_bad_agent_is_told_once() {
        let found = outliers(600, 1.9);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].agent, found[0].finding.direction),
            (AgentId(7), Direction::Up)
        );
        assert!((found[0].finding.magnitude - 50.0).abs() < 12.0);
    }

    #[test]
    fn peers_that_differ_a_little_are_no_outliers() {
        assert_eq!(outliers(600, 1.0), []);
    }
}
