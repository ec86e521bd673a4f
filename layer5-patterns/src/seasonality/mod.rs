//! Which periods a series repeats with: several, exact to the sample, or none.
//! In: one series, oldest first, equally spaced, gaps as `NaN`. Out: [`Period`]s, strongest first.
//! Called from: [`crate::analyze()`], [`crate::forecast`], the quality suite for periods.
//! The way: bring to unit range, take off far steps of the level and the Theil-Sen line, hold outliers at a bound; find spectral lines that stand
//! out of a coloured background (`lines`); put lines that are multiples of one frequency together and confirm each
//! group on the autocorrelation (`grouping`). Values that remain unexplained are then taken for outliers, masked, and
//! all of it is done once more.
//! Invariants: a period is reported only when the series holds it at least twice; nothing depends on the scale of the
//! series. Reference: Vlachos, Yu and Castelli (2005), AUTOPERIOD; Wen et al. (2021), RobustPeriod,
//! <https://doi.org/10.1145/3448016.3452779>; Li and Stoica (1996), RELAX.

mod grouping;
mod lines;
mod steps;

use crate::fourier::masked_autocorrelation;
use crate::gaps::{rescale, unit_range};
use crate::order_statistics::{median, robust_sigma};
use crate::trend::theil_sen;

/// What is asked of a period. The defaults need no tuning.
#[derive(Debug, Clone, PartialEq)]
pub struct SeasonalityConfig {
    /// At most this many periods are reported. Default 4: day, week, and two of the process itself.
    pub periods_max: usize,
    /// Probability of reporting a line where there is only noise, per series, 0..1. Default 1e-4.
    pub false_alarm_rate: f64,
    /// Share of the variance (without trend and outliers) that a period explains at least, 0..1. Default 0.01.
    pub strength_min: f64,
    /// The longest period looked for, samples. Default: no limit but the length of the series.
    pub period_max: usize,
}

impl Default for SeasonalityConfig {
    fn default() -> Self {
        Self {
            periods_max: 4,
            false_alarm_rate: 1e-4,
            strength_min: 0.01,
            period_max: usize::MAX,
        }
    }
}

/// One season of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Period {
    /// Length in samples, at least 2.
    pub len: usize,
    /// The same before rounding, for seasons that are no whole number of samples.
    pub len_exact: f64,
    /// Share of the variance that it explains, in 0..=1, after trend and outliers.
    pub strength: f64,
    /// Half the swing between its highest and lowest phase, the series' unit.
    pub amplitude: f64,
    /// How sure, 0..=1: grows with the number of cycles seen and with the height above the background.
    pub confidence: f64,
}

/// Finds the periods of a series, strongest first.
///
/// `values`: shape `[n]`; `NaN` and infinities are gaps. Shorter than 12, constant, or more than half gaps: empty.
/// A period is a season of at least two full cycles; harmonics of a season are part of it and not reported, unless one
/// of them (from the fourth) is so strong that it is a season of its own, as a day within a week.
///
/// # Cost
/// O(n log n) for each of at most 24 spectral lines, twice. O(n) memory.
///
/// ```
/// use layer5_patterns::seasonality::{SeasonalityConfig, periods};
/// let week: Vec<f64> = (0..24 * 35)
///     .map(|t| {
///         let t = f64::from(t);
///         10.0 * (t * std::f64::consts::TAU / 24.0).sin() + 4.0 * (t * std::f64::consts::TAU / 168.0).cos()
///     })
///     .collect();
/// let found: Vec<usize> = periods(&week, &SeasonalityConfig::default()).iter().map(|p| p.len).collect();
/// assert_eq!(found, [24, 168]);
/// ```
pub fn periods(values: &[f64], config: &SeasonalityConfig) -> Vec<Period> {
    let unit = unit_range(values);
    let n = values.len();
    if n < 12 || unit.n_present * 2 < n {
        return Vec::new();
    }
    let level = steps::without_steps(&unit.values);
    let mut cleaned = detrended(&level);
    let first = lines::find(&cleaned.values, &cleaned.mask, config.false_alarm_rate);
    let unexplained = mask_outliers(&mut cleaned, &first);
    let found = if unexplained {
        lines::find(&cleaned.values, &cleaned.mask, config.false_alarm_rate)
    } else {
        first
    };
    let n_present = cleaned.mask.iter().sum::<f64>();
    let variance = cleaned.values.iter().map(|v| v * v).sum::<f64>() / n_present.max(1.0);
    let mut confirmed: Vec<Period> = grouping::group(&found, n)
        .into_iter()
        .filter(|g| g.len() <= config.period_max)
        .filter_map(|g| {
            let strength = (g.power() / variance).min(1.0);
            if strength < config.strength_min || !on_a_hill(&cleaned, &found, &g) {
                return None;
            }
            let cycles = n as f64 / g.period();
            Some(Period {
                len: g.len(),
                len_exact: g.period(),
                strength,
                amplitude: rescale(g.amplitude(), unit.scale),
                confidence: (1.0 - 1.0 / cycles) * (1.0 - (-g.prominence() / 20.0).exp()),
            })
        })
        .collect();
    confirmed.sort_by(|a, b| b.strength.total_cmp(&a.strength));
    confirmed.dedup_by_key(|p| p.len);
    confirmed.truncate(config.periods_max);
    confirmed
}

