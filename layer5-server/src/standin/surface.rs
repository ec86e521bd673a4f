//! What the fleet's parameters do to its latency: a smooth bowl with a known optimum, the truth that a tuner is
//! measured against.
//! In: a setting in user units. Out: a factor >= 1 on the agent's latency, 1 at its optimum.
//! Notation: u in `0 ..= 1`^d is a setting on its search scale, u* the optimum, q = (u - u*)' W (u - u*) with W positive
//! definite; factor = 1 + C (1 - exp(-q / C)), so the bowl is quadratic near u* and flattens out at 1 + C.
//! Invariants: the optimum lies well inside; the initial setting's factor is [`INITIAL_FACTOR`] for the fleet's own
//! surface, so the best possible improvement is 1 - 1/1.72 = 42 %; agents' own optima differ a little from it.

use rand::RngExt;
use rand_pcg::Pcg64;

use super::noise::{self, normal};

/// How many parameters there are.
pub const DIMENSIONS: usize = 4;
/// Values of the parameters, in user units and in the order of [`TUNABLES`].
pub type Setting = [f64; DIMENSIONS];

/// The latency factor of the initial setting.
pub const INITIAL_FACTOR: f64 = 1.72;
/// The factor can't exceed 1 + this, however bad the setting.
const CEILING: f64 = 3.0;
/// Standard deviation of an agent's own optimum round the fleet's, on the search scale.
const AGENT_OFFSET_SD: f64 = 0.03;
/// The optimum keeps this distance from the walls, and at least this far from the initial setting.
const WALL: f64 = 0.2;
const DISTANCE_MIN: f64 = 0.45;

/// One parameter of the fleet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tunable {
    /// Its name in recommendations and in the config.
    pub name: &'static str,
    /// Whole numbers only.
    pub integer: bool,
    /// Smallest value.
    pub low: f64,
    /// Largest value.
    pub high: f64,
    /// Searched over its logarithm.
    pub log: bool,
    /// What the fleet starts with.
    pub initial: f64,
}

/// The parameters of every agent.
pub const TUNABLES: [Tunable; DIMENSIONS] = [
    Tunable {
        name: "concurrency",
        integer: true,
        low: 1.0,
        high: 32.0,
        log: true,
        initial: 4.0,
    },
    Tunable {
        name: "batch_size",
        integer: true,
        low: 1.0,
        high: 256.0,
        log: true,
        initial: 8.0,
    },
    Tunable {
        name: "cache_mb",
        integer: false,
        low: 16.0,
        high: 2048.0,
        log: true,
        initial: 64.0,
    },
    Tunable {
        name: "prefetch",
        integer: false,
        low: 0.0,
        high: 1.0,
        log: false,
        initial: 0.15,
    },
];

impl Tunable {
    /// Where `value` lies between the bounds on the search scale, 0..=1.
    fn to_unit(self, value: f64) -> f64 {
        if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// Why `value` is not one that this parameter can take, if so.
    #[must_use]
    pub fn refuses(&self, value: f64) -> Option<String> {
        let Self {
            name, low, high, ..
        } = self;
        if !(value >= *low && value <= *high) {
            return Some(format!("{name} = {value} is outside {low} ..= {high}"));
        }
        if self.integer && value.fract() != 0.0 {
            return Some(format!("{name} = {value} is not a whole number"));
        }
        None
    }
}

/// What every agent starts with.
#[must_use]
pub fn initial_setting() -> Setting {
    TUNABLES.map(|tunable| tunable.initial)
}

/// One agent's response to its setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Surface {
    optimum: [f64; DIMENSIONS],
    weights: [[f64; DIMENSIONS]; DIMENSIONS],
}

