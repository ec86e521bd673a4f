//! The only place that knows both a caller's units and the unit cube `[0, 1]^d` in which every sampler works.
//! In: a [`Space`]. Out: points as unit coordinates and back. Called from: [`crate::study`], every sampler.
//! Notation: `u` unit coordinate; an axis with `n` levels has them at `k / (n - 1)`, `n` categories at `(k + .5) / n`.
//! Invariants: coordinates are in `[0, 1]`; `from_unit(to_unit(p)) = p` for every value on a grid, and to rounding for
//! a continuum; whatever `u` is, NaN included, the point is inside its bounds.

mod axis;

use self::axis::{Axis, clamp, from_even, from_unit, successor, to_unit};
use crate::space::{Domain, Point, Space, Value, grid_steps};

/// What a sampler may know of one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AxisKind {
    /// Every coordinate is a value of its own.
    Continuous,
    /// That many values in order.
    Levels(u64),
    /// That many values without an order.
    Categories(u64),
}

/// When an axis matters: axis `parent` matters and has one of the values.
#[derive(Debug, Clone, PartialEq)]
struct Condition {
    parent: usize,
    is_in: Vec<Value>,
}

/// The axes of a space.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitCube {
    axes: Vec<Axis>,
    conditions: Vec<Option<Condition>>,
    is_conditional: bool,
}

impl UnitCube {
    /// The cube of a space.
    #[must_use]
    pub fn new(space: &Space) -> Self {
        let axes = space
            .parameters()
            .iter()
            .map(|parameter| match &parameter.domain {
                _ if parameter.fixed.is_some() => {
                    Axis::Fixed(parameter.fixed.unwrap_or(Value::Choice(0)))
                }
                Domain::Float {
                    low,
                    high,
                    log: true,
                    ..
                } => Axis::LogFloat {
                    low: *low,
                    high: *high,
                },
                Domain::Float {
                    low,
                    high,
                    step: Some(step),
                    ..
                } => Axis::FloatGrid {
                    low: *low,
                    high: *high,
                    step: *step,
                    n: grid_steps(*low, *high, *step) + 1,
                },
                Domain::Float { low, high, .. } => Axis::Float {
                    low: *low,
                    high: *high,
                },
                Domain::Int {
                    low,
                    high,
                    log: true,
                    ..
                } => Axis::LogInt {
                    low: *low,
                    high: *high,
                },
                Domain::Int {
                    low, high, step, ..
                } => {
                    let step = step.unwrap_or(1);
                    Axis::IntGrid {
                        low: *low,
                        step,
                        n: ((high - low) / step) as u64 + 1,
                    }
                }
                Domain::Categorical { choices } => Axis::Choices {
                    n: choices.len() as u64,
                    ordered: false,
                },
                Domain::Ordinal { choices } => Axis::Choices {
                    n: choices.len() as u64,
                    ordered: true,
                },
            });
        let conditions = space.parameters().iter().map(|parameter| {
            let when = parameter.when.as_ref()?;
            let parent = space.index_of(&when.parameter)?;
            Some(Condition {
                parent,
                is_in: when.is_in.clone(),
            })
        });
        Self {
            axes: axes.collect(),
            conditions: conditions.collect(),
            is_conditional: space.is_conditional(),
        }
    }

    /// Puts every value that does not matter at this point into the middle of its axis, so that points that mean the same
    /// are the same, and every fixed one to its value.
    pub fn settle(&self, point: &mut Point) {
        for j in 0..self.axes.len() {
            if let Axis::Fixed(value) = self.axes[j] {
                point.0[j] = value;
            } else if !self.matters(j, point) {
                point.0[j] = from_unit(&self.axes[j], 0.5);
            }
        }
    }

    /// Whether axis `j` matters at a point.
    #[must_use]
    pub fn matters(&self, j: usize, point: &Point) -> bool {
        self.conditions[j]
            .as_ref()
            .is_none_or(|c| self.matters(c.parent, point) && c.is_in.contains(&point.0[c.parent]))
    }

    fn settled(&self, mut point: Point) -> Point {
        if self.is_conditional {
            self.settle(&mut point);
        }
        point
    }

    /// The number of axes, d.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a space is never empty")]
    pub fn len(&self) -> usize {
        self.axes.len()
    }

    /// The kind of axis `j`.
    #[must_use]
    pub fn kind(&self, j: usize) -> AxisKind {
        match self.axes[j] {
            Axis::Float { .. } | Axis::LogFloat { .. } => AxisKind::Continuous,
            Axis::FloatGrid { n, .. } | Axis::IntGrid { n, .. } => AxisKind::Levels(n),
            Axis::LogInt { low, high } => AxisKind::Levels((high - low) as u64 + 1),
            Axis::Choices { n, ordered: true } => AxisKind::Levels(n),
            Axis::Choices { n, ordered: false } => AxisKind::Categories(n),
            Axis::Fixed(_) => AxisKind::Categories(1),
        }
    }

    /// Whether axis `j` has an order, so that moving a little along it means something.
    #[must_use]
    pub fn is_ordered(&self, j: usize) -> bool {
        !matches!(self.kind(j), AxisKind::Categories(_))
    }

    /// Whether every axis is a continuum.
    #[must_use]
    pub fn is_continuous(&self) -> bool {
        (0..self.len()).all(|j| self.kind(j) == AxisKind::Continuous)
    }

    /// Unit coordinates of a point of this space.
    #[must_use]
    pub fn to_unit(&self, point: &Point) -> Vec<f64> {
        self.axes
            .iter()
            .zip(point.values())
            .map(|(axis, value)| to_unit(axis, *value))
            .collect()
    }

