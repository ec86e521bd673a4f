//! The score of the Numenta Anomaly Benchmark, by our own implementation of its rule.
//! In: alarm strengths per row, label windows. Out: normalised scores of the three profiles. Called from: `main`.
//! Notation: a row at i inside a window [l, r], w = r - l + 1, has y = -(r - i + 1) / w; a row outside has
//! y = (i - r') / (w' - 1) of the window before it; s(y) = 2 / (1 + e^(5y)) - 1, -1 before the first window.
//! Invariants: rows of the first `min(0.15 n, 750)` never count; a window with all its rows there neither.
//! Reference: Lavin and Ahmad (2015), <https://doi.org/10.1109/ICMLA.2015.141>; NAB v1.1.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// Weights of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Profile {
    /// Name as published.
    pub name: &'static str,
    /// Weight of a window found at its very start.
    pub hit: f64,
    /// Cost of a window missed.
    pub miss: f64,
    /// Cost of a false row far from any window.
    pub false_row: f64,
}

/// The three profiles of the benchmark.
pub const PROFILES: [Profile; 3] = [
    Profile {
        name: "standard",
        hit: 1.0,
        miss: 1.0,
        false_row: 0.11,
    },
    Profile {
        name: "low_FP",
        hit: 1.0,
        miss: 1.0,
        false_row: 0.22,
    },
    Profile {
        name: "low_FN",
        hit: 1.0,
        miss: 2.0,
        false_row: 0.11,
    },
];

/// Score of a set of series in one profile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct NabScore {
    /// Name of the profile.
    pub profile: &'static str,
    /// 0 for a silent detector, 100 for a perfect one.
    pub score: f64,
    /// Strengths from here on count as alarms.
    pub threshold: f64,
}

/// One row that may become a detection.
#[derive(Debug, Clone, Copy)]
struct Row {
    strength: f64,
    /// Number of the window over all series, or `None` outside.
    window: Option<usize>,
    /// Worth inside a window, `0 ..= 1`; cost outside, `-1 ..= 0`.
    worth: f64,
}

/// All rows that count, and how many windows can be found.
#[derive(Debug, Clone, Default)]
pub struct Corpus {
    rows: Vec<Row>,
    reachable: usize,
    windows: usize,
}

impl Corpus {
    /// Adds one series. `strengths`: shape `[n]`; `windows`: inclusive, in time order, below `n`.
    pub fn push(&mut self, strengths: &[f64], windows: &[(usize, usize)]) {
        let n = strengths.len();
        let probation = ((0.15 * n as f64).floor() as usize).min(750);
        let mut reached = BTreeSet::new();
        let mut inside = 0;
        for (i, &strength) in strengths.iter().enumerate() {
            // Index of the first window that ends at or after this row.
            while inside < windows.len() && windows[inside].1 < i {
                inside += 1;
            }
            if i < probation {
                continue;
            }
            let within = windows.get(inside).filter(|w| w.0 <= i);
            let row = match within {
                Some(&(left, right)) => {
                    reached.insert(inside);
                    let y = -((right - i + 1) as f64) / (right - left + 1) as f64;
                    Row {
                        strength,
                        window: Some(self.windows + inside),
                        worth: sigmoid(y) / sigmoid(-1.0),
                    }
                }
                None => Row {
                    strength,
                    window: None,
                    worth: inside.checked_sub(1).map_or(-1.0, |before| {
                        let (left, right) = windows[before];
                        sigmoid((i - right) as f64 / (right - left) as f64)
                    }),
                },
            };
            self.rows.push(row);
        }
        self.windows += windows.len();
        self.reachable += reached.len();
    }

    /// Best score over all thresholds, and that threshold.
    pub fn sweep(&self, profile: &Profile) -> NabScore {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by(|a, b| b.strength.total_cmp(&a.strength));
        let silent = -profile.miss * self.reachable as f64;
        let (mut total, mut best) = (silent, (silent, 1.1));
        let mut found = BTreeMap::new();
        for (i, row) in rows.iter().enumerate() {
            total += gain(row, profile, &mut found);
            // Only whole groups of equal strength are thresholds.
            let group_ends = rows
                .get(i + 1)
                .is_none_or(|next| next.strength < row.strength);
            if group_ends && total > best.0 {
                best = (total, row.strength);
            }
        }
        self.normalised(profile, best.0, best.1)
    }

    /// Score at a fixed threshold.
    pub fn at(&self, profile: &Profile, threshold: f64) -> NabScore {
        let mut found = BTreeMap::new();
        let gained: f64 = self
            .rows
            .iter()
            .filter(|row| row.strength >= threshold)
            .map(|row| gain(row, profile, &mut found))
            .sum();
        let silent = -profile.miss * self.reachable as f64;
        self.normalised(profile, silent + gained, threshold)
    }

    fn normalised(&self, profile: &Profile, raw: f64, threshold: f64) -> NabScore {
        let silent = -profile.miss * self.reachable as f64;
        let perfect = profile.hit * self.windows as f64;
        NabScore {
            profile: profile.name,
            score: 100.0 * (raw - silent) / (perfect - silent),
            threshold,
        }
    }
}

/// Change of the total when a row becomes a detection; `found`: best worth so far by window.
fn gain(row: &Row, profile: &Profile, found: &mut BTreeMap<usize, f64>) -> f64 {
    let Some(window) = row.window else {
        return profile.false_row * row.worth;
    };
    let best = found.entry(window).or_insert(-profile.miss);
    let more = (profile.hit * row.worth - *best).max(0.0);
    *best += more;
    more
}

fn sigmoid(y: f64) -> f64 {
    if y > 3.0 {
        -1.0
    } else {
        2.0 / (1.0 + (5.0 * y).exp()) - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus(strengths: &[f64], windows: &[(usize, usize)]) -> Corpus {
        let mut corpus = Corpus::default();
        corpus.push(strengths, windows);
        corpus
    }

    #[test]
    fn perfect_is_hundred_and_silent_is_zero() {
        let mut strengths = vec![0.0; 1000];
        strengths[500] = 1.0;
        let perfect = corpus(&strengths, &[(500, 599)]);
        assert!((perfect.sweep(&PROFILES[0]).score - 100.0).abs() < 1e-9);
        assert_eq!(perfect.at(&PROFILES[0], 2.0).score, 0.0);
    }

    #[test]
    fn a_false_row_costs_its_weight() {
        let mut strengths = vec![0.0; 1000];
        strengths[300] = 1.0;
        strengths[500] = 1.0;
        // One window: the scale is 100 / 2 for each unit of raw score.
        let score = corpus(&strengths, &[(500, 599)])
            .at(&PROFILES[0], 0.5)
            .score;
        assert!((score - (100.0 - 0.11 * 50.0)).abs() < 1e-9);
    }

    #[test]
    fn rows_on_probation_do_not_count() {
        let mut strengths = vec![0.0; 1000];
        strengths[100] = 1.0;
        assert_eq!(
            corpus(&strengths, &[(500, 599)])
                .at(&PROFILES[0], 0.5)
                .score,
            0.0
        );
    }

    #[test]
    fn a_late_hit_is_worth_less() {
        let at = |i: usize| {
            let mut strengths = vec![0.0; 1000];
            strengths[i] = 1.0;
            corpus(&strengths, &[(500, 599)])
                .at(&PROFILES[0], 0.5)
                .score
        };
        assert!(at(510) > at(560) && at(560) > at(599));
        // In the last row y = -1/100: (2 / (1 + e^-0.05) - 1) / s(-1) = 0.02533; half of 1.02533.
        assert!((at(599) - 51.266).abs() < 0.01, "{}", at(599));
    }
}
