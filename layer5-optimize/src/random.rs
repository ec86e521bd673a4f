//! Independent even draws: the baseline every other sampler must beat.
//! In: the axes. Out: a [`Proposal`]. Called from: [`crate::study`].

use rand::RngExt;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::sampler::{Known, Proposal, Sampler, SamplerKind};
use crate::trial::Why;
use crate::unit_cube::UnitCube;

/// Draws every parameter evenly and independently.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Random;

impl Sampler for Random {
    fn propose(&mut self, known: &Known<'_>, rng: &mut Pcg64) -> Proposal {
        let unit = even_draw(known.cube, rng);
        Proposal {
            unit,
            by: SamplerKind::Random,
            why: Why::Random,
            expected: None,
        }
    }
}

/// Coordinates of a point in which every value of every axis is equally likely.
#[must_use]
pub fn even_draw(cube: &UnitCube, rng: &mut Pcg64) -> Vec<f64> {
    let u: Vec<f64> = (0..cube.len()).map(|_| rng.random()).collect();
    cube.to_unit(&cube.from_even(&u))
}
