//! One simulated agent: what it reads in each step of its day.
//! In: the step's effects from the truth, the setting that Layer7 gave it. Out: [`Readings`], or none when silent.
//! Notation: latency = base * load * factor(setting) * incidents * exp(0.055 z), z standard normal; load follows the
//! day; memory is a slow autoregression, as caches are.
//! Invariants: readings follow from seed, step, setting and effects; a step draws the same number of deviates whatever
//! befalls the agent, so incidents and settings do not change the noise.

use layer5_core::Timestamp;
use rand::RngExt;
use rand_pcg::Pcg64;

use super::{
    clock::STEPS_PER_DAY,
    noise::{self, normal},
    report::TimeForm,
    surface::{Setting, Surface, initial_setting},
    truth::{Effects, Metric, STUCK_METRICS},
};

/// Standard deviation of the log of latency.
const LATENCY_NOISE: f64 = 0.055;
/// Load swings by this share round its mean over a day.
const LOAD_SWING: f64 = 0.3;
/// Memory moves back to its mean by this share a step, and is pushed by this many MB.
const MEMORY_PULL: f64 = 0.02;
const MEMORY_PUSH_MB: f64 = 2.5;

/// One value per metric; index with `Metric as usize`.
pub type Readings = [f64; Metric::ALL.len()];

/// A simulated agent.
#[derive(Debug)]
pub struct Agent {
    /// Its id.
    pub id: String,
    /// The machine it runs on.
    pub hostname: String,
    /// Whether it reports in shape B.
    pub writes_batches: bool,
    /// How it writes times.
    pub time_form: TimeForm,
    /// What its parameters do.
    pub surface: Surface,
    /// Its parameters now.
    pub setting: Setting,
    /// The last good report it wrote, for duplicates: its line and when it was recorded.
    pub last: Option<(String, Timestamp)>,
    base_latency_ms: f64,
    base_memory_mb: f64,
    day_shift: f64,
    memory_wander_mb: f64,
    stuck: Option<Readings>,
    rng: Pcg64,
}

impl Agent {
    /// The agent with this index under `seed`. Eight agents share a machine, every seventh writes shape B.
    #[must_use]
    pub fn new(seed: u64, index: usize, fleet: &Surface) -> Self {
        let mut rng = noise::stream(seed, index as u64);
        Self {
            id: format!("agent_{index:03}"),
            hostname: format!("node-{}", index / super::world::AGENTS_PER_HOST + 1),
            writes_batches: index % 7 == 3,
            time_form: TimeForm::ALL[index % 3],
            surface: fleet.of_agent(&mut rng),
            setting: initial_setting(),
            last: None,
            base_latency_ms: rng.random_range(40.0..60.0),
            base_memory_mb: rng.random_range(400.0..700.0),
            day_shift: rng.random_range(-6.0..6.0),
            memory_wander_mb: 0.0,
            stuck: None,
            rng,
        }
    }

    /// What the agent reads in `step`; `None` when it is silent.
    pub fn read(&mut self, step: usize, effects: &Effects) -> Option<Readings> {
        let z: [f64; Metric::ALL.len()] = std::array::from_fn(|_| normal(&mut self.rng));
        self.memory_wander_mb +=
            MEMORY_PUSH_MB * z[Metric::Memory as usize] - MEMORY_PULL * self.memory_wander_mb;
        let load = self.load(step);
        let raw = |metric: Metric, z: f64| match metric {
            Metric::Latency => {
                let factor = self.surface.factor(&self.setting);
                self.base_latency_ms * load * factor * (LATENCY_NOISE * z).exp()
            }
            Metric::Accuracy => 0.93 + 0.01 * z,
            Metric::Cpu => 0.4 * load * (0.04 * z).exp(),
            Metric::Memory => self.base_memory_mb + self.memory_wander_mb,
            Metric::Network => 2e6 * load * (0.12 * z).exp(),
            Metric::Queue => 6.0 * load * (0.12 * z).exp(),
        };
        let mut readings: Readings = std::array::from_fn(|i| {
            legal(
                Metric::ALL[i],
                raw(Metric::ALL[i], z[i]) * effects.factors[i],
            )
        });
        if effects.stuck {
            let held = *self.stuck.get_or_insert(readings);
            for &metric in STUCK_METRICS {
                readings[metric as usize] = held[metric as usize];
            }
        } else {
            self.stuck = None;
        }
        (!effects.silent).then_some(readings)
    }

