//! The fleet's compressed clock: a week in half a minute.
//! One step is the five minutes between two reports of an agent; [`STEPS_PER_SECOND`] of them pass in a second of
//! real time. In: when the run starts and how long it is. Out: the `recorded_at` of a report.
//! Invariants: `recorded_at` rises with the step, and the newest one lies before the moment the run started, so no
//! good report is ever ahead of the service's clock.

use layer5_core::Timestamp;

/// Simulated seconds between two reports of an agent.
pub const STEP_SECONDS: f64 = 300.0;
/// Steps of one simulated day.
pub const STEPS_PER_DAY: usize = 288;
/// Steps that pass in a second of real time.
pub const STEPS_PER_SECOND: f64 = 80.0;
/// Agents report at their own moment of a step, spread over this share of it.
const SPREAD: f64 = 0.8;

/// Where the simulated time of a run lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FleetClock {
    origin: Timestamp,
    steps: usize,
}

impl FleetClock {
    /// A run of `steps` steps that ends just before `now`.
    #[must_use]
    pub fn ending_before(now: Timestamp, steps: usize) -> Self {
        // Whole seconds keep every form of a time exact.
        let whole = Timestamp::from_millis(now.millis() / 1000 * 1000);
        Self {
            origin: whole.plus_seconds(-(steps as f64) * STEP_SECONDS),
            steps,
        }
    }

    /// How many steps the run has.
    #[must_use]
    pub const fn steps(&self) -> usize {
        self.steps
    }

    /// The start of `step`.
    #[must_use]
    pub fn at(&self, step: usize) -> Timestamp {
        self.origin.plus_seconds(step as f64 * STEP_SECONDS)
    }

    /// When the agent with this index of `agents` reports in `step`; milliseconds are never split.
    #[must_use]
    pub fn recorded_at(&self, step: usize, agent: usize, agents: usize) -> Timestamp {
        let share = agent as f64 / agents.max(1) as f64 * SPREAD;
        self.at(step)
            .plus_seconds((share * STEP_SECONDS * 1000.0).floor() / 1000.0)
    }

    /// The step that `at` lies in, as a fraction; negative before the run.
    #[must_use]
    pub fn step_of(&self, at: Timestamp) -> f64 {
        at.seconds_since(self.origin) / STEP_SECONDS
    }

    /// The age that the oldest report can reach until the run is over, s, with a day to spare.
    #[must_use]
    pub fn age_seconds_max(&self) -> f64 {
        self.steps as f64 * STEP_SECONDS + 86_400.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_report_is_older_than_the_start_of_the_run() {
        let now = Timestamp::from_millis(1_795_436_298_777);
        let clock = FleetClock::ending_before(now, 2400);
        for agent in 0..60 {
            let newest = clock.recorded_at(2399, agent, 60);
            assert!(newest < now);
            assert!(now.seconds_since(newest) <= STEP_SECONDS + 1.0);
        }
        assert!(now.seconds_since(clock.recorded_at(0, 0, 60)) < clock.age_seconds_max());
    }

    #[test]
    fn a_moment_leads_back_to_its_step() {
        let clock = FleetClock::ending_before(Timestamp::from_millis(1_795_436_298_000), 100);
        assert_eq!(clock.step_of(clock.at(17)), 17.0);
        for agent in 0..60 {
            let step = clock.step_of(clock.recorded_at(17, agent, 60));
            assert_eq!(step.floor(), 17.0, "{step}");
        }
    }
}
