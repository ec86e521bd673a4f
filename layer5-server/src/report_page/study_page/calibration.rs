//! What was expected of each trial beside what came.
//! In: a [`Study`]. Out: a picture and a count. Called from: [`super`].
//! Invariants: the count leaves out the model's warm-up, and says so.

use std::fmt::Write;

use layer5_optimize::{
    Study,
    insight::{self, Predicted},
};

use super::{CARD, told::Told};
use crate::report_page::{axis, frame::Frame, number};

/// Predictions below which a share says nothing.
const JUDGED_MIN: usize = 5;

/// How far predictions can be trusted.
pub(super) fn section(body: &mut String, study: &Study, told: &Told<'_>) {
    let calibration = insight::calibration(study);
    let (early, judged): (Vec<&Predicted>, Vec<&Predicted>) =
        calibration.pairs.iter().partition(|pair| pair.is_early);
    let (Some(coverage), Some(error)) = (calibration.coverage, calibration.median_error) else {
        return;
    };
    if judged.len() < JUDGED_MIN {
        return;
    }
    let inside = judged.iter().filter(|pair| pair.is_inside()).count();
    let y = told.range();
    let mut frame = Frame::new((CARD.0, 330.0), 10.0, y, y);
    frame.axes(
        &axis::number_ticks(y.0, y.1, 5),
        &axis::number_ticks(y.0, y.1, 5),
    );
    frame.line("ideal", [(y.0, y.0), (y.1, y.1)].into_iter());
    for pair in &calibration.pairs {
        let p = pair.prediction;
        let words = format!(
            "trial {}: expected {} ({} to {}), came {}{}",
            pair.trial,
            number(p.mean),
            number(p.lower),
            number(p.upper),
            number(pair.value),
            if pair.is_early { "; warm-up" } else { "" }
        );
        let class = match (pair.is_early, pair.is_inside()) {
            (true, _) => "dot early",
            (false, true) => "dot",
            (false, false) => "dot failed",
        };
        frame.dot(class, (p.mean, pair.value), 3.5, &words);
    }
    let warm_up = match early.len() {
        0 => String::new(),
        n => format!(
            " {n} from the warm-up, when the model had seen fewer than {} values, are pale and not counted.",
            insight::warm_up(study.config().space.len())
        ),
    };
    let _ = writeln!(
        body,
        "<h2>What it expected, and what came</h2>\n<div class=\"grid\"><div class=\"card\"><h3>expected across, observed up\
         </h3>{}<figcaption>{inside} of {} values ({:.0} %) came inside the interval that was to hold 95 %; the others are \
         open. The median distance is {}.{warm_up} Expectations were made before the trial ran, and for the places that looked \
         best, which are those that a model is most likely to be wrong about.</figcaption></div></div>",
        frame.finish("expected against observed values"),
        judged.len(),
        100.0 * coverage,
        number(error)
    );
}
