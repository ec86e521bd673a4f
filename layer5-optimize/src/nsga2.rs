//! Evolution towards the whole front of several objectives: the fittest of everything told are parents, near ones rarely.
//! In: [`Known`] with the values of every objective. Out: proposals. Called from: [`crate::study`].
//! How: the population is the best [`N_POPULATION`] of all observations by front, then by room; two tournaments pick
//! parents, crossed and mutated axis by axis. With one objective it is a plain genetic algorithm. Rows that break a
//! constraint come after all that do not, the least broken first.
//! Invariants: no state of its own: the same observations and stream give the same child.
//! Reference: Deb, Pratap, Agarwal and Meyarivan (2002), <https://doi.org/10.1109/4235.996017>; simulated binary
//! crossover, Deb and Agrawal (1995).

use rand::RngExt;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::pareto::{crowding, ranks};
use crate::random::even_draw;
use crate::sampler::{Known, Proposal, Sampler, SamplerKind};
use crate::trial::Why;

/// Parents kept.
pub const N_POPULATION: usize = 40;
/// Observations looked at: the latest.
const ROWS_MAX: usize = 400;
/// Even draws before there are parents.
const N_STARTUP: usize = 16;
/// How close children of simulated binary crossover and polynomial mutation stay (Deb et al. use 20; budgets here are
/// a tenth of theirs, so steps are wider).
const ETA: f64 = 10.0;

/// The sampler.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Nsga2;

impl Sampler for Nsga2 {
    fn propose(&mut self, known: &Known<'_>, rng: &mut Pcg64) -> Proposal {
        let by = SamplerKind::Nsga2;
        if known.n_used() < N_STARTUP || known.y.len() < 4 {
            return Proposal {
                unit: even_draw(known.cube, rng),
                by,
                why: Why::InitialDesign,
                expected: None,
            };
        }
        let parents = population(known);
        let mut pick = || {
            let (a, b) = (
                rng.random_range(0..parents.len()),
                rng.random_range(0..parents.len()),
            );
            // Parents are sorted: the smaller place wins.
            known.x[parents[a.min(b)]].clone()
        };
        let (mother, father) = (pick(), pick());
        Proposal {
            unit: child(known, &mother, &father, rng),
            by,
            why: Why::Generation,
            expected: None,
        }
    }
}

/// The fittest rows, best first.
fn population(known: &Known<'_>) -> Vec<usize> {
    let first = known.y.len().saturating_sub(ROWS_MAX);
    let rows: Vec<usize> = (first..known.y.len()).collect();
    let values: Vec<Vec<f64>> = rows.iter().map(|i| known.values[*i].clone()).collect();
    let rank = ranks(&values);
    let mut room = vec![0.0; rows.len()];
    for level in 0..=rank.iter().copied().max().unwrap_or(0) {
        let members: Vec<usize> = (0..rows.len()).filter(|i| rank[*i] == level).collect();
        let views: Vec<&[f64]> = members.iter().map(|i| values[*i].as_slice()).collect();
        for (i, r) in members.iter().zip(crowding(&views)) {
            room[*i] = r;
        }
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|a, b| {
        let broken = |i: usize| known.violation[rows[i]];
        (broken(*a).total_cmp(&broken(*b)))
            .then(rank[*a].cmp(&rank[*b]))
            .then(room[*b].total_cmp(&room[*a]))
    });
    order.truncate(N_POPULATION);
    order.into_iter().map(|i| rows[i]).collect()
}

fn child(known: &Known<'_>, mother: &[f64], father: &[f64], rng: &mut Pcg64) -> Vec<f64> {
    let d = known.cube.len();
    let even = even_draw(known.cube, rng);
    let mut unit: Vec<f64> = (0..d)
        .map(|j| {
            let (a, b) = if rng.random::<bool>() {
                (mother[j], father[j])
            } else {
                (father[j], mother[j])
            };
            if !known.cube.is_ordered(j) {
                return if rng.random::<f64>() < 1.0 / d as f64 {
                    even[j]
                } else {
                    a
                };
            }
            let turn: f64 = rng.random();
            let beta = if turn <= 0.5 {
                (2.0 * turn).powf(1.0 / (ETA + 1.0))
            } else {
                (0.5 / (1.0 - turn)).powf(1.0 / (ETA + 1.0))
            };
            0.5 * ((1.0 + beta) * a + (1.0 - beta) * b)
        })
        .collect();
    let certain = rng.random_range(0..d);
    for (j, u) in unit.iter_mut().enumerate() {
        if known.cube.is_ordered(j) && (j == certain || rng.random::<f64>() < 1.0 / d as f64) {
            let turn: f64 = rng.random();
            *u += if turn < 0.5 {
                (2.0 * turn).powf(1.0 / (ETA + 1.0)) - 1.0
            } else {
                1.0 - (2.0 * (1.0 - turn)).powf(1.0 / (ETA + 1.0))
            };
        }
    }
    known.cube.snap(&mut unit);
    unit
}
