//! The planted truth: which incidents befall which agent and when, drawn from the seed before the run starts.
//! In: the seed and the size of the run. Out: a [`Truth`], which the fleet reads to distort its readings and the
//! score reads to judge what Layer5 found. Layer5 never sees it.
//! Invariants: every incident starts after the warm-up and ends early enough to be found; incidents of one agent
//! never overlap and keep `APART` steps between them; the bad agent has no other incident.

use rand::{RngExt, seq::SliceRandom};
use rand_pcg::Pcg64;

use super::noise;

/// No incident before this share of the run, nor before this many steps where the run allows it.
const WARM_UP_SHARE: f64 = 0.2;
const WARM_UP_STEPS: usize = 300;
/// Steps after an incident in which it may still be found: four simulated hours.
pub const GRACE: usize = 48;
/// Steps between two incidents of one agent.
const APART: usize = 150;
/// A level shift stays, but it is news only so long: three simulated hours.
const NEWS: usize = 36;

/// The metrics of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Metric {
    /// `latency_ms`: the one that the parameters move.
    Latency,
    /// `accuracy`.
    Accuracy,
    /// `cpu_usage`.
    Cpu,
    /// `memory_mb`.
    Memory,
    /// `network_bytes`.
    Network,
    /// `queue_depth`, a custom metric.
    Queue,
}

impl Metric {
    /// Every metric; `ALL[m as usize] == m`.
    pub const ALL: [Self; 6] = [
        Self::Latency,
        Self::Accuracy,
        Self::Cpu,
        Self::Memory,
        Self::Network,
        Self::Queue,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency_ms",
            Self::Accuracy => "accuracy",
            Self::Cpu => "cpu_usage",
            Self::Memory => "memory_mb",
            Self::Network => "network_bytes",
            Self::Queue => "queue_depth",
        }
    }
}

/// What can befall an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One or two samples far above their past.
    Spike,
    /// A step up of at least 30 % that stays.
    LevelShift,
    /// Silence for hours.
    Silence,
    /// Values that repeat for hours.
    Stuck,
    /// Latency four times its normal, for hours.
    Slow,
    /// A slow climb over a day or more, such as a leak.
    Drift,
    /// An agent that is worse than its peers from the start.
    BadAgent,
}

impl Kind {
    /// Every kind, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::Spike,
        Self::LevelShift,
        Self::Silence,
        Self::Stuck,
        Self::Slow,
        Self::Drift,
        Self::BadAgent,
    ];

    /// The kind in the table.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Spike => "spike",
            Self::LevelShift => "level shift",
            Self::Silence => "outage: silent",
            Self::Stuck => "outage: stuck value",
            Self::Slow => "outage: latency x4",
            Self::Drift => "drift",
            Self::BadAgent => "bad agent",
        }
    }

    /// The kind in JSON.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Spike => "spike",
            Self::LevelShift => "level_shift",
            Self::Silence => "outage_silent",
            Self::Stuck => "outage_stuck",
            Self::Slow => "outage_slow",
            Self::Drift => "drift",
            Self::BadAgent => "bad_agent",
        }
    }

    /// How many samples of planted exposure there are to one incident of this kind: rarer for the longer ones.
    const fn agent_steps_each(self) -> usize {
        match self {
            Self::Spike => 14_000,
            Self::LevelShift => 18_000,
            Self::Drift => 28_000,
            Self::Silence | Self::Stuck | Self::Slow => 50_000,
            Self::BadAgent => usize::MAX,
        }
    }

    /// The steps that an incident of this kind lasts, as a range.
    const fn steps(self) -> (usize, usize) {
        match self {
            Self::Spike => (1, 3),
            Self::LevelShift => (NEWS, NEWS + 1),
            Self::Silence | Self::Stuck => (48, 96),
            Self::Slow => (36, 72),
            Self::Drift => (288, 432),
            Self::BadAgent => (0, 1),
        }
    }
}

/// One planted incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// What happens.
    pub kind: Kind,
    /// The index of the agent it happens to.
    pub agent: usize,
    /// The metrics that it shows in.
    pub metrics: &'static [Metric],
    /// The first step it shows in.
    pub start: usize,
    /// The first step behind it; of a level shift the step at which it is no longer news.
    pub end: usize,
    /// The factor on the metrics while it lasts (of a drift: at its end); 1 where values are not scaled.
    pub factor: f64,
}

/// What incidents do to one agent in one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effects {
    /// The agent sends nothing.
    pub silent: bool,
    /// Metrics that repeat the value they had when it began.
    pub stuck: bool,
    /// The factor on each metric.
    pub factors: [f64; Metric::ALL.len()],
}

/// Every planted incident of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    incidents: Vec<Incident>,
    by_agent: Vec<Vec<usize>>,
}

