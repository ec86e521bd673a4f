//! Named shapes: a person's words for what a window of a series looks like.
//! In: a series, a window length. Out: places where one of the [`SHAPES`] is seen. Called from: [`crate::analyze`].
//! A shape is a template that is stretched to the window and compared by [`mass`]; a match is a correlation of at least
//! [`CORRELATION_MIN`] that also rises above the noise, the best of all shapes at its place.
//! Invariants: matches do not overlap; the index of a shape in [`SHAPES`] never changes (it is stored with findings).

use super::mass::mass;
use super::windows::Windows;
use crate::order_statistics::{median, robust_sigma};

/// Correlation with the template above which a person sees the shape.
const CORRELATION_MIN: f64 = 0.9;
/// The window's swing must exceed this many robust deviations of the sample-to-sample noise.
const SWING_SIGMA: f64 = 6.0;

/// A named shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// Up and back at once.
    Spike,
    /// Down and back at once.
    Dip,
    /// To a higher level.
    StepUp,
    /// To a lower level.
    StepDown,
    /// A straight way up or down.
    Ramp,
    /// Slow rises, sudden falls.
    Sawtooth,
    /// The same value all along.
    Flatline,
    /// Several regular swings.
    Oscillation,
}

/// All named shapes, in the order of their stored index.
pub const SHAPES: [Shape; 8] = [
    Shape::Spike,
    Shape::Dip,
    Shape::StepUp,
    Shape::StepDown,
    Shape::Ramp,
    Shape::Sawtooth,
    Shape::Flatline,
    Shape::Oscillation,
];

impl Shape {
    /// The shape's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spike => "spike",
            Self::Dip => "dip",
            Self::StepUp => "step up",
            Self::StepDown => "step down",
            Self::Ramp => "ramp",
            Self::Sawtooth => "sawtooth",
            Self::Flatline => "flatline",
            Self::Oscillation => "oscillation",
        }
    }

    /// The shape drawn over `len` samples; empty for a flatline, which has no form to compare.
    pub fn template(self, len: usize) -> Vec<f64> {
        let at = |i: usize| i as f64 / (len.max(2) - 1) as f64;
        let bump = |i: usize| (-((at(i) - 0.5) / 0.06).powi(2)).exp();
        let draw = |f: &dyn Fn(usize) -> f64| (0..len).map(f).collect();
        match self {
            Self::Spike => draw(&bump),
            Self::Dip => draw(&|i| -bump(i)),
            Self::StepUp => draw(&|i| f64::from(u8::from(2 * i >= len))),
            Self::StepDown => draw(&|i| -f64::from(u8::from(2 * i >= len))),
            Self::Ramp => draw(&at),
            Self::Sawtooth => draw(&|i| (3.0 * at(i)).fract()),
            Self::Oscillation => draw(&|i| (3.0 * std::f64::consts::TAU * at(i)).sin()),
            Self::Flatline => Vec::new(),
        }
    }
}

/// A named shape at a place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShapeMatch {
    /// Which.
    pub shape: Shape,
    /// Its first sample.
    pub start: usize,
    /// Its length, samples.
    pub len: usize,
    /// How well it fits, 0..=1: the correlation with the template; 1 for a flatline.
    pub fit: f64,
    /// Its swing, the series' unit; negative where a ramp goes down.
    pub magnitude: f64,
}

