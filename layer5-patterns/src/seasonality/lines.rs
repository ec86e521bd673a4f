//! Spectral lines: sinusoids that stand out of the coloured noise round them.
//! In: a centred series with zeros at its gaps, and the mask. Out: lines, and what they leave. Called from: `periods`.
//! Notation: f in cycles per sample; power of a line = amplitude^2 / 2, its share of the variance.
//! The strongest line against the background is fitted, subtracted and the spectrum taken again, so that leakage of a
//! strong line is never mistaken for a weak one; at the end each line is refitted with the others taken off.
//! Reference: Li and Stoica (1996), "Efficient mixed-spectrum estimation with applications to target feature extraction".

use std::f64::consts::TAU;

use crate::fourier::{PowerSpectrum, smooth_len};
use crate::order_statistics::median;

/// A series of more lines than this is no season but a shape; the strongest are enough to name it.
const LINES_MAX: usize = 24;
/// Zero padding of the scan, so that a line between two bins loses less than 20 % of its power.
const PADDING: usize = 2;
/// The search ends when what is left is this share of the beginning: rounding, not signal.
const RESIDUAL_SHARE_MIN: f64 = 1e-7;

/// One sinusoid: `cosine * cos(tau f t) + sine * sin(tau f t)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    pub(super) frequency: f64,
    pub(super) cosine: f64,
    pub(super) sine: f64,
    /// Power over the background at its frequency when it was found.
    pub(super) prominence: f64,
}

impl Line {
    pub(super) fn power(&self) -> f64 {
        0.5 * (self.cosine * self.cosine + self.sine * self.sine)
    }

    pub(super) fn add_to(&self, values: &mut [f64], mask: &[f64]) {
        let mut phasor = Phasor::new(self.frequency);
        for (v, m) in values.iter_mut().zip(mask) {
            *v += m * (self.cosine * phasor.cos + self.sine * phasor.sin);
            phasor.step();
        }
    }

    fn remove_from(&self, values: &mut [f64], mask: &[f64]) {
        Self {
            cosine: -self.cosine,
            sine: -self.sine,
            ..*self
        }
        .add_to(values, mask);
    }
}

/// What was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) lines: Vec<Line>,
    /// Shape `[n]`, zero at gaps.
    pub(super) residual: Vec<f64>,
    /// Variance of the residual over what is present.
    pub(super) noise: f64,
}

/// A point that walks round the unit circle: two multiplications a step instead of a sine and a cosine.
struct Phasor {
    cos: f64,
    sin: f64,
    turn_cos: f64,
    turn_sin: f64,
}

impl Phasor {
    fn new(frequency: f64) -> Self {
        let (turn_sin, turn_cos) = (TAU * frequency).sin_cos();
        Self {
            cos: 1.0,
            sin: 0.0,
            turn_cos,
            turn_sin,
        }
    }

    fn step(&mut self) {
        let cos = self.cos * self.turn_cos - self.sin * self.turn_sin;
        self.sin = self.sin * self.turn_cos + self.cos * self.turn_sin;
        self.cos = cos;
    }
}

/// Finds the lines of a series.
pub(super) fn find(values: &[f64], mask: &[f64], false_alarm_rate: f64) -> Found {
    let n = values.len();
    let n_present = mask.iter().sum::<f64>().max(1.0);
    let total: f64 = values.iter().map(|v| v * v).sum();
    let mut residual = values.to_vec();
    let mut lines: Vec<Line> = Vec::new();
    let len = smooth_len(PADDING * n);
    let mut spectrum = PowerSpectrum::new(len);
    let threshold = (n as f64 / 2.0 / false_alarm_rate.clamp(1e-12, 0.5)).ln();
    while lines.len() < LINES_MAX {
        let energy: f64 = residual.iter().map(|v| v * v).sum();
        if energy <= total * RESIDUAL_SHARE_MIN {
            break;
        }
        let power = spectrum.of(&residual);
        let background = background(&power, len, n);
        let bin_min = (len / (2 * n)).max(1);
        let Some((bin, prominence)) = (bin_min..power.len())
            .map(|k| (k, power[k] / background[k]))
            .max_by(|a, b| a.1.total_cmp(&b.1))
        else {
            break;
        };
        if prominence.is_nan() || prominence <= threshold {
            break;
        }
        let frequency = sharpen(&residual, bin as f64 / len as f64, 1.0 / len as f64);
        let line = fit(&residual, mask, frequency, prominence);
        if line.power() * n_present <= total * RESIDUAL_SHARE_MIN {
            break;
        }
        line.remove_from(&mut residual, mask);
        lines.push(line);
    }
    if lines.len() > 1 {
        for line in &mut lines {
            line.add_to(&mut residual, mask);
            let frequency = sharpen(&residual, line.frequency, 0.5 / n as f64);
            *line = fit(&residual, mask, frequency, line.prominence);
            line.remove_from(&mut residual, mask);
        }
    }
    let noise = residual.iter().map(|v| v * v).sum::<f64>() / n_present;
    Found {
        lines,
        residual,
        noise,
    }
}

