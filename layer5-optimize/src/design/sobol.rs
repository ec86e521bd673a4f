//! Sobol's low-discrepancy sequence with Owen scrambling: evenly spread points, however many are taken.
//! In: an index, an axis, a seed. Out: coordinates in `[0, 1)`. Called from: [`crate::study`] as a sampler, and by
//! [`crate::gp`] and [`crate::auto`] for first designs and candidates.
//! Invariants: a prefix of length `2^m` has exactly one point in each of `2^m` equal slices of every axis among the
//! first [`AXES_MAX`]; later axes are even and independent only.
//! Reference: Joe and Kuo (2008), direction numbers `new-joe-kuo-6`, <https://doi.org/10.1137/070709359>; Burley (2020),
//! "Practical hash-based Owen scrambling", JCGT 9(4).

use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::sampler::{Known, Proposal, Sampler, SamplerKind};
use crate::seed::mix;
use crate::trial::Why;

/// Axes that have direction numbers.
pub const AXES_MAX: usize = 32;

/// The scrambled sequence as a sampler: trial `n` is its `n`-th point.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Sobol;

impl Sampler for Sobol {
    fn propose(&mut self, known: &Known<'_>, _: &mut Pcg64) -> Proposal {
        let u = scrambled(known.n_asked as u32, known.cube.len(), known.seed);
        let unit = known.cube.to_unit(&known.cube.from_even(&u));
        Proposal {
            unit,
            by: SamplerKind::Sobol,
            why: Why::InitialDesign,
            expected: None,
        }
    }
}

/// Point `index` of the plain sequence, `d` coordinates, `d` up to [`AXES_MAX`]; point 0 is the origin.
#[must_use]
pub fn plain(index: u32, d: usize) -> Vec<f64> {
    let directions = Directions::new(d.min(AXES_MAX));
    directions.bits(index).map(to_unit).collect()
}

/// Point `index` of the sequence scrambled by `seed`, `d` coordinates.
#[must_use]
pub fn scrambled(index: u32, d: usize, seed: u64) -> Vec<f64> {
    scrambled_block(index, 1, d, seed).swap_remove(0)
}

/// Points `start .. start + n` of the sequence scrambled by `seed`.
#[must_use]
pub fn scrambled_block(start: u32, n: u32, d: usize, seed: u64) -> Vec<Vec<f64>> {
    let directions = Directions::new(d.min(AXES_MAX));
    let keys: Vec<u64> = (0..d as u64).map(|j| mix(seed ^ mix(j))).collect();
    (0..n)
        .map(|i| {
            let index = start.wrapping_add(i);
            let known = directions
                .bits(index)
                .zip(&keys)
                .map(|(x, key)| owen(x, *key as u32));
            let rest = keys
                .iter()
                .skip(AXES_MAX)
                .map(|key| (mix(key.wrapping_add(u64::from(index))) >> 32) as u32);
            known.chain(rest).map(to_unit).collect()
        })
        .collect()
}

fn to_unit(bits: u32) -> f64 {
    f64::from(bits) / 4_294_967_296.0
}

/// Nested uniform scrambling: every bit is flipped by a hash of the bits above it.
fn owen(bits: u32, key: u32) -> u32 {
    let mut x = bits.reverse_bits();
    x = x.wrapping_add(key);
    for factor in [0x6c50_b47c, 0xb82f_1e52, 0xc7af_e638, 0x8d22_f6e6] {
        x ^= x.wrapping_mul(factor);
    }
    x.reverse_bits()
}

struct Directions {
    numbers: Vec<[u32; 32]>,
}

impl Directions {
    fn new(d: usize) -> Self {
        let numbers = (0..d).map(|axis| {
            let mut v = [0u32; 32];
            if axis == 0 {
                for (k, v) in v.iter_mut().enumerate() {
                    *v = 1 << (31 - k);
                }
                return v;
            }
            let (degree, a, m) = PRIMITIVE[axis - 1];
            for k in 0..32 {
                if k < degree {
                    v[k] = m[k] << (31 - k);
                    continue;
                }
                v[k] = v[k - degree] ^ (v[k - degree] >> degree);
                for i in 1..degree {
                    if (a >> (degree - 1 - i)) & 1 == 1 {
                        v[k] ^= v[k - i];
                    }
                }
            }
            v
        });
        Self {
            numbers: numbers.collect(),
        }
    }

