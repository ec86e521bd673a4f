//! How well changes of regime are found: F1 and cover on annotated series, and on planted ones.
//! In: a folder of the Turing Change Point Dataset (`data/<name>.json`, `annotations.json`). Out: a table and JSON.
//! Called from: `main`, continuous integration.
//! Notation: F1 with margin 5, precision against the union of the annotators, recall as their mean; cover as the mean over
//! annotators of how well each of their segments is covered by one found. The beginning counts as everybody's change.
//! Invariants: one set of defaults. What the one strength of the method, its price of a change, would be if a series had no
//! say in it is told beside: each series judged with the price that is best on all others.
//! Reference: van den Burg and Williams (2020), <https://arxiv.org/abs/2003.06222>, section 4.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use layer5_patterns::change_point::{ChangePointConfig, change_points_beside_seasons};
use layer5_patterns::seasonality::{SeasonalityConfig, periods};
use serde::Serialize;
use serde_json::{Value, json};

use super::speed::noise;

/// A change found within this many samples of an annotated one is that one.
pub const MARGIN: usize = 5;
/// Prices of a change, as multiples of the default, that are compared.
const PRICES: [f64; 7] = [0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 2.0];

/// A series and what each annotator marked in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotated {
    /// Its name.
    pub name: String,
    /// Gaps as `NaN`.
    pub values: Vec<f64>,
    /// Change indices of each annotator.
    pub truths: Vec<Vec<usize>>,
}

/// F1 and cover.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Agreement {
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Segments covered.
    pub cover: f64,
}

impl Agreement {
    fn mean(all: &[Self]) -> Self {
        let n = all.len().max(1) as f64;
        Self {
            f1: all.iter().map(|a| a.f1).sum::<f64>() / n,
            cover: all.iter().map(|a| a.cover).sum::<f64>() / n,
        }
    }
}

/// Reads every series that `annotations.json` names.
///
/// # Errors
/// When a file is missing or is not what it should be; the message names it.
pub fn read(dir: &Path) -> io::Result<Vec<Annotated>> {
    let annotations: BTreeMap<String, BTreeMap<String, Vec<usize>>> =
        serde_json::from_str(&text_of(&dir.join("annotations.json"))?)?;
    annotations
        .into_iter()
        .map(|(name, annotators)| {
            let path = dir.join("data").join(format!("{name}.json"));
            let file: Value = serde_json::from_str(&text_of(&path)?)?;
            let list = file["series"][0].as_array().ok_or_else(|| {
                let said = format!("{}: no `series`", path.display());
                io::Error::new(io::ErrorKind::InvalidData, said)
            })?;
            Ok(Annotated {
                name,
                values: list
                    .iter()
                    .map(|v| v.as_f64().unwrap_or(f64::NAN))
                    .collect(),
                truths: annotators.into_values().collect(),
            })
        })
        .collect()
}

fn text_of(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
}

/// What the defaults find, with the price of a change multiplied by `price`.
pub fn found(values: &[f64], price: f64) -> Vec<usize> {
    let seasons: Vec<usize> = periods(values, &SeasonalityConfig::default())
        .iter()
        .map(|p| p.len)
        .collect();
    let config = ChangePointConfig {
        penalty_factor: price,
        ..ChangePointConfig::default()
    };
    change_points_beside_seasons(values, &seasons, &config)
        .iter()
        .map(|c| c.index)
        .collect()
}

/// F1 and cover of what was found in a series of `n` samples.
pub fn agreement(truths: &[Vec<usize>], found: &[usize], n: usize) -> Agreement {
    Agreement {
        f1: f1(truths, found),
        cover: cover(truths, found, n),
    }
}

fn true_positives(truth: &[usize], found: &[usize]) -> f64 {
    let mut left = found.to_vec();
    let mut hits = 0.0;
    for t in truth {
        let near = (0..left.len())
            .filter(|&i| left[i].abs_diff(*t) <= MARGIN)
            .min_by_key(|&i| left[i].abs_diff(*t));
        if let Some(i) = near {
            left.remove(i);
            hits += 1.0;
        }
    }
    hits
}

