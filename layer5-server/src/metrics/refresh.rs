//! Counters and gauges brought up to date, once a second.
//! In: [`Counters`], [`Gauges`], the store, this process. Out: values in the recorder. Called from: `app`.
//! Invariant: counters are copied from the one source that `/api/v1/status` shows too.

use std::{sync::atomic::Ordering::Relaxed, time::Instant};

use layer5_core::{PatternKind, Reason};
use metrics::Recorder;

use super::{Gauges, METADATA, Meters, Neighbour, key};
use crate::{
    counters::{Component, Counters},
    intake::Source,
    refinery::tuner::Score,
};

impl Meters {
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