    /// The axes' coordinates of one point as 32-bit fractions, in Gray-code order.
    fn bits(&self, index: u32) -> impl Iterator<Item = u32> {
        let gray = index ^ (index >> 1);
        self.numbers.iter().map(move |v| {
            (0..32)
                .filter(|k| (gray >> k) & 1 == 1)
                .fold(0, |x, k| x ^ v[k as usize])
        })
    }
}

/// Degree and coefficients of the primitive polynomial and the first direction numbers, for axes 1 to 31.
const PRIMITIVE: [(usize, u32, &[u32]); AXES_MAX - 1] = [
    (1, 0, &[1]),
    (2, 1, &[1, 3]),
    (3, 1, &[1, 3, 1]),
    (3, 2, &[1, 1, 1]),
    (4, 1, &[1, 1, 3, 3]),
    (4, 4, &[1, 3, 5, 13]),
    (5, 2, &[1, 1, 5, 5, 17]),
    (5, 4, &[1, 1, 5, 5, 5]),
    (5, 7, &[1, 1, 7, 11, 19]),
    (5, 11, &[1, 1, 5, 1, 1]),
    (5, 13, &[1, 1, 1, 3, 11]),
    (5, 14, &[1, 3, 5, 5, 31]),
    (6, 1, &[1, 3, 3, 9, 7, 49]),
    (6, 13, &[1, 1, 1, 15, 21, 21]),
    (6, 16, &[1, 3, 1, 13, 27, 49]),
    (6, 19, &[1, 1, 1, 15, 7, 5]),
    (6, 22, &[1, 3, 1, 15, 13, 25]),
    (6, 25, &[1, 1, 5, 5, 19, 61]),
    (7, 1, &[1, 3, 7, 11, 23, 15, 103]),
    (7, 4, &[1, 3, 7, 13, 13, 15, 69]),
    (7, 7, &[1, 1, 3, 13, 7, 35, 63]),
    (7, 8, &[1, 3, 5, 9, 1, 25, 53]),
    (7, 14, &[1, 3, 1, 13, 9, 35, 107]),
    (7, 19, &[1, 3, 1, 5, 27, 61, 31]),
    (7, 21, &[1, 1, 5, 11, 19, 41, 61]),
    (7, 28, &[1, 3, 5, 3, 3, 13, 69]),
    (7, 31, &[1, 1, 7, 13, 1, 19, 1]),
    (7, 32, &[1, 3, 7, 5, 13, 19, 59]),
    (7, 37, &[1, 1, 3, 9, 25, 29, 41]),
    (7, 41, &[1, 3, 5, 13, 23, 1, 55]),
    (7, 42, &[1, 3, 7, 3, 13, 59, 17]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_sequence() {
        // scipy.stats.qmc.Sobol(8, scramble=False) and (32, scramble=False), which use the same direction numbers.
        assert_eq!(plain(1, 8), [0.5; 8]);
        assert_eq!(
            plain(2, 8),
            [0.75, 0.25, 0.25, 0.25, 0.75, 0.75, 0.25, 0.75]
        );
        assert_eq!(
            plain(9, 8),
            [
                0.6875, 0.8125, 0.4375, 0.9375, 0.0625, 0.8125, 0.9375, 0.4375
            ]
        );
        let thousandths: Vec<u32> = plain(777, 32).iter().map(|u| (u * 1024.0) as u32).collect();
        assert_eq!(thousandths[..8], [709, 959, 167, 281, 651, 365, 195, 781]);
        assert_eq!(thousandths[28..], [65, 113, 555, 921]);
    }

    #[test]
    fn scrambling_keeps_one_point_in_each_slice() {
        for seed in [0, 1, 99] {
            let points = scrambled_block(0, 64, AXES_MAX, seed);
            for axis in 0..AXES_MAX {
                let mut slices: Vec<u32> = points.iter().map(|p| (p[axis] * 64.0) as u32).collect();
                slices.sort_unstable();
                assert_eq!(
                    slices,
                    (0..64).collect::<Vec<_>>(),
                    "axis {axis}, seed {seed}"
                );
            }
        }
    }

    #[test]
    fn axes_beyond_the_table_are_inside_and_even() {
        let points = scrambled_block(0, 1000, 200, 3);
        let mean = points.iter().map(|p| p[199]).sum::<f64>() / 1000.0;
        // Four standard errors of a mean of 1000 even draws are 0.037.
        assert!((mean - 0.5).abs() < 0.037);
        assert!(points.iter().flatten().all(|u| (0.0..1.0).contains(u)));
    }
}
