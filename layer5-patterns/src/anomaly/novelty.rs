//! First sight of a context never met before: each feature against the furthest it has ever been.
//! In: values relative to an origin, and their residual to the daily profile. Out: a strength, 0 while nothing
//! is new. Called from: `watch`; usable alone as [`Novelty`].
//! Notation: z the robust distance of a feature, reach the largest z so far (fading, a side each), W the window.
//! strength = weighted sum over features of ln(z / reach), each cut to `0 ..= STRENGTH_MAX`.
//! Invariants: values enter the reach `BLOCK * BLOCKS` samples late or more, so a growing anomaly does not hide itself.
//! Reference: novelty by context memory (CAD OSE) and by categories (ARTime), both in the Numenta Anomaly
//! Benchmark, Lavin and Ahmad (2015), <https://doi.org/10.1109/ICMLA.2015.141>.

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::anomaly::spike::narrow;
use crate::detector::Part;
use crate::stats::robust::RobustScale;

/// Samples in the rolling window.
const W: usize = 15;
/// Features: rolling mean, difference, log variance, residual, smoothed residual.
const FEATURES: usize = 5;
/// What each adds: the variance and the smoothed residual repeat in part what mean and residual say.
const WEIGHTS: [f32; FEATURES] = [1.0, 1.0, 0.5, 1.0, 0.5];
/// Weight of the newest residual in the smoothed one.
const SMOOTHING: f32 = 0.05;
/// Memory of location and scale, in samples.
const ALPHA: f32 = 1.0 / 4000.0;
const CLIP: f32 = 3.0;
/// Samples a feature learns before it takes part.
const LEARN: u32 = 50;
/// The reach fades by `FADE / (n + FADE_START)` a sample, that is as a power of the series' length: what is new gets
/// rarer with experience, whatever the sampling rate.
const FADE: f32 = 2.0;
const FADE_START: f32 = 200.0;
/// Experience beyond which the fading stays as it is: two months of five-minute samples.
const EXPERIENCE_MAX: u32 = 16_384;
/// Samples per block of the delay line, and blocks held back.
const BLOCK: u8 = 25;
const BLOCKS: usize = 3;
/// Smallest reach: less than two scales is no novelty.
const REACH_MIN: f32 = 2.0;
/// Most that one feature adds: one value gone wild alone is not everything.
const STRENGTH_MAX: f32 = 1.0;
const Z_MAX: f32 = 60.0;

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Feature {
    scale: RobustScale,
    reach: [f32; 2],
    waiting: [[f32; 2]; BLOCKS],
}

impl Feature {
    fn step(&mut self, x: f32, turn: bool) -> f32 {
        let z = self.scale.z(x, Z_MAX);
        self.scale.update(x, ALPHA, CLIP);
        if self.scale.n() < LEARN {
            return 0.0;
        }
        if turn {
            for side in 0..2 {
                self.reach[side] = self.reach[side].max(self.waiting[BLOCKS - 1][side]);
            }
            self.waiting.copy_within(0..BLOCKS - 1, 1);
            self.waiting[0] = [0.0; 2];
        }
        let side = usize::from(z < 0.0);
        let size = z.abs();
        self.waiting[0][side] = self.waiting[0][side].max(size);
        let strength = (size / self.reach[side].max(REACH_MIN))
            .ln()
            .clamp(0.0, STRENGTH_MAX);
        let experience = self.scale.n().min(EXPERIENCE_MAX) as f32;
        let keep = 1.0 - FADE / (experience + FADE_START);
        self.reach[0] *= keep;
        self.reach[1] *= keep;
        strength
    }
}

/// Novelty of one series over several features.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Novelty {
    window: [f32; W],
    head: u8,
    phase: u8,
    n: u32,
    smoothed: f32,
    features: [Feature; FEATURES],
}

impl Novelty {
    /// Takes a value and its residual in; returns the strength.
    pub(crate) fn step(&mut self, x: f32, residual: f32) -> f32 {
        let previous = self.window[(usize::from(self.head) + W - 1) % W];
        self.window[usize::from(self.head)] = x;
        self.head = ((usize::from(self.head) + 1) % W) as u8;
        self.n = self.n.saturating_add(1);
        self.smoothed += SMOOTHING * (residual - self.smoothed);
        if self.n <= W as u32 {
            return 0.0;
        }
        self.phase = (self.phase + 1) % BLOCK;
        let turn = self.phase == 0;
        let mean = self.window.iter().sum::<f32>() / W as f32;
        let variance = self
            .window
            .iter()
            .map(|v| (v - mean) * (v - mean))
            .sum::<f32>()
            / W as f32;
        let scale = self.features[0].scale.scale();
        let log_variance = (variance + 1e-4 * scale * scale + f32::MIN_POSITIVE).ln();
        let values = [mean, x - previous, log_variance, residual, self.smoothed];
        let mut strength = 0.0;
        for ((feature, value), weight) in self.features.iter_mut().zip(values).zip(WEIGHTS) {
            strength += weight * feature.step(value, turn);
        }
        strength
    }
}

impl Part for Novelty {
    const WARM_UP: u32 = W as u32 + LEARN;

    fn score(&mut self, value: f64, origin: &mut f64, _at: Timestamp) -> f64 {
        let x = narrow(value - *origin);
        1.0 - f64::from(-self.step(x, x)).exp()
    }
}