impl Surface {
    /// The fleet's surface under `seed`.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = noise::stream(seed, noise::STREAM_SURFACE);
        let initial = units(&initial_setting());
        let optimum = loop {
            let u: [f64; DIMENSIONS] = std::array::from_fn(|_| rng.random_range(WALL..1.0 - WALL));
            let distance2: f64 = (0..DIMENSIONS).map(|i| (u[i] - initial[i]).powi(2)).sum();
            if distance2.sqrt() >= DISTANCE_MIN {
                break u;
            }
        };
        let diagonal: [f64; DIMENSIONS] = std::array::from_fn(|_| rng.random_range(0.6..1.4));
        let mut weights = [[0.0; DIMENSIONS]; DIMENSIONS];
        for i in 0..DIMENSIONS {
            weights[i][i] = diagonal[i];
            // Neighbours interact. Scaled to a unit diagonal the matrix is tridiagonal with 0.3 beside it, so its
            // smallest eigenvalue is above 1 - 2 * 0.3: positive definite.
            if i > 0 {
                let sign = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
                let w = 0.3 * sign * (diagonal[i] * diagonal[i - 1]).sqrt();
                weights[i][i - 1] = w;
                weights[i - 1][i] = w;
            }
        }
        let mut surface = Self { optimum, weights };
        let q_wanted = -CEILING * (1.0 - (INITIAL_FACTOR - 1.0) / CEILING).ln();
        let scale = q_wanted / surface.quadratic(&initial);
        for row in &mut surface.weights {
            for w in row {
                *w *= scale;
            }
        }
        surface
    }

    /// The surface of one agent: the fleet's, with its optimum moved a little.
    #[must_use]
    pub(super) fn of_agent(&self, rng: &mut Pcg64) -> Self {
        let mut own = self.clone();
        for u in &mut own.optimum {
            *u = (*u + AGENT_OFFSET_SD * normal(rng)).clamp(0.05, 0.95);
        }
        own
    }

    /// The factor on latency under `setting`: 1 at the optimum, at most 1 + `CEILING`.
    #[must_use]
    pub fn factor(&self, setting: &Setting) -> f64 {
        let q = self.quadratic(&units(setting));
        1.0 + CEILING * (1.0 - (-q / CEILING).exp())
    }

    fn quadratic(&self, u: &[f64; DIMENSIONS]) -> f64 {
        let d: [f64; DIMENSIONS] = std::array::from_fn(|i| u[i] - self.optimum[i]);
        (0..DIMENSIONS)
            .flat_map(|i| (0..DIMENSIONS).map(move |j| (i, j)))
            .map(|(i, j)| d[i] * self.weights[i][j] * d[j])
            .sum()
    }
}

fn units(setting: &Setting) -> [f64; DIMENSIONS] {
    std::array::from_fn(|i| TUNABLES[i].to_unit(setting[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_units(u: [f64; DIMENSIONS]) -> Setting {
        std::array::from_fn(|i| {
            let t = TUNABLES[i];
            if t.log {
                t.low * (t.high / t.low).powf(u[i])
            } else {
                t.low + u[i] * (t.high - t.low)
            }
        })
    }

    #[test]
    fn the_initial_setting_leaves_what_was_promised() {
        for seed in 0..50 {
            let surface = Surface::draw(seed);
            let factor = surface.factor(&initial_setting());
            assert!(
                (factor - INITIAL_FACTOR).abs() < 1e-9,
                "seed {seed}: {factor}"
            );
        }
    }

    #[test]
    fn the_optimum_is_inside_and_nothing_is_better() {
        for seed in 0..20 {
            let surface = Surface::draw(seed);
            assert!(
                surface
                    .optimum
                    .iter()
                    .all(|u| (WALL..1.0 - WALL).contains(u))
            );
            assert!((surface.factor(&from_units(surface.optimum)) - 1.0).abs() < 1e-9);
            let mut rng = noise::stream(seed, 9);
            for _ in 0..500 {
                let u = std::array::from_fn(|_| rng.random::<f64>());
                let factor = surface.factor(&from_units(u));
                assert!((1.0..=1.0 + CEILING).contains(&factor), "{u:?}: {factor}");
            }
        }
    }

    #[test]
    fn agents_share_the_optimum_nearly() {
        let surface = Surface::draw(7);
        for agent in 0..60 {
            let own = surface.of_agent(&mut noise::stream(7, agent));
            let best_for_fleet = from_units(surface.optimum);
            assert!(own.factor(&best_for_fleet) < 1.15);
        }
    }

    #[test]
    fn values_outside_the_box_are_refused() {
        let [concurrency, _, cache, prefetch] = TUNABLES;
        for (tunable, value, accepted) in [
            (concurrency, 1.0, true),
            (concurrency, 32.0, true),
            (concurrency, 33.0, false),
            (concurrency, 2.5, false),
            (cache, 100.5, true),
            (prefetch, -0.01, false),
            (prefetch, f64::NAN, false),
        ] {
            assert_eq!(tunable.refuses(value).is_none(), accepted, "{value}");
        }
    }
}
