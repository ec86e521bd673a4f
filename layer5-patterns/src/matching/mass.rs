//! How far every window of a series is from a query: MASS.
//! In: query `[m]`, series `[n]`. Out: distances `[n - m + 1]`. Called from: motifs, shapes, users.
//! Reference: Mueen et al. (2017), "The Fastest Similarity Search Algorithm for Time Series Subsequences under Euclidean
//! Distance".

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

use super::windows::{Windows, distance};
use crate::fourier::smooth_len;

/// Distance of each window of `series` from `query`, both z-normalised.
///
/// Empty when the query is longer than the series or shorter than 2, or has a gap.
/// # Cost
/// O(n log m) by overlapping real transforms of a block, O(n) memory; row `mass-50k` of
/// `layer5-bench`'s bench `patterns`.
///
/// ```
/// use layer5_patterns::matching::mass;
/// let series: Vec<f64> = (0..200).map(|t| f64::from(t % 50).powi(2)).collect();
/// let distances = mass(&series[50..90], &series);
/// assert!(distances[100] < 1e-3 && distances[120] > 1.0);
/// ```
pub fn mass(query: &[f64], series: &[f64]) -> Vec<f64> {
    let m = query.len();
    let Some(windows) = Windows::new(series, m) else {
        return Vec::new();
    };
    if query.iter().any(|v| !v.is_finite()) {
        return Vec::new();
    }
    let Some(own) = Windows::new(query, m) else {
        return Vec::new();
    };
    let scale = own.inverse_norm[0];
    let shape: Vec<f64> = own
        .values
        .iter()
        .map(|v| (v - own.mean[0]) * scale)
        .collect();
    let mut distances = sliding_products(&shape, &windows.values);
    for (i, slot) in distances.iter_mut().enumerate() {
        let inverse = windows.inverse_norm[i];
        let constants = u8::from(inverse == 0.0) + u8::from(scale == 0.0);
        // The query's shape sums to zero, so the window's mean drops out of the product.
        *slot = if windows.gap[i] {
            f64::INFINITY
        } else {
            distance(*slot * inverse, m, constants)
        };
    }
    distances
}

/// `sum_j query[j] series[i + j]` for every i; shape `[n - m + 1]`.
pub(super) fn sliding_products(query: &[f64], series: &[f64]) -> Vec<f64> {
    let (m, n) = (query.len(), series.len());
    let count = n - m + 1;
    if m <= 24 || n <= 128 {
        return series
            .windows(m)
            .map(|w| w.iter().zip(query).map(|(a, b)| a * b).sum())
            .collect();
    }
    // Blocks eight queries long: transforms stay in the cache and the overlap costs an eighth.
    let len = smooth_len((8 * m).min(n + m));
    let step = len + 1 - m;
    let mut planner = RealFftPlanner::<f64>::new();
    let forward = planner.plan_fft_forward(len);
    let inverse = planner.plan_fft_inverse(len);
    let mut block = vec![0.0; len];
    for (slot, v) in block.iter_mut().zip(query.iter().rev()) {
        *slot = *v;
    }
    let mut query_bins = vec![Complex::default(); len / 2 + 1];
    forward
        .process(&mut block, &mut query_bins)
        .expect("buffers have the plan's lengths");
    let mut bins = query_bins.clone();
    let mut products = Vec::with_capacity(count + step);
    let mut start = 0;
    while start < count {
        let end = (start + len).min(n);
        block[..end - start].copy_from_slice(&series[start..end]);
        block[end - start..].fill(0.0);
        forward
            .process(&mut block, &mut bins)
            .expect("buffers have the plan's lengths");
        for (bin, q) in bins.iter_mut().zip(&query_bins) {
            *bin *= q;
        }
        // Both ends of a real spectrum are real; rounding left a trace that the transform would refuse.
        bins[0].im = 0.0;
        bins[len / 2].im = 0.0;
        inverse
            .process(&mut bins, &mut block)
            .expect("the ends of the spectrum are real");
        products.extend(block[m - 1..].iter().map(|v| v / len as f64));
        start += step;
    }
    products.truncate(count);
    products
}
