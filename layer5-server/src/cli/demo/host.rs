//! The demo with real input: this machine's processes are the agents.
//! In: the arguments and a service that is running. Out: [`HostResults`].
//! Invariants: readings are taken by the wall clock, four a second; a reading that is late is taken late, not twice.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use layer5_core::PatternEvent;

use super::{
    Service,
    fleet::{ingest_ms, patterns, reports},
    progress::{Progress, grouped},
    results::{Addresses, HostResults, ProcessRow},
    service_view::ServiceView,
};
use crate::{
    clock::now,
    standin::{
        host::HostSampler,
        sender::{Ledger, Sender, loopback_client},
    },
};

/// Between two readings.
const READ_EVERY: Duration = Duration::from_millis(250);
/// How long the service may work off what it took.
const SETTLE: Duration = Duration::from_secs(10);
/// Rows of the closing tables.
const PROCESSES_SHOWN: usize = 15;
const NOTICED_SHOWN: usize = 12;

/// Reads this machine for `seconds`.
///
/// # Errors
/// When there is no `/proc`, or the service stops answering about itself.
pub(super) async fn run(
    seconds: f64,
    processes_max: usize,
    service: &Service,
) -> Result<HostResults, String> {
    let started = Instant::now();
    let mut host = HostSampler::new(processes_max).map_err(|error| error.to_string())?;
    let client = loopback_client();
    let view = ServiceView::new(client.clone(), &service.api_url());
    let sender = Sender::new(client, &service.api_url());
    let mut ledger = Ledger::default();
    let mut readings = 0;
    let mut progress = Progress::start((seconds * 1e3) as u64);
    let mut ticks = tokio::time::interval(READ_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while started.elapsed().as_secs_f64() < seconds {
        ticks.tick().await;
        let mut post = host
            .sample(now())
            .map_err(|error| format!("/proc: {error}"))?;
        readings += 1;
        if post.lines == 0 {
            continue;
        }
        let processes = post.lines;
        let body = std::mem::take(&mut post.body).into();
        ledger.enter(&post, sender.deliver(body).await);
        progress.show(started.elapsed().as_millis() as u64, || {
            let reports = grouped(ledger.acknowledged as u64);
            format!("{processes} processes | {reports} reports")
        });
    }
    progress.finish();
    let status = view.settled(SETTLE).await?;
    let findings = view.patterns().await?;
    Ok(HostResults {
        wall_seconds: started.elapsed().as_secs_f64(),
        readings,
        reports: reports(&ledger, &status),
        processes: process_rows(&host, &findings),
        patterns: patterns(&status),
        noticed: noticed(findings),
        ingest_ms: ingest_ms(&ledger, &status),
        breaches: ledger.breaches,
        service: Addresses {
            api: service.api_url(),
            metrics: service.metrics_url(),
        },
    })
}

fn process_rows(host: &HostSampler, findings: &[PatternEvent]) -> Vec<ProcessRow> {
    let mut by_agent: BTreeMap<&str, usize> = BTreeMap::new();
    for event in findings {
        *by_agent.entry(&event.agent_id).or_default() += 1;
    }
    let busiest = host.busiest().into_iter().take(PROCESSES_SHOWN);
    busiest
        .map(|busy| ProcessRow {
            findings: by_agent.get(busy.agent_id.as_str()).copied().unwrap_or(0),
            agent_id: busy.agent_id,
            cpu_seconds: busy.cpu_seconds,
            cpu_usage_peak: busy.cpu_usage_peak,
            memory_mb: busy.memory_mb,
        })
        .collect()
}

/// The strongest findings, in words.
fn noticed(mut findings: Vec<PatternEvent>) -> Vec<String> {
    findings.sort_by(|a, b| {
        b.finding
            .score
            .total_cmp(&a.finding.score)
            .then(a.id.cmp(&b.id))
    });
    findings.truncate(NOTICED_SHOWN);
    findings
        .iter()
        .map(|event| format!("{}: {}", event.agent_id, event.explanation))
        .collect()
}
