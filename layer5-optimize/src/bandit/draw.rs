//! Random numbers in the shapes that posteriors have: normal, gamma, beta, Student t.
//! In: a generator made from a seed. Out: one draw. Called from: the Thompson policies.
//! Notation: alpha, beta shape parameters; nu degrees of freedom.
//! Reference: Leva (1992), ACM TOMS 18, algorithm 712 (normal by ratio of uniforms); Marsaglia and
//! Tsang (2000), ACM TOMS 26 (gamma).

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::seed;

/// An unrelated seed for every pair.
pub(crate) fn mix(seed: u64, index: u64) -> u64 {
    seed::mix(seed::mix(seed).wrapping_add(index))
}

/// The generator of one decision.
pub(crate) fn generator(seed: u64) -> Pcg64Mcg {
    let low = mix(seed, 0).to_le_bytes();
    let high = mix(seed, 1).to_le_bytes();
    let mut state = [0; 16];
    state[..8].copy_from_slice(&low);
    state[8..].copy_from_slice(&high);
    Pcg64Mcg::from_seed(state)
}

/// Uniform on `[0, 1)`, 53 bits.
pub(crate) fn uniform<R: Rng>(rng: &mut R) -> f64 {
    const ULP: f64 = 1.0 / (1u64 << 53) as f64;
    (rng.next_u64() >> 11) as f64 * ULP
}

/// Standard normal. The two quadratic bounds settle 98.8 % of the draws without a logarithm.
pub(crate) fn normal<R: Rng>(rng: &mut R) -> f64 {
    loop {
        let u = 1.0 - uniform(rng);
        let v = 1.7156 * (uniform(rng) - 0.5);
        let x = u - 0.449_871;
        let y = v.abs() + 0.386_595;
        let q = x * x + y * (0.196 * y - 0.254_72 * x);
        if q < 0.275_97 || (q <= 0.278_46 && v * v <= -4.0 * u * u * u.ln()) {
            return v / u;
        }
    }
}

/// Gamma with shape `alpha` > 0 and scale 1.
pub(crate) fn gamma<R: Rng>(rng: &mut R, alpha: f64) -> f64 {
    if alpha < 1.0 {
        let boost = (1.0 - uniform(rng)).powf(1.0 / alpha);
        return gamma(rng, alpha + 1.0) * boost;
    }
    let d = alpha - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let t = 1.0 + c * x;
        if t <= 0.0 {
            continue;
        }
        let v = t * t * t;
        let u = 1.0 - uniform(rng);
        let x2 = x * x;
        if u < 1.0 - 0.0331 * x2 * x2 || u.ln() < 0.5 * x2 + d * (1.0 - v + v.ln()) {
            return d * v;
        }
    }
}

/// Beta(`alpha`, `beta`), both > 0.
pub(crate) fn beta<R: Rng>(rng: &mut R, alpha: f64, beta: f64) -> f64 {
    let x = gamma(rng, alpha);
    let y = gamma(rng, beta);
    let sum = x + y;
    // Both can underflow to 0 for shapes far below 1; the mean is then the honest answer.
    if sum > 0.0 {
        x / sum
    } else {
        alpha / (alpha + beta)
    }
}

/// Student t with `nu` > 0 degrees of freedom.
pub(crate) fn student_t<R: Rng>(rng: &mut R, nu: f64) -> f64 {
    let z = normal(rng);
    z / (gamma(rng, 0.5 * nu) * 2.0 / nu).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = 200_000;

    /// Mean, variance and fourth standardised moment of `N` draws.
    fn moments(mut draw: impl FnMut(&mut Pcg64Mcg) -> f64) -> (f64, f64, f64) {
        let mut rng = generator(7);
        let draws: Vec<f64> = (0..N).map(|_| draw(&mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / N as f64;
        let central = |k: i32| draws.iter().map(|x| (x - mean).powi(k)).sum::<f64>() / N as f64;
        (mean, central(2), central(4) / central(2).powi(2))
    }

    /// Five standard errors of a mean over N draws with variance `var`.
    fn tolerance(var: f64) -> f64 {
        5.0 * (var / N as f64).sqrt()
    }

    #[test]
    fn normal_has_the_moments_of_a_normal() {
        let (mean, var, kurtosis) = moments(normal);
        assert!(mean.abs() < tolerance(1.0), "mean {mean}");
        assert!((var - 1.0).abs() < tolerance(2.0), "variance {var}");
        assert!(
            (kurtosis - 3.0).abs() < tolerance(96.0),
            "kurtosis {kurtosis}"
        );
    }

    #[test]
    fn normal_has_the_tail_of_a_normal() {
        let mut rng = generator(11);
        let beyond = (0..N).filter(|_| normal(&mut rng) > 2.326_347_874).count() as f64;
        assert!(
            (beyond / N as f64 - 0.01).abs() < tolerance(0.0099),
            "{beyond} of {N}"
        );
    }

    #[test]
    fn gamma_has_mean_and_variance_alpha_below_and_above_one() {
        for alpha in [0.3, 1.0, 2.5, 400.0] {
            let (mean, var, _) = moments(|rng| gamma(rng, alpha));
            assert!(
                (mean - alpha).abs() < tolerance(alpha),
                "alpha {alpha}: mean {mean}"
            );
            // Var of the sample variance is (mu4 - var^2)/n with mu4 = 3 alpha^2 + 6 alpha.
            let spread = tolerance(2.0 * alpha * alpha + 6.0 * alpha);
            assert!(
                (var - alpha).abs() < spread,
                "alpha {alpha}: variance {var}"
            );
        }
    }

    #[test]
    fn beta_matches_its_distribution_function() {
        // For integers, P(Beta(2, 3) <= 1/2) = P(Binomial(4, 1/2) >= 2) = 11/16.
        let mut rng = generator(3);
        let below = (0..N).filter(|_| beta(&mut rng, 2.0, 3.0) <= 0.5).count() as f64;
        assert!(
            (below / N as f64 - 0.6875).abs() < tolerance(0.25),
            "{below} of {N}"
        );
    }

    #[test]
    fn student_t_has_its_variance() {
        let (mean, var, _) = moments(|rng| student_t(rng, 10.0));
        assert!(mean.abs() < tolerance(1.25), "mean {mean}");
        // Variance nu/(nu-2) = 1.25, kurtosis 4, so the variance's own variance is 3 * 1.25^2.
        assert!((var - 1.25).abs() < tolerance(4.7), "variance {var}");
    }

    #[test]
    fn neighbouring_seeds_give_unrelated_draws() {
        let draws: Vec<f64> = (0..1000)
            .map(|seed| uniform(&mut generator(seed)))
            .collect();
        let mean = draws.iter().sum::<f64>() / 1000.0;
        // Uniform: variance 1/12, so five standard errors are 0.0456.
        assert!((mean - 0.5).abs() < 0.0456, "mean {mean}");
        let lag: f64 = draws.windows(2).map(|w| (w[0] - 0.5) * (w[1] - 0.5)).sum();
        // Independent pairs: variance 999/144, five standard errors are 13.2.
        assert!(lag.abs() < 13.2, "lagged product {lag}");
    }
}
