//! The log for those who follow it: what became durable here, group by group, as reports.
//! In: the last position that the follower has. Out: the reports of what came after it, and the position to ask from
//! next. Called from: a shadow's [`crate::sources::follow`].
//! Invariants: only whole groups leave, so a position says exactly what was read; a page is bounded by
//! [`SAMPLES_MAX`] and [`GROUPS_MAX`], but holds at least one group.

use axum::{Json, extract::State};
use layer5_ingest::Names;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Doors, extract::Query, problem::Problem};
use crate::store::Group;

/// Samples from which a page is full.
const SAMPLES_MAX: usize = 20_000;
/// Groups from which a page is full.
const GROUPS_MAX: usize = 1_000;

/// From where on.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct From {
    #[serde(default)]
    after: u64,
}

/// `GET /api/v1/log`.
pub(crate) async fn log(
    State(doors): State<Doors>,
    Query(from): Query<From>,
) -> Result<Json<Value>, Problem> {
    // Groups are read from the disk; the threads that serve must not wait for it.
    tokio::task::spawn_blocking(move || page(&doors, from.after))
        .await
        .map_err(|_panic| Problem::unavailable("the log could not be read"))?
        .map(Json)
}

fn page(doors: &Doors, after: u64) -> Result<Value, Problem> {
    let last_seq = doors.store.totals().last_seq;
    let first_seq = doors.store.first_seq().unwrap_or(last_seq + 1);
    let mut reports = Vec::new();
    let (mut next_after, mut n_samples) = (after.max(first_seq - 1).min(last_seq), 0);
    for group in doors.store.groups_from(next_after + 1).take(GROUPS_MAX) {
        let group =
            group.map_err(|e| Problem::unavailable(format!("the log can't be read: {e}")))?;
        let names = doors.names.read().expect("no writer panics with the lock");
        reports_of(&group, &names, &mut reports);
        next_after = group.seq;
        n_samples += group.samples.len();
        if n_samples >= SAMPLES_MAX {
            break;
        }
    }
    Ok(json!({
        "first_seq": first_seq,
        "last_seq": last_seq,
        "next_after": next_after,
        "n_reports": reports.len(),
        "reports": reports,
    }))
}

/// The reports of a group in shape B. Its task's name is not kept; the dedup key stands for it.
fn reports_of(group: &Group, names: &Names, out: &mut Vec<Value>) {
    let mut samples = group.samples.iter();
    for report in &group.reports {
        let own: Vec<_> = samples.by_ref().take(report.n_samples.into()).collect();
        let Some(first) = own.first() else { continue };
        let metrics: Map<String, Value> = own
            .iter()
            .map(|sample| {
                let metric = names.series_key(sample.series).metric;
                (names.metric_name(metric).to_owned(), sample.value.into())
            })
            .collect();
        out.push(json!({
            "timestamp": first.at,
            "agent_id": names.agent_name(names.series_key(first.series).agent),
            "task_id": format!("{:032x}", report.key),
            "metrics": metrics,
        }));
    }
}
