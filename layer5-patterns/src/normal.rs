//! The standard normal distribution: two-sided p-value and quantile.
//! In: a z score or a probability. Out: a probability or a z score. Called from: trend, relation, forecast.
//! Reference: erfc by its Chebyshev fit (Numerical Recipes, 3rd ed., section 6.2); quantile by Acklam's rational
//! approximation with one Halley step, relative error below 1e-9.

use std::f64::consts::{PI, SQRT_2};

/// Probability of a standard normal beyond `z` in either direction.
pub(crate) fn two_sided_p(z: f64) -> f64 {
    erfc(z.abs() / SQRT_2)
}

/// The z with `P(Z <= z) = p`; `p` is held inside `(1e-300, 1 - 1e-16)`.
pub(crate) fn quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 5] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 4] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
    ];
    const TAIL: f64 = 0.02425;
    let p = p.clamp(1e-300, 1.0 - 1e-16);
    let tail = |q: f64| {
        (((((C[0] * q + C[1]) * q + C[2]) * q + C[3]) * q + C[4]) * q + C[5])
            / ((((D[0] * q + D[1]) * q + D[2]) * q + D[3]) * q + 1.0)
    };
    let z = if p < TAIL {
        tail((-2.0 * p.ln()).sqrt())
    } else if p > 1.0 - TAIL {
        -tail((-2.0 * (1.0 - p).ln()).sqrt())
    } else {
        let q = p - 0.5;
        let r = q * q;
        (((((A[0] * r + A[1]) * r + A[2]) * r + A[3]) * r + A[4]) * r + A[5]) * q
            / (((((B[0] * r + B[1]) * r + B[2]) * r + B[3]) * r + B[4]) * r + 1.0)
    };
    if z.abs() > 30.0 {
        return z;
    }
    let excess = 0.5 * erfc(-z / SQRT_2) - p;
    let u = excess * (2.0 * PI).sqrt() * (z * z / 2.0).exp();
    z - u / (1.0 + z * u / 2.0)
}

fn erfc(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 28] = [
        -1.3026537197817094,
        6.419_697_923_564_903e-1,
        1.9476473204185836e-2,
        -9.561_514_786_808_63e-3,
        -9.46595344482036e-4,
        3.66839497852761e-4,
        4.2523324806907e-5,
        -2.0278578112534e-5,
        -1.624290004647e-6,
        1.303655835580e-6,
        1.5626441722e-8,
        -8.5238095915e-8,
        6.529054439e-9,
        5.059343495e-9,
        -9.91364156e-10,
        -2.27365122e-10,
        9.6467911e-11,
        2.394038e-12,
        -6.886027e-12,
        8.94487e-13,
        3.13092e-13,
        -1.12708e-13,
        3.81e-16,
        7.106e-15,
        -1.523e-15,
        -9.4e-17,
        1.21e-16,
        -2.8e-17,
    ];
    let z = x.abs();
    let t = 2.0 / (2.0 + z);
    let ty = 4.0 * t - 2.0;
    let (mut d, mut dd) = (0.0, 0.0);
    for &c in COEFFICIENTS[1..].iter().rev() {
        (d, dd) = (ty * d - dd + c, d);
    }
    let tail = t * (-z * z + 0.5 * (COEFFICIENTS[0] + ty * d) - dd).exp();
    if x >= 0.0 { tail } else { 2.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from tables of the normal distribution, to the digits printed there.
    #[test]
    fn agrees_with_published_tables() {
        for (z, p) in [
            (1.0, 0.317_310_507_9),
            (1.96, 0.049_995_790_3),
            (3.0, 0.002_699_796_1),
        ] {
            assert!((two_sided_p(z) - p).abs() < 1e-9, "{z}: {}", two_sided_p(z));
        }
        for (p, z) in [
            (0.5, 0.0),
            (0.975, 1.959_963_984_5),
            (0.001, -3.090_232_306_2),
        ] {
            assert!((quantile(p) - z).abs() < 1e-8, "{p}: {}", quantile(p));
        }
    }

    #[test]
    fn extremes_stay_finite() {
        assert!(quantile(0.0).is_finite() && quantile(1.0).is_finite());
        assert_eq!(two_sided_p(f64::INFINITY), 0.0);
    }
}
