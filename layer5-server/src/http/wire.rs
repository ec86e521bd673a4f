//! The bodies of requests and answers, exactly as the contracts write them. The only place for wire types.
//! Reference: Project Chimera's contracts, sections 2 to 4.

use std::collections::BTreeMap;

use layer5_core::{Parameters, PatternEvent, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// One refused report of a body.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RejectedReport {
    /// Its place in the body, from 0.
    pub(crate) index: usize,
    /// The class of the mistake.
    pub(crate) reason: &'static str,
    /// The field at fault.
    pub(crate) field: String,
    /// Value and limit.
    pub(crate) detail: String,
}

/// Answer to reports.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ReportsAnswer {
    /// Reports of which something was new.
    pub(crate) accepted: u64,
    /// Reports that were known already.
    pub(crate) duplicates: u64,
    /// Refused reports, by their place in the body.
    pub(crate) rejected: Vec<RejectedReport>,
}

/// A question for a setting.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct OptimizeRequest {
    /// For whom.
    pub(crate) agent_id: String,
    /// auto, bandit, bayesian, gradient, cmaes, tpe or random.
    #[serde(default = "auto")]
    pub(crate) algorithm: String,
    /// What it runs with now.
    #[schema(value_type = BTreeMap<String, f64>)]
    #[serde(default)]
    pub(crate) parameters: Parameters,
}

fn auto() -> String {
    "auto".into()
}

/// The space that a parameter was chosen from.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct SpaceUsed {
    /// Least value.
    pub(crate) low: f64,
    /// Greatest value.
    pub(crate) high: f64,
    /// Whether the config declares it; else it is a conservative one round the given value.
    pub(crate) declared: bool,
}

/// A setting.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct OptimizeAnswer {
    /// For whom.
    pub(crate) agent_id: String,
    /// Its identity, to tell the outcome by.
    pub(crate) optimization_id: Uuid,
    /// What was asked for.
    pub(crate) algorithm: String,
    /// What to set.
    #[schema(value_type = BTreeMap<String, f64>)]
    pub(crate) parameters: Parameters,
    /// Probability that it helps.
    pub(crate) confidence: f64,
    /// Predicted improvement as a ratio.
    pub(crate) expected_improvement: f64,
    /// Its 95 % interval.
    pub(crate) expected_interval: [f64; 2],
    /// Where each parameter was chosen from.
    pub(crate) spaces: BTreeMap<String, SpaceUsed>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) timestamp: Timestamp,
}

/// One point of a series to analyze.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct SeriesPoint {
    /// When, in any form of a time.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) timestamp: Timestamp,
    /// What was read; null or absent is a gap.
    pub(crate) value: Option<f64>,
}

/// A series to analyze.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct AnalyzeRequest {
    /// The points, in any order.
    pub(crate) time_series: Vec<SeriesPoint>,
}

/// What a series is like as a whole.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AnalyzeSummary {
    /// Points given, gaps among them: what the indices below count.
    pub(crate) n: usize,
    /// up, down or none.
    pub(crate) trend: &'static str,
    /// Length of the strongest season, samples.
    pub(crate) period: Option<usize>,
    /// Where it is unlike its past.
    pub(crate) anomalies: Vec<usize>,
    /// Where a new regime begins.
    pub(crate) change_points: Vec<usize>,
    /// What comes next.
    pub(crate) forecast: Vec<f64>,
}

/// Everything found in a series.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct AnalyzeAnswer {
    /// The series as a whole.
    pub(crate) summary: AnalyzeSummary,
    /// Every pattern.
    #[schema(value_type = Vec<Object>)]
    pub(crate) patterns: Vec<PatternEvent>,
}

/// The next undelivered recommendation, for a poll.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct NextFeedback {
    /// For whom.
    pub(crate) agent_id: String,
    /// Its identity.
    pub(crate) optimization_id: Uuid,
    /// Predicted improvement as a ratio.
    pub(crate) performance_improvement: f64,
    /// Probability that it helps.
    pub(crate) confidence: f64,
    /// What to set.
    #[schema(value_type = BTreeMap<String, f64>)]
    pub(crate) parameters: Parameters,
    /// When it was decided.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) timestamp: Timestamp,
    /// How good predictions have been; null where nothing was evaluated yet.
    pub(crate) validation_results: ValidationResults,
}

