//! Evidence and intervals that stay valid however often one looks: a mixture t-test.
//! In: moments of one or two groups. Out: an e-value, a confidence interval.
//! Called from: [`super::Experiment`].
//! Notation: D difference of means (or one mean), s its standard error, nu its degrees of freedom,
//! n effective number of values, tau expected effect in standard deviations, g = 1 + n tau^2,
//! t = (D - delta) / s.
//!
//! Give the standardised effect the prior N(0, tau^2) and the variance its right Haar prior. The
//! ratio of the marginal likelihood to that under no effect is then
//! `e = g^(-1/2) ((1 + t^2/nu) / (1 + t^2/(nu g)))^((nu+1)/2)`,
//! and under no effect it is a non-negative martingale of mean 1 in the order of arrival, so by
//! Ville's inequality it ever reaches 1/alpha with probability at most alpha. The values of delta
//! whose e stays below 1/alpha form the confidence sequence. Two groups of unequal variance use
//! Welch's s and nu, for which the bound is asymptotic; as nu grows e tends to the normal mixture.
//! Invariants: e >= 0, and equal to 1 in the mean when there is no effect.
//! Reference: Lai (1976), Ann. Statist. 4; Perez-Ortiz, Lardy, de Heide and Grunwald (2024),
//! arXiv:2208.07610; Wang and Ramdas (2023), arXiv:2310.03722; Howard, Ramdas, McAuliffe and Sekhon
//! (2021), arXiv:1810.08240 (the normal mixture); Welch (1947), Biometrika 34.

use serde::{Deserialize, Serialize};

use super::Moments;

/// A confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// What the test knows of an estimate.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    d: f64,
    s: f64,
    nu: f64,
    n: f64,
}

/// Difference of the means by Welch; `None` while a group has fewer than two values or neither has
/// any spread.
fn difference(treated: &Moments, control: &Moments) -> Option<Estimate> {
    let (n1, n2) = (treated.len() as f64, control.len() as f64);
    let (v1, v2) = (treated.variance()? / n1, control.variance()? / n2);
    let v = v1 + v2;
    if v <= 0.0 || !v.is_finite() {
        return None;
    }
    let (w1, w2) = (v1 / v, v2 / v);
    let nu = 1.0 / (w1 * w1 / (n1 - 1.0) + w2 * w2 / (n2 - 1.0));
    let d = treated.mean() - control.mean();
    Some(Estimate {
        d,
        s: v.sqrt(),
        nu,
        n: n1 * n2 / (n1 + n2),
    })
}

/// Logarithm of the e-value of t.
fn ln_e(t: f64, nu: f64, g: f64) -> f64 {
    let t2 = t * t / nu;
    0.5 * ((nu + 1.0) * (t2.ln_1p() - (t2 / g).ln_1p()) - g.ln())
}

/// Half the width of the interval: the `s |t|` at which e is `1 / alpha`. `None` while no t, however
/// large, is evidence enough.
fn half_width(estimate: Estimate, alpha: f64, tau: f64) -> Option<f64> {
    let Estimate { s, nu, n, .. } = estimate;
    let g = 1.0 + n * tau * tau;
    // ((1 + x) / (1 + x/g)) = c at x = t^2/nu has the root x = (c - 1) / (1 - c/g).
    let ln_c = (g.ln() - 2.0 * alpha.ln()) / (nu + 1.0);
    let x = ln_c.exp_m1() / (1.0 - (ln_c - g.ln()).exp());
    (ln_c < g.ln()).then(|| s * (nu * x).sqrt())
}

/// Evidence that the two means differ; 1 is none. `effect_size`: tau above, > 0.
/// `None` while a group has fewer than two values or neither group has any spread.
///
/// # Cost O(1)
pub fn difference_e_value(treated: &Moments, control: &Moments, effect_size: f64) -> Option<f64> {
    let Estimate { d, s, nu, n } = difference(treated, control)?;
    let g = 1.0 + n * effect_size * effect_size;
    Some(ln_e(d / s, nu, g).exp())
}

/// Interval that holds mean(treated) - mean(control) at all times together with probability
/// `1 - alpha`. `None` while it would be unbounded.
///
/// # Example
/// ```
/// use layer5_optimize::experiment::{Moments, difference_interval};
/// let (mut a, mut b) = (Moments::default(), Moments::default());
/// a.extend((0..100).map(|i| f64::from(i % 10)));
/// b.extend((0..100).map(|i| f64::from(i % 10) - 5.0));
/// let interval = difference_interval(&a, &b, 0.05, 0.4).expect("enough values");
/// assert!(interval.lower > 3.0 && interval.upper < 7.0);
/// ```
pub fn difference_interval(
    treated: &Moments,
    control: &Moments,
    alpha: f64,
    effect_size: f64,
) -> Option<Interval> {
    let estimate = difference(treated, control)?;
    let half = half_width(estimate, alpha, effect_size)?;
    Some(Interval {
        lower: estimate.d - half,
        upper: estimate.d + half,
    })
}

