//! Every metric that Layer5 shows: name, type, unit, labels, meaning, and what to do when it looks odd.
//! Out: the HELP and TYPE lines of the metrics page, and `docs/operating/metrics.md`, which a test compares with this table.
//! Names: Project Chimera's contracts, section 6. Invariant: what is not listed here is not shown; label values are bounded,
//! none is an agent, a task or a metric of a report.

use std::fmt::Write as _;

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only rises, until the process restarts.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts of values by size.
    Histogram,
}

/// What is to be known of one metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// As it stands on the page.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Type,
    /// s, bytes, ratio 0..=1, or what is counted.
    pub unit: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub meaning: &'static str,
    /// What an odd value means and where to look.
    pub when_odd: &'static str,
}

/// Every metric, in the order of the document.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "layer5_kpi_received_total",
        kind: Type::Counter,
        unit: "reports",
        labels: &["source"],
        meaning: "Reports seen, whatever became of them.",
        when_odd: "A flat line while agents run: look at the senders, at `layer5_integration_up` and at the lag of the source.",
    },
    Metric {
        name: "layer5_kpi_processed_total",
        kind: Type::Counter,
        unit: "reports",
        labels: &[],
        meaning: "Reports whose samples reached their watches.",
        when_odd: "Falls behind received less rejected and duplicates: a shard is too slow; look at `layer5_buffer_size`.",
    },
    Metric {
        name: "layer5_kpi_rejected_total",
        kind: Type::Counter,
        unit: "reports",
        labels: &["reason"],
        meaning: "Reports refused, by reason.",
        when_odd: "The reason names the rule; `layer5 deadletter list` shows the reports.",
    },
    Metric {
        name: "layer5_kpi_late_total",
        kind: Type::Counter,
        unit: "reports",
        labels: &["window"],
        meaning: "Reports that came behind a newer one of their agent: inside `limits.late_seconds`, or beyond. Both are in history; no watch judges them.",
        when_odd: "Beyond rises: a sender is cut off and catches up, or its clock is wrong.",
    },
    Metric {
        name: "layer5_kpi_duplicates_total",
        kind: Type::Counter,
        unit: "reports",
        labels: &[],
        meaning: "Reports that were already known.",
        when_odd: "Rises with each retry of a sender; a steady share means that a sender never hears the answer.",
    },
    Metric {
        name: "layer5_kpi_processing_duration_seconds",
        kind: Type::Histogram,
        unit: "s",
        labels: &[],
        meaning: "From arrival of a request to its state updated.",
        when_odd: "Above 100 ms at p95: a slow disk (compare the acknowledge histogram), too few cores, or a full ring.",
    },
    Metric {
        name: "layer5_kpi_acknowledge_duration_seconds",
        kind: Type::Histogram,
        unit: "s",
        labels: &[],
        meaning: "From arrival of a request to its samples durable.",
        when_odd: "Follows the fdatasync of the disk; a jump is the disk or its neighbour.",
    },
    Metric {
        name: "layer5_kpi_ingest_lag_seconds",
        kind: Type::Gauge,
        unit: "s",
        labels: &["source"],
        meaning: "Now minus recorded_at of the newest report.",
        when_odd: "Rises by one a second when a source is silent; negative when a sender's clock is ahead.",
    },
    Metric {
        name: "layer5_data_quality_ratio",
        kind: Type::Gauge,
        unit: "ratio",
        labels: &[],
        meaning: "Share of the reports received in the last 5 minutes that were valid.",
        when_odd: "Below 0.95: `layer5_kpi_rejected_total` by reason says what is wrong with the reports.",
    },
    Metric {
        name: "layer5_buffer_size",
        kind: Type::Gauge,
        unit: "samples",
        labels: &["shard"],
        meaning: "Samples in a ring.",
        when_odd: "Near its capacity for minutes: the committer or a shard does not keep up.",
    },
    Metric {
        name: "layer5_buffer_capacity",
        kind: Type::Gauge,
        unit: "samples",
        labels: &["shard"],
        meaning: "Samples that a ring can hold.",
        when_odd: "Changes only with the configuration.",
    },
    Metric {
        name: "layer5_buffer_high_watermark",
        kind: Type::Gauge,
        unit: "samples",
        labels: &["shard"],
        meaning: "Most samples that were ever in a ring.",
        when_odd: "At capacity: senders have been answered 429.",
    },
    Metric {
        name: "layer5_buffer_rejected_total",
        kind: Type::Counter,
        unit: "requests",
        labels: &["policy"],
        meaning: "Requests refused because the intake was full.",
        when_odd: "Rises under overload; senders retry after `Retry-After`. Lasting: more cores or fewer reports.",
    },
    Metric {
        name: "layer5_errors_total",
        kind: Type::Counter,
        unit: "errors",
        labels: &["component", "kind"],
        meaning: "Handled errors.",
        when_odd: "Any lasting rate: the log of that component names the error.",
    },
    Metric {
        name: "layer5_log_lines_dropped_total",
        kind: Type::Counter,
        unit: "lines",
        labels: &[],
        meaning: "Lines that the log file could not take; standard error had them all the same.",
        when_odd: "Rises: the disk of `log.file` is full, or slower than what is logged; lower the level or make room.",
    },
    Metric {
        name: "layer5_optimization_accuracy",
        kind: Type::Gauge,
        unit: "ratio",
        labels: &[],
        meaning: "Mean accuracy of the predictions evaluated in the last 24 h; absent before 20.",
        when_odd: "Low: predictions and outcomes differ; look at interval coverage and at drift before you touch anything.",
    },
    Metric {
        name: "layer5_optimization_direction_hit_ratio",
        kind: Type::Gauge,
        unit: "ratio",
        labels: &[],
        meaning: "Share of evaluations whose sign was predicted right.",
        when_odd: "Near one half: recommendations are guesses; check the objective and its noise.",
    },
    Metric {
        name: "layer5_optimization_interval_coverage",
        kind: Type::Gauge,
        unit: "ratio",
        labels: &[],
        meaning: "Share of outcomes inside their 95 % interval.",
        when_odd: "Far below 0.95: the stated intervals are too narrow; the fleet changes faster than the study learns.",
    },
    Metric {
        name: "layer5_optimization_decisions_total",
        kind: Type::Counter,
        unit: "recommendations",
        labels: &["algorithm"],
        meaning: "Recommendations decided, by what proposed them.",
        when_odd: "Flat: nothing is proposed; see `/api/v1/studies` for the reason.",
    },
    Metric {
        name: "layer5_optimization_evaluated_total",
        kind: Type::Counter,
        unit: "recommendations",
        labels: &[],
        meaning: "Recommendations whose outcome is known.",
        when_odd: "Flat while decisions rise: outcomes do not come back from Layer7 and cannot be measured.",
    },
    Metric {
        name: "layer5_optimization_duration_seconds",
        kind: Type::Histogram,
        unit: "s",
        labels: &["algorithm"],
        meaning: "From a question to /optimize to its answer.",
        when_odd: "Above 500 ms: a study with very many trials, or too few cores.",
    },
    Metric {
        name: "layer5_optimization_coverage",
        kind: Type::Gauge,
        unit: "ratio",
        labels: &[],
        meaning: "Share of the cohorts' agents with a decision in the last hour.",
        when_odd: "Below 0.8: agents without a study, in cooldown, or excluded by a safety rule.",
    },
    Metric {
        name: "layer5_avg_performance_improvement",
        kind: Type::Gauge,
        unit: "ratio",
        labels: &[],
        meaning: "Mean observed improvement of evaluated recommendations.",
        when_odd: "Negative: recommendations do harm; they are rolled back by themselves, look at what else changed.",
    },
    Metric {
        name: "layer5_model_performance_drift",
        kind: Type::Gauge,
        unit: "ratio",
        labels: &[],
        meaning: "Relative loss of prediction accuracy against the window before.",
        when_odd: "Above 0.1 for an hour: the fleet behaves differently from what was learned.",
    },
    Metric {
        name: "layer5_patterns_detected_total",
        kind: Type::Counter,
        unit: "patterns",
        labels: &["kind"],
        meaning: "Patterns found, by kind.",
        when_odd: "A burst of one kind is an incident or a change of the fleet; `/api/v1/patterns` lists them.",
    },
    Metric {
        name: "layer5_pattern_detection_duration_seconds",
        kind: Type::Histogram,
        unit: "s",
        labels: &[],
        meaning: "One shard's time for one batch of samples.",
        when_odd: "Rises with the size of the batches; a lasting rise with equal load is a lack of CPU.",
    },
    Metric {
        name: "layer5_integration_up",
        kind: Type::Gauge,
        unit: "ratio",
        labels: &["target"],
        meaning: "Whether a neighbour answered its last call.",
        when_odd: "0: the target is down or refuses; the log names the answer. Reports are kept meanwhile.",
    },
    Metric {
        name: "layer5_integration_errors_total",
        kind: Type::Counter,
        unit: "ratio",
        labels: &["target", "kind"],
        meaning: "Failed calls to a neighbour.",
        when_odd: "The kind tells a refused call from one without an answer.",
    },
    Metric {
        name: "layer5_integration_request_duration_seconds",
        kind: Type::Histogram,
        unit: "s",
        labels: &["target"],
        meaning: "How long calls to a neighbour took.",
        when_odd: "Near the timeout: the neighbour is overloaded; the circuit opens when it stays so.",
    },
    Metric {
        name: "layer5_source_lost_total",
        kind: Type::Counter,
        unit: "reports",
        labels: &["target"],
        meaning: "Reports that a source had promised and no longer has.",
        when_odd: "Above 0: the stream was trimmed before Layer5 had read it; raise its MAXLEN or find what slows the reading.",
    },
    Metric {
        name: "layer5_circuit_state",
        kind: Type::Gauge,
        unit: "0, 1, 2",
        labels: &["target"],
        meaning: "Circuit to a neighbour: 0 closed, 1 half open, 2 open.",
        when_odd: "2 for long: the target has been failing; it is tried again by itself.",
    },
    Metric {
        name: "layer5_outbox_depth",
        kind: Type::Gauge,
        unit: "recommendations",
        labels: &[],
        meaning: "Recommendations that Layer7 does not have yet.",
        when_odd: "Rises while Layer7 is away; nothing is lost, it is delivered in order.",
    },
    Metric {
        name: "layer5_outbox_oldest_seconds",
        kind: Type::Gauge,
        unit: "s",
        labels: &[],
        meaning: "Age of the oldest of them.",
        when_odd: "Beyond minutes: Layer7 does not take recommendations.",
    },
    Metric {
        name: "layer5_active_agents",
        kind: Type::Gauge,
        unit: "agents",
        labels: &[],
        meaning: "Agents known.",
        when_odd: "A jump: agent ids that are made up per task.",
    },
    Metric {
        name: "layer5_active_series",
        kind: Type::Gauge,
        unit: "series",
        labels: &[],
        meaning: "Series known.",
        when_odd: "Grows without end: metric names that carry values or ids.",
    },
    Metric {
        name: "layer5_build_info",
        kind: Type::Gauge,
        unit: "1",
        labels: &["version", "revision", "color"],
        meaning: "Always 1; what runs is in the labels.",
        when_odd: "Two versions at once: a deployment is under way.",
    },
    Metric {
        name: "layer5_uptime_seconds",
        kind: Type::Gauge,
        unit: "s",
        labels: &[],
        meaning: "Since the start of this process.",
        when_odd: "Falls to 0: a restart; the log's first lines say what was recovered.",
    },
    Metric {
        name: "layer5_dead_letters_dropped_total",
        kind: Type::Counter,
        unit: "reports",
        labels: &[],
        meaning: "Refused reports that found the dead-letter queue full.",
        when_odd: "Rises: refused reports come faster than they can be kept.",
    },
    Metric {
        name: "layer5_config_reloads_total",
        kind: Type::Counter,
        unit: "reloads",
        labels: &["outcome"],
        meaning: "Configurations that were asked for while the service ran: applied, or refused.",
        when_odd: "Refused: the log names file, line and key; the configuration before goes on.",
    },
    Metric {
        name: "layer5_config_reload_successful",
        kind: Type::Gauge,
        unit: "0, 1",
        labels: &[],
        meaning: "Whether the configuration's files, as they were last seen, are good: 0 after a refused reload.",
        when_odd: "0: what runs is not what the files say, and the next start would fail; `layer5 config check`.",
    },
    Metric {
        name: "layer5_config_restart_needed",
        kind: Type::Gauge,
        unit: "keys",
        labels: &[],
        meaning: "Keys that were changed in the files and take effect at the next start.",
        when_odd: "Above 0 for long: a change was rolled out and never took effect; `layer5 config diff` names the keys.",
    },
    Metric {
        name: "layer5_store_commits_total",
        kind: Type::Counter,
        unit: "commits",
        labels: &[],
        meaning: "Group commits.",
        when_odd: "Flat while reports arrive: the disk does not answer.",
    },
    Metric {
        name: "layer5_dedup_forgotten_early_total",
        kind: Type::Counter,
        unit: "entries",
        labels: &[],
        meaning: "Dedup entries dropped before their window ended because the window was full.",
        when_odd: "Rises: the dedup window is too small for the rate; raise its capacity.",
    },
    Metric {
        name: "layer5_tuner_ticks_put_off_total",
        kind: Type::Counter,
        unit: "ticks",
        labels: &[],
        meaning: "Ticks that were due and left out because the tuner was behind by as many as may be under way.",
        when_odd: "Rises: tuning looks less often than pipeline.tick_millis says; give it more CPU, or make the tick longer.",
    },
    Metric {
        name: "layer5_store_disk_bytes",
        kind: Type::Gauge,
        unit: "bytes",
        labels: &["part"],
        meaning: "What the data folder takes: log, history, views, snapshots (with `seen` and `roll`).",
        when_odd: "Near `store.disk_bytes_max` in all: the oldest samples go early.",
    },
    Metric {
        name: "layer5_history_samples",
        kind: Type::Gauge,
        unit: "samples",
        labels: &["place"],
        meaning: "Samples that can be asked for, in memory and on disk.",
        when_odd: "In memory above a million: history can't be written as fast as samples come.",
    },
    Metric {
        name: "layer5_history_written_bytes_total",
        kind: Type::Counter,
        unit: "bytes",
        labels: &[],
        meaning: "Bytes of history written, merges included.",
        when_odd: "Faster than `store.compaction_bytes_per_second` for long: see `layer5_history_samples`.",
    },
    Metric {
        name: "layer5_compaction_seconds_total",
        kind: Type::Counter,
        unit: "s",
        labels: &[],
        meaning: "Time in which history was merged or aggregated in the background, its pauses included.",
        when_odd: "Rises all the time: more comes than the budget lets be merged; raise `store.compaction_share`.",
    },
    Metric {
        name: "layer5_store_dropped_total",
        kind: Type::Counter,
        unit: "files",
        labels: &["what"],
        meaning: "Files that went: log segments that history has, blocks of samples and of aggregates that were too old or too much.",
        when_odd: "Blocks of samples go before `store.raw_days`: the disk budget is too small.",
    },
    Metric {
        name: "layer5_backup_age_seconds",
        kind: Type::Gauge,
        unit: "seconds",
        labels: &[],
        meaning: "Age of the newest backup in `backup.repository`. Absent when there is none, or it can't be read.",
        when_odd: "Above a day: `GET /api/v1/backups` says why the last one failed; `layer5 backup create` makes one.",
    },
    Metric {
        name: "layer5_disk_free_bytes",
        kind: Type::Gauge,
        unit: "bytes",
        labels: &[],
        meaning: "Free on the disk of the data folder.",
        when_odd: "Falls steadily: raise the disk or shorten `store.raw_days`.",
    },
    Metric {
        name: "layer5_disk_size_bytes",
        kind: Type::Gauge,
        unit: "bytes",
        labels: &[],
        meaning: "Size of the disk of the data folder.",
        when_odd: "Other than expected: the data folder is not on the volume that was meant for it.",
    },
    Metric {
        name: "layer5_memory_limit_bytes",
        kind: Type::Gauge,
        unit: "bytes",
        labels: &[],
        meaning: "What the cgroup allows this process, else the memory of the machine.",
        when_odd: "Other than expected: the limits of the pod did not take effect.",
    },
    Metric {
        name: "process_resident_memory_bytes",
        kind: Type::Gauge,
        unit: "bytes",
        labels: &[],
        meaning: "Resident memory of this process.",
        when_odd: "Rises with the number of series; compare `layer5_active_series`.",
    },
    Metric {
        name: "process_virtual_memory_bytes",
        kind: Type::Gauge,
        unit: "bytes",
        labels: &[],
        meaning: "Address space of this process.",
        when_odd: "Large by itself means nothing: files are mapped.",
    },
    Metric {
        name: "process_threads",
        kind: Type::Gauge,
        unit: "threads",
        labels: &[],
        meaning: "Threads of this process.",
        when_odd: "Grows without end: a bug, tell us.",
    },
    Metric {
        name: "process_open_fds",
        kind: Type::Gauge,
        unit: "files",
        labels: &[],
        meaning: "Files and sockets open now.",
        when_odd: "Near process_max_fds: connections that are never closed.",
    },
    Metric {
        name: "process_max_fds",
        kind: Type::Gauge,
        unit: "files",
        labels: &[],
        meaning: "Files and sockets that may be open.",
        when_odd: "Below 1024: raise the limit of the container or unit.",
    },
    Metric {
        name: "process_start_time_seconds",
        kind: Type::Gauge,
        unit: "s",
        labels: &[],
        meaning: "Start of this process, seconds since the Unix epoch.",
        when_odd: "Changes: a restart.",
    },
    Metric {
        name: "process_cpu_seconds_total",
        kind: Type::Counter,
        unit: "s",
        labels: &[],
        meaning: "User and system CPU time of this process.",
        when_odd: "Its rate is the cores used.",
    },
];

/// The table as the page `docs/operating/metrics.md`.
#[must_use]
pub fn document() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Written from `layer5-server/src/metrics/catalogue.rs`; `LAYER5_BLESS=1 cargo test -p layer5-server --test documents` writes it anew.\n\
         `GET :9090/metrics`. What has no value yet is absent, never 0 for want of knowledge.\n",
    );
    for metric in METRICS {
        let kind = match metric.kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        let labels: Vec<String> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
        let by = if labels.is_empty() {
            String::new()
        } else {
            format!(", by {}", labels.join(", "))
        };
        let _ = write!(
            page,
            "\n## `{}`\n{kind}, {}{by}. {}\n\nWhen it looks odd: {}\n",
            metric.name, metric.unit, metric.meaning, metric.when_odd
        );
    }
    page
}
