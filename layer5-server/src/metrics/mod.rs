//! The metrics page: what has a meaning is shown, what has none yet is absent.
//! In: durations recorded per request and per batch; `refresh` copies counters and [`Gauges`] that are read when asked.
//! Out: Prometheus text, made by `page`. Names: Project Chimera's contracts, section 6. Called from: `app`, every second
//! by [`Meters::refresh`].
//! Invariant: no global recorder, so that several services can live in one process.

pub mod catalogue;
mod gauges;
mod page;
mod refresh;

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

pub use gauges::{Gauges, Neighbour};
use metrics::{Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use self::catalogue::METRICS;

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
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<Label> = labels
        .iter()
        .map(|&(name, value)| Label::new(name, value.to_owned()))
        .collect();
    Key::from_parts(name, labels)
}
