//! Every pattern that one series can tell by itself, in one call.
//! In: times and values of one series. Out: an [`Analysis`]: a summary and [`Finding`]s.
//! Called from: the service's `/analyze`, `layer5 analyze`.
//! The way: an even grid -> trend, seasonality, change points, forecast. Invariants: total for any input; findings are
//! in order of time; indices are those of the input. Reference: CONTRACTS section 5 for the kinds and fields.

use layer5_core::Timestamp;
use layer5_core::event::{Detail, Direction, Finding, PatternKind};
use serde::Serialize;

use crate::change_point::{Change, ChangePoint, ChangePointConfig, change_points_beside_seasons};
use crate::forecast::{Forecast, ForecastConfig, forecast};
use crate::gaps::fill_gaps;
use crate::matching::{SHAPES, discords, find_shapes, matrix_profile, motifs};
use crate::order_statistics::median;
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

/// Fit from which a named shape is told in an analysis.
const SHAPE_FIT_MIN: f64 = 0.95;
/// Named shapes told of one series, at most.
const SHAPES_MAX: usize = 20;
/// Shortest window in which a shape is looked for, samples.
const WINDOW_LEN_MIN: usize = 8;
/// Longest series whose motifs are searched: beyond, only its newest part is.
const MOTIF_LEN_MAX: usize = 8192;

/// The series that findings are told of.
struct Scene<'a> {
    grid: &'a RegularGrid,
    end: Timestamp,
}

