//! False alarms: thousands of series in which nothing happens, and what the default watch says of them.
//! In: number of series of each kind, days, seed. Out: rates per series per day, by kind, in a series' first fortnight, in
//! its second, and once it is known. Called from: `main`.
//! Invariants: everything is seeded, series by series, so the answer does not depend on the number of threads; counting
//! begins after the first day; what is stated is stated of the known, and no more is to be said of the young.

use std::f64::consts::TAU;
use std::panic::resume_unwind;
use std::thread;

use layer5_core::{PatternKind, Timestamp, event::Detail};
use layer5_patterns::{Watch, WatchConfig};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

/// Samples a day, five minutes apart.
pub const PER_DAY: usize = 288;
/// A Thursday, 2023-11-09.
const START_SECONDS: i64 = 1_699_488_000;
/// Chances at which the dense score is compared with its promise.
pub const CHANCES: [f64; 3] = [0.1, 0.01, 0.001];
/// Days before the ranks of the dense score are fine enough to be compared.
const SCORE_DAYS: usize = 7;
/// Phases in the life of a series, with the day on which each begins; from the last on it is known.
pub const PHASES: [(&str, usize); 3] = [
    ("first fortnight", 1),
    ("second fortnight", 14),
    ("known", 28),
];

/// A kind of quiet series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quiet {
    /// Independent Gaussian values.
    White,
    /// First-order autoregression, coefficient 0.8.
    Autoregressive,
    /// First-order autoregression, coefficient 0.97: excursions of hours.
    Slow,
    /// A daily cycle in Gaussian noise.
    Daily,
    /// A daily cycle that is missing at weekends.
    Weekdays,
    /// Latency: a daily cycle times log-normal noise.
    LogNormal,
    /// Student's t with three degrees of freedom.
    HeavyTailed,
    /// Counts of rare events, two in a sample on average.
    Counts,
    /// A ratio that is mostly near its upper bound.
    Ratio,
    /// A constant.
    Constant,
}

impl Quiet {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::White,
        Self::Autoregressive,
        Self::Slow,
        Self::Daily,
        Self::Weekdays,
        Self::LogNormal,
        Self::HeavyTailed,
        Self::Counts,
        Self::Ratio,
        Self::Constant,
    ];

    /// Next value. `memory`: the state of a series that has one.
    fn draw(self, rng: &mut Pcg64Mcg, memory: &mut f64, row: usize) -> f64 {
        let into_day = (row as f64 * TAU / PER_DAY as f64).sin();
        let mut pulled = |coefficient: f64, rng: &mut Pcg64Mcg| {
            *memory = coefficient * *memory + normal(rng);
            *memory
        };
        match self {
            Self::White => 50.0 + normal(rng),
            Self::Autoregressive => pulled(0.8, rng),
            Self::Slow => pulled(0.97, rng),
            Self::Daily => 10.0 + 3.0 * into_day + normal(rng),
            Self::Weekdays => {
                // The start is a Thursday: days 2 and 3 of each seven are the weekend.
                let weekend = matches!(row / PER_DAY % 7, 2 | 3);
                let demand = if weekend { -2.0 } else { 3.0 * into_day };
                10.0 + demand + normal(rng)
            }
            Self::LogNormal => 60.0 * (1.0 + 0.3 * into_day) * (0.15 * normal(rng)).exp(),
            Self::HeavyTailed => {
                let chi2: f64 = (0..3).map(|_| normal(rng).powi(2)).sum();
                normal(rng) / (chi2 / 3.0).sqrt()
            }
            Self::Counts => (0..20).filter(|_| rng.random::<f64>() < 0.1).count() as f64,
            Self::Ratio => (0.9 + 0.03 * normal(rng)).min(1.0),
            Self::Constant => 5.0,
        }
    }

    /// Whether a confirmed cycle is the truth.
    fn has_cycle(self) -> bool {
        matches!(self, Self::Daily | Self::Weekdays | Self::LogNormal)
    }
}

fn normal(rng: &mut Pcg64Mcg) -> f64 {
    let (a, b): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - a).ln()).sqrt() * (TAU * b).cos()
}

/// What the watch states of a known series that is quiet, per day of five-minute samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Stated {
    /// Alarms.
    pub alarms: f64,
    /// Anomalies.
    pub anomalies: f64,
}

impl Stated {
    /// What a configuration states.
    #[must_use]
    pub fn of(config: &WatchConfig) -> Self {
        Self {
            alarms: config.alarms_per_day,
            anomalies: config.anomaly_p * PER_DAY as f64,
        }
    }
}

