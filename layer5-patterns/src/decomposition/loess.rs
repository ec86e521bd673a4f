//! Local regression of degree 1 with tricube weights over evenly spaced samples.
//! In: values, perhaps weights, an odd span. Out: smoothed values. Called from: [`super::stl`].
//! Without weights the fit at a place is a fixed weighted sum of the values round it ([`Row`]); inside a series it is the
//! same sum at every place. Both make the sums what is left to do.
//! Reference: Cleveland (1979), <https://doi.org/10.1080/01621459.1979.10481038>.

/// What a fit at one place takes from the values: `sum_k coefficient[k] * values[first + k]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) first: usize,
    pub(super) coefficients: Vec<f64>,
}

impl Row {
    /// The row of place `x` in a series of `n` values. `n >= 1`; `x` may lie beyond either end.
    pub(super) fn new(n: usize, span: usize, x: f64) -> Self {
        let window = Window::new(n, span, x);
        let mut coefficients: Vec<f64> = window.places().map(|i| window.tricube(i)).collect();
        let (mut sw, mut sx, mut sxx) = (0.0, 0.0, 0.0);
        for (i, w) in window.places().zip(&coefficients) {
            let d = i as f64 - x;
            sw += w;
            sx += w * d;
            sxx += w * d * d;
        }
        let determinant = sw * sxx - sx * sx;
        let line = determinant > window.determinant_min(sw);
        for (i, w) in window.places().zip(&mut coefficients) {
            let d = i as f64 - x;
            *w *= if line {
                (sxx - sx * d) / determinant
            } else if sw > 0.0 {
                1.0 / sw
            } else {
                0.0
            };
        }
        Self {
            first: window.left,
            coefficients,
        }
    }

    fn of(&self, values: &[f64]) -> f64 {
        let part = &values[self.first..self.first + self.coefficients.len()];
        dot(part, &self.coefficients)
    }
}

/// Sum of products, in four sums that do not wait for each other.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let (a_fours, a_rest) = a.as_chunks::<4>();
    let (b_fours, b_rest) = b.as_chunks::<4>();
    for (x, y) in a_fours.iter().zip(b_fours) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + rest
}

/// The values a fit at `x` looks at.
struct Window {
    left: usize,
    right: usize,
    x: f64,
    h: f64,
    inverse: f64,
}

impl Window {
    /// The `span` nearest values; where there are fewer, the bandwidth is widened as in STL's paper.
    fn new(n: usize, span: usize, x: f64) -> Self {
        let q = span.min(n);
        let left = ((x - (q as f64 - 1.0) / 2.0).round().max(0.0) as usize).min(n - q);
        let right = left + q - 1;
        let mut h = (x - left as f64).max(right as f64 - x);
        if span > n {
            h += ((span - n) / 2) as f64;
        }
        Self {
            left,
            right,
            x,
            h,
            inverse: 1.0 / (h * 1.001).max(1e-9),
        }
    }

    fn places(&self) -> std::ops::RangeInclusive<usize> {
        self.left..=self.right
    }

    fn tricube(&self, i: usize) -> f64 {
        let u = ((i as f64 - self.x) * self.inverse).abs();
        (1.0 - u * u * u).max(0.0).powi(3)
    }

    /// Below this the places are too alike for a line.
    fn determinant_min(&self, sw: f64) -> f64 {
        1e-9 * sw * sw * self.h.max(1.0)
    }
}

/// The fit at `x`.
pub(super) fn loess_at(values: &[f64], weights: Option<&[f64]>, span: usize, x: f64) -> f64 {
    let Some(weights) = weights else {
        return Row::new(values.len(), span, x).of(values);
    };
    let window = Window::new(values.len(), span, x);
    let (mut sw, mut sx, mut sy, mut sxx, mut sxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for i in window.places() {
        let d = i as f64 - x;
        let w = window.tricube(i) * weights[i];
        sw += w;
        sx += w * d;
        sxx += w * d * d;
        sy += w * values[i];
        sxy += w * d * values[i];
    }
    if sw <= 0.0 {
        let count = (window.right + 1 - window.left) as f64;
        return values[window.places()].iter().sum::<f64>() / count;
    }
    let determinant = sw * sxx - sx * sx;
    if determinant > window.determinant_min(sw) {
        (sxx * sy - sx * sxy) / determinant
    } else {
        sy / sw
    }
}

/// Fits at every `jump`-th place, straight lines between.
pub(super) fn loess(values: &[f64], weights: Option<&[f64]>, span: usize, jump: usize) -> Vec<f64> {
    let n = values.len();
    let mut smooth = vec![0.0; n];
    if n == 0 {
        return smooth;
    }
    let half = span / 2;
    let inner = (weights.is_none() && span <= n).then(|| Row::new(n, span, half as f64));
    let fit = |place: usize| match &inner {
        Some(row) if place >= half && place + span - half <= n => dot(
            &values[place - half..place + span - half],
            &row.coefficients,
        ),
        _ => loess_at(values, weights, span, place as f64),
    };
    let mut last = 0;
    smooth[0] = fit(0);
    while last + 1 < n {
        let next = (last + jump).min(n - 1);
        let at_next = fit(next);
        let step = (at_next - smooth[last]) / (next - last) as f64;
        for i in last + 1..next {
            smooth[i] = smooth[last] + step * (i - last) as f64;
        }
        smooth[next] = at_next;
        last = next;
    }
    smooth
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fixed_sums_agree_with_the_weighted_fit(
            values in prop::collection::vec(-3.0..3.0_f64, 1..60),
            span in 1usize..40,
            jump in 1usize..5,
        ) {
            let span = span | 1;
            let ones = vec![1.0; values.len()];
            let fast = loess(&values, None, span, jump);
            let slow = loess(&values, Some(&ones), span, jump);
            for (a, b) in fast.iter().zip(&slow) {
                // Both divide by the same determinant, which is at least 1e-9 of the weights.
                prop_assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        }
    }
}