/// How good predictions have been so far.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(crate) struct ValidationResults {
    /// Optimization accuracy, from 20 evaluations on.
    pub(crate) accuracy: Option<f64>,
    /// Not measured by Layer5: always null.
    pub(crate) precision: Option<f64>,
    /// Not measured by Layer5: always null.
    pub(crate) recall: Option<f64>,
    /// Not measured by Layer5: always null.
    pub(crate) f1_score: Option<f64>,
    /// Not measured by Layer5: always null.
    pub(crate) latency_ms: Option<f64>,
}

/// What became of a recommendation.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct FeedbackRequest {
    /// For whom it was.
    pub(crate) agent_id: String,
    /// Which.
    pub(crate) optimization_id: Uuid,
    /// Whether it was applied.
    pub(crate) success: bool,
    /// Observed improvement as a ratio, positive is better.
    pub(crate) performance_delta: f64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) timestamp: Timestamp,
}

/// The outcome of an evolution experiment.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct EvolutionRequest {
    /// Which.
    pub(crate) experiment_id: String,
    /// Its best setting.
    pub(crate) best_genome: Genome,
    /// How fit it was.
    pub(crate) best_fitness: f64,
    /// Improvement over the initial setting, a ratio.
    pub(crate) improvement_achieved: f64,
    /// Generations done.
    pub(crate) generations_completed: u64,
    /// Evaluations done.
    pub(crate) total_evaluations: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) timestamp: Timestamp,
}

/// A setting in Layer7's words.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct Genome {
    /// Values by name.
    #[schema(value_type = BTreeMap<String, f64>)]
    pub(crate) hyperparameters: Parameters,
}

/// What there is to use.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct ResourcesRequest {
    /// Amounts by name.
    pub(crate) available_resources: BTreeMap<String, serde_json::Value>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) timestamp: Timestamp,
    /// Who says so.
    pub(crate) source_layer: String,
}

/// A page of a list.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Paging {
    /// Only what comes after this one.
    pub(crate) after: Option<u64>,
    /// At most this many; 1000 at most, 100 unless told.
    pub(crate) limit: Option<usize>,
}

impl Paging {
    /// The number of rows that this page may have.
    pub(crate) fn rows(self) -> usize {
        self.limit.unwrap_or(100).clamp(1, 1000)
    }
}

/// Incidents, oldest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct IncidentsAnswer {
    /// One page of them.
    pub(crate) incidents: Vec<IncidentRow>,
    /// Where the next page begins; absent at the end.
    pub(crate) next_after: Option<u64>,
}

/// What began together and is one event.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct IncidentRow {
    /// Its number.
    pub(crate) id: u64,
    /// open or closed.
    pub(crate) state: &'static str,
    /// notice (one series), warning (several, or an agent that fell silent), critical (five agents and a tenth of all).
    pub(crate) severity: String,
    /// What incidents are ranked by: how much of the fleet is how strange.
    pub(crate) weight: f64,
    /// When its first symptom began.
    #[schema(value_type = String)]
    pub(crate) start: Timestamp,
    /// When its last symptom was found.
    #[schema(value_type = String)]
    pub(crate) end: Timestamp,
    /// When nothing new had come for so long that it was closed.
    #[schema(value_type = Option<String>)]
    pub(crate) closed_at: Option<Timestamp>,
    /// Findings in it.
    pub(crate) symptoms: u64,
    /// Series in it.
    pub(crate) series: usize,
    /// Agents in it.
    pub(crate) agents: usize,
    /// Hosts in it.
    pub(crate) hosts: usize,
    /// Series whose level has come back.
    pub(crate) recovered: usize,
    /// Who was hit first.
    pub(crate) first_mover: FirstMoverRow,
    /// Its metrics, by the number of agents.
    pub(crate) metrics: Vec<MoversRow>,
    /// All of it in one line.
    pub(crate) explanation: String,
}

/// Who was hit first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct FirstMoverRow {
    /// The agent.
    pub(crate) agent_id: String,
    /// Where it runs.
    pub(crate) host: Option<String>,
    /// Its metric that moved first; absent when it fell silent.
    pub(crate) metric: Option<String>,
    /// When.
    #[schema(value_type = String)]
    pub(crate) at: Timestamp,
    /// How long before half of the agents, s.
    pub(crate) lead_seconds: f64,
}

/// A metric in an incident.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct MoversRow {
    /// The metric; absent for agents that fell silent.
    pub(crate) metric: Option<String>,
    /// up, down or none.
    pub(crate) direction: String,
    /// On how many agents.
    pub(crate) agents: usize,
}
