//! A circuit breaker: after several failures in a row a neighbour is left alone for a while, then tried once.
//! In: outcomes of calls and the time. Out: whether to call. Called from: `super::door`.
//! Invariants: pure; at most one call is under way while half open; the pause doubles with each failed try, up to its
//! limit, and is back at its start after a success.
//! Reference: Nygard, "Release It!", 2nd ed., section 5.2.

use std::time::{Duration, Instant};

/// When to open, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitConfig {
    /// Failures in a row that open it.
    pub failures_to_open: u32,
    /// The first pause.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for CircuitConfig {
    /// A neighbour that restarts is back within seconds, one that is away is asked twice a minute.
    fn default() -> Self {
        Self {
            failures_to_open: 5,
            pause: Duration::from_secs(1),
            pause_max: Duration::from_secs(30),
        }
    }
}

/// What a circuit does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// Calls go through.
    Closed,
    /// One call is out to see whether the neighbour is back.
    HalfOpen,
    /// Nothing goes through.
    Open,
}

/// The breaker.
#[derive(Clone, Debug)]
pub struct Circuit {
    config: CircuitConfig,
    inner: Inner,
    pause: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Inner {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { since: Instant },
}

impl Circuit {
    /// A closed circuit.
    #[must_use]
    pub fn new(config: CircuitConfig) -> Self {
        Self {
            config,
            inner: Inner::Closed { failures: 0 },
            pause: config.pause,
        }
    }

    /// Asks for one call at `now`.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.inner {
            Inner::Closed { .. } => return Ok(()),
            Inner::Open { until } if now < until => return Err(until - now),
            // A try that never reported back is taken for lost after one pause.
            Inner::HalfOpen { since } if now < since + self.pause => {
                return Err(since + self.pause - now);
            }
            Inner::Open { .. } | Inner::HalfOpen { .. } => {}
        }
        self.inner = Inner::HalfOpen { since: now };
        Ok(())
    }

    /// A call was answered.
    pub fn succeeded(&mut self) {
        self.inner = Inner::Closed { failures: 0 };
        self.pause = self.config.pause;
    }

    /// A call failed at `now`.
    pub fn failed(&mut self, now: Instant) {
        self.inner = match self.inner {
            Inner::Closed { failures } if failures + 1 < self.config.failures_to_open => {
                Inner::Closed {
                    failures: failures + 1,
                }
            }
            Inner::Closed { .. } => Inner::Open {
                until: now + self.pause,
            },
            Inner::HalfOpen { .. } => {
                self.pause = (self.pause * 2).min(self.config.pause_max);
                Inner::Open {
                    until: now + self.pause,
                }
            }
            // A call that was under way when it opened tells nothing new.
            open @ Inner::Open { .. } => open,
        };
    }

    /// What it does at the moment.
    #[must_use]
    pub fn state(&self) -> CircuitState {
        match self.inner {
            Inner::Closed { .. } => CircuitState::Closed,
            Inner::HalfOpen { .. } => CircuitState::HalfOpen,
            Inner::Open { .. } => CircuitState::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn opened(now: Instant) -> Circuit {
        let mut circuit = Circuit::new(CircuitConfig::default());
        for _ in 0..5 {
            assert_eq!(circuit.admit(now), Ok(()));
            circuit.failed(now);
        }
        circuit
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let now = Instant::now();
        let mut circuit = Circuit::new(CircuitConfig::default());
        for _ in 0..4 {
            circuit.failed(now);
        }
        circuit.succeeded();
        for _ in 0..4 {
            circuit.failed(now);
        }
        assert_eq!(circuit.state(), CircuitState::Closed);
        circuit.failed(now);
        assert_eq!(circuit.state(), CircuitState::Open);
        assert_eq!(circuit.admit(now), Err(SECOND));
    }

    #[test]
    fn one_try_goes_out_after_the_pause() {
        let now = Instant::now();
        let mut circuit = opened(now);
        assert_eq!(circuit.admit(now + SECOND / 2), Err(SECOND / 2));
        assert_eq!(circuit.admit(now + SECOND), Ok(()));
        assert_eq!(circuit.state(), CircuitState::HalfOpen);
        assert_eq!(circuit.admit(now + SECOND), Err(SECOND));
        circuit.succeeded();
        assert_eq!(circuit.state(), CircuitState::Closed);
    }

    #[test]
    fn the_pause_doubles_up_to_its_limit_and_starts_again() {
        let mut now = Instant::now();
        let mut circuit = opened(now);
        for seconds in [2, 4, 8, 16, 30, 30] {
            now += circuit.admit(now).expect_err("open");
            assert_eq!(circuit.admit(now), Ok(()));
            circuit.failed(now);
            assert_eq!(circuit.admit(now), Err(seconds * SECOND));
        }
        now += 30 * SECOND;
        assert_eq!(circuit.admit(now), Ok(()));
        circuit.succeeded();
        for _ in 0..5 {
            circuit.failed(now);
        }
        assert_eq!(circuit.admit(now), Err(SECOND));
    }

    #[test]
    fn a_lost_try_does_not_keep_it_shut() {
        let now = Instant::now();
        let mut circuit = opened(now);
        assert_eq!(circuit.admit(now + SECOND), Ok(()));
        assert_eq!(circuit.admit(now + 2 * SECOND), Ok(()));
    }
}
