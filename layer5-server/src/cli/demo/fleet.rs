//! The demo with the stand-in fleet: a week of simulated life against the running service, then the account.
//! In: the arguments, the fleet's clock and a service that is running. Out: [`FleetResults`].
//! Invariants: the truth goes from the stand-ins to the results and nowhere else.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use super::{
    Service,
    progress::{Progress, grouped},
    results::{
        Addresses, Alarms, FleetResults, Improvement, IncidentRow, IngestMs, Recommendations,
        Reports,
    },
    service_view::{ServiceView, Status},
};
use crate::standin::{
    changes::Changes,
    clock::{FleetClock, STEPS_PER_DAY},
    fleet::{self, Standing},
    layer7::Layer7,
    layer8::Layer8,
    score::{Score, score},
    sender::{Ledger, Sender, loopback_client},
    truth::Truth,
    world::World,
};

/// A service too slow for the pace gets this much more time, as a share of the run and in seconds.
const LATE_SHARE: f64 = 1.0;
const LATE_SECONDS: f64 = 10.0;
/// How long the service may work off what it took, and Layer7 tell its last outcomes.
const SETTLE: Duration = Duration::from_secs(10);
/// How often the display asks the service what it found.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a fleet run is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) agents: usize,
    pub(super) seconds: f64,
    pub(super) clock: FleetClock,
}

/// The neighbours that the service was started with.
#[derive(Debug)]
pub(super) struct Neighbours {
    pub(super) layer7: Layer7,
    pub(super) layer8: Layer8,
}

/// Runs the fleet through its week.
///
/// # Errors
/// When the service stops answering about itself.
pub(super) async fn run(
    plan: Plan,
    neighbours: &Neighbours,
    service: &Service,
) -> Result<FleetResults, String> {
    let started = Instant::now();
    let client = loopback_client();
    let api = service.api_url();
    let view = ServiceView::new(client.clone(), &api);
    let truth = Truth::draw(plan.seed, plan.agents, plan.clock.steps());
    let mut world = World::new(plan.seed, plan.agents, plan.clock, truth);
    let mut changes = Changes::new(plan.seed);
    let feedback = neighbours.layer7.feedback(client.clone(), &api);
    let mut breaches = Vec::new();
    if let Err(breach) = neighbours.layer8.announce(&client, &api).await {
        breaches.push(breach);
    }
    let sender = Arc::new(Sender::new(client, &api));
    let patience = plan.seconds * (1.0 + LATE_SHARE) + LATE_SECONDS;
    let deadline = started + Duration::from_secs_f64(patience);
    let watch = Watch::start(view.clone());
    let mut progress = Progress::start(plan.clock.steps() as u64);
    let (ledger, steps) = fleet::run(
        &mut world,
        &mut changes,
        &neighbours.layer7,
        &feedback,
        &sender,
        deadline,
        |standing| progress.show(standing.step as u64, || watch.line(&standing, &plan)),
    )
    .await;
    progress.finish();
    drop(watch);
    // Decisions that were on their way when the week ended still arrive, but find nobody to apply them.
    feedback.finish(SETTLE).await;
    let status = view.settled(SETTLE).await?;
    let findings = view.patterns().await?;
    let score = score(&world, changes.applied(), &findings, steps);
    trace(&score, &world);
    let account = Account {
        plan: &plan,
        steps,
        world: &world,
        ledger: &ledger,
        changes: &changes,
        score: &score,
        status: &status,
        neighbours,
        service,
    };
    Ok(account.results(breaches, started.elapsed()))
}

/// Everything the results are made of.
struct Account<'a> {
    plan: &'a Plan,
    steps: usize,
    world: &'a World,
    ledger: &'a Ledger,
    changes: &'a Changes,
    score: &'a Score,
    status: &'a Status,
    neighbours: &'a Neighbours,
    service: &'a Service,
}

