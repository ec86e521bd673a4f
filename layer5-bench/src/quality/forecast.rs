//! How good forecasts and their intervals are: MASE, sMAPE, OWA and coverage.
//! In: a folder as of [`super::labelled`] (its long series as hourly means), and generated families. Out: a table and JSON.
//! Called from: `main`. Notation: horizon h; period m of a family; errors of the naive methods are those of the same series.
//! MASE: mean absolute error over that of the seasonal naive method within the history. sMAPE: 200 |y - f| / (|y| + |f|).
//! OWA: the mean of sMAPE and MASE, each relative to naive forecasts of the series without its additive season of period m.
//! Coverage: the share of values within the 95 % interval. Periods are found, not given.
//! Invariants: a series is cut into history and future before anything looks at it; generated ones depend on seeds alone.
//! Reference: Makridakis, Spiliotis and Assimakopoulos (2020), <https://doi.org/10.1016/j.ijforecast.2019.04.014>.

use std::f64::consts::TAU;
use std::io;
use std::path::Path;

use layer5_patterns::decomposition::{StlConfig, mstl};
use layer5_patterns::forecast::{ForecastConfig, forecast, seasonal_naive};
use layer5_patterns::seasonality::{SeasonalityConfig, periods};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;
use serde_json::{Value, json};

use super::labelled::{self, Labelled};
use super::speed::noise;

/// Longest history of an hourly series, as in the M4 competition.
const HOURS: usize = 700;
/// Hours to forecast, as there.
const HOURS_AHEAD: usize = 48;

/// A history and what came.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Gaps as `NaN`.
    pub past: Vec<f64>,
    /// What to forecast; gaps are not judged.
    pub future: Vec<f64>,
    /// Period by which errors are scaled.
    pub m: usize,
}

/// Means over tasks.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Accuracy {
    /// Mean absolute scaled error.
    pub mase: f64,
    /// Symmetric mean absolute percentage error.
    pub smape: f64,
    /// Overall weighted average of both, relative to naive forecasts without season.
    pub owa: f64,
    /// Share of values within the interval.
    pub coverage: f64,
    /// Width of the interval in the unit of MASE.
    pub width: f64,
    /// MASE of the seasonal naive method.
    pub mase_naive: f64,
    /// Tasks.
    pub tasks: usize,
}

/// Hourly means of a labelled series; hours without a sample are gaps.
fn hourly(series: &Labelled) -> Vec<f64> {
    let Some(first) = series.at.first() else {
        return Vec::new();
    };
    let mut sums: Vec<(f64, f64)> = Vec::new();
    for (at, value) in series.at.iter().zip(&series.values) {
        let hour = (at.seconds_since(*first) / 3600.0).max(0.0) as usize;
        if hour >= sums.len() {
            sums.resize(hour + 1, (0.0, 0.0));
        }
        sums[hour].0 += value;
        sums[hour].1 += 1.0;
    }
    sums.iter().map(|(sum, count)| sum / count).collect()
}

/// Tasks of the hourly means of long series: futures that do not overlap, at most eight of a series.
pub fn hourly_tasks(all: &[Labelled]) -> Vec<Task> {
    let mut tasks = Vec::new();
    for series in all {
        let values = hourly(series);
        for k in 0..8 {
            let Some(origin) = values.len().checked_sub((k + 1) * HOURS_AHEAD) else {
                break;
            };
            if origin < HOURS {
                break;
            }
            let task = Task {
                past: values[origin - HOURS..origin].to_vec(),
                future: values[origin..origin + HOURS_AHEAD].to_vec(),
                m: 24,
            };
            let present = task.past.iter().filter(|v| v.is_finite()).count();
            if present * 10 >= HOURS * 9 && scale(&task) > 0.0 {
                tasks.push(task);
            }
        }
    }
    tasks
}

