//! How well periods are told: planted seasons, exactly or not at all.
//! In: nothing; every series is a function of its recipe and seed. Out: a table and JSON. Called from: `main`.
//! A series counts only when the periods found are exactly those planted, no more and no fewer. Rows: one truth each, half of
//! them no length of a calendar. Columns: white noise, coloured noise, a trend, 5 % outliers, 10 % gaps, a step of eight
//! amplitudes, and all but the step together.
//! Invariants: the recipes know nothing of the method; the noise has the standard deviation of half the amplitude.

use std::f64::consts::TAU;

use layer5_patterns::seasonality::{SeasonalityConfig, periods};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::{Value, json};

use super::speed::noise;

/// What is planted: length of the series, and seasons as (period, amplitude).
const TRUTHS: [(usize, &[(usize, f64)]); 12] = [
    (2_016, &[(288, 2.0)]),
    (2_016, &[(24, 2.0), (168, 1.5)]),
    (840, &[(24, 2.0), (168, 1.5)]),
    (800, &[(37, 2.0)]),
    (1_000, &[(130, 2.0)]),
    (600, &[(11, 2.0)]),
    (900, &[(53, 2.0)]),
    (1_500, &[(97, 2.0)]),
    (2_000, &[(211, 2.0)]),
    (1_200, &[(17, 2.0), (119, 2.0)]),
    (2_016, &[]),
    (300, &[]),
];

/// What disturbs it.
const TROUBLES: [&str; 7] = [
    "white", "coloured", "trend", "outliers", "gaps", "step", "all",
];

/// One series. `seed` draws noise, phases and places.
pub fn planted(n: usize, seasons: &[(usize, f64)], trouble: &str, seed: u64) -> Vec<f64> {
    let all = trouble == "all";
    let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0x5eed);
    let phases: Vec<f64> = seasons.iter().map(|_| TAU * rng.random::<f64>()).collect();
    let step_at = (n as f64 * (0.3 + 0.4 * rng.random::<f64>())) as usize;
    let phi = if trouble == "coloured" || all {
        0.6
    } else {
        0.0
    };
    let mut rest = 0.0;
    noise(n, seed)
        .iter()
        .enumerate()
        .map(|(t, e)| {
            rest = phi * rest + (1.0_f64 - phi * phi).sqrt() * e;
            let mut value = 50.0 + rest;
            for ((period, amplitude), phase) in seasons.iter().zip(&phases) {
                value += amplitude * (TAU * t as f64 / *period as f64 + phase).sin();
            }
            let (wild, hole): (f64, f64) = (rng.random(), rng.random());
            if trouble == "trend" || all {
                value += 20.0 * t as f64 / n as f64;
            }
            if (trouble == "outliers" || all) && wild < 0.05 {
                value += if wild < 0.025 { 25.0 } else { -25.0 };
            }
            if trouble == "step" && t >= step_at {
                value += 16.0;
            }
            let gap = (trouble == "gaps" || all) && hole < 0.1;
            if gap { f64::NAN } else { value }
        })
        .collect()
}

/// Share of `seeds` series of one row and column that come out exactly, and the wrong answers.
pub fn exact(
    n: usize,
    seasons: &[(usize, f64)],
    trouble: &str,
    seeds: u64,
) -> (f64, Vec<Vec<usize>>) {
    let truth: Vec<usize> = seasons.iter().map(|s| s.0).collect();
    let mut wrong = Vec::new();
    for seed in 1..=seeds {
        let values = planted(n, seasons, trouble, seed);
        let mut told: Vec<usize> = periods(&values, &SeasonalityConfig::default())
            .iter()
            .map(|p| p.len)
            .collect();
        told.sort_unstable();
        if told != truth {
            wrong.push(told);
        }
    }
    (1.0 - wrong.len() as f64 / seeds.max(1) as f64, wrong)
}

/// The whole table, with `seeds` series per cell.
pub fn report(seeds: u64) -> (String, Value) {
    let mut table = format!("{:<22}", "planted (n)");
    for trouble in TROUBLES {
        table += &format!("{trouble:>9}");
    }
    table += "\n";
    let (mut rows, mut total) = (Vec::new(), 0.0);
    let mut answers = String::new();
    for (n, seasons) in TRUTHS {
        let lens: Vec<usize> = seasons.iter().map(|s| s.0).collect();
        table += &format!("{:<22}", format!("{lens:?} ({n})"));
        for trouble in TROUBLES {
            let (share, wrong) = exact(n, seasons, trouble, seeds);
            total += share;
            table += &format!("{share:>9.2}");
            if !wrong.is_empty() {
                answers += &format!("  {lens:?} {trouble}: {wrong:?}\n");
            }
            rows.push(json!({"periods": lens, "n": n, "trouble": trouble, "exact": share, "wrong": wrong}));
        }
        table += "\n";
    }
    let mean = total / (TRUTHS.len() * TROUBLES.len()) as f64;
    table += &format!("mean {mean:.4}, {seeds} series a cell; wrong answers:\n{answers}");
    (
        table,
        json!({"suite": "periods", "seeds": seeds, "mean": mean, "cells": rows}),
    )
}
