//! Tunes a function of three parameters by ask and tell, as a user of this crate alone would.
//! Run with `cargo run -p layer5-optimize --example tune_function`.

use layer5_optimize::{Domain, Outcome, Parameter, Space, Study, StudyConfig, Value};

/// Seconds a made-up job takes: too few workers wait, too many fight over the lock, and batches have a best size.
fn job_seconds(workers: i64, batch: f64, compression: usize) -> f64 {
    let parallel = 60.0 / workers as f64 + 0.4 * workers as f64;
    let batching = 3.0 * (batch / 256.0).log2().powi(2);
    let codec = [4.0, 1.0, 2.5][compression];
    parallel + batching + codec
}

#[allow(clippy::print_stdout, reason = "an example talks to its reader")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let space = Space::new(vec![
        Parameter::new("workers", Domain::int(1, 64)),
        Parameter::new("batch", Domain::log_float(1.0, 65_536.0)),
        Parameter::new("compression", Domain::categorical(["none", "lz4", "zstd"])),
    ])?;
    let mut study = Study::new(StudyConfig {
        seed: 1,
        ..StudyConfig::new(space.clone())
    })?;
    for _ in 0..40 {
        let trial = study.ask();
        let [
            Value::Int(workers),
            Value::Float(batch),
            Value::Choice(codec),
        ] = trial.point.values()
        else {
            unreachable!("values come in the order and kinds of the space")
        };
        let seconds = job_seconds(*workers, *batch, *codec);
        println!(
            "trial {:>2}: {workers:>2} workers, batch {batch:>8.1}, {:<4} -> {seconds:>7.3} s  ({}, {})",
            trial.id,
            space.choice_name(2, Value::Choice(*codec)).unwrap_or("?"),
            trial.proposed_by,
            trial.why,
        );
        study.tell(trial.id, Outcome::Value(seconds))?;
    }
    let best = study.recommend().ok_or("nothing was told")?;
    println!(
        "recommended: {:?}, expected {:.3} s",
        best.point.values(),
        best.predicted.mean
    );
    Ok(())
}
