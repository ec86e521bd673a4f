//! Tunes a service for the least latency within a memory limit that only a measurement shows, a rule that is known
//! beforehand, runs that fail, and noise of a known size.
//! Run with `cargo run -p layer5-optimize --example tune_with_constraints`.

use layer5_optimize::{Domain, Limit, Outcome, Parameter, Point, Space, Study, StudyConfig, Value};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Latency in ms and memory in MB of a made-up service; `None` where it does not start.
fn measured(point: &Point) -> Option<(f64, f64)> {
    let [
        Value::Int(threads),
        Value::Float(cache_mb),
        Value::Int(batch),
    ] = point.values()
    else {
        unreachable!("values come in the order and kinds of the space")
    };
    let (threads, batch) = (*threads as f64, *batch as f64);
    if *cache_mb < 8.0 {
        return None;
    }
    let latency = 80.0 / threads + 1.5 * threads + 400.0 / cache_mb + (batch - 12.0).abs();
    Some((latency, 60.0 + 24.0 * threads + cache_mb + 3.0 * batch))
}

#[allow(clippy::print_stdout, reason = "an example talks to its reader")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let space = Space::new(vec![
        Parameter::new("threads", Domain::int(1, 32)),
        Parameter::new("cache_mb", Domain::log_float(4.0, 1024.0)),
        Parameter::new("batch", Domain::int(1, 64)),
    ])?;
    let mut study = Study::new(StudyConfig {
        // Memory at most 400 MB: told with each outcome, learned, and kept where it is at most 0.
        n_constraints: 1,
        // Threads and batches share 40 buffers: known, so no suggestion breaks it.
        limits: vec![Limit::Linear {
            terms: vec![("threads".into(), 1.0), ("batch".into(), 0.5)],
            at_most: 40.0,
        }],
        seed: 1,
        ..StudyConfig::new(space)
    })?;
    let mut world = Pcg64::seed_from_u64(1);
    let (mut n_failed, mut n_above) = (0, 0);
    for _ in 0..50 {
        let trial = study.ask();
        let outcome = match measured(&trial.point) {
            None => {
                n_failed += 1;
                Outcome::Failed
            }
            Some((latency, memory_mb)) => {
                n_above += u32::from(memory_mb > 400.0);
                Outcome::Values {
                    objectives: vec![latency + world.random_range(-0.9..0.9)],
                    constraints: vec![memory_mb - 400.0],
                    // An even draw of this width has this standard deviation.
                    noise_sd: vec![1.8 / 12f64.sqrt()],
                }
            }
        };
        study.tell(trial.id, outcome)?;
    }
    let best = study.recommend().ok_or("nothing was told")?;
    let (latency, memory_mb) = measured(&best.point).ok_or("it would not start")?;
    println!("{n_failed} runs failed, {n_above} were above the memory limit");
    println!(
        "recommended: {:?}, {latency:.1} ms with {memory_mb:.0} MB",
        best.point.values()
    );
    Ok(())
}