impl Account<'_> {
    fn results(&self, mut breaches: Vec<String>, wall: Duration) -> FleetResults {
        let layer7 = self.neighbours.layer7.account();
        let layer8 = self.neighbours.layer8.account();
        breaches.extend(self.ledger.breaches.iter().cloned());
        breaches.extend(
            layer7
                .breaches
                .iter()
                .map(|breach| format!("layer7: {breach}")),
        );
        breaches.extend(
            layer8
                .breach
                .iter()
                .map(|breach| format!("layer8: {breach}")),
        );
        breaches.extend(
            self.changes
                .breaches()
                .iter()
                .map(|breach| format!("agents: {breach}")),
        );
        let possible = self.world.improvement_possible();
        let reached = self.world.improvement();
        FleetResults {
            seed: self.plan.seed,
            agents: self.plan.agents,
            steps: self.steps,
            steps_planned: self.plan.clock.steps(),
            simulated_days: self.steps as f64 / STEPS_PER_DAY as f64,
            wall_seconds: wall.as_secs_f64(),
            reports: reports(self.ledger, self.status),
            incidents: self.score.kinds.iter().map(incident_row).collect(),
            alarms: Alarms {
                on_incidents: self.score.matched,
                on_own_changes: self.score.explained,
                r#false: self.score.false_alarms,
                precision: self.score.precision(),
                precision_on_incidents: self.score.precision_on_incidents(),
            },
            grouped: self.status.count("/incidents/told"),
            foremost: self.status.texts("/incidents/foremost"),
            patterns: patterns(self.status),
            recommendations: Recommendations {
                issued: self.status.count("/recommendations/issued"),
                delivered: layer7.delivered,
                repeats_seen: layer7.repeats,
                failed_on_purpose: layer7.errors + layer7.cuts,
                applied: self.changes.applied().len(),
                outcomes_told: layer7.outcomes_told,
                evaluated: self.status.count("/recommendations/evaluated"),
                resource_advice: layer8.received,
                accuracy: self.status.number("/optimization/accuracy"),
                interval_coverage: self.status.number("/optimization/interval_coverage"),
            },
            improvement: Improvement {
                reached,
                best_possible: possible,
                share: reached / possible,
            },
            ingest_ms: ingest_ms(self.ledger, self.status),
            breaches,
            service: Addresses {
                api: self.service.api_url(),
                metrics: self.service.metrics_url(),
            },
        }
    }
}

/// The account of reports from both sides.
pub(super) fn reports(ledger: &Ledger, status: &Status) -> Reports {
    let mut reports = Reports {
        sent: ledger.sent,
        accepted: ledger.accepted,
        duplicates: ledger.duplicates,
        rejected: ledger.rejected.clone(),
        posts_refused: ledger.refusals,
        posts_unanswered: ledger.broken,
        acknowledged: ledger.acknowledged,
        stored: None,
        lost: None,
    };
    reports.reconcile(status.count("/reports/stored"));
    reports
}

/// The times of ingestion from both sides.
pub(super) fn ingest_ms(ledger: &Ledger, status: &Status) -> IngestMs {
    IngestMs {
        client_p50: ledger.took_ms_quantile(0.5),
        client_p99: ledger.took_ms_quantile(0.99),
        server_p50: status.number("/ingest_ms/p50"),
        server_p99: status.number("/ingest_ms/p99"),
    }
}

/// Findings by kind, as the service counts them; kinds without one are left out.
pub(super) fn patterns(status: &Status) -> BTreeMap<String, u64> {
    let kinds = layer5_core::PatternKind::ALL;
    kinds
        .iter()
        .filter_map(|kind| {
            Some((
                kind.to_string(),
                status.count(&format!("/patterns/{kind}"))?,
            ))
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn incident_row(row: &crate::standin::score::KindScore) -> IncidentRow {
    IncidentRow {
        kind: row.kind.key(),
        label: row.kind.label(),
        planted: row.planted,
        found: row.found,
        recall: row.recall(),
        delay_samples: row.delay_steps,
        delay_minutes: row.delay_minutes(),
    }
}

/// What was missed and what was a false alarm, for whoever runs with `RUST_LOG=layer5_server=debug`.
fn trace(score: &Score, world: &World) {
    for incident in &score.missed {
        let agent = &world.agents()[incident.agent].id;
        tracing::debug!(agent, ?incident, "missed");
    }
    for event in &score.false_findings {
        let step = world.clock().step_of(event.finding.detected_at);
        tracing::debug!(
            agent = event.agent_id,
            step,
            metric = event.metric,
            "false alarm: {}",
            event.explanation
        );
    }
}

/// Asks the service now and then what it found, so that the display can say so.
#[derive(Debug)]
struct Watch {
    patterns: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Watch {
    fn start(view: ServiceView) -> Self {
        let patterns = Arc::new(AtomicU64::new(0));
        let found = patterns.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                if let Some(sum) = view.status().await.ok().and_then(|s| s.sum("/patterns")) {
                    found.store(sum, Ordering::Relaxed);
                }
            }
        });
        Self { patterns, task }
    }

    fn line(&self, standing: &Standing, plan: &Plan) -> String {
        let day = |step: usize| step as f64 / STEPS_PER_DAY as f64;
        format!(
            "day {:.1} of {:.1} | {} reports | {} patterns | {} settings applied | {:.0} % of the best improvement",
            day(standing.step),
            day(plan.clock.steps()),
            grouped(standing.acknowledged as u64),
            grouped(self.patterns.load(Ordering::Relaxed)),
            grouped(standing.applied as u64),
            100.0 * standing.improvement_share,
        )
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
