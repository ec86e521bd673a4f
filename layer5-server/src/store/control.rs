//! What arrives besides samples and changes state: outcomes, notices and requests, logged in the order they took effect.
//! In: from HTTP handlers and the outbox, through the committer. Out: to the tuner, at first and again on replay.
//! Invariants: the log is read by position of the variant and of the field, so both are only ever **appended**: a new
//! field means a new variant. `the_bytes_of_every_variant_are_pinned` below fails when that is forgotten.

use std::collections::BTreeMap;

use layer5_core::{Outcome, Parameters, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One such happening.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Control {
    /// Layer7 told what became of a recommendation.
    Feedback(Outcome),
    /// Layer7 told the best genome of an experiment.
    Evolution(EvolutionFeedback),
    /// Layer8 told what there is to use.
    Resources(ResourceNotice),
    /// A caller of `/optimize` was given an answer; logged so that its outcome finds its trial again.
    Ask(Ask),
    /// A recommendation was handed out to a poll rather than pushed.
    HandedOut {
        /// Which.
        optimization_id: Uuid,
        /// When, by the wall clock.
        at: Timestamp,
    },
    /// Recommending was stopped or allowed again by a person.
    KillSwitch {
        /// `true` stops.
        engaged: bool,
        /// In whose words.
        reason: String,
    },
    /// A recommendation was acknowledged by Layer7.
    Delivered {
        /// Which.
        optimization_id: Uuid,
        /// When, by the wall clock.
        at: Timestamp,
    },
    /// A recommendation was refused by Layer7 for good.
    Refused {
        /// Which.
        optimization_id: Uuid,
        /// Layer7's words.
        words: String,
        /// When, by the wall clock.
        at: Timestamp,
    },
    /// Something was said to one of the studies that the service keeps for others.
    Study(StudyCommand),
    /// From here on series are watched so.
    Watch(WatchSettings),
}

/// What people have set about the watch, whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WatchSettings {
    /// By the metric's name.
    pub metrics: BTreeMap<String, MetricSettings>,
    /// The shapes to tell of.
    pub templates: Vec<TemplateSettings>,
}

/// What was set for one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricSettings {
    /// How many times the usual number of false alarms is accepted.
    pub sensitivity: f64,
    /// It must not rise beyond this, in the metric's unit.
    pub upper: Option<f64>,
    /// It must not fall below this.
    pub lower: Option<f64>,
    /// How long ahead of a limit it is told, s.
    pub ahead_seconds: f64,
}

/// A shape to tell of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateSettings {
    /// Its name.
    pub name: String,
    /// In which metric it is looked for.
    pub metric: String,
    /// In whose series, with `*` for any run of characters.
    pub agents: String,
    /// Least correlation that counts.
    pub fit_min: f64,
    /// Least height that counts, in the metric's unit.
    pub height_min: f64,
    /// The shape.
    pub values: Vec<f64>,
}

/// A command for a served study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyCommand {
    /// By which whoever said it is answered.
    pub ticket: Uuid,
    /// The study's name.
    pub study: String,
    /// The command as JSON, in the form of `layer5 optimize`.
    pub command: String,
    /// When it was said, by the wall clock.
    pub at: Timestamp,
}

/// One more observation for a study, from an evolution experiment of Layer7.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvolutionFeedback {
    /// Layer7's name of the experiment.
    pub experiment_id: String,
    /// The best genome's hyperparameters.
    pub hyperparameters: Parameters,
    /// Its fitness, in the experiment's unit.
    pub best_fitness: f64,
    /// Improvement over the experiment's start, as a ratio.
    pub improvement_achieved: f64,
    /// Generations run.
    pub generations_completed: u64,
    /// Genomes evaluated.
    pub total_evaluations: u64,
    /// When it ended.
    pub timestamp: Timestamp,
}

/// What Layer8 has to give.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceNotice {
    /// Amounts by name, in Layer8's units.
    pub available_resources: BTreeMap<String, f64>,
    /// Which layer says so.
    pub source_layer: String,
    /// When.
    pub timestamp: Timestamp,
}

/// A synchronous `/optimize` that was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// The answer's identity.
    pub optimization_id: Uuid,
    /// For whom.
    pub agent_id: String,
    /// The algorithm asked for, as the caller wrote it.
    pub algorithm: String,
    /// The parameters that the caller has now.
    pub parameters: Parameters,
    /// When it was asked, by the wall clock.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests {
    use layer5_core::codec::{self, Format};

    use super::*;

    fn one_of_each() -> Vec<Control> {
        let parameters: Parameters = [("x".to_owned(), 1.0)].into();
        let timestamp = Timestamp::from_nanos(1);
        vec![
            Control::Feedback(Outcome {
                agent_id: "a".into(),
                optimization_id: Uuid::nil(),
                success: true,
                performance_delta: 0.5,
                timestamp,
            }),
            Control::Evolution(EvolutionFeedback {
                experiment_id: "e".into(),
                hyperparameters: parameters.clone(),
                best_fitness: 1.0,
                improvement_achieved: 2.0,
                generations_completed: 3,
                total_evaluations: 4,
                timestamp,
            }),
            Control::Resources(ResourceNotice {
                available_resources: parameters.clone(),
                source_layer: "l".into(),
                timestamp,
            }),
            Control::Ask(Ask {
                optimization_id: Uuid::nil(),
                agent_id: "a".into(),
                algorithm: "auto".into(),
                parameters,
                at: timestamp,
            }),
            Control::HandedOut {
                optimization_id: Uuid::nil(),
                at: timestamp,
            },
            Control::KillSwitch {
                engaged: true,
                reason: "r".into(),
            },
            Control::Delivered {
                optimization_id: Uuid::nil(),
                at: timestamp,
            },
            Control::Refused {
                optimization_id: Uuid::nil(),
                words: "w".into(),
                at: timestamp,
            },
            Control::Study(StudyCommand {
                ticket: Uuid::nil(),
                study: "s".into(),
                command: "{}".into(),
                at: timestamp,
            }),
            Control::Watch(WatchSettings {
                metrics: [(
                    "m".to_owned(),
                    MetricSettings {
                        sensitivity: 1.0,
                        upper: Some(2.0),
                        lower: None,
                        ahead_seconds: 3.0,
                    },
                )]
                .into(),
                templates: vec![TemplateSettings {
                    name: "t".into(),
                    metric: "m".into(),
                    agents: "*".into(),
                    fit_min: 0.9,
                    height_min: 4.0,
                    values: vec![0.0, 1.0],
                }],
            }),
        ]
    }

    /// `(length, CRC)` of each variant's envelope; a changed pair means that logs in the field can't be read.
    #[test]
    fn the_bytes_of_every_variant_are_pinned() {
        let format = Format {
            kind: 0,
            version: 0,
        };
        let pins: Vec<(usize, u32)> = one_of_each()
            .iter()
            .map(|control| {
                let bytes = codec::encode(format, control);
                let crc = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
                assert_eq!(
                    codec::decode::<Control>(format, &bytes).as_ref(),
                    Ok(control)
                );
                (bytes.len(), crc)
            })
            .collect();
        assert_eq!(pins, PINS);
    }

    const PINS: [(usize, u32); 10] = [
        (38, 2_549_261_751),
        (41, 1_630_009_813),
        (23, 3_681_741_461),
        (45, 4_153_532_025),
        (27, 4_090_362_297),
        (12, 2_957_534_280),
        (27, 2_272_919_368),
        (29, 1_201_081_564),
        (32, 2_208_436_421),
        (78, 613_760_288),
    ];
}
