//! How well the planted truth was found: recall and delay per kind, precision over all.
//! In: the truth, the settings that were changed, and Layer5's findings from `GET /api/v1/patterns`. Out: a [`Score`].
//! Called from: `cli/demo`.
//! The rule. A finding lies in an incident's window when its agent is the incident's, its metric is one the incident
//! shows in, and `start <= detected_at <= end + GRACE`. It *finds* the incident when its kind is one that the
//! incident's kind is found by ([`finds`]); an incident is found once, by the earliest such finding. A finding in the
//! window of an incident or of a change of setting (on latency) is true whatever its kind; every other anomaly,
//! change point, flat line or silence is a false alarm. Trends, seasons and correlations are not alarms: a fleet has
//! a day, so they are right as often as they are found, and count for neither side.
//! Invariants: `matched + explained + false_alarms` is the number of alarms.

use layer5_core::{Direction, Finding, PatternEvent, PatternKind, event::Detail};

use super::{
    changes::Change,
    clock::STEP_SECONDS,
    truth::{GRACE, Incident, Kind, Metric},
    world::World,
};

/// How one kind of incident fared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KindScore {
    /// Which kind.
    pub kind: Kind,
    /// How many were planted in the steps that were sent.
    pub planted: usize,
    /// How many of them were found.
    pub found: usize,
    /// Median steps (samples of the agent) from the start to the finding; `None` when none was found.
    pub delay_steps: Option<f64>,
}

impl KindScore {
    /// The share that was found; `None` when none was planted.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        (self.planted > 0).then(|| self.found as f64 / self.planted as f64)
    }

    /// Median simulated minutes from the start to the finding.
    #[must_use]
    pub fn delay_minutes(&self) -> Option<f64> {
        self.delay_steps.map(|steps| steps * STEP_SECONDS / 60.0)
    }
}

/// How a run fared.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Score {
    /// One row per kind that was planted.
    pub kinds: Vec<KindScore>,
    /// Alarms in the window of an incident.
    pub matched: usize,
    /// Alarms in the window of a changed setting.
    pub explained: usize,
    /// All other alarms.
    pub false_alarms: usize,
    /// Findings of other kinds.
    pub not_alarms: usize,
    /// The false alarms in order of discovery, for whoever wants to know why.
    pub false_findings: Vec<PatternEvent>,
    /// Incidents that were not found.
    pub missed: Vec<Incident>,
}

impl Score {
    /// The share of true alarms, those explained by changed settings among them; `None` without alarms.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        share(self.matched + self.explained, self.false_alarms)
    }

    /// The share of true alarms when those explained by changed settings count for neither side.
    #[must_use]
    pub fn precision_on_incidents(&self) -> Option<f64> {
        share(self.matched, self.false_alarms)
    }
}

fn share(right: usize, wrong: usize) -> Option<f64> {
    (right + wrong > 0).then(|| right as f64 / (right + wrong) as f64)
}

/// Scores `findings` of a run of which the first `steps` steps were sent.
///
/// # Cost
/// O(findings * (incidents + changes)).
#[must_use]
pub fn score(world: &World, changes: &[Change], findings: &[PatternEvent], steps: usize) -> Score {
    let incidents = world.truth().incidents();
    let mut first_found: Vec<Option<f64>> = vec![None; incidents.len()];
    let mut score = Score::default();
    for event in findings {
        let finding = &event.finding;
        let at = world.clock().step_of(finding.detected_at);
        let agent = world.index_of(&event.agent_id);
        let mut matched = false;
        for (incident, first) in incidents.iter().zip(&mut first_found) {
            if agent != Some(incident.agent) || !in_window(incident, &event.metric, at) {
                continue;
            }
            // What the settings did to the agent's latency at that time may be the louder half of the truth.
            matched = true;
            if finds(incident.kind, finding) {
                let delay = at - incident.start as f64;
                *first = Some(first.map_or(delay, |before| before.min(delay)));
            }
        }
        let explained = || {
            event.metric == Metric::Latency.name()
                && changes.iter().any(|change| {
                    Some(change.agent) == agent && within(at, change.step, change.step)
                })
        };
        match (is_alarm(finding), matched) {
            (false, _) => score.not_alarms += 1,
            (true, true) => score.matched += 1,
            (true, false) if explained() => score.explained += 1,
            (true, false) => {
                score.false_alarms += 1;
                score.false_findings.push(event.clone());
            }
        }
    }
    // A run that was cut short owes only what it had the time to find.
    let owed: Vec<(&Incident, Option<f64>)> = incidents
        .iter()
        .zip(first_found)
        .filter(|(incident, _)| incident.kind == Kind::BadAgent || incident.end + GRACE <= steps)
        .collect();
    score.kinds = Kind::ALL
        .into_iter()
        .filter_map(|kind| kind_score(kind, &owed))
        .collect();
    let missed = owed.iter().filter(|(_, first)| first.is_none());
    score.missed = missed.map(|(incident, _)| (*incident).clone()).collect();
    score
}

