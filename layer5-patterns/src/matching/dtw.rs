//! Likeness of shapes that run at changing speed: dynamic time warping, and search with lower bounds.
//! In: two series; or a query and a long series. Out: distances, the best place. Called from: users.
//! Notation: w half-width of the Sakoe-Chiba band, in samples. Distance: root of the summed squared differences.
//! Invariants: lower bounds never exceed the true distance, so pruning loses nothing (a test checks it).
//! Reference: Sakoe and Chiba (1978); Keogh and Ratanamahatana (2005), LB_Keogh; Kim, Park and Chu (2001), LB_Kim;
//! Rakthanmanon et al. (2012), the UCR suite.

use std::collections::VecDeque;

use super::windows::Windows;

/// Distance of two series under warping within a band; infinite when a value is not finite or a series is empty.
///
/// `band`: half-width in samples; widened to the difference of the lengths. `usize::MAX`: no band.
/// # Cost
/// O(n band) time, O(n) memory.
///
/// ```
/// use layer5_patterns::matching::dtw;
/// assert_eq!(dtw(&[0.0, 0.0, 1.0, 0.0], &[0.0, 1.0, 0.0, 0.0], 1), 0.0);
/// assert_eq!(dtw(&[0.0, 3.0], &[0.0, 7.0], 0), 4.0);
/// ```
pub fn dtw(a: &[f64], b: &[f64], band: usize) -> f64 {
    if a.is_empty() || b.is_empty() || a.iter().chain(b).any(|v| !v.is_finite()) {
        return f64::INFINITY;
    }
    squared_dtw(a, b, band, f64::INFINITY).sqrt()
}

/// Squared distance; infinite as soon as it must exceed `bound`.
///
/// The table is filled along its anti-diagonals: the cells of one depend on the two before alone, not on each other, so
/// that compilers make vectors of them. Cell (i, j) of diagonal k = i + j lies at place i + 1 of its buffer.
fn squared_dtw(a: &[f64], b: &[f64], band: usize, bound: f64) -> f64 {
    let (n, m) = (a.len(), b.len());
    let band = band.max(n.abs_diff(m)).min(n.max(m));
    let reversed: Vec<f64> = b.iter().rev().copied().collect();
    let mut now = vec![f64::INFINITY; n + 2];
    let mut before = now.clone();
    let mut two_before = now.clone();
    two_before[0] = 0.0;
    let mut least_before = 0.0;
    for k in 0..n + m - 1 {
        let low = (k + 1)
            .saturating_sub(m)
            .max(k.saturating_sub(band).div_ceil(2));
        let end = n.min(k + 1).min((k + band) / 2 + 1);
        now[low] = f64::INFINITY;
        if low < end {
            // b[k - i] is reversed[m - 1 - k + i].
            let theirs = &reversed[low + m - 1 - k..end + m - 1 - k];
            fill(
                &mut now[low + 1..=end],
                (&a[low..end], theirs),
                (
                    &before[low + 1..=end],
                    &before[low..end],
                    &two_before[low..end],
                ),
            );
        }
        now[end.max(low) + 1] = f64::INFINITY;
        if bound < f64::INFINITY {
            // A path steps on at least one of two neighbouring diagonals.
            let least =
                now[low + 1..(end + 1).max(low + 1)]
                    .iter()
                    .fold(
                        f64::INFINITY,
                        |least, v| if *v < least { *v } else { least },
                    );
            if least > bound && least_before > bound {
                return f64::INFINITY;
            }
            least_before = least;
        }
        // The oldest becomes the next to be written.
        std::mem::swap(&mut two_before, &mut before);
        std::mem::swap(&mut before, &mut now);
    }
    before[n]
}

/// One anti-diagonal: the squared difference plus the least of the three cells it can be reached from.
fn fill(cells: &mut [f64], (ours, theirs): (&[f64], &[f64]), from: (&[f64], &[f64], &[f64])) {
    let len = cells.len();
    let (ours, theirs) = (&ours[..len], &theirs[..len]);
    let (left, up, corner) = (&from.0[..len], &from.1[..len], &from.2[..len]);
    for i in 0..len {
        let least = if left[i] < up[i] { left[i] } else { up[i] };
        let least = if corner[i] < least { corner[i] } else { least };
        let step = ours[i] - theirs[i];
        cells[i] = step * step + least;
    }
}

/// Where a query is found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DtwMatch {
    /// Start of the window.
    pub start: usize,
    /// Distance of the z-normalised window from the z-normalised query.
    pub distance: f64,
}

