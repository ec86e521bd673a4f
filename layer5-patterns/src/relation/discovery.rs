//! Which of many tests to believe: the procedure of Benjamini and Hochberg.
//! In: p-values. Out: accepted or not, in the same order. Called from: [`super::relations`].
//! Reference: Benjamini and Hochberg (1995), <https://doi.org/10.1111/j.2517-6161.1995.tb02031.x>.

/// Accepts as many as keep the expected share of false ones at or below `rate`.
///
/// `p_values`: 0..=1, any order; those that are not numbers are never accepted. Returns one answer each.
///
/// ```
/// use layer5_patterns::relation::benjamini_hochberg;
/// assert_eq!(benjamini_hochberg(&[0.01, 0.6, 0.02], 0.05), [true, false, true]);
/// ```
pub fn benjamini_hochberg(p_values: &[f64], rate: f64) -> Vec<bool> {
    let mut sorted: Vec<f64> = p_values.iter().copied().filter(|p| p.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let largest = sorted
        .iter()
        .enumerate()
        .rev()
        .find(|(i, p)| **p <= rate * (*i as f64 + 1.0) / n)
        .map(|(_, p)| *p);
    p_values
        .iter()
        .map(|p| largest.is_some_and(|limit| *p <= limit))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fifteen p-values of the paper's section 3.2 at rate 0.05: the first four are rejected hypotheses.
    #[test]
    fn agrees_with_the_paper() {
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
            0.5719, 0.6528, 0.7590, 1.0,
        ];
        let accepted = benjamini_hochberg(&p, 0.05);
        assert_eq!(accepted.iter().filter(|a| **a).count(), 4);
        assert!(benjamini_hochberg(&[], 0.05).is_empty());
        assert_eq!(benjamini_hochberg(&[f64::NAN], 0.05), [false]);
    }
}
