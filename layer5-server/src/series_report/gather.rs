//! One pass over the rows of a series: the watch judges each, the strip keeps the shape, the newest rows stay whole.
//! In: [`Gathering::push`], row by row. Out: [`SeriesReport`] by [`Gathering::finish`].
//! Invariants: a row is judged from the rows before it alone; memory does not grow beyond the limits of
//! [`super`], however many rows come.

use std::collections::VecDeque;

use layer5_core::{Finding, PatternKind, Timestamp};
use layer5_patterns::{
    Analysis, AnalysisConfig, Outcome, Watch, WatchConfig, analyze, detector::Refusal,
    forecast::forecast, matching::mass,
};

use super::{Bin, MARKS_MAX, Mark, MotifPlaces, ROWS_HELD_MAX, SeriesReport, strip::Strip};
use crate::{
    refinery::asked::{Search, TemplateSet},
    store::TemplateSettings,
};

/// Forecast values drawn, at most.
const DRAWN_MAX: usize = 500;

/// What the watch said of one row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Judged {
    /// Strangeness, 0 to 1; 0 while the watch warms up.
    pub(crate) score: f64,
    /// Strength of an alarm raised at this row, else 0.
    pub(crate) alarm: f64,
}

/// A series that is being read.
pub(crate) struct Gathering {
    name: String,
    config: WatchConfig,
    watch: Watch,
    strip: Strip,
    newest: VecDeque<(Timestamp, f64)>,
    report: SeriesReport,
    findings: Vec<(u64, Finding)>,
    search: Option<Search>,
    came_again: Vec<Finding>,
}

impl Gathering {
    /// No rows yet; `templates` are looked for in them.
    pub(crate) fn new(name: &str, templates: &[TemplateSettings]) -> Self {
        let config = WatchConfig::default();
        let set = TemplateSet::new(templates.iter().enumerate());
        Self {
            name: name.to_owned(),
            watch: Watch::new(&config),
            config,
            strip: Strip::new(),
            newest: VecDeque::new(),
            report: SeriesReport {
                templates: templates
                    .iter()
                    .map(|template| template.name.clone())
                    .collect(),
                ..SeriesReport::default()
            },
            findings: Vec::new(),
            search: set.as_ref().map(Search::new),
            came_again: Vec::new(),
        }
    }

    /// Takes the next row. NaN is a gap.
    pub(crate) fn push(&mut self, at: Timestamp, value: f64) -> Judged {
        let row = self.report.n;
        let before = self.watch.state();
        let update = self.watch.update(value, at, &self.config);
        self.report.n += 1;
        self.report.n_gaps += u64::from(value.is_nan());
        self.report.n_late += u64::from(update.score == Outcome::Refused(Refusal::Late));
        if let Some((_, last)) = self.report.span {
            self.report.n_same_time += u64::from(last == at);
        }
        self.report.span = Some((self.report.span.map_or(at, |(first, _)| first), at));
        let score = update.score.score().unwrap_or(0.0);
        let warm = before.n > 16;
        let normal = warm.then_some((before.baseline, before.scale));
        self.strip
            .push(Bin::one(row, at, value, normal, score as f32));
        if self.newest.len() == ROWS_HELD_MAX {
            self.newest.pop_front();
        }
        self.newest.push_back((at, value));
        let anomaly = update
            .findings
            .iter()
            .find(|f| f.kind == PatternKind::Anomaly);
        self.findings.extend(anomaly.map(|f| (row, *f)));
        let is_late = update.score == Outcome::Refused(Refusal::Late);
        if let Some(search) = self.search.as_mut().filter(|_| !is_late) {
            let came_again = &mut self.came_again;
            search.step(at, value, false, |finding, _| came_again.push(finding));
            strongest(came_again, |f| f.score, |f| f.start.nanos());
        }
        let alarm = update.alarm.map_or(0.0, |alarm| alarm.strength);
        if anomaly.is_some() || update.alarm.is_some() {
            self.report.n_anomalies += 1;
            self.report.marks.push(Mark {
                row,
                at,
                value,
                strength: anomaly.map_or(alarm, |f| f.score.max(alarm)),
                baseline: before.baseline,
                spread: before.scale,
            });
        }
        strongest(&mut self.report.marks, |m| m.strength, |m| m.row);
        strongest(&mut self.findings, |f| f.1.score, |f| f.0);
        Judged { score, alarm }
    }

