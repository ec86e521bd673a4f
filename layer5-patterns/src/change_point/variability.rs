//! A spread that grows or shrinks and stays: how far values lie from their level, on the logarithm, against what is usual.
//! In: residuals to the level, with their usual scale. Out: the change, once it has lasted. Called from: `watch`; usable
//! alone as [`VariabilityAlone`].
//! Notation: y the logarithm of a distance from the level; v its running mean over some `M` samples; z how many of its own
//! usual deviations v lies off. On the logarithm one wild value weighs little, and v is near to Gaussian.
//! Invariants: a spike or an outage shorter than `HOLD / 2` samples is no change; after a change the new spread is usual.
//! Reference: log-variance control charts, Crowder and Hamilton (1992), J. Quality Technology 24(1), 12-21.

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::anomaly::spike::narrow;
use crate::detector::Part;
use crate::stats::robust::{RobustScale, Spread};

/// Memory of the running mean, in samples.
const M: f32 = 24.0;
/// Memory of what is usual, in samples.
const USUAL_ALPHA: f32 = 1.0 / 1000.0;
const CLIP: f32 = 2.0;
/// Samples before what is usual is known: some twenty independent means.
const WARM_UP: u16 = 864;
/// Samples that a change must last before it is told.
const HOLD: u8 = 48;
/// Least change that is told, on the logarithm: by two thirds upwards, by two fifths downwards.
const CHANGE_MIN: f32 = 0.5;
/// Distances from the level count between a twentieth of the usual scale and six times it.
const NEAR: f32 = 0.05;
const FAR: f32 = 6.0;
/// What the mean logarithm of a standard Gaussian's magnitude falls short of 0.
const SIGMA_OF_LOG: f32 = 0.635_181;
/// Chance below which a mean is no chance, where it is used alone.
const P_MAX: f32 = 1e-5;

/// A spread that has changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rescaled {
    /// Standard deviation before, were the values Gaussian.
    pub before: f32,
    /// The same after.
    pub after: f32,
    /// Samples since the change began, about.
    pub back: u32,
    /// Chance of a mean this far off.
    pub p: f32,
}

/// Detector of changes of the spread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Variability {
    mean: f32,
    usual: Spread,
    n: u16,
    /// Samples since the mean left what is usual, 0 while it is there.
    pending: u8,
}

impl Variability {
    /// Takes the residual of one value to its level in. `scale`: usual size of residuals, which may follow slowly.
    pub(crate) fn step(&mut self, residual: f32, scale: f32, p_max: f32) -> Option<Rescaled> {
        if !(scale > 0.0) {
            return None;
        }
        let size = residual.abs().clamp(NEAR * scale, FAR * scale);
        let y = size.max(f32::MIN_POSITIVE).ln();
        if self.n == 0 {
            self.mean = y;
        }
        self.n = self.n.saturating_add(1);
        let weight = (1.0 / M).max(1.0 / f32::from(self.n));
        self.mean += weight * (y - self.mean);
        let change = self.mean - self.usual.location();
        let p = chance(self.usual.z(self.mean, 1e4));
        if self.n <= WARM_UP || (p > p_max && self.pending == 0) {
            self.usual
                .update(self.mean, u32::from(self.n), USUAL_ALPHA, CLIP);
            return None;
        }
        self.pending += 1;
        // The mean wanders by a sixth on the logarithm: once beyond chance, it need only stay changed, not be so each time.
        if change.abs() < CHANGE_MIN {
            self.pending = 0;
            return None;
        }
        if self.pending < HOLD {
            return None;
        }
        self.pending = 0;
        self.usual.shift(change);
        let after = (self.mean + SIGMA_OF_LOG).exp();
        after.is_finite().then(|| Rescaled {
            before: (after / change.exp()).min(f32::MAX),
            after,
            back: u32::from(HOLD) + M as u32 / 2,
            // It was below the bar when the change began.
            p: p.min(p_max),
        })
    }
}

/// Chance of a standard Gaussian this far off on either side, at most; within 2 % from two deviations on.
/// Sampford (1953), Ann. Math. Statist. 24(1), 130-132.
fn chance(z: f32) -> f32 {
    let z = z.abs();
    let density = (-0.5 * z * z).exp() * (2.0 / std::f32::consts::PI).sqrt();
    (density * 4.0 / (3.0 * z + (z * z + 8.0).sqrt())).clamp(1e-30, 1.0)
}

/// A [`Variability`] with a level of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct VariabilityAlone {
    level: RobustScale,
    variability: Variability,
}

impl Part for VariabilityAlone {
    const WARM_UP: u32 = WARM_UP as u32;

    fn score(&mut self, value: f64, origin: &mut f64, _at: Timestamp) -> f64 {
        let x = narrow(value - *origin);
        let (scale, residual) = (self.level.scale(), x - self.level.location());
        self.level.update(x, 1.0 / 200.0, 3.0);
        self.variability.step(residual, scale, P_MAX);
        let z = self.variability.usual.z(self.variability.mean, 1e4);
        1.0 - f64::from(chance(z))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(i: u32) -> f32 {
        let h = u64::from(i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((h ^ h >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn changes(n: u32, f: impl Fn(u32) -> f32) -> Vec<(u32, Rescaled)> {
        let mut variability = Variability::default();
        (0..n)
            .filter_map(|i| Some((i, variability.step(f(i), 0.6, P_MAX)?)))
            .collect()
    }

    #[test]
    fn a_spread_that_triples_is_told_once_with_its_size() {
        let found = changes(4000, |i| noise(i) * if i < 2000 { 1.0 } else { 3.0 });
        assert!(matches!(found[..], [(2030..2090, _)]), "{found:?}");
        let ratio = found[0].1.after / found[0].1.before;
        // The mean over 24 logarithms wanders by a sixth: two such steps are a factor of 1.4 either way.
        assert!((3.0 / 1.4..3.0 * 1.4).contains(&ratio), "{found:?}");
        let found = changes(4000, |i| noise(i) * if i < 2000 { 1.0 } else { 0.3 });
        assert!(matches!(found[..], [(2030..2110, _)]), "{found:?}");
    }

    #[test]
    fn noise_and_an_outage_are_no_change() {
        assert!(changes(50_000, noise).is_empty());
        let outage = |i: u32| {
            if (2000..2020).contains(&i) {
                9.0
            } else {
                noise(i)
            }
        };
        assert!(changes(5000, outage).is_empty());
    }
}