/// Whether a finding of this sort says that an incident of `kind` has happened.
#[must_use]
pub fn finds(kind: Kind, finding: &Finding) -> bool {
    use PatternKind::{Anomaly, ChangePoint, Cluster, Discord, ForecastBreach, Template, Trend};
    let up = finding.direction != Direction::Down;
    match kind {
        Kind::Spike => matches!(finding.kind, Anomaly | Template | Discord) && up,
        Kind::LevelShift => finding.kind == ChangePoint && up,
        Kind::Silence => matches!(finding.detail, Detail::Missing { .. }),
        Kind::Stuck => matches!(finding.detail, Detail::Flatline),
        Kind::Slow => matches!(finding.kind, Anomaly | ChangePoint) && up,
        Kind::Drift => matches!(finding.kind, Trend | ChangePoint | ForecastBreach) && up,
        Kind::BadAgent => finding.kind == Cluster,
    }
}

fn is_alarm(finding: &Finding) -> bool {
    matches!(
        finding.kind,
        PatternKind::Anomaly | PatternKind::ChangePoint
    ) || matches!(finding.detail, Detail::Flatline | Detail::Missing { .. })
}

fn in_window(incident: &Incident, metric: &str, at: f64) -> bool {
    // Silence and a bad agent may be told of the agent as a whole, without a metric.
    let metric_fits = incident.metrics.iter().any(|m| m.name() == metric) || metric.is_empty();
    metric_fits && within(at, incident.start, incident.end)
}

fn within(at: f64, start: usize, end: usize) -> bool {
    at >= start as f64 && at <= (end + GRACE) as f64
}

fn kind_score(kind: Kind, owed: &[(&Incident, Option<f64>)]) -> Option<KindScore> {
    let of_kind = || owed.iter().filter(|(incident, _)| incident.kind == kind);
    let planted = of_kind().count();
    let mut delays: Vec<f64> = of_kind().filter_map(|(_, delay)| *delay).collect();
    delays.sort_by(f64::total_cmp);
    (planted > 0).then(|| KindScore {
        kind,
        planted,
        found: delays.len(),
        delay_steps: median(&delays),
    })
}

fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use layer5_core::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::standin::{clock::FleetClock, truth::Truth};

    fn world() -> World {
        let now = Timestamp::from_millis(1_795_436_298_000);
        let clock = FleetClock::ending_before(now, 2400);
        World::new(7, 60, clock, Truth::draw(7, 60, 2400))
    }

    fn event(
        world: &World,
        agent: usize,
        metric: &str,
        step: f64,
        kind: PatternKind,
    ) -> PatternEvent {
        let at = world.clock().at(0).plus_seconds(step * STEP_SECONDS);
        PatternEvent {
            id: 0,
            agent_id: world.agents()[agent].id.clone(),
            metric: metric.to_owned(),
            finding: Finding {
                kind,
                detail: Detail::Plain,
                start: at,
                end: at,
                detected_at: at,
                score: 1.0,
                confidence: 1.0,
                direction: Direction::Up,
                magnitude: 1.0,
                baseline: 1.0,
            },
            explanation: String::new(),
        }
    }

    fn first(world: &World, kind: Kind) -> Incident {
        let found = world.truth().incidents().iter().find(|i| i.kind == kind);
        found.expect("a full run has every kind").clone()
    }

    #[test]
    fn the_window_has_two_ends_and_one_agent_and_metric() {
        let world = world();
        let shift = first(&world, Kind::LevelShift);
        let metric = shift.metrics[0].name();
        let last = (shift.end + GRACE) as f64;
        let other = shift.agent.wrapping_add(1) % 60;
        for (agent, metric, step, is_true) in [
            (shift.agent, metric, shift.start as f64, true),
            (shift.agent, metric, shift.start as f64 - 0.5, false),
            (shift.agent, metric, last, true),
            (shift.agent, metric, last + 0.5, false),
            (shift.agent, "accuracy", shift.start as f64, false),
            (other, metric, shift.start as f64, false),
        ] {
            let event = event(&world, agent, metric, step, PatternKind::ChangePoint);
            let score = score(&world, &[], &[event], 2400);
            assert_eq!(
                (score.matched, score.false_alarms),
                (is_true.into(), (!is_true).into())
            );
        }
    }

    #[test]
    fn recall_and_delay_are_of_the_first_finding_that_fits() {
        let world = world();
        let shift = first(&world, Kind::LevelShift);
        let at = |steps: f64, kind: PatternKind| {
            let metric = shift.metrics[0].name();
            event(
                &world,
                shift.agent,
                metric,
                shift.start as f64 + steps,
                kind,
            )
        };
        let findings = [
            at(2.0, PatternKind::Anomaly),
            at(9.0, PatternKind::ChangePoint),
            at(6.0, PatternKind::ChangePoint),
            at(7.0, PatternKind::Seasonality),
        ];
        let score = score(&world, &[], &findings, 2400);
        assert_eq!((score.matched, score.not_alarms), (3, 1));
        let row = score
            .kinds
            .iter()
            .find(|k| k.kind == Kind::LevelShift)
            .expect("planted");
        assert_eq!((row.found, row.delay_steps), (1, Some(6.0)));
        assert_eq!(row.delay_minutes(), Some(30.0));
        assert_eq!(row.recall(), Some(1.0 / row.planted as f64));
        assert!(!score.missed.contains(&shift));
    }

    #[test]
    fn changed_settings_explain_latency_and_nothing_else() {
        let now = Timestamp::from_millis(1_795_436_298_000);
        let clock = FleetClock::ending_before(now, 2400);
        let world = World::new(7, 2, clock, Truth::quiet(2));
        let change = Change {
            optimization_id: Uuid::nil(),
            agent: 1,
            step: 100,
            improvement: 0.2,
            expected: 0.1,
        };
        for (agent, metric, step, explained) in [
            (1, "latency_ms", 110.0, 1),
            (1, "cpu_usage", 110.0, 0),
            (0, "latency_ms", 110.0, 0),
            (1, "latency_ms", 99.0, 0),
        ] {
            let event = event(&world, agent, metric, step, PatternKind::Anomaly);
            let score = score(&world, std::slice::from_ref(&change), &[event], 2400);
            assert_eq!(score.explained, explained);
            assert_eq!(score.false_alarms, 1 - explained);
            assert_eq!(score.precision(), Some(explained as f64));
        }
    }

    #[test]
    fn a_run_cut_short_owes_what_it_had_the_time_to_find() {
        let world = world();
        let shift = first(&world, Kind::LevelShift);
        let owed = |steps: usize| {
            let missed = score(&world, &[], &[], steps).missed;
            missed.contains(&shift)
        };
        assert!(owed(shift.end + GRACE));
        assert!(!owed(shift.end + GRACE - 1));
        assert_eq!(score(&world, &[], &[], 0).precision(), None);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 8.0]), Some(3.0));
    }
}