fn f1(truths: &[Vec<usize>], found: &[usize]) -> f64 {
    let with_beginning = |list: &[usize]| {
        let mut all = [&[0], list].concat();
        all.sort_unstable();
        all.dedup();
        all
    };
    let found = with_beginning(found);
    let union = with_beginning(&truths.concat());
    let precision = true_positives(&union, &found) / found.len() as f64;
    let recall = truths
        .iter()
        .map(|t| with_beginning(t))
        .map(|t| true_positives(&t, &found) / t.len() as f64)
        .sum::<f64>()
        / truths.len() as f64;
    2.0 * precision * recall / (precision + recall)
}

fn segments(starts: &[usize], n: usize) -> Vec<(usize, usize)> {
    let mut bounds = vec![0];
    bounds.extend(starts.iter().filter(|&&s| s > 0 && s < n));
    bounds.push(n);
    bounds.windows(2).map(|b| (b[0], b[1])).collect()
}

fn cover(truths: &[Vec<usize>], found: &[usize], n: usize) -> f64 {
    let found = segments(found, n);
    let covered = |&(a, b): &(usize, usize)| {
        let best = found
            .iter()
            .map(|&(c, d)| {
                let shared = b.min(d).saturating_sub(a.max(c)) as f64;
                shared / (b.max(d) - a.min(c)) as f64
            })
            .fold(0.0, f64::max);
        (b - a) as f64 * best
    };
    let of_one = |t: &Vec<usize>| segments(t, n).iter().map(covered).sum::<f64>() / n as f64;
    truths.iter().map(of_one).sum::<f64>() / truths.len() as f64
}

/// Planted series, by kind: levels under white and autocorrelated noise, slopes, variances, levels beside a season, levels
/// with outliers, and kinds without any change.
pub fn planted() -> Vec<(&'static str, Annotated)> {
    let kinds = [
        "levels",
        "levels-coloured",
        "slopes",
        "variances",
        "levels-season",
        "levels-outliers",
        "counts",
        "none",
        "none-coloured",
        "none-trend",
    ];
    let mut all = Vec::new();
    for kind in kinds {
        for seed in 0..8 {
            all.push((kind, planted_one(kind, seed)));
        }
    }
    all
}

fn planted_one(kind: &str, seed: u64) -> Annotated {
    let n = 200 + 60 * seed as usize;
    let fresh = noise(n, 1000 + seed);
    let draws = noise(16, 2000 + seed);
    let count = if kind.starts_with("none") {
        0
    } else {
        1 + seed as usize % 4
    };
    let truth: Vec<usize> = (1..=count)
        .map(|k| (k * n / (count + 1)).saturating_add_signed((draws[k] * 6.0) as isize))
        .collect();
    let phi = if kind.ends_with("coloured") { 0.6 } else { 0.0 };
    let (mut level, mut slope, mut spread, mut rest) = (10.0, 0.0, 1.0, 0.0);
    let mut values = Vec::with_capacity(n);
    for (t, e) in fresh.iter().enumerate() {
        if let Some(k) = truth.iter().position(|c| *c == t) {
            let sign = if draws[8 + k] > 0.0 { 1.0 } else { -1.0 };
            match kind {
                "slopes" => slope = if slope == 0.0 { 0.25 * sign } else { 0.0 },
                "variances" => spread = if spread == 1.0 { 4.0 } else { 1.0 },
                "counts" => level = if level > 20.0 { 10.0 } else { 30.0 },
                _ => level += 4.0 * sign,
            }
        }
        level += slope;
        rest = phi * rest + (1.0_f64 - phi * phi).sqrt() * spread * e;
        let season = 3.0 * (t as f64 * std::f64::consts::TAU / 12.0).sin();
        values.push(match kind {
            "levels-season" => level + rest + season,
            "levels-outliers" if t % 37 == 5 => level + rest + 12.0,
            "counts" => (level + level.sqrt() * rest).max(0.0).round(),
            "none-trend" => level + rest + 0.05 * t as f64,
            _ => level + rest,
        });
    }
    Annotated {
        name: format!("{kind} {seed}"),
        values,
        truths: vec![truth],
    }
}

fn judged(series: &[Annotated], price: f64) -> Vec<Agreement> {
    series
        .iter()
        .map(|s| agreement(&s.truths, &found(&s.values, price), s.values.len()))
        .collect()
}

