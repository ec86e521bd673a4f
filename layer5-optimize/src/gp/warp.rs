//! Monotone transformation of the objective, so that a stationary Gaussian process fits it: linear near the best value,
//! logarithmic far above it.
//! In: objective values. Out: values of mean 0 and variance 1, and the way back. Called from: [`super::fit`].
//! Notation: `y` objective, `t = (y - low) / bend`, `z = (ln(1 + t) - mean) / sd`; without bend `z = (y - mean) / sd`.
//! Invariants: strictly increasing; finite for every finite `y`, 1e300 and its negative included.
//! Reference: warping by maximum likelihood, Snelson, Rasmussen and Ghahramani (2003).

/// One transformation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warp {
    /// Values are divided by this first, so that differences of huge ones stay finite.
    unit: f64,
    low: f64,
    /// Where the logarithm begins to bend, in units above `low`; `None` is the straight line.
    bend: Option<f64>,
    mean: f64,
    sd: f64,
}

impl Warp {
    /// The transformation of `y` (not empty, finite) that bends at the `share` quantile of the values above the best one;
    /// `None` for the straight line.
    #[must_use]
    pub fn new(y: &[f64], share: Option<f64>) -> Self {
        let largest = y.iter().fold(0.0f64, |m, y| m.max(y.abs()));
        let unit = if largest > 1e100 { largest } else { 1.0 };
        let mut sorted: Vec<f64> = y.iter().map(|y| y / unit).collect();
        sorted.sort_by(f64::total_cmp);
        let low = sorted[0];
        let bend = share.and_then(|share| {
            let bend = sorted[((sorted.len() - 1) as f64 * share) as usize] - low;
            (bend > low.abs() * 1e-12 && bend > 1e-290).then_some(bend)
        });
        let mut warp = Self {
            unit,
            low,
            bend,
            mean: 0.0,
            sd: 1.0,
        };
        let n = y.len() as f64;
        warp.mean = y.iter().map(|y| warp.curve(*y)).sum::<f64>() / n;
        let variance = y
            .iter()
            .map(|y| (warp.curve(*y) - warp.mean).powi(2))
            .sum::<f64>()
            / n;
        let sd = variance.sqrt();
        // A constant objective stays at zero.
        warp.sd = if sd > warp.mean.abs() * 1e-14 && sd > 1e-290 {
            sd
        } else {
            1.0
        };
        warp
    }

    fn curve(&self, y: f64) -> f64 {
        let y = y / self.unit;
        match self.bend {
            None => y,
            // Below the lowest value the line goes straight on.
            Some(bend) => {
                let t = (y - self.low) / bend;
                if t >= 0.0 { t.ln_1p() } else { t }
            }
        }
    }

    /// Objective to model.
    #[must_use]
    pub fn forward(&self, y: f64) -> f64 {
        (self.curve(y) - self.mean) / self.sd
    }

    /// Model to objective.
    #[must_use]
    pub fn backward(&self, z: f64) -> f64 {
        let c = z * self.sd + self.mean;
        let y = match self.bend {
            None => c,
            Some(bend) => self.low + bend * if c >= 0.0 { c.min(600.0).exp_m1() } else { c },
        };
        (y * self.unit).clamp(f64::MIN, f64::MAX)
    }

    /// Sum over `y` of the logarithm of the slope `dz / dy` (up to a constant common to all warps of the same data): what
    /// makes likelihoods of differently transformed data comparable.
    #[must_use]
    pub fn log_slope(&self, y: &[f64]) -> f64 {
        let slope = |y: &f64| match self.bend {
            None => 0.0,
            Some(bend) => -bend.ln() - ((y / self.unit - self.low) / bend).max(0.0).ln_1p(),
        };
        y.iter().map(slope).sum::<f64>() - y.len() as f64 * self.sd.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let y: Vec<f64> = (0..20).map(|i| f64::from(i * i) - 7.0).collect();
        for share in [None, Some(0.5), Some(0.1)] {
            let warp = Warp::new(&y, share);
            for value in y.iter().chain(&[-20.0, 1e6]) {
                let back = warp.backward(warp.forward(*value));
                // The logarithm of 1e6 amplifies one rounding by its own size, about 14.
                assert!(
                    (back - value).abs() <= 1e-13 * (1.0 + value.abs()) * 20.0,
                    "{back} {value}"
                );
            }
            let mean = y.iter().map(|y| warp.forward(*y)).sum::<f64>() / 20.0;
            assert!(mean.abs() < 1e-12);
        }
    }

    #[test]
    fn extreme_and_constant_values_stay_finite() {
        for y in [
            vec![1e300, -1e300, 0.0],
            vec![f64::MAX, f64::MIN],
            vec![1e-300, 2e-300, 3e-300],
            vec![5.0; 4],
            vec![0.0],
        ] {
            for share in [None, Some(0.5)] {
                let warp = Warp::new(&y, share);
                for value in &y {
                    assert!(warp.forward(*value).is_finite());
                    assert!(warp.backward(warp.forward(*value)).is_finite());
                }
                assert!(warp.backward(40.0).is_finite() && warp.backward(-40.0).is_finite());
            }
        }
    }

    #[test]
    fn slopes_make_likelihoods_comparable() {
        // The numerical slope of the bent warp, summed, against its formula, both relative to the straight one.
        let y = [0.0, 1.0, 4.0, 9.0, 30.0];
        let bent = Warp::new(&y, Some(0.5));
        let slope = |w: &Warp, y: f64| (w.forward(y + 1e-5) - w.forward(y - 1e-5)) / 2e-5;
        let numeric: f64 = y[1..].iter().map(|y| slope(&bent, *y).ln()).sum();
        let formula = bent.log_slope(&y[1..]);
        assert!((numeric - formula).abs() < 1e-6, "{numeric} {formula}");
    }
}
