//! What each room is told of the configuration: limits of the border and the store, what is kept, who is tuned on what.
//! In: a checked [`Config`]. Out: the settings of single rooms. Called from: [`super::start`].

use layer5_core::{Kpi, MetricId};
use layer5_ingest::{CardinalityLimits, DecodeLimits, Names};
use layer5_patterns::WatchConfig;

use super::StartError;
use crate::{
    config::{CohortConfig, Config},
    intake::{BorderLimits, SharedNames},
    pipeline::{self, Keeping},
    refinery::{Reading, Roles},
    store::{MetricSettings, Retention, StoreConfig, TemplateSettings, WatchSettings},
};

/// The configuration as there is memory for it.
pub(super) fn fitted(config: Config) -> Config {
    match (config.limits.memory_bytes, crate::process::memory_limit()) {
        (0, None) => config,
        (0, Some(bytes)) => config.fitted_to(bytes as usize),
        (bytes, _) => config.fitted_to(bytes),
    }
}

pub(super) fn border_limits(config: &Config) -> BorderLimits {
    let limits = &config.limits;
    BorderLimits {
        report: layer5_core::ReportLimits {
            max_age_seconds: limits.max_age_seconds,
            max_ahead_seconds: limits.max_ahead_seconds,
            ..layer5_core::ReportLimits::default()
        },
        decode: DecodeLimits::default(),
        cardinality: cardinality(config),
    }
}

pub(super) fn cardinality(config: &Config) -> CardinalityLimits {
    let limits = &config.limits;
    CardinalityLimits {
        agents_max: limits.agents_max,
        metrics_max: limits.metrics_max,
        series_max: limits.series_max,
        metrics_per_agent_max: limits.metrics_per_agent_max,
    }
}

pub(super) fn keeping(config: &Config) -> Keeping {
    let store = &config.store;
    Keeping {
        retention: Retention {
            raw_seconds: store.raw_days * 86_400.0,
            aggregate_seconds: store.aggregate_days.max(store.raw_days) * 86_400.0,
            bucket_nanos: (store.aggregate_seconds * 1e9) as i64,
            disk_bytes_max: store.disk_bytes_max,
        },
        // Twice, so that a clock that is set back loses nothing.
        log_seconds: 2.0 * config.limits.dedup_window_seconds,
        share: store.compaction_share,
        bytes_per_second: store.compaction_bytes_per_second,
    }
}

pub(super) fn store_config(config: &Config) -> StoreConfig {
    let (defaults, store) = (StoreConfig::default(), &config.store);
    StoreConfig {
        dead_letter_bytes_max: config.limits.dead_letter_bytes_max,
        log_cache_bytes: store.cache_bytes / 5 * 2,
        views_cache_bytes: store.cache_bytes / 5 * 3,
        // Half full it is written, the other half fills meanwhile.
        head_samples: defaults.head_samples.min(store.head_samples_max / 2),
        head_samples_max: store.head_samples_max,
        ..defaults
    }
}

/// How the series of a fleet are watched. There are thousands of them, so each is given a fifth of the chance of a
/// false change that a single series gets by default: at five-minute samples (48 excursions a day) 7000 series then see
/// at most seven a day instead of thirty-four.
pub(super) fn fleet_watch() -> WatchConfig {
    WatchConfig {
        change_p: 2e-5,
        ..WatchConfig::default()
    }
}

/// Metrics in which every agent is compared with its peers.
const COMPARED: [Kpi; 4] = [Kpi::LatencyMs, Kpi::Accuracy, Kpi::CpuUsage, Kpi::MemoryMb];

/// The metrics that any cohort looks at, and where each cohort's stand in a reading.
pub(super) type Cohorts = Vec<(CohortConfig, (usize, Option<usize>))>;

pub(super) fn roles(config: &Config, names: &mut Names) -> Result<(Roles, Cohorts), StartError> {
    let limits = cardinality(config);
    let mut number = |name: &str| {
        names
            .intern_metric(&name.into(), &limits)
            .map_err(|error| StartError::Machine(format!("objective metric `{name}`: {error}")))
    };
    // The catalogue's metrics are compared between agents, whatever the cohorts are after.
    let mut metrics: Vec<MetricId> = COMPARED.iter().map(|&kpi| MetricId::from(kpi)).collect();
    let mut slot = |metric: MetricId| {
        metrics
            .iter()
            .position(|&m| m == metric)
            .unwrap_or_else(|| {
                metrics.push(metric);
                metrics.len() - 1
            })
    };
    let mut cohorts = Vec::new();
    for cohort in config
        .cohort
        .iter()
        .filter(|cohort| !cohort.parameter.is_empty())
    {
        let objective = slot(number(&cohort.objective.metric)?);
        let guard = match cohort.objective.guard.as_str() {
            "" => None,
            name => Some(slot(number(name)?)),
        };
        cohorts.push((cohort.clone(), (objective, guard)));
    }
    if metrics.len() > Reading::METRICS_MAX {
        let (found, limit) = (metrics.len(), Reading::METRICS_MAX);
        return Err(StartError::TooManyObjectives { found, limit });
    }
    Ok((Roles { metrics }, cohorts))
}

/// What the configuration says of the watch, as the log keeps it.
pub(super) fn watch_settings(config: &Config) -> WatchSettings {
    let metrics = config.patterns.metric.iter().map(|(name, metric)| {
        let settings = MetricSettings {
            sensitivity: metric.sensitivity.factor(),
            upper: metric.upper,
            lower: metric.lower,
            ahead_seconds: metric.ahead_seconds,
        };
        (name.clone(), settings)
    });
    WatchSettings {
        metrics: metrics.collect(),
        templates: config.template.iter().map(TemplateSettings::from).collect(),
    }
}

/// Numbers for the metrics that settings name: they become durable with the group that holds the settings.
pub(super) fn know_metrics(
    settings: &WatchSettings,
    names: &SharedNames,
    config: &Config,
) -> Result<(), StartError> {
    let limits = cardinality(config);
    let mut names = names.write().expect("no writer panics with the lock");
    let of_templates = settings.templates.iter().map(|template| &template.metric);
    for name in settings.metrics.keys().chain(of_templates) {
        let known = names.intern_metric(&name.as_str().into(), &limits);
        known.map_err(|error| StartError::Machine(format!("metric `{name}`: {error}")))?;
    }
    Ok(())
}

/// What each cohort's settings move.
pub(super) fn what_moves(roles: &Roles, cohorts: &Cohorts) -> Vec<pipeline::Moved> {
    let moved =
        |(cohort, (objective, _)): &(CohortConfig, (usize, Option<usize>))| pipeline::Moved {
            study: cohort.name.clone(),
            metric: roles.metrics[*objective],
            better: cohort.objective.better,
            settle_len: u32::try_from(cohort.settle_len).unwrap_or(u32::MAX),
        };
    cohorts.iter().map(moved).collect()
}
