//! How well clusters stand apart: the mean silhouette.
//! In: rows and labels. Out: -1..=1. Called from: [`super::cluster_agents`].
//! Reference: Rousseeuw (1987), <https://doi.org/10.1016/0377-0427(87)90125-7>.

use ndarray::Array2;

use super::euclid;

/// Rows beyond this many are judged against an even selection: the mean is then exact to about 2 %.
const ROWS_MAX: usize = 1000;

/// Mean silhouette of `labels` (shape `[rows]`, numbered from 0); 0 when there are fewer than two clusters.
///
/// # Cost
/// O(rows^2 columns), at most 1000 rows.
pub fn silhouette(rows: &Array2<f64>, labels: &[usize]) -> f64 {
    let step = rows.nrows().div_ceil(ROWS_MAX).max(1);
    let chosen: Vec<usize> = (0..rows.nrows().min(labels.len())).step_by(step).collect();
    let n_clusters = chosen.iter().map(|&i| labels[i] + 1).max().unwrap_or(0);
    let mut sizes = vec![0_usize; n_clusters];
    for &i in &chosen {
        sizes[labels[i]] += 1;
    }
    if sizes.iter().filter(|s| **s > 0).count() < 2 {
        return 0.0;
    }
    let mut total = 0.0;
    for &i in &chosen {
        let mut sums = vec![0.0; n_clusters];
        for &j in &chosen {
            sums[labels[j]] += euclid(rows.row(i), rows.row(j));
        }
        let own = labels[i];
        if sizes[own] < 2 {
            continue;
        }
        let inner = sums[own] / (sizes[own] - 1) as f64;
        let outer = (0..n_clusters)
            .filter(|&c| c != own && sizes[c] > 0)
            .map(|c| sums[c] / sizes[c] as f64)
            .fold(f64::INFINITY, f64::min);
        let larger = inner.max(outer);
        if larger > 0.0 {
            total += (outer - inner) / larger;
        }
    }
    total / chosen.len() as f64
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    /// By hand: each point is 1 from its mate and 10 or 11 from the others.
    #[test]
    fn agrees_with_a_case_by_hand() {
        let rows = arr2(&[[0.0], [1.0], [11.0], [12.0]]);
        let expected = (2.0 * (1.0 - 1.0 / 11.5) + 2.0 * (1.0 - 1.0 / 10.5)) / 4.0;
        assert!((silhouette(&rows, &[0, 0, 1, 1]) - expected).abs() < 1e-12);
        assert_eq!(silhouette(&rows, &[0, 0, 0, 0]), 0.0);
    }
}
