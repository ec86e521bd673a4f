//! Tree-structured Parzen estimator: draws where good observations are dense and bad ones are not.
//! In: [`Known`]. Out: proposals, in time linear in the observations. Called from: [`crate::study`], [`crate::auto`] where
//! there are too many observations for a Gaussian process.
//! Notation: `l` and `g` densities of the good and the other observations, each a mixture of one product kernel per
//! observation and the even distribution; the proposal is the draw from `l` with the highest `l / g`. The kernels span all
//! axes at once, so that axes that depend on each other are moved together.
//! Reference: Bergstra, Bardenet, Bengio and Kegl (2011), "Algorithms for hyper-parameter optimization"; Falkner, Klein and
//! Hutter (2018), <https://arxiv.org/abs/1807.01774>, for the multivariate kernels.

use rand::RngExt;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::acquisition::maximize::normal_draw;
use crate::random::even_draw;
use crate::sampler::{Known, Proposal, Sampler, SamplerKind};
use crate::trial::Why;
use crate::unit_cube::{AxisKind, UnitCube};

/// Observations before the densities mean anything (as in Bergstra et al.).
const N_STARTUP: usize = 10;
/// Draws from `l` that are compared (as in Bergstra et al.).
const N_CANDIDATES: usize = 24;
/// The most good observations, and the most others, that make kernels; others beyond are the latest.
const GOOD_MAX: usize = 25;
const OTHERS_MAX: usize = 200;

/// The sampler; everything it knows is in the observations.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Tpe;

impl Sampler for Tpe {
    fn propose(&mut self, known: &Known<'_>, rng: &mut Pcg64) -> Proposal {
        let by = SamplerKind::Tpe;
        if known.y.len() < N_STARTUP {
            let unit = even_draw(known.cube, rng);
            return Proposal {
                unit,
                by,
                why: Why::InitialDesign,
                expected: None,
            };
        }
        let mut order: Vec<usize> = (0..known.y.len()).collect();
        let n_good = ((known.y.len() as f64 * 0.1).ceil() as usize).min(GOOD_MAX);
        order.select_nth_unstable_by(n_good, |a, b| known.y[*a].total_cmp(&known.y[*b]));
        let (good, others) = order.split_at_mut(n_good);
        // Selection leaves both parts in an arbitrary order: make it the order of telling.
        good.sort_unstable();
        others.sort_unstable();
        let others = &others[others.len().saturating_sub(OTHERS_MAX)..];
        // Where results are still out or never came, others are kept away.
        let open = known
            .pending
            .iter()
            .chain(known.failed)
            .rev()
            .take(OTHERS_MAX / 4);
        let good = Parzen::new(known.cube, good.iter().map(|i| &known.x[*i]));
        let bad = Parzen::new(
            known.cube,
            others
                .iter()
                .map(|i| &known.x[*i])
                .chain(open.map(|(_, u)| u)),
        );
        let mut best = (f64::NEG_INFINITY, Vec::new());
        for _ in 0..N_CANDIDATES {
            let mut unit = good.draw(known.cube, rng);
            known.cube.snap(&mut unit);
            let score = good.ln_density(&unit) - bad.ln_density(&unit);
            if score > best.0 {
                best = (score, unit);
            }
        }
        let unit = if best.1.is_empty() {
            even_draw(known.cube, rng)
        } else {
            best.1
        };
        Proposal {
            unit,
            by,
            why: Why::DensityRatio,
            expected: None,
        }
    }
}

/// A kernel density over the cube.
struct Parzen {
    d: usize,
    /// Centres, row by row.
    centres: Vec<f64>,
    /// Kernel widths; for categories, the number of them, negated.
    widths: Vec<f64>,
    /// Half the inverse squared width; zero for categories.
    precisions: Vec<f64>,
    /// What a different category takes off the logarithm; zero for ordered axes.
    leaks: Vec<f64>,
    /// `ln` of the kernels' height at their centre.
    ln_height: f64,
}

/// Width of a single kernel; the same rule for good and other observations, so that neither density is sharper by itself.
const WIDTH: f64 = 0.2;

/// Share of a categorical kernel that goes to other categories.
const CATEGORY_LEAK: f64 = 0.2;

