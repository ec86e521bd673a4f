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
