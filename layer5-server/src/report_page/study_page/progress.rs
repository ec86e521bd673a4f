//! Every trial's value, the best so far, and who proposed it.
//! In: a [`Study`]. Out: a picture and a sentence. Called from: [`super`].

use std::fmt::Write;

use layer5_optimize::Study;

use super::{WIDE, told::Told};
use crate::report_page::{axis, escape, frame::Frame, number};

/// How it went, by the first objective.
pub(super) fn section(body: &mut String, study: &Study, told: &Told<'_>) {
    let several = study.config().n_objectives() > 1;
    let y = told.range();
    let ids = |trials: &[u64]| (trials[0] as f64, trials[trials.len() - 1] as f64);
    let mut all: Vec<u64> = told.rows.iter().map(|row| row.trial.id.0).collect();
    all.extend(told.lost.iter().map(|trial| trial.id.0));
    all.sort_unstable();
    let (first, last) = ids(&all);
    let x = (first, last.max(first + 1.0));
    let mut frame = Frame::new((WIDE, 330.0), 10.0, x, y);
    frame.axes(
        &axis::number_ticks(x.0, x.1, 10),
        &axis::number_ticks(y.0, y.1, 6),
    );
    for trial in &told.lost {
        let words = format!("trial {}: {}", trial.id.0, trial.state.name());
        let edge = if told.maximize { y.0 } else { y.1 };
        frame.dot("dot failed", (trial.id.0 as f64, edge), 4.0, &words);
    }
    let mut best: Option<f64> = None;
    let mut stairs = Vec::new();
    let mut parts: Vec<(&str, usize, usize)> = Vec::new();
    for row in &told.rows {
        let (trial, value) = (row.trial, row.value);
        let at = trial.id.0 as f64;
        let news = row.kept && best.is_none_or(|best| told.better(value, best));
        stairs.extend(best.map(|best| (at, best)));
        if news {
            best = Some(value);
            stairs.push((at, value));
        }
        let class = match (news && !several, row.kept) {
            (true, _) => "dot best",
            (false, true) => "dot",
            (false, false) => "dot failed",
        };
        let broken = if row.kept {
            ""
        } else {
            ", breaks a constraint"
        };
        let words = format!(
            "trial {}: {}{broken}, {} ({})",
            trial.id.0,
            number(value),
            trial.proposed_by.name(),
            trial.why
        );
        let radius = if news && !several { 5.0 } else { 3.5 };
        frame.dot(class, (at, value), radius, &words);
        let name = trial.proposed_by.name();
        let place = parts.iter().position(|(other, _, _)| *other == name);
        let place = place.unwrap_or_else(|| {
            parts.push((name, 0, 0));
            parts.len() - 1
        });
        parts[place].1 += 1;
        parts[place].2 += usize::from(news);
    }
    stairs.extend(best.map(|best| (x.1, best)));
    if !several {
        frame.line("good", stairs.into_iter());
    }
    let (title, caption) = match several {
        true => (
            "The first objective, trial by trial",
            "Each trial's first objective by its number",
        ),
        false => (
            "How it went",
            "Each trial's value by its number; the line is the best so far, larger dots are those that set it",
        ),
    };
    let open = match (told.lost.is_empty(), told.rows.iter().all(|row| row.kept)) {
        (true, true) => "",
        (false, true) => "; open dots at the edge are runs without a result",
        (true, false) => "; open dots break a constraint",
        (false, false) => "; open dots break a constraint, or at the edge have no result",
    };
    let _ = writeln!(
        body,
        "<h2>{title}</h2>\n<figure>\n{}<figcaption>{caption}{open}. Values far out are drawn at the edge.</figcaption>\
         </figure>",
        frame.finish("value of every trial, and the best so far")
    );
    let parts: Vec<String> = parts
        .iter()
        .map(|(name, n, set)| match several {
            true => format!("{name}: {n}"),
            false => format!("{name}: {n} trials, {set} of them set the best"),
        })
        .collect();
    let _ = writeln!(
        body,
        "<p class=\"under\">Proposed by {}.</p>",
        escape(&parts.join("; "))
    );
}