/// What was said of quiet series, as counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Said {
    /// Series watched.
    pub series: u64,
    /// Days counted, over all series.
    pub days: u64,
    /// Alarms of at least the default strength.
    pub alarms: u64,
    /// Values called anomalies.
    pub anomalies: u64,
    /// Levels said to have changed.
    pub change_points: u64,
    /// Drifts.
    pub trends: u64,
    /// Values said to be stuck.
    pub flatlines: u64,
    /// Cycles found in series without one.
    pub cycles: u64,
    /// Samples whose dense score was compared.
    pub scored: u64,
    /// Of those, samples with a score of `1 - CHANCES[i]` or more.
    pub beyond: [u64; 3],
}

impl Said {
    fn add(&mut self, other: &Self) {
        self.series += other.series;
        self.days += other.days;
        self.alarms += other.alarms;
        self.anomalies += other.anomalies;
        self.change_points += other.change_points;
        self.trends += other.trends;
        self.flatlines += other.flatlines;
        self.cycles += other.cycles;
        self.scored += other.scored;
        for (mine, theirs) in self.beyond.iter_mut().zip(other.beyond) {
            *mine += theirs;
        }
    }

    /// A count as a rate per series per day.
    #[must_use]
    pub fn per_day(&self, count: u64) -> f64 {
        count as f64 / self.days.max(1) as f64
    }
}

/// What was said in each of [`PHASES`].
pub type ByPhase = [Said; PHASES.len()];

/// Watches `series` seeded series of one kind for `days` days.
#[must_use]
pub fn watch(kind: Quiet, series: u64, days: usize, seed: u64) -> ByPhase {
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let mut all = ByPhase::default();
    thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                scope.spawn(move || {
                    let mut said = ByPhase::default();
                    for i in (part..series).step_by(threads as usize) {
                        add(&mut said, &watch_one(kind, days, seed + 1_000_003 * i));
                    }
                    said
                })
            })
            .collect();
        for part in parts {
            let said = part.join().unwrap_or_else(|panic| resume_unwind(panic));
            add(&mut all, &said);
        }
    });
    all
}

fn add(all: &mut ByPhase, more: &ByPhase) {
    for (mine, theirs) in all.iter_mut().zip(more) {
        mine.add(theirs);
    }
}

fn watch_one(kind: Quiet, days: usize, seed: u64) -> ByPhase {
    let config = WatchConfig::default();
    let mut rng = Pcg64Mcg::seed_from_u64(seed ^ (kind as u64) << 56);
    let (mut watch, mut memory) = (Watch::new(&config), 0.0);
    let mut phases = ByPhase::default();
    for (i, said) in phases.iter_mut().enumerate() {
        let end = PHASES.get(i + 1).map_or(days, |next| next.1.min(days));
        said.days = end.saturating_sub(PHASES[i].1) as u64;
        said.series = u64::from(said.days > 0);
    }
    for row in 0..days * PER_DAY {
        let at = Timestamp::from_millis(1000 * (START_SECONDS + 300 * row as i64));
        let update = watch.update(kind.draw(&mut rng, &mut memory, row), at, &config);
        let Some(phase) = PHASES.iter().rposition(|p| row >= p.1 * PER_DAY) else {
            continue;
        };
        let said = &mut phases[phase];
        said.alarms += u64::from(update.alarm.is_some());
        for finding in update.findings.iter() {
            match (finding.kind, finding.detail) {
                (PatternKind::ChangePoint, _) => said.change_points += 1,
                (PatternKind::Trend, _) => said.trends += 1,
                (_, Detail::Flatline) => said.flatlines += 1,
                (PatternKind::Seasonality, _) => said.cycles += u64::from(!kind.has_cycle()),
                _ => said.anomalies += 1,
            }
        }
        if let Some(score) = update.score.score().filter(|_| row >= SCORE_DAYS * PER_DAY) {
            said.scored += 1;
            for (count, chance) in said.beyond.iter_mut().zip(CHANCES) {
                *count += u64::from(score >= 1.0 - chance);
            }
        }
    }
    phases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_says_the_same() {
        let [first, second, known] = watch(Quiet::HeavyTailed, 5, 30, 3);
        assert_eq!([first, second, known], watch(Quiet::HeavyTailed, 5, 30, 3));
        assert_eq!((first.series, first.days), (5, 5 * 13));
        assert_eq!((second.series, second.days), (5, 5 * 14));
        assert_eq!((known.series, known.days), (5, 5 * 2));
        assert_eq!(first.scored, 5 * 7 * PER_DAY as u64);
        assert_eq!(known.scored, 5 * 2 * PER_DAY as u64);
    }
}
