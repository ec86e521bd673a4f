//! Far, sudden and lasting steps of the level taken off, since their spectrum would bury every season.
//! In: a series with gaps as `NaN`. Out: the series on one level. Called from: [`super::periods`].
//! A step is where the level of the next samples is far from that of the last, in the spread that this difference has
//! elsewhere; spans of several lengths are tried, of which some are longer than a short season and some shorter than a long
//! one. Seasons change too little within a span, or do so too often: more than [`STEPS_MAX`] are no steps but a shape that
//! comes back (a pulse, a sawtooth), and are left alone. Levels are means of medians, so that outliers do not count.
//! Invariants: gaps stay gaps; a series without a step comes back as it is.

use crate::order_statistics::{median, robust_sigma};

/// Samples of a median: enough that single outliers do not count.
const FEW: usize = 8;
/// Longest span, in medians either side of a step.
const SPAN_MAX: usize = 256;
/// A difference beyond this many of its robust deviations is a step.
const FAR: f64 = 6.0;
/// Most steps of one series.
const STEPS_MAX: usize = 3;

/// Takes the steps off. `values`: shape `[n]`; returns shape `[n]`, the level of the beginning kept.
pub(super) fn without_steps(values: &[f64]) -> Vec<f64> {
    let index: Vec<usize> = (0..values.len())
        .filter(|&i| values[i].is_finite())
        .collect();
    let present: Vec<f64> = index.iter().map(|&i| values[i]).collect();
    let mut result = values.to_vec();
    for (place, rise) in steps(&present) {
        for v in &mut result[index[place]..] {
            *v -= rise;
        }
    }
    result
}

/// First sample and rise of each step, oldest first.
fn steps(values: &[f64]) -> Vec<(usize, f64)> {
    let n = values.len();
    if n < 8 * FEW {
        return Vec::new();
    }
    let mut sums = vec![0.0];
    let mut sum = 0.0;
    for few in values.windows(FEW) {
        sum += median_of_few(few);
        sums.push(sum);
    }
    let mut best: Option<(f64, usize, Vec<f64>)> = None;
    let mut span = FEW;
    while span <= SPAN_MAX && 8 * span <= n {
        let mut rises = rises(&sums, span);
        // What rises everywhere is a trend.
        let trend = median(&rises);
        for rise in &mut rises {
            *rise -= trend;
        }
        let sigma = robust_sigma(&rises, 0.0);
        let highest = rises.iter().fold(0.0_f64, |h, r| h.max(r.abs())) / sigma;
        if sigma > 0.0 && highest > FAR && best.as_ref().is_none_or(|b| highest > b.0) {
            best = Some((highest, span, rises));
        }
        span *= 2;
    }
    let Some((highest, span, rises)) = best else {
        return Vec::new();
    };
    let tallest = rises.iter().fold(0.0_f64, |h, r| h.max(r.abs()));
    let bound = FAR * tallest / highest;
    let mut left = rises.clone();
    let mut found = Vec::new();
    loop {
        let top = (0..left.len()).max_by(|&a, &b| left[a].abs().total_cmp(&left[b].abs()));
        let Some(i) = top.filter(|&i| left[i].abs() > bound) else {
            break;
        };
        if found.len() == STEPS_MAX {
            return Vec::new();
        }
        let before = (sums[i + span + 1 - FEW] - sums[i]) / (span + 1 - FEW) as f64;
        found.push((
            sharpest(values, i + span, span, (before, before + rises[i])),
            rises[i],
        ));
        left[i.saturating_sub(2 * span)..(i + 2 * span).min(rises.len())].fill(0.0);
    }
    found.sort_by_key(|s| s.0);
    found
}

/// At place i how much the mean level of the `span` samples from `i + span` on is above that of the `span` before.
///
/// `sums`: of the medians of [`FEW`] samples before each place.
fn rises(sums: &[f64], span: usize) -> Vec<f64> {
    // Medians that lie within a span entirely.
    let count = span + 1 - FEW;
    (0..sums.len() - count - span)
        .map(|i| {
            let (before, after) = (
                sums[i + count] - sums[i],
                sums[i + span + count] - sums[i + span],
            );
            (after - before) / count as f64
        })
        .collect()
}

/// The place near `about` where two levels describe the samples round it best, by absolute distance.
fn sharpest(values: &[f64], about: usize, span: usize, (before, after): (f64, f64)) -> usize {
    let (low, high) = (about - span, (about + span).min(values.len()));
    let mut misfit: f64 = values[low..high].iter().map(|v| (v - after).abs()).sum();
    let mut best = (misfit, low);
    for (i, v) in values[low..high].iter().enumerate() {
        misfit += (v - before).abs() - (v - after).abs();
        if misfit < best.0 {
            best = (misfit, low + i + 1);
        }
    }
    best.1.min(values.len() - 1)
}

fn median_of_few(values: &[f64]) -> f64 {
    let mut sorted = [0.0; FEW];
    sorted.copy_from_slice(values);
    sorted.sort_unstable_by(f64::total_cmp);
    0.5 * (sorted[FEW / 2 - 1] + sorted[FEW / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_goes_and_a_season_stays() {
        let season = |t: usize| (t as f64 * 0.1).sin() + ((t * 37) % 11) as f64 * 0.02;
        let mut values: Vec<f64> = (0..400).map(season).collect();
        assert_eq!(without_steps(&values), values);
        for v in &mut values[230..] {
            *v += 16.0;
        }
        values[17] = f64::NAN;
        let level = without_steps(&values);
        assert!(level[17].is_nan());
        // The rise is measured between medians of eight samples, which the season moves by at most 0.8.
        assert!((0..400).all(|t| t == 17 || (level[t] - season(t)).abs() < 0.9));
    }

    #[test]
    fn a_pulse_that_comes_back_is_no_step() {
        let values: Vec<f64> = (0..600)
            .map(|t| if t % 100 < 20 { 9.0 } else { 0.0 } + ((t * 37) % 11) as f64 * 0.02)
            .collect();
        assert_eq!(without_steps(&values), values);
        assert_eq!(without_steps(&[1.0; 5]), [1.0; 5]);
        assert_eq!(without_steps(&[3.0; 500]), [3.0; 500]);
    }
}
