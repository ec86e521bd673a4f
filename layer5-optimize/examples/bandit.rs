//! Chooses between four retry limits for a service whose best limit changes half way.
//! Run: `cargo run -p layer5-optimize --example bandit`.

#![allow(clippy::print_stdout, reason = "an example shows its result")]

use layer5_optimize::bandit::{Bandit, BernoulliThompson, Memory};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

const RETRY_LIMITS: [u32; 4] = [0, 1, 3, 8];
/// Share of requests answered in time, before and after the network got worse.
const IN_TIME: [[f64; 4]; 2] = [[0.90, 0.97, 0.93, 0.80], [0.55, 0.70, 0.85, 0.75]];
const N_REQUESTS: u64 = 20_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A window of 2000 requests: what is older says nothing of the network of today.
    let mut policy = BernoulliThompson::new(RETRY_LIMITS.len(), Memory::Window { len: 2000 })?;
    let mut world = Pcg64::seed_from_u64(1);
    let (mut in_time, mut best_in_time) = (0.0, 0.0);
    for request in 0..N_REQUESTS {
        let weather = IN_TIME[usize::from(request >= N_REQUESTS / 2)];
        let arm = policy.choose(request);
        let reward = f64::from(u8::from(world.random::<f64>() < weather[arm]));
        policy.reward(arm, reward)?;
        in_time += weather[arm];
        best_in_time += weather.iter().copied().fold(0.0, f64::max);
    }
    println!("retry limit   pulls in window   answered in time");
    for (arm, limit) in RETRY_LIMITS.iter().enumerate() {
        let tally = policy.tally();
        let share = tally
            .mean(arm)
            .map_or("unknown".into(), |mean| format!("{mean:.3}"));
        println!("{limit:>11}   {:>15}   {share:>16}", tally.weight(arm));
    }
    println!(
        "reached {:.1} % of what knowing the best limit would give",
        100.0 * in_time / best_in_time
    );
    Ok(())
}