    /// All rows have come. `horizon`: values to forecast.
    pub(crate) fn finish(self, horizon: usize) -> SeriesReport {
        let Self {
            name,
            strip,
            newest,
            mut report,
            findings,
            mut search,
            mut came_again,
            ..
        } = self;
        if let (Some(search), Some((_, last))) = (&mut search, report.span) {
            search.end(last, |finding, _| came_again.push(finding));
        }
        let (bins, rows_per_bin) = strip.finish();
        let config = AnalysisConfig {
            horizon,
            ..AnalysisConfig::default()
        };
        let (at, values): (Vec<Timestamp>, Vec<f64>) = newest.into_iter().unzip();
        let newest_from = report.n - at.len() as u64;
        report.analysis = if rows_per_bin == 1 {
            analyze(&at, &values, &config)
        } else {
            let overview = of_bins(&bins, rows_per_bin);
            let recent = analyze(&at, &values, &config);
            let marks = report.marks.iter().map(|m| m.row as usize).collect();
            composed(report.n, overview, recent, marks, findings)
        };
        if !came_again.is_empty() {
            report.analysis.findings.append(&mut came_again);
            report
                .analysis
                .findings
                .sort_by_key(|finding| finding.start);
        }
        let periods = &report.analysis.summary.periods;
        report.season = periods.first().map_or(Vec::new(), |&p| season(&values, p));
        report.motifs = motif_places(&report.analysis.findings, &at, &values, newest_from);
        report.drawn = report.analysis.forecast.clone();
        // One cycle, else a twentieth of the series, is what a person wants to see of the future.
        let cycle = periods.iter().copied().find(|p| *p <= DRAWN_MAX);
        let drawn = cycle.unwrap_or(values.len() / 20).min(DRAWN_MAX);
        if drawn > horizon && report.analysis.forecast.mean.len() == horizon {
            report.drawn = forecast(&values, drawn, periods, &config.forecast);
        }
        report.forecast_at = forecast_times(&at, report.drawn.mean.len());
        SeriesReport {
            name,
            bins,
            rows_per_bin,
            newest_from,
            ..report
        }
    }
}

/// Keeps the strongest of a list that has grown too long, in their order.
fn strongest<T, K: Ord>(list: &mut Vec<T>, strength: impl Fn(&T) -> f64, place: impl Fn(&T) -> K) {
    if list.len() < 2 * MARKS_MAX {
        return;
    }
    list.sort_by(|a, b| strength(b).total_cmp(&strength(a)));
    list.truncate(MARKS_MAX);
    list.sort_by_key(place);
}

/// Trend and change points of bin means, told in rows.
fn of_bins(bins: &[Bin], rows_per_bin: u64) -> Analysis {
    let (at, values): (Vec<Timestamp>, Vec<f64>) = bins.iter().map(|b| (b.at, b.mean())).unzip();
    let config = AnalysisConfig {
        horizon: 0,
        motifs_max: 0,
        ..AnalysisConfig::default()
    };
    let mut overview = analyze(&at, &values, &config);
    let rows = rows_per_bin as f64;
    if let Some(trend) = &mut overview.summary.trend {
        trend.slope /= rows;
    }
    for change in &mut overview.change_points {
        change.index = bins[change.index].row as usize;
        change.slope_before /= rows;
        change.slope_after /= rows;
    }
    overview.summary.change_points = overview.change_points.iter().map(|c| c.index).collect();
    for period in &mut overview.periods {
        period.len *= rows_per_bin as usize;
        period.len_exact *= rows;
    }
    overview
}

/// The whole as its overview tells it, the rest as the newest rows do, anomalies as the watch told them row by row.
fn composed(
    n: u64,
    overview: Analysis,
    recent: Analysis,
    anomalies: Vec<usize>,
    watched: Vec<(u64, Finding)>,
) -> Analysis {
    let long = |kind| matches!(kind, PatternKind::Trend | PatternKind::ChangePoint);
    let mut findings: Vec<Finding> = overview
        .findings
        .iter()
        .filter(|f| long(f.kind))
        .copied()
        .collect();
    findings.extend(watched.into_iter().map(|(_, finding)| finding));
    let short = |f: &&Finding| !long(f.kind) && f.kind != PatternKind::Anomaly;
    findings.extend(recent.findings.iter().filter(short));
    findings.sort_by_key(|f| f.start);
    let mut periods = recent.periods;
    // A season that the newest rows are too short to show.
    let longest = periods
        .iter()
        .map(|p| p.len)
        .max()
        .unwrap_or(ROWS_HELD_MAX / 4);
    periods.extend(overview.periods.iter().filter(|p| p.len > 2 * longest));
    let lens: Vec<usize> = periods.iter().map(|p| p.len).collect();
    Analysis {
        summary: layer5_patterns::Summary {
            n: n as usize,
            trend: overview.summary.trend,
            period: lens.first().copied(),
            periods: lens,
            anomalies,
            change_points: overview.summary.change_points,
            forecast: recent.summary.forecast,
        },
        periods,
        change_points: overview.change_points,
        forecast: recent.forecast,
        findings,
    }
}

