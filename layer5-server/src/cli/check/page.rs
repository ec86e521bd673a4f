//! The result of the daily check as a table, as JSON, as Markdown.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use serde_json::json;

use super::verdict::{State, Verdict, worst};
use crate::clock;

/// For people at a terminal; colours only there and without NO_COLOR.
pub(super) fn table(verdicts: &[Verdict]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["check", "state", "seen", "to do"]);
    if std::env::var_os("NO_COLOR").is_some() {
        table.force_no_tty();
    }
    for verdict in verdicts {
        let color = match verdict.state {
            State::Green => Color::Green,
            State::Unknown => Color::Grey,
            State::Yellow => Color::Yellow,
            State::Red => Color::Red,
        };
        let state = Cell::new(verdict.state.word()).fg(color);
        let state = match verdict.state {
            State::Red => state.add_attribute(Attribute::Bold),
            _ => state,
        };
        table.add_row([
            Cell::new(verdict.check),
            state,
            Cell::new(&verdict.said),
            Cell::new(verdict.then),
        ]);
    }
    format!("{table}\n\n{}\n", summary(verdicts))
}

/// For programs.
pub(super) fn json(url: &str, verdicts: &[Verdict]) -> String {
    let result = json!({
        "url": url,
        "at": clock::now().to_string(),
        "state": worst(verdicts),
        "checks": verdicts,
    });
    format!("{result:#}\n")
}

/// For a ticket or the log of the day.
pub(super) fn markdown(url: &str, verdicts: &[Verdict]) -> String {
    let mut page = format!(
        "# Daily check of {url}\n\n{}, {}\n\n| check | state | seen | to do |\n|---|---|---|---|\n",
        clock::now(),
        summary(verdicts)
    );
    for verdict in verdicts {
        let cells = [
            verdict.check,
            verdict.state.word(),
            &verdict.said,
            verdict.then,
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        page.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    page
}

fn summary(verdicts: &[Verdict]) -> String {
    let count = |state| verdicts.iter().filter(|v| v.state == state).count();
    format!(
        "{} green, {} yellow, {} red, {} not to be judged",
        count(State::Green),
        count(State::Yellow),
        count(State::Red),
        count(State::Unknown)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_in_a_cell_ends_no_column() {
        let verdict = Verdict {
            check: "liveness",
            state: State::Red,
            said: "a|b\nc".to_owned(),
            then: "",
        };
        let page = markdown("http://x", &[verdict]);
        let row = page.lines().last().expect("there is a row");
        assert_eq!(row, "| liveness | red | a\\|b c |  |");
    }
}
