//! Nobody scrapes for an hour: the memory of the metrics does not grow, because upkeep runs without a scrape too. A test
//! binary of its own, because the memory of the whole process is looked at.

use std::time::Duration;

use layer5_server::{
    counters::Counters,
    metrics::{Gauges, Meters},
    process,
};

/// What is recorded in one second of a busy service.
const RECORDS_PER_SECOND: u64 = 2000;
const HOUR: u64 = 3600;
/// Growth that the allocator may show without a leak, bytes.
const TOLERATED: f64 = 4e6;

fn record(meters: &Meters, seconds: u64, upkeep: Option<&Counters>) {
    for second in 0..seconds {
        for i in 0..RECORDS_PER_SECOND {
            let took = Duration::from_micros((second * 31 + i * 7) % 200_000);
            meters.processed(took);
            meters.detected(took);
        }
        meters.called("layer7", &[0.01; 16]);
        if let Some(counters) = upkeep {
            meters.refresh(counters, &Gauges::default());
        }
    }
}

fn resident() -> f64 {
    process::look().expect("there is a /proc").resident_bytes
}

#[test]
fn an_unscraped_hour_costs_no_memory() {
    let meters = Meters::new("1", "r", "").expect("the buckets are legal");
    let counters = Counters::default();
    record(&meters, 60, Some(&counters));
    let before = resident();
    record(&meters, HOUR, Some(&counters));
    let grown = resident() - before;
    assert!(
        grown < TOLERATED,
        "{grown} bytes in an hour of {RECORDS_PER_SECOND} a second"
    );

    // What the test would see without upkeep: samples are kept until somebody scrapes.
    let neglected = Meters::new("1", "r", "").expect("the buckets are legal");
    let before = resident();
    record(&neglected, HOUR / 10, None);
    let leaked = resident() - before;
    assert!(
        leaked > TOLERATED,
        "without upkeep only {leaked} bytes: this test sees nothing"
    );
    assert!(
        meters
            .render()
            .contains("layer5_kpi_processing_duration_seconds_count")
    );
}
