//! What the analyses of one whole series say, as findings with times and sizes in its unit.
//! In: a trend, a season, a change, a forecast, and the series on its even grid. Out: [`Finding`]s. Called from:
//! [`super::analyze`].
//! Invariants: scores and confidences lie in `0 ..= 1`; everything was detected at the series' end.

use layer5_core::Timestamp;
use layer5_core::event::{Detail, Direction, Finding, PatternKind};

use crate::change_point::{Change, ChangePoint};
use crate::forecast::Forecast;
use crate::gaps::fill_gaps;
use crate::matching::{SHAPES, discords, find_shapes, matrix_profile, motifs};
use crate::order_statistics::median;
use crate::regular_grid::RegularGrid;
use crate::seasonality::Period;
use crate::trend::Trend;
use crate::watch::direction;

/// Fit from which a named shape is told in an analysis.
const SHAPE_FIT_MIN: f64 = 0.95;
/// Named shapes told of one series, at most.
const SHAPES_MAX: usize = 20;
/// Shortest window in which a shape is looked for, samples.
const WINDOW_LEN_MIN: usize = 8;
/// Longest series whose motifs are searched: beyond, only its newest part is.
const MOTIF_LEN_MAX: usize = 8192;

/// The series that findings are told of.
pub(super) struct Scene<'a> {
    pub(super) grid: &'a RegularGrid,
    pub(super) end: Timestamp,
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

    pub(super) fn trend(&self, found: &Trend, p_max: f64) -> Option<Finding> {
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

    pub(super) fn season(&self, found: &Period) -> Finding {
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

    pub(super) fn change(&self, found: &ChangePoint) -> Finding {
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
    pub(super) fn matches(&self, period: Option<usize>, count: usize) -> Vec<Finding> {
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
    pub(super) fn breach(
        &self,
        next: &Forecast,
        limits: (Option<f64>, Option<f64>),
    ) -> Option<Finding> {
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

/// Per hour from per sample; per sample when the series has no time.
fn per_hour(slope: f64, step_seconds: f64) -> f64 {
    let factor = if step_seconds > 0.0 {
        3600.0 / step_seconds
    } else {
        1.0
    };
    (slope * factor).clamp(-f64::MAX, f64::MAX)
}
