//! Logarithm of the expected improvement, exact far into the tail where the improvement itself underflows.
//! In: predicted mean and standard deviation, the value to beat. Out: the logarithm and its derivatives. Called from:
//! [`super::maximize`]. Notation: `v = (best - mean) / sd`, `h(v) = phi(v) + v Phi(v)`, `EI = sd h(v)`; for `v < 0`,
//! `M = Phi(v) / phi(v)` is Mills' ratio and `h = phi (1 - |v| M)`.
//! Reference: Ament, Daulton, Eriksson, Balandat and Bakshy (2023), <https://arxiv.org/abs/2310.20708>; the continued
//! fraction of Mills' ratio is Laplace's (Abramowitz and Stegun 26.2.14).

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// The logarithm of the expected improvement and its derivatives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogEi {
    /// `ln EI`.
    pub value: f64,
    /// By the predicted mean.
    pub by_mean: f64,
    /// By the predicted standard deviation.
    pub by_sd: f64,
}

/// The logarithm of the expected improvement below `best` of a normal value with this mean and positive `sd`.
#[must_use]
pub fn log_ei(mean: f64, sd: f64, best: f64) -> LogEi {
    let v = (best - mean) / sd;
    let ln_phi = -0.5 * v * v - 0.5 * (2.0 * PI).ln();
    // `below` is Phi / h and `density` is phi / h.
    let (ln_h, below, density) = if v > -1.0 {
        let (phi, big_phi) = (ln_phi.exp(), normal_cdf(v));
        let h = phi + v * big_phi;
        (h.ln(), big_phi / h, phi / h)
    } else {
        let (mills, rest) = mills(-v);
        (ln_phi + rest.ln(), mills / rest, 1.0 / rest)
    };
    LogEi {
        value: ln_h + sd.ln(),
        by_mean: -below / sd,
        by_sd: density / sd,
    }
}

/// The standard normal distribution function, to 1e-14.
#[must_use]
pub fn normal_cdf(v: f64) -> f64 {
    let t = v.abs();
    let tail = if t < 2.5 {
        // Series of the integral of the density from 0 (Abramowitz and Stegun 26.2.11): all terms positive.
        let (mut term, mut sum, mut k) = (t, t, 1.0);
        while term > sum * 1e-17 {
            k += 2.0;
            term *= t * t / k;
            sum += term;
        }
        0.5 - sum * density(t)
    } else {
        mills(t).0 * density(t)
    };
    if v < 0.0 { tail } else { 1.0 - tail }
}

/// The logarithm of the standard normal distribution function, and its derivative, exact far into the tail.
#[must_use]
pub fn ln_normal_cdf(t: f64) -> (f64, f64) {
    if t > -1.0 {
        let p = normal_cdf(t);
        (p.ln(), density(t) / p)
    } else {
        let m = mills(-t).0;
        (-0.5 * t * t - 0.5 * (2.0 * PI).ln() + m.ln(), 1.0 / m)
    }
}

/// The value below which a standard normal one is with probability `p` inside 0..1, to 1e-12, by halving.
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-38.0, 38.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if normal_cdf(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

fn density(t: f64) -> f64 {
    (-0.5 * t * t).exp() * FRAC_1_SQRT_2 / PI.sqrt()
}

/// Mills' ratio `M` at `t >= 1`, and `1 - t M` without cancellation: with `M = 1 / (t + N)` it is `N / (t + N)`.
fn mills(t: f64) -> (f64, f64) {
    // The fraction needs about 400 / t^2 levels for full accuracy.
    let levels = (8.0 + 700.0 / (t * t)).min(400.0) as u32;
    let mut n = 0.0;
    for k in (1..=levels).rev() {
        n = f64::from(k) / (t + n);
    }
    (1.0 / (t + n), n / (t + n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_reference_values() {
        // scipy.stats.norm.cdf
        for (v, p) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_542_9),
            (-1.96, 0.024_997_895_148_220_435),
            (-3.0, 0.001_349_898_031_630_094_5),
        ] {
            assert!((normal_cdf(v) - p).abs() < 1e-14, "{v}: {}", normal_cdf(v));
        }
        // mpmath: ln(phi(v) + v Phi(v))
        for (v, ln_h) in [
            (0.0, -0.918_938_533_204_672_7),
            (1.0, 0.080_026_218_849_307_06),
        ] {
            let found = log_ei(0.0, 1.0, v).value;
            assert!((found - ln_h).abs() < 1e-9, "{v}: {found}");
        }
        // Far out ln h = ln phi - 2 ln |v| + ln(1 - 3 / v^2 + ...).
        let v: f64 = -1e4;
        let asymptotic = -0.5 * v * v - 0.918_938_533_204_672_7 - 2.0 * v.abs().ln();
        assert!((log_ei(0.0, 1.0, v).value - asymptotic).abs() < 1e-6);
    }

    #[test]
    fn the_distribution_function_has_its_logarithm_and_its_inverse() {
        for t in [-30.0, -2.0, -0.9, 0.3, 3.0] {
            let (ln, slope) = ln_normal_cdf(t);
            let h = 1e-5;
            let difference = (ln_normal_cdf(t + h).0 - ln_normal_cdf(t - h).0) / (2.0 * h);
            // The third derivative is below 3, so central differences err by 1e-10 and rounding by 1e-9.
            assert!((difference - slope).abs() < 1e-7 * (1.0 + slope), "{t}");
            assert!(t < -5.0 || (ln.exp() - normal_cdf(t)).abs() < 1e-14);
        }
        // scipy.stats.norm.ppf
        assert!((normal_quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-9);
    }

    #[test]
    fn is_smooth_where_the_two_forms_meet() {
        let (left, right) = (
            log_ei(0.0, 1.0, -1.0 - 1e-12),
            log_ei(0.0, 1.0, -1.0 + 1e-12),
        );
        assert!((left.value - right.value).abs() < 1e-10);
        assert!((left.by_mean - right.by_mean).abs() < 1e-10);
    }

    #[test]
    fn derivatives_match_differences() {
        for best in [-9.0, -2.0, -0.5, 0.7, 4.0] {
            let (mean, sd, h) = (0.1, 0.7, 1e-6);
            let at = |m: f64, s: f64| log_ei(m, s, best).value;
            let found = log_ei(mean, sd, best);
            let by_mean = (at(mean + h, sd) - at(mean - h, sd)) / (2.0 * h);
            let by_sd = (at(mean, sd + h) - at(mean, sd - h)) / (2.0 * h);
            assert!((by_mean - found.by_mean).abs() < 1e-6 * (1.0 + by_mean.abs()));
            assert!((by_sd - found.by_sd).abs() < 1e-6 * (1.0 + by_sd.abs()));
        }
    }
}
