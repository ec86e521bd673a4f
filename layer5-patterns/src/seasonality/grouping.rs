//! From spectral lines to seasons: lines at multiples of one frequency are one season.
//! In: the lines of [`super::lines`]. Out: [`Group`]s, each with a period in samples. Called from: `periods`.
//! Invariants: every line belongs to at most one group as its own; a day within a week shares the week's lines.
//! Notation: h harmonic number; f0 fundamental frequency; s standard error of a frequency (Cramer-Rao bound).

use super::lines::{Found, Line};

/// Lengths that clocks and calendars produce. Within the uncertainty of the estimate they are preferred.
const CALENDAR: [usize; 23] = [
    7, 10, 12, 24, 30, 48, 52, 60, 96, 144, 168, 240, 288, 336, 365, 672, 720, 1440, 2016, 3600,
    4032, 8640, 10080,
];
/// How much worse, in squared standard errors, a calendar length may fit and still be taken: twice the logarithm of its
/// prior odds against one neighbour, here 150 to 1.
const CALENDAR_BONUS: f64 = 10.0;
/// Harmonics beyond this are too close together to be told apart.
const HARMONIC_MAX: usize = 40;

/// One season: a fundamental frequency and its harmonics.
#[derive(Debug, Clone)]
pub(super) struct Group {
    frequency: f64,
    len: usize,
    members: Vec<Line>,
}

impl Group {
    /// Whole samples.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Samples, before rounding.
    pub(super) fn period(&self) -> f64 {
        1.0 / self.frequency
    }

    pub(super) fn lines(&self) -> &[Line] {
        &self.members
    }

    /// Variance of the season.
    pub(super) fn power(&self) -> f64 {
        self.members.iter().map(Line::power).sum()
    }

    pub(super) fn prominence(&self) -> f64 {
        self.members
            .iter()
            .map(|l| l.prominence)
            .fold(0.0, f64::max)
    }

    /// Period of the strongest line, samples.
    pub(super) fn strongest_period(&self) -> f64 {
        let strongest = self
            .members
            .iter()
            .max_by(|a, b| a.power().total_cmp(&b.power()));
        1.0 / strongest.map_or(self.frequency, |l| l.frequency)
    }

    /// Half the swing between the highest and the lowest phase.
    pub(super) fn amplitude(&self) -> f64 {
        let mut season = vec![0.0; self.len.max(2)];
        let mask = vec![1.0; season.len()];
        for line in &self.members {
            line.add_to(&mut season, &mask);
        }
        let (low, high) = season
            .iter()
            .fold((f64::MAX, f64::MIN), |(l, h), &v| (l.min(v), h.max(v)));
        (high - low) / 2.0
    }
}

/// Puts lines together into seasons of at least two cycles within `n` samples.
pub(super) fn group(found: &Found, n: usize) -> Vec<Group> {
    let nf = n as f64;
    let mut free: Vec<Line> = found
        .lines
        .iter()
        .copied()
        .filter(|l| l.frequency * nf >= 1.9)
        .collect();
    free.sort_by(|a, b| a.frequency.total_cmp(&b.frequency));
    let mut groups = Vec::new();
    while let Some(&lowest) = free.first() {
        let divisor = missing_fundamental(&free, found, nf);
        let (frequency, taken) = harmonics(&free, lowest.frequency / divisor as f64, found, nf);
        let members: Vec<(usize, Line)> = taken.iter().map(|&(i, h)| (h, free[i])).collect();
        for &(i, _) in taken.iter().rev() {
            free.remove(i);
        }
        let standard_error = |h: usize, l: &Line| frequency_error(l, found.noise, nf) / h as f64;
        let inverse: f64 = members
            .iter()
            .map(|(h, l)| standard_error(*h, l).powi(-2))
            .sum();
        let base_error = inverse.powf(-0.5);
        let within = season_within(&members);
        if let Some(m) = within {
            groups.push(Group {
                frequency: frequency * m as f64,
                len: whole_len(frequency * m as f64, base_error * m as f64),
                members: members
                    .iter()
                    .filter(|l| l.0 % m == 0)
                    .map(|l| l.1)
                    .collect(),
            });
        }
        groups.push(Group {
            frequency,
            len: whole_len(frequency, base_error),
            members: members
                .iter()
                .filter(|l| within.is_none_or(|m| l.0 % m != 0))
                .map(|l| l.1)
                .collect(),
        });
    }
    groups
}