/// Mean with, for each series, the price that is best (F1 plus cover) on all others.
fn left_one_out(by_price: &[Vec<Agreement>]) -> Agreement {
    let n = by_price.first().map_or(0, Vec::len);
    let held: Vec<Agreement> = (0..n)
        .map(|i| {
            let others = |of: &[Agreement]| -> f64 {
                let rest = of.iter().enumerate().filter(|(j, _)| *j != i);
                rest.map(|(_, a)| a.f1 + a.cover).sum()
            };
            let best = by_price
                .iter()
                .max_by(|a, b| others(a).total_cmp(&others(b)));
            best.map_or(
                Agreement {
                    f1: 0.0,
                    cover: 0.0,
                },
                |b| b[i],
            )
        })
        .collect();
    Agreement::mean(&held)
}

/// Means of the defaults over the planted series of each kind.
pub fn planted_kinds() -> Vec<(&'static str, Agreement)> {
    let mut kinds: Vec<(&'static str, Vec<Agreement>)> = Vec::new();
    for (kind, s) in planted() {
        let own = agreement(&s.truths, &found(&s.values, 1.0), s.values.len());
        match kinds.last_mut() {
            Some((last, all)) if *last == kind => all.push(own),
            _ => kinds.push((kind, vec![own])),
        }
    }
    let mean = |(kind, all): (&'static str, Vec<Agreement>)| (kind, Agreement::mean(&all));
    kinds.into_iter().map(mean).collect()
}

/// Judges the defaults on the annotated series in `dir` and on planted ones.
///
/// # Errors
/// As [`read`].
pub fn report(dir: &Path) -> io::Result<(String, Value)> {
    let series = read(dir)?;
    let by_price: Vec<Vec<Agreement>> = PRICES.iter().map(|p| judged(&series, *p)).collect();
    let default = judged(&series, 1.0);
    let silent: Vec<Agreement> = series
        .iter()
        .map(|s| agreement(&s.truths, &[], s.values.len()))
        .collect();
    let mut table = format!("{:<24} {:>7} {:>7}\n", "annotated series", "F1", "cover");
    let line = |name: &str, a: Agreement| format!("{name:<24} {:>7.3} {:>7.3}\n", a.f1, a.cover);
    let mut rows = Vec::new();
    for (s, a) in series.iter().zip(&default) {
        table += &line(&s.name, *a);
        rows.push(json!({"series": s.name, "f1": a.f1, "cover": a.cover}));
    }
    let (mean, held) = (Agreement::mean(&default), left_one_out(&by_price));
    table += &line("mean", mean);
    table += &line("price from the others", held);
    table += &line("saying nothing", Agreement::mean(&silent));
    for (price, all) in PRICES.iter().zip(&by_price) {
        table += &line(&format!("  price x {price}"), Agreement::mean(all));
    }
    let kinds = planted_kinds();
    table += "planted kinds\n";
    for (kind, mean) in &kinds {
        table += &line(kind, *mean);
    }
    let prices: Vec<Value> = PRICES
        .iter()
        .zip(&by_price)
        .map(|(price, all)| json!({"price": price, "mean": Agreement::mean(all)}))
        .collect();
    let planted: Vec<Value> = kinds
        .iter()
        .map(|(kind, mean)| json!({"kind": kind, "mean": mean}))
        .collect();
    Ok((
        table,
        json!({
            "suite": "change-points", "margin": MARGIN, "mean": mean, "price_from_the_others": held,
            "silent": Agreement::mean(&silent), "series": rows, "prices": prices, "planted": planted,
        }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measures_agree_with_hand_computed_cases() {
        // One annotator, change at 50 of 100; found exactly, found beyond the margin, found not at all.
        let truth = vec![vec![50]];
        assert_eq!(f1(&truth, &[52]), 1.0);
        assert_eq!(f1(&truth, &[60]), 0.5);
        assert_eq!(f1(&truth, &[]), 2.0 / 3.0);
        assert_eq!(cover(&truth, &[50], 100), 1.0);
        assert_eq!(cover(&truth, &[], 100), 0.5);
    }
}
