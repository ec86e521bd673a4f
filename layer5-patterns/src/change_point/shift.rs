//! A level that jumps and stays: the contrast of two neighbouring windows, judged by how large it usually is.
//! In: values relative to an origin, without their daily profile. Out: a step, its size and how long ago it was.
//! Called from: `watch`; usable alone as [`Shift`].
//! Notation: M samples a window, D the mean of the newest M less the mean of the M before, values clipped at
//! `CLIP` scales of the level. Because D is compared with its own past, autocorrelation, cycles and heavy tails
//! raise the bar by themselves.
//! Invariants: after a step the window holds the old samples moved by it, so a return is found as fast.
//! Reference: moving sums, Eichinger and Kirch (2018), Bernoulli 24(1), 526-564; calibration as in `stats/tail`.

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::anomaly::spike::narrow;
use crate::detector::Part;
use crate::stats::compact::Compact;
use crate::stats::robust::Spread;
use crate::stats::tail::Tail;

/// Samples a window: one hour of five-minute samples.
pub const M: usize = 12;
const RING: usize = 2 * M;
/// Samples before the contrast's own past is worth judging by.
const WARM_UP: u16 = 96;
/// Contrasts are cut here, in scales.
const Z_MAX: f32 = 1e4;
/// Memory of level and of its scale, in samples.
const LEVEL_ALPHA: f32 = 1.0 / 200.0;
/// Memory of the usual contrast, in samples.
const CONTRAST_ALPHA: f32 = 1.0 / 1000.0;
/// Contrasts count at most this many scales: while a step fills the window it must not widen the scale it will be
/// judged by.
const CONTRAST_CLIP: f32 = 2.0;
/// Values count at most this many scales off the level.
const CLIP: f32 = 4.0;
/// Probability below which a contrast is no chance.
const P_MAX: f32 = 1e-4;
/// A step is at least this many scales of the level high.
const STEP_MIN: f32 = 1.5;
/// The two levels must differ by this many standard errors of their own spread: what the usual contrast knows of the
/// past, this knows of the present, when the noise has grown or the values merely slope.
const T_MIN: f32 = 4.5;

/// Standard deviation over mean absolute deviation, of a Gaussian.
const SIGMA_OF_DEVIATION: f32 = 1.253_314;

/// A step that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// New level less old level.
    pub height: f32,
    /// Samples since the first one on the new level, at least 1 (the newest is 0 back).
    pub back: u32,
    /// Mean before.
    pub before: f32,
    /// Chance of a contrast this large.
    pub p: f32,
}

/// Detector of steps; holds the level and its scale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    ring: Compact<RING>,
    head: u8,
    filled: u8,
    /// Values that the level and the usual contrast know, as far as it matters to their weights.
    level_n: u8,
    contrast_n: u16,
    /// Samples since the contrast became improbable, 0 while it is not.
    pending: u8,
    peak: f32,
    /// Furthest contrast of the current excursion, in scales, signed.
    crest: f32,
    level: Spread,
    contrast: Spread,
    tail: Tail,
}

impl Shift {
    /// Robust level and scale of the current regime, relative to the origin of the values.
    pub fn level(&self) -> Spread {
        self.level
    }

    /// Scale of the usual contrast.
    pub fn contrast_scale(&self) -> f32 {
        self.contrast.scale()
    }

    /// The values are from now on without their cycle: forget the held ones and relearn the scales sooner.
    /// `left`: share of the variance that stays.
    pub(crate) fn values_changed(&mut self, left: f32) {
        self.filled = 0;
        self.pending = 0;
        self.crest = 0.0;
        self.level_n = self.level_n.min(M as u8);
        self.contrast_n = self.contrast_n.min(WARM_UP);
        self.contrast.narrow(left);
    }

    /// The held values, oldest first.
    fn ordered(&self) -> [f32; RING] {
        let mut values = self.ring.all();
        values.rotate_left(usize::from(self.head));
        values
    }

    /// Takes a value in; a found step is already taken out of the held samples.
    /// The caller moves its origin by `height`.
    pub(crate) fn step(&mut self, x: f32, p_max: f32) -> (f32, Option<Step>) {
        self.ring.set(usize::from(self.head), x);
        self.head = ((usize::from(self.head) + 1) % RING) as u8;
        if self.head == 0 {
            self.ring.refine();
        }
        self.filled = self.filled.saturating_add(1).min(RING as u8);
        if usize::from(self.filled) < RING {
            self.learn_level(x);
            return (1.0, None);
        }
        let limit = CLIP * self.level.scale();
        let middle = self.level.location();
        let contrast = self.clipped_contrast(middle - limit, middle + limit);
        self.learn_level(x);
        let z = self.contrast.z(contrast, Z_MAX).abs();
        let p = self.tail.p(z);
        let settled = self.contrast_n >= WARM_UP;
        if !settled || (self.pending == 0 && p > p_max) {
            self.contrast_n = self.contrast_n.saturating_add(1);
            let n = u32::from(self.contrast_n);
            self.contrast
                .update(contrast, n, CONTRAST_ALPHA, CONTRAST_CLIP);
            self.learn_crest(contrast, z);
            return (if settled { p } else { 1.0 }, None);
        }
        self.pending += 1;
        if self.pending == 1 || contrast.abs() >= self.peak.abs() {
            self.peak = contrast;
        }
        // Wait for the newest window to fill with the new level; then judge once.
        let over = contrast.abs() < 0.9 * self.peak.abs() || usize::from(self.pending) > M;
        if !over {
            return (p, None);
        }
        let step = self.judge();
        self.pending = 0;
        if step.is_some() {
            self.crest = 0.0;
        }
        (p, step)
    }

