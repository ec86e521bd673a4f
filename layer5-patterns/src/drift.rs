//! A slow movement in one direction, apart from noise, steps and the daily cycle.
//! In: values relative to an origin, without their daily profile, and times. Out: the slope where it is beyond
//! doubt, and once more when it has become another. Called from: `watch`.
//! Notation: B samples a block, K blocks held; t the slope's ratio to its standard error over the blocks.
//! Invariants: a block is a twelfth of a day, whatever the spacing, so the ring spans two days and a cycle that is
//! still hidden in the values is no slope.
//! Reference: least squares on block means; block means as in Flegal and Jones (2010), Ann. Statist. 38, 1034-1070.

use serde::{Deserialize, Serialize};

use crate::stats::compact::Compact;

/// Blocks held.
const K: usize = 24;
/// Blocks a day.
const PER_DAY: usize = 12;
/// Numbers of newest blocks that a slope is looked for in, shortest first: a drift need not fill the ring.
const SPANS: [usize; 3] = [PER_DAY, 18, K];
/// A slope is told from this many blocks on while a daily cycle may be hidden in the values.
const K_UNKNOWN: usize = 18;
/// Samples a block, at least and at most: of very slow and of very fast series.
const B_LIMITS: (f64, f64) = (4.0, 576.0);
/// Days longer than this many samples are not waited for: the ring then spans minutes.
const DAY_MAX: f64 = 10_000.0;
/// Block of a series that fast, in samples.
const B_FAST: u16 = 20;
/// Slopes below this ratio to their standard error are chance (with the lag-1 correction below).
const T_MIN: f32 = 6.0;
/// Share of a slope by which it must change to be told anew.
const CHANGE_MIN: f32 = 0.5;
/// Share of `T_MIN` below which a slope that was told is over.
const DOUBT: f32 = 0.5;
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
    /// Ratio to the standard error; 0 where a single step fits better.
    pub t: f32,
    /// Standard error of the change per sample.
    pub error: f32,
    /// Where the line ends, in the middle of the newest block.
    pub end: f32,
    /// The slope that was told before and is no more; `None` where there was none.
    pub before: Option<f32>,
}

/// Block means and the slope through them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    means: Compact<K>,
    block_len: u16,
    in_block: u16,
    sum: f32,
    len: u8,
    reported: i8,
    /// Blocks since a slope was told, and that slope, once it has filled a day of blocks.
    told_ago: u8,
    told: f32,
}

impl Drift {
    /// Takes a value in. `scale`: usual spread of one value; `per_day`: samples a day; `cycle_known`: whether the
    /// values are without their daily cycle. Returns a slope when one first stands out or turns.
    pub(crate) fn step(
        &mut self,
        x: f32,
        scale: f32,
        per_day: f64,
        cycle_known: bool,
    ) -> Option<Slope> {
        self.sum += x;
        self.in_block += 1;
        let wanted = block_len(per_day);
        if self.in_block < wanted {
            return None;
        }
        if wanted.abs_diff(self.block_len) > self.block_len / 4 {
            // The spacing is another one: blocks of two lengths are no line.
            (self.len, self.block_len) = (0, wanted);
        }
        let mean = self.sum / f32::from(self.in_block);
        (self.sum, self.in_block) = (0.0, 0);
        self.push(mean);
        let slopes = self.slopes();
        if self.reported != 0
            && let Some(changed) = slopes[0].and_then(|newest| self.changed(newest))
        {
            return Some(changed);
        }
        let blocks_min = if cycle_known { PER_DAY } else { K_UNKNOWN } as u32;
        let span_min = blocks_min * u32::from(self.block_len);
        let sure = slopes
            .into_iter()
            .flatten()
            .find(|s| s.t.abs() > T_MIN && s.rise.abs() > RISE_MIN * scale && s.span >= span_min);
        let Some(slope) = sure else {
            if steepest(&slopes).is_none_or(|s| s.t.abs() < DOUBT * T_MIN) {
                self.reported = 0;
            }
            return None;
        };
        let sign = if slope.rise > 0.0 { 1 } else { -1 };
        if sign == self.reported {
            return None;
        }
        (self.reported, self.told_ago) = (sign, 0);
        Some(slope)
    }

