//! Changes of level of least squared cost, exactly, with few candidates at any length: FPOP.
//! In: values, a penalty per change, a least segment length. Out: where segments begin. Called from: users; the same answer
//! as [`super::pelt`] with [`super::MeanCost`], in near-linear time also where there are no changes.
//! Notation: for each possible level mu of the newest segment the least cost so far is a quadratic, and which last change
//! it belongs to is constant over intervals ([`Piece`]); S, Q sums of values and of their squares before an index; L the
//! least length. A change at c is first used by a segment that ends at c + L, and is compared with those before it at c:
//! what follows adds the same to both.
//! Invariants: pieces cover the range of the values in order, without gaps; a last change that owns no piece can never
//! again be the best. Reference: Maidstone, Hocking, Rigaill and Fearnhead (2017), <https://doi.org/10.1007/s11222-016-9636-3>.

use crate::gaps::unit_range;

/// Levels from the end of the piece before up to `high`, for which the best last change is `start`.
#[derive(Debug, Clone, Copy)]
struct Piece {
    high: f64,
    start: usize,
}

/// Start indices of all segments but the first, rising.
///
/// `values`: shape `[n]`; gaps (`NaN`, infinity) end the search with no change, fill them first. `penalty`: per change, in
/// the unit of `values` squared; of a noise of variance v, `2 v ln n` is usual. `segment_len_min`: at least 1.
/// # Cost
/// O(n log n) time on average, O(n) memory.
///
/// ```
/// use layer5_patterns::change_point::fpop;
/// let values: Vec<f64> = (0..100).map(|i| if i < 60 { 0.0 } else { 5.0 }).collect();
/// assert_eq!(fpop(&values, 10.0, 2), [60]);
/// ```
pub fn fpop(values: &[f64], penalty: f64, segment_len_min: usize) -> Vec<usize> {
    let n = values.len();
    let least_len = segment_len_min.max(1);
    let finite = values.iter().all(|v| v.is_finite());
    if n / 2 < least_len || n < 2 || !(penalty >= 0.0) || !finite {
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
    let past = Past::of(&values, penalty);
    search(past, (lowest, highest), least_len)
}

/// Sums before each index, and what it has cost to begin a segment there.
struct Past {
    sums: Vec<(f64, f64)>,
    /// Least cost up to an index with a change at it; of the beginning 0, infinite where no change can be.
    renewed: Vec<f64>,
    inverse: Vec<f64>,
    penalty: f64,
}

impl Past {
    fn of(values: &[f64], penalty: f64) -> Self {
        let n = values.len();
        let mut sums = Vec::with_capacity(n + 1);
        let (mut sum, mut squares) = (0.0, 0.0);
        sums.push((sum, squares));
        for v in values {
            sum += v;
            squares += v * v;
            sums.push((sum, squares));
        }
        let mut renewed = vec![f64::INFINITY; n + 1];
        renewed[0] = 0.0;
        Self {
            sums,
            renewed,
            inverse: (0..=n).map(|i| 1.0 / i.max(1) as f64).collect(),
            penalty,
        }
    }

    /// Best level of the segment `start..end`, the cost with it, and its length: a parabola over the level.
    #[inline]
    fn parabola(&self, start: usize, end: usize) -> (f64, f64, f64) {
        let (before, now) = (self.sums[start], self.sums[end]);
        let sum = now.0 - before.0;
        let mean = sum * self.inverse[end - start];
        let least = self.renewed[start] + now.1 - before.1 - sum * mean;
        (mean, least, (end - start) as f64)
    }
}

fn search(mut past: Past, (lowest, highest): (f64, f64), least_len: usize) -> Vec<usize> {
    let n = past.sums.len() - 1;
    let mut last_change = vec![0; least_len];
    let mut pieces = vec![Piece {
        high: highest,
        start: 0,
    }];
    let mut next: Vec<Piece> = Vec::new();
    for t in least_len..=n {
        let (mut best, mut from) = (f64::INFINITY, 0);
        let mut low = lowest;
        for piece in &pieces {
            let (mean, least, count) = past.parabola(piece.start, t);
            let off = mean.clamp(low, piece.high) - mean;
            let cost = least + count * off * off;
            if cost < best {
                (best, from) = (cost, piece.start);
            }
            low = piece.high;
        }
        last_change.push(from);
        past.renewed[t] = best + past.penalty;
        let joins = t + 1 - least_len;
        if joins < least_len {
            continue;
        }
        next.clear();
        low = lowest;
        for piece in &pieces {
            let (mean, least, count) = past.parabola(piece.start, joins);
            let (left, right) = (low - mean, piece.high - mean);
            let room = (past.renewed[joins] - least) / count;
            if left * left <= room && right * right <= room {
                next.push(*piece);
            } else {
                keep_within(&mut next, (low, *piece), mean, room, joins);
            }
            low = piece.high;
        }
        std::mem::swap(&mut pieces, &mut next);
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
            least in 1usize..7,
        ) {
            let exact = pelt(&MeanCost::new(&values, 1.0), penalty, least);
            let found = fpop(&values, penalty, least);
            let bounds: Vec<usize> = [&[0], &found[..], &[values.len()]].concat();
            prop_assert!(found.is_empty() || bounds.windows(2).all(|b| b[1] - b[0] >= least));
            let difference = total(&values, penalty, &found) - total(&values, penalty, &exact);
            // Sums of at most 120 squares below 16: rounding is 1e-12 at most.
            prop_assert!(difference.abs() < 1e-9, "{found:?} {exact:?}");
        }
    }

    #[test]
    fn bad_input_has_no_change() {
        assert!(fpop(&[], 1.0, 1).is_empty());
        assert!(fpop(&[3.0], 1.0, 1).is_empty());
        assert!(fpop(&[3.0, 5.0, 5.0], 1.0, 2).is_empty());
        assert!(fpop(&[3.0, 5.0], 1.0, usize::MAX).is_empty());
        assert!(fpop(&[3.0; 50], 1.0, 1).is_empty());
        assert!(fpop(&[f64::NAN, 1.0, 5.0], 1.0, 1).is_empty());
        assert!(fpop(&[1.0, 5.0], f64::NAN, 1).is_empty());
        assert!(fpop(&[1e308, 1e308, -1e308, -1e308], 1.0, 1).contains(&2));
    }
}