/// Lower quartile, median and upper quartile of each phase, once three cycles were seen.
fn season(values: &[f64], period: usize) -> Vec<[f64; 3]> {
    if period < 2 || values.len() < 3 * period {
        return Vec::new();
    }
    // Cycles are laid over each other by their levels, so that a change of level does not blur the shape.
    let cycles: Vec<(f64, &[f64])> = values[values.len() % period..]
        .chunks_exact(period)
        .filter_map(|cycle| Some((middle(cycle)?, cycle)))
        .collect();
    let levels: Vec<f64> = cycles.iter().map(|(level, _)| *level).collect();
    let Some(level) = middle(&levels) else {
        return Vec::new();
    };
    let phase = |phase: usize| {
        let column = cycles.iter().map(|(own, cycle)| cycle[phase] - own + level);
        let mut column: Vec<f64> = column.filter(|v| v.is_finite()).collect();
        column.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = column.len().saturating_sub(1) as f64;
            column
                .get((share * last).round() as usize)
                .copied()
                .unwrap_or(f64::NAN)
        };
        [at(0.25), at(0.5), at(0.75)]
    };
    (0..period).map(phase).collect()
}

/// The median of what is present.
fn middle(values: &[f64]) -> Option<f64> {
    let mut present: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    present.sort_by(f64::total_cmp);
    present.get(present.len() / 2).copied()
}

/// Where the motifs among the findings come back. Empty for rows that are not in order of time.
fn motif_places(
    findings: &[Finding],
    at: &[Timestamp],
    values: &[f64],
    newest_from: u64,
) -> Vec<MotifPlaces> {
    if !at.is_sorted() {
        return Vec::new();
    }
    let motifs = findings.iter().filter(|f| f.kind == PatternKind::Motif);
    let places = motifs.filter_map(|motif| {
        let start = at.partition_point(|t| *t < motif.start);
        let end = at.partition_point(|t| *t <= motif.end);
        let query = values.get(start..end).filter(|q| q.len() >= 8)?;
        let m = query.len();
        let distances = mass(query, values);
        // Windows that have nothing in common are sqrt(2 m) apart; a motif's likeness is how far below that it is.
        let reach = (2.0 * m as f64).sqrt();
        let limit = (2.0 * (1.0 - motif.score) * reach).max(0.02 * (m as f64).sqrt());
        let mut near: Vec<usize> = (0..distances.len())
            .filter(|&i| distances[i] <= limit)
            .collect();
        near.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]));
        let mut starts: Vec<usize> = Vec::new();
        for i in near {
            if starts.iter().all(|s| s.abs_diff(i) >= m) && starts.len() < 200 {
                starts.push(i);
            }
        }
        (starts.len() > 1).then(|| MotifPlaces {
            len: m,
            rows: starts.iter().map(|&s| newest_from + s as u64).collect(),
            values: starts
                .iter()
                .take(12)
                .map(|&s| values[s..s + m].to_vec())
                .collect(),
        })
    });
    places.collect()
}

/// The times of the values to come: at the usual distance of the newest rows.
fn forecast_times(at: &[Timestamp], horizon: usize) -> Vec<Timestamp> {
    let mut steps: Vec<i64> = at
        .windows(2)
        .map(|w| w[1].nanos().saturating_sub(w[0].nanos()))
        .collect();
    steps.sort_unstable();
    let step = steps.get(steps.len() / 2).copied().unwrap_or(0).max(0);
    let last = at.last().copied().unwrap_or_default();
    let time = |h: usize| {
        Timestamp::from_nanos(last.nanos().saturating_add(step.saturating_mul(h as i64)))
    };
    (1..=horizon).map(time).collect()
}
