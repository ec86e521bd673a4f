//! Finds the seasons of a series, continues it by a day, and says how far that can be trusted.
//! Run with `cargo run -p layer5-patterns --example forecast`.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use layer5_patterns::forecast::{ForecastConfig, forecast};
use layer5_patterns::seasonality::{SeasonalityConfig, periods};

fn main() {
    let requests = |t: u32| {
        let hour = f64::from(t) * std::f64::consts::TAU / 24.0;
        let noise = f64::from(t.wrapping_mul(2_654_435_761) >> 22) / 100.0;
        let weekend = if t / 24 % 7 >= 5 { 0.6 } else { 1.0 };
        (100.0 + 40.0 * hour.sin()) * weekend + noise
    };
    let past: Vec<f64> = (0..24 * 35).map(requests).collect();
    let seasons: Vec<usize> = periods(&past, &SeasonalityConfig::default())
        .iter()
        .map(|p| p.len)
        .collect();
    println!("seasons: {seasons:?} samples");
    let next = forecast(&past, 24, &seasons, &ForecastConfig::default());
    println!("hour  expected  interval         came");
    for h in (0..24).step_by(4) {
        println!(
            "{h:4}  {:8.1}  {:6.1} to {:6.1}  {:6.1}",
            next.mean[h],
            next.lower[h],
            next.upper[h],
            requests(24 * 35 + h as u32)
        );
    }
}
