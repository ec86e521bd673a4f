//! What Layer5's own changes do to an agent's objective, so that its watch is not surprised by them.
//! In: recommendations, deliveries and outcomes, as the log has them. Out: at which log position which agent's objective
//! is expected to have moved, and by how much. Called from: the committer, for every group it feeds.
//! Notation: a setting's value `v` is the log cost relative to the initial setting; an improvement `p` over a setting of
//! value `before` makes `before + ln(1 - p)`.
//! Invariants: bounded by the recommendations under way and the agents that ever got one; a function of the log.

use std::collections::BTreeMap;

use layer5_core::{MetricId, catalogue::Better};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::{Control, Group};

/// What a study's settings move.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    /// The study's name.
    pub(crate) study: String,
    /// Its objective.
    pub(crate) metric: MetricId,
    /// Which way the objective gets better.
    pub(crate) better: Better,
    /// Samples that are not judged while a change settles.
    pub(crate) settle_len: u32,
}

/// A recommendation under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct UnderWay {
    agent: String,
    study: String,
    before: f64,
    predicted: f64,
}

/// A move of one agent's objective, by our doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Move {
    /// Whose.
    pub(crate) agent: String,
    /// Of which metric.
    pub(crate) metric: MetricId,
    /// Natural logarithm of the factor between the metric at its setting and at the initial one.
    pub(crate) log_factor: f64,
    /// Samples that are not judged from here on.
    pub(crate) settle_len: u32,
}

/// The settings that agents run with, by what they do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SettingsKnown {
    under_way: BTreeMap<Uuid, UnderWay>,
    values: BTreeMap<String, f64>,
    /// Told by groups of effects alone; they go out with the next group that feeds the shards anything.
    waiting: Vec<Move>,
}

impl SettingsKnown {
    /// Takes a group of the log; returns the moves that the shards are told with it.
    pub(crate) fn take(&mut self, group: &Group, moved: &[Moved]) -> Vec<Move> {
        for stored in &group.effects.recommendations {
            let advice = &stored.recommendation;
            let before = self.values.get(&advice.agent_id).copied().unwrap_or(0.0);
            let under_way = UnderWay {
                agent: advice.agent_id.clone(),
                study: stored.study.clone(),
                before,
                predicted: after(before, advice.expected_improvement),
            };
            self.under_way.insert(advice.optimization_id, under_way);
        }
        for control in &group.controls {
            match control {
                Control::Delivered {
                    optimization_id, ..
                }
                | Control::HandedOut {
                    optimization_id, ..
                } => {
                    if let Some(under_way) = self.under_way.get(optimization_id).cloned() {
                        let told = self.moved(&under_way, under_way.predicted, true, moved);
                        self.waiting.extend(told);
                    }
                }
                Control::Refused {
                    optimization_id, ..
                } => {
                    self.under_way.remove(optimization_id);
                }
                _ => {}
            }
        }
        for evaluation in &group.effects.evaluations {
            if let Some(under_way) = self.under_way.remove(&evaluation.optimization_id) {
                let value = after(under_way.before, evaluation.observed_improvement);
                let told = self.moved(&under_way, value, false, moved);
                self.waiting.extend(told);
            }
        }
        let effects_alone = group.samples.is_empty() && group.controls.is_empty() && !group.tick;
        if effects_alone {
            Vec::new()
        } else {
            std::mem::take(&mut self.waiting)
        }
    }

    fn moved(
        &mut self,
        under_way: &UnderWay,
        value: f64,
        settling: bool,
        moved: &[Moved],
    ) -> Option<Move> {
        let Moved {
            metric,
            better,
            settle_len,
            ..
        } = moved.iter().find(|moved| moved.study == under_way.study)?;
        self.values.insert(under_way.agent.clone(), value);
        let log_factor = match better {
            Better::Lower => value,
            Better::Higher => -value,
        };
        Some(Move {
            agent: under_way.agent.clone(),
            metric: *metric,
            log_factor,
            settle_len: if settling { *settle_len } else { 0 },
        })
    }
}

/// The value of a setting that improves one of value `before` by the ratio `improvement`.
fn after(before: f64, improvement: f64) -> f64 {
    before + (1.0 - improvement.min(0.99)).ln()
}

#[cfg(test)]
mod tests {
    use layer5_core::{Recommendation, Timestamp};

    use super::*;
    use crate::store::{Effects, Evaluation, StoredRecommendation};

    #[test]
    fn a_delivery_moves_by_the_prediction_and_the_outcome_corrects_it() {
        let id = Uuid::from_u128(1);
        let moved = [Moved {
            study: "fleet".into(),
            metric: MetricId(0),
            better: Better::Lower,
            settle_len: 10,
        }];
        let recommendation = Recommendation {
            agent_id: "a".into(),
            optimization_id: id,
            parameters: layer5_core::Parameters::new(),
            confidence: 0.9,
            expected_improvement: 0.5,
            expected_interval: (0.4, 0.6),
            timestamp: Timestamp::EPOCH,
        };
        let stored = StoredRecommendation {
            recommendation,
            study: "fleet".into(),
            trial: 0,
            proposed_by: "gp".into(),
            dry_run: false,
        };
        let (mut known, mut moves) = (SettingsKnown::default(), Vec::new());
        let mut take = |group: Group| moves.extend(known.take(&group, &moved));
        take(Group {
            effects: Effects {
                recommendations: vec![stored],
                ..Effects::default()
            },
            ..Group::default()
        });
        let at = Timestamp::EPOCH;
        let delivered = Control::Delivered {
            optimization_id: id,
            at,
        };
        take(Group {
            controls: vec![delivered.clone()],
            ..Group::default()
        });
        let evaluation = Evaluation {
            optimization_id: id,
            observed_improvement: 0.2,
            at,
        };
        take(Group {
            effects: Effects {
                evaluations: vec![evaluation],
                ..Effects::default()
            },
            tick: true,
            ..Group::default()
        });
        take(Group {
            controls: vec![delivered],
            ..Group::default()
        });
        assert_eq!(moves.len(), 2);
        assert!((moves[0].log_factor - 0.5_f64.ln()).abs() < 1e-12 && moves[0].settle_len == 10);
        assert!((moves[1].log_factor - 0.8_f64.ln()).abs() < 1e-12 && moves[1].settle_len == 0);
    }
}
