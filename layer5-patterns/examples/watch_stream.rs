//! Watches a stream of latencies with one planted level shift and prints what is found, in words.
//! Run: `cargo run -p layer5-patterns --example watch_stream`

use std::io::{self, Write};

use layer5_core::Timestamp;
use layer5_patterns::{Watch, WatchConfig};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let config = WatchConfig::default();
    let mut watch = Watch::new(&config);
    let mut rng = Pcg64Mcg::seed_from_u64(1);
    let start = Timestamp::from_millis(1_790_000_000_000);
    for i in 0..5 * 288_u32 {
        let at = start.plus_seconds(300.0 * f64::from(i));
        let day = (std::f64::consts::TAU * at.second_of_day() / 86_400.0).sin();
        let noise = 4.0 * (rng.random::<f64>() + rng.random::<f64>() - 1.0);
        let shift = if i >= 1000 { 25.0 } else { 0.0 };
        let update = watch.update(60.0 + 10.0 * day + noise + shift, at, &config);
        for finding in update.findings.iter() {
            writeln!(out, "{at}  {}", finding.explain("latency_ms", "ms"))?;
        }
    }
    let state = watch.state();
    writeln!(
        out,
        "now normal: {:.1} ms, spread {:.1} ms, period {:?} s",
        state.baseline, state.scale, state.period_seconds
    )
}
