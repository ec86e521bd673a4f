//! What was found in series: the kinds of pattern, and the fields that each one carries.
//! In: [`Finding`]s from `patterns/watch` and `patterns/analyze`, which do not know names. Out: [`PatternEvent`]s,
//! which do, kept in the store and served at `/api/v1/patterns`.
//! Invariants: `start <= end <= detected_at`; scores and confidences are in `0 ..= 1`; every number is finite.
//! Reference: Project Chimera's contracts, section 5.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The kinds of pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PatternKind {
    /// A sample or a range unlike its past.
    Anomaly,
    /// A new regime of level, variance or slope.
    ChangePoint,
    /// A sustained movement in one direction.
    Trend,
    /// A cycle with a period.
    Seasonality,
    /// Two series that move together, perhaps with a lag.
    Correlation,
    /// Agents that behave alike, or one that does not.
    Cluster,
    /// A shape that comes back.
    Motif,
    /// The subsequence least like any other.
    Discord,
    /// A named shape: spike, dip, step, ramp, sawtooth, flatline, oscillation.
    Template,
    /// A limit that will be crossed.
    ForecastBreach,
}

impl PatternKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Anomaly,
        Self::ChangePoint,
        Self::Trend,
        Self::Seasonality,
        Self::Correlation,
        Self::Cluster,
        Self::Motif,
        Self::Discord,
        Self::Template,
        Self::ForecastBreach,
    ];

    /// The kind as a metric label and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anomaly => "anomaly",
            Self::ChangePoint => "change_point",
            Self::Trend => "trend",
            Self::Seasonality => "seasonality",
            Self::Correlation => "correlation",
            Self::Cluster => "cluster",
            Self::Motif => "motif",
            Self::Discord => "discord",
            Self::Template => "template",
            Self::ForecastBreach => "forecast_breach",
        }
    }
}

impl fmt::Display for PatternKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which way the series moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Upwards.
    Up,
    /// Downwards.
    Down,
    /// Neither, such as a cycle or a flat line.
    None,
}

/// What within its kind was found; it words the explanation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Detail {
    /// Nothing more than the kind says.
    Plain,
    /// A change point of the level.
    Level,
    /// A change point of the variance.
    Variance,
    /// A change point of the slope.
    Slope,
    /// A value that repeats where it used to vary.
    Flatline,
    /// Samples that should have come and did not; the gap in seconds.
    Missing {
        /// Length of the gap, s.
        seconds: f64,
    },
    /// A period.
    Period {
        /// Length of one cycle, s.
        seconds: f64,
    },
    /// A rate of change.
    Rate {
        /// Change per hour, in the series' unit.
        per_hour: f64,
    },
    /// A named shape, by its number in the matcher's list of shapes.
    Shape {
        /// Index into `patterns::matching::shapes`.
        index: u32,
    },
    /// A limit that will be met if the present slope goes on.
    Breach {
        /// The limit, in the series' unit.
        limit: f64,
        /// Time to breach from `detected_at`, s.
        seconds: f64,
    },
    /// A shape that a person had asked to be told of.
    Template {
        /// Its place among the templates that held at `detected_at`.
        index: u32,
        /// Correlation with it.
        fit: f64,
    },
}

/// One pattern in one series, without the series' name: what the pure crates give out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind of pattern.
    pub kind: PatternKind,
    /// What within its kind.
    pub detail: Detail,
    /// Where it began, as far as can be told (`occurred_at` of a change point).
    pub start: Timestamp,
    /// Where it ended, or the newest sample when it goes on.
    pub end: Timestamp,
    /// The newest sample when it was found; `detected_at - start` is the delay.
    pub detected_at: Timestamp,
    /// Strength, `0 ..= 1`.
    pub score: f64,
    /// How sure, `0 ..= 1`.
    pub confidence: f64,
    /// Which way.
    pub direction: Direction,
    /// Size in the series' unit: distance from the baseline, step height, amplitude, slope per hour.
    pub magnitude: f64,
    /// What would have been normal, in the series' unit.
    pub baseline: f64,
}

