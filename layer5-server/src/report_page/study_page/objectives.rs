//! Several objectives: what was reached in each pair of them, and how the front grew.
//! In: a [`Study`]. Out: pictures. Called from: [`super`].

use std::fmt::Write;

use layer5_optimize::{Direction, Observation, Study, TrialId, insight};

use super::{CARD, WIDE, told::middle};
use crate::report_page::{axis, frame::Frame, number};

/// Pairs of objectives that have a picture.
const PAIRS_MAX: usize = 6;
/// Observations drawn, at most: the newest.
const DRAWN_MAX: usize = 3000;

/// What was reached: a picture of each pair of objectives.
pub(super) fn front(body: &mut String, study: &Study) {
    let m = study.config().n_objectives();
    let all = study.observations();
    let all = &all[all.len().saturating_sub(DRAWN_MAX)..];
    let best = study.pareto_front();
    let balanced = study.incumbent();
    let on_front = |o: &Observation| best.iter().any(|b| std::ptr::eq(*b, o));
    body.push_str("<h2>What can be had</h2>\n<div class=\"grid\">\n");
    let pairs = (0..m).flat_map(|a| (a + 1..m).map(move |b| (a, b)));
    for (a, b) in pairs.take(PAIRS_MAX) {
        let value = |o: &Observation, k: usize| o.objectives().nth(k).unwrap_or(f64::NAN);
        let x = middle(all.iter().map(|o| value(o, a)).collect());
        let y = middle(all.iter().map(|o| value(o, b)).collect());
        let size = if m == 2 { (WIDE, 420.0) } else { CARD };
        let mut frame = Frame::new(size, 10.0, x, y);
        frame.axes(
            &axis::number_ticks(x.0, x.1, 6),
            &axis::number_ticks(y.0, y.1, 5),
        );
        if m == 2 {
            let mut ends: Vec<(f64, f64)> =
                best.iter().map(|o| (value(o, a), value(o, b))).collect();
            ends.sort_by(|p, q| p.0.total_cmp(&q.0));
            // From one to the next one gives nothing of what was already had.
            let first_is_minimised = study.config().direction == Direction::Minimize;
            let steps = ends.windows(2).flat_map(|two| {
                let corner = match first_is_minimised {
                    true => (two[1].0, two[0].1),
                    false => (two[0].0, two[1].1),
                };
                [two[0], corner, two[1]]
            });
            frame.line("good", steps);
        }
        for o in all {
            let (is_best, kept) = (on_front(o), o.is_feasible());
            let class = match (is_best, kept) {
                (true, _) => "dot best",
                (false, true) => "dot",
                (false, false) => "dot failed",
            };
            let id = o
                .trial
                .map_or("from elsewhere".into(), |TrialId(id)| format!("trial {id}"));
            let shown: Vec<String> = o.objectives().map(number).collect();
            let chosen = balanced.is_some_and(|c| std::ptr::eq(c, o));
            let note = if chosen { ", the most balanced" } else { "" };
            let words = format!("{id}: {}{note}", shown.join(", "));
            let radius = if chosen {
                7.0
            } else if is_best {
                5.0
            } else {
                3.0
            };
            frame.dot(class, (value(o, a), value(o, b)), radius, &words);
        }
        let _ = writeln!(
            body,
            "<div class=\"card\"{}><h3>objective {} across, objective {} up</h3>{}</div>",
            if m == 2 {
                " style=\"grid-column:1/-1\""
            } else {
                ""
            },
            a + 1,
            b + 1,
            frame.finish(&format!("objective {} against objective {}", a + 1, b + 1))
        );
    }
    body.push_str(
        "</div>\n<p class=\"under\">Large dots are the front: nothing is better than them in every objective; the largest is \
         the most balanced. Open dots break a constraint.</p>\n",
    );
}

/// The volume that the front dominates, observation by observation.
pub(super) fn growth(body: &mut String, study: &Study) {
    let m = study.config().n_objectives();
    let worst = |k: usize| {
        let column = study
            .observations()
            .iter()
            .filter_map(|o| o.objectives().nth(k));
        let directions = std::iter::once(study.config().direction)
            .chain(study.config().other_directions.iter().copied());
        match directions.clone().nth(k) {
            Some(Direction::Maximize) => column.fold(f64::INFINITY, f64::min),
            _ => column.fold(f64::NEG_INFINITY, f64::max),
        }
    };
    let reference: Vec<f64> = (0..m).map(worst).collect();
    // The volume of many objectives takes long to count.
    if m > 4 || study.observations().len() > DRAWN_MAX {
        return;
    }
    let Some(curve) = insight::hypervolume_curve(study, &reference) else {
        return;
    };
    let last = curve.last().copied().unwrap_or(0.0);
    if !(last > 0.0 && last.is_finite()) {
        return;
    }
    let x = (0.0, (curve.len() as f64 - 1.0).max(1.0));
    let y = (0.0, 1.05);
    let mut frame = Frame::new((WIDE, 230.0), 10.0, x, y);
    let share = |v: f64| v / last;
    let ticks: Vec<(f64, String)> = (0..=4)
        .map(|i| (f64::from(i) / 4.0, format!("{} %", 25 * i)))
        .collect();
    frame.axes(&axis::number_ticks(x.0, x.1, 10), &ticks);
    let stairs = curve.iter().enumerate().flat_map(|(i, v)| {
        let before = if i == 0 { 0.0 } else { curve[i - 1] };
        [(i as f64, share(before)), (i as f64, share(*v))]
    });
    frame.line("good", stairs);
    let shown: Vec<String> = reference.iter().map(|v| number(*v)).collect();
    let _ = writeln!(
        body,
        "<h2>How the front grew</h2>\n<figure>\n{}<figcaption>The volume that the front dominates after each result, as a \
         share of the last one, which is {}; counted from the worst seen in each objective ({}).</figcaption></figure>",
        frame.finish("volume dominated by the front"),
        number(last),
        shown.join(", ")
    );
}
