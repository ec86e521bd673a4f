//! Latin hypercube design: `n` points of which each axis sees one in every slice of width `1 / n`.
//! In: the numbers of points and axes, a generator. Out: coordinates. Called from: [`crate::auto`], callers who know
//! beforehand how many points they will spend.
//! Reference: McKay, Beckman and Conover (1979), <https://doi.org/10.2307/1268522>.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;

/// `n` points of `d` coordinates in `[0, 1)`.
#[must_use]
pub fn latin_hypercube(n: usize, d: usize, rng: &mut Pcg64) -> Vec<Vec<f64>> {
    let mut points = vec![vec![0.0; d]; n];
    let mut slices: Vec<usize> = (0..n).collect();
    for j in 0..d {
        slices.shuffle(rng);
        for (point, slice) in points.iter_mut().zip(&slices) {
            point[j] = (*slice as f64 + rng.random::<f64>()) / n as f64;
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::stream;

    #[test]
    fn every_slice_of_every_axis_holds_one_point() {
        for n in [0, 1, 7, 32] {
            let points = latin_hypercube(n, 3, &mut stream(5, 0));
            for j in 0..3 {
                let mut slices: Vec<usize> =
                    points.iter().map(|p| (p[j] * n as f64) as usize).collect();
                slices.sort_unstable();
                assert_eq!(slices, (0..n).collect::<Vec<_>>());
            }
        }
    }
}