/// Metrics that a stuck agent repeats.
pub const STUCK_METRICS: &[Metric] = &[Metric::Cpu, Metric::Memory, Metric::Queue];

/// What an outage of the whole fleet shows in, and how strongly.
const OUTAGE_METRICS: &[Metric] = &[
    Metric::Latency,
    Metric::Memory,
    Metric::Network,
    Metric::Queue,
];
const OUTAGE_FACTOR: f64 = 2.5;

impl Truth {
    /// The incidents of a run of `steps` steps with `agents` agents. Where the run is too short or has too few
    /// agents for a kind, there are fewer of it or none.
    #[must_use]
    pub fn draw(seed: u64, agents: usize, steps: usize) -> Self {
        let mut rng = noise::stream(seed, noise::STREAM_TRUTH);
        let mut truth = Self {
            incidents: Vec::new(),
            by_agent: vec![Vec::new(); agents],
        };
        let mut order: Vec<usize> = (0..agents).collect();
        order.shuffle(&mut rng);
        let warm_up = warm_up(steps);
        let exposure = agents * steps.saturating_sub(warm_up + GRACE);
        if agents >= 8 {
            truth.add(Incident {
                kind: Kind::BadAgent,
                agent: order[agents - 1],
                metrics: &[Metric::Latency, Metric::Queue],
                start: 0,
                end: steps,
                factor: 1.9,
            });
        }
        // Long ones first: they are the hardest to place.
        for kind in [
            Kind::Drift,
            Kind::LevelShift,
            Kind::Silence,
            Kind::Stuck,
            Kind::Slow,
            Kind::Spike,
        ] {
            let wanted = (exposure / kind.agent_steps_each()).max(usize::from(exposure > 0));
            for number in 0..wanted {
                truth.place(kind, number, &order, warm_up, steps, &mut rng);
            }
        }
        truth.incidents.sort_by_key(|i| (i.start, i.agent));
        for (index, incident) in truth.incidents.iter().enumerate() {
            truth.by_agent[incident.agent].push(index);
        }
        truth
    }

    /// A run in which nothing happens.
    #[must_use]
    pub fn quiet(agents: usize) -> Self {
        Self {
            incidents: Vec::new(),
            by_agent: vec![Vec::new(); agents],
        }
    }

    /// Adds an outage of the whole fleet, `start..end`: every agent slows down, the one called `first` already `lead`
    /// steps before. It befalls agents whatever else does.
    #[must_use]
    pub fn with_outage(mut self, start: usize, end: usize, first: usize, lead: usize) -> Self {
        for agent in 0..self.by_agent.len() {
            self.by_agent[agent].push(self.incidents.len());
            self.incidents.push(Incident {
                kind: Kind::Slow,
                agent,
                metrics: OUTAGE_METRICS,
                start: if agent == first { start - lead } else { start },
                end,
                factor: OUTAGE_FACTOR,
            });
        }
        self
    }

    /// The incidents: those drawn in the order of their start, then an added outage.
    #[must_use]
    pub fn incidents(&self) -> &[Incident] {
        &self.incidents
    }

    /// What befalls `agent` in `step`.
    #[must_use]
    pub fn effects(&self, agent: usize, step: usize) -> Effects {
        let mut effects = Effects {
            silent: false,
            stuck: false,
            factors: [1.0; Metric::ALL.len()],
        };
        for incident in self.by_agent[agent].iter().map(|&i| &self.incidents[i]) {
            let stays = matches!(incident.kind, Kind::LevelShift | Kind::Drift);
            if step < incident.start || (step >= incident.end && !stays) {
                continue;
            }
            let share = match incident.kind {
                Kind::Drift => {
                    let length = (incident.end - incident.start) as f64;
                    ((step + 1 - incident.start) as f64 / length).min(1.0)
                }
                _ => 1.0,
            };
            effects.silent |= incident.kind == Kind::Silence;
            effects.stuck |= incident.kind == Kind::Stuck;
            for &metric in incident.metrics {
                effects.factors[metric as usize] *= 1.0 + (incident.factor - 1.0) * share;
            }
        }
        effects
    }

    /// The first agent in `order` with room, so that agents fill up evenly; gives up where there is none.
    fn place(
        &mut self,
        kind: Kind,
        number: usize,
        order: &[usize],
        warm_up: usize,
        steps: usize,
        rng: &mut Pcg64,
    ) {
        let (shortest, longest) = kind.steps();
        let length = rng.random_range(shortest..longest);
        let latest = steps.saturating_sub(length + GRACE);
        if latest <= warm_up {
            return;
        }
        let start = rng.random_range(warm_up..latest);
        let end = start + length;
        let crowd = |agent: usize| self.incidents.iter().filter(|i| i.agent == agent).count();
        let agent = order
            .iter()
            .copied()
            .filter(|&agent| self.has_room(agent, start, end))
            .min_by_key(|&agent| crowd(agent));
        let Some(agent) = agent else { return };
        let (metrics, factor) = shape(kind, number, rng);
        self.add(Incident {
            kind,
            agent,
            metrics,
            start,
            end,
            factor,
        });
    }