    /// Whether the newest day of blocks has another slope than the one that was told.
    fn changed(&mut self, newest: Slope) -> Option<Slope> {
        self.told_ago = self.told_ago.saturating_add(1);
        // A slope that has just begun is told too flat; what counts is the first whole day of it.
        if usize::from(self.told_ago) <= PER_DAY {
            self.told = newest.per_sample;
            return None;
        }
        let (was, now) = (self.told, newest.per_sample);
        // Where a single step fits better than a line there is no `t`: that is for others to tell.
        // Through noise alone a step always fits about as well: there a line that is nearly flat has ended.
        let error = newest.error.max(f32::MIN_POSITIVE);
        let t = (now - was) / error;
        let step = newest.t == 0.0 && now.abs() > DOUBT * T_MIN * error;
        if step || t.abs() < T_MIN || (now - was).abs() < CHANGE_MIN * was.abs() {
            return None;
        }
        self.told = now;
        // The blocks before are of the line that was.
        while usize::from(self.len) > PER_DAY {
            self.means.drop_first();
            self.len -= 1;
        }
        self.reported = match newest.t {
            t if t > T_MIN => 1,
            t if t < -T_MIN => -1,
            _ => 0,
        };
        Some(Slope {
            before: Some(was),
            t: t.clamp(-1e6, 1e6),
            ..newest
        })
    }

    /// Change per sample and its ratio to the standard error, at the newest block; the ratio is 0 where there is none.
    pub fn slope_per_sample(&self) -> (f32, f32) {
        steepest(&self.slopes()).map_or((0.0, 0.0), |s| (s.per_sample, s.t))
    }

    /// Value at the newest sample if the slope at the newest block goes on and is beyond chance, that slope, and its
    /// ratio to the standard error.
    pub(crate) fn line(&self) -> Option<(f32, f32, f32)> {
        let slope = steepest(&self.slopes()).filter(|s| s.t.abs() > T_MIN)?;
        let samples = 0.5 * f32::from(self.block_len) + f32::from(self.in_block);
        let value = slope.end + samples * slope.per_sample;
        Some((value, slope.per_sample, slope.t))
    }

    /// Whether the slope is neither beyond chance nor clearly chance.
    pub(crate) fn in_doubt(&self) -> bool {
        let (_, t) = self.slope_per_sample();
        (DOUBT * T_MIN..=T_MIN).contains(&t.abs())
    }

    /// Forgets the blocks: a new regime has begun.
    pub(crate) fn restart(&mut self) {
        *self = Self::default();
    }

    fn push(&mut self, mean: f32) {
        if usize::from(self.len) == K {
            self.means.drop_first();
            self.means.refine();
            self.len -= 1;
        }
        self.means.set(usize::from(self.len), mean);
        self.len += 1;
    }

    /// The line through each of [`SPANS`].
    fn slopes(&self) -> [Option<Slope>; SPANS.len()] {
        let means = self.means.all();
        SPANS.map(|k| self.fit(&means, k))
    }

    /// Least squares over the `newest` blocks; `None` while there are few, or when a single step fits better.
    fn fit(&self, means: &[f32; K], newest: usize) -> Option<Slope> {
        let len = usize::from(self.len);
        let y = &means[len.checked_sub(newest)?..len];
        let k = y.len();
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
        let error = error.max(floor).max(f32::MIN_POSITIVE);
        let t = b / error;
        let block_len = f32::from(self.block_len);
        let (b_sample, error) = (b / block_len, error / block_len);
        if step_error(y, mean) < 1.5 * sse {
            return Some(Slope {
                per_sample: b_sample,
                rise: 0.0,
                span: 0,
                t: 0.0,
                error,
                end: mean,
                before: None,
            });
        }
        Some(Slope {
            per_sample: b_sample,
            rise: b * (n - 1.0),
            span: u32::from(self.block_len) * k as u32,
            t: t.clamp(-1e6, 1e6),
            error,
            end: mean + b * (n - 1.0 - mid),
            before: None,
        })
    }
}

/// The line that stands out most.
fn steepest(slopes: &[Option<Slope>]) -> Option<Slope> {
    let found = slopes.iter().copied().flatten();
    found.max_by(|a, b| a.t.abs().total_cmp(&b.t.abs()))
}

/// Samples a block.
fn block_len(per_day: f64) -> u16 {
    if per_day > DAY_MAX {
        return B_FAST;
    }
    (per_day / PER_DAY as f64).clamp(B_LIMITS.0, B_LIMITS.1) as u16
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
        (0..n)
            .filter_map(|i| drift.step(f(i), 1.0, 288.0, true))
            .collect()
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
    fn a_slope_that_ends_or_steepens_is_told() {
        let bend = |after: f32| {
            move |i: u32| {
                0.01 * i.min(1500) as f32 + after * i.saturating_sub(1500) as f32 + noise(i)
            }
        };
        for (after, way) in [(0.0, -1.0), (0.04, 1.0)] {
            let found = slopes(2600, bend(after));
            let was = found[1].before.expect("a slope that was another");
            assert_eq!(found[0].before, None);
            assert!((was - 0.01).abs() < 0.004, "{found:?}");
            assert!((found[1].per_sample - was) * way > 0.004, "{found:?}");
        }
    }

    #[test]
    fn noise_and_a_step_have_no_slope() {
        assert!(slopes(20_000, noise).is_empty());
        assert!(slopes(1000, |i| if i < 300 { 0.0 } else { 8.0 } + noise(i)).is_empty());
    }
}
