//! What a study answers, as JSON.
//! In: a [`Study`]. Out: the objects of docs/formats.md. Called from: [`super`], `pipeline/studies`.
//! Invariants: fields are only added; lists are bounded; nothing here changes a study.

use layer5_optimize::{Observation, StopReason, Study, Trial, TrialId, TrialState, insight};
use serde_json::{Value, json};

use super::{command::Rows, params::params};

/// Rows of a front that are shown.
const FRONT_MAX: usize = 1000;

/// A trial as it is asked.
pub(super) fn asked(study: &Study, trial: &Trial) -> Value {
    let mut row = json!({
        "id": trial.id.0,
        "params": params(&study.config().space, &trial.point),
        "proposed_by": trial.proposed_by.name(),
        "why": trial.why.to_string(),
    });
    if let Some(predicted) = trial.predicted {
        row["predicted"] = json!(predicted.mean);
        row["interval"] = json!([predicted.lower, predicted.upper]);
    }
    row
}

/// What to use.
///
/// # Errors
/// Why there is no answer yet, in words.
pub(crate) fn recommendation(study: &Study) -> Result<Value, String> {
    let best = study.recommend().ok_or("nothing was told yet")?;
    let config = study.config();
    let mut answer = json!({
        "params": params(&config.space, &best.point),
        "predicted": best.predicted.mean,
        "interval": [best.predicted.lower, best.predicted.upper],
        "stop": study.stop_reason().map(stop),
    });
    if config.n_constraints > 0 {
        let kept = study.incumbent().is_some_and(Observation::is_feasible);
        answer["feasible"] = json!(kept);
    }
    if config.n_objectives() > 1 {
        let front = study.pareto_front();
        let shown = front.iter().take(FRONT_MAX);
        let rows: Vec<Value> = shown.map(|o| measured(study, o)).collect();
        if let Some(at) = front.iter().find(|o| o.point == best.point) {
            answer["values"] = json!(at.objectives().collect::<Vec<_>>());
        }
        answer["front"] = rows.into();
        answer["front_len"] = json!(front.len());
    }
    Ok(answer)
}

fn stop(reason: StopReason) -> Value {
    match reason {
        StopReason::BudgetSpent => json!("the budget is spent"),
        StopReason::SpaceExhausted => json!("every point was evaluated"),
        StopReason::NothingToGain(gain) => {
            json!(format!("the expected improvement is {gain:.3e}"))
        }
        other => json!(format!("{other:?}")),
    }
}

/// A row of the front.
fn measured(study: &Study, observation: &Observation) -> Value {
    let mut row = json!({
        "id": observation.trial.map(|id| id.0),
        "params": params(&study.config().space, &observation.point),
        "values": observation.objectives().collect::<Vec<_>>(),
    });
    if !observation.constraints.is_empty() {
        row["constraints"] = json!(observation.constraints);
    }
    row
}

/// How much each parameter matters, by a model of everything told.
///
/// # Errors
/// Why there is no answer yet, in words.
pub(crate) fn importances(study: &Study) -> Result<Value, String> {
    let m = study.config().n_objectives();
    let mut rows = Vec::new();
    for objective in 0..m {
        let found = insight::importances(study, objective)
            .ok_or("too little was told for a model: two observations at least")?;
        rows.extend(found.into_iter().map(|one| {
            json!({
                "objective": objective,
                "name": one.name,
                "alone": one.alone,
                "total": one.total,
            })
        }));
    }
    Ok(json!({ "importances": rows, "observations": study.observations().len() }))
}

/// Trials with their state, in the order of asking, and where the next page begins.
///
/// # Errors
/// A state that there is not, in words.
pub(crate) fn trials(study: &Study, rows: &Rows) -> Result<Value, String> {
    let states = ["pending", "told", "failed", "pruned"];
    if let Some(state) = rows.state.as_deref().filter(|s| !states.contains(s)) {
        return Err(format!(
            "state `{state}` is not known, use one of {}",
            states.join(", ")
        ));
    }
    let told: std::collections::BTreeMap<TrialId, &Observation> = study
        .observations()
        .iter()
        .filter_map(|o| Some((o.trial?, o)))
        .collect();
    let limit = rows.limit.unwrap_or(usize::MAX);
    let mut page = Vec::new();
    let mut next = None;
    for trial in study.trials() {
        let wanted = rows.after.is_none_or(|after| trial.id.0 > after)
            && rows
                .state
                .as_deref()
                .is_none_or(|s| s == trial.state.name());
        if !wanted {
            continue;
        }
        if page.len() >= limit {
            next = page.last().map(|row: &Value| row["id"].clone());
            break;
        }
        page.push(row(study, trial, told.get(&trial.id).copied()));
    }
    Ok(json!({ "trials": page, "next_after": next }))
}

fn row(study: &Study, trial: &Trial, told: Option<&Observation>) -> Value {
    let mut row = asked(study, trial);
    row["state"] = json!(trial.state.name());
    if let TrialState::Told(value) = trial.state {
        row["value"] = json!(value);
    }
    if let Some(told) = told {
        if !told.others.is_empty() {
            row["values"] = json!(told.objectives().collect::<Vec<_>>());
        }
        for (name, list) in [
            ("constraints", &told.constraints),
            ("noise_sd", &told.noise_sd),
        ] {
            if !list.is_empty() {
                row[name] = json!(list);
            }
        }
    }
    if let Some((step, value)) = trial.steps.last() {
        row["step"] = json!({ "step": step, "value": value, "steps": trial.steps.len() });
    }
    row
}

/// A study in a few numbers.
pub(crate) fn in_short(name: &str, study: &Study) -> Value {
    let count = |state: &str| {
        let in_it = study.trials().iter().filter(|t| t.state.name() == state);
        in_it.count()
    };
    let space = &study.config().space;
    let best = study.incumbent().map(|best| {
        let mut row = json!({ "value": best.value, "params": params(space, &best.point) });
        if !best.others.is_empty() {
            row["values"] = json!(best.objectives().collect::<Vec<_>>());
        }
        row
    });
    json!({
        "name": name,
        "trials": study.trials().len(),
        "pending": count("pending"),
        "failed": count("failed"),
        "pruned": count("pruned"),
        "observations": study.observations().len(),
        "closed": study.is_closed(),
        "best": best,
    })
}
