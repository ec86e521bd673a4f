//! Proves what the default watch makes of levels on a daily cycle: a step is found once with its place, an outage is
//! not expected again the next day, a slow climb is a trend and not a step. Seeded streams of five-minute samples.

use layer5_core::{Direction, Finding, PatternKind, Timestamp};
use layer5_patterns::{Watch, WatchConfig};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

const SEEDS: u64 = 30;

fn normal(rng: &mut Pcg64Mcg) -> f64 {
    let (a, b): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

/// Findings of one kind with the row each was made at, on eight days of latency times `factor(row)`.
fn findings(seed: u64, kind: PatternKind, factor: impl Fn(usize) -> f64) -> Vec<(usize, Finding)> {
    let config = WatchConfig::default();
    let mut watch = Watch::new(&config);
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut found = Vec::new();
    for row in 0..2304 {
        let day = (row as f64 * std::f64::consts::TAU / 288.0).sin();
        let value = 50.0 * (1.0 + 0.3 * day) * (0.055 * normal(&mut rng)).exp() * factor(row);
        let at = Timestamp::from_millis(1_700_000_000_000 + 300_000 * row as i64);
        let update = watch.update(value, at, &config);
        let of_kind = update.findings.iter().filter(|f| f.kind == kind);
        found.extend(of_kind.map(|f| (row, *f)));
    }
    found
}

/// Recall of 95 %: two seeds of thirty may be missed.
fn at_least_28_of_30(found: usize) {
    assert!(found >= 28, "{found} of {SEEDS}");
}

#[test]
fn a_step_of_40_percent_is_found_within_two_hours_and_placed_within_three_samples() {
    let found = (0..SEEDS).filter(|&seed| {
        let start = 600 + 47 * seed as usize;
        let steps = findings(seed, PatternKind::ChangePoint, |row| {
            if row < start { 1.0 } else { 1.4 }
        });
        steps.iter().any(|(row, f)| {
            let after = f.detected_at.seconds_since(f.start) / 300.0;
            let place = *row as f64 - after;
            f.direction == Direction::Up
                && (start..start + 24).contains(row)
                && (place - start as f64).abs() <= 3.0
        })
    });
    at_least_28_of_30(found.count());
}

#[test]
fn an_outage_is_not_expected_again_at_the_same_hours() {
    let echoes: usize = (0..SEEDS)
        .map(|seed| {
            let start = 700 + 31 * seed as usize;
            let outage = start..start + 48;
            let steps = findings(seed, PatternKind::ChangePoint, |row| {
                if outage.contains(&row) { 4.0 } else { 1.0 }
            });
            let next_day = start + 288 - 24..start + 288 + 96;
            steps
                .iter()
                .filter(|(row, _)| next_day.contains(row))
                .count()
        })
        .sum();
    // Thirty outages would leave sixty echoes if each were expected.
    assert!(echoes <= 2, "{echoes}");
}

#[test]
fn a_climb_over_a_day_and_a_half_is_a_trend_while_it_lasts() {
    let found = (0..SEEDS).filter(|&seed| {
        let start = 700 + 29 * seed as usize;
        let trends = findings(seed, PatternKind::Trend, |row| {
            1.0 + 0.6 * (row.saturating_sub(start) as f64 / 432.0).min(1.0)
        });
        trends
            .iter()
            .any(|(row, f)| f.direction == Direction::Up && (start..start + 432).contains(row))
    });
    at_least_28_of_30(found.count());
}

#[test]
fn a_quiet_cycle_has_no_steps() {
    let steps: usize = (0..SEEDS)
        .map(|seed| findings(seed, PatternKind::ChangePoint, |_| 1.0).len())
        .sum();
    // One in 10 000 of 69 120 samples.
    assert!(steps <= 6, "{steps}");
}
