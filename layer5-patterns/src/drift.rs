//! A slow movement in one direction, apart from noise, steps and the daily cycle.
//! In: values relative to an origin, without their daily profile, and times. Out: the slope where it is beyond
//! doubt. Called from: `watch`.
//! Notation: B samples a block, K blocks held; t the slope's ratio to its standard error over the blocks.
//! Invariants: when the ring of blocks is full, neighbours are merged and B doubles, so the span grows with the
//! series and the state does not.
//! Reference: least squares on block means; block means as in Flegal and Jones (2010), Ann. Statist. 38, 1034-1070.

use serde::{Deserialize, Serialize};

/// Blocks held.
const K: usize = 24;
/// Fewest blocks a slope is judged on.
const K_MIN: usize = 10;
/// First block length, in samples.
const B_FIRST: u32 = 8;
/// Longest block: four hours of five-minute samples, so that the ring spans four days.
const B_MAX: u32 = 48;
/// Numbers of newest blocks that a slope is looked for in: a drift need not fill the ring.
const SPANS: [usize; 3] = [12, 16, K];
/// Slopes below this ratio to their standard error are chance (with the lag-1 correction below).
const T_MIN: f32 = 7.0;
/// The rise over the span must be this many scales of the samples.
const RISE_MIN: f32 = 1.5;

/// A slope that stands out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// Change per sample.
    pub per_sample: f32,
    /// Change over the span.
    pub rise: f32,
    /// Samples in the span.
    pub span: u32,
    /// Ratio to the standard error.
    pub t: f32,
}

/// Block means and the slope through them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    means: [f32; K],
    len: u8,
    block_len: u32,
    in_block: u32,
    sum: f32,
    last: Option<(f32, f32)>,
    reported: i8,
}

impl Default for Drift {
    fn default() -> Self {
        Self {
            means: [0.0; K],
            len: 0,
            block_len: B_FIRST,
            in_block: 0,
            sum: 0.0,
            last: None,
            reported: 0,
        }
    }
}

impl Drift {
    /// Takes a value in. `scale`: usual spread of one value; `span_min`: samples a slope must span.
    /// Returns a slope when one first stands out or turns.
    pub(crate) fn step(&mut self, x: f32, scale: f32, span_min: u32) -> Option<Slope> {
        self.sum += x;
        self.in_block += 1;
        if self.in_block < self.block_len {
            return None;
        }
        let mean = self.sum / self.in_block as f32;
        (self.sum, self.in_block) = (0.0, 0);
        self.push(mean);
        let slopes = SPANS.map(|k| self.slope(k));
        let slope = slopes
            .into_iter()
            .flatten()
            .max_by(|a, b| a.t.abs().total_cmp(&b.t.abs()));
        self.last = slope.map(|s| (s.per_sample, s.t));
        let sure = slopes
            .into_iter()
            .flatten()
            .find(|s| s.t.abs() > T_MIN && s.rise.abs() > RISE_MIN * scale && s.span >= span_min);
        let Some(slope) = sure else {
            if slope.is_none_or(|s| s.t.abs() < 0.5 * T_MIN) {
                self.reported = 0;
            }
            return None;
        };
        let sign = if slope.rise > 0.0 { 1 } else { -1 };
        if sign == self.reported {
            return None;
        }
        self.reported = sign;
        Some(slope)
    }

    /// Change per sample and its ratio to the standard error, at the newest block.
    pub fn slope_per_sample(&self) -> Option<(f32, f32)> {
        self.last
    }

    /// Forgets the blocks: a new regime has begun.
    pub(crate) fn restart(&mut self) {
        *self = Self::default();
    }

    fn push(&mut self, mean: f32) {
        if usize::from(self.len) == K {
            if self.block_len < B_MAX {
                for i in 0..K / 2 {
                    self.means[i] = 0.5 * (self.means[2 * i] + self.means[2 * i + 1]);
                }
                self.len = (K / 2) as u8;
                self.block_len *= 2;
                // The block just finished is half of one of the new length.
                self.sum = mean * (self.block_len / 2) as f32;
                self.in_block = self.block_len / 2;
                return;
            }
            self.means.copy_within(1.., 0);
            self.len -= 1;
        }
        self.means[usize::from(self.len)] = mean;
        self.len += 1;
    }

    /// Least squares over the `newest` blocks; `None` while there are few, or when a single step fits better.
    fn slope(&self, newest: usize) -> Option<Slope> {
        let len = usize::from(self.len);
        let y = &self.means[len.saturating_sub(newest)..len];
        let k = y.len();
        if k < K_MIN {
            return None;
        }
        let n = k as f32;
        let mid = 0.5 * (n - 1.0);
        let mean = y.iter().sum::<f32>() / n;
        let sxx = n * (n * n - 1.0) / 12.0;
        let sxy: f32 = y
            .iter()
            .enumerate()
            .map(|(i, v)| (i as f32 - mid) * (v - mean))
            .sum();
        let b = sxy / sxx;
        let (mut sse, mut lag, mut before) = (0.0, 0.0, 0.0);
        for (i, v) in y.iter().enumerate() {
            let e = v - mean - b * (i as f32 - mid);
            sse += e * e;
            lag += e * before;
            before = e;
        }
        let rho = if sse > 0.0 {
            (lag / sse).clamp(0.0, 0.9)
        } else {
            0.0
        };
        let inflate = (1.0 + rho) / (1.0 - rho);
        let error = (sse / (n - 2.0) / sxx * inflate).sqrt();
        // A floor for exact lines: rounding of the means.
        let floor = f32::EPSILON * (mean.abs() + b.abs() * n);
        let t = b / error.max(floor).max(f32::MIN_POSITIVE);
        if step_error(y, mean) < 1.5 * sse {
            return Some(Slope {
                per_sample: 0.0,
                rise: 0.0,
                span: 0,
                t: 0.0,
            });
        }
        Some(Slope {
            per_sample: b / self.block_len as f32,
            rise: b * (n - 1.0),
            span: self.block_len * k as u32,
            t: t.clamp(-1e6, 1e6),
        })
    }
}

/// Squared error of the best single step.
fn step_error(y: &[f32], mean: f32) -> f32 {
    let total: f32 = y.iter().map(|v| (v - mean) * (v - mean)).sum();
    let (mut sum, mut best) = (0.0, 0.0_f32);
    for k in 1..y.len() {
        sum += y[k - 1] - mean;
        best = best.max(sum * sum * (1.0 / k as f32 + 1.0 / (y.len() - k) as f32));
    }
    total - best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slopes(n: u32, f: impl Fn(u32) -> f32) -> Vec<Slope> {
        let mut drift = Drift::default();
        (0..n).filter_map(|i| drift.step(f(i), 1.0, 0)).collect()
    }

    fn noise(i: u32) -> f32 {
        let h = u64::from(i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((h ^ h >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f32 / (1 << 22) as f32 - 2.0
    }

    #[test]
    fn a_line_in_noise_is_found_once_with_its_slope() {
        let found = slopes(2000, |i| 0.01 * i as f32 + noise(i));
        assert_eq!(found.len(), 1);
        assert!((found[0].per_sample - 0.01).abs() < 0.003, "{found:?}");
    }

    #[test]
    fn noise_and_a_step_have_no_slope() {
        assert!(slopes(20_000, noise).is_empty());
        assert!(slopes(1000, |i| if i < 300 { 0.0 } else { 8.0 } + noise(i)).is_empty());
    }
}
