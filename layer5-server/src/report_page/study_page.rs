//! The page of a study: how it went, what it found, and how far its predictions can be trusted.
//! In: a [`Study`]. Out: one HTML page. Called from: `layer5 optimize report`, `/api/v1/studies/{id}/report`.
//! Invariants: only what was told is drawn: a study without a result says so; bounded in size.

use std::fmt::Write;

use layer5_optimize::{Direction, Domain, Parameter, Study, Trial, TrialState, Value};

use super::{
    axis, escape,
    frame::{Frame, range},
    number, page,
};

/// Trials drawn and listed, at most; the newest are drawn, the best are listed.
const TRIALS_DRAWN_MAX: usize = 3000;
const TRIALS_LISTED_MAX: usize = 15;
/// Parameters that have a picture.
const PARAMETERS_DRAWN_MAX: usize = 24;
/// Choices that have room on an axis.
const CHOICES_NAMED_MAX: usize = 12;
const WIDE: f64 = 1120.0;
const CARD: (f64, f64) = (530.0, 230.0);

/// The page of the study called `name`.
pub(crate) fn study_page(name: &str, study: &Study) -> String {
    let told = Told::of(study);
    let mut body = String::new();
    let way = match study.config().direction {
        Direction::Minimize => "minimize",
        Direction::Maximize => "maximize",
    };
    let n = study.config().space.len();
    let _ = writeln!(
        body,
        "<h1>{}</h1>\n<p class=\"under\">to {way} over {n} parameter{}, sampler {}, seed {}</p>",
        escape(name),
        if n == 1 { "" } else { "s" },
        study.config().sampler.name(),
        study.config().seed
    );
    facts(&mut body, study, &told);
    if told.values.is_empty() {
        body.push_str("<p>No trial has a value yet.</p>\n");
        return page(name, &body);
    }
    advice(&mut body, study);
    progress(&mut body, study, &told);
    parameters(&mut body, study, &told);
    calibration(&mut body, &told);
    best(&mut body, study, &told);
    page(name, &body)
}

/// The trials with a value, in order of asking.
struct Told<'a> {
    values: Vec<(&'a Trial, f64)>,
    failed: Vec<&'a Trial>,
    n_pending: usize,
    maximize: bool,
}

impl<'a> Told<'a> {
    fn of(study: &'a Study) -> Self {
        let trials = study.trials();
        let trials = &trials[trials.len().saturating_sub(TRIALS_DRAWN_MAX)..];
        let mut told = Self {
            values: Vec::new(),
            failed: Vec::new(),
            n_pending: 0,
            maximize: study.config().direction == Direction::Maximize,
        };
        for trial in trials {
            match trial.state {
                TrialState::Told(value) => told.values.push((trial, value)),
                TrialState::Failed => told.failed.push(trial),
                _ => told.n_pending += 1,
            }
        }
        told
    }

    fn better(&self, a: f64, b: f64) -> bool {
        if self.maximize { a > b } else { a < b }
    }

    /// The range in which most values lie: a few terrible first trials must not squash what matters.
    fn range(&self) -> (f64, f64) {
        let mut sorted: Vec<f64> = self.values.iter().map(|(_, v)| *v).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[(share * (sorted.len() - 1) as f64).round() as usize];
        let (low, high) = (at(0.0), at(1.0));
        let usual = (at(0.1), at(0.9));
        let reach = 3.0 * (usual.1 - usual.0);
        if reach > 0.0 && reach.is_finite() {
            range([low.max(usual.0 - reach), high.min(usual.1 + reach)].into_iter())
        } else {
            range([low, high].into_iter())
        }
    }
}

fn facts(body: &mut String, study: &Study, told: &Told<'_>) {
    let best = study
        .incumbent()
        .map_or("–".into(), |best| number(best.value));
    let first = told
        .values
        .first()
        .map_or("–".into(), |(_, value)| number(*value));
    let items = [
        (best, "best value"),
        (first, "first value"),
        (study.trials().len().to_string(), "trials"),
        (told.n_pending.to_string(), "pending"),
        (told.failed.len().to_string(), "failed"),
        (
            (study.observations().len() - told.values.len().min(study.observations().len()))
                .to_string(),
            "brought from elsewhere",
        ),
    ];
    body.push_str(&super::facts(items));
}

/// What to use.
fn advice(body: &mut String, study: &Study) {
    let Some(advised) = study.recommend() else {
        return;
    };
    let each = crate::study_desk::params(&study.config().space, &advised.point);
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
}

fn shown(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(x) if x.is_f64() => number(x.as_f64().unwrap_or(f64::NAN)),
        other => other.to_string(),
    }
}

