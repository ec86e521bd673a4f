//! Area under the precision-recall curve of the dense score.
//! In: scores per row, which rows lie in a label window. Out: average precision. Called from: `main`.
//! Invariants: rows of equal score enter together, so the order of equal rows can't matter.
//! Reference: Davis and Goadrich (2006), <https://doi.org/10.1145/1143844.1143874>, step interpolation.

/// Average precision; `None` without a positive row.
///
/// # Example
/// ```
/// use layer5_bench::quality::auc::average_precision;
/// assert_eq!(average_precision(&[0.9, 0.8, 0.1], &[true, false, false]), Some(1.0));
/// assert_eq!(average_precision(&[0.1, 0.8], &[false, false]), None);
/// ```
pub fn average_precision(scores: &[f64], positive: &[bool]) -> Option<f64> {
    let total = positive.iter().filter(|&&p| p).count() as f64;
    if total == 0.0 {
        return None;
    }
    let mut rows: Vec<(f64, bool)> = scores
        .iter()
        .copied()
        .zip(positive.iter().copied())
        .collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut hits, mut area, mut recall) = (0.0, 0.0, 0.0);
    for (i, &(score, is_positive)) in rows.iter().enumerate() {
        hits += f64::from(u8::from(is_positive));
        if rows.get(i + 1).is_none_or(|next| next.0 < score) {
            area += (hits / total - recall) * hits / (i + 1) as f64;
            recall = hits / total;
        }
    }
    Some(area)
}

/// Which of `n` rows lie in a window.
pub fn rows_in(n: usize, windows: &[(usize, usize)]) -> Vec<bool> {
    let mut rows = vec![false; n];
    for &(left, right) in windows {
        rows[left..=right].fill(true);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_give_the_base_rate() {
        let positive = rows_in(100, &[(10, 19)]);
        assert_eq!(average_precision(&[0.5; 100], &positive), Some(0.1));
    }

    #[test]
    fn known_small_case() {
        // Ranks of the positives 1 and 3: (1/1 + 2/3) / 2.
        let area = average_precision(&[0.9, 0.8, 0.7, 0.1], &[true, false, true, false]);
        assert!((area.expect("two positives") - 5.0 / 6.0).abs() < 1e-12);
    }
}