impl Finding {
    /// One line in plain words; `metric` and `unit` name the series.
    #[must_use]
    pub fn explain(&self, metric: &str, unit: &str) -> String {
        let space = if unit.is_empty() { "" } else { " " };
        let with_unit = |x: f64| format!("{}{space}{unit}", round4(x));
        let verb = match self.direction {
            Direction::Up => "rose",
            Direction::Down => "fell",
            Direction::None => "changed",
        };
        let size = with_unit(self.magnitude.abs());
        let base = with_unit(self.baseline);
        match (self.kind, self.detail) {
            (_, Detail::Missing { seconds }) => {
                format!("{metric} went silent for {}", span(seconds))
            }
            (_, Detail::Flatline) => format!("{metric} is stuck at {base} where it used to vary"),
            (PatternKind::ChangePoint, Detail::Variance) => {
                format!("the spread of {metric} {verb} by {size} around {base}")
            }
            (PatternKind::ChangePoint, Detail::Slope) => {
                format!("the slope of {metric} {verb} by {size} per hour near {base}")
            }
            (PatternKind::ChangePoint, _) => {
                format!("the level of {metric} {verb} by {size} from {base} and stayed there")
            }
            (PatternKind::Trend, _) => format!("{metric} {verb} by {size} per hour, from {base}"),
            (PatternKind::Seasonality, Detail::Period { seconds }) => {
                format!(
                    "{metric} repeats every {}, swinging by {size} around {base}",
                    span(seconds)
                )
            }
            (PatternKind::Cluster, _) => {
                let place = if self.direction == Direction::Down {
                    "below"
                } else {
                    "above"
                };
                format!("{metric} stays {size} {place} the {base} of its peers")
            }
            (PatternKind::ForecastBreach, Detail::Breach { limit, seconds }) => format!(
                "{metric} reaches its limit of {} in {}, if it goes on as now from {base}",
                with_unit(limit),
                span(seconds)
            ),
            (PatternKind::Template, Detail::Template { fit, .. }) => {
                format!("{metric} takes this shape again, {size} high around {base} (fit {fit:.2})")
            }
            (PatternKind::ForecastBreach, _) => {
                format!("{metric} is heading {size} past its limit, from {base}")
            }
            (PatternKind::Anomaly, _) => {
                let place = match self.direction {
                    Direction::Up => "above",
                    Direction::Down => "below",
                    Direction::None => "off",
                };
                format!("{metric} is {size} {place} its normal {base}")
            }
            (kind, _) => format!("{kind} in {metric}: {size} around {base}"),
        }
    }
}

/// Four significant digits, so that an explanation reads well.
fn round4(x: f64) -> String {
    if x == 0.0 || !x.is_finite() {
        return format!("{x}");
    }
    let decimals = (3 - x.abs().log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{x:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A length of time in the unit a person would use.
fn span(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 120.0 => (s, "s"),
        s if s < 7200.0 => (s / 60.0, "min"),
        s if s < 172_800.0 => (s / 3600.0, "h"),
        s => (s / 86_400.0, "d"),
    };
    format!("{} {unit}", round4(value))
}

/// A pattern with the names of its series, as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatternEvent {
    /// Its number, rising in the order of discovery.
    pub id: u64,
    /// The agent's name; empty for an analysis of a bare series.
    pub agent_id: String,
    /// The metric's name.
    pub metric: String,
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
    /// The finding in one plain line.
    pub explanation: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(kind: PatternKind, detail: Detail, direction: Direction) -> Finding {
        let at = Timestamp::EPOCH;
        Finding {
            kind,
            detail,
            start: at,
            end: at,
            detected_at: at,
            score: 1.0,
            confidence: 0.9,
            direction,
            magnitude: 40.126,
            baseline: 60.0,
        }
    }

    #[test]
    fn explanations_read_as_sentences() {
        let step = finding(PatternKind::ChangePoint, Detail::Level, Direction::Up);
        assert_eq!(
            step.explain("latency_ms", "ms"),
            "the level of latency_ms rose by 40.13 ms from 60 ms and stayed there"
        );
        let spike = finding(PatternKind::Anomaly, Detail::Plain, Direction::Down);
        assert_eq!(
            spike.explain("accuracy", ""),
            "accuracy is 40.13 below its normal 60"
        );
        let breach = Detail::Breach {
            limit: 90.0,
            seconds: 32.0 * 3600.0,
        };
        assert_eq!(
            finding(PatternKind::ForecastBreach, breach, Direction::Up).explain("disk_used", "%"),
            "disk_used reaches its limit of 90 % in 32 h, if it goes on as now from 60 %"
        );
        let season = finding(
            PatternKind::Seasonality,
            Detail::Period { seconds: 86_400.0 },
            Direction::None,
        );
        assert_eq!(
            season.explain("cpu_usage", ""),
            "cpu_usage repeats every 24 h, swinging by 40.13 around 60"
        );
    }

    #[test]
    fn numbers_are_rounded_to_four_digits() {
        for (x, text) in [
            (0.0, "0"),
            (0.000_123_456, "0.0001235"),
            (1234.56, "1235"),
            (-2.5, "-2.5"),
        ] {
            assert_eq!(round4(x), text);
        }
    }
}