/// Cramer-Rao bound of the frequency of a line, with a floor for what no model holds.
///
/// The noise is that at the line's own frequency, as its prominence over the background tells; never less than the
/// variance of what is left.
fn frequency_error(line: &Line, noise: f64, n: f64) -> f64 {
    let power = line.power().max(f64::MIN_POSITIVE);
    let noise_here = (power * n / (2.0 * line.prominence.max(1.0))).max(noise);
    let bound = (12.0 * noise_here / (power * n.powi(3))).sqrt();
    bound / std::f64::consts::TAU + 5e-4 / n
}

/// Lines of `free` that are multiples of `base`, as (index, harmonic number), and the base fitted to all of them.
fn harmonics(free: &[Line], base: f64, found: &Found, n: f64) -> (f64, Vec<(usize, usize)>) {
    let mut frequency = base;
    let mut taken: Vec<(usize, usize)> = Vec::new();
    let (mut weighted, mut weights) = (0.0, 0.0);
    for (i, line) in free.iter().enumerate() {
        let h = (line.frequency / frequency).round().max(1.0);
        if h as usize > HARMONIC_MAX {
            break;
        }
        let error = frequency_error(line, found.noise, n);
        let base_error = if weights > 0.0 {
            (1.0_f64 / weights).sqrt()
        } else {
            error
        };
        let tolerance = (3.0 * (error + h * base_error) + 0.05 / n).min(0.35 / n.max(1.0));
        let is_first = taken.is_empty();
        if is_first || (line.frequency - h * frequency).abs() <= tolerance {
            taken.push((i, h as usize));
            let weight = (h / error).powi(2);
            weighted += weight * line.frequency / h;
            weights += weight;
            frequency = weighted / weights;
        }
    }
    (frequency, taken)
}

/// 1, or 2 or 3 when the lowest line is itself the second or third harmonic of a season whose fundamental is too weak
/// to be seen: told by another strong line that only the longer period explains.
fn missing_fundamental(free: &[Line], found: &Found, n: f64) -> usize {
    let lowest = free[0];
    let strong: Vec<Line> = free
        .iter()
        .copied()
        .filter(|l| l.power() > 0.2 * lowest.power() && l.frequency < 6.0 * lowest.frequency)
        .collect();
    let explained = |divisor: usize| {
        harmonics(&strong, lowest.frequency / divisor as f64, found, n)
            .1
            .len()
    };
    let plain = explained(1);
    if plain == strong.len() {
        return 1;
    }
    (2..=3)
        .find(|&d| lowest.frequency / d as f64 * n >= 2.0 && explained(d) == strong.len())
        .unwrap_or(1)
}

/// The harmonic so strong that it is a season of its own, if there is one: a day within a week.
fn season_within(members: &[(usize, Line)]) -> Option<usize> {
    let power_at = |h: usize| {
        members
            .iter()
            .filter(|m| m.0 == h)
            .map(|m| m.1.power())
            .sum::<f64>()
    };
    let top = members.iter().map(|m| m.0).max().unwrap_or(1);
    (4..=top).find(|&m| {
        let power = power_at(m);
        let rival = (2..=2 * m)
            .filter(|h| h % m != 0)
            .map(power_at)
            .fold(0.0, f64::max);
        // Seven days in a week and 24 hours in a day are expected; other divisions must stand out clearly.
        let factor = if m == 7 || m == 24 || m == 60 {
            1.3
        } else {
            6.0
        };
        power > factor * rival && power > 0.02 * power_at(1)
    })
}

/// The whole number of samples next to the period; a calendar length when it fits nearly as well.
fn whole_len(frequency: f64, frequency_error: f64) -> usize {
    let period = 1.0 / frequency;
    let error = (period * period * frequency_error).max(0.05);
    let misfit = |len: f64| ((period - len) / error).powi(2);
    let nearest = period.round().max(2.0);
    CALENDAR
        .iter()
        .map(|&len| len as f64)
        .filter(|&len| (len - period).abs() < 1.0 + 0.01 * period)
        .filter(|&len| misfit(len) - CALENDAR_BONUS <= misfit(nearest))
        .min_by(|a, b| misfit(*a).total_cmp(&misfit(*b)))
        .unwrap_or(nearest) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_lengths_win_only_within_the_uncertainty() {
        assert_eq!(whole_len(1.0 / 287.4, 1.0 / (287.0 * 287.0)), 288);
        assert_eq!(whole_len(1.0 / 287.1, 0.1 / (287.0 * 287.0)), 287);
        assert_eq!(whole_len(1.0 / 17.2, 0.0), 17);
    }
}
