//! Which observations a model is conditioned on: not more than it can hold, not a crowd that tells it nothing.
//! In: [`Known`]. Out: rows, in the order of telling. Called from: [`super`], [`crate::auto`], [`crate::forest`].

use crate::linalg::distance2;
use crate::sampler::Known;

/// The most observations a model is conditioned on: beyond, the best ones and the latest ones are taken.
pub const ROWS_MAX: usize = 250;

/// The rows a model is conditioned on, in the order of telling.
pub(crate) fn rows(known: &Known<'_>) -> Vec<usize> {
    let n = known.y.len();
    if n <= ROWS_MAX {
        return (0..n).collect();
    }
    let mut order: Vec<usize> = (0..n - ROWS_MAX / 4).collect();
    order.sort_by(|a, b| known.y[*a].total_cmp(&known.y[*b]));
    order.truncate(ROWS_MAX / 2);
    // A quarter spread over all the rest, so that the model knows where it is bad.
    let rest = n - ROWS_MAX / 4;
    order.extend((0..ROWS_MAX / 4).map(|i| i * rest / (ROWS_MAX / 4)));
    order.extend(n - ROWS_MAX / 4..n);
    order.sort_unstable();
    order.dedup();
    order
}

/// The rows of a model of the whole cube: where a local search left a crowd, only its best place stays, because rows closer
/// than `apart` tell such a model nothing and ruin its conditioning.
pub(crate) fn thinned_rows(known: &Known<'_>, apart: f64) -> Vec<usize> {
    let mut order = rows(known);
    order.sort_by(|a, b| known.y[*a].total_cmp(&known.y[*b]));
    let limit = apart * apart * known.cube.len() as f64;
    let mut kept: Vec<usize> = Vec::with_capacity(order.len());
    for row in order {
        if kept
            .iter()
            .all(|k| distance2(&known.x[*k], &known.x[row]) > limit)
        {
            kept.push(row);
        }
    }
    kept.sort_unstable();
    kept
}

/// Rows that are nearer to an earlier one than this share of the cube's diagonal tell a model of the whole cube nothing.
pub(super) const APART: f64 = 0.02;

/// At most [`ROWS_MAX`] rows, in the order of telling, none nearer than `apart` of the cube's diagonal to one before it;
/// where that leaves too many, wider apart.
pub(super) fn rows_apart(known: &Known<'_>, apart: f64) -> Vec<usize> {
    let limit = apart * apart * known.cube.len() as f64;
    let mut kept: Vec<usize> = Vec::new();
    for (row, x) in known.x.iter().enumerate() {
        let is_far = |k: &usize| distance2(&known.x[*k], x) > limit;
        if apart == 0.0 || kept.iter().all(is_far) {
            kept.push(row);
        }
        if kept.len() > ROWS_MAX {
            return rows_apart(known, (2.0 * apart).max(APART));
        }
    }
    kept
}

/// Coordinates of the `n` best observations, best first.
pub(crate) fn best_rows<'a>(known: &Known<'a>, n: usize) -> Vec<&'a [f64]> {
    let mut order: Vec<usize> = (0..known.y.len()).collect();
    order.sort_by(|a, b| known.y[*a].total_cmp(&known.y[*b]));
    order
        .into_iter()
        .take(n)
        .map(|i| known.x[i].as_slice())
        .collect()
}
