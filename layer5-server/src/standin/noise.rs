//! Seeded chance for the stand-ins: one stream per purpose, so that drawing more for one changes no other.
//! In: the run's seed and the number of a stream. Out: a generator, and normal deviates from it.
//! Reference: Box and Muller (1958).

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Streams that are not an agent's; agents use their own index.
pub(super) const STREAM_TRUTH: u64 = 1 << 32;
pub(super) const STREAM_SURFACE: u64 = STREAM_TRUTH + 1;
pub(super) const STREAM_LAYER7: u64 = STREAM_TRUTH + 2;
pub(super) const STREAM_MEASURING: u64 = STREAM_TRUTH + 3;

/// The generator of `stream` under `seed`.
pub(super) fn stream(seed: u64, stream: u64) -> Pcg64 {
    // The golden ratio's bits keep neighbouring streams of neighbouring seeds apart.
    Pcg64::seed_from_u64(seed ^ stream.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A standard normal deviate; always two draws, so a stream's position does not depend on its values.
pub(super) fn normal(rng: &mut Pcg64) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_has_the_moments_of_a_standard_normal() {
        let mut rng = stream(7, 0);
        let n = 20_000;
        let xs: Vec<f64> = (0..n).map(|_| normal(&mut rng)).collect();
        let mean = xs.iter().sum::<f64>() / f64::from(n);
        let var = xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        // Four standard errors: 4/sqrt(n) and 4*sqrt(2/n).
        assert!(mean.abs() < 0.029, "{mean}");
        assert!((var - 1.0).abs() < 0.04, "{var}");
    }

    #[test]
    fn streams_differ_and_repeat() {
        let first = |seed, s| stream(seed, s).random::<u64>();
        assert_eq!(first(7, 1), first(7, 1));
        assert_ne!(first(7, 1), first(7, 2));
        assert_ne!(first(7, 1), first(8, 1));
    }
}
