//! Same log, same decisions and findings, on any number of shards and from any snapshot. The refinery is driven without
//! threads, sockets or disk: one run of a seeded fleet writes a log (what was reported, what the tuner decided was
//! delivered, what was asked and told), and every other run is fed that log.

use std::collections::BTreeMap;

use layer5_core::{
    AgentId, MetricId, Outcome, Quality, Sample, SeriesId, Timestamp,
    codec::{self, Format},
};
use layer5_ingest::{Arrival, ReportKey, shard_of};
use layer5_patterns::WatchConfig;
use layer5_server::{
    config::{CohortConfig, parse},
    refinery::{Decision, Found, Roles, Shard, Tuner, incidents::IncidentView, shard::SavedAgent},
    store::{Ask, Control, EvolutionFeedback},
};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;
use uuid::Uuid;

const AGENTS: u32 = 16;
const ROUNDS: i64 = 700;
/// Rounds between two ticks: a snapshot falls in the middle as well as on one.
const TICK_EVERY: i64 = 4;
const SNAPSHOT: Format = Format {
    kind: 200,
    version: 1,
};

const COHORT: &str = r#"
[[cohort]]
name = "fleet"
agents = "agent_*"
seed = 3
window_len = 8
settle_len = 2
canary_share = 0.3
trials_max = 12
[[cohort.parameter]]
name = "concurrency"
type = "int"
low = 1.0
high = 32.0
log = true
initial = 4.0
[[cohort.parameter]]
name = "timeout_s"
type = "float"
low = 0.5
high = 8.0
initial = 2.0
"#;

/// One group of the log, as the committer feeds it.
#[derive(Clone, Debug, Default)]
struct Entry {
    at: Timestamp,
    joined: Vec<(AgentId, String)>,
    controls: Vec<Control>,
    arrivals: Vec<Arrival>,
    tick: bool,
}

fn cohorts() -> Vec<(CohortConfig, (usize, Option<usize>))> {
    let config = parse("the test", COHORT).expect("a legal configuration");
    config.check().expect("a legal configuration");
    config
        .cohort
        .into_iter()
        .map(|cohort| (cohort, (0, Some(1))))
        .collect()
}

fn roles() -> Roles {
    Roles {
        metrics: vec![MetricId(0), MetricId(1)],
    }
}

/// Shards and tuner, driven by hand.
struct Refinery {
    shards: Vec<Shard>,
    tuner: Tuner,
    newest: Timestamp,
    decisions: Vec<String>,
    findings: Vec<String>,
}

impl Refinery {
    fn new(n_shards: usize) -> Self {
        let tuner = Tuner::new(cohorts()).expect("a legal space");
        Self::with(n_shards, tuner)
    }

    fn with(n_shards: usize, tuner: Tuner) -> Self {
        let shard = || Shard::new(WatchConfig::default(), true, roles());
        let shards = (0..n_shards).map(|_| shard()).collect();
        Self {
            shards,
            tuner,
            newest: Timestamp::MIN,
            decisions: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// The snapshot and the restart: everything passes through bytes, and the agents are dealt out anew.
    fn restarted(self, n_shards: usize) -> Self {
        let bytes: Vec<Vec<u8>> = self
            .shards
            .iter()
            .flat_map(|s| s.save(8).map(|agents| codec::encode(SNAPSHOT, &agents)))
            .collect();
        let tuner = codec::encode(SNAPSHOT, &self.tuner);
        let tuner = codec::decode(SNAPSHOT, &tuner).expect("what was just written");
        let mut next = Self::with(n_shards, tuner);
        for part in bytes {
            let saved: Vec<SavedAgent> =
                codec::decode(SNAPSHOT, &part).expect("what was just written");
            for agent in saved {
                next.newest = next.newest.max(agent.newest());
                next.shards[shard_of(agent.agent(), n_shards)].restore([agent]);
            }
        }
        (next.decisions, next.findings) = (self.decisions, self.findings);
        next
    }

    fn feed(&mut self, entry: &Entry) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for (agent, name) in &entry.joined {
            self.tuner.join(*agent, name);
            self.tuner
                .moved_to(*agent, &format!("node-{}", agent.0 / 8));
        }
        for control in &entry.controls {
            self.tuner.control(control, entry.at, &mut decisions);
        }
        let n_shards = self.shards.len();
        let mut found = Vec::new();
        let newest = entry.arrivals.iter().map(|arrival| arrival.sample.at).max();
        self.newest = self.newest.max(newest.unwrap_or(Timestamp::MIN));
        for arrival in &entry.arrivals {
            self.shards[shard_of(arrival.agent, n_shards)].step(arrival, &mut found);
        }
        if entry.tick {
            let (mut readings, mut symptoms) = (Vec::new(), Vec::new());
            let before = decisions.len();
            // The last shard tells first: who is faster must not matter.
            for shard in self.shards.iter_mut().rev() {
                let mut mine = Vec::new();
                shard.tick(self.newest, &mut mine, &mut symptoms, &mut found);
                readings.extend(mine);
            }
            readings.sort_unstable_by_key(|reading| reading.agent);
            self.tuner
                .tick(&readings, &roles(), entry.at, &mut decisions);
            self.tuner
                .notice(symptoms, &decisions[before..], self.newest);
        }
        let mut found: Vec<String> = found
            .iter()
            .map(|found: &Found| format!("{found:?}"))
            .collect();
        found.sort();
        self.findings.extend(found);
        self.decisions
            .extend(decisions.iter().map(|decision| format!("{decision:?}")));
        decisions
    }

    fn run(mut self, log: &[Entry]) -> Self {
        for entry in log {
            self.feed(entry);
        }
        self
    }
}

fn at(round: i64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000 + round * 60_000)
}