    fn learn_level(&mut self, x: f32) {
        self.level_n = self.level_n.saturating_add(1);
        self.level
            .update(x, u32::from(self.level_n), LEVEL_ALPHA, 3.0);
    }

    /// The tail learns one value per excursion of the contrast, its crest: neighbours in one excursion are one event.
    fn learn_crest(&mut self, contrast: f32, z: f32) {
        let signed = z.copysign(contrast - self.contrast.location());
        if signed * self.crest >= 0.0 {
            if z > self.crest.abs() {
                self.crest = signed;
            }
            return;
        }
        // The first contrasts meet a scale that is still forming: their crests say nothing.
        if self.contrast_n > WARM_UP / 2 {
            self.tail.update(self.crest.abs());
        }
        self.crest = signed;
    }

    fn clipped_contrast(&self, low: f32, high: f32) -> f32 {
        let values = self.ring.all();
        let head = usize::from(self.head);
        // Of the ring, `head..` and `..head` are in order of age.
        let sum = |part: &[f32]| part.iter().map(|x| x.clamp(low, high)).sum::<f32>();
        let contrast = if head < M {
            let new = sum(&values[head + M..]) + sum(&values[..head]);
            new - sum(&values[head..head + M])
        } else {
            let old = sum(&values[head..]) + sum(&values[..head - M]);
            sum(&values[head - M..head]) - old
        };
        contrast / M as f32
    }

    /// Finds the best split of the held samples and whether the new level lasts.
    fn judge(&mut self) -> Option<Step> {
        let ordered = self.ordered();
        let total: f32 = ordered.iter().sum();
        let (mut best, mut split, mut sum) = (0.0, 0, 0.0);
        for k in 1..RING - 3 {
            sum += ordered[k - 1];
            let (n1, n2) = (k as f32, (RING - k) as f32);
            let gap = (total - sum) / n2 - sum / n1;
            let gain = gap * gap * n1 * n2;
            if k >= 4 && gain > best {
                (best, split) = (gain, k);
            }
        }
        if split == 0 {
            return None;
        }
        let before = median(&ordered[..split]);
        let after = median(&ordered[split..]);
        let height = after - before;
        let spread = SIGMA_OF_DEVIATION
            * (deviation(&ordered[..split], before) + deviation(&ordered[split..], after))
            / RING as f32;
        let share = split as f32 * (RING - split) as f32 / RING as f32;
        let lasting = ordered[RING - 4..]
            .iter()
            .filter(|&&x| (x - before) / height > 0.5)
            .count();
        if lasting < 3
            || height.abs() < STEP_MIN * self.contrast.scale()
            || height * height * share < T_MIN * T_MIN * spread * spread
        {
            return None;
        }
        let back = RING - split;
        for k in 0..back {
            let at = (usize::from(self.head) + RING - 1 - k) % RING;
            self.ring.set(at, self.ring.get(at) - height);
        }
        Some(Step {
            height,
            back: back as u32 - 1,
            before,
            // Nothing that judges a contrast has changed since its peak.
            p: self.tail.p(self.contrast.z(self.peak, Z_MAX).abs()),
        })
    }
}

/// Sum of the absolute deviations from `middle`.
fn deviation(values: &[f32], middle: f32) -> f32 {
    values.iter().map(|x| (x - middle).abs()).sum()
}

/// Median of at most `RING` values.
fn median(values: &[f32]) -> f32 {
    let mut sorted = [0.0_f32; RING];
    let sorted = &mut sorted[..values.len()];
    sorted.copy_from_slice(values);
    sorted.sort_unstable_by(f32::total_cmp);
    let mid = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[mid]
    } else {
        0.5 * (sorted[mid - 1] + sorted[mid])
    }
}

impl Part for Shift {
    // The contrast exists from the moment both windows are full.
    const WARM_UP: u32 = WARM_UP as u32 + RING as u32;

    fn score(&mut self, value: f64, origin: &mut f64, _at: Timestamp) -> f64 {
        let (p, step) = self.step(narrow(value - *origin), P_MAX);
        if let Some(step) = step {
            *origin += f64::from(step.height);
        }
        1.0 - f64::from(p)
    }
}
