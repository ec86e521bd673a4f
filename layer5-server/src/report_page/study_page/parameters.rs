//! What was tried: the (first) objective against each parameter, with the model's mean over the others.
//! In: a [`Study`]. Out: a picture per parameter. Called from: [`super`].

use std::fmt::Write;

use layer5_optimize::{Study, insight};

use super::{CARD, scale::Scale, told::Told};
use crate::report_page::{
    axis, escape,
    frame::{Frame, range},
    number,
};

/// Parameters that have a picture.
const DRAWN_MAX: usize = 24;
/// Places at which the model is drawn.
const PLACES: usize = 33;

/// The value against each parameter.
pub(super) fn section(body: &mut String, study: &Study, told: &Told<'_>) {
    if told.rows.is_empty() {
        return;
    }
    let several = study.config().n_objectives() > 1;
    let y = told.range();
    let incumbent = study
        .incumbent()
        .and_then(|best| best.trial)
        .filter(|_| !several);
    let all = study.config().space.parameters();
    let enough = study.observations().len() >= insight::warm_up(all.len());
    let curves = if enough && all.len() <= DRAWN_MAX {
        insight::dependences(study, 0, PLACES).unwrap_or_default()
    } else {
        Vec::new()
    };
    // Values crowd round the best one, where the search ended; the model is of the whole space.
    let expected = curves.iter().flatten().flat_map(|d| [d.low, d.high]);
    let y = range(expected.chain([y.0, y.1]));
    let of = if several { ": the first objective" } else { "" };
    let _ = writeln!(body, "<h2>What it tried{of}</h2>\n<div class=\"grid\">");
    for (index, parameter) in all.iter().enumerate().take(DRAWN_MAX) {
        let scale = Scale::of(parameter);
        let mut frame = Frame::new(CARD, 10.0, scale.range, y);
        frame.axes(&scale.ticks, &axis::number_ticks(y.0, y.1, 4));
        let curve = curves.get(index).filter(|_| parameter.fixed.is_none());
        if let Some(curve) = curve {
            let place = |d: &insight::Dependence| scale.place(d.value);
            frame.band("normal", curve.iter().map(|d| (place(d), d.low, d.high)));
            frame.line("future", curve.iter().map(|d| (place(d), d.mean)));
        }
        for row in &told.rows {
            if !study.config().space.is_active(index, &row.trial.point) {
                continue;
            }
            let Some(at) = row.trial.point.values().get(index) else {
                continue;
            };
            let best = Some(row.trial.id) == incumbent;
            let class = match (best, row.kept) {
                (true, _) => "dot best",
                (false, true) => "dot",
                (false, false) => "dot failed",
            };
            let words = format!("trial {}: {}", row.trial.id.0, number(row.value));
            let radius = if best { 6.0 } else { 3.0 };
            frame.dot(class, (scale.place(*at), row.value), radius, &words);
        }
        let model = if curve.is_some() {
            "; the line is the model's mean over the other parameters"
        } else {
            ""
        };
        let large = if several {
            ""
        } else {
            "; the large dot is the best trial"
        };
        let _ = writeln!(
            body,
            "<div class=\"card\"><h3>{}</h3>{}<figcaption>{}{large}{model}.</figcaption></div>",
            escape(&parameter.name),
            frame.finish(&format!("value against {}", parameter.name)),
            scale.words
        );
    }
    body.push_str("</div>\n");
    if !curves.is_empty() {
        body.push_str(
            "<p class=\"under\">The band holds four fifths of what the model expects over the other parameters' values.</p>\n",
        );
    }
    if all.len() > DRAWN_MAX {
        let _ = writeln!(
            body,
            "<p class=\"under\">The first {DRAWN_MAX} of {} parameters.</p>",
            all.len()
        );
    }
}