/// The latency of an agent with this setting at this time, and its accuracy.
fn behaviour(agent: u32, setting: (f64, f64), round: i64, rng: &mut Pcg64Mcg) -> (f64, f64) {
    let (concurrency, timeout) = setting;
    let miss = (concurrency / 12.0).ln().powi(2) * 0.2 + (timeout / 4.0).ln().powi(2) * 0.1;
    let incident = match agent {
        // A step that stays, a spike now and then, a drift.
        2 if round > 300 => 1.8,
        5 if round % 97 == 0 => 6.0,
        7 => 1.0 + round as f64 / 1000.0,
        _ => 1.0,
    };
    let noise = 1.0 + 0.02 * (rng.random::<f64>() - 0.5);
    let accuracy = 0.95 + 0.01 * (rng.random::<f64>() - 0.5);
    (50.0 * (1.0 + miss) * incident * noise, accuracy)
}

/// A run with one shard, in which what is decided is delivered; its log.
fn log_of_a_fleet() -> (Vec<Entry>, Refinery) {
    let mut rng = Pcg64Mcg::seed_from_u64(11);
    let mut refinery = Refinery::new(1);
    let mut settings: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    let mut delivered = Vec::new();
    let mut log = Vec::new();
    for round in 0..ROUNDS {
        let mut entry = Entry {
            at: at(round),
            tick: round % TICK_EVERY == 0,
            ..Entry::default()
        };
        entry.controls = std::mem::take(&mut delivered);
        entry.controls.extend(happenings(round));
        let mut order: Vec<u32> = (0..AGENTS).collect();
        order.shuffle(&mut rng);
        for agent in order {
            let name = format!("agent_{agent}");
            if round == i64::from(agent) % 3 {
                entry.joined.push((AgentId(agent), name.clone()));
            }
            // One falls silent for a good while; three join late.
            if round < i64::from(agent) % 3 || agent == 9 && (400..500).contains(&round) {
                continue;
            }
            let setting = *settings.entry(name).or_insert((4.0, 2.0));
            let (latency, accuracy) = behaviour(agent, setting, round, &mut rng);
            entry
                .arrivals
                .extend(report(agent, round, &[latency, accuracy]));
        }
        for decision in refinery.feed(&entry) {
            let Decision::Recommend(stored) = decision else {
                continue;
            };
            let recommendation = stored.recommendation;
            let parameter = |name: &str| recommendation.parameters[name];
            let setting = (parameter("concurrency"), parameter("timeout_s"));
            settings.insert(recommendation.agent_id.clone(), setting);
            let optimization_id = recommendation.optimization_id;
            delivered.push(Control::Delivered {
                optimization_id,
                at: entry.at,
            });
        }
        log.push(entry);
    }
    (log, refinery)
}

/// Questions, their outcomes, and what an evolution experiment found.
fn happenings(round: i64) -> Vec<Control> {
    let id = |n: i64| Uuid::from_u128(0x5eed_0000 + n as u128);
    let ask = |agent: &str, algorithm: &str, parameters: &[(&str, f64)]| {
        Control::Ask(Ask {
            optimization_id: id(round),
            agent_id: agent.into(),
            algorithm: algorithm.into(),
            parameters: parameters
                .iter()
                .map(|&(name, x)| (name.to_owned(), x))
                .collect(),
            at: at(round),
        })
    };
    let told = |of: i64, delta: f64| {
        Control::Feedback(Outcome {
            agent_id: "agent_1".into(),
            optimization_id: id(of),
            success: true,
            performance_delta: delta,
            timestamp: at(round),
        })
    };
    match round {
        50 => vec![ask("stranger", "auto", &[("batch_size", 64.0)])],
        60 => vec![
            told(50, 0.1),
            ask("agent_1", "bandit", &[("concurrency", 4.0)]),
        ],
        70 => vec![told(60, -0.2)],
        350 => vec![ask("stranger", "bayesian", &[("batch_size", 64.0)])],
        360 => vec![told(350, 0.05)],
        365 => vec![ask("agent_1", "tpe", &[])],
        100 => vec![Control::Evolution(EvolutionFeedback {
            experiment_id: "e".into(),
            hyperparameters: [
                ("concurrency".to_owned(), 9.0),
                ("timeout_s".to_owned(), 3.0),
            ]
            .into(),
            best_fitness: 0.7,
            improvement_achieved: 0.2,
            generations_completed: 3,
            total_evaluations: 30,
            timestamp: at(round),
        })],
        _ => Vec::new(),
    }
}

