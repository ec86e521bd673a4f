//! The metrics page: what has a meaning is shown, what has none yet is absent.
//! In: [`Counters`], gauges read when asked, durations recorded per request and per batch. Out: Prometheus text.
//! Names: Project Chimera's contracts, section 6. Called from: `app`, every second by [`Meters::refresh`].
//! Invariants: no global recorder, so that several services can live in one process; counters are copied from the one
//! source that `/api/v1/status` shows too.

use std::{
    sync::{Mutex, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use layer5_core::{PatternKind, Reason};
use metrics::{Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use crate::{
    counters::{Component, Counters},
    intake::Source,
    metrics::catalogue::METRICS,
    neighbours::CallKind,
    refinery::tuner::Score,
};

pub mod catalogue;

/// Upper bounds of the latency histograms, s: the service levels lie at 0.1 and 0.5.
const LATENCY_BUCKETS: [f64; 15] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Acknowledgement times kept for the percentiles of the status page.
const RECENT_ACKS: usize = 4096;

const METADATA: Metadata<'_> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// Everything that is measured.
pub struct Meters {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    processing: Histogram,
    acknowledging: Histogram,
    detecting: Histogram,
    recent_acks: Mutex<Recent>,
    quality: Mutex<Vec<(Instant, u64, u64)>>,
    started: Instant,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Recent {
    millis: Vec<f64>,
    next: usize,
}

/// What is read when the page is refreshed, besides the counters.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// Per ring: label of the shard, samples, capacity, high watermark.
    pub rings: Vec<(String, usize, usize, usize)>,
    /// Agents known.
    pub agents: usize,
    /// Series known.
    pub series: usize,
    /// Undelivered recommendations, and the age of the oldest, s.
    pub outbox: (u64, Option<f64>),
    /// Per neighbour: name, answered last call (`None`: never called), errors by kind, circuit state.
    pub neighbours: Vec<Neighbour>,
    /// What the tuner has decided and learned.
    pub score: Option<Score>,
    /// Free and all bytes of the data folder's disk.
    pub disk: Option<(u64, u64)>,
    /// Now minus `recorded_at` of the newest report, s, of each source that has brought one.
    pub lags: Vec<(Source, f64)>,
    /// Age of the newest backup, s; `None` when none is known.
    pub backup_age: Option<f64>,
}

/// What is known of one neighbour.
#[derive(Clone, Debug, Default)]
pub struct Neighbour {
    /// layer7 or layer8.
    pub name: &'static str,
    /// Whether the last call was answered; `None` before the first.
    pub up: Option<bool>,
    /// Failed calls, by kind.
    pub errors: [(&'static str, u64); CallKind::ALL.len()],
    /// 0 closed, 1 half open, 2 open.
    pub circuit: Option<u8>,
    /// Reports that were promised to us and are gone; of sources only.
    pub lost: Option<u64>,
}

impl Meters {
    /// A page of its own. `version`, `revision` and `color` go into `layer5_build_info`.
    ///
    /// # Errors
    /// When the exporter refuses its buckets.
    pub fn new(version: &str, revision: &str, color: &str) -> Result<Self, BuildError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(
                Matcher::Suffix("_duration_seconds".into()),
                &LATENCY_BUCKETS,
            )?
            .build_recorder();
        for metric in METRICS {
            // Counters, gauges and histograms share one table of descriptions by name.
            recorder.describe_gauge(
                KeyName::from_const_str(metric.name),
                None,
                SharedString::const_str(metric.meaning),
            );
        }
        let histogram = |name: &'static str| {
            recorder.register_histogram(&Key::from_static_name(name), &METADATA)
        };
        let labels = [
            ("version", version),
            ("revision", revision),
            ("color", color),
        ]
        .map(|(name, value)| Label::new(name, value.to_owned()));
        let build = Key::from_parts("layer5_build_info", labels.to_vec());
        recorder.register_gauge(&build, &METADATA).set(1.0);
        Ok(Self {
            processing: histogram("layer5_kpi_processing_duration_seconds"),
            acknowledging: histogram("layer5_kpi_acknowledge_duration_seconds"),
            detecting: histogram("layer5_pattern_detection_duration_seconds"),
            handle: recorder.handle(),
            recorder,
            recent_acks: Mutex::default(),
            // Before the first report there was none: what comes before the first refresh counts too.
            quality: Mutex::new(vec![(Instant::now(), 0, 0)]),
            started: Instant::now(),
        })
    }

    /// A request's samples have reached their watches.
    pub fn processed(&self, took: Duration) {
        self.processing.record(took.as_secs_f64());
    }

    /// A request is durable.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn acknowledged(&self, took: Duration) {
        self.acknowledging.record(took.as_secs_f64());
        let mut recent = self.recent_acks.lock().expect("no holder panics");
        let next = recent.next;
        if recent.millis.len() < RECENT_ACKS {
            recent.millis.push(0.0);
        }
        recent.millis[next] = took.as_secs_f64() * 1e3;
        recent.next = (next + 1) % RECENT_ACKS;
    }

    /// A shard took one batch.
    pub fn detected(&self, took: Duration) {
        self.detecting.record(took.as_secs_f64());
    }

    /// A question to `/optimize` was answered.
    pub fn optimized(&self, algorithm: &str, took: Duration) {
        let key = Key::from_parts(
            "layer5_optimization_duration_seconds",
            vec![Label::new("algorithm", algorithm.to_owned())],
        );
        self.recorder
            .register_histogram(&key, &METADATA)
            .record(took.as_secs_f64());
    }

    /// A neighbour was called.
    pub fn called(&self, target: &'static str, took: &[f64]) {
        if took.is_empty() {
            return;
        }
        let key = key(
            "layer5_integration_request_duration_seconds",
            &[("target", target)],
        );
        let histogram = self.recorder.register_histogram(&key, &METADATA);
        for &seconds in took {
            histogram.record(seconds);
        }
    }

    /// Median and 99th percentile of the newest acknowledgement times, ms; `None` before the first.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    #[must_use]
    pub fn ack_percentiles(&self) -> Option<(f64, f64)> {
        let mut millis = self
            .recent_acks
            .lock()
            .expect("no holder panics")
            .millis
            .clone();
        if millis.is_empty() {
            return None;
        }
        millis.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| millis[((millis.len() - 1) as f64 * share).round() as usize];
        Some((at(0.5), at(0.99)))
    }

    /// Since the start of this process.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

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

    /// Brings counters and gauges up to date and tidies the histograms; once a second.
    ///
    /// # Panics
    /// Never: no holder of the lock panics.
    pub fn refresh(&self, counters: &Counters, gauges: &Gauges) {
        self.refresh_counters(counters);
        self.refresh_rings(&gauges.rings);
        self.refresh_neighbours(&gauges.neighbours);
        if let Some(score) = &gauges.score {
            self.refresh_score(score);
        }
        self.gauge("layer5_active_agents", &[], gauges.agents as f64);
        self.gauge("layer5_active_series", &[], gauges.series as f64);
        self.gauge("layer5_outbox_depth", &[], gauges.outbox.0 as f64);
        self.gauge(
            "layer5_outbox_oldest_seconds",
            &[],
            gauges.outbox.1.unwrap_or(0.0),
        );
        self.gauge("layer5_uptime_seconds", &[], self.uptime().as_secs_f64());
        for (source, lag) in &gauges.lags {
            let labels = [("source", source.as_str())];
            self.gauge("layer5_kpi_ingest_lag_seconds", &labels, *lag);
        }
        if let Some(age) = gauges.backup_age {
            self.gauge("layer5_backup_age_seconds", &[], age);
        }
        if let Some((free, size)) = gauges.disk {
            self.gauge("layer5_disk_free_bytes", &[], free as f64);
            self.gauge("layer5_disk_size_bytes", &[], size as f64);
        }
        self.refresh_process();
        self.refresh_quality(counters);
        self.handle.run_upkeep();
    }

    fn refresh_counters(&self, counters: &Counters) {
        let forgotten = counters.dedup_forgotten.load(Relaxed);
        self.counter("layer5_dedup_forgotten_early_total", &[], forgotten);
        let put_off = counters.ticks_put_off.get();
        self.counter("layer5_tuner_ticks_put_off_total", &[], put_off);
        for (source, count) in Source::ALL.iter().zip(&counters.received) {
            // HTTP is always open; the others show up with their first report.
            if count.get() > 0 || *source == Source::Http {
                let labels = [("source", source.as_str())];
                self.counter("layer5_kpi_received_total", &labels, count.get());
            }
        }
        self.counter("layer5_kpi_processed_total", &[], counters.processed.get());
        self.counter(
            "layer5_kpi_duplicates_total",
            &[],
            counters.duplicates.get(),
        );
        for (window, count) in ["inside", "beyond"].into_iter().zip(&counters.late) {
            self.counter("layer5_kpi_late_total", &[("window", window)], count.get());
        }
        for (reason, count) in Reason::ALL.iter().zip(&counters.rejected) {
            let labels = [("reason", reason.as_str())];
            self.counter("layer5_kpi_rejected_total", &labels, count.get());
        }
        for (kind, count) in PatternKind::ALL.iter().zip(&counters.patterns) {
            let labels = [("kind", kind.as_str())];
            self.counter("layer5_patterns_detected_total", &labels, count.get());
        }
        for component in Component::ALL {
            let labels = [("component", component.as_str()), ("kind", "handled")];
            let count = &counters.errors[component as usize];
            self.counter("layer5_errors_total", &labels, count.get());
        }
        let refused = counters.buffer_rejected.get();
        self.counter(
            "layer5_buffer_rejected_total",
            &[("policy", "reject")],
            refused,
        );
        self.counter("layer5_store_commits_total", &[], counters.commits.get());
        let dropped = counters.dead_letters_dropped.get();
        self.counter("layer5_dead_letters_dropped_total", &[], dropped);
        for (outcome, count) in ["applied", "refused"]
            .into_iter()
            .zip(&counters.config_reloads)
        {
            let labels = [("outcome", outcome)];
            self.counter("layer5_config_reloads_total", &labels, count.get());
        }
        let is_refused = counters.config_refused.load(Relaxed);
        let successful = f64::from(u8::from(!is_refused));
        self.gauge("layer5_config_reload_successful", &[], successful);
        let waiting = counters.config_restart_needed.load(Relaxed);
        self.gauge("layer5_config_restart_needed", &[], waiting as f64);
        let unlogged = crate::logging::dropped_lines();
        self.counter("layer5_log_lines_dropped_total", &[], unlogged);
    }

    /// What the store takes, and what its keeper did.
    pub fn refresh_store(&self, counters: &Counters, store: &crate::store::Store) {
        for (part, bytes) in store.disk_bytes_by_part() {
            self.gauge("layer5_store_disk_bytes", &[("part", part)], bytes as f64);
        }
        let size = store.history_size();
        for (place, n) in [("memory", size.head_samples), ("disk", size.samples)] {
            self.gauge("layer5_history_samples", &[("place", place)], n as f64);
        }
        let written = counters.history_written_bytes.get();
        self.counter("layer5_history_written_bytes_total", &[], written);
        let seconds = counters.compaction_micros.get() as f64 / 1e6;
        self.gauge("layer5_compaction_seconds_total", &[], seconds);
        let dropped = [
            ("log_segment", counters.log_segments_dropped.get()),
            ("sample_block", counters.sample_blocks_expired.get()),
            ("bucket_block", counters.bucket_blocks_expired.get()),
        ];
        for (what, n) in dropped {
            self.counter("layer5_store_dropped_total", &[("what", what)], n);
        }
    }

    fn refresh_rings(&self, rings: &[(String, usize, usize, usize)]) {
        for (shard, len, capacity, high) in rings {
            let labels = [("shard", shard.as_str())];
            self.gauge("layer5_buffer_size", &labels, *len as f64);
            self.gauge("layer5_buffer_capacity", &labels, *capacity as f64);
            self.gauge("layer5_buffer_high_watermark", &labels, *high as f64);
        }
    }

    fn refresh_neighbours(&self, neighbours: &[Neighbour]) {
        for neighbour in neighbours {
            let labels = [("target", neighbour.name)];
            if let Some(up) = neighbour.up {
                self.gauge("layer5_integration_up", &labels, f64::from(u8::from(up)));
            }
            if let Some(state) = neighbour.circuit {
                self.gauge("layer5_circuit_state", &labels, f64::from(state));
            }
            for (kind, count) in neighbour.errors {
                let labels = [("target", neighbour.name), ("kind", kind)];
                self.counter("layer5_integration_errors_total", &labels, count);
            }
            if let Some(lost) = neighbour.lost {
                self.counter("layer5_source_lost_total", &labels, lost);
            }
        }
    }

    fn refresh_score(&self, score: &Score) {
        for (proposed_by, n) in &score.issued {
            let labels = [("algorithm", proposed_by.as_str())];
            self.counter("layer5_optimization_decisions_total", &labels, *n);
        }
        self.counter("layer5_optimization_evaluated_total", &[], score.evaluated);
        // Absent until they have a meaning: never a made-up value.
        let known = [
            ("layer5_optimization_accuracy", score.accuracy),
            (
                "layer5_optimization_direction_hit_ratio",
                score.direction_hit_ratio,
            ),
            (
                "layer5_optimization_interval_coverage",
                score.interval_coverage,
            ),
            ("layer5_avg_performance_improvement", score.mean_improvement),
            ("layer5_model_performance_drift", score.drift),
            ("layer5_optimization_coverage", score.coverage),
        ];
        for (name, value) in known {
            self.gauge_if_known(name, &[], value);
        }
    }

    fn refresh_process(&self) {
        let Some(process) = crate::process::look() else {
            return;
        };
        for (name, value) in [
            ("process_resident_memory_bytes", process.resident_bytes),
            ("process_virtual_memory_bytes", process.virtual_bytes),
            ("process_threads", process.threads),
            ("process_open_fds", process.open_files),
            ("process_max_fds", process.open_files_max),
            ("process_start_time_seconds", process.started),
            ("process_cpu_seconds_total", process.cpu_seconds),
        ] {
            self.gauge(name, &[], value);
        }
        if let Some(limit) = process.memory_limit_bytes {
            self.gauge("layer5_memory_limit_bytes", &[], limit);
        }
    }

    /// The share of valid reports over five minutes, from counts taken once a second.
    fn refresh_quality(&self, counters: &Counters) {
        let now = Instant::now();
        let mut seen = self.quality.lock().expect("no holder panics");
        seen.push((now, counters.received_in_all(), counters.rejected_in_all()));
        let old = seen
            .iter()
            .filter(|(at, _, _)| now.duration_since(*at).as_secs() > 300)
            .count();
        seen.drain(..old.saturating_sub(1));
        let (Some(first), Some(last)) = (seen.first(), seen.last()) else {
            return;
        };
        let (received, rejected) = (last.1 - first.1, last.2 - first.2);
        let ratio = (received > 0).then(|| 1.0 - rejected as f64 / received as f64);
        self.gauge_if_known("layer5_data_quality_ratio", &[], ratio);
    }

    /// A gauge that has no value any more is absent again: [`Self::render`] leaves out what is no number.
    fn gauge_if_known(
        &self,
        name: &'static str,
        labels: &[(&'static str, &str)],
        value: Option<f64>,
    ) {
        self.gauge(name, labels, value.unwrap_or(f64::NAN));
    }

    fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.recorder
            .register_gauge(&key(name, labels), &METADATA)
            .set(value);
    }

    fn counter(&self, name: &'static str, labels: &[(&'static str, &str)], value: u64) {
        self.recorder
            .register_counter(&key(name, labels), &METADATA)
            .absolute(value);
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

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<Label> = labels
        .iter()
        .map(|&(name, value)| Label::new(name, value.to_owned()))
        .collect();
    Key::from_parts(name, labels)
}
