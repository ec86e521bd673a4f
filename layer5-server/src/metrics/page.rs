//! The page as Prometheus reads it: what has no value now is absent.
//! In: the exporter's text. Out: the same without lines and heads that say nothing. Called from: the metrics door.

use super::Meters;

impl Meters {
    /// The page as Prometheus reads it.
    #[must_use]
    pub fn render(&self) -> String {
        // The recorder's counters are whole numbers and times have a fraction, so those are kept as gauges.
        let page = without_unknown(&self.handle.render());
        [
            "process_cpu_seconds_total",
            "layer5_compaction_seconds_total",
        ]
        .into_iter()
        .fold(page, |page, name| {
            page.replace(&format!("{name} gauge"), &format!("{name} counter"))
        })
    }
}

/// The page without the gauges that have no value now, and without the heads of those that have no line left.
fn without_unknown(page: &str) -> String {
    let mut kept = String::with_capacity(page.len());
    let mut head = String::new();
    for line in page.lines() {
        if line.is_empty() {
            head.clear();
        } else if line.starts_with('#') {
            if line.starts_with("# HELP") {
                head.clear();
            }
            head.push_str(line);
            head.push('\n');
        } else if !line.ends_with(" NaN") {
            kept.push_str(&std::mem::take(&mut head));
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}
