//! Documents that are written from the code say what the code says. `LAYER5_BLESS=1` writes them anew.

use std::path::Path;

use layer5_server::metrics::catalogue::{METRICS, Type, document};

fn agrees(page: &str, written: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    if std::env::var_os("LAYER5_BLESS").is_some() {
        std::fs::write(&path, written).expect("the document can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == written,
        "{page} does not say what the code says; LAYER5_BLESS=1 cargo test -p layer5-server --test documents writes it anew"
    );
}

#[test]
fn the_page_of_metrics_is_the_catalogue() {
    agrees("docs/operating/metrics.md", &document());
}

/// Section 6 of the contracts: name, type, labels.
const CONTRACT: &[(&str, Type, &[&str])] = &[
    ("layer5_kpi_received_total", Type::Counter, &["source"]),
    ("layer5_kpi_processed_total", Type::Counter, &[]),
    ("layer5_kpi_rejected_total", Type::Counter, &["reason"]),
    ("layer5_kpi_duplicates_total", Type::Counter, &[]),
    (
        "layer5_kpi_processing_duration_seconds",
        Type::Histogram,
        &[],
    ),
    ("layer5_kpi_ingest_lag_seconds", Type::Gauge, &["source"]),
    ("layer5_data_quality_ratio", Type::Gauge, &[]),
    ("layer5_buffer_size", Type::Gauge, &["shard"]),
    ("layer5_buffer_capacity", Type::Gauge, &["shard"]),
    ("layer5_buffer_high_watermark", Type::Gauge, &["shard"]),
    ("layer5_buffer_rejected_total", Type::Counter, &["policy"]),
    ("layer5_errors_total", Type::Counter, &["component", "kind"]),
    ("layer5_optimization_accuracy", Type::Gauge, &[]),
    ("layer5_optimization_direction_hit_ratio", Type::Gauge, &[]),
    ("layer5_optimization_interval_coverage", Type::Gauge, &[]),
    (
        "layer5_optimization_decisions_total",
        Type::Counter,
        &["algorithm"],
    ),
    (
        "layer5_optimization_duration_seconds",
        Type::Histogram,
        &["algorithm"],
    ),
    ("layer5_optimization_coverage", Type::Gauge, &[]),
    ("layer5_avg_performance_improvement", Type::Gauge, &[]),
    ("layer5_model_performance_drift", Type::Gauge, &[]),
    ("layer5_patterns_detected_total", Type::Counter, &["kind"]),
    (
        "layer5_pattern_detection_duration_seconds",
        Type::Histogram,
        &[],
    ),
    ("layer5_integration_up", Type::Gauge, &["target"]),
    (
        "layer5_integration_errors_total",
        Type::Counter,
        &["target", "kind"],
    ),
    (
        "layer5_integration_request_duration_seconds",
        Type::Histogram,
        &["target"],
    ),
    ("layer5_circuit_state", Type::Gauge, &["target"]),
    ("layer5_outbox_depth", Type::Gauge, &[]),
    ("layer5_outbox_oldest_seconds", Type::Gauge, &[]),
    ("layer5_active_agents", Type::Gauge, &[]),
    ("layer5_active_series", Type::Gauge, &[]),
    (
        "layer5_build_info",
        Type::Gauge,
        &["version", "revision", "color"],
    ),
    ("layer5_uptime_seconds", Type::Gauge, &[]),
    ("process_resident_memory_bytes", Type::Gauge, &[]),
    ("process_cpu_seconds_total", Type::Counter, &[]),
    ("process_open_fds", Type::Gauge, &[]),
    ("process_start_time_seconds", Type::Gauge, &[]),
];

#[test]
fn every_metric_of_the_contract_is_in_the_catalogue_as_the_contract_has_it() {
    for (name, kind, labels) in CONTRACT {
        let metric = METRICS.iter().find(|metric| metric.name == *name);
        let metric = metric.unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(metric.kind, *kind, "{name}");
        assert_eq!(metric.labels, *labels, "{name}");
        assert!(
            metric.meaning.len() > 5 && metric.when_odd.len() > 5,
            "{name}"
        );
    }
}

#[test]
fn the_page_of_the_configuration_is_written_from_the_types() {
    agrees(
        "docs/operating/configuration.md",
        &layer5_server::config::document::page(),
    );
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    for metric in METRICS {
        assert_eq!(
            metric.name.ends_with("_total"),
            metric.kind == Type::Counter,
            "{}: counters alone end in _total",
            metric.name
        );
        if metric.unit == "s" {
            assert!(
                metric.name.trim_end_matches("_total").ends_with("_seconds"),
                "{}: seconds are named",
                metric.name
            );
        }
        for label in metric.labels {
            assert!(
                !["agent", "agent_id", "task_id", "metric", "series"].contains(label),
                "{}: label {label} has no bound",
                metric.name
            );
        }
    }
}