/// A generated family: its name and tasks.
pub fn families(count: u64) -> Vec<(&'static str, Vec<Task>)> {
    [
        "hourly", "daily", "weekly", "monthly", "walk", "white", "counts",
    ]
    .into_iter()
    .map(|name| (name, (0..count).map(|seed| generated(name, seed)).collect()))
    .collect()
}

fn generated(family: &str, seed: u64) -> Task {
    let mut rng = Pcg64Mcg::seed_from_u64(seed.wrapping_mul(31) + family.len() as u64);
    let mut between = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
    let (n, h, m) = match family {
        // Futures begin on every day of the week.
        "hourly" | "counts" => (HOURS - 24 * (seed as usize % 7), HOURS_AHEAD, 24),
        "daily" => (300, 14, 7),
        "weekly" => (200, 13, 1),
        "monthly" => (120, 18, 12),
        _ => (250, 24, 1),
    };
    let fresh = noise(n + h, 5_000 + seed * 17 + family.len() as u64);
    let moves = noise(n + h, 9_000 + seed * 17 + family.len() as u64);
    let (day, week, phase) = (between(5.0, 15.0), between(0.5, 0.9), between(0.0, TAU));
    let (phi, drift, wander) = (between(0.0, 0.8), between(-0.3, 0.5), between(0.0, 0.6));
    let (second, growth) = (between(0.0, 0.5), between(-0.3, 0.6));
    let (mut rest, mut level) = (0.0, 100.0);
    let mut values: Vec<f64> = Vec::with_capacity(n + h);
    for t in 0..n + h {
        let x = t as f64;
        rest = phi * rest + (1.0 - phi * phi).sqrt() * fresh[t];
        let shape = |period: f64| {
            let angle = TAU * x / period + phase;
            angle.sin() + second * (2.0 * angle).cos()
        };
        values.push(match family {
            "hourly" => {
                level += 0.05 * wander * moves[t];
                let busy = if t / 24 % 7 >= 5 { week } else { 1.0 };
                level * busy + day * busy * shape(24.0) + 2.0 * rest
            }
            "counts" => {
                let mean = 20.0 + 1.5 * day * (1.0 + shape(24.0)).max(0.0);
                (mean + mean.sqrt() * fresh[t]).max(0.0).round()
            }
            "daily" => {
                level += 0.3 * wander * moves[t] + 0.1 * drift;
                level + 0.4 * day * shape(7.0) + rest
            }
            "weekly" => {
                level += wander * moves[t] + drift;
                level + rest
            }
            "monthly" => level + growth * x + (1.0 + 0.004 * x) * day * shape(12.0) + 2.0 * rest,
            "walk" => {
                level += moves[t];
                level
            }
            _ => level + fresh[t],
        });
    }
    let future = values.split_off(n);
    Task {
        past: values,
        future,
        m,
    }
}

/// Error of the seasonal naive method within the history.
fn scale(task: &Task) -> f64 {
    let steps: Vec<f64> = (task.m..task.past.len())
        .map(|i| (task.past[i] - task.past[i - task.m]).abs())
        .filter(|d| d.is_finite())
        .collect();
    steps.iter().sum::<f64>() / steps.len().max(1) as f64
}

fn mase(task: &Task, mean: &[f64]) -> f64 {
    let errors = present(task, mean).map(|(_, y, f)| (y - f).abs());
    average(errors) / scale(task)
}

fn smape(task: &Task, mean: &[f64]) -> f64 {
    let share = |(_, y, f): (usize, f64, f64)| {
        let size = y.abs() + f.abs();
        if size > 0.0 {
            200.0 * (y - f).abs() / size
        } else {
            0.0
        }
    };
    average(present(task, mean).map(share))
}

fn present<'a>(task: &'a Task, mean: &'a [f64]) -> impl Iterator<Item = (usize, f64, f64)> + 'a {
    let pairs = task.future.iter().zip(mean).enumerate();
    pairs
        .map(|(h, (y, f))| (h, *y, *f))
        .filter(|(_, y, _)| y.is_finite())
}

