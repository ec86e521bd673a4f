//! The fleet as a whole: its agents, their settings, and the posts they send.
//! In: a range of steps, and settings from Layer7. Out: NDJSON bodies with what must become of every line.
//! Called from: `fleet`, which sends them, and `changes`, which moves settings.
//! Invariants: a body is in the order of time; every line of it is either good, a planted mistake, or a repeat of a
//! line that is good and recorded at most one step ago, and the [`Post`] says which.

use std::{collections::HashMap, ops::Range};

use layer5_core::Timestamp;
use uuid::Uuid;

use super::{
    agent::{Agent, Readings},
    clock::FleetClock,
    report::{ExecutionContext, KpiBatch, KpiReport, Mistake, WireTime},
    surface::{Setting, Surface, initial_setting},
    truth::{Metric, Truth},
};

/// Agents that share a machine, and so a connection.
pub const AGENTS_PER_HOST: usize = 8;
/// Connections at most; hosts share them when there are more.
pub const SENDERS_MAX: usize = 6;
/// One planted mistake, and one repeat, in so many reports. Primes, so that they walk through agents and steps.
const REPORTS_PER_MISTAKE: u64 = 997;
const REPORTS_PER_REPEAT: u64 = 1499;

/// A body, and what must become of its lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Post {
    /// NDJSON.
    pub body: Vec<u8>,
    /// Lines in it.
    pub lines: usize,
    /// Indices of the lines that must be rejected, rising, and why.
    pub mistakes: Vec<(usize, Mistake)>,
    /// Lines that repeat an earlier one.
    pub repeats: usize,
}

impl Post {
    /// Lines that must be accepted.
    #[must_use]
    pub fn good(&self) -> usize {
        self.lines - self.mistakes.len() - self.repeats
    }

    fn push(&mut self, line: &str) {
        self.body.extend_from_slice(line.as_bytes());
        self.body.push(b'\n');
        self.lines += 1;
    }
}

/// The fleet.
#[derive(Debug)]
pub struct World {
    clock: FleetClock,
    truth: Truth,
    agents: Vec<Agent>,
    by_id: HashMap<String, usize>,
}

impl World {
    /// A fleet of `agents` agents that lives through `truth` in the time of `clock`.
    #[must_use]
    pub fn new(seed: u64, agents: usize, clock: FleetClock, truth: Truth) -> Self {
        let surface = Surface::draw(seed);
        let agents: Vec<Agent> = (0..agents).map(|i| Agent::new(seed, i, &surface)).collect();
        let by_id = agents.iter().enumerate();
        let by_id = by_id.map(|(i, agent)| (agent.id.clone(), i)).collect();
        Self {
            clock,
            truth,
            agents,
            by_id,
        }
    }

    /// The run's clock.
    #[must_use]
    pub const fn clock(&self) -> FleetClock {
        self.clock
    }

    /// What befalls the fleet.
    #[must_use]
    pub const fn truth(&self) -> &Truth {
        &self.truth
    }

    /// The agents, by index.
    #[must_use]
    pub fn agents(&self) -> &[Agent] {
        &self.agents
    }

