//! First sight of a context never met before: each feature against the furthest it has ever been.
//! In: values relative to an origin, their residual to the profile, times. Out: a strength, 0 while nothing is new.
//! Called from: `watch`; usable alone as [`Novelty`].
//! Notation: z the robust distance of a feature, reach how far it is known to go (fading, a side each), W the window.
//! strength = experience * weighted sum over features of ln(z / reach), each cut to `0 ..= STRENGTH_MAX`.
//! Invariants: values enter the reach `BLOCK * BLOCKS` samples late or more, so a growing anomaly does not hide itself;
//! one visit moves the reach half way (on the logarithm), so what happened once is still news the second time.
//! Reference: novelty by context memory (CAD OSE) and by categories (ARTime), both in the Numenta Anomaly
//! Benchmark, Lavin and Ahmad (2015), <https://doi.org/10.1109/ICMLA.2015.141>; decision 0008.

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::anomaly::spike::narrow;
use crate::detector::Part;
use crate::stats::compact::Compact;
use crate::stats::robust::Spread;

/// Samples in the rolling window.
const W: usize = 15;
/// Features: rolling mean, log variance, residual, smoothed residual, the value itself.
const FEATURES: usize = 5;
/// What each adds: the variance and the smoothed residual repeat in part what mean and residual say.
const WEIGHTS: [f32; FEATURES] = [1.0, 0.5, 1.0, 0.5, 1.0];
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
/// Where the fading is written down in the reach of each feature, lest it get lost beside 1.
const FADED_MIN: f32 = 1e-6;
const MINUTES_PER_DAY: f64 = 1440.0;
/// Experience beyond which the fading stays as it is: two months of five-minute samples.
const EXPERIENCE_MAX: u32 = 16_384;
/// Days, or samples of a fast series, after which novelty counts half: before a few days have passed most of what is
/// seen for the first time is only the first Monday, the first night, the first backup.
const DAYS_HALF: f32 = 5.0;
const SAMPLES_HALF: f32 = 10_000.0;
/// Samples per block of the delay line, and blocks held back.
const BLOCK: u8 = 25;
const BLOCKS: usize = 3;
/// Smallest reach: less than two scales is no novelty.
const REACH_MIN: f32 = 2.0;
/// Most that one feature adds: one value gone wild alone is not everything.
const STRENGTH_MAX: f32 = 1.0;
const Z_MAX: f32 = 60.0;
/// Steps per unit of the square root of a held-back distance: 60 scales fit a byte, 3 scales are held to 2 %.
const CODES: f32 = 32.0;

/// The newest values, held as distances from where they lately were: sixteen bits are enough for those.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Window {
    base: f32,
    held: Compact<W>,
}

impl Window {
    /// Puts `x` in the place of the oldest value, which is `head`.
    fn push(&mut self, x: f32, head: u8) {
        self.held.set(usize::from(head), x - self.base);
        if usize::from(head) == W - 1 {
            let values = self.held.all();
            let off = values.iter().sum::<f32>() / W as f32;
            self.base += off;
            for (place, value) in values.iter().enumerate() {
                self.held.set(place, value - off);
            }
            self.held.refine();
        }
    }

    fn mean_and_variance(&self) -> (f32, f32) {
        let values = self.held.all();
        let mean = values.iter().sum::<f32>() / W as f32;
        let squares = values.iter().map(|v| (v - mean) * (v - mean));
        (self.base + mean, squares.sum::<f32>() / W as f32)
    }
}

/// A positive number to a part in 256: the upper half of an `f32`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Half(u16);

impl Half {
    fn of(value: f32) -> Self {
        Self((value.to_bits().saturating_add(0x8000) >> 16) as u16)
    }

