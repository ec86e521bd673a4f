//! The shapes a series repeats, and the ones it never does, read from its matrix profile.
//! In: a series and its [`MatrixProfile`]. Out: [`Motif`]s and [`Discord`]s. Called from: [`crate::analyze`].
//! Invariants: no two reported places overlap by more than half a window.

use super::mass::mass;
use super::matrix_profile::MatrixProfile;

/// Windows within this many times the distance of the closest pair are occurrences of the same motif.
const RADIUS: f64 = 2.0;

/// A shape that comes back.
#[derive(Debug, Clone, PartialEq)]
pub struct Motif {
    /// Starts of all its occurrences, the closest pair first.
    pub occurrences: Vec<usize>,
    /// Distance of the closest pair.
    pub distance: f64,
}

/// The window least like any other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Discord {
    /// Its start.
    pub start: usize,
    /// Distance to its nearest neighbour.
    pub distance: f64,
}

/// The `count` closest pairs, each with all other occurrences of its shape.
///
/// # Cost
/// One [`mass`] per motif.
pub fn motifs(series: &[f64], profile: &MatrixProfile, count: usize) -> Vec<Motif> {
    let m = profile.window_len;
    let mut taken = vec![false; profile.distance.len()];
    let mut found = Vec::new();
    while found.len() < count {
        let best = (0..taken.len())
            .filter(|&i| {
                !taken[i] && !taken[profile.neighbour[i]] && profile.distance[i].is_finite()
            })
            .min_by(|&a, &b| profile.distance[a].total_cmp(&profile.distance[b]));
        let Some(i) = best else { break };
        let (distance, j) = (profile.distance[i], profile.neighbour[i]);
        let mut occurrences = vec![i, j];
        hide(&mut taken, i, m);
        hide(&mut taken, j, m);
        let all = mass(&series[i..i + m], series);
        // The closest pair of a noiseless season is at zero; a hundredth of the largest distance is still the same shape.
        let radius = (RADIUS * distance).max(0.02 * (m as f64).sqrt());
        let mut near: Vec<usize> = (0..all.len()).filter(|&k| all[k] <= radius).collect();
        near.sort_by(|&a, &b| all[a].total_cmp(&all[b]));
        for k in near {
            if !taken[k] {
                occurrences.push(k);
                hide(&mut taken, k, m);
            }
        }
        found.push(Motif {
            occurrences,
            distance,
        });
    }
    found
}

/// The `count` windows farthest from their nearest neighbour, farthest first.
pub fn discords(profile: &MatrixProfile, count: usize) -> Vec<Discord> {
    let mut taken = vec![false; profile.distance.len()];
    let mut found = Vec::new();
    while found.len() < count {
        let best = (0..taken.len())
            .filter(|&i| !taken[i] && profile.distance[i].is_finite())
            .max_by(|&a, &b| profile.distance[a].total_cmp(&profile.distance[b]));
        let Some(start) = best else { break };
        found.push(Discord {
            start,
            distance: profile.distance[start],
        });
        hide(&mut taken, start, profile.window_len);
    }
    found
}

/// Takes out every window that overlaps the one at `place` by more than half.
fn hide(taken: &mut [bool], place: usize, m: usize) {
    let half = m.div_ceil(2);
    let end = (place + half).min(taken.len());
    taken[place.saturating_sub(half - 1)..end].fill(true);
}