impl Parzen {
    fn new<'a>(cube: &UnitCube, rows: impl Iterator<Item = &'a Vec<f64>>) -> Self {
        let d = cube.len();
        let centres: Vec<f64> = rows.flatten().copied().collect();
        let n = (centres.len() / d).max(1) as f64;
        // Widths shrink with the number of kernels as in Scott's rule.
        let shrink = n.powf(-1.0 / (d as f64 + 4.0));
        let mut ln_height = 0.0;
        let widths: Vec<f64> = (0..d)
            .map(|j| {
                let floor = match cube.kind(j) {
                    AxisKind::Categories(k) => {
                        ln_height += (1.0 - CATEGORY_LEAK).ln() + (k as f64).ln();
                        return -(k as f64);
                    }
                    AxisKind::Levels(k) => 0.5 / k as f64,
                    AxisKind::Continuous => 0.01,
                };
                let width = (WIDTH * shrink).max(floor).max(1e-3);
                ln_height -= width.ln() + 0.5 * (2.0 * std::f64::consts::PI).ln();
                width
            })
            .collect();
        let precision = |w: &f64| if *w > 0.0 { 0.5 / (w * w) } else { 0.0 };
        let leak = |w: &f64| {
            let others = (-w - 1.0).max(1.0);
            if *w > 0.0 {
                0.0
            } else {
                -(CATEGORY_LEAK / others / (1.0 - CATEGORY_LEAK)).ln()
            }
        };
        Self {
            d,
            centres,
            precisions: widths.iter().map(precision).collect(),
            leaks: widths.iter().map(leak).collect(),
            widths,
            ln_height,
        }
    }

    /// Density relative to the even one. The even distribution counts as one more kernel.
    fn ln_density(&self, u: &[f64]) -> f64 {
        let mut sum = 1.0;
        for centre in self.centres.chunks_exact(self.d) {
            let mut exponent = self.ln_height;
            for (((u, c), half), leak) in (u.iter().zip(centre))
                .zip(&self.precisions)
                .zip(&self.leaks)
            {
                let off = u - c;
                // One of the two is zero: a distance counts on ordered axes, a difference on the others.
                exponent -= half * off * off + if off == 0.0 { 0.0 } else { *leak };
            }
            // Below this a kernel adds less than rounding to the even one.
            if exponent > -40.0 {
                sum += exponent.exp();
            }
        }
        (sum / ((self.centres.len() / self.d) as f64 + 1.0)).ln()
    }

    fn draw(&self, cube: &UnitCube, rng: &mut Pcg64) -> Vec<f64> {
        let n = self.centres.len() / self.d;
        let kernel = rng.random_range(0..=n);
        let even = even_draw(cube, rng);
        if kernel == n {
            return even;
        }
        let centre = &self.centres[kernel * self.d..(kernel + 1) * self.d];
        (0..self.d)
            .map(|j| {
                if self.widths[j] > 0.0 {
                    // Cut at the walls: mass moved onto them would make corners out of every wide kernel.
                    let mut tries = (0..8).map(|_| centre[j] + self.widths[j] * normal_draw(rng));
                    tries.find(|u| (0.0..=1.0).contains(u)).unwrap_or(centre[j])
                } else if rng.random::<f64>() < CATEGORY_LEAK {
                    even[j]
                } else {
                    centre[j]
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::stream;
    use crate::space::{Domain, Parameter, Space};

    #[test]
    fn the_density_sums_to_one_over_the_categories_and_the_line() {
        let space = Space::new(vec![
            Parameter::new("x", Domain::float(0.0, 1.0)),
            Parameter::new("k", Domain::categorical(["a", "b", "c"])),
        ])
        .expect("valid");
        let cube = UnitCube::new(&space);
        let rows = [vec![0.5, 0.5], vec![0.45, 0.5], vec![0.55, 1.0 / 6.0]];
        let parzen = Parzen::new(&cube, rows.iter());
        let n = 3000;
        let mut sum = 0.0;
        for i in 0..n {
            for k in 0..3 {
                let u = [
                    (f64::from(i) + 0.5) / f64::from(n),
                    (f64::from(k) + 0.5) / 3.0,
                ];
                sum += parzen.ln_density(&u).exp();
            }
        }
        // The centres are at least 2.7 kernel widths from the walls: at most 0.4 % of the mass is outside.
        let mass = sum / f64::from(3 * n);
        assert!((0.996..1.000_001).contains(&mass), "{mass}");
        let mut rng = stream(1, 1);
        let near = (0..1000)
            .filter(|_| (parzen.draw(&cube, &mut rng)[0] - 0.5).abs() < 0.2)
            .count();
        // Three of four draws come from kernels of width 0.166, of which 0.2 round the middle holds 0.73 to 0.77, and one
        // from the even rest, of which it holds 0.4: 660 of 1000, standard error 15.
        assert!((600..720).contains(&near), "{near}");
    }
}
