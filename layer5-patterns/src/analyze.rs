//! Every pattern that one series can tell by itself, in one call.
//! In: times and values of one series. Out: an [`Analysis`]: a summary and [`Finding`]s.
//! Called from: the service's `/analyze`, `layer5 analyze`.
//! The way: an even grid -> trend, seasonality, change points, forecast. Invariants: total for any input; findings are
//! in order of time; indices are those of the input. Reference: CONTRACTS section 5 for the kinds and fields.

mod scene;

use layer5_core::Timestamp;
use layer5_core::event::{Finding, PatternKind};
use serde::Serialize;

use scene::Scene;

use crate::change_point::{ChangePoint, ChangePointConfig, change_points_beside_seasons};
use crate::forecast::{Forecast, ForecastConfig, forecast};
use crate::regular_grid::RegularGrid;
use crate::seasonality::{Period, SeasonalityConfig, periods};
use crate::trend::{Trend, trend};
use crate::watch::{Watch, WatchConfig};

/// What to analyze and how. The defaults need no tuning.
#[derive(Debug, Clone, PartialEq)]
pub struct AnalysisConfig {
    /// Values to forecast. Default 24.
    pub horizon: usize,
    /// Limits, in the series' unit, whose crossing by the forecast is a finding: (lower, upper). Default none.
    pub limits: (Option<f64>, Option<f64>),
    /// A trend is a finding when its p-value is below this. Default 0.01.
    pub trend_p_max: f64,
    /// For the periods.
    pub seasonality: SeasonalityConfig,
    /// For the change points.
    pub change_point: ChangePointConfig,
    /// For the forecast.
    pub forecast: ForecastConfig,
    /// For the anomalies.
    pub watch: WatchConfig,
    /// Motifs and discords to tell, at most; 0 leaves out this search, which is quadratic. Default 3.
    pub motifs_max: usize,
}

impl Default for AnalysisConfig {
    fn default() -> Self {
        Self {
            horizon: 24,
            limits: (None, None),
            trend_p_max: 0.01,
            seasonality: SeasonalityConfig::default(),
            change_point: ChangePointConfig::default(),
            forecast: ForecastConfig::default(),
            watch: WatchConfig::default(),
            motifs_max: 3,
        }
    }
}

/// What was found, in short: the fields of CONTRACTS section 4.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Summary {
    /// Samples given.
    pub n: usize,
    /// The trend; absent when there are too few samples to tell.
    pub trend: Option<Trend>,
    /// The strongest period, samples.
    pub period: Option<usize>,
    /// All periods, samples, strongest first.
    pub periods: Vec<usize>,
    /// Indices of anomalous samples, rising.
    pub anomalies: Vec<usize>,
    /// Indices of the first samples of new regimes, rising.
    pub change_points: Vec<usize>,
    /// The values to come, the series' unit.
    pub forecast: Vec<f64>,
}

/// Everything that one series tells.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Analysis {
    /// In short.
    pub summary: Summary,
    /// The seasons with their strengths, strongest first.
    pub periods: Vec<Period>,
    /// The change points with what changed; `index` is that of the input.
    pub change_points: Vec<ChangePoint>,
    /// The forecast with its interval.
    pub forecast: Forecast,
    /// All of it as findings, by start.
    pub findings: Vec<Finding>,
}

/// Analyzes one series.
///
/// `at`, `values`: shape `[n]`, oldest first; of unequal lengths the shorter counts. Missing samples (holes in `at`, or
/// values that are not finite) are gaps. Times that make no even grid are ignored and samples counted instead.
/// # Cost
/// O(n log n) but for the change points, which may take O(n^2) of a series without any.
///
/// ```
/// use layer5_core::Timestamp;
/// use layer5_patterns::{AnalysisConfig, analyze};
/// let at: Vec<Timestamp> = (0..400).map(|i| Timestamp::from_millis(i * 60_000)).collect();
/// let values: Vec<f64> = (0..400).map(|i| f64::from(i * 37 % 11) + if i < 250 { 0.0 } else { 60.0 }).collect();
/// let analysis = analyze(&at, &values, &AnalysisConfig::default());
/// assert_eq!(analysis.summary.change_points, [250]);
/// ```
pub fn analyze(at: &[Timestamp], values: &[f64], config: &AnalysisConfig) -> Analysis {
    let grid = RegularGrid::new(at, values);
    let n = at.len().min(values.len());
    if n == 0 {
        return Analysis::default();
    }
    let seasons = periods(&grid.values, &config.seasonality);
    let lens: Vec<usize> = seasons.iter().map(|p| p.len).collect();
    let mut changes = change_points_beside_seasons(&grid.values, &lens, &config.change_point);
    let slope = trend(&grid.values);
    let next = forecast(&grid.values, config.horizon, &lens, &config.forecast);
    let mut findings = Vec::new();
    let scene = Scene {
        grid: &grid,
        end: grid.time(grid.values.len() - 1),
    };
    findings.extend(slope.and_then(|t| scene.trend(&t, config.trend_p_max)));
    findings.extend(seasons.iter().map(|p| scene.season(p)));
    findings.extend(changes.iter().map(|c| scene.change(c)));
    findings.extend(scene.breach(&next, config.limits));
    let anomalies = watched(at, values, &config.watch, &mut findings);
    findings.extend(scene.matches(lens.first().copied(), config.motifs_max));
    findings.sort_by_key(|f| f.start);
    for change in &mut changes {
        change.index = grid.index[change.index];
    }
    Analysis {
        summary: Summary {
            n,
            trend: slope,
            period: lens.first().copied(),
            periods: lens,
            anomalies,
            change_points: changes.iter().map(|c| c.index).collect(),
            forecast: next.mean.clone(),
        },
        periods: seasons,
        change_points: changes,
        forecast: next,
        findings,
    }
}

/// Runs a watch over the series as it came: indices of anomalous samples; the anomalies join `findings`.
///
/// Change points and trends that the watch tells on the way are left to the analyses of the whole series, which know
/// what came after.
fn watched(
    at: &[Timestamp],
    values: &[f64],
    config: &WatchConfig,
    findings: &mut Vec<Finding>,
) -> Vec<usize> {
    let mut watch = Watch::new(config);
    let mut indices = Vec::new();
    for (i, (&at, &value)) in at.iter().zip(values).enumerate() {
        let update = watch.update(value, at, config);
        let before = findings.len();
        findings.extend(
            update
                .findings
                .iter()
                .filter(|f| f.kind == PatternKind::Anomaly),
        );
        if update.alarm.is_some() || findings.len() > before {
            indices.push(i);
        }
    }
    indices
}