    /// The index of the agent with this id.
    #[must_use]
    pub fn index_of(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// Writes what the fleet sends in `steps`, one post per connection; connections without a line have none.
    pub fn write(&mut self, steps: Range<usize>) -> Vec<Post> {
        let hosts = self.agents.len().div_ceil(AGENTS_PER_HOST);
        let mut posts = vec![Post::default(); hosts.clamp(1, SENDERS_MAX)];
        for step in steps {
            for index in 0..self.agents.len() {
                let senders = posts.len();
                let post = &mut posts[index / AGENTS_PER_HOST % senders];
                self.write_agent(index, step, post);
            }
        }
        posts.retain(|post| post.lines > 0);
        posts
    }

    /// Gives the agent with this index a new setting. Returns its latency factor before and after.
    pub fn apply(&mut self, index: usize, setting: Setting) -> (f64, f64) {
        let agent = &mut self.agents[index];
        let before = agent.surface.factor(&agent.setting);
        agent.setting = setting;
        (before, agent.surface.factor(&agent.setting))
    }

    /// The mean relative improvement of latency by the settings of now over the initial ones, noise-free.
    #[must_use]
    pub fn improvement(&self) -> f64 {
        self.mean_improvement(|agent| agent.surface.factor(&agent.setting))
    }

    /// The improvement if every agent had its own optimum.
    #[must_use]
    pub fn improvement_possible(&self) -> f64 {
        self.mean_improvement(|_| 1.0)
    }

    fn mean_improvement(&self, factor: impl Fn(&Agent) -> f64) -> f64 {
        let gains = self.agents.iter().map(|agent| {
            let initial = agent.surface.factor(&initial_setting());
            (initial - factor(agent)) / initial
        });
        gains.sum::<f64>() / self.agents.len().max(1) as f64
    }

    fn write_agent(&mut self, index: usize, step: usize, post: &mut Post) {
        let recorded_at = self.clock.recorded_at(step, index, self.agents.len());
        let effects = self.truth.effects(index, step);
        let number = (step * self.agents.len() + index) as u64;
        let agent = &mut self.agents[index];
        let Some(readings) = agent.read(step, &effects) else {
            return;
        };
        let repeats = number % REPORTS_PER_REPEAT == REPORTS_PER_REPEAT / 2;
        let of_the_step_before = number / REPORTS_PER_REPEAT % 2 == 1;
        let since = self.clock.at(step.saturating_sub(1));
        if repeats
            && of_the_step_before
            && let Some(line) = agent.repeatable(since)
        {
            post.push(line);
            post.repeats += 1;
        }
        let line = write_report(agent, index, step, recorded_at, &readings);
        post.push(&line);
        if repeats && !of_the_step_before {
            post.push(&line);
            post.repeats += 1;
        }
        if number % REPORTS_PER_MISTAKE == REPORTS_PER_MISTAKE / 2 {
            let turn = (number / REPORTS_PER_MISTAKE) as usize;
            let mistake = Mistake::ALL[turn % Mistake::ALL.len()];
            post.mistakes.push((post.lines, mistake));
            post.push(&mistake.write(&agent.id, recorded_at, number));
        }
        agent.last = Some((line, recorded_at));
    }
}

impl Agent {
    /// The last line, if it is not older than `since`: a repeat from before a silence might have left the window in
    /// which the service recognises it.
    fn repeatable(&self, since: Timestamp) -> Option<&str> {
        let (line, at) = self.last.as_ref()?;
        (*at >= since).then_some(line.as_str())
    }
}

fn write_report(
    agent: &Agent,
    index: usize,
    step: usize,
    recorded_at: Timestamp,
    readings: &Readings,
) -> String {
    let value = |metric: Metric| readings[metric as usize];
    let time = WireTime::new(recorded_at, agent.time_form);
    let line = if agent.writes_batches {
        serde_json::to_string(&KpiBatch {
            timestamp: time,
            agent_id: &agent.id,
            task_id: format!("task_{index}_{step}"),
            metrics: Metric::ALL.iter().map(|&m| (m.name(), value(m))).collect(),
            metadata: [("hostname", agent.hostname.as_str()), ("tier", "edge")].into(),
        })
    } else {
        serde_json::to_string(&KpiReport {
            task_id: Uuid::from_u64_pair(index as u64, step as u64).to_string(),
            agent_id: &agent.id,
            latency_ms: value(Metric::Latency),
            accuracy: value(Metric::Accuracy),
            cpu_usage: value(Metric::Cpu),
            memory_mb: value(Metric::Memory),
            recorded_at: time,
            network_bytes: value(Metric::Network) as u64,
            custom_metrics: [(Metric::Queue.name(), value(Metric::Queue))].into(),
            execution_context: ExecutionContext {
                hostname: &agent.hostname,
                available_cores: 8,
                available_memory_mb: 16_384,
            },
        })
    };
    line.expect("string keys and finite numbers are always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(agents: usize, steps: usize) -> World {
        let now = Timestamp::from_millis(1_795_436_298_000);
        let clock = FleetClock::ending_before(now, steps);
        World::new(7, agents, clock, Truth::draw(7, agents, steps))
    }

    #[test]
    fn posts_say_what_is_in_them() {
        let mut world = world(60, 600);
        let (mut good, mut bad, mut repeats) = (0, 0, 0);
        for from in (0..600).step_by(4) {
            for post in world.write(from..from + 4) {
                let text = String::from_utf8(post.body.clone()).expect("text");
                let lines: Vec<&str> = text.lines().collect();
                assert_eq!(lines.len(), post.lines);
                for (i, mistake) in &post.mistakes {
                    let unparsed = serde_json::from_str::<serde_json::Value>(lines[*i]).is_err();
                    assert_eq!(unparsed, *mistake == Mistake::CutOff);
                    assert!(lines[*i].contains("bad-") || unparsed);
                }
                good += post.good();
                bad += post.mistakes.len();
                repeats += post.repeats;
            }
        }
        let silent: usize = (0..600)
            .map(|s| {
                (0..60)
                    .filter(|&a| world.truth.effects(a, s).silent)
                    .count()
            })
            .sum();
        assert_eq!(good, 60 * 600 - silent);
        // One in 997 and one in 1499, less the few that fell to a silent agent or to a first report.
        assert!((30..=36).contains(&bad), "{bad}");
        assert!((18..=24).contains(&repeats), "{repeats}");
    }

    #[test]
    fn both_shapes_and_all_forms_of_time_are_sent() {
        let body: Vec<u8> = world(60, 10)
            .write(0..1)
            .into_iter()
            .flat_map(|p| p.body)
            .collect();
        let text = String::from_utf8(body).expect("text");
        let lines: Vec<serde_json::Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let batches = lines.iter().filter(|v| v.get("metrics").is_some()).count();
        assert_eq!(batches, (0..60).filter(|i| i % 7 == 3).count());
        let time = |v: &serde_json::Value| v.get("recorded_at").or(v.get("timestamp")).cloned();
        let times: Vec<_> = lines.iter().filter_map(time).collect();
        assert!(times.iter().any(serde_json::Value::is_string));
        assert!(times.iter().any(serde_json::Value::is_number));
        assert!(times.iter().any(serde_json::Value::is_object));
    }

    #[test]
    fn improvement_is_zero_at_first_and_grows_with_better_settings() {
        let mut world = world(20, 10);
        assert!(world.improvement().abs() < 1e-12);
        let possible = world.improvement_possible();
        assert!((0.36..0.48).contains(&possible), "{possible}");
        let (before, after) = world.apply(0, [6.0, 16.0, 181.0, 0.5]);
        let change = (before - after) / before;
        assert!((world.improvement() - change / 20.0).abs() < 1e-12);
    }
}
