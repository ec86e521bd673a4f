//! One outage is one incident: the stand-in fleet lives through a planted outage of all its agents, and what the shards
//! find becomes a single incident with the agent that was hit first, however the agents are dealt out.

use layer5_core::{AgentId, Kpi, MetricId, Quality, Sample, SeriesId, Timestamp};
use layer5_ingest::{Arrival, ReportKey, shard_of};
use layer5_patterns::{Severity, WatchConfig};
use layer5_server::{
    refinery::{Roles, Shard, Tuner, incidents::IncidentView},
    standin::{
        agent::Agent,
        surface::Surface,
        truth::{Metric, Truth},
    },
};

const AGENTS: usize = 200;
const SEED: u64 = 5;
/// Five-minute steps: two days to learn, then the outage.
const STEPS: usize = 800;
const START: usize = 620;
const END: usize = 680;
const FIRST: usize = 137;
const LEAD: usize = 3;
const STEP_SECONDS: i64 = 300;

fn metric_id(metric: Metric) -> MetricId {
    match metric {
        Metric::Latency => Kpi::LatencyMs.into(),
        Metric::Accuracy => Kpi::Accuracy.into(),
        Metric::Cpu => Kpi::CpuUsage.into(),
        Metric::Memory => Kpi::MemoryMb.into(),
        Metric::Network => Kpi::NetworkBytes.into(),
        Metric::Queue => MetricId(50),
    }
}

fn at(step: usize, agent: usize) -> Timestamp {
    // Agents report one after the other, as the fleet does.
    let within = STEP_SECONDS * 1000 * agent as i64 / AGENTS as i64;
    Timestamp::from_millis(1_795_000_000_000 + step as i64 * STEP_SECONDS * 1000 + within)
}

/// The incidents that a fleet's life makes, and how many findings went into it.
fn incidents(truth: &Truth, n_shards: usize) -> (Vec<IncidentView>, usize) {
    let surface = Surface::draw(SEED);
    let mut agents: Vec<Agent> = (0..AGENTS).map(|i| Agent::new(SEED, i, &surface)).collect();
    let roles = Roles::default();
    let mut shards: Vec<Shard> = (0..n_shards)
        .map(|_| Shard::new(WatchConfig::default(), true, roles.clone()))
        .collect();
    let mut tuner = Tuner::new(Vec::new()).expect("no cohort is a legal set of them");
    for (i, agent) in agents.iter().enumerate() {
        tuner.join(AgentId(i as u32), &agent.id);
        tuner.moved_to(AgentId(i as u32), &agent.hostname);
    }
    let (mut found, mut decisions) = (Vec::new(), Vec::new());
    for step in 0..STEPS {
        for (i, agent) in agents.iter_mut().enumerate() {
            let Some(readings) = agent.read(step, &truth.effects(i, step)) else {
                continue;
            };
            let shard = &mut shards[shard_of(AgentId(i as u32), n_shards)];
            for metric in Metric::ALL {
                let series = SeriesId((i * Metric::ALL.len() + metric as usize) as u32);
                let arrival = Arrival {
                    report: ReportKey {
                        hi: i as u64,
                        lo: step as u64,
                    },
                    sample: Sample {
                        at: at(step, i),
                        value: readings[metric as usize],
                        series,
                        quality: Quality::Good,
                    },
                    agent: AgentId(i as u32),
                    metric: metric_id(metric),
                    source: 0,
                    request: 0,
                    last_of_report: metric == Metric::Queue,
                    last_of_request: false,
                };
                shard.step(&arrival, &mut found);
            }
        }
        let newest = at(step, AGENTS - 1);
        let (mut readings, mut symptoms) = (Vec::new(), Vec::new());
        for shard in shards.iter_mut().rev() {
            let mut mine = Vec::new();
            shard.tick(newest, &mut mine, &mut symptoms, &mut found);
            readings.extend(mine);
        }
        readings.sort_unstable_by_key(|reading| reading.agent);
        decisions.clear();
        tuner.tick(&readings, &roles, newest, &mut decisions);
        tuner.notice(symptoms, &decisions, newest);
    }
    (tuner.incidents(), found.len())
}

#[test]
fn one_outage_of_two_hundred_agents_is_one_incident_with_the_right_first_mover() {
    let truth = Truth::quiet(AGENTS).with_outage(START, END, FIRST, LEAD);
    let (views, n_found) = incidents(&truth, 3);
    assert!(n_found > 4 * AGENTS, "{n_found} findings");
    let told: Vec<&IncidentView> = views
        .iter()
        .filter(|view| view.picture.n_agents >= AGENTS / 10)
        .collect();
    let [outage] = told[..] else {
        panic!(
            "{} incidents of a tenth of the fleet: {told:#?}",
            told.len()
        );
    };
    let picture = &outage.picture;
    assert!(picture.n_agents >= AGENTS - 2, "{picture:#?}");
    assert_eq!(picture.severity, Severity::Critical);
    assert_eq!(picture.first.agent, AgentId(FIRST as u32), "{picture:#?}");
    assert_eq!(outage.first_host.as_deref(), Some("node-18"));
    // Half of the agents report in the first half of the step.
    let lead =
        (LEAD as f64 - 1.0) * STEP_SECONDS as f64..=(LEAD as f64 + 1.0) * STEP_SECONDS as f64;
    assert!(lead.contains(&picture.first.lead_seconds), "{picture:#?}");
    assert!(picture.start >= at(START - LEAD - 6, 0), "{picture:#?}");
    // The end of the outage is its recovery, not another one.
    assert!(2 * picture.n_recovered > picture.n_series, "{picture:#?}");
    // What else is told in two and a half days of 1200 quiet series are false alarms that happen to meet.
    let others = views
        .iter()
        .filter(|v| v.picture.severity > Severity::Notice)
        .count()
        - 1;
    assert!(others <= 5, "{others} others");
}

#[test]
fn any_number_of_shards_tells_the_same_incidents() {
    let truth = Truth::draw(SEED, AGENTS, STEPS).with_outage(START, END, FIRST, LEAD);
    let (one, _) = incidents(&truth, 1);
    let (five, _) = incidents(&truth, 5);
    assert_eq!(one, five);
    assert!(one.iter().any(|view| view.picture.n_agents >= AGENTS - 10));
}
