//! Proves that a watch allocates nothing, by counting what this thread asks of the allocator while it watches an
//! eventful stream.

use std::hint::black_box;

use allocation_counter::measure;
use layer5_core::Timestamp;
use layer5_patterns::{Watch, WatchConfig};

#[test]
fn an_update_allocates_nothing() {
    let config = WatchConfig::default();
    let mut findings = 0;
    let asked = measure(|| {
        let mut watch = Watch::new(&config);
        for i in 0..20_000_i64 {
            let wiggle = ((i * 7919) % 101) as f64 / 10.0;
            let level = if i % 5000 < 2500 { 50.0 } else { 90.0 };
            let spike = if i % 1777 == 0 { 400.0 } else { 0.0 };
            let at = Timestamp::from_millis(300_000 * i);
            let update = watch.update(level + wiggle + spike, at, &config);
            findings += update.findings.len();
        }
    });
    assert_eq!(asked.count_total, 0);
    assert!(
        findings > 5,
        "{findings}: the stream is meant to be eventful"
    );
    assert!(
        measure(|| drop(black_box(vec![findings]))).count_total > 0,
        "the counter counts"
    );
}