/// The window of `series` nearest to `query` under warping, both z-normalised.
///
/// `None` when the query is longer than the series, shorter than 2, has a gap, or every window has one.
/// # Cost
/// O(n) for most windows, which the bounds dismiss; O(m band) for the rest.
pub fn dtw_search(query: &[f64], series: &[f64], band: usize) -> Option<DtwMatch> {
    let m = query.len();
    let windows = Windows::new(series, m)?;
    if query.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let own = Windows::new(query, m)?;
    let normal = |values: &[f64], mean: f64, inverse_norm: f64| -> Vec<f64> {
        let scale = inverse_norm * (m as f64).sqrt();
        values.iter().map(|v| (v - mean) * scale).collect()
    };
    let query = normal(&own.values, own.mean[0], own.inverse_norm[0]);
    let (lower, upper) = envelope(&query, band.min(m));
    let mut best: Option<DtwMatch> = None;
    let mut bound = f64::INFINITY;
    for i in (0..windows.count()).filter(|&i| !windows.gap[i]) {
        let scale = windows.inverse_norm[i] * (m as f64).sqrt();
        let at = |k: usize| (windows.values[i + k] - windows.mean[i]) * scale;
        // LB_Kim: both paths must match the ends.
        let ends = (at(0) - query[0]).powi(2) + (at(m - 1) - query[m - 1]).powi(2);
        if ends >= bound || keogh(&at, &lower, &upper, bound) >= bound {
            continue;
        }
        let window = normal(
            &windows.values[i..i + m],
            windows.mean[i],
            windows.inverse_norm[i],
        );
        let squared = squared_dtw(&query, &window, band, bound);
        if squared < bound {
            bound = squared;
            best = Some(DtwMatch {
                start: i,
                distance: squared.sqrt(),
            });
        }
    }
    best
}

/// LB_Keogh: what lies outside the query's envelope can be matched no better than by its border.
fn keogh(at: &impl Fn(usize) -> f64, lower: &[f64], upper: &[f64], bound: f64) -> f64 {
    let mut sum = 0.0;
    for k in 0..lower.len() {
        let v = at(k);
        let outside = (v - upper[k]).max(lower[k] - v).max(0.0);
        sum += outside * outside;
        if sum >= bound {
            break;
        }
    }
    sum
}

/// Running minimum and maximum within `band` of each place, by monotone queues. O(n).
fn envelope(values: &[f64], band: usize) -> (Vec<f64>, Vec<f64>) {
    let running = |better: fn(f64, f64) -> bool| {
        let mut queue: VecDeque<usize> = VecDeque::new();
        let mut result = Vec::with_capacity(values.len());
        let mut next = 0;
        for i in 0..values.len() {
            while next < values.len() && next <= i + band {
                while queue
                    .back()
                    .is_some_and(|&k| !better(values[k], values[next]))
                {
                    queue.pop_back();
                }
                queue.push_back(next);
                next += 1;
            }
            while queue.front().is_some_and(|&k| k + band < i) {
                queue.pop_front();
            }
            result.push(queue.front().map_or(values[i], |&k| values[k]));
        }
        result
    };
    (running(|a, b| a < b), running(|a, b| a > b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full(a: &[f64], b: &[f64], band: usize) -> f64 {
        let (n, m) = (a.len(), b.len());
        let band = band.max(n.abs_diff(m));
        let mut table = vec![vec![f64::INFINITY; m + 1]; n + 1];
        table[0][0] = 0.0;
        for i in 1..=n {
            for j in 1..=m {
                if i.abs_diff(j) <= band {
                    let best = table[i - 1][j]
                        .min(table[i][j - 1])
                        .min(table[i - 1][j - 1]);
                    table[i][j] = (a[i - 1] - b[j - 1]).powi(2) + best;
                }
            }
        }
        table[n][m].sqrt()
    }

    proptest! {
        #[test]
        fn band_and_rows_agree_with_the_full_table(
            a in prop::collection::vec(-2.0..2.0_f64, 1..25),
            b in prop::collection::vec(-2.0..2.0_f64, 1..25),
            band in 0usize..30,
        ) {
            prop_assert!((dtw(&a, &b, band) - full(&a, &b, band)).abs() < 1e-9);
        }

        #[test]
        fn pruning_finds_what_a_full_search_finds(
            series in prop::collection::vec(-2.0..2.0_f64, 20..60),
            query in prop::collection::vec(-2.0..2.0_f64, 4..12),
            band in 0usize..4,
        ) {
            let m = query.len();
            let z = |v: &[f64]| -> Vec<f64> {
                let mean = v.iter().sum::<f64>() / m as f64;
                let sigma = (v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / m as f64).sqrt();
                v.iter().map(|x| (x - mean) / sigma).collect()
            };
            let least = series.windows(m).map(|w| full(&z(&query), &z(w), band)).fold(f64::INFINITY, f64::min);
            let found = dtw_search(&query, &series, band).expect("there are windows");
            prop_assert!((found.distance - least).abs() < 1e-6, "{} {}", found.distance, least);
        }
    }

    #[test]
    fn bad_input_has_no_match() {
        assert_eq!(dtw(&[], &[1.0], 3), f64::INFINITY);
        assert_eq!(dtw_search(&[1.0, 2.0, 3.0], &[1.0, 2.0], 1), None);
        assert_eq!(dtw_search(&[1.0, f64::NAN], &[1.0, 2.0, 3.0], 1), None);
    }
}