/// A series without trend, its gaps as zeros, and where they are.
struct Cleaned {
    values: Vec<f64>,
    mask: Vec<f64>,
}

impl Cleaned {
    /// Takes the mean of what is present off, so that gaps at zero stand for the mean.
    fn centre(&mut self) {
        let mean = self.values.iter().sum::<f64>() / self.mask.iter().sum::<f64>().max(1.0);
        for (v, m) in self.values.iter_mut().zip(&self.mask) {
            *v = (*v - mean) * m;
        }
    }
}

/// Values further than this many robust standard deviations from the line are held at that distance in the first
/// pass: far enough to leave a sharp season visible, near enough to keep a wild value from filling the spectrum.
const HOLD_SIGMA: f64 = 4.0;

fn detrended(values: &[f64]) -> Cleaned {
    let line = theil_sen(values).map_or((0.0, 0.0), |l| (l.slope, l.intercept));
    let rest = |(i, v): (usize, &f64)| v - line.1 - line.0 * i as f64;
    let present: Vec<f64> = values
        .iter()
        .enumerate()
        .filter(|(_, v)| v.is_finite())
        .map(rest)
        .collect();
    let bound = HOLD_SIGMA * robust_sigma(&present, median(&present));
    let mut mask = Vec::with_capacity(values.len());
    let mut clean = Vec::with_capacity(values.len());
    for pair in values.iter().enumerate() {
        let finite = pair.1.is_finite();
        mask.push(f64::from(u8::from(finite)));
        clean.push(if finite {
            rest(pair).clamp(-bound, bound)
        } else {
            0.0
        });
    }
    let mut cleaned = Cleaned {
        values: clean,
        mask,
    };
    cleaned.centre();
    cleaned
}

/// Masks values that the lines leave far outside; says whether there were any.
fn mask_outliers(cleaned: &mut Cleaned, found: &lines::Found) -> bool {
    let present: Vec<f64> = (0..cleaned.mask.len())
        .filter(|&i| cleaned.mask[i] > 0.0)
        .map(|i| found.residual[i])
        .collect();
    let bound = HOLD_SIGMA * robust_sigma(&present, 0.0);
    let mut any = false;
    for i in 0..cleaned.mask.len() {
        if cleaned.mask[i] > 0.0 && found.residual[i].abs() > bound && bound > 0.0 {
            cleaned.mask[i] = 0.0;
            cleaned.values[i] = 0.0;
            any = true;
        }
    }
    if any {
        cleaned.centre();
    }
    any
}

/// Confirms a group on the autocorrelation of what it and the noise alone leave: one period on, the series must be
/// more like itself than at the flanks (a quarter of the fundamental's swing either side).
fn on_a_hill(cleaned: &Cleaned, found: &lines::Found, group: &grouping::Group) -> bool {
    let n = cleaned.values.len();
    let mut own = found.residual.clone();
    for line in group.lines() {
        line.add_to(&mut own, &cleaned.mask);
    }
    let lag_max = (group.len() * 3 / 2 + 1).min(n - 1);
    let rho = masked_autocorrelation(&own, &cleaned.mask, lag_max);
    let at = |lag: usize| rho.get(lag).copied().unwrap_or(0.0);
    // Neighbours on both sides of the top, as far away as half a cycle of the group's strongest line.
    let half = ((0.5 * group.strongest_period()).round() as usize).clamp(1, group.len().max(2) - 1);
    let top = at(group.len());
    let below = at(group.len() - half);
    let above = if group.len() + half <= lag_max {
        at(group.len() + half)
    } else {
        below
    };
    let noise = 1.0 / (n as f64 - group.len() as f64).max(1.0).sqrt();
    top > 0.0 && top - below.max(above) > 2.0 * noise
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_found_in_nothing() {
        let config = SeasonalityConfig::default();
        assert!(periods(&[], &config).is_empty());
        assert!(periods(&[1.0], &config).is_empty());
        assert!(periods(&[5.0; 500], &config).is_empty());
        assert!(periods(&[f64::NAN; 500], &config).is_empty());
    }

    #[test]
    fn extreme_magnitudes_are_answered() {
        let values: Vec<f64> = (0..200)
            .map(|i| if i % 2 == 0 { 1e308 } else { -1e308 })
            .collect();
        let found = periods(&values, &SeasonalityConfig::default());
        assert_eq!(found.first().map(|p| p.len), Some(2));
    }
}
