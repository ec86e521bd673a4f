//! Real Fourier transforms at work: the autocorrelation of a series, with and without gaps.
//! In: values `[n]`. Out: correlations by lag. Called from: trend, seasonality, change_point, relation.
//! Invariants: transforms are padded to a length with small prime factors, at least n + lags, so that lags never
//! wrap round. No plan is shared between calls but by who keeps one: planning costs several transforms.

use std::fmt;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

/// Below this many multiplications the direct sum is faster than two transforms.
const DIRECT_WORK: usize = 20_000;

/// Autocorrelation at lags `0..=lag_max`: the biased estimate, so that every value lies in -1..=1.
///
/// `values`: shape `[n]`, finite. A constant series has autocorrelation 1 at lag 0 and 0 elsewhere.
/// # Cost
/// O(n log n) time, O(n) memory, most of it for planning the transform; [`AutocorrelationPlan`] keeps the plan.
///
/// ```
/// use layer5_patterns::autocorrelation;
/// let alternating: Vec<f64> = (0..100).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
/// let rho = autocorrelation(&alternating, 2);
/// assert!((rho[1] + 0.99).abs() < 1e-12 && (rho[2] - 0.98).abs() < 1e-12);
/// ```
pub fn autocorrelation(values: &[f64], lag_max: usize) -> Vec<f64> {
    AutocorrelationPlan::new(values.len(), lag_max).of(values)
}

/// The transforms for the autocorrelation of many series of one length.
#[derive(Debug, Clone)]
pub struct AutocorrelationPlan {
    n: usize,
    lag_max: usize,
    products: LaggedProducts,
}

impl AutocorrelationPlan {
    /// For series of `n` values and lags `0..=lag_max`, of which there are at most `n`.
    pub fn new(n: usize, lag_max: usize) -> Self {
        let lag_max = lag_max.min(n.saturating_sub(1));
        Self {
            n,
            lag_max,
            products: LaggedProducts::new(n, lag_max),
        }
    }

    /// As [`autocorrelation`]. `values`: shape `[n]`, finite; those beyond `n` are not looked at, fewer count as zeros
    /// round the mean. Empty for an empty series.
    pub fn of(&self, values: &[f64]) -> Vec<f64> {
        let values = &values[..values.len().min(self.n)];
        if values.is_empty() {
            return Vec::new();
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let centred: Vec<f64> = values.iter().map(|v| v - mean).collect();
        let mut rho = self.products.of(&centred);
        let variance = rho[0];
        rho[0] = 1.0;
        for slot in &mut rho[1..] {
            *slot = if variance > 0.0 {
                *slot / variance
            } else {
                0.0
            };
        }
        rho.truncate(self.lag_max + 1);
        rho
    }
}

/// Autocorrelation of a series with gaps: `values` are centred and zero where `mask` is zero; each lag is divided by
/// the number of pairs that are both present. Lags with fewer than four such pairs are 0.
pub(crate) fn masked_autocorrelation(values: &[f64], mask: &[f64], lag_max: usize) -> Vec<f64> {
    let sums = LaggedProducts::new(values.len(), lag_max);
    let (products, counts) = (sums.of(values), sums.of(mask));
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

/// Sums of `values[i] * values[i + lag]` for series of one length.
#[derive(Clone)]
struct LaggedProducts {
    lag_max: usize,
    /// Without: direct sums.
    plan: Option<BothWays>,
}

/// A transform and its inverse.
#[derive(Clone)]
struct BothWays {
    len: usize,
    forward: Arc<dyn RealToComplex<f64>>,
    inverse: Arc<dyn ComplexToReal<f64>>,
}

impl fmt::Debug for LaggedProducts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaggedProducts")
            .field("lag_max", &self.lag_max)
            .field("len", &self.plan.as_ref().map(|p| p.len))
            .finish()
    }
}

impl LaggedProducts {
    fn new(n: usize, lag_max: usize) -> Self {
        let lag_max = lag_max.min(n.saturating_sub(1));
        let plan = (n * (lag_max + 1) > DIRECT_WORK).then(|| {
            let len = smooth_len(n + lag_max + 1);
            let mut planner = RealFftPlanner::<f64>::new();
            BothWays {
                len,
                forward: planner.plan_fft_forward(len),
                inverse: planner.plan_fft_inverse(len),
            }
        });
        Self { lag_max, plan }
    }

    /// Sums for lags `0..=lag_max`; `values` are at most as many as were planned for, and at least one.
    fn of(&self, values: &[f64]) -> Vec<f64> {
        let Some(plan) = &self.plan else {
            let product = |(a, b): (&f64, &f64)| a * b;
            return (0..=self.lag_max)
                .map(|lag| values.iter().skip(lag).zip(values).map(product).sum())
                .collect();
        };
        let mut padded = vec![0.0; plan.len];
        padded[..values.len()].copy_from_slice(values);
        let mut spectrum = vec![Complex::default(); plan.len / 2 + 1];
        plan.forward
            .process(&mut padded, &mut spectrum)
            .expect("buffers were made with the plan's lengths");
        for bin in &mut spectrum {
            *bin = Complex::new(bin.norm_sqr(), 0.0);
        }
        plan.inverse
            .process(&mut spectrum, &mut padded)
            .expect("a power spectrum is real at both ends, and buffers have the plan's lengths");
        padded.truncate(self.lag_max + 1);
        for product in &mut padded {
            *product /= plan.len as f64;
        }
        padded
    }
}

/// Power spectra of many series of one padded length.
pub(crate) struct PowerSpectrum {
    forward: Arc<dyn RealToComplex<f64>>,
    padded: Vec<f64>,
    bins: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
}

impl PowerSpectrum {
    /// For series padded with zeros to `len`.
    pub(crate) fn new(len: usize) -> Self {
        let forward = RealFftPlanner::<f64>::new().plan_fft_forward(len);
        Self {
            padded: forward.make_input_vec(),
            bins: forward.make_output_vec(),
            scratch: forward.make_scratch_vec(),
            forward,
        }
    }

    /// Squared magnitudes, shape `[len / 2 + 1]`. `values`: at most `len`.
    pub(crate) fn of(&mut self, values: &[f64]) -> Vec<f64> {
        self.padded[..values.len()].copy_from_slice(values);
        self.padded[values.len()..].fill(0.0);
        self.forward
            .process_with_scratch(&mut self.padded, &mut self.bins, &mut self.scratch)
            .expect("buffers were made by the plan");
        self.bins.iter().map(|bin| bin.norm_sqr()).collect()
    }
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
        let by_transform = LaggedProducts::new(values.len(), lags).of(&values);
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