fn average(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
    sum / f64::max(count, 1.0)
}

fn last_present(values: &[f64]) -> f64 {
    let last = values.iter().rev().find(|v| v.is_finite());
    last.copied().unwrap_or(0.0)
}

/// The last value without its season, with the season put back.
fn naive_without_season(task: &Task) -> Vec<f64> {
    let h = task.future.len();
    let parts = mstl(&task.past, &[task.m], &StlConfig::default());
    let Some(season) = parts.seasonal.first() else {
        return vec![last_present(&task.past); h];
    };
    let ahead = seasonal_naive(season, task.m, h);
    let level = parts.trend.last().zip(parts.remainder.last());
    let level = level.map_or(0.0, |(t, r)| t + r);
    ahead.iter().map(|s| level + s).collect()
}

fn seasonal_naive_of(task: &Task) -> Vec<f64> {
    let h = task.future.len();
    let Some(filled) = layer5_patterns::fill_gaps(&task.past) else {
        return vec![0.0; h];
    };
    seasonal_naive(&filled, task.m, h)
}

/// Judges the defaults on tasks.
pub fn judged(tasks: &[Task]) -> Accuracy {
    let mut sum = Accuracy::default();
    let (mut smape_naive, mut mase_naive2) = (0.0, 0.0);
    for task in tasks {
        let seasons: Vec<usize> = periods(&task.past, &SeasonalityConfig::default())
            .iter()
            .map(|p| p.len)
            .collect();
        let h = task.future.len();
        let told = forecast(&task.past, h, &seasons, &ForecastConfig::default());
        let plain = naive_without_season(task);
        sum.mase += mase(task, &told.mean);
        sum.smape += smape(task, &told.mean);
        smape_naive += smape(task, &plain);
        mase_naive2 += mase(task, &plain);
        sum.mase_naive += mase(task, &seasonal_naive_of(task));
        let held = |(h, y, _): (usize, f64, f64)| {
            f64::from(u8::from(told.lower[h] <= y && y <= told.upper[h]))
        };
        sum.coverage += average(present(task, &told.mean).map(held));
        let widths = told.upper.iter().zip(&told.lower).map(|(u, l)| u - l);
        sum.width += average(widths) / scale(task);
    }
    let n = tasks.len().max(1) as f64;
    Accuracy {
        owa: 0.5 * (sum.smape / smape_naive + sum.mase / mase_naive2),
        mase: sum.mase / n,
        smape: sum.smape / n,
        coverage: sum.coverage / n,
        width: sum.width / n,
        mase_naive: sum.mase_naive / n,
        tasks: tasks.len(),
    }
}

/// Judges the defaults on the hourly means of the series in `dir`, and on `count` series of each generated family.
///
/// # Errors
/// As [`labelled::read`].
pub fn report(dir: Option<&Path>, count: u64) -> io::Result<(String, Value)> {
    let mut all = families(count);
    if let Some(dir) = dir {
        all.insert(0, ("measured hourly", hourly_tasks(&labelled::read(dir)?)));
    }
    let mut table = format!(
        "{:<16} {:>6} {:>8} {:>8} {:>8} {:>9} {:>8} {:>12}\n",
        "family", "tasks", "MASE", "sMAPE", "OWA", "coverage", "width", "naive MASE"
    );
    let mut rows = Vec::new();
    for (name, tasks) in &all {
        let a = judged(tasks);
        table += &format!(
            "{name:<16} {:>6} {:>8.3} {:>8.3} {:>8.3} {:>9.3} {:>8.2} {:>12.3}\n",
            a.tasks, a.mase, a.smape, a.owa, a.coverage, a.width, a.mase_naive
        );
        rows.push(json!({"family": name, "accuracy": a}));
    }
    Ok((
        table,
        json!({"suite": "forecast", "interval": 0.95, "families": rows}),
    ))
}
