//! What is watched for: per metric how readily something counts as a finding and which limits matter, and shapes that a
//! person wants to be told of when they come again.
//! In: `[patterns]`, `[patterns.metric.NAME]` and `[[template]]` tables. Out: to the refinery, through the log.
//! Invariants: after `check`, limits are finite with `lower < upper`, and every template is one that can be looked for.

use std::{collections::BTreeMap, path::PathBuf};

use layer5_core::Kpi;
use layer5_patterns::matching::Template;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::store::TemplateSettings;

/// Templates for one metric, all their values together: what one sample costs is in proportion to it.
const VALUES_PER_METRIC_MAX: usize = 4096;
/// Templates in all.
const TEMPLATES_MAX: usize = 1000;
/// Longest template, values: what each series keeps of its past.
const TEMPLATE_LEN_MAX: usize = 1024;
/// What a series keeps for each value of the longest template: the value, and the time of one and a half samples.
const BYTES_PER_VALUE: u64 = 20;
/// Metrics with settings of their own, at most.
const METRICS_MAX: usize = 1000;

/// The detectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PatternsConfig {
    /// Whether series are watched. Without, reports are stored and tuned on, and no pattern is found but silence.
    pub enabled: bool,
    /// A file of `[[template]]` tables, which are taken as if they stood here.
    pub templates_file: Option<PathBuf>,
    /// Memory that templates may take at `limits.agents_max` agents, bytes: 20 for each agent and each value of the longest
    /// template of a metric.
    pub template_bytes_max: u64,
    /// What is set for one metric, by its name.
    pub metric: BTreeMap<String, MetricConfig>,
}

impl Default for PatternsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            templates_file: None,
            template_bytes_max: 512 << 20,
            metric: BTreeMap::new(),
        }
    }
}

/// What is set for one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricConfig {
    /// How readily something counts as a finding: `low`, `normal`, `high`, or the factor on the number of false alarms
    /// that is accepted for it, 0.01 to 100 (`low` is 0.1, `high` is 10).
    #[schemars(with = "Given")]
    pub sensitivity: Sensitivity,
    /// It must not rise beyond this: told ahead as `forecast_breach`, in the metric's unit.
    pub upper: Option<f64>,
    /// It must not fall below this.
    pub lower: Option<f64>,
    /// How long ahead of a limit it is told, s.
    pub ahead_seconds: f64,
}

impl Default for MetricConfig {
    fn default() -> Self {
        Self {
            sensitivity: Sensitivity::Normal,
            upper: None,
            lower: None,
            ahead_seconds: 21_600.0,
        }
    }
}

/// How readily something counts as a finding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Given", into = "Given")]
pub enum Sensitivity {
    /// A tenth of the false alarms.
    Low,
    /// The detectors' own rate.
    Normal,
    /// Ten times the false alarms.
    High,
    /// So many times the false alarms.
    Factor(f64),
}

impl Sensitivity {
    /// By how much the accepted rate of false alarms is multiplied.
    #[must_use]
    pub fn factor(self) -> f64 {
        match self {
            Self::Low => 0.1,
            Self::Normal => 1.0,
            Self::High => 10.0,
            Self::Factor(factor) => factor,
        }
    }
}

/// A sensitivity as it is written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Given {
    Factor(f64),
    Word(String),
}

impl TryFrom<Given> for Sensitivity {
    type Error = String;

    fn try_from(given: Given) -> Result<Self, String> {
        match given {
            Given::Factor(factor) if (0.01..=100.0).contains(&factor) => Ok(Self::Factor(factor)),
            Given::Factor(factor) => Err(format!("sensitivity {factor} is not within 0.01 to 100")),
            Given::Word(word) => match word.as_str() {
                "low" => Ok(Self::Low),
                "normal" => Ok(Self::Normal),
                "high" => Ok(Self::High),
                _ => Err(format!(
                    "unknown variant `{word}`, expected `low`, `normal`, `high` or a factor of 0.01 to 100"
                )),
            },
        }
    }
}

impl From<Sensitivity> for Given {
    fn from(sensitivity: Sensitivity) -> Self {
        match sensitivity {
            Sensitivity::Low => Self::Word("low".into()),
            Sensitivity::Normal => Self::Word("normal".into()),
            Sensitivity::High => Self::Word("high".into()),
            Sensitivity::Factor(factor) => Self::Factor(factor),
        }
    }
}

/// A shape that a person wants to be told of when it comes again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateConfig {
    /// Its name, told with every find.
    pub name: String,
    /// In which metric the service looks for it; `layer5 analyze` looks in every column.
    pub metric: String,
    /// In whose series: the agent's id, with `*` for any run of characters.
    #[serde(default = "any_agent")]
    pub agents: String,
    /// Least correlation with the shape that counts as it, 0.5 to 1.
    #[serde(default = "default_fit_min")]
    pub fit_min: f64,
    /// Least height that counts, from the least of its values to the greatest, in the metric's unit: noise now and then looks
    /// like a short shape.
    #[serde(default)]
    pub height_min: f64,
    /// The shape, one value per sample, oldest first: 4 to 1024. Height and level do not matter, the length does.
    pub values: Vec<f64>,
}

