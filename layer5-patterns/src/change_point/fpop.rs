//! Changes of level of least squared cost, exactly, with few candidates at any length: FPOP.
//! In: values, a penalty per change. Out: where segments begin. Called from: users; the same answer as [`super::pelt`] with
//! [`super::MeanCost`] and segments of one sample or more, in near-linear time also where there are no changes.
//! Notation: for each possible level mu of the newest segment the least cost so far is a quadratic, and which last change
//! it belongs to is constant over intervals ([`Piece`]); S, Q sums of values and of their squares before an index.
//! Invariants: pieces cover the range of the values in order, without gaps; a last change that owns no piece can never
//! again be the best. Reference: Maidstone, Hocking, Rigaill and Fearnhead (2017), <https://doi.org/10.1007/s11222-016-9636-3>.

use crate::gaps::unit_range;

/// Levels from the end of the piece before up to `high`, for which the best last change is `start`.
#[derive(Debug, Clone, Copy)]
struct Piece {
    high: f64,
    start: usize,
}

/// What a last change has cost when it is made, and the sums before it.
#[derive(Debug, Clone, Copy)]
struct Origin {
    cost: f64,
    sum: f64,
    squares: f64,
}

/// Start indices of all segments but the first, rising.
///
/// `values`: shape `[n]`; gaps (`NaN`, infinity) end the search with no change, fill them first. `penalty`: per change, in
/// the unit of `values` squared; of a noise of variance v, `2 v ln n` is usual.
/// # Cost
/// O(n log n) time on average, O(n) memory.
///
/// ```
/// use layer5_patterns::change_point::fpop;
/// let values: Vec<f64> = (0..100).map(|i| if i < 60 { 0.0 } else { 5.0 }).collect();
/// assert_eq!(fpop(&values, 10.0), [60]);
/// ```
pub fn fpop(values: &[f64], penalty: f64) -> Vec<usize> {
    let n = values.len();
    if n < 2 || !(penalty >= 0.0) || values.iter().any(|v| !v.is_finite()) {
        return Vec::new();
    }
    let unit = unit_range(values);
    let penalty = penalty / unit.scale / unit.scale;
    let centre = unit.values.iter().sum::<f64>() / n as f64;
    let values: Vec<f64> = unit.values.iter().map(|v| v - centre).collect();
    let (lowest, highest) = values
        .iter()
        .fold((f64::MAX, f64::MIN), |(l, h), &v| (l.min(v), h.max(v)));
    if lowest == highest {
        return Vec::new();
    }
    let inverse: Vec<f64> = (0..=n).map(|i| 1.0 / i.max(1) as f64).collect();
    let mut origins = Vec::with_capacity(n + 1);
    origins.push(Origin {
        cost: 0.0,
        sum: 0.0,
        squares: 0.0,
    });
    let mut last_change = vec![0; n + 1];
    let mut pieces = vec![Piece {
        high: highest,
        start: 0,
    }];
    let mut next: Vec<Piece> = Vec::new();
    let (mut sum, mut squares) = (0.0, 0.0);
    for (t, v) in (1..).zip(&values) {
        sum += v;
        squares += v * v;
        let parabola = |start: usize| {
            let origin = origins[start];
            let mean = (sum - origin.sum) * inverse[t - start];
            let least = origin.cost + squares - origin.squares - (sum - origin.sum) * mean;
            (mean, least, (t - start) as f64)
        };
        let (mut best, mut from) = (f64::INFINITY, 0);
        let mut low = lowest;
        for piece in &pieces {
            let (mean, least, count) = parabola(piece.start);
            let off = mean.clamp(low, piece.high) - mean;
            let cost = least + count * off * off;
            if cost < best {
                (best, from) = (cost, piece.start);
            }
            low = piece.high;
        }
        last_change[t] = from;
        let renewed = best + penalty;
        next.clear();
        low = lowest;
        for piece in &pieces {
            let (mean, least, count) = parabola(piece.start);
            let (left, right) = (low - mean, piece.high - mean);
            let room = (renewed - least) / count;
            if left * left <= room && right * right <= room {
                next.push(*piece);
            } else {
                keep_within(&mut next, (low, *piece), mean, room, t);
            }
            low = piece.high;
        }
        std::mem::swap(&mut pieces, &mut next);
        origins.push(Origin {
            cost: renewed,
            sum,
            squares,
        });
    }
    let mut starts = Vec::new();
    let mut t = last_change[n];
    while t > 0 {
        starts.push(t);
        t = last_change[t];
    }
    starts.reverse();
    starts
}

/// Keeps of a piece what lies within `sqrt(room)` of `mean`; the rest goes to the change at `t`.
fn keep_within(next: &mut Vec<Piece>, (low, piece): (f64, Piece), mean: f64, room: f64, t: usize) {
    let half = if room > 0.0 { room.sqrt() } else { -1.0 };
    let (from, to) = ((mean - half).max(low), (mean + half).min(piece.high));
    let mut add = |high: f64, start: usize| match next.last_mut() {
        Some(last) if last.start == start => last.high = high,
        _ => next.push(Piece { high, start }),
    };
    if half < 0.0 || from >= to {
        add(piece.high, t);
        return;
    }
    if from > low {
        add(from, t);
    }
    add(to, piece.start);
    if to < piece.high {
        add(piece.high, t);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::change_point::{MeanCost, SegmentCost, pelt};

    fn total(values: &[f64], penalty: f64, starts: &[usize]) -> f64 {
        let cost = MeanCost::new(values, 1.0);
        let mut bounds = vec![0];
        bounds.extend_from_slice(starts);
        bounds.push(values.len());
        let sum: f64 = bounds.windows(2).map(|b| cost.cost(b[0]..b[1])).sum();
        sum + penalty * starts.len() as f64
    }

    proptest! {
        #[test]
        fn the_cost_is_that_of_pelt(
            values in prop::collection::vec(-4.0..4.0_f64, 2..120),
            penalty in 0.05..30.0_f64,
        ) {
            let exact = pelt(&MeanCost::new(&values, 1.0), penalty, 1);
            let found = fpop(&values, penalty);
            let difference = total(&values, penalty, &found) - total(&values, penalty, &exact);
            // Sums of at most 120 squares below 16: rounding is 1e-12 at most.
            prop_assert!(difference.abs() < 1e-9, "{found:?} {exact:?}");
        }
    }

    #[test]
    fn bad_input_has_no_change() {
        assert!(fpop(&[], 1.0).is_empty());
        assert!(fpop(&[3.0], 1.0).is_empty());
        assert!(fpop(&[3.0; 50], 1.0).is_empty());
        assert!(fpop(&[f64::NAN, 1.0, 5.0], 1.0).is_empty());
        assert!(fpop(&[1.0, 5.0], f64::NAN).is_empty());
        assert!(fpop(&[1e308, 1e308, -1e308, -1e308], 1.0).contains(&2));
    }
}