/// Every trial's value, and the best so far.
fn progress(body: &mut String, study: &Study, told: &Told<'_>) {
    let y = told.range();
    let last = study.trials().len().saturating_sub(1) as f64;
    let x = (0.0, last.max(1.0));
    let mut frame = Frame::new((WIDE, 330.0), 10.0, x, y);
    frame.axes(
        &axis::number_ticks(x.0, x.1, 10),
        &axis::number_ticks(y.0, y.1, 6),
    );
    for trial in &told.failed {
        let words = format!("trial {}: failed", trial.id.0);
        let edge = if told.maximize { y.0 } else { y.1 };
        frame.dot("dot failed", (trial.id.0 as f64, edge), 4.0, &words);
    }
    let mut best: Option<f64> = None;
    let mut stairs = Vec::new();
    for (trial, value) in &told.values {
        let at = trial.id.0 as f64;
        let news = best.is_none_or(|best| told.better(*value, best));
        stairs.extend(best.map(|best| (at, best)));
        if news {
            best = Some(*value);
            stairs.push((at, *value));
        }
        let class = if news { "dot best" } else { "dot" };
        let words = format!(
            "trial {}: {}, {} ({})",
            trial.id.0,
            number(*value),
            trial.proposed_by.name(),
            trial.why
        );
        frame.dot(class, (at, *value), if news { 5.0 } else { 3.5 }, &words);
    }
    stairs.extend(best.map(|best| (x.1, best)));
    frame.line("good", stairs.into_iter());
    let _ = writeln!(
        body,
        "<h2>How it went</h2>\n<figure>\n{}<figcaption>Each trial's value by its number; the line is the best so far, \
         larger dots are those that set it, open dots at the edge are failures. Values far out are drawn at the edge.\
         </figcaption></figure>",
        frame.finish("value of every trial, and the best so far")
    );
    let mut parts: Vec<(&str, usize, usize)> = Vec::new();
    let mut best: Option<f64> = None;
    for (trial, value) in &told.values {
        let name = trial.proposed_by.name();
        let at = parts
            .iter()
            .position(|(other, _, _)| *other == name)
            .unwrap_or_else(|| {
                parts.push((name, 0, 0));
                parts.len() - 1
            });
        parts[at].1 += 1;
        if best.is_none_or(|best| told.better(*value, best)) {
            best = Some(*value);
            parts[at].2 += 1;
        }
    }
    let parts: Vec<String> = parts
        .iter()
        .map(|(name, n, set)| format!("{name}: {n} trials, {set} of them set the best"))
        .collect();
    let _ = writeln!(
        body,
        "<p class=\"under\">Proposed by {}.</p>",
        escape(&parts.join("; "))
    );
}

/// The value against each parameter.
fn parameters(body: &mut String, study: &Study, told: &Told<'_>) {
    let y = told.range();
    let incumbent = study.incumbent().and_then(|best| best.trial);
    let all = study.config().space.parameters();
    body.push_str("<h2>What it tried</h2>\n<div class=\"grid\">\n");
    for (index, parameter) in all.iter().enumerate().take(PARAMETERS_DRAWN_MAX) {
        let scale = Scale::of(parameter);
        let mut frame = Frame::new(CARD, 10.0, scale.range, y);
        frame.axes(&scale.ticks, &axis::number_ticks(y.0, y.1, 4));
        for (trial, value) in &told.values {
            let Some(at) = trial.point.values().get(index).map(|v| scale.place(*v)) else {
                continue;
            };
            let best = Some(trial.id) == incumbent;
            let class = if best { "dot best" } else { "dot" };
            let words = format!("trial {}: {}", trial.id.0, number(*value));
            frame.dot(class, (at, *value), if best { 6.0 } else { 3.0 }, &words);
        }
        let _ = writeln!(
            body,
            "<div class=\"card\"><h3>{}</h3>{}<figcaption>{}; the large dot is the best trial.</figcaption></div>",
            escape(&parameter.name),
            frame.finish(&format!("value against {}", parameter.name)),
            scale.words
        );
    }
    body.push_str("</div>\n");
    if all.len() > PARAMETERS_DRAWN_MAX {
        let _ = writeln!(
            body,
            "<p class=\"under\">The first {PARAMETERS_DRAWN_MAX} of {} parameters.</p>",
            all.len()
        );
    }
}

/// A parameter as an axis.
struct Scale {
    range: (f64, f64),
    ticks: Vec<axis::Tick>,
    log: bool,
    words: &'static str,
}

