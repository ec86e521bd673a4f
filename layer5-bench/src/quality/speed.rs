//! How fast the analyses are: one row per line of work, beside what peers need for the same work.
//! In: nothing; the series are made from a seed. Out: minima of several runs, as a table or JSON. Called from: `main`,
//! `benches/patterns`. Peers that are not Rust were measured by `peers/patterns.py`, whose answers are stored beside it.
//! Invariants: every row runs on the caller's thread alone; a row's work is the same in each run.

use std::fmt;
use std::hint::black_box;
use std::time::Instant;

use layer5_patterns::AutocorrelationPlan;
use layer5_patterns::change_point::online::Hull;
use layer5_patterns::change_point::{MeanCost, fpop, pelt};
use layer5_patterns::cluster::k_means;
use layer5_patterns::decomposition::{StlConfig, mstl};
use layer5_patterns::forecast::exponential_smoothing;
use layer5_patterns::matching::{StreamingProfile, dtw, mass, matrix_profile};
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;
use serde_json::{Value, json};

/// Answers of `peers/patterns.py`: `{"machine", "measured", "rows": [{"row", "peer", "version", "ms", "command"}]}`.
pub const PEERS: &str = include_str!("../../peers/patterns.json");

/// Runs of one row, at most.
const RUNS_MAX: usize = 40;
/// A row is not run again once it took this long.
const SECONDS_MAX: f64 = 1.0;

/// One line of work.
pub struct Case {
    /// Name of the row, the same as in the peers' answers.
    pub row: &'static str,
    /// Time aimed at, in milliseconds.
    pub aim_ms: f64,
    /// Pieces of work in one call, by which the time is divided.
    pub pieces: usize,
    /// Does the work and returns a number that depends on all of it.
    pub work: Box<dyn FnMut() -> f64 + Send>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("row", &self.row)
            .field("aim_ms", &self.aim_ms)
            .finish_non_exhaustive()
    }
}

/// A row's answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timed {
    /// Name of the row.
    pub row: &'static str,
    /// Least time of a piece, in milliseconds.
    pub ms: f64,
    /// Time aimed at.
    pub aim_ms: f64,
}

/// `n` standard normal values.
pub fn noise(n: usize, seed: u64) -> Vec<f64> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    (0..n)
        .map(|_| {
            let (u, v): (f64, f64) = (rng.random(), rng.random());
            (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        })
        .collect()
}

/// A cycle of 250 samples with noise: the series of the matching rows.
pub fn wave(n: usize, seed: u64) -> Vec<f64> {
    let cycle = |i: usize| 3.0 * (i as f64 * std::f64::consts::TAU / 250.0).sin();
    noise(n, seed)
        .iter()
        .enumerate()
        .map(|(i, v)| v + cycle(i))
        .collect()
}

/// A day of 24 and a week of 168 samples with noise, on a level.
pub fn seasonal(n: usize, seed: u64) -> Vec<f64> {
    let sine = |i: usize, period: f64| (i as f64 * std::f64::consts::TAU / period).sin();
    noise(n, seed)
        .iter()
        .enumerate()
        .map(|(i, v)| 100.0 + 10.0 * sine(i, 24.0) + 4.0 * sine(i, 168.0) + v)
        .collect()
}

/// Twelve levels three deviations apart, in turn.
pub fn levels(n: usize, seed: u64) -> Vec<f64> {
    noise(n, seed)
        .iter()
        .enumerate()
        .map(|(i, v)| v + 3.0 * (i * 12 / n % 2) as f64)
        .collect()
}

/// A random walk.
pub fn walk(n: usize, seed: u64) -> Vec<f64> {
    noise(n, seed)
        .iter()
        .scan(0.0, |sum, v| {
            *sum += v;
            Some(*sum)
        })
        .collect()
}

/// Five groups of points in ten dimensions, four deviations apart.
pub fn groups(n: usize, seed: u64) -> Array2<f64> {
    let values = noise(n * 10, seed);
    Array2::from_shape_fn((n, 10), |(i, j)| {
        values[i * 10 + j] + if j % 5 == i % 5 { 4.0 } else { 0.0 }
    })
}

