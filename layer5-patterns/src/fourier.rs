//! Real Fourier transforms at work: the autocorrelation of a series, with and without gaps.
//! In: values `[n]`. Out: correlations by lag. Called from: trend, seasonality, change_point, relation.
//! Invariants: transforms are padded to a length with small prime factors, at least n + lags, so that lags never
//! wrap round. The planner is built per call: plans are small beside the transform, and no state is shared.

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

/// Below this many multiplications the direct sum is faster than two transforms.
const DIRECT_WORK: usize = 20_000;

/// Autocorrelation at lags `0..=lag_max`: the biased estimate, so that every value lies in -1..=1.
///
/// `values`: shape `[n]`, finite. A constant series has autocorrelation 1 at lag 0 and 0 elsewhere.
/// # Cost
/// O(n log n) time, O(n) memory.
///
/// ```
/// use layer5_patterns::autocorrelation;
/// let alternating: Vec<f64> = (0..100).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
/// let rho = autocorrelation(&alternating, 2);
/// assert!((rho[1] + 0.99).abs() < 1e-12 && (rho[2] - 0.98).abs() < 1e-12);
/// ```
pub fn autocorrelation(values: &[f64], lag_max: usize) -> Vec<f64> {
    let n = values.len();
    let lag_max = lag_max.min(n.saturating_sub(1));
    if n == 0 {
        return Vec::new();
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let centred: Vec<f64> = values.iter().map(|v| v - mean).collect();
    let products = lagged_products(&centred, lag_max);
    let variance = products[0];
    let mut rho = vec![0.0; lag_max + 1];
    rho[0] = 1.0;
    if variance > 0.0 {
        for (slot, product) in rho.iter_mut().zip(&products).skip(1) {
            *slot = product / variance;
        }
    }
    rho
}

/// Autocorrelation of a series with gaps: `values` are centred and zero where `mask` is zero; each lag is divided by
/// the number of pairs that are both present. Lags with fewer than four such pairs are 0.
pub(crate) fn masked_autocorrelation(values: &[f64], mask: &[f64], lag_max: usize) -> Vec<f64> {
    let products = lagged_products(values, lag_max);
    let counts = lagged_products(mask, lag_max);
    let variance = products[0] / counts[0].max(1.0);
    products
        .iter()
        .zip(&counts)
        .map(|(product, count)| {
            if *count < 3.5 || variance <= 0.0 {
                0.0
            } else {
                product / count / variance
            }
        })
        .collect()
}

/// Sums of `values[i] * values[i + lag]` for lags `0..=lag_max`.
pub(crate) fn lagged_products(values: &[f64], lag_max: usize) -> Vec<f64> {
    let n = values.len();
    let lag_max = lag_max.min(n.saturating_sub(1));
    if n * (lag_max + 1) <= DIRECT_WORK {
        return (0..=lag_max)
            .map(|lag| values[lag..].iter().zip(values).map(|(a, b)| a * b).sum())
            .collect();
    }
    let len = smooth_len(n + lag_max + 1);
    let mut planner = RealFftPlanner::<f64>::new();
    let forward = planner.plan_fft_forward(len);
    let inverse = planner.plan_fft_inverse(len);
    let mut padded = vec![0.0; len];
    padded[..n].copy_from_slice(values);
    let mut spectrum = vec![Complex::default(); len / 2 + 1];
    forward
        .process(&mut padded, &mut spectrum)
        .expect("buffers were made with the plan's lengths");
    for bin in &mut spectrum {
        *bin = Complex::new(bin.norm_sqr(), 0.0);
    }
    inverse
        .process(&mut spectrum, &mut padded)
        .expect("a power spectrum is real at both ends, and buffers have the plan's lengths");
    padded.truncate(lag_max + 1);
    for product in &mut padded {
        *product /= len as f64;
    }
    padded
}

/// The real spectrum of `values` padded with zeros to `len >= values.len()`; shape `[len / 2 + 1]`.
pub(crate) fn spectrum(values: &[f64], len: usize) -> Vec<Complex<f64>> {
    let forward = RealFftPlanner::<f64>::new().plan_fft_forward(len);
    let mut padded = vec![0.0; len];
    padded[..values.len()].copy_from_slice(values);
    let mut bins = vec![Complex::default(); len / 2 + 1];
    forward
        .process(&mut padded, &mut bins)
        .expect("buffers were made with the plan's lengths");
    bins
}

/// The smallest even length of at least `len` whose prime factors are 2, 3 and 5: the transform's fast lengths.
pub(crate) fn smooth_len(len: usize) -> usize {
    let mut best = len.max(2).next_power_of_two();
    let mut five = 1;
    while five < best {
        let mut odd = five;
        while odd < best {
            let mut candidate = odd * 2;
            while candidate < len {
                candidate *= 2;
            }
            best = best.min(candidate);
            odd *= 3;
        }
        five *= 5;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transform_agrees_with_the_direct_sum() {
        let values: Vec<f64> = (0..700).map(|i| ((i * i) % 97) as f64 - 48.0).collect();
        let lags = 300;
        let by_transform = lagged_products(&values, lags);
        assert!(values.len() * lags > DIRECT_WORK);
        for lag in [0, 1, 17, 300] {
            let direct: f64 = values[lag..].iter().zip(&values).map(|(a, b)| a * b).sum();
            // 1e-9 of the energy (about 5e5) is far above rounding (1e-16 * log n) and far below any real error.
            assert!((by_transform[lag] - direct).abs() < 5e-4, "lag {lag}");
        }
    }

    #[test]
    fn smooth_lengths_are_even_and_never_short() {
        for len in 1..2000 {
            let found = smooth_len(len);
            assert!(found >= len && found.is_multiple_of(2) && found <= 2 * len.max(2));
        }
        assert_eq!(smooth_len(1025), 1080);
    }

    #[test]
    fn empty_and_constant_series_are_answered() {
        assert!(autocorrelation(&[], 5).is_empty());
        assert_eq!(autocorrelation(&[3.0; 5], 9), [1.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn gaps_do_not_bias_the_masked_estimate() {
        let season = |i: usize| (i as f64 * std::f64::consts::TAU / 10.0).sin();
        let mask: Vec<f64> = (0..500).map(|i| f64::from(u8::from(i % 7 != 0))).collect();
        let values: Vec<f64> = mask
            .iter()
            .enumerate()
            .map(|(i, m)| m * season(i))
            .collect();
        let rho = masked_autocorrelation(&values, &mask, 20);
        assert!((rho[10] - 1.0).abs() < 0.01 && (rho[5] + 1.0).abs() < 0.01);
    }
}