impl Scale {
    fn of(parameter: &Parameter) -> Self {
        match &parameter.domain {
            Domain::Float { low, high, log, .. } => Self::numbers(*low, *high, *log),
            Domain::Int { low, high, log, .. } => Self::numbers(*low as f64, *high as f64, *log),
            Domain::Categorical { choices } | Domain::Ordinal { choices } => {
                let named = choices.iter().enumerate().take(CHOICES_NAMED_MAX);
                Self {
                    range: (-0.5, choices.len() as f64 - 0.5),
                    ticks: named.map(|(i, name)| (i as f64, name.clone())).collect(),
                    log: false,
                    words: "by choice",
                }
            }
            _ => Self::numbers(0.0, 1.0, false),
        }
    }

    fn numbers(low: f64, high: f64, log: bool) -> Self {
        if !log {
            return Self {
                range: (low, high),
                ticks: axis::number_ticks(low, high, 6),
                log,
                words: "linear axis",
            };
        }
        let (low, high) = (low.log10(), high.log10());
        let ticks = axis::number_ticks(low, high, 6);
        let ticks = ticks
            .into_iter()
            .map(|(x, _)| (x, number(10_f64.powf(x))))
            .collect();
        Self {
            range: (low, high),
            ticks,
            log,
            words: "logarithmic axis",
        }
    }

    fn place(&self, value: Value) -> f64 {
        let x = match value {
            Value::Float(x) => x,
            Value::Int(x) => x as f64,
            Value::Choice(x) => x as f64,
            // A kind that this page does not know has no place on it.
            _ => f64::NAN,
        };
        if self.log { x.log10() } else { x }
    }
}

/// What was expected of each trial beside what came.
fn calibration(body: &mut String, told: &Told<'_>) {
    let judged: Vec<_> = told
        .values
        .iter()
        .filter_map(|(trial, value)| trial.predicted.map(|p| (trial, p, *value)))
        .collect();
    if judged.len() < 5 {
        return;
    }
    let inside = judged
        .iter()
        .filter(|(_, p, value)| (p.lower..=p.upper).contains(value))
        .count();
    let y = told.range();
    let mut frame = Frame::new((CARD.0, 330.0), 10.0, y, y);
    frame.axes(
        &axis::number_ticks(y.0, y.1, 5),
        &axis::number_ticks(y.0, y.1, 5),
    );
    frame.line("ideal", [(y.0, y.0), (y.1, y.1)].into_iter());
    for (trial, p, value) in &judged {
        let words = format!(
            "trial {}: expected {} ({} to {}), came {}",
            trial.id.0,
            number(p.mean),
            number(p.lower),
            number(p.upper),
            number(*value)
        );
        let class = if (p.lower..=p.upper).contains(value) {
            "dot"
        } else {
            "dot failed"
        };
        frame.dot(class, (p.mean, *value), 3.5, &words);
    }
    let _ = writeln!(
        body,
        "<h2>What it expected, and what came</h2>\n<div class=\"grid\"><div class=\"card\"><h3>expected across, observed up\
         </h3>{}<figcaption>{inside} of {} values ({:.0} %) came inside the interval that was to hold 95 %; the others are \
         open. Expectations were made before the trial ran.</figcaption></div></div>",
        frame.finish("expected against observed values"),
        judged.len(),
        100.0 * inside as f64 / judged.len() as f64
    );
}

/// The best trials.
fn best(body: &mut String, study: &Study, told: &Told<'_>) {
    let mut best: Vec<&(&Trial, f64)> = told.values.iter().collect();
    best.sort_by(|a, b| {
        if told.maximize {
            b.1.total_cmp(&a.1)
        } else {
            a.1.total_cmp(&b.1)
        }
    });
    let space = &study.config().space;
    body.push_str(
        "<h2>Best trials</h2>\n<div class=\"wide\"><table><thead><tr><th>trial</th><th>value</th>",
    );
    for parameter in space.parameters() {
        let _ = write!(body, "<th>{}</th>", escape(&parameter.name));
    }
    body.push_str("<th>proposed by</th></tr></thead><tbody>\n");
    for (trial, value) in best.into_iter().take(TRIALS_LISTED_MAX) {
        let _ = write!(
            body,
            "<tr><td>{}</td><td>{}</td>",
            trial.id.0,
            number(*value)
        );
        for value in crate::study_desk::params(space, &trial.point).values() {
            let _ = write!(body, "<td>{}</td>", escape(&shown(value)));
        }
        let _ = writeln!(
            body,
            "<td>{}, {}</td></tr>",
            trial.proposed_by.name(),
            escape(&trial.why.to_string())
        );
    }
    body.push_str("</tbody></table></div>\n");
}
