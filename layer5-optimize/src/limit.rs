//! Where a study may not go: linear limits and forbidden regions, known beforehand.
//! In: limits by name. Out: whether a point keeps them, and how to bring one back that does not. Called from:
//! [`crate::study`], [`crate::gp`]. Invariants: every point a study suggests keeps every limit; a study whose limits leave
//! nothing is refused when it starts.

use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::linalg::distance2;
use crate::random::even_draw;
use crate::seed::stream;
use crate::space::{Domain, Point, Space, Value};
use crate::unit_cube::UnitCube;

/// One limit, in the caller's units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Limit {
    /// The weighted sum of some parameters is at most this.
    Linear {
        /// Names and weights; each a float or int parameter.
        terms: Vec<(String, f64)>,
        /// The largest sum allowed.
        at_most: f64,
    },
    /// Not inside this box: no point may have all of these parameters within their ranges.
    Forbidden {
        /// Name, smallest and largest value; each a float or int parameter.
        ranges: Vec<(String, f64, f64)>,
    },
}

#[derive(Debug, Clone, PartialEq)]
enum Checked {
    Linear(Vec<(usize, f64)>, f64),
    Forbidden(Vec<(usize, f64, f64)>),
}

/// The limits of a study, checked against its space.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    all: Vec<Checked>,
    /// Unit coordinates of a point that keeps them.
    anchor: Vec<f64>,
}

/// Draws before limits are taken to leave nothing.
const N_DRAWS: usize = 20_000;

impl Limits {
    /// Checks limits against a space.
    ///
    /// # Errors
    /// [`ConfigError`] for a name or number that does not fit, or if no point was found that keeps them all.
    pub fn new(limits: &[Limit], space: &Space, cube: &UnitCube) -> Result<Self, ConfigError> {
        let index = |name: &String| {
            let found = space.index_of(name).filter(|j| {
                let domain = &space.parameters()[*j].domain;
                matches!(domain, Domain::Float { .. } | Domain::Int { .. })
            });
            found.ok_or_else(|| ConfigError::LimitName { name: name.clone() })
        };
        let mut all = Vec::new();
        for limit in limits {
            let (checked, numbers) = match limit {
                Limit::Linear { terms, at_most } => {
                    let mut resolved = Vec::new();
                    for (name, weight) in terms {
                        resolved.push((index(name)?, *weight));
                    }
                    let mut numbers: Vec<f64> = resolved.iter().map(|t| t.1).collect();
                    numbers.push(*at_most);
                    let numbers = if terms.is_empty() {
                        vec![f64::NAN]
                    } else {
                        numbers
                    };
                    (Checked::Linear(resolved, *at_most), numbers)
                }
                Limit::Forbidden { ranges } => {
                    let mut resolved = Vec::new();
                    for (name, low, high) in ranges {
                        resolved.push((index(name)?, *low, *high));
                    }
                    let mut numbers: Vec<f64> = resolved.iter().flat_map(|r| [r.1, r.2]).collect();
                    if ranges.is_empty() {
                        numbers.push(f64::NAN);
                    }
                    (Checked::Forbidden(resolved), numbers)
                }
            };
            if !numbers.iter().all(|v| v.is_finite()) {
                return Err(ConfigError::LimitNumber);
            }
            all.push(checked);
        }
        let mut limits = Self {
            all,
            anchor: vec![0.5; cube.len()],
        };
        if limits.keeps(&cube.from_unit(&limits.anchor)) {
            return Ok(limits);
        }
        let mut rng = stream(0, u64::MAX - 1);
        for _ in 0..N_DRAWS {
            let unit = even_draw(cube, &mut rng);
            if limits.keeps(&cube.from_unit(&unit)) {
                limits.anchor = unit;
                return Ok(limits);
            }
        }
        Err(ConfigError::LimitsEmpty {
            n_tried: N_DRAWS,
            n_limits: limits.all.len(),
        })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The first limit a point breaks.
    #[must_use]
    pub fn broken_by(&self, point: &Point) -> Option<usize> {
        let number = |j: usize| match point.0.get(j) {
            Some(Value::Float(x)) => *x,
            Some(Value::Int(x)) => *x as f64,
            _ => f64::NAN,
        };
        self.all.iter().position(|limit| match limit {
            Checked::Linear(terms, at_most) => {
                let (mut sum, mut size) = (0.0, at_most.abs());
                for (j, w) in terms {
                    sum += w * number(*j);
                    size += (w * number(*j)).abs();
                }
                // Rounding of the sum is no breach.
                !(sum <= at_most + 1e-12 * size)
            }
            Checked::Forbidden(ranges) => ranges
                .iter()
                .all(|(j, low, high)| number(*j) >= *low && number(*j) <= *high),
        })
    }

    /// Whether a point keeps every limit.
    #[must_use]
    pub fn keeps(&self, point: &Point) -> bool {
        self.broken_by(point).is_none()
    }

    /// The last point that keeps the limits on the way from a place that does to `unit`: from the nearest of `places`, or
    /// from the one found at the start.
    #[must_use]
    pub fn brought_back(
        &self,
        cube: &UnitCube,
        unit: &[f64],
        places: &[Vec<f64>],
        rng: &mut Pcg64,
    ) -> Point {
        let aim = cube.from_unit(unit);
        if self.keeps(&aim) {
            return aim;
        }
        let kept = |u: &Vec<f64>| self.keeps(&cube.from_unit(u));
        let mut near: Vec<&Vec<f64>> = places.iter().collect();
        near.sort_by(|a, b| distance2(a, unit).total_cmp(&distance2(b, unit)));
        let base = near.into_iter().take(64).find(|u| kept(u));
        let base = base.unwrap_or(&self.anchor);
        let at = |t: f64| -> Vec<f64> {
            (0..unit.len())
                .map(|j| {
                    if cube.is_ordered(j) {
                        base[j] + t * (unit[j] - base[j])
                    } else {
                        unit[j]
                    }
                })
                .collect()
        };
        // Values that do not matter, and unordered ones, are those aimed at, unless that breaks something.
        if kept(&at(0.0)) {
            let (mut low, mut high) = (0.0, 1.0);
            for _ in 0..40 {
                let middle = 0.5 * (low + high);
                if kept(&at(middle)) {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            return cube.from_unit(&at(low));
        }
        for _ in 0..256 {
            let unit = even_draw(cube, rng);
            if kept(&unit) {
                return cube.from_unit(&unit);
            }
        }
        cube.from_unit(base)
    }
}
