//! Proves that a seed fixes the suggestions whatever the number of threads.
//! How: the same study is run inside pools of 1, 2 and 8 threads, and its complete saved state is compared.

mod runs;

use layer5_optimize::{Domain, Parameter, SamplerKind, Space, Study, StudyConfig};
use runs::{numbers, run};

fn saved_after_run(sampler: SamplerKind, n_threads: usize) -> String {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build()
        .expect("a pool");
    pool.install(|| {
        let space = Space::new(vec![
            Parameter::new("x", Domain::float(-2.0, 2.0)),
            Parameter::new("y", Domain::float(-1.0, 3.0)),
            Parameter::new("z", Domain::log_float(1e-3, 1e3)),
        ])
        .expect("valid");
        let config = StudyConfig {
            sampler,
            seed: 3,
            ..StudyConfig::new(space)
        };
        let mut study = Study::new(config).expect("fits");
        run(&mut study, 32, |point| {
            let v = numbers(point);
            100.0 * (v[1] - v[0] * v[0]).powi(2) + (1.0 - v[0]).powi(2) + v[2].log10().powi(2)
        });
        serde_json::to_string(&study).expect("plain data")
    })
}

#[test]
fn one_two_and_eight_threads_agree_to_the_last_bit() {
    for sampler in SamplerKind::ALL {
        let one = saved_after_run(sampler, 1);
        for n_threads in [2, 8] {
            assert!(
                one == saved_after_run(sampler, n_threads),
                "{sampler} on {n_threads} threads"
            );
        }
    }
}