    fn value(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Feature {
    spread: Spread,
    /// How far it is known to go, a side each, before the fading that all features share.
    reach: [Half; 2],
}

/// Largest distance of each block held back, coded, a side each; the newest block first.
type Waiting = [[u8; 2]; BLOCKS];

impl Feature {
    /// Takes the `n`-th value in. `faded`: what the held reach is multiplied with; `turn`: whether a block begins.
    fn step(&mut self, x: f32, n: u32, faded: f32, waiting: &mut Waiting, turn: bool) -> f32 {
        let z = self.spread.z(x, Z_MAX);
        self.spread.update(x, n, ALPHA, CLIP);
        if n < LEARN {
            return 0.0;
        }
        if turn {
            self.learn_oldest(faded, waiting);
        }
        let side = usize::from(z < 0.0);
        let size = z.abs();
        waiting[0][side] = waiting[0][side].max(coded(size));
        let reach = (faded * self.reach[side].value()).max(REACH_MIN);
        if size > reach {
            (size / reach).ln().min(STRENGTH_MAX)
        } else {
            0.0
        }
    }

    fn learn_oldest(&mut self, faded: f32, waiting: &mut Waiting) {
        for (reach, &code) in self.reach.iter_mut().zip(&waiting[BLOCKS - 1]) {
            let visited = decoded(code);
            let known = faded * reach.value();
            if visited > known {
                let known = known.max(REACH_MIN).min(visited);
                *reach = Half::of((known * visited).sqrt() / faded);
            }
        }
        waiting.copy_within(0..BLOCKS - 1, 1);
        waiting[0] = [0; 2];
    }
}

fn coded(size: f32) -> u8 {
    (CODES * size.sqrt() + 0.5) as u8
}

fn decoded(code: u8) -> f32 {
    (f32::from(code) / CODES).powi(2)
}

/// Novelty of one series over several features.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Novelty {
    /// Minutes since the epoch at the first sample.
    since: u32,
    n: u32,
    smoothed: f32,
    /// What the reach of every feature has faded to since it was last written down in full.
    faded: f32,
    features: [Feature; FEATURES],
    window: Window,
    head: u8,
    phase: u8,
    waiting: [Waiting; FEATURES],
}

impl Default for Novelty {
    fn default() -> Self {
        Self {
            since: 0,
            n: 0,
            smoothed: 0.0,
            faded: 1.0,
            features: Default::default(),
            window: Window::default(),
            head: 0,
            phase: 0,
            waiting: Default::default(),
        }
    }
}

impl Novelty {
    /// Takes a value and its residual in; returns the strength.
    pub(crate) fn step(&mut self, x: f32, residual: f32, at: Timestamp) -> f32 {
        if self.n == 0 {
            self.since = minutes(at) as u32;
        }
        self.window.push(x, self.head);
        self.head = (self.head + 1) % W as u8;
        self.n = self.n.saturating_add(1);
        self.smoothed += SMOOTHING * (residual - self.smoothed);
        if self.n <= W as u32 {
            return 0.0;
        }
        self.phase = (self.phase + 1) % BLOCK;
        let turn = self.phase == 0;
        let n = self.n - W as u32;
        self.fade(n);
        let (mean, variance) = self.window.mean_and_variance();
        let scale = self.features[0].spread.scale();
        let log_variance = (variance + 1e-4 * scale * scale + f32::MIN_POSITIVE).ln();
        let values = [mean, log_variance, residual, self.smoothed, x];
        let mut strength = 0.0;
        for (i, feature) in self.features.iter_mut().enumerate() {
            let added = feature.step(values[i], n, self.faded, &mut self.waiting[i], turn);
            strength += WEIGHTS[i] * added;
        }
        if strength > 0.0 {
            strength *= self.experience(at);
        }
        strength
    }

    /// Values taken, saturating.
    pub(crate) fn n(&self) -> u32 {
        self.n
    }

    fn fade(&mut self, n: u32) {
        let experience = n.min(EXPERIENCE_MAX) as f32;
        self.faded *= 1.0 - FADE / (experience + FADE_START);
        if self.faded < FADED_MIN {
            for reach in self.features.iter_mut().flat_map(|f| &mut f.reach) {
                *reach = Half::of(self.faded * reach.value());
            }
            self.faded = 1.0;
        }
    }

    /// How much of a novelty counts, `0 ..= 1`.
    fn experience(&self, at: Timestamp) -> f32 {
        let days = ((minutes(at) - f64::from(self.since)) / MINUTES_PER_DAY) as f32;
        let n = self.n as f32;
        (days / (days + DAYS_HALF)).max(n / (n + SAMPLES_HALF))
    }
}

/// Minutes since the epoch, which before it are none.
fn minutes(at: Timestamp) -> f64 {
    (at.seconds() / 60.0).max(0.0)
}

impl Part for Novelty {
    const WARM_UP: u32 = W as u32 + LEARN;

    fn score(&mut self, value: f64, origin: &mut f64, at: Timestamp) -> f64 {
        let x = narrow(value - *origin);
        1.0 - f64::from(-self.step(x, x, at)).exp()
    }
}