    /// The load of the moment, 1 on average: one cycle a day, and the agents' peaks within an hour of each other.
    fn load(&self, step: usize) -> f64 {
        let phase = (step as f64 + self.day_shift) / STEPS_PER_DAY as f64;
        1.0 + LOAD_SWING * (std::f64::consts::TAU * phase).sin()
    }
}

/// `value` inside the legal range of `metric`, in the precision that Layer4 sends.
fn legal(metric: Metric, value: f64) -> f64 {
    match metric {
        Metric::Latency => (value * 1e3).round().clamp(1.0, 299_999_000.0) / 1e3,
        Metric::Accuracy | Metric::Cpu => (value * 1e5).round().clamp(0.0, 1e5) / 1e5,
        Metric::Memory => (value * 1e2).round().clamp(1.0, 99_999_900.0) / 1e2,
        Metric::Network => value.round().clamp(0.0, 1e12 - 1.0),
        Metric::Queue => (value * 1e3).round() / 1e3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standin::truth::Truth;

    fn run(agent: &mut Agent, steps: usize, effects: &Effects) -> Vec<Readings> {
        (0..steps)
            .map(|step| agent.read(step, effects).expect("not silent"))
            .collect()
    }

    fn mean(readings: &[Readings], metric: Metric) -> f64 {
        readings.iter().map(|r| r[metric as usize]).sum::<f64>() / readings.len() as f64
    }

    #[test]
    fn incidents_and_settings_do_not_change_the_noise() {
        let surface = Surface::draw(7);
        let quiet = Truth::quiet(1).effects(0, 0);
        let mut loud = quiet;
        loud.factors[Metric::Latency as usize] = 2.0;
        loud.stuck = true;
        let (mut a, mut b) = (Agent::new(7, 0, &surface), Agent::new(7, 0, &surface));
        b.setting = [8.0, 16.0, 128.0, 0.5];
        run(&mut a, 100, &quiet);
        run(&mut b, 100, &loud);
        b.setting = a.setting;
        assert_eq!(a.read(100, &quiet), b.read(100, &quiet));
    }

    #[test]
    fn latency_follows_the_setting_by_the_surface() {
        let surface = Surface::draw(7);
        let quiet = Truth::quiet(1).effects(0, 0);
        let (mut a, mut b) = (Agent::new(7, 0, &surface), Agent::new(7, 0, &surface));
        b.setting = [8.0, 16.0, 128.0, 0.5];
        let expected = a.surface.factor(&b.setting) / a.surface.factor(&a.setting);
        let (x, y) = (run(&mut a, 288, &quiet), run(&mut b, 288, &quiet));
        let ratio = mean(&y, Metric::Latency) / mean(&x, Metric::Latency);
        // Same noise in both; what is left is rounding to the microsecond.
        assert!((ratio / expected - 1.0).abs() < 1e-4);
    }

    #[test]
    fn a_stuck_agent_repeats_and_a_silent_one_says_nothing() {
        let mut agent = Agent::new(7, 0, &Surface::draw(7));
        let mut effects = Truth::quiet(1).effects(0, 0);
        effects.stuck = true;
        let readings = run(&mut agent, 10, &effects);
        for metric in Metric::ALL {
            let same = readings
                .windows(2)
                .all(|w| w[0][metric as usize] == w[1][metric as usize]);
            assert_eq!(same, STUCK_METRICS.contains(&metric), "{metric:?}");
        }
        effects.silent = true;
        assert_eq!(agent.read(10, &effects), None);
    }
}