/// Background of a power spectrum: medians over octaves, straight between their centres on log-log axes.
///
/// The lowest octaves hold too few bins for a median; there the slope of the next octaves goes on, rising at most
/// like a random walk's 1/f^2, and never below the octave's own median.
fn background(power: &[f64], len: usize, n: usize) -> Vec<f64> {
    // Exponentially distributed power has its median at ln 2 of its mean.
    let mean_of_median = 1.0 / std::f64::consts::LN_2;
    // One independent frequency of the unpadded series, in bins.
    let step = len as f64 / n as f64;
    let top = power.len() as f64 - 1.0;
    let mut knots: Vec<(f64, f64)> = Vec::new();
    let mut high = top;
    while high > 8.0 * step {
        // The last octave before the low end takes everything down to eight frequencies.
        let low = if high / 2.0 > 8.0 * step {
            high / 2.0
        } else {
            4.0 * step
        };
        let band = &power[low.ceil() as usize..=(high.floor() as usize).min(power.len() - 1)];
        let level = median(band) * mean_of_median;
        knots.push(((low * high).sqrt().ln(), level.max(f64::MIN_POSITIVE).ln()));
        high = low;
    }
    knots.reverse();
    if knots.is_empty() {
        let level = median(&power[1..]) * mean_of_median;
        return vec![level.max(f64::MIN_POSITIVE); power.len()];
    }
    let slope_low = match knots.as_slice() {
        [a, b, ..] => ((b.1 - a.1) / (b.0 - a.0)).clamp(-2.0, 0.0),
        _ => 0.0,
    };
    let mut upper = 1;
    (0..power.len())
        .map(|k| {
            let x = (k.max(1) as f64).ln();
            while upper + 1 < knots.len() && knots[upper].0 < x {
                upper += 1;
            }
            let (first, last) = (knots[0], knots[knots.len() - 1]);
            let y = if x <= first.0 || knots.len() == 1 {
                first.1 + slope_low * (x - first.0).min(0.0)
            } else if x >= last.0 {
                last.1
            } else {
                let (a, b) = (knots[upper - 1], knots[upper]);
                a.1 + (b.1 - a.1) * (x - a.0) / (b.0 - a.0)
            };
            y.exp()
        })
        .collect()
}

/// The frequency within `reach` of `frequency` where the periodogram is highest, by golden section.
fn sharpen(values: &[f64], frequency: f64, reach: f64) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    let power = |f: f64| {
        let mut phasor = Phasor::new(f);
        let (mut c, mut s) = (0.0, 0.0);
        for v in values {
            c += v * phasor.cos;
            s += v * phasor.sin;
            phasor.step();
        }
        c * c + s * s
    };
    let (mut low, mut high) = ((frequency - reach).max(0.0), (frequency + reach).min(0.5));
    let mut a = high - GOLDEN * (high - low);
    let mut b = low + GOLDEN * (high - low);
    let (mut power_a, mut power_b) = (power(a), power(b));
    // 16 sections bring the interval to 1/2000 of a resolution step, finer than any noise allows.
    for _ in 0..16 {
        if power_a > power_b {
            (high, b, power_b) = (b, a, power_a);
            a = high - GOLDEN * (high - low);
            power_a = power(a);
        } else {
            (low, a, power_a) = (a, b, power_b);
            b = low + GOLDEN * (high - low);
            power_b = power(b);
        }
    }
    0.5 * (low + high)
}

/// Least squares of a cosine and a sine of one frequency over what is present.
fn fit(values: &[f64], mask: &[f64], frequency: f64, prominence: f64) -> Line {
    let mut phasor = Phasor::new(frequency);
    let (mut cc, mut cs, mut ss, mut vc, mut vs) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (v, m) in values.iter().zip(mask) {
        cc += m * phasor.cos * phasor.cos;
        cs += m * phasor.cos * phasor.sin;
        ss += m * phasor.sin * phasor.sin;
        vc += v * phasor.cos;
        vs += v * phasor.sin;
        phasor.step();
    }
    let determinant = cc * ss - cs * cs;
    let (cosine, sine) = if determinant > 1e-9 * cc.max(ss).powi(2) {
        (
            (vc * ss - vs * cs) / determinant,
            (vs * cc - vc * cs) / determinant,
        )
    } else if cc > ss {
        // At frequencies 0 and 1/2 the sine vanishes.
        (vc / cc, 0.0)
    } else {
        (0.0, vs / ss.max(f64::MIN_POSITIVE))
    };
    Line {
        frequency,
        cosine,
        sine,
        prominence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_between_two_bins_is_found_to_a_thousandth_of_a_bin() {
        let n = 500;
        let frequency = 10.37 / n as f64;
        // A hash of the index: white, and the same in every run.
        let noise = |t: usize| {
            let mixed = (t as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64 - 0.5
        };
        let values: Vec<f64> = (0..n)
            .map(|t| 3.0 * (TAU * frequency * t as f64 + 1.0).sin() + noise(t))
            .collect();
        let found = find(&values, &vec![1.0; n], 1e-4);
        let line = found.lines[0];
        assert!(
            (line.frequency - frequency).abs() * (n as f64) < 1e-2,
            "{line:?}"
        );
        assert!((line.power() - 4.5).abs() < 0.2);
    }
}
