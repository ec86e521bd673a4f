//! The limits, the numbers and the way back from a store, against plain maps.

use proptest::prelude::*;

use layer5_core::{Rejection, Shape, Timestamp, Value};

use super::*;

fn report<'a>(agent: &'a str, metrics: &[&'a str]) -> Report<'a> {
    Report {
        agent_id: agent.into(),
        task_id: "t".into(),
        recorded_at: Timestamp::EPOCH,
        shape: Shape::Batch,
        hostname: None,
        values: metrics
            .iter()
            .map(|&name| Value {
                metric: MetricName::from(name),
                value: 1.0,
            })
            .collect(),
    }
}

/// Registers a report and returns agent, metrics and series as plain numbers.
fn intern(names: &mut Names, agent: &str, metrics: &[&str]) -> (u32, Vec<(u32, u32)>) {
    let mut out = Resolved::default();
    let limits = CardinalityLimits::default();
    names
        .intern_report(&report(agent, metrics), &limits, &mut out)
        .expect("room");
    (
        out.agent.0,
        out.series.iter().map(|(m, s)| (m.0, s.0)).collect(),
    )
}

fn counts(names: &Names) -> (usize, usize, usize) {
    (names.n_agents(), names.n_metrics(), names.n_series())
}

#[test]
fn numbers_count_up_and_lead_back() {
    let mut names = Names::new(1);
    let a = intern(&mut names, "a", &["x", "accuracy", "y"]);
    assert_eq!(a, (0, vec![(5, 0), (1, 1), (6, 2)]));
    let b = intern(&mut names, "b", &["y", "x", "latency_ms"]);
    assert_eq!(b, (1, vec![(6, 3), (5, 4), (0, 5)]));
    assert_eq!(intern(&mut names, "a", &["x", "accuracy", "y"]), a);
    assert_eq!(counts(&names), (2, 7, 6));
    assert_eq!(names.agent_name(AgentId(1)), "b");
    assert_eq!(names.metric_name(MetricId(6)), "y");
    let key = SeriesKey {
        agent: AgentId(1),
        metric: MetricId(5),
    };
    assert_eq!(names.series_key(SeriesId(4)), key);
    let of_b: Vec<_> = names
        .series_of(AgentId(1))
        .map(|(m, s)| (m.0, s.0))
        .collect();
    assert_eq!(of_b, [(0, 5), (5, 4), (6, 3)]);
}

#[test]
fn a_known_report_is_resolved_by_reading() {
    let mut names = Names::new(1);
    intern(&mut names, "a", &["x", "accuracy"]);
    let mut out = Resolved::default();
    assert!(names.resolve_report(&report("a", &["accuracy", "x"]), &mut out));
    assert_eq!(
        out.series,
        [(MetricId(1), SeriesId(1)), (MetricId(5), SeriesId(0))]
    );
    for unknown in [
        report("b", &["x"]),
        report("a", &["y"]),
        report("a", &["cpu_usage"]),
    ] {
        assert!(!names.resolve_report(&unknown, &mut out));
    }
}

#[test]
fn a_host_is_news_once() {
    let mut names = Names::new(1);
    intern(&mut names, "a", &["x"]);
    let mut with_host = report("a", &["x"]);
    with_host.hostname = Some("h1".into());
    let mut out = Resolved::default();
    assert!(names.resolve_report(&with_host, &mut out) && out.host_changed);
    assert!(names.set_host(out.agent, "h1"));
    assert!(!names.set_host(out.agent, "h1"));
    assert!(names.resolve_report(&with_host, &mut out) && !out.host_changed);
    // A report without a host says nothing about it.
    assert!(names.resolve_report(&report("a", &["x"]), &mut out) && !out.host_changed);
    assert_eq!(names.host(AgentId(0)), Some("h1"));
}

#[test]
fn a_limit_that_is_broken_registers_nothing() {
    let limits = CardinalityLimits {
        agents_max: 2,
        metrics_max: 7,
        series_max: 5,
        metrics_per_agent_max: 3,
    };
    let mut names = Names::new(1);
    let mut out = Resolved::default();
    let mut check = |agent: &str, metrics: &[&str], expected: Result<(), &str>| {
        let before = counts(&names);
        let got = names.intern_report(&report(agent, metrics), &limits, &mut out);
        let got = got.map_err(|e| Rejection::from(e).to_string());
        assert_eq!(got, expected.map_err(str::to_owned));
        if expected.is_err() {
            assert_eq!(counts(&names), before);
        }
    };
    check("a", &["x", "y", "latency_ms"], Ok(()));
    check(
        "a",
        &["x", "accuracy"],
        Err(
            "cardinality: accuracy: metric accuracy is new for an agent with 3, the limit \
             (metrics_per_agent_max)",
        ),
    );
    check(
        "b",
        &["x", "z"],
        Err("cardinality: z: metric z is new and 7 metrics are known, the limit (metrics_max)"),
    );
    check(
        "b",
        &["x", "y", "accuracy"],
        Err(
            "cardinality: accuracy: a series of metric accuracy is new and 5 series are known, \
             the limit (series_max)",
        ),
    );
    // One name twice needs one place.
    check("b", &["x", "y", "x"], Ok(()));
    check(
        "c",
        &["x"],
        Err("cardinality: agent_id: agent c is new and 2 agents are known, the limit (agents_max)"),
    );
    // Known series keep flowing.
    check("a", &["x", "y", "latency_ms"], Ok(()));
}

#[test]
fn damaged_tables_are_refused() {
    let mut names = Names::new(1);
    let twice = |kind, found| Err(RestoreError::Twice { kind, found });
    assert_eq!(
        names.restore_agent(AgentId(1), "a"),
        Err(RestoreError::OutOfOrder {
            kind: "agent",
            found: 1,
            expected: 0
        })
    );
    assert_eq!(names.restore_agent(AgentId(0), "a"), Ok(()));
    assert_eq!(names.restore_agent(AgentId(1), "a"), twice("agent", 1));
    assert_eq!(names.restore_metric(MetricId(0), "latency_ms"), Ok(()));
    assert_eq!(
        names.restore_metric(MetricId(1), "latency_ms"),
        twice("metric", 1)
    );
    assert_eq!(names.restore_metric(MetricId(5), "x"), Ok(()));
    assert_eq!(names.restore_metric(MetricId(5), "x"), twice("metric", 5));
    let key = |agent, metric| SeriesKey {
        agent: AgentId(agent),
        metric: MetricId(metric),
    };
    let dangling = Err(RestoreError::Dangling { found: 0 });
    assert_eq!(names.restore_series(SeriesId(0), key(1, 0)), dangling);
    assert_eq!(names.restore_series(SeriesId(0), key(0, 6)), dangling);
    assert_eq!(names.restore_series(SeriesId(0), key(0, 5)), Ok(()));
    assert_eq!(
        names.restore_series(SeriesId(1), key(0, 5)),
        twice("series", 1)
    );
}

proptest! {
    #[test]
    fn restored_names_are_the_same_names(reports in prop::collection::vec(("[a-f]", prop::collection::vec("[a-h]|accuracy", 1..5)), 0..40)) {
        let mut names = Names::new(1);
        for (agent, metrics) in &reports {
            let metrics: Vec<&str> = metrics.iter().map(String::as_str).collect();
            intern(&mut names, agent, &metrics);
        }
        // Another seed, and in two parts, as from a log that was written while names were added.
        let mut again = Names::new(2);
        for part in 0..2 {
            let rest = |n: usize| if part == 0 { n / 2 } else { usize::MAX };
            let n_agents = again.n_agents();
            for (id, name) in names.agents_from(n_agents).take(rest(names.n_agents())) {
                prop_assert_eq!(again.restore_agent(id, name), Ok(()));
            }
            let n_metrics = again.n_metrics();
            for (id, name) in names.metrics_from(n_metrics) {
                prop_assert_eq!(again.restore_metric(id, name), Ok(()));
            }
            let n_series = again.n_series();
            for (id, key) in names.series_from(n_series) {
                if key.agent.index() < again.n_agents() {
                    prop_assert_eq!(again.restore_series(id, key), Ok(()));
                } else {
                    break;
                }
            }
        }
        prop_assert_eq!(counts(&again), counts(&names));
        for (agent, metrics) in &reports {
            let metrics: Vec<&str> = metrics.iter().map(String::as_str).collect();
            let (mut a, mut b) = (Resolved::default(), Resolved::default());
            prop_assert!(names.resolve_report(&report(agent, &metrics), &mut a));
            prop_assert!(again.resolve_report(&report(agent, &metrics), &mut b));
            prop_assert_eq!(a, b);
        }
    }
}