fn report(agent: u32, round: i64, values: &[f64]) -> Vec<Arrival> {
    let each = values.iter().zip(0..).map(|(&value, metric)| Arrival {
        report: ReportKey {
            hi: agent.into(),
            lo: round as u64,
        },
        sample: Sample {
            at: at(round),
            value,
            series: SeriesId(agent * 2 + metric),
            quality: Quality::Good,
        },
        agent: AgentId(agent),
        metric: MetricId(metric),
        request: 0,
        source: 0,
        last_of_report: metric as usize + 1 == values.len(),
        last_of_request: false,
    });
    each.collect()
}

#[track_caller]
fn same(what: &str, expected: &Refinery, got: &Refinery) {
    let first_difference = |a: &[String], b: &[String]| {
        let i = a
            .iter()
            .zip(b)
            .position(|(a, b)| a != b)
            .unwrap_or(a.len().min(b.len()));
        format!(
            "{what}: {} and {}, number {i}:\n{:?}\n{:?}",
            a.len(),
            b.len(),
            a.get(i),
            b.get(i)
        )
    };
    let (a, b) = (&expected.decisions, &got.decisions);
    assert!(a == b, "decisions, {}", first_difference(a, b));
    let (a, b) = (&expected.findings, &got.findings);
    assert!(a == b, "findings, {}", first_difference(a, b));
    let (a, b) = (expected.tuner.incidents(), got.tuner.incidents());
    assert_eq!(a, b, "{what}: incidents");
}

#[test]
fn any_number_of_shards_decides_and_finds_the_same() {
    let (log, live) = log_of_a_fleet();
    let count =
        |list: &[String], word: &str| list.iter().filter(|line| line.contains(word)).count();
    assert!(
        count(&live.decisions, "Recommend(") >= 30,
        "{}",
        live.decisions.len()
    );
    assert!(count(&live.decisions, "Evaluated") >= 10);
    assert_eq!(count(&live.decisions, "Answer("), 4);
    assert!(
        count(&live.findings, "ChangePoint") >= 1,
        "{}",
        live.findings.len()
    );
    assert!(
        count(&live.findings, "Missing") >= 1,
        "the silence of agent_9 is told"
    );
    let silent = |view: &IncidentView| view.picture.first.agent == AgentId(9);
    assert!(
        live.tuner.incidents().iter().any(silent),
        "{:?}",
        live.tuner.incidents()
    );
    for n_shards in [1, 2, 5, AGENTS as usize * 4] {
        let replayed = Refinery::new(n_shards).run(&log);
        same(&format!("{n_shards} shards"), &live, &replayed);
    }
}

#[test]
fn a_restart_from_a_snapshot_at_a_tick_goes_on_as_if_nothing_had_been() {
    restarts_change_nothing(|position| position % TICK_EVERY as usize == 1);
}

#[test]
fn a_restart_from_a_snapshot_between_ticks_goes_on_as_if_nothing_had_been() {
    restarts_change_nothing(|position| position % TICK_EVERY as usize == 3);
}

/// Restarts at some positions of the log that `fit`, each on another number of shards.
fn restarts_change_nothing(fit: impl Fn(usize) -> bool) {
    let (log, live) = log_of_a_fleet();
    // Early; in the midst of trials, asks and a silence; late.
    let near = [10, 352, 410, 495, 690];
    let positions: Vec<usize> = near
        .iter()
        .filter_map(|&from| (from..).find(|&p| fit(p)))
        .collect();
    for &position in &positions {
        let (before, after) = log.split_at(position);
        let restarted = Refinery::new(2).run(before).restarted(3).run(after);
        same(&format!("one restart at {position}"), &live, &restarted);
    }
    let mut often = Refinery::new(1);
    let mut from = 0;
    for (&position, n_shards) in positions.iter().zip([5, 2, 1, 4, 3]) {
        often = often.run(&log[from..position]).restarted(n_shards);
        from = position;
    }
    same("many restarts", &live, &often.run(&log[from..]));
}
