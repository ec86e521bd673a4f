//! The scale on which a series is watched: quantities that are read in ratios are watched as logarithms.
//! In: a metric, values in its unit. Out: what the watch is given, and its findings back in the metric's unit.
//! Called from: [`super::shard`]. A latency that doubles at noon doubles its noise and its daily swing with it; on the
//! logarithm level, swing and noise add up, so a new level does not look like a new day.
//! Invariants: `finding(f)` and `state(s)` are in the metric's unit and finite for every finite input.

use layer5_core::{Direction, Finding, Kpi, MetricId, PatternKind, event::Detail};
use layer5_patterns::watch::WatchState;

/// How a series is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As it is.
    Linear,
    /// As its natural logarithm.
    Log,
}

impl Scale {
    /// Latency, memory and bytes are positive amounts that change by factors; whatever else is watched as it is.
    #[must_use]
    pub fn of(metric: MetricId) -> Self {
        let by_factors = [Kpi::LatencyMs, Kpi::MemoryMb, Kpi::NetworkBytes];
        match by_factors
            .into_iter()
            .any(|kpi| MetricId::from(kpi) == metric)
        {
            true => Self::Log,
            false => Self::Linear,
        }
    }

    /// What the watch is given. Not finite where there is no logarithm, which the watch refuses; zero counts as one
    /// unit, so that a stream of bytes may pause.
    #[must_use]
    pub fn watched(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log if value == 0.0 => 0.0,
            Self::Log => value.ln(),
        }
    }

    /// A finding of the watch in the metric's unit.
    #[must_use]
    pub fn finding(self, finding: Finding) -> Finding {
        if self == Self::Linear {
            return finding;
        }
        let baseline = exp(finding.baseline);
        let signed = match finding.direction {
            Direction::Down => -finding.magnitude,
            Direction::Up | Direction::None => finding.magnitude,
        };
        let magnitude = match finding.kind {
            PatternKind::Seasonality => {
                let half = finding.magnitude / 2.0;
                exp(finding.baseline + half) - exp(finding.baseline - half)
            }
            _ => (exp(finding.baseline + signed) - baseline).abs(),
        };
        let detail = match finding.detail {
            Detail::Rate { .. } => Detail::Rate {
                per_hour: magnitude.copysign(signed),
            },
            Detail::Breach { limit, seconds } => Detail::Breach {
                limit: exp(limit),
                seconds,
            },
            other => other,
        };
        Finding {
            baseline,
            magnitude,
            detail,
            ..finding
        }
    }

    /// What the watch believes, in the metric's unit.
    #[must_use]
    pub fn state(self, state: WatchState) -> WatchState {
        if self == Self::Linear {
            return state;
        }
        let level = exp(state.level);
        WatchState {
            last_value: exp(state.last_value),
            level,
            scale: level * state.scale,
            baseline: exp(state.baseline),
            trend_per_hour: level * state.trend_per_hour,
            ..state
        }
    }
}

/// The exponential, kept finite.
fn exp(x: f64) -> f64 {
    x.exp().min(f64::MAX / 4.0)
}

#[cfg(test)]
mod tests {
    use layer5_core::Timestamp;

    use super::*;

    #[test]
    fn a_doubling_comes_back_as_a_doubling() {
        let at = Timestamp::EPOCH;
        let step = Finding {
            kind: PatternKind::ChangePoint,
            detail: Detail::Level,
            start: at,
            end: at,
            detected_at: at,
            score: 1.0,
            confidence: 1.0,
            direction: Direction::Up,
            magnitude: 2_f64.ln(),
            baseline: 50_f64.ln(),
        };
        let back = Scale::Log.finding(step);
        assert!((back.baseline - 50.0).abs() < 1e-9 && (back.magnitude - 50.0).abs() < 1e-9);
        let halved = Scale::Log.finding(Finding {
            direction: Direction::Down,
            ..step
        });
        assert!((halved.magnitude - 25.0).abs() < 1e-9);
        assert_eq!(Scale::Linear.finding(step), step);
    }

    #[test]
    fn amounts_are_watched_by_factors_and_the_rest_as_it_is() {
        assert_eq!(Scale::of(Kpi::LatencyMs.into()), Scale::Log);
        assert_eq!(Scale::of(Kpi::Accuracy.into()), Scale::Linear);
        assert_eq!(Scale::of(MetricId(77)), Scale::Linear);
        assert!(!Scale::Log.watched(-1.0).is_finite());
        assert_eq!(Scale::Log.watched(0.0), 0.0);
    }
}
