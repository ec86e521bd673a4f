//! What can be tuned: a cohort of agents, the objective they share and the parameters that Layer7 can set on them.
//! In: `[[cohort]]` tables. Out: to the refinery's tuner.
//! Invariants: after `check`, every parameter has finite bounds with `low < high` and an initial value inside them.

use layer5_core::Objective;
use layer5_optimize::SamplerKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// One group of agents that is tuned together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CohortConfig {
    /// Its name, part of every optimization id.
    pub name: String,
    /// Which agents belong to it: their id, with `*` for any run of characters. The first cohort that fits counts.
    #[serde(default = "any_agent")]
    pub agents: String,
    /// What better means.
    #[serde(default)]
    #[schemars(with = "ObjectiveKeys")]
    pub objective: Objective,
    /// What Layer7 can set.
    #[serde(default)]
    pub parameter: Vec<ParameterConfig>,
    /// How settings are proposed: `auto`, `gp`, `tpe`, `trust_region`, `cma_es`, `forest`, `spsa`, `nsga2`, `sobol`, `random` or `bandit`.
    #[serde(default = "auto")]
    pub sampler: String,
    /// Seed of every random choice.
    #[serde(default)]
    pub seed: u64,
    /// Share of the agents that may try a new setting at the same time, `0 ..= 1`.
    #[serde(default = "default_canary_share")]
    pub canary_share: f64,
    /// Share of the agents that keep the initial setting, to compare with, `0 ..= 0.5`.
    #[serde(default = "default_holdout_share")]
    pub holdout_share: f64,
    /// Samples of an agent in the window before a change and in the one after it.
    #[serde(default = "default_window_len")]
    pub window_len: usize,
    /// Samples of an agent that are ignored right after a change.
    #[serde(default = "default_settle_len")]
    pub settle_len: usize,
    /// Trials before the best setting is rolled out to all.
    #[serde(default = "default_trials_max")]
    pub trials_max: usize,
    /// Largest step of one parameter in one recommendation, as a share of its range, `0 < x <= 1`.
    #[serde(default = "default_largest_step")]
    pub largest_step: f64,
    /// Decide and record, but hand nothing to Layer7.
    #[serde(default)]
    pub dry_run: bool,
}

fn any_agent() -> String {
    "*".into()
}
fn auto() -> String {
    "auto".into()
}
fn default_canary_share() -> f64 {
    0.2
}
fn default_holdout_share() -> f64 {
    0.1
}
fn default_window_len() -> usize {
    30
}
fn default_settle_len() -> usize {
    10
}
fn default_trials_max() -> usize {
    100
}
fn default_largest_step() -> f64 {
    1.0
}

/// The type of a parameter's values; on the wire they are all numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParameterType {
    /// Any number between the bounds.
    Float,
    /// A whole number between the bounds.
    Int,
}

/// One thing that Layer7 can set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParameterConfig {
    /// Its name in recommendations.
    pub name: String,
    /// Whole numbers or any.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// Least value.
    pub low: f64,
    /// Greatest value.
    pub high: f64,
    /// Whether ratios count rather than differences; needs `low > 0`.
    #[serde(default)]
    pub log: bool,
    /// What the agents run with before the first recommendation.
    pub initial: f64,
}

/// What better means, as it is written; [`Objective`] itself knows no schema.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[allow(dead_code, reason = "the schema is made of it, nothing else")]
struct ObjectiveKeys {
    /// The metric to improve.
    metric: String,
    /// Which way it gets better.
    better: BetterKeys,
    /// A metric that must not suffer, higher is better; empty for none.
    guard: String,
    /// The share of its recent level that the guard must keep.
    guard_keep: f64,
}

impl Default for ObjectiveKeys {
    fn default() -> Self {
        let objective = Objective::default();
        Self {
            metric: objective.metric,
            better: BetterKeys::Lower,
            guard: objective.guard,
            guard_keep: objective.guard_keep,
        }
    }
}

/// Which way a metric gets better.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
enum BetterKeys {
    /// Smaller values are better, such as latency.
    Lower,
    /// Larger values are better, such as accuracy.
    #[allow(dead_code, reason = "the schema is made of it, nothing else")]
    Higher,
}

/// Checks what ranges alone can't.
///
/// # Errors
/// [`ConfigError::Invalid`] naming the key, its value and the legal ones.
pub(super) fn check(cohorts: &[CohortConfig]) -> Result<(), ConfigError> {
    for (i, cohort) in cohorts.iter().enumerate() {
        let key = format!("cohort[{i}]");
        let name = &cohort.name;
        if name.is_empty() || name.len() > 100 {
            return Err(ConfigError::invalid(
                &format!("{key}.name"),
                name,
                "1 to 100 bytes",
            ));
        }
        if cohorts[..i].iter().any(|other| other.name == *name) {
            let legal = "a name that no other cohort has";
            return Err(ConfigError::invalid(&format!("{key}.name"), name, legal));
        }
        if cohort.sampler != "bandit" && SamplerKind::from_name(&cohort.sampler).is_none() {
            let mut legal: Vec<&str> = SamplerKind::ALL.iter().map(|kind| kind.name()).collect();
            legal.push("bandit");
            let key = format!("{key}.sampler");
            return Err(ConfigError::invalid(
                &key,
                &cohort.sampler,
                &legal.join(", "),
            ));
        }
        for (j, parameter) in cohort.parameter.iter().enumerate() {
            let key = format!("{key}.parameter[{j}]");
            parameter.check(&key)?;
            if cohort.parameter[..j]
                .iter()
                .any(|other| other.name == parameter.name)
            {
                let legal = "a name that no other parameter of the cohort has";
                return Err(ConfigError::invalid(
                    &format!("{key}.name"),
                    &parameter.name,
                    legal,
                ));
            }
        }
    }
    Ok(())
}

impl CohortConfig {
    /// Whether `agent` belongs to this cohort.
    #[must_use]
    pub fn matches(&self, agent: &str) -> bool {
        glob(self.agents.as_bytes(), agent.as_bytes())
    }
}

impl ParameterConfig {
    fn check(&self, key: &str) -> Result<(), ConfigError> {
        if !(self.low < self.high && self.low.is_finite() && self.high.is_finite()) {
            let legal = format!("finite bounds with low < high, and high is {}", self.high);
            return Err(ConfigError::invalid(
                &format!("{key}.low"),
                self.low,
                &legal,
            ));
        }
        if self.log && self.low <= 0.0 {
            let key = format!("{key}.low");
            return Err(ConfigError::invalid(
                &key,
                self.low,
                "above 0, which log = true needs",
            ));
        }
        if !(self.low..=self.high).contains(&self.initial) {
            let legal = format!("{} to {}, the parameter's bounds", self.low, self.high);
            return Err(ConfigError::invalid(
                &format!("{key}.initial"),
                self.initial,
                &legal,
            ));
        }
        Ok(())
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any run of bytes. O(pattern x text) at worst, no recursion.
pub(crate) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && pattern[p] == text[t] {
            p += 1;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            star = Some((star_p, star_t + 1));
            p = star_p + 1;
            t = star_t + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run() {
        let fits = |p: &str, t: &str| glob(p.as_bytes(), t.as_bytes());
        assert!(fits("*", "") && fits("*", "agent_1") && fits("agent_*", "agent_17"));
        assert!(fits("a*b*c", "a_x_b_y_c") && fits("exact", "exact"));
        assert!(!fits("agent_*", "worker_1") && !fits("a*b", "a_b_c") && !fits("", "x"));
    }
}