impl Scene<'_> {
    fn level(&self) -> f64 {
        let present: Vec<f64> = self
            .grid
            .values
            .iter()
            .copied()
            .filter(|v| v.is_finite())
            .collect();
        median(&present)
    }

    fn trend(&self, found: &Trend, p_max: f64) -> Option<Finding> {
        if !(found.p_value < p_max && found.slope != 0.0) {
            return None;
        }
        let per_hour = per_hour(found.slope, self.grid.step_seconds);
        Some(Finding {
            kind: PatternKind::Trend,
            detail: Detail::Rate { per_hour },
            start: self.grid.time(0),
            end: self.end,
            detected_at: self.end,
            score: found.tau.abs().clamp(0.0, 1.0),
            confidence: 1.0 - found.p_value,
            direction: direction(found.slope),
            magnitude: per_hour.abs(),
            baseline: found.intercept,
        })
    }

    fn season(&self, found: &Period) -> Finding {
        Finding {
            kind: PatternKind::Seasonality,
            detail: Detail::Period {
                seconds: found.len_exact * self.grid.step_seconds,
            },
            start: self.grid.time(0),
            end: self.end,
            detected_at: self.end,
            score: found.strength,
            confidence: found.confidence,
            direction: Direction::None,
            magnitude: found.amplitude,
            baseline: self.level(),
        }
    }

    fn change(&self, found: &ChangePoint) -> Finding {
        let at = self.grid.time(found.index);
        let (detail, step, size) = match found.change {
            Change::Level => {
                let step = found.after - found.before;
                (
                    Detail::Level,
                    step,
                    found.spread_before.max(found.spread_after),
                )
            }
            Change::Slope => {
                let step = per_hour(
                    found.slope_after - found.slope_before,
                    self.grid.step_seconds,
                );
                let old = per_hour(found.slope_before, self.grid.step_seconds);
                (Detail::Slope, step, old.abs())
            }
            Change::Variance => {
                let step = found.spread_after - found.spread_before;
                (
                    Detail::Variance,
                    step,
                    found.spread_before.min(found.spread_after),
                )
            }
        };
        let step = step.clamp(-f64::MAX, f64::MAX);
        Finding {
            kind: PatternKind::ChangePoint,
            detail,
            start: at,
            end: self.end,
            detected_at: self.end,
            score: step.abs() / (step.abs() + size).max(f64::MIN_POSITIVE),
            confidence: found.confidence,
            direction: direction(step),
            magnitude: step.abs(),
            baseline: found.before,
        }
    }

    /// Motifs, discords and named shapes of the newest part, in windows of one period, or an eighth of a short series.
    fn matches(&self, period: Option<usize>, count: usize) -> Vec<Finding> {
        let skipped = self.grid.values.len().saturating_sub(MOTIF_LEN_MAX);
        let recent = &self.grid.values[skipped..];
        let n = recent.len();
        let window = period
            .filter(|p| 3 * p <= n)
            .unwrap_or((n / 8).min(64))
            .max(WINDOW_LEN_MIN);
        if count == 0 || n < 3 * window {
            return Vec::new();
        }
        let profile = matrix_profile(recent, window);
        let reach = (2.0 * window as f64).sqrt();
        let told = |kind, detail, start: usize, len: usize, score: f64, magnitude: f64| Finding {
            kind,
            detail,
            start: self.grid.time(skipped + start),
            end: self.grid.time(skipped + start + len - 1),
            detected_at: self.end,
            score: score.clamp(0.0, 1.0),
            confidence: score.clamp(0.0, 1.0),
            direction: direction(magnitude),
            magnitude: magnitude.abs(),
            baseline: median(
                &recent[start..start + len]
                    .iter()
                    .copied()
                    .filter(|v| v.is_finite())
                    .collect::<Vec<_>>(),
            ),
        };
        let swing = |start: usize| {
            let part = recent[start..start + window]
                .iter()
                .filter(|v| v.is_finite());
            let (low, high) = part.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
            (high - low).clamp(0.0, f64::MAX)
        };
        let mut found = Vec::new();
        // Uncorrelated windows are sqrt(2 m) apart: a pair well within that is a shape that came back.
        for motif in motifs(recent, &profile, count) {
            let likeness = 1.0 - motif.distance / reach;
            if likeness > 0.5 {
                let start = motif.occurrences[0];
                let mut finding = told(
                    PatternKind::Motif,
                    Detail::Plain,
                    start,
                    window,
                    likeness,
                    swing(start),
                );
                finding.direction = Direction::None;
                found.push(finding);
            }
        }
        let usual = median(
            &profile
                .distance
                .iter()
                .copied()
                .filter(|d| d.is_finite())
                .collect::<Vec<_>>(),
        );
        for discord in discords(&profile, count) {
            if discord.distance > 2.0 * usual && discord.distance > 0.3 * reach {
                let score = discord.distance / (discord.distance + usual);
                let start = discord.start;
                let mut finding = told(
                    PatternKind::Discord,
                    Detail::Plain,
                    start,
                    window,
                    score,
                    swing(start),
                );
                finding.direction = Direction::None;
                found.push(finding);
            }
        }
        let named = find_shapes(recent, window);
        found.extend(
            named
                .iter()
                .filter(|s| s.fit >= SHAPE_FIT_MIN)
                .take(SHAPES_MAX)
                .map(|s| {
                    let index = SHAPES.iter().position(|x| *x == s.shape).unwrap_or(0) as u32;
                    told(
                        PatternKind::Template,
                        Detail::Shape { index },
                        s.start,
                        s.len,
                        s.fit,
                        s.magnitude,
                    )
                }),
        );
        found
    }

    /// The first forecast value beyond a limit. The distance to the limit against half the interval's width is the
    /// confidence.
    fn breach(&self, next: &Forecast, limits: (Option<f64>, Option<f64>)) -> Option<Finding> {
        let n = self.grid.values.len();
        let last = fill_gaps(&self.grid.values)?.pop()?;
        let beyond = |v: f64| match limits {
            (_, Some(upper)) if v > upper => Some((v - upper, upper)),
            (Some(lower), _) if v < lower => Some((v - lower, lower)),
            _ => None,
        };
        if beyond(last).is_some() {
            return None;
        }
        let (h, (excess, limit)) = next
            .mean
            .iter()
            .enumerate()
            .find_map(|(h, &v)| beyond(v).map(|b| (h, b)))?;
        let half = (0.5 * next.upper[h] - 0.5 * next.lower[h]).max(f64::MIN_POSITIVE);
        let confidence = 0.5 + 0.5 * (excess.abs() / half).min(1.0);
        Some(Finding {
            kind: PatternKind::ForecastBreach,
            detail: Detail::Plain,
            start: self.grid.time(n + h),
            end: self.grid.time(n + next.mean.len() - 1),
            detected_at: self.end,
            score: confidence,
            confidence,
            direction: direction(excess),
            magnitude: excess.abs(),
            baseline: limit,
        })
    }
}

fn direction(step: f64) -> Direction {
    if step > 0.0 {
        Direction::Up
    } else if step < 0.0 {
        Direction::Down
    } else {
        Direction::None
    }
}

/// Per hour from per sample; per sample when the series has no time.
fn per_hour(slope: f64, step_seconds: f64) -> f64 {
    let factor = if step_seconds > 0.0 {
        3600.0 / step_seconds
    } else {
        1.0
    };
    (slope * factor).clamp(-f64::MAX, f64::MAX)
}
