//! Which parameters matter, for each objective.
//! In: a [`Study`]. Out: a table with bars. Called from: [`super`]. Invariants: it is a model's view, and says so; nothing is
//! drawn while there is no model.

use std::fmt::Write;

use layer5_optimize::{Study, insight};

use crate::report_page::escape;

/// Parameters listed, at most: the ones that matter most.
const LISTED_MAX: usize = 30;
/// Observations below which shares are guesses: twice as many as a model has unknowns.
fn enough(study: &Study) -> bool {
    study.observations().len() >= insight::warm_up(study.config().space.len())
}

/// How much of the variation goes back to each parameter.
pub(super) fn section(body: &mut String, study: &Study) {
    let m = study.config().n_objectives();
    if study.config().space.len() < 2 || !enough(study) {
        return;
    }
    let found: Vec<Vec<insight::Importance>> = (0..m)
        .map_while(|k| insight::importances(study, k))
        .collect();
    if found.is_empty() {
        return;
    }
    body.push_str("<h2>What matters</h2>\n<div class=\"grid\">\n");
    for (k, mut shares) in found.into_iter().enumerate() {
        shares.sort_by(|a, b| b.total.total_cmp(&a.total));
        let title = if m > 1 {
            format!("objective {}", k + 1)
        } else {
            "share of the variation".into()
        };
        let _ = write!(
            body,
            "<div class=\"card\"><h3>{title}</h3><table><thead><tr><th>parameter</th><th></th><th>alone</th>\
             <th>with others</th></tr></thead><tbody>"
        );
        for one in shares.iter().take(LISTED_MAX) {
            let total = one.total.max(one.alone);
            let _ = write!(
                body,
                "<tr><td>{}</td><td class=\"share\"><i style=\"width:{:.1}%\"></i><i class=\"more\" \
                 style=\"width:{:.1}%\"></i></td><td>{:.0} %</td><td>{:.0} %</td></tr>",
                escape(&one.name),
                100.0 * one.alone,
                100.0 * (total - one.alone),
                100.0 * one.alone,
                100.0 * total
            );
        }
        body.push_str("</tbody></table></div>\n");
    }
    body.push_str(
        "</div>\n<p class=\"under\">How much of the variation over the whole space goes back to each parameter, by a model \
         of everything told: alone, and with what it interacts with, so these add up to more than everything.</p>\n",
    );
}
