//! Suggestions that are expected to keep a value, as often as the caller demands.
//! In: a wish. Out: the place nearest to it, on the way from a safe one, where the model's bound keeps the value. Called
//! from: [`super::suggest`]. Invariants: the search spreads from what was observed to be safe, never further at once than
//! [`REACH`]; while there is no model it stays round the start, and where nothing is known to be safe the start is asked
//! again: of that alone the caller has said so.
//! Reference: Sui, Gotovos, Burdick and Krause (2015), "Safe exploration for optimization with Gaussian processes".

use rand_pcg::Pcg64;

use super::config::Safe;
use crate::acquisition::log_ei::normal_quantile;
use crate::acquisition::maximize::normal_draw;
use crate::gp::Surrogate;
use crate::linalg::distance2;
use crate::sampler::Known;

/// Furthest from any observation, in unit coordinates: lengths learned from a few rows are guesses.
const REACH: f64 = 0.15;
/// First steps, while there is no model.
const FIRST: f64 = 0.02;
/// How much wider than the model's own the standard deviation is taken: its hyperparameters are estimates.
const WIDER: f64 = 1.5;

/// The place to suggest; `None` if the wish itself is safe enough.
pub(super) fn safe_step(
    safe: &Safe,
    sign: f64,
    known: &Known<'_>,
    wish: &[f64],
    rng: &mut Pcg64,
) -> Option<Vec<f64>> {
    let start = known.cube.to_unit(&safe.start);
    if known.y.is_empty() {
        return Some(start);
    }
    let step = |from: &[f64], width: f64, rng: &mut Pcg64| -> Vec<f64> {
        (0..from.len())
            .map(|j| {
                let moved = from[j] + width * normal_draw(rng);
                if known.cube.is_ordered(j) {
                    moved.clamp(0.0, 1.0)
                } else {
                    from[j]
                }
            })
            .collect()
    };
    let worst = sign * safe.worst;
    if known.y.len() < 2 * known.cube.len() + 2 {
        // Not round the best: under noise that is where it was luckiest, and steps from there to there lead away.
        return Some(step(&start, FIRST, rng));
    }
    let Some(surrogate) = Surrogate::fit_from(known, None, 20) else {
        return Some(start);
    };
    let limit = surrogate.to_model(worst);
    let n_free = known.y.len() - known.cube.len() - 1;
    let wide = WIDER * student_quantile(safe.probability, n_free.max(3) as f64);
    let bound = |u: &[f64]| {
        let (mean, variance) = surrogate.posterior.predict(u);
        mean + wide * (variance + surrogate.posterior.noise_variance()).sqrt()
    };
    // What lies as close together as the first steps tells noise from slope badly: what is known grows by its own size.
    let from_start2 = known.x.iter().map(|x| distance2(x, &start));
    let reach2 = from_start2.fold(FIRST * FIRST, f64::max).min(REACH * REACH);
    let is_safe = |u: &[f64]| {
        let near = known.x.iter().map(|x| distance2(x, u));
        bound(u) <= limit && near.fold(f64::INFINITY, f64::min) <= reach2
    };
    if is_safe(wish) {
        return None;
    }
    let rows = known.x.iter().map(|x| (bound(x), x));
    let (lowest, base) = rows.min_by(|a, b| a.0.total_cmp(&b.0))?;
    if lowest > limit {
        return Some(start);
    }
    // From the safe place nearest to the wish.
    let near = known.x.iter().filter(|x| bound(x) <= limit);
    let base = near
        .min_by(|a, b| distance2(a, wish).total_cmp(&distance2(b, wish)))
        .unwrap_or(base);
    let at = |t: f64| -> Vec<f64> {
        (0..base.len())
            .map(|j| {
                if known.cube.is_ordered(j) {
                    base[j] + t * (wish[j] - base[j])
                } else {
                    base[j]
                }
            })
            .collect()
    };
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..20 {
        let middle = 0.5 * (low + high);
        if is_safe(&at(middle)) {
            low = middle;
        } else {
            high = middle;
        }
    }
    let found = at(low);
    if distance2(&found, base) > FIRST * FIRST / 4.0 {
        return Some(found);
    }
    // The way to the wish is barred: the least known safe place near the base widens it elsewhere.
    let widened = (0..64).map(|k| step(base, 0.1 * f64::from(k % 4 + 1) / 4.0, rng));
    let best = widened
        .filter(|u| is_safe(u))
        .map(|u| (surrogate.posterior.predict(&u).1, u))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    Some(best.map_or(found, |(_, u)| u))
}

/// The `p` quantile of Student's t with `n` degrees of freedom, at least 3, by the expansion of Cornish and Fisher: scales
/// and noise were learned from few rows, so what they say of the far tail is not normal.
fn student_quantile(p: f64, n: f64) -> f64 {
    let z = normal_quantile(p);
    let z2 = z * z;
    let first = (z2 + 1.0) / 4.0;
    let second = ((5.0 * z2 + 16.0) * z2 + 3.0) / 96.0;
    let third = (((3.0 * z2 + 19.0) * z2 + 17.0) * z2 - 15.0) / 384.0;
    z * (1.0 + (first + (second + third / n) / n) / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_student_are_the_tabled_ones() {
        for (p, n, tabled) in [
            (0.95, 3.0, 2.353),
            (0.99, 6.0, 3.143),
            (0.99, 30.0, 2.457),
            (0.5, 4.0, 0.0),
        ] {
            let found = student_quantile(p, n);
            // What the expansion leaves out at three degrees of freedom is a hundredth.
            assert!((found - tabled).abs() < 0.02, "{p} {n}: {found}");
        }
    }
}