    /// The point whose coordinates are nearest to `u`.
    #[must_use]
    pub fn from_unit(&self, u: &[f64]) -> Point {
        self.settled(Point(
            self.axes
                .iter()
                .zip(u)
                .map(|(axis, u)| from_unit(axis, clamp(*u)))
                .collect(),
        ))
    }

    /// The point in whose cell `u` lies when all values of a discrete axis get cells of equal width, so that even
    /// coordinates make even values. (Nearest-coordinate rounding would halve the share of the first and last value.)
    #[must_use]
    pub fn from_even(&self, u: &[f64]) -> Point {
        self.settled(Point(
            self.axes
                .iter()
                .zip(u)
                .map(|(axis, u)| from_even(axis, clamp(*u)))
                .collect(),
        ))
    }

    /// The value of axis `j` nearest to a coordinate; where levels are spread over `[0, 1]`, categories are in order.
    #[must_use]
    pub fn value_at(&self, j: usize, u: f64) -> Value {
        from_unit(&self.axes[j], clamp(u))
    }

    /// Moves `u` to the coordinates of the nearest point.
    pub fn snap(&self, u: &mut [f64]) {
        for (axis, u) in self.axes.iter().zip(u.iter_mut()) {
            *u = match axis {
                Axis::Float { .. } | Axis::LogFloat { .. } => clamp(*u),
                _ => to_unit(axis, from_unit(axis, clamp(*u))),
            };
        }
        if self.is_conditional {
            let point = self.from_unit(u);
            for (j, u) in u.iter_mut().enumerate() {
                if !self.matters(j, &point) {
                    *u = to_unit(&self.axes[j], point.0[j]);
                }
            }
        }
    }

    /// The next point in the order in which the last axis turns fastest, wrapping round; discrete axes only.
    pub(crate) fn successor(&self, point: &Point) -> Point {
        let mut next = point.clone();
        for (axis, value) in self.axes.iter().zip(&mut next.0).rev() {
            let (after, wrapped) = successor(axis, *value);
            *value = after;
            if !wrapped {
                break;
            }
        }
        self.settled(next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::space::Parameter;

    fn every_kind() -> Space {
        let domains = [
            Domain::float(-3.0, 7.0),
            Domain::log_float(1e-6, 1e3),
            Domain::Float {
                low: 0.1,
                high: 0.95,
                log: false,
                step: Some(0.1),
            },
            Domain::int(-4, 9),
            Domain::Int {
                low: 2,
                high: 40,
                log: false,
                step: Some(3),
            },
            Domain::Int {
                low: 1,
                high: 1000,
                log: true,
                step: None,
            },
            Domain::categorical(["a", "b", "c"]),
            Domain::Ordinal {
                choices: ["s", "m", "l", "xl"].map(String::from).to_vec(),
            },
            Domain::categorical(["only"]),
        ];
        let named = domains.into_iter().enumerate();
        Space::new(
            named
                .map(|(i, d)| Parameter::new(i.to_string(), d))
                .collect(),
        )
        .expect("valid")
    }

    proptest! {
        #[test]
        fn any_coordinates_make_a_point_inside(u in prop::collection::vec(-0.5f64..1.5, 9)) {
            let space = every_kind();
            let cube = UnitCube::new(&space);
            for point in [cube.from_unit(&u), cube.from_even(&u)] {
                prop_assert!(space.check(&point).is_ok(), "{point:?}");
                let back = cube.from_unit(&cube.to_unit(&point));
                prop_assert_eq!(&back.0[2..], &point.0[2..]);
                for (a, b) in back.0[..2].iter().zip(&point.0[..2]) {
                    let (Value::Float(a), Value::Float(b)) = (a, b) else { unreachable!() };
                    // exp of a logarithm up to 21 loses at most 21 units of the last place.
                    prop_assert!((a - b).abs() <= 1e-13 * (1.0 + b.abs()));
                }
            }
            let mut snapped = u.clone();
            cube.snap(&mut snapped);
            prop_assert_eq!(cube.from_unit(&snapped).0[2..].to_vec(), cube.from_unit(&u).0[2..].to_vec());
        }
    }

    #[test]
    fn not_a_number_is_the_middle() {
        let cube = UnitCube::new(&every_kind());
        assert_eq!(cube.from_unit(&[f64::NAN; 9]).0[0], Value::Float(2.0));
    }

    #[test]
    fn even_coordinates_make_even_values() {
        let space = Space::new(vec![Parameter::new("n", Domain::int(1, 4))]).expect("valid");
        let cube = UnitCube::new(&space);
        let mut counts = [0; 4];
        for i in 0..400 {
            let Value::Int(n) = cube.from_even(&[(f64::from(i) + 0.5) / 400.0]).0[0] else {
                unreachable!()
            };
            counts[(n - 1) as usize] += 1;
        }
        assert_eq!(counts, [100; 4]);
    }

    #[test]
    fn successors_visit_every_point_once() {
        let space = Space::new(every_kind().parameters()[2..5].to_vec()).expect("valid");
        let cube = UnitCube::new(&space);
        let first = cube.from_unit(&[0.3; 3]);
        let mut point = first.clone();
        let mut seen = Vec::new();
        loop {
            assert!(!seen.contains(&point));
            seen.push(point.clone());
            point = cube.successor(&point);
            if point == first {
                break;
            }
        }
        assert_eq!(Some(seen.len() as u64), space.n_points());
    }
}
