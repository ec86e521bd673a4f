//! What can be tuned: a cohort of agents, the objective they share and the parameters that Layer7 can set on them.
//! In: `[[cohort]]` tables. Out: to the refinery's tuner.
//! Invariants: after `check`, every parameter has finite bounds with `low < high` and an initial value inside them.

use layer5_core::Objective;
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// One group of agents that is tuned together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CohortConfig {
    /// Its name, part of every optimization id.
    pub name: String,
    /// Which agents belong to it: their id, with `*` for any run of characters. The first cohort that fits counts.
    #[serde(default = "any_agent")]
    pub agents: String,
    /// What better means.
    #[serde(default)]
    pub objective: Objective,
    /// What Layer7 can set.
    #[serde(default)]
    pub parameter: Vec<ParameterConfig>,
    /// How settings are proposed: auto, gp, tpe, `trust_region`, `cma_es`, random or bandit.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterType {
    /// Any number between the bounds.
    Float,
    /// A whole number between the bounds.
    Int,
}

/// One thing that Layer7 can set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

impl CohortConfig {
    /// # Errors
    /// [`ConfigError::Invalid`] naming the key, its value and the legal ones.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let key = |field: &str| format!("cohort `{}`: {field}", self.name);
        let shares = [
            ("canary_share", self.canary_share, 0.0, 1.0),
            ("holdout_share", self.holdout_share, 0.0, 0.5),
            ("largest_step", self.largest_step, 1e-3, 1.0),
            ("objective.guard_keep", self.objective.guard_keep, 0.0, 1.0),
        ];
        for (field, value, low, high) in shares {
            if !(low..=high).contains(&value) {
                return Err(ConfigError::invalid(
                    &key(field),
                    value,
                    &format!("{low} to {high}"),
                ));
            }
        }
        let counts = [
            ("window_len", self.window_len, 3, 10_000),
            ("settle_len", self.settle_len, 0, 10_000),
            ("trials_max", self.trials_max, 1, 100_000),
        ];
        for (field, value, low, high) in counts {
            if !(low..=high).contains(&value) {
                return Err(ConfigError::invalid(
                    &key(field),
                    value,
                    &format!("{low} to {high}"),
                ));
            }
        }
        if self.name.is_empty() || self.name.len() > 100 {
            return Err(ConfigError::invalid(
                "cohort.name",
                &self.name,
                "1 to 100 bytes",
            ));
        }
        self.parameter
            .iter()
            .try_for_each(|p| p.check(&key(&format!("parameter `{}`", p.name))))
    }

    /// Whether `agent` belongs to this cohort.
    #[must_use]
    pub fn matches(&self, agent: &str) -> bool {
        glob(self.agents.as_bytes(), agent.as_bytes())
    }
}

impl ParameterConfig {
    fn check(&self, key: &str) -> Result<(), ConfigError> {
        if !(self.low < self.high && self.low.is_finite() && self.high.is_finite()) {
            let bounds = format!("low = {}, high = {}", self.low, self.high);
            return Err(ConfigError::invalid(
                key,
                bounds,
                "finite bounds with low < high",
            ));
        }
        if self.log && self.low <= 0.0 {
            return Err(ConfigError::invalid(
                key,
                self.low,
                "log = true needs low > 0",
            ));
        }
        if !(self.low..=self.high).contains(&self.initial) {
            let legal = format!("initial within {} to {}", self.low, self.high);
            return Err(ConfigError::invalid(key, self.initial, &legal));
        }
        Ok(())
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any run of bytes. O(pattern x text) at worst, no recursion.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
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
