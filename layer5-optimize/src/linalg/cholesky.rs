//! Cholesky factor that grows one row at a time.
//! In: rows of a symmetric positive definite matrix. Out: `L` with `A = L L^T`, solutions, log determinant.
//! Called from: [`crate::gp`]. Notation: row `i` of `L` is packed at `i (i + 1) / 2`.
//! Invariants: every diagonal entry is positive and finite; a factor built at once is bit-equal to one appended row by
//! row, because building is appending. Reference: Golub and Van Loan (2013), section 4.2 (row-oriented form).

use crate::error::FitError;
use crate::linalg::{axpy, dot};

/// What is added to the diagonal, relative to its mean, until the matrix is positive definite.
const JITTERS: [f64; 7] = [0.0, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2];

/// A lower triangular factor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cholesky {
    n: usize,
    rows: Vec<f64>,
}

impl Cholesky {
    /// Factors the matrix whose lower triangle is packed row by row in `a`, adding as little to its diagonal as makes
    /// it positive definite. Returns the factor and what was added.
    ///
    /// # Errors
    /// [`FitError::NotPositiveDefinite`] if the last rung of the ladder is not enough (or an entry is not finite).
    ///
    /// # Cost
    /// `n^3 / 3` multiplications per rung, `n^2 / 2` numbers.
    pub fn with_jitter(n: usize, a: &[f64]) -> Result<(Self, f64), FitError> {
        let mean = (0..n).map(|i| a[packed(i) + i]).sum::<f64>() / n.max(1) as f64;
        for jitter in JITTERS.map(|relative| relative * mean) {
            if let Some(factor) = Self::new(n, a, jitter) {
                return Ok((factor, jitter));
            }
        }
        Err(FitError::NotPositiveDefinite {
            jitter_tried: JITTERS[JITTERS.len() - 1] * mean,
        })
    }

    /// Factors a packed lower triangle with `jitter` on its diagonal; `None` if it is not positive definite.
    #[must_use]
    pub fn new(n: usize, a: &[f64], jitter: f64) -> Option<Self> {
        let mut factor = Self {
            n: 0,
            rows: Vec::with_capacity(packed(n)),
        };
        for i in 0..n {
            let row = &a[packed(i)..=packed(i) + i];
            factor.append(&row[..i], row[i] + jitter)?;
        }
        Some(factor)
    }