fn any_agent() -> String {
    "*".into()
}

fn default_fit_min() -> f64 {
    0.9
}

impl TemplateConfig {
    /// The shape as it is looked for.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when its values are no shape.
    pub fn shape(&self, key: &str) -> Result<Template, ConfigError> {
        if self.values.len() > TEMPLATE_LEN_MAX {
            let legal = format!("4 to {TEMPLATE_LEN_MAX} values");
            let found = format!("{} values", self.values.len());
            return Err(ConfigError::invalid(
                &format!("{key}.values"),
                found,
                &legal,
            ));
        }
        Template::new(&self.name, &self.values).map_err(|error| {
            ConfigError::invalid(&format!("{key}.values"), error.value, error.allowed)
        })
    }
}

impl From<&TemplateConfig> for TemplateSettings {
    fn from(template: &TemplateConfig) -> Self {
        Self {
            name: template.name.clone(),
            metric: template.metric.clone(),
            agents: template.agents.clone(),
            fit_min: template.fit_min,
            height_min: template.height_min,
            values: template.values.clone(),
        }
    }
}

/// Checks what is set per metric and the templates, which must find room at `agents_max` agents.
pub(super) fn check(
    config: &PatternsConfig,
    templates: &[TemplateConfig],
    agents_max: usize,
) -> Result<(), ConfigError> {
    let n_metrics = config.metric.len();
    if n_metrics > METRICS_MAX {
        let legal = format!("at most {METRICS_MAX} metrics");
        return Err(ConfigError::invalid("patterns.metric", n_metrics, &legal));
    }
    for (name, metric) in &config.metric {
        let key = |field: &str| format!("patterns.metric.{name}.{field}");
        for (field, limit) in [("upper", metric.upper), ("lower", metric.lower)] {
            if let Some(limit) = limit.filter(|limit| !limit.is_finite()) {
                return Err(ConfigError::invalid(&key(field), limit, "a finite number"));
            }
        }
        // Amounts are watched by their logarithm, on which a limit at or below zero has no place.
        if let Some(kpi) = Kpi::from_name(name) {
            for (field, limit) in [("upper", metric.upper), ("lower", metric.lower)] {
                if let Some(limit) = limit.filter(|&limit| !kpi.in_range(limit)) {
                    return Err(ConfigError::invalid(&key(field), limit, kpi.range_text()));
                }
            }
        }
        if let (Some(upper), Some(lower)) = (metric.upper, metric.lower)
            && !(lower < upper)
        {
            let legal = format!("below upper, which is {upper}");
            return Err(ConfigError::invalid(&key("lower"), lower, &legal));
        }
    }
    if templates.len() > TEMPLATES_MAX {
        let legal = format!("at most {TEMPLATES_MAX} templates");
        return Err(ConfigError::invalid("template", templates.len(), &legal));
    }
    let mut per_metric: BTreeMap<&str, usize> = BTreeMap::new();
    let mut longest: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (i, template) in templates.iter().enumerate() {
        let key = format!("template[{i}]");
        for (field, text) in [("name", &template.name), ("metric", &template.metric)] {
            if text.is_empty() || text.len() > 100 || text.chars().any(char::is_control) {
                let legal = "1 to 100 bytes without control characters";
                return Err(ConfigError::invalid(&format!("{key}.{field}"), text, legal));
            }
        }
        if templates[..i]
            .iter()
            .any(|other| other.name == template.name)
        {
            let legal = "a name that no other template has";
            return Err(ConfigError::invalid(
                &format!("{key}.name"),
                &template.name,
                legal,
            ));
        }
        template.shape(&key)?;
        let n_values = per_metric.entry(&template.metric).or_default();
        *n_values += template.values.len();
        if *n_values > VALUES_PER_METRIC_MAX {
            let legal =
                format!("at most {VALUES_PER_METRIC_MAX} values in all templates of one metric");
            return Err(ConfigError::invalid(
                &format!("{key}.values"),
                *n_values,
                &legal,
            ));
        }
        let longest = longest
            .entry((&template.metric, &template.agents))
            .or_default();
        *longest = (*longest).max(template.values.len() as u64);
    }
    let agents = |pattern: &str| {
        if pattern.contains('*') {
            agents_max as u64
        } else {
            1
        }
    };
    let values = longest
        .iter()
        .map(|((_, pattern), longest)| longest * agents(pattern));
    let bytes = values.sum::<u64>().saturating_mul(BYTES_PER_VALUE);
    if bytes > config.template_bytes_max {
        let legal = format!(
            "{bytes} or more for these templates at limits.agents_max = {agents_max}; or shorter templates, or fewer agents"
        );
        let key = "patterns.template_bytes_max";
        return Err(ConfigError::invalid(key, config.template_bytes_max, &legal));
    }
    Ok(())
}
