//! The page of a study: how it went, what it found, which parameters matter, and how far its predictions can be trusted.
//! In: a [`Study`]. Out: one HTML page. Called from: `layer5 optimize report`, `/api/v1/studies/{id}/report`.
//! Invariants: only what was told is drawn, and what is a model's view says so; a study without a result says so; bounded in
//! size.

mod advice;
mod calibration;
mod matters;
mod objectives;
mod parameters;
mod progress;
mod scale;
mod told;

use layer5_optimize::{Direction, Study};

use self::told::Told;
use super::{escape, number, page};

/// Width of the large pictures, and size of the small ones, SVG units.
const WIDE: f64 = 1120.0;
const CARD: (f64, f64) = (530.0, 230.0);

/// The page of the study called `name`.
pub(crate) fn study_page(name: &str, study: &Study) -> String {
    let told = Told::of(study);
    let mut body = format!(
        "<h1>{}</h1>\n<p class=\"under\">{}</p>\n",
        escape(name),
        escape(&task(study))
    );
    facts(&mut body, study, &told);
    if study.observations().is_empty() {
        body.push_str("<p>No trial has a value yet.</p>\n");
        return page(name, &body);
    }
    let several = study.config().n_objectives() > 1;
    if several {
        objectives::front(&mut body, study);
        objectives::growth(&mut body, study);
    } else {
        advice::section(&mut body, study);
    }
    if !told.rows.is_empty() {
        progress::section(&mut body, study, &told);
    }
    matters::section(&mut body, study);
    parameters::section(&mut body, study, &told);
    if !several {
        calibration::section(&mut body, study, &told);
    }
    advice::best(&mut body, study, &told);
    page(name, &body)
}

/// What the study is about, in a line.
fn task(study: &Study) -> String {
    let config = study.config();
    let way = |direction: &Direction| match direction {
        Direction::Minimize => "minimize",
        Direction::Maximize => "maximize",
    };
    let ways: Vec<String> = match config.n_objectives() {
        1 => vec![way(&config.direction).to_owned()],
        _ => std::iter::once(&config.direction)
            .chain(&config.other_directions)
            .enumerate()
            .map(|(k, direction)| format!("{} objective {}", way(direction), k + 1))
            .collect(),
    };
    let counted = |n: usize, what: &str| match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    };
    let mut parts = vec![format!(
        "to {} over {}",
        ways.join(", "),
        counted(config.space.len(), "parameter")
    )];
    if config.n_constraints > 0 {
        parts.push(counted(config.n_constraints, "constraint"));
    }
    if !config.limits.is_empty() {
        parts.push(counted(config.limits.len(), "limit"));
    }
    if let Some(safe) = &config.safe {
        parts.push(format!(
            "never worse than {} with {:.0} %",
            number(safe.worst),
            100.0 * safe.probability
        ));
    }
    parts.push(format!("sampler {}", config.sampler.name()));
    parts.push(format!("seed {}", config.seed));
    parts.join(", ")
}

fn facts(body: &mut String, study: &Study, told: &Told<'_>) {
    let mut items: Vec<(String, &str)> = Vec::new();
    if study.config().n_objectives() > 1 {
        items.push((study.pareto_front().len().to_string(), "on the front"));
    } else {
        let best = study.incumbent().filter(|best| best.is_feasible());
        items.push((
            best.map_or("–".into(), |best| number(best.value)),
            "best value",
        ));
        let first = told.rows.first();
        items.push((
            first.map_or("–".into(), |row| number(row.value)),
            "first value",
        ));
    }
    items.push((study.trials().len().to_string(), "trials"));
    let broken = study.observations().iter().filter(|o| !o.is_feasible());
    let counts = [
        (told.n_pending, "pending"),
        (told.lost.len(), "failed or pruned"),
        (broken.count(), "broke a constraint"),
        (told.n_brought, "brought from elsewhere"),
    ];
    let there = counts.into_iter().filter(|(n, _)| *n > 0);
    items.extend(there.map(|(n, name)| (n.to_string(), name)));
    if study.is_closed() {
        items.push(("closed".into(), "nothing is taken any more"));
    }
    body.push_str(&super::facts(items));
}