    /// Adds one row: `covariances` with the rows so far, and the new diagonal entry. `None`, and no change, if the grown
    /// matrix would not be positive definite.
    ///
    /// # Cost
    /// `n^2 / 2` multiplications.
    pub fn append(&mut self, covariances: &[f64], diagonal: f64) -> Option<()> {
        let start = self.rows.len();
        self.rows.extend_from_slice(covariances);
        let (done, row) = self.rows.split_at_mut(start);
        solve_lower_packed(done, row);
        let rest = diagonal - dot(row, row);
        // Below this share of the diagonal the difference is rounding.
        if !(rest > diagonal * 1e-15 && rest.is_finite()) {
            self.rows.truncate(start);
            return None;
        }
        self.rows.push(rest.sqrt());
        self.n += 1;
        Some(())
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Replaces `b` by `L^-1 b`.
    pub fn solve_lower(&self, b: &mut [f64]) {
        solve_lower_packed(&self.rows, b);
    }

    /// Replaces `b` by `L^-T b`.
    pub fn solve_upper(&self, b: &mut [f64]) {
        for i in (0..self.n).rev() {
            let row = self.row(i);
            b[i] /= row[i];
            let bi = b[i];
            axpy(-bi, &row[..i], &mut b[..i]);
        }
    }

    /// Replaces `b` by `A^-1 b`.
    pub fn solve(&self, b: &mut [f64]) {
        self.solve_lower(b);
        self.solve_upper(b);
    }

    /// `ln det A`.
    #[must_use]
    pub fn log_determinant(&self) -> f64 {
        2.0 * (0..self.n).map(|i| self.row(i)[i].ln()).sum::<f64>()
    }

    /// `A^-1` as a packed lower triangle.
    ///
    /// # Cost
    /// `n^3 / 3` multiplications.
    #[must_use]
    pub fn inverse(&self) -> Vec<f64> {
        let n = self.n;
        // Rows of L^-T: row `j` holds column `j` of L^-1, which starts at its diagonal.
        let mut columns = vec![0.0; n * n];
        for j in 0..n {
            let column = &mut columns[j * n..(j + 1) * n];
            column[j] = 1.0 / self.row(j)[j];
            for i in j + 1..n {
                let row = self.row(i);
                column[i] = -dot(&row[j..i], &column[j..i]) / row[i];
            }
        }
        let mut inverse = Vec::with_capacity(packed(n));
        for i in 0..n {
            for j in 0..=i {
                inverse.push(dot(
                    &columns[i * n + i..(i + 1) * n],
                    &columns[j * n + i..(j + 1) * n],
                ));
            }
        }
        inverse
    }

    /// Row `i` of the factor, up to and including its diagonal.
    #[must_use]
    pub fn row(&self, i: usize) -> &[f64] {
        &self.rows[packed(i)..=packed(i) + i]
    }
}

/// Where row `i` starts.
#[must_use]
pub fn packed(i: usize) -> usize {
    i * (i + 1) / 2
}

fn solve_lower_packed(rows: &[f64], b: &mut [f64]) {
    let mut start = 0;
    for i in 0..b.len() {
        let row = &rows[start..=start + i];
        b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
        start += i + 1;
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::seed::stream;

    /// `B B^T + I`, packed.
    fn positive_definite(n: usize) -> Vec<f64> {
        let mut rng = stream(1, n as u64);
        let b: Vec<Vec<f64>> = (0..n)
            .map(|_| (0..n).map(|_| rng.random::<f64>() - 0.5).collect())
            .collect();
        let mut a = Vec::new();
        for i in 0..n {
            for j in 0..=i {
                a.push(dot(&b[i], &b[j]) + f64::from(i == j));
            }
        }
        a
    }

    fn at(a: &[f64], i: usize, j: usize) -> f64 {
        a[packed(i.max(j)) + i.min(j)]
    }

    #[test]
    fn solves_inverts_and_grows() {
        for n in [1, 2, 9, 30] {
            let a = positive_definite(n);
            let (factor, jitter) = Cholesky::with_jitter(n, &a).expect("positive definite");
            assert_eq!(jitter, 0.0);
            let x: Vec<f64> = (0..n).map(|i| i as f64 - 3.0).collect();
            let mut b: Vec<f64> = (0..n)
                .map(|i| (0..n).map(|j| at(&a, i, j) * x[j]).sum())
                .collect();
            factor.solve(&mut b);
            for (found, wanted) in b.iter().zip(&x) {
                // Condition number below 30 here: 1e-12 leaves a wide margin.
                assert!((found - wanted).abs() < 1e-12 * 30.0);
            }
            let inverse = factor.inverse();
            for i in 0..n {
                for j in 0..n {
                    let product: f64 = (0..n).map(|k| at(&a, i, k) * at(&inverse, k, j)).sum();
                    assert!((product - f64::from(i == j)).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn jitter_saves_a_singular_matrix_and_reports_itself() {
        // Three equal rows: rank one.
        let (factor, jitter) = Cholesky::with_jitter(3, &[1.0; 6]).expect("jitter is enough");
        assert!(jitter > 0.0 && jitter <= 1e-8, "{jitter}");
        assert_eq!(factor.len(), 3);
    }

    #[test]
    fn an_indefinite_or_infinite_matrix_is_an_error() {
        let indefinite = Cholesky::with_jitter(2, &[1.0, 3.0, 1.0]);
        assert!(matches!(
            indefinite,
            Err(FitError::NotPositiveDefinite { .. })
        ));
        assert!(Cholesky::with_jitter(2, &[1.0, f64::NAN, 1.0]).is_err());
        assert!(Cholesky::with_jitter(1, &[f64::INFINITY]).is_err());
    }

    #[test]
    fn a_refused_row_changes_nothing() {
        let (mut factor, _) = Cholesky::with_jitter(2, &[2.0, 0.5, 1.0]).expect("fits");
        let before = factor.clone();
        assert!(
            factor.append(&[2.0, 0.5], 2.0).is_none(),
            "a copy of row 0 adds no rank"
        );
        assert_eq!(factor, before);
    }

    #[test]
    fn log_determinant_of_a_diagonal() {
        let (factor, _) = Cholesky::with_jitter(2, &[2.0, 0.0, 8.0]).expect("fits");
        assert!((factor.log_determinant() - 16f64.ln()).abs() < 1e-14);
    }
}
