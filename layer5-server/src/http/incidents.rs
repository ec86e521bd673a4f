//! `GET /api/v1/incidents`: what began together, in one line each.
//! In: paging, a time range, a state, a least severity. Out: incidents, oldest first, with names for numbers.
//! Invariants: a page is bounded; the tuner is asked once for each call.

use axum::{Json, extract::State};
use layer5_core::{Direction, MetricId};
use layer5_ingest::Names;
use layer5_patterns::Severity;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Doors,
    extract::Query,
    problem::Problem,
    views::time,
    wire::{FirstMoverRow, IncidentRow, IncidentsAnswer, MoversRow, Paging},
};
use crate::refinery::incidents::IncidentView;

/// Incidents told in the status.
const IN_SHORT_MAX: usize = 3;

/// Filters of the list.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct IncidentFilter {
    after: Option<u64>,
    limit: Option<usize>,
    state: Option<String>,
    severity: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// `GET /api/v1/incidents`.
pub(crate) async fn incidents(
    State(doors): State<Doors>,
    Query(filter): Query<IncidentFilter>,
) -> Result<Json<IncidentsAnswer>, Problem> {
    let open = match filter.state.as_deref() {
        None => None,
        Some("open") => Some(true),
        Some("closed") => Some(false),
        Some(other) => {
            let detail = format!("state `{other}` is not known, use one of open, closed");
            return Err(Problem::bad_request(detail));
        }
    };
    let least = severity_of(filter.severity.as_deref())?;
    let (from, to) = (
        time("from", filter.from.as_deref())?,
        time("to", filter.to.as_deref())?,
    );
    let limit = Paging {
        after: filter.after,
        limit: filter.limit,
    }
    .rows();
    let all = doors.incidents().await;
    let all = all.ok_or_else(|| Problem::unavailable("the tuner does not answer"))?;
    let wanted = |view: &&IncidentView| {
        let picture = &view.picture;
        filter.after.is_none_or(|after| picture.id > after)
            && open.is_none_or(|open| picture.closed_at.is_none() == open)
            && picture.severity >= least
            && from.is_none_or(|from| picture.end >= from)
            && to.is_none_or(|to| picture.start < to)
    };
    let names = doors.names.read().expect("no writer panics with the lock");
    let page: Vec<IncidentRow> = all
        .iter()
        .filter(wanted)
        .take(limit)
        .map(|view| row(view, &names))
        .collect();
    let next_after = (page.len() == limit)
        .then(|| page.last().map(|row| row.id))
        .flatten();
    Ok(Json(IncidentsAnswer {
        incidents: page,
        next_after,
    }))
}

/// What the status tells of incidents: how many there are, and the open ones that matter most.
pub(super) async fn in_short(doors: &Doors) -> Value {
    let all = doors.incidents().await.unwrap_or_default();
    let mut open: Vec<&IncidentView> = all
        .iter()
        .filter(|view| view.picture.closed_at.is_none() && view.picture.severity > Severity::Notice)
        .collect();
    open.sort_by(|a, b| b.picture.weight.total_cmp(&a.picture.weight));
    let names = doors.names.read().expect("no writer panics with the lock");
    let told = all
        .iter()
        .filter(|view| view.picture.severity > Severity::Notice)
        .count();
    json!({
        "told": told,
        "open": open.len(),
        "foremost": open
            .iter()
            .take(IN_SHORT_MAX)
            .map(|view| row(view, &names).explanation)
            .collect::<Vec<_>>(),
    })
}

fn severity_of(name: Option<&str>) -> Result<Severity, Problem> {
    match name {
        None | Some("notice") => Ok(Severity::Notice),
        Some("warning") => Ok(Severity::Warning),
        Some("critical") => Ok(Severity::Critical),
        Some(other) => Err(Problem::bad_request(format!(
            "severity `{other}` is not known, use one of notice, warning, critical"
        ))),
    }
}

fn row(view: &IncidentView, names: &Names) -> IncidentRow {
    let picture = &view.picture;
    let metric_name = |metric: MetricId| names.metric_name(metric).to_owned();
    let metrics: Vec<MoversRow> = picture
        .movers
        .iter()
        .map(|movers| MoversRow {
            metric: movers.metric.map(metric_name),
            direction: match movers.direction {
                Direction::Up => "up",
                Direction::Down => "down",
                Direction::None => "none",
            }
            .to_owned(),
            agents: movers.n_agents,
        })
        .collect();
    let first_mover = FirstMoverRow {
        agent_id: names.agent_name(picture.first.agent).to_owned(),
        host: view.first_host.clone(),
        metric: picture.first.metric.map(metric_name),
        at: picture.first.at,
        lead_seconds: picture.first.lead_seconds,
    };
    IncidentRow {
        id: picture.id,
        state: match picture.closed_at {
            None => "open",
            Some(_) => "closed",
        },
        severity: match picture.severity {
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
        .to_owned(),
        weight: picture.weight,
        start: picture.start,
        end: picture.end,
        closed_at: picture.closed_at,
        symptoms: picture.n_symptoms,
        series: picture.n_series,
        agents: picture.n_agents,
        hosts: picture.n_hosts,
        recovered: picture.n_recovered,
        explanation: explanation(view, &metrics, &first_mover),
        first_mover,
        metrics,
    }
}

/// The incident in one line: how much of the fleet, what moved, since when, who first.
fn explanation(view: &IncidentView, metrics: &[MoversRow], first: &FirstMoverRow) -> String {
    let picture = &view.picture;
    let moved: Vec<String> = metrics
        .iter()
        .take(3)
        .map(|movers| match (&movers.metric, movers.direction.as_str()) {
            (None, _) => format!("{} silent", movers.agents),
            (Some(name), "none") => format!("{name} unlike itself on {}", movers.agents),
            (Some(name), way) => format!("{name} {way} on {}", movers.agents),
        })
        .collect();
    let moved = moved.join(", ");
    let host = match &first.host {
        Some(host) => format!(" on {host}"),
        None => String::new(),
    };
    if picture.n_agents == 1 {
        return format!("{}{host}: {moved}, since {}", first.agent_id, picture.start);
    }
    let hosts = match picture.n_hosts {
        0 => String::new(),
        n => format!(" on {n} host{}", if n == 1 { "" } else { "s" }),
    };
    let lead = match first.lead_seconds {
        lead if lead >= 1.0 => format!(", {lead:.0} s before half of them"),
        _ => String::new(),
    };
    let what = first.metric.as_deref().unwrap_or("silence");
    format!(
        "{} of {} agents{hosts}: {moved}; since {}; first {}{host} ({what}){lead}",
        picture.n_agents, view.n_agents_known, picture.start, first.agent_id
    )
}
