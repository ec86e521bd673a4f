//! How much one more change point must pay, so that nobody has to choose a penalty.
//! In: the series. Out: a penalty in units of twice the negative log likelihood. Called from: [`super::change_points`].
//! Autocorrelated noise looks like changes of level; its long-run variance exceeds its variance by (1+phi)/(1-phi) for a
//! first-order process, and so must the penalty. Reference: Lavielle and Moulines (2000); Romano et al. (2022), DeCAFS.

/// Autocorrelation beyond this would make the penalty of a random walk endless and hide every change of level.
pub(super) const PHI_MAX: f64 = 0.95;

/// `ln n` for each of `n_parameters` that a change adds, times the inflation of variance by autocorrelation `phi`.
///
/// `phi`: lag-1 autocorrelation of the noise; negative values do not lower the penalty.
pub fn autocorrelation_penalty(n: usize, n_parameters: usize, phi: f64) -> f64 {
    let phi = phi.clamp(0.0, PHI_MAX);
    n_parameters as f64 * (n.max(2) as f64).ln() * (1.0 + phi) / (1.0 - phi)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn penalty_grows_with_autocorrelation_but_stays_finite() {
        let white = autocorrelation_penalty(100, 1, 0.0);
        assert_eq!(white, 100.0_f64.ln());
        assert_eq!(autocorrelation_penalty(100, 1, -0.7), white);
        assert_eq!(autocorrelation_penalty(100, 1, 0.5), 3.0 * white);
        assert!(autocorrelation_penalty(0, 1, 1.0).is_finite());
    }
}