/// Finds the named shapes of one length, earliest first.
///
/// `window_len`: at least 8. A flatline is a run of at least that many equal values in a series that otherwise varies.
/// # Cost
/// Seven [`mass`] searches.
pub fn find_shapes(series: &[f64], window_len: usize) -> Vec<ShapeMatch> {
    let m = window_len;
    if m < 8 {
        return Vec::new();
    }
    let Some(windows) = Windows::new(series, m) else {
        return Vec::new();
    };
    let steps: Vec<f64> = windows.values.windows(2).map(|w| w[1] - w[0]).collect();
    let noise = {
        let moving: Vec<f64> = steps.iter().copied().filter(|s| *s != 0.0).collect();
        robust_sigma(&moving, median(&moving)).min(robust_sigma(&steps, 0.0)) / 2.0_f64.sqrt()
    };
    let mut candidates: Vec<ShapeMatch> = Vec::new();
    for shape in SHAPES {
        let template = shape.template(m);
        for (start, distance) in mass(&template, series).into_iter().enumerate() {
            if windows.inverse_norm[start] == 0.0 || !distance.is_finite() {
                continue;
            }
            let signed = 1.0 - distance * distance / (2.0 * m as f64);
            let falling = shape == Shape::Ramp && signed < 0.0;
            let fit = if falling { -signed } else { signed };
            if fit < CORRELATION_MIN {
                continue;
            }
            let swing = swing(&series[start..start + m]);
            let seen = swing_of(&windows.values[start..start + m]) > SWING_SIGMA * noise;
            if seen {
                let magnitude = if falling || matches!(shape, Shape::Dip | Shape::StepDown) {
                    -swing
                } else {
                    swing
                };
                candidates.push(ShapeMatch {
                    shape,
                    start,
                    len: m,
                    fit,
                    magnitude,
                });
            }
        }
    }
    candidates.extend(flatlines(series, m));
    candidates.sort_by(|a, b| b.fit.total_cmp(&a.fit).then(a.start.cmp(&b.start)));
    let mut taken = vec![false; series.len()];
    let mut found: Vec<ShapeMatch> = Vec::new();
    for candidate in candidates {
        let range = candidate.start..candidate.start + candidate.len;
        if taken[range.clone()].iter().all(|t| !t) {
            taken[range].fill(true);
            found.push(candidate);
        }
    }
    found.sort_by_key(|f| f.start);
    found
}

fn swing(values: &[f64]) -> f64 {
    swing_of(values).clamp(0.0, f64::MAX)
}

fn swing_of(values: &[f64]) -> f64 {
    let (low, high) = values
        .iter()
        .fold((f64::MAX, f64::MIN), |(l, h), &v| (l.min(v), h.max(v)));
    high - low
}

/// Runs of equal values at least `len_min` long, unless they make up most of the series.
fn flatlines(series: &[f64], len_min: usize) -> Vec<ShapeMatch> {
    let mut runs = Vec::new();
    let mut start = 0;
    for group in series.chunk_by(|a, b| a == b) {
        if group.len() >= len_min && group[0].is_finite() {
            runs.push(ShapeMatch {
                shape: Shape::Flatline,
                start,
                len: group.len(),
                fit: 1.0,
                magnitude: 0.0,
            });
        }
        start += group.len();
    }
    let flat: usize = runs.iter().map(|r| r.len).sum();
    if 2 * flat > series.len() {
        Vec::new()
    } else {
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(i: usize) -> f64 {
        let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64 - 0.5) * 0.2
    }

    #[test]
    fn planted_shapes_are_named() {
        for (k, shape) in SHAPES.iter().enumerate() {
            let mut series: Vec<f64> = (0..300).map(noise).collect();
            let m = 40;
            if *shape == Shape::Flatline {
                series[100..100 + m].fill(0.05);
            } else {
                for (slot, v) in series[100..].iter_mut().zip(shape.template(m)) {
                    *slot += 5.0 * v;
                }
                // A step stays where it went; so does a ramp.
                if matches!(shape, Shape::StepUp | Shape::StepDown | Shape::Ramp) {
                    let last = shape.template(m)[m - 1];
                    series[100 + m..].iter_mut().for_each(|v| *v += 5.0 * last);
                }
            }
            let found = find_shapes(&series, m);
            assert!(
                found
                    .iter()
                    .any(|f| f.shape == *shape && f.start.abs_diff(100) <= 4),
                "{k} {shape:?}: {found:?}"
            );
        }
    }

    #[test]
    fn noise_and_short_series_have_no_shape() {
        let series: Vec<f64> = (0..500).map(noise).collect();
        assert!(find_shapes(&series, 30).is_empty());
        assert!(find_shapes(&[1.0; 20], 30).is_empty());
        assert!(find_shapes(&[], 30).is_empty());
        assert!(find_shapes(&[1.0; 200], 30).is_empty());
    }
}