/// Every row.
pub fn cases() -> Vec<Case> {
    let case = |row, aim_ms, pieces, work| Case {
        row,
        aim_ms,
        pieces,
        work,
    };
    let (short, long) = (wave(10_000, 1), wave(50_000, 2));
    let query: Vec<f64> = wave(100, 3);
    let jumps = levels(5_000, 4);
    let weeks = seasonal(1_008, 5);
    let month: Vec<f64> = seasonal(720, 6);
    let (left, right) = (walk(1_000, 7), walk(1_000, 8));
    let (left_too, right_too) = (left.clone(), right.clone());
    let white = noise(5_000, 10);
    let stream: Vec<f32> = noise(10_000, 11).iter().map(|v| *v as f32).collect();
    let (jumps_too, month_too, long_too) = (jumps.clone(), month.clone(), long.clone());
    let agents = groups(1_000, 9);
    let newest = wave(20_100, 12);
    let plan = AutocorrelationPlan::new(5_000, 4_999);
    vec![
        case("change-step", 0.005, stream.len(), {
            Box::new(move || {
                let mut hull = Hull::default();
                stream
                    .iter()
                    .map(|v| f64::from(hull.step(*v, u32::MAX).statistic))
                    .sum()
            })
        }),
        case("profile-10k", 110.0, 1, {
            Box::new(move || matrix_profile(&short, 100).distance[5_000])
        }),
        case("profile-50k", 2_500.0, 1, {
            Box::new(move || matrix_profile(&long, 100).distance[5_000])
        }),
        case("profile-update-10k", 0.02, 100, {
            let mut stream = StreamingProfile::new(100, 10_000).ok();
            let mut push = move |v: &f64| stream.as_mut().and_then(|s| s.push(*v));
            for v in &newest[..20_000] {
                push(v);
            }
            Box::new(move || {
                let told = newest[20_000..].iter().filter_map(&mut push);
                told.map(|nearest| nearest.distance).sum()
            })
        }),
        case("mass-50k", 2.0, 1, {
            Box::new(move || mass(&query, &long_too)[17])
        }),
        case("pelt-5k", 1.0, 1, {
            Box::new(move || pelt(&MeanCost::new(&jumps, 1.0), 20.0, 2).len() as f64)
        }),
        case("fpop-5k", 1.0, 1, {
            Box::new(move || fpop(&jumps_too, 20.0, 2).len() as f64)
        }),
        case("mstl-1008", 1.0, 1, {
            Box::new(move || mstl(&weeks, &[24, 168], &StlConfig::default()).trend[500])
        }),
        case("ets-720", 6.0, 1, {
            Box::new(move || exponential_smoothing(&month, 1, 24).mean[0])
        }),
        case("ets-720-24", 50.0, 1, {
            Box::new(move || exponential_smoothing(&month_too, 24, 24).mean[0])
        }),
        case("dtw-1000", 3.0, 1, {
            Box::new(move || dtw(&left, &right, usize::MAX))
        }),
        case("dtw-1000-100", 0.4, 1, {
            Box::new(move || dtw(&left_too, &right_too, 100))
        }),
        case("k-means-1000", 2.0, 1, {
            Box::new(move || k_means(&agents, 5, 10, 1).map_or(0.0, |found| found.inertia))
        }),
        case("autocorrelation-5k", 0.08, 1, {
            Box::new(move || plan.of(&white)[77])
        }),
    ]
}

/// Runs a row several times and takes the least.
pub fn time(case: &mut Case) -> Timed {
    let mut best = f64::INFINITY;
    let begun = Instant::now();
    for _ in 0..RUNS_MAX {
        let start = Instant::now();
        black_box((case.work)());
        best = best.min(start.elapsed().as_secs_f64());
        if begun.elapsed().as_secs_f64() > SECONDS_MAX {
            break;
        }
    }
    Timed {
        row: case.row,
        ms: best * 1e3 / case.pieces as f64,
        aim_ms: case.aim_ms,
    }
}

/// All rows on one thread, beside the stored peers.
///
/// # Errors
/// When no thread can be made, or the stored answers can't be read.
pub fn report() -> std::io::Result<(String, Value)> {
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .map_err(std::io::Error::other)?;
    let peers: Value = serde_json::from_str(PEERS)?;
    let none = Vec::new();
    let stored = peers["rows"].as_array().unwrap_or(&none);
    let mut table = format!(
        "{:<20} {:>12} {:>12}  {}\n",
        "row", "ms", "aim", "peers (stored)"
    );
    let mut rows = Vec::new();
    for mut case in cases() {
        let timed = one.install(|| time(&mut case));
        let beside: Vec<&Value> = stored.iter().filter(|p| p["row"] == timed.row).collect();
        table += &format!(
            "{:<20} {:>12.5} {:>12.3} ",
            timed.row, timed.ms, timed.aim_ms
        );
        for peer in &beside {
            let ms = peer["ms"].as_f64().unwrap_or(f64::NAN);
            let name = peer["peer"].as_str().unwrap_or_default();
            table += &format!(" {name} {ms:.4} ({:.1}x)", ms / timed.ms);
        }
        table += "\n";
        rows.push(
            json!({"row": timed.row, "ms": timed.ms, "aim_ms": timed.aim_ms, "peers": beside}),
        );
    }
    Ok((
        table,
        json!({"suite": "speed", "threads": 1, "rows": rows, "peers_measured": peers["measured"]}),
    ))
}