/// Interval that holds the mean of one group at all times together with probability `1 - alpha`;
/// `effect_size` is where, in standard deviations from the mean, it is most sensitive.
/// `None` while it would be unbounded or the values have no spread.
pub fn mean_interval(values: &Moments, alpha: f64, effect_size: f64) -> Option<Interval> {
    let n = values.len() as f64;
    let s = (values.variance()? / n).sqrt();
    if s <= 0.0 || !s.is_finite() {
        return None;
    }
    let half = half_width(
        Estimate {
            d: values.mean(),
            s,
            nu: n - 1.0,
            n,
        },
        alpha,
        effect_size,
    )?;
    Some(Interval {
        lower: values.mean() - half,
        upper: values.mean() + half,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_is_one_over_alpha_at_the_ends_of_the_interval() {
        for (nu, n, alpha, tau) in [
            (8.0, 5.0, 0.05, 0.4),
            (30.0, 10.0, 0.01, 1.0),
            (1e6, 2.5e5, 0.05, 0.4),
        ] {
            let estimate = Estimate {
                d: 0.0,
                s: 0.3,
                nu,
                n,
            };
            let Some(half) = half_width(estimate, alpha, tau) else {
                assert_eq!(nu, 8.0, "only the smallest sample is unbounded");
                continue;
            };
            let e = ln_e(half / 0.3, nu, 1.0 + n * tau * tau).exp();
            assert!((e * alpha - 1.0).abs() < 1e-9, "nu {nu}: e {e}");
        }
    }

    #[test]
    fn many_values_give_the_normal_mixture_of_howard_et_al() {
        // Boundary sqrt((v + rho) ln((v + rho) / (rho alpha^2))) on the sum, v = n, rho = 1/tau^2.
        let (n, tau, alpha): (f64, f64, f64) = (1e6, 0.4, 0.05);
        let rho = 1.0 / (tau * tau);
        let normal = ((n + rho) * ((n + rho) / (rho * alpha * alpha)).ln()).sqrt() / n;
        let estimate = Estimate {
            d: 0.0,
            s: 1.0 / n.sqrt(),
            nu: n - 1.0,
            n,
        };
        let half = half_width(estimate, alpha, tau).unwrap();
        // The t-mixture differs by a relative t^2 / (4 nu), here below 1e-5.
        assert!(
            (half / normal - 1.0).abs() < 1e-5,
            "{half} against {normal}"
        );
    }

    #[test]
    fn no_difference_is_no_evidence() {
        assert!(ln_e(0.0, 10.0, 2.0) < 0.0);
        assert!(ln_e(2.0, 10.0, 2.0) < ln_e(4.0, 10.0, 2.0));
    }

    /// Under no effect and equal variances, e has mean 1 at every fixed sample size: integrate it
    /// against the density of Student's t.
    #[test]
    fn the_mean_of_e_under_no_effect_is_one() {
        for (nu, g) in [(4.0, 1.5), (18.0, 2.6), (60.0, 9.0)] {
            let ln_density = |t: f64| -0.5 * (nu + 1.0) * (t * t / nu).ln_1p();
            let (mut mass, mut mean) = (0.0, 0.0);
            // t = tan(u) maps the line to an interval; 200 000 midpoints are exact to 1e-8 here.
            let steps = 200_000;
            for i in 0..steps {
                let u = std::f64::consts::PI * ((i as f64 + 0.5) / steps as f64 - 0.5);
                let (t, jacobian) = (u.tan(), 1.0 / (u.cos() * u.cos()));
                mass += ln_density(t).exp() * jacobian;
                mean += (ln_density(t) + ln_e(t, nu, g)).exp() * jacobian;
            }
            assert!(
                (mean / mass - 1.0).abs() < 1e-6,
                "nu {nu} g {g}: {}",
                mean / mass
            );
        }
    }

    #[test]
    fn without_spread_or_values_nothing_is_said() {
        let (mut a, mut b) = (Moments::default(), Moments::default());
        assert_eq!(difference_e_value(&a, &b, 0.4), None);
        a.extend([1.0, 1.0, 1.0]);
        b.extend([2.0, 2.0, 2.0]);
        assert_eq!(difference_interval(&a, &b, 0.05, 0.4), None);
        assert_eq!(mean_interval(&a, 0.05, 0.4), None);
    }
}
