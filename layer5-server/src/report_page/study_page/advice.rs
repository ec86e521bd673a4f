//! What to use, and the best trials.
//! In: a [`Study`]. Out: tables. Called from: [`super`].

use std::fmt::Write;

use layer5_optimize::{Observation, Study};

use super::told::Told;
use crate::{
    report_page::{escape, number},
    study_desk::params,
};

/// Trials listed, at most: the best.
const LISTED_MAX: usize = 15;

/// What to use.
pub(super) fn section(body: &mut String, study: &Study) {
    let Some(advised) = study.recommend() else {
        return;
    };
    let each = params(&study.config().space, &advised.point);
    body.push_str("<h2>Use this</h2>\n<div class=\"wide\"><table><thead><tr>");
    for name in each.keys() {
        let _ = write!(body, "<th>{}</th>", escape(name));
    }
    body.push_str("<th>expected</th><th>95 % of runs between</th></tr></thead><tbody><tr>");
    for value in each.values() {
        let _ = write!(body, "<td>{}</td>", escape(&shown(value)));
    }
    let p = advised.predicted;
    let _ = writeln!(
        body,
        "<td>{}</td><td>{} and {}</td></tr></tbody></table></div>",
        number(p.mean),
        number(p.lower),
        number(p.upper)
    );
    if !study.incumbent().is_some_and(Observation::is_feasible) {
        body.push_str(
            "<p>Nothing keeps every constraint yet: this is what breaks them least.</p>\n",
        );
    }
}

/// The best trials, or the front of several objectives.
pub(super) fn best(body: &mut String, study: &Study, told: &Told<'_>) {
    let several = study.config().n_objectives() > 1;
    let mut best: Vec<&Observation> = if several {
        study.pareto_front()
    } else {
        study.observations().iter().collect()
    };
    best.sort_by(|a, b| {
        let by_value = match told.maximize {
            true => b.value.total_cmp(&a.value),
            false => a.value.total_cmp(&b.value),
        };
        b.is_feasible().cmp(&a.is_feasible()).then(by_value)
    });
    let space = &study.config().space;
    let title = if several {
        "The front, by its first objective"
    } else {
        "Best trials"
    };
    let _ = write!(
        body,
        "<h2>{title}</h2>\n<div class=\"wide\"><table><thead><tr><th>trial</th>"
    );
    match study.config().n_objectives() {
        1 => body.push_str("<th>value</th>"),
        m => (1..=m).for_each(|k| {
            let _ = write!(body, "<th>objective {k}</th>");
        }),
    }
    for parameter in space.parameters() {
        let _ = write!(body, "<th>{}</th>", escape(&parameter.name));
    }
    body.push_str("<th>proposed by</th></tr></thead><tbody>\n");
    let n = best.len();
    // A long front is listed from end to end, not from one end.
    let stride = if several {
        n.div_ceil(LISTED_MAX).max(1)
    } else {
        1
    };
    for observation in best.into_iter().step_by(stride).take(LISTED_MAX) {
        let trial = observation.trial.and_then(|id| study.trial(id));
        let id = trial.map_or("–".into(), |trial| trial.id.to_string());
        let _ = write!(body, "<tr><td>{id}</td>");
        for value in observation.objectives() {
            let _ = write!(body, "<td>{}</td>", number(value));
        }
        for value in params(space, &observation.point).values() {
            let _ = write!(body, "<td>{}</td>", escape(&shown(value)));
        }
        let by = trial.map_or("brought from elsewhere".into(), |trial| {
            format!("{}, {}", trial.proposed_by.name(), trial.why)
        });
        let broken = if observation.is_feasible() {
            ""
        } else {
            "; breaks a constraint"
        };
        let _ = writeln!(body, "<td>{}{broken}</td></tr>", escape(&by));
    }
    body.push_str("</tbody></table></div>\n");
    if n > LISTED_MAX && several {
        let _ = writeln!(body, "<p class=\"under\">Every {stride}th of {n}.</p>");
    }
}

fn shown(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(x) if x.is_f64() => number(x.as_f64().unwrap_or(f64::NAN)),
        other => other.to_string(),
    }
}