    fn has_room(&self, agent: usize, start: usize, end: usize) -> bool {
        self.incidents
            .iter()
            .filter(|incident| incident.agent == agent)
            .all(|incident| start >= incident.end + APART || end + APART <= incident.start)
    }

    fn add(&mut self, incident: Incident) {
        self.incidents.push(incident);
    }
}

/// The first step that may have an incident.
fn warm_up(steps: usize) -> usize {
    let share = (steps as f64 * WARM_UP_SHARE) as usize;
    // In a run too short for the full warm-up, half of it is better than a table without rows.
    share.max(WARM_UP_STEPS.min(steps / 2))
}

/// Where an incident shows, and how strongly.
fn shape(kind: Kind, number: usize, rng: &mut Pcg64) -> (&'static [Metric], f64) {
    use Metric::{Cpu, Latency, Memory, Queue};
    match kind {
        Kind::Spike => (&[Latency, Queue], rng.random_range(2.5..4.0)),
        Kind::LevelShift => {
            let metrics: [&'static [Metric]; 3] = [&[Latency, Queue], &[Memory], &[Cpu, Queue]];
            (metrics[number % 3], rng.random_range(1.4..1.9))
        }
        Kind::Silence => (&Metric::ALL, 1.0),
        Kind::Stuck => (STUCK_METRICS, 1.0),
        Kind::Slow => (&[Latency, Queue], 4.0),
        Kind::Drift => {
            let metrics: [&'static [Metric]; 2] = [&[Memory], &[Latency, Queue]];
            (metrics[number % 2], rng.random_range(1.5..1.8))
        }
        Kind::BadAgent => (&[Latency, Queue], 1.9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(truth: &Truth) -> Vec<usize> {
        Kind::ALL
            .iter()
            .map(|kind| truth.incidents.iter().filter(|i| i.kind == *kind).count())
            .collect()
    }

    #[test]
    fn a_full_run_has_every_kind_and_a_seed_repeats() {
        for seed in 0..20 {
            let truth = Truth::draw(seed, 60, 2400);
            assert_eq!(counts(&truth), [8, 6, 2, 2, 2, 4, 1], "seed {seed}");
            assert_eq!(truth, Truth::draw(seed, 60, 2400));
        }
        assert_ne!(Truth::draw(1, 60, 2400), Truth::draw(2, 60, 2400));
    }

    #[test]
    fn incidents_come_after_the_warm_up_and_never_overlap() {
        for (agents, steps) in [
            (60, 2400),
            (10, 800),
            (3, 400),
            (200, 4800),
            (1, 100),
            (1, 0),
        ] {
            for seed in 0..10 {
                let truth = Truth::draw(seed, agents, steps);
                for (i, a) in truth.incidents.iter().enumerate() {
                    assert!(a.agent < agents && a.start < a.end && a.end <= steps);
                    if a.kind != Kind::BadAgent {
                        assert!(a.start >= steps / 5 && a.end + GRACE <= steps, "{a:?}");
                    }
                    for b in truth.incidents[i + 1..]
                        .iter()
                        .filter(|b| b.agent == a.agent)
                    {
                        assert!(b.start >= a.end + APART || a.start >= b.end + APART);
                    }
                }
            }
        }
    }

    #[test]
    fn effects_are_those_of_the_incidents() {
        let truth = Truth::draw(7, 60, 2400);
        for incident in &truth.incidents {
            let at = |step: usize| truth.effects(incident.agent, step);
            let metric = incident.metrics[0] as usize;
            let last = incident.end - 1;
            match incident.kind {
                Kind::Silence => assert!(at(last).silent && !at(incident.end).silent),
                Kind::Stuck => assert!(at(last).stuck && !at(incident.end).stuck),
                Kind::LevelShift | Kind::Drift | Kind::BadAgent => {
                    // It stays, and whatever else stays there only adds to it.
                    assert!(at(2399).factors[metric] >= incident.factor - 1e-12);
                    assert!((at(last).factors[metric] - incident.factor).abs() < 1e-12);
                }
                Kind::Spike | Kind::Slow => {
                    assert!((at(last).factors[metric] - incident.factor).abs() < 1e-12);
                    assert!((at(incident.end).factors[metric] - 1.0).abs() < 1e-12);
                }
            }
            if incident.start > 0 {
                assert!(!at(incident.start - 1).silent && !at(incident.start - 1).stuck);
            }
        }
        assert!(!Truth::quiet(3).effects(2, 100).silent);
    }
}
